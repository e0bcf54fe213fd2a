"""Books loaded, handed to the pure ledger and written back: executions, ex-date processing, corrections, proof of tables."""
