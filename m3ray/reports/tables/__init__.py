"""The tables of the study, as the paper prints them."""
