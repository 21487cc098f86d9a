"""Model cards: what a bundle knows of itself, for whoever gets it."""
