"""Books loaded, booked by the pure ledger and written back: fills, ex-date processing, corrections, proof of tables."""
