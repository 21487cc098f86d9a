"""Which parts of a clip, and when, add to its score: maps over space and time."""

from m3ray.scoring.explanations.explain import explain_clip
from m3ray.scoring.explanations.explanation import Cell, Explanation, cells_table

__all__ = ["Cell", "Explanation", "cells_table", "explain_clip"]
