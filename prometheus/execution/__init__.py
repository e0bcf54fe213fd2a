"""Orders of runs listed, written out and settled; decision engine and brokers are of a later issue."""
