"""Files in, events out: the ledger's own CSV format, and brokers' files through mappings that are data."""
