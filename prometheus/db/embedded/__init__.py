"""The embedded PostgreSQL: its cluster, its home directory, its server, and the program that stops it."""
