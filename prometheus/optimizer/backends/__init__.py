"""One small file for each solver behind one boundary."""
