"""Studies and searches through Ray Tune."""
