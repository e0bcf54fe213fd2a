"""Events of a household in, one fold, books out: lots, cash and the postings that explain them."""
