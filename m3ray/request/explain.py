"""Maps of clips that a job is asked for, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import PredictOptions
from m3ray.errors import ConfigError
from m3ray.schema import CAPTIONS, SIMILARITY
from m3ray.scoring.bundle_metadata import BundleManifest

ALL_CLIPS = "all"


def check_explain(options: PredictOptions, manifest: BundleManifest) -> None:
    """Check that a bundle's scores can be mapped: it needs a tier that is computed from frames.

    Args:
        options: Options of `predict`.
        manifest: What the bundle's `bundle.json` holds, or would.
    Raises:
        ConfigError: If it sees tiers of users alone, or clips are named and no map is asked for.
    """
    if options.explain_clips and not options.explain:
        raise ConfigError(f"--explain-clips {options.explain_clips[0]}: no map is asked for: give --explain too")
    if not options.explain:
        return
    sees = {*manifest.metadata.computed_tiers, *(block.tier for block in manifest.blocks)}
    check_occludable(manifest.name, sees - set(manifest.metadata.user_provided))


def check_occludable(name: str, computed: Iterable[str]) -> None:
    """Check that a bundle sees something of a clip's frames.

    Args:
        name: Name of the bundle.
        computed: Names of the tiers that it computes.
    Raises:
        ConfigError: If it sees user-provided tiers alone, or what was made of them.
    """
    if not [tier for tier in computed if tier != CAPTIONS and tier.partition(":")[0] != SIMILARITY]:
        raise ConfigError(
            f"--explain: {name} sees captions or user-provided tiers alone, and no frame that could be hidden from it: "
            "leave --explain out; its shares by tier say what there is to say"
        )


def check_explained_clips(options: PredictOptions, clips: pa.ChunkedArray) -> None:
    """Check that the clips to map are among those that are scored.

    Args:
        options: Options of `predict`.
        clips: Ids of the clips to score.
    Raises:
        ConfigError: If one is not.
    """
    wanted = options.explain_clips
    if wanted == (ALL_CLIPS,) or not wanted:
        return
    asked = pa.array(wanted, pa.string())
    unknown = asked.filter(pc.invert(pc.is_in(asked, value_set=clips.cast(pa.string()).combine_chunks())))
    if len(unknown):
        raise ConfigError(
            f"--explain-clips {unknown[0].as_py()}: no such clip among the {len(clips):,} to score; ids are as in "
            f"predictions.parquet, such as {clips[0].as_py()}"
        )
