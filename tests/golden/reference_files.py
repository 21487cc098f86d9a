"""Writing the reference files of this folder, and comparing them with what their scripts compute."""

from __future__ import annotations

import argparse

import numpy as np
from recipes import GOLDEN, golden


def largest_difference(name, computed):
    """The largest difference from the stored arrays, each relative to the largest number of its array."""
    stored = golden(name)
    assert set(stored.files) == set(computed), f"{name}.npz holds {stored.files}, the script computes {list(computed)}"
    return max(
        np.abs(np.subtract(computed[key], stored[key], dtype=np.float64)).max() / max(1e-12, np.abs(stored[key]).max())
        for key in stored.files
    )


def write_or_check(description, *computations):
    """The command line of a script: computes each named set of arrays, and writes it or compares it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored files instead of writing them")
    check = parser.parse_args().check
    for name, compute in computations:
        if check:
            print(f"{name}.npz: largest relative difference {largest_difference(name, compute()):.1e}")
        else:
            np.savez_compressed(GOLDEN / f"{name}.npz", **compute())
            print(f"{name}.npz: written")
