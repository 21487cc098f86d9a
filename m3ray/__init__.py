"""m3ray: tiered features and scores of video memorability, as a batch job on Ray.

>>> import m3ray
>>> m3ray.load("models/m3s").predict(["a.mp4"])  # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3ray.scoring.scorer import Scorer

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(bundle: str | os.PathLike[str]) -> Scorer:
    """Opens a bundle for scoring in this process, without a cluster.

    Args:
        bundle: its folder, as `jobs/train.py` or `jobs/reproduce.py` wrote it under `models/`.
    Raises:
        BundleError: not a bundle, of a newer version, or changed since it was written.
    """
    # Imported here: the decoding child imports this package too, and must not pay for torch.
    from m3ray.scoring.scorer import Scorer

    return Scorer(bundle)
