"""The dual: the structured solver of stage 1, its links, its compiled kernels, and guesses of prices."""
