"""Each table of the paper as a short list of variants, to be read against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from m3ray.config import TrainConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.config.presets import ablation_training, alone_training, measure_training
from m3ray.errors import ConfigError
from m3ray.schema import SIMILARITY
from m3ray.similarity import MEASURES

# In the paper's order of Tables 1 and 2; the paper writes "size" and "meanOF".
RAW_FEATURES = ("blurriness", "brightness", "contrast", "size_bytes", "mean_optical_flow", "hog")
RAW_FEATURES_2 = ("brightness", "contrast", "blurriness", "hog", "size_bytes", "mean_optical_flow")
M3S = ("raw", "scene", "event", SIMILARITY)
M3 = ("raw", "scene", "event")
UNFROZEN_MARK = ", unfrozen"
UNFROZEN = f"M3-S{UNFROZEN_MARK}"


@dataclass(frozen=True)
class Variant:
    """One model of a study.

    Args:
        name: as the table prints it, unique in a study.
        tiers: that it sees.
        without: raw features it does not see.
        training: its settings.
        full: the variant it is compared with; None: it is the full model itself.
        unfrozen: how its networks are trained with it, from frames; None: they stay as they are.
    """

    name: str
    tiers: tuple[str, ...]
    without: tuple[str, ...] = ()
    training: TrainConfig = field(default_factory=ablation_training)
    full: str | None = None
    unfrozen: UnfrozenConfig | None = None


def unfrozen_variant(whole: Variant, config: UnfrozenConfig) -> Variant:
    """The full model with its networks trained too: table 2's first row.

    Raises:
        ConfigError: the model sees no network that can be trained.
    """
    if not {"scene", "event"} & set(whole.tiers):
        raise ConfigError(f"--unfrozen: {whole.name} sees {', '.join(whole.tiers)}: no scene and no event to train")
    return replace(whole, name=f"{whole.name}{UNFROZEN_MARK}", full=whole.name, unfrozen=config)


def table1(tiers: Sequence[str]) -> list[Variant]:
    """Raw perception alone, leave one feature out."""
    if "raw" not in tiers:
        return []
    whole = Variant("raw, all features", ("raw",), training=alone_training())
    return [whole, *(_without_feature(whole, name, "raw without") for name in RAW_FEATURES)]


def table2(tiers: Sequence[str]) -> list[Variant]:
    """The full model, leave one raw feature out. Its unfrozen row is no variant: it trains on frames, not on tiers."""
    if "raw" not in tiers:
        return []
    whole = full_model(tiers)
    return [whole, *(_without_feature(whole, name, f"{whole.name} without") for name in RAW_FEATURES_2)]


def full_model(tiers: Sequence[str]) -> Variant:
    """M3-S over whatever tiers there are; M3 where similarity is none of them."""
    present = _present(tiers)
    return Variant("M3-S" if SIMILARITY in present else "M3", present)


def _present(tiers: Sequence[str]) -> tuple[str, ...]:
    """The model's tiers: the paper's in its order, then the user's; other measures of similarity are table 4's."""
    others = (t for t in tiers if t not in M3S and not t.startswith(f"{SIMILARITY}:"))
    return (*(t for t in M3S if t in tiers), *others)


def table3(tiers: Sequence[str]) -> list[Variant]:
    """M3-S and M3, leave one tier out, over whatever tiers there are."""
    present = _present(tiers)
    plain = tuple(t for t in present if t != SIMILARITY)
    m3s, m3 = Variant("M3-S", present), Variant("M3", plain)
    if SIMILARITY not in present:
        return [m3, *(_without_tier(m3, tier) for tier in plain if len(plain) > 1)]
    rows = [m3s, replace(m3, full="M3-S")]
    for tier in plain:
        rows.append(_without_tier(m3s, tier))
        if len(plain) > 1:
            rows.append(_without_tier(m3, tier))
    return rows


def table4(tiers: Sequence[str]) -> list[Variant]:
    """Each similarity measure alone, 15 epochs, and M3 with it, to be compared with table 3's M3."""
    rows = []
    for tier, name in measure_tiers(tiers).items():
        rows += [Variant(f"{name} alone", (tier,), training=measure_training()), with_measure(tier, tiers)]
    return rows


def measure_tiers(tiers: Sequence[str]) -> dict[str, str]:
    """Tier to the name of its measure; the tier `similarity` itself is the full model's own."""
    own = {SIMILARITY: SIMILARITY} if SIMILARITY in tiers else {}
    return own | {f"{SIMILARITY}:{name}": name for name in MEASURES if f"{SIMILARITY}:{name}" in tiers}


def with_measure(tier: str, tiers: Sequence[str]) -> Variant:
    """M3 with a measure; with the full model's own it is M3-S, and trains once."""
    if tier == SIMILARITY:
        return full_model(tiers)
    plain = tuple(t for t in _present(tiers) if t != SIMILARITY)
    return Variant(f"M3 + {tier.partition(':')[2]}", (*plain, tier), full="M3")


def _without_feature(whole: Variant, feature: str, prefix: str) -> Variant:
    return replace(whole, name=f"{prefix} {feature}", without=(feature,), full=whole.name)


def _without_tier(whole: Variant, tier: str) -> Variant:
    kept = tuple(t for t in whole.tiers if t != tier)
    return replace(whole, name=f"{whole.name} without {tier}", tiers=kept, full=whole.name)


TABLES = {1: table1, 2: table2, 3: table3, 4: table4}


def study_variants(
    tables: Sequence[int],
    tiers: Sequence[str],
    epochs: int | None = None,
    chosen: Mapping[TrainConfig, TrainConfig] | None = None,
) -> dict[int, list[Variant]]:
    """The variants of each table asked for.

    Args:
        tables: their numbers.
        tiers: that there are.
        epochs: in place of the paper's.
        chosen: settings in place of others, in every variant that has those.
    Raises:
        ConfigError: a table that there is none of.
    """
    unknown = [number for number in tables if number not in TABLES]
    if unknown:
        raise ConfigError(f"--tables {unknown[0]}: choose from {', '.join(map(str, TABLES))}")
    found = {number: TABLES[number](tiers) for number in tables}
    return {number: [_trained_as(v, epochs, chosen or {}) for v in rows] for number, rows in found.items()}


def _trained_as(variant: Variant, epochs: int | None, chosen: Mapping[TrainConfig, TrainConfig]) -> Variant:
    training = variant.training if epochs is None else replace(variant.training, epochs=epochs)
    return replace(variant, training=chosen.get(training, training))
