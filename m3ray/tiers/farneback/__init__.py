"""Farneback's dense optical flow (2003) as OpenCV defines it, twice: in PyTorch for GPUs, by Numba for CPUs.

A pyramid of blurred frames, a quadratic polynomial fitted around each pixel, and from the difference of two frames'
polynomials a displacement, averaged over a window and iterated. Each frame is expanded once, though it takes part in
two pairs.
"""

from m3ray.tiers.farneback.batched import Improve, flows, improve_flow

__all__ = ["Improve", "flows", "improve_flow"]
