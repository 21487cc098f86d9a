"""Each table of the paper as a short list of variants, to be read against it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.presets import ablation_training, alone_training, measure_training
from m3ray.config.serialization import added_setting, json_key
from m3ray.errors import ConfigError
from m3ray.schema import SIMILARITY
from m3ray.similarity import MEASURES
from m3ray.tiers.pretrained.facts import PretrainedScorer

# In the paper's order of Tables 1 and 2; the paper writes "size" and "meanOF".
RAW_FEATURES = ("blurriness", "brightness", "contrast", "size_bytes", "mean_optical_flow", "hog")
RAW_FEATURES_2 = ("brightness", "contrast", "blurriness", "hog", "size_bytes", "mean_optical_flow")
M3S_NAME, M3_NAME = "M3-S", "M3"
M3S = ("raw", "scene", "event", SIMILARITY)
M3 = ("raw", "scene", "event")
UNFROZEN_MARK = ", unfrozen"
UNFROZEN = f"{M3S_NAME}{UNFROZEN_MARK}"

NOT_TRAINED = "not trained here"

REGRESSORS_TABLE = 7
ENSEMBLE: Literal["ensemble"] = "ensemble"
Regressor = Literal["ridge", "svr", "boosting", "constant", "ensemble"]
REGRESSOR_NAMES: tuple[Regressor, ...] = ("ridge", "svr", "boosting", "constant")
Calibration = Literal["none", "linear", "isotonic"]
VariantKind = Literal[
    "full", "finetuned", "measure_alone", "pretrained", "regressor", "with_measure", "without_feature", "without_tier"
]


@dataclass(frozen=True)
class Variant:
    """One model of a study.

    Args:
        name: Name as the tables print it, unique in a study.
        tiers: Tiers that the model sees.
        without: Raw features that it does not see.
        training: Settings of its training.
        full: Name of the variant that it is compared with; None: it is a full model itself, or a measure alone.
        finetuning: Settings of training its networks with it, from frames; None: they stay as they are.
        regressor: What stands in the MLP's place; None: the MLP.
        pretrained: Pretrained scorer whose own output is the prediction, without any training here; None: none.
        calibration: How its output is mapped to the scores, by the train split alone.
    """

    name: str
    tiers: tuple[str, ...]
    without: tuple[str, ...] = ()
    training: TrainConfig = field(default_factory=ablation_training)
    full: str | None = None
    finetuning: FinetuneConfig | None = field(default=None, metadata=json_key("unfrozen"))
    regressor: Regressor | None = field(default=None, metadata=added_setting())
    pretrained: str | None = field(default=None, metadata=added_setting())
    calibration: Calibration = field(default="none", metadata=added_setting())

    @property
    def kind(self) -> VariantKind:
        """Role of the variant in its table, by what it sees and how it is trained."""
        if self.finetuning is not None:
            return "finetuned"
        if self.pretrained is not None:
            return "pretrained"
        if self.regressor is not None:
            return "regressor"
        if self.without:
            return "without_feature"
        if self.full is None:
            return "measure_alone" if self.tiers and all(map(_is_measure, self.tiers)) else "full"
        added = any(tier != SIMILARITY and _is_measure(tier) for tier in self.tiers)
        return "with_measure" if added else "without_tier"


def _is_measure(tier: str) -> bool:
    """Whether a tier is the similarity tier, or one of Table 4's measures of it."""
    return tier.partition(":")[0] == SIMILARITY


def name_alone(measure: str) -> str:
    """Name of the variant that sees a similarity measure alone.

    Args:
        measure: Name of the measure; `similarity` for the full model's own.
    Returns:
        The name as Table 4's variants have it.
    """
    return f"{measure} alone"


def name_with_measure(measure: str, plain: str = M3_NAME) -> str:
    """Name of the variant that sees M3's tiers and a similarity measure.

    Args:
        measure: Name of the measure.
        plain: Name of the model without similarity.
    Returns:
        The name as Table 4's variants have it.
    """
    return f"{plain} + {measure}"


def make_finetune_variant(full: Variant, config: FinetuneConfig) -> Variant:
    """The full model with its networks trained too: Table 2's first row.

    Args:
        full: The full model.
        config: Settings of the finetuning.
    Returns:
        The variant, compared with the full model.
    Raises:
        ConfigError: If the full model sees no network that can be trained.
    """
    if not {"scene", "event"} & set(full.tiers):
        raise ConfigError(f"--unfrozen: {full.name} sees {', '.join(full.tiers)}: no scene and no event to train")
    return replace(full, name=f"{full.name}{UNFROZEN_MARK}", full=full.name, finetuning=config)


