"""Each table of the paper as a short list of variants, to be read against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.presets import ablation_training, alone_training

# In the paper's order of Table 1; the paper writes "size" and "meanOF".
RAW_FEATURES = ("blurriness", "brightness", "contrast", "size_bytes", "mean_optical_flow", "hog")
M3S = ("raw", "scene", "event", "similarity")
M3 = ("raw", "scene", "event")


@dataclass(frozen=True)
class Variant:
    """One model of a study.

    Args:
        name: as the table prints it, unique in a study.
        tiers: that it sees.
        without: raw features it does not see.
        training: its settings.
        full: the variant it is compared with; None: it is the full model itself.
    """

    name: str
    tiers: tuple[str, ...]
    without: tuple[str, ...] = ()
    training: TrainConfig = field(default_factory=ablation_training)
    full: str | None = None


def table1(tiers: Sequence[str]) -> list[Variant]:
    """Raw perception alone, leave one feature out."""
    if "raw" not in tiers:
        return []
    whole = Variant("raw, all features", ("raw",), training=alone_training())
    return [whole, *(_without_feature(whole, name, "raw without") for name in RAW_FEATURES)]


def table3(tiers: Sequence[str]) -> list[Variant]:
    """M3-S and M3, leave one tier out, over whatever tiers there are."""
    present = tuple(t for t in M3S if t in tiers) + tuple(t for t in tiers if t not in M3S)
    plain = tuple(t for t in present if t != "similarity")
    m3s, m3 = Variant("M3-S", present), Variant("M3", plain)
    if "similarity" not in present:
        return [m3, *(_without_tier(m3, tier) for tier in plain if len(plain) > 1)]
    rows = [m3s, replace(m3, full="M3-S")]
    for tier in plain:
        rows.append(_without_tier(m3s, tier))
        if len(plain) > 1:
            rows.append(_without_tier(m3, tier))
    return rows


def _without_feature(whole: Variant, feature: str, prefix: str) -> Variant:
    return replace(whole, name=f"{prefix} {feature}", without=(feature,), full=whole.name)


def _without_tier(whole: Variant, tier: str) -> Variant:
    kept = tuple(t for t in whole.tiers if t != tier)
    return replace(whole, name=f"{whole.name} without {tier}", tiers=kept, full=whole.name)


TABLES = {1: table1, 3: table3}


def study_variants(tables: Sequence[int], tiers: Sequence[str], epochs: int | None = None) -> dict[int, list[Variant]]:
    """The variants of each table asked for.

    Raises:
        ConfigError: a table that there is none of.
    """
    unknown = [number for number in tables if number not in TABLES]
    if unknown:
        raise ConfigError(f"--tables {unknown[0]}: choose from {', '.join(map(str, TABLES))}")
    found = {number: TABLES[number](tiers) for number in tables}
    if epochs is None:
        return found
    return {
        number: [replace(v, training=replace(v.training, epochs=epochs)) for v in rows]
        for number, rows in found.items()
    }
