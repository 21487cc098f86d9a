"""m3ray: tiered features and scores of video memorability, as a batch job on Ray.

>>> import m3ray
>>> m3ray.load("models/m3s").predict(["a.mp4"])  # doctest: +SKIP
>>> m3ray.load("resmem").predict("videos/*.mp4")  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3ray.scoring.scorer import Scorer

__all__ = ["__version__", "load"]

try:
    __version__ = version("m3ray")
except PackageNotFoundError:  # a checkout that is not installed, such as a submitted working directory
    __version__ = "unknown"

# A library is silent by itself: jobs print on the console, other programs add handlers of their own.
logging.getLogger("m3ray").addHandler(logging.NullHandler())


def load(bundle: str | os.PathLike[str], *, allow_other_weights: bool = False) -> Scorer:
    """Open a bundle for scoring in this process, without a cluster.

    Args:
        bundle: the bundle's folder, as `jobs/train.py` or `jobs/reproduce.py` wrote it under `models/`; a zip of it, as
            `m3ray pack` writes it, here, in S3 or at an https address with `#sha256=HASH` behind it; or the name of a
            network that was trained elsewhere, such as `resmem`, whose package is installed.
        allow_other_weights: whether such a network may have other weights than the published ones.
    Returns:
        The scorer.
    Raises:
        BundleError: If it is no bundle, of a newer version, changed since it was written, or cannot be fetched.
        ConfigError: If the package of the network is not installed, or a web address has no hash.
        WeightsError: If its weights are other ones than published.
    """
    # Imported here: the decoding child imports this package too, and must not pay for torch.
    from m3ray.scoring.scorer import Scorer

    return Scorer(bundle, allow_other_weights=allow_other_weights)
