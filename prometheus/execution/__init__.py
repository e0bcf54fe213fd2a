"""Decision engine, orders, brokers (a later issue fills this room)."""
