"""The tables of the paper, as it prints them."""
