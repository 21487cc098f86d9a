"""What a bundle knows of its train clips: the nearest ones of a new clip, and how far outside of them it lies."""