def regressor_variants(full: Variant) -> list[Variant]:
    """The models that stand beside a full model, on the same tiers: Table 7 without its first row.

    Args:
        full: The full model, an MLP.
    Returns:
        The ensemble, then each regressor; all are compared with the full model. The ensemble has the full model's
        settings, as its MLP is that one; what the others learn does not depend on them.
    """
    ensemble = _with_regressor(full, ENSEMBLE, full.training)
    return [ensemble, *(_with_regressor(full, name, ablation_training()) for name in REGRESSOR_NAMES)]


def _with_regressor(full: Variant, name: Regressor, training: TrainConfig) -> Variant:
    return replace(full, name=name_regressor(name), training=training, full=full.name, regressor=name)


def name_regressor(name: str) -> str:
    """Name of the variant that has a regressor in the MLP's place.

    Args:
        name: Name of the regressor.
    Returns:
        The name as Table 7's variants have it.
    """
    return f"{name}, all tiers"


def pretrained_variant(full: Variant, scorer: PretrainedScorer, calibration: Calibration = "none") -> Variant:
    """The row of a pretrained scorer: its output as it is, or mapped to the scores by the train split.

    Args:
        full: The full model.
        scorer: What is known of the scorer.
        calibration: How its output is mapped.
    Returns:
        The variant, compared with the full model, which need not see its tier.
    """
    how = NOT_TRAINED if calibration == "none" else f"calibrated on train ({calibration})"
    return Variant(
        f"{scorer.title}, {how}", (scorer.name,), full=full.name, pretrained=scorer.name, calibration=calibration
    )


def table1(tiers: Sequence[str]) -> list[Variant]:
    """Raw perception alone, leave one feature out.

    Args:
        tiers: Tiers of the root.
    Returns:
        The variants in the table's order; none without the raw tier.
    """
    if "raw" not in tiers:
        return []
    full = Variant("raw, all features", ("raw",), training=alone_training())
    return [full, *(_without_feature(full, name, "raw without") for name in RAW_FEATURES)]


def table2(tiers: Sequence[str]) -> list[Variant]:
    """The full model, leave one raw feature out; its unfrozen row is added where the networks are trained.

    Args:
        tiers: Tiers of the root.
    Returns:
        The variants in the table's order; none without the raw tier.
    """
    if "raw" not in tiers:
        return []
    full = full_model(tiers)
    return [full, *(_without_feature(full, name, f"{full.name} without") for name in RAW_FEATURES_2)]


def full_model(tiers: Sequence[str]) -> Variant:
    """M3-S over the tiers of a root; M3 where similarity is none of them; of captions say, what it sees.

    Args:
        tiers: Tiers of the root.
    Returns:
        The variant that the others are compared with.
    """
    model_tiers = _model_tiers(tiers)
    return Variant(name_model(model_tiers), model_tiers)


def name_model(tiers: Sequence[str]) -> str:
    """Name a model by its tiers.

    Args:
        tiers: Tiers that it sees, in the study's order.
    Returns:
        M3-S, or M3 without similarity; what sees none of raw, scene and event is neither, and bears its tiers' names,
        similarity last.
    """
    if not set(M3) & set(tiers):
        return " + ".join(sorted(tiers, key=lambda tier: tier == SIMILARITY))
    return M3S_NAME if SIMILARITY in tiers else M3_NAME


def find_plain_name(variants: Collection[str]) -> str:
    """Find the name of the full model without similarity among a study's.

    Args:
        variants: Names of the study's variants.
    Returns:
        M3, or the name of which there is one with similarity too.
    """
    others = (name for name in variants if f"{name} + {SIMILARITY}" in variants)
    return M3_NAME if M3_NAME in variants else next(others, M3_NAME)


def order_tiers(tiers: Sequence[str], held: Sequence[str]) -> tuple[str, ...]:
    """Put tiers into the order that every study on a root has them in, as runs depend on the order of their columns.

    Args:
        tiers: Tiers that a model is to see.
        held: Tiers of the root, in its order.
    Returns:
        The same tiers; those that the root does not hold come last.
    """
    known = [*_model_tiers(held), *(tier for tier in held if tier.startswith(f"{SIMILARITY}:"))]
    return (*(tier for tier in known if tier in tiers), *(tier for tier in tiers if tier not in known))


def _model_tiers(tiers: Sequence[str]) -> tuple[str, ...]:
    """The model's tiers: the paper's in its order, then the user's; other measures of similarity are Table 4's."""
    others = (t for t in tiers if t not in M3S and not t.startswith(f"{SIMILARITY}:"))
    return (*(t for t in M3S if t in tiers), *others)


