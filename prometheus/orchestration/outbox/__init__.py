"""What leaves the database: messages of the outbox, brought to their receivers at least once."""
