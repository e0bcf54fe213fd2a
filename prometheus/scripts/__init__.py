"""One click command a file: parse, call, print."""