def table3(tiers: Sequence[str]) -> list[Variant]:
    """M3-S and M3, leave one tier out.

    Args:
        tiers: Tiers of the root.
    Returns:
        The variants in the table's order; M3's alone without the similarity tier.
    """
    model_tiers = _model_tiers(tiers)
    plain = tuple(t for t in model_tiers if t != SIMILARITY)
    m3s, m3 = full_model(model_tiers), full_model(plain)
    if SIMILARITY not in model_tiers:
        return [m3, *(_without_tier(m3, tier) for tier in plain if len(plain) > 1)]
    rows = [m3s, replace(m3, full=m3s.name)]
    for tier in plain:
        rows.append(_without_tier(m3s, tier))
        if len(plain) > 1:
            rows.append(_without_tier(m3, tier))
    return rows


def table4(tiers: Sequence[str]) -> list[Variant]:
    """Each similarity measure alone, 15 epochs, and M3 with it, to be compared with Table 3's M3.

    Args:
        tiers: Tiers of the root.
    Returns:
        Two variants a measure that the root has.
    """
    rows = []
    for tier, measure in measure_tiers(tiers).items():
        rows += [Variant(name_alone(measure), (tier,), training=measure_training()), with_measure(tier, tiers)]
    return rows


def measure_tiers(tiers: Sequence[str]) -> dict[str, str]:
    """Similarity tiers of a root and the measures that they hold.

    Args:
        tiers: Tiers of the root.
    Returns:
        Tier to the name of its measure; the tier `similarity` itself is the full model's own.
    """
    own = {SIMILARITY: SIMILARITY} if SIMILARITY in tiers else {}
    return own | {f"{SIMILARITY}:{name}": name for name in MEASURES if f"{SIMILARITY}:{name}" in tiers}


def with_measure(tier: str, tiers: Sequence[str]) -> Variant:
    """M3 with a similarity measure; with the full model's own it is M3-S, and trains once.

    Args:
        tier: Tier of the measure, `similarity` or `similarity:NAME`.
        tiers: Tiers of the root.
    Returns:
        The variant, compared with M3.
    """
    if tier == SIMILARITY:
        return full_model(tiers)
    plain = tuple(t for t in _model_tiers(tiers) if t != SIMILARITY)
    name = name_model(plain)
    return Variant(name_with_measure(tier.partition(":")[2], name), (*plain, tier), full=name)


def _without_feature(full: Variant, feature: str, prefix: str) -> Variant:
    return replace(full, name=f"{prefix} {feature}", without=(feature,), full=full.name)


def _without_tier(full: Variant, tier: str) -> Variant:
    tiers = tuple(t for t in full.tiers if t != tier)
    return replace(full, name=f"{full.name} without {tier}", tiers=tiers, full=full.name)


def describe_reported_epoch(full: Variant) -> dict[str, str]:
    """Describe which epoch the rows of a study report, for below its tables, where it is not the last.

    Args:
        full: The full model; all rows report the epoch that it does.
    Returns:
        `epoch` to a sentence; nothing where rows report their last epoch.
    """
    if full.training.report == "last":
        return {}
    return {
        "epoch": "Values are those of each run's best epoch on val, not of the last one: the epoch was chosen on the "
        "clips that it is measured on, so they are optimistic."
    }


TABLES = {1: table1, 2: table2, 3: table3, 4: table4}


def study_variants(
    tables: Sequence[int],
    tiers: Sequence[str],
    epochs: int | None = None,
    selected: Mapping[TrainConfig, TrainConfig] | None = None,
    train_as: Callable[[TrainConfig], TrainConfig] | None = None,
) -> dict[int, list[Variant]]:
    """The variants of each table of a study.

    Args:
        tables: Numbers of the tables, of 1 to 4.
        tiers: Tiers of the root.
        epochs: Epochs in place of the paper's; None: the paper's.
        selected: Training settings to the settings that take their place in every variant that has them.
        train_as: From the paper's settings of a row to those that it is trained with, before its epochs; None: as they
            are.
    Returns:
        Number of a table to its variants in order.
    Raises:
        ConfigError: If there is no table of a number.
    """
    unknown = [number for number in tables if number not in TABLES]
    if unknown:
        raise ConfigError(f"--tables {unknown[0]}: choose from {', '.join(map(str, TABLES))}")
    rows = {number: TABLES[number](tiers) for number in tables}
    if train_as is not None:
        rows = {number: [replace(v, training=train_as(v.training)) for v in rows[number]] for number in tables}
    return {number: [_override_training(v, epochs, selected or {}) for v in rows[number]] for number in tables}


def _override_training(variant: Variant, epochs: int | None, selected: Mapping[TrainConfig, TrainConfig]) -> Variant:
    training = variant.training if epochs is None else replace(variant.training, epochs=epochs)
    return replace(variant, training=selected.get(training, training))
