"""One account's day, pure: snapshot, locks, problem, solve, settlement and record; no database, no clock."""
