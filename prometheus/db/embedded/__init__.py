"""The embedded PostgreSQL: cluster, home directory, server, and the program that stops it."""
