"""Factor model from a return panel: numpy in, numpy out."""
