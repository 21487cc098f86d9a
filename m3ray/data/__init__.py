"""Data in: catalogues, decoding, and the store that everything is written to."""
