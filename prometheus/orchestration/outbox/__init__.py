"""Deliveries: messages of the outbox reach their receivers at least once."""
