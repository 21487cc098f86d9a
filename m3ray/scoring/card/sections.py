"""The model card of a bundle, section by section, in the order of Hugging Face's template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m3ray.config.presets import CARBON
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.card.data_section import define_target, describe_data, describe_reliability, is_demo
from m3ray.scoring.card.energy import Used
from m3ray.scoring.card.markdown import format_interval, format_number, join_paragraphs, make_table
from m3ray.scoring.card.measured import Measured, measure_coverage
from m3ray.scoring.card.model_section import describe_decay, describe_model, describe_software, describe_training
from m3ray.scoring.card.tiers import (
    describe_decoding,
    explain_terms,
    list_weights,
    make_tier_table,
    make_weights_table,
)
from m3ray.study.cautions import FEWEST_VAL_CLIPS

_FEW_CLIPS = 100
_TOO_FEW = "too few to tell how good it is"
_CITATION = (
    "`CITATION.cff` beside this card has it in the Citation File Format, with the paper that the method is of: "
    "Dumont, Hevia and Fosco 2023, Modular Memorability: Tiered Representations for Video Memorability Prediction, "
    "CVPR."
)


@dataclass(frozen=True)
class Maker:
    """What the maker of a card says that no bundle knows.

    Args:
        licence: licence of the model, as SPDX or the hub name it; None: none was chosen.
        authors: names of whoever made the model; none: nobody is named.
    """

    licence: str | None = None
    authors: Sequence[str] = ()


def write_sections(bundle: Bundle, measured: Sequence[Measured], used: Used | None, maker: Maker) -> str:
    """Write the card below its head.

    Args:
        bundle: the bundle.
        measured: what `measure_bundle` gave.
        used: what the jobs of its root used; None: unknown.
        maker: what its maker says.
    Returns:
        Markdown.
    """
    parts = [
        f"# {bundle.name}: how memorable a video is",
        _warn(bundle),
        f"It predicts {define_target(bundle.metadata.units.name)}.",
        _summarise(bundle, measured),
        "It was made with the Python package m3ray, which opens it. It holds all that it takes to score new videos and "
        f"images{_describe_lacking(bundle)}.",
        *_write_model(bundle, maker),
        "## Uses",
        _describe_uses(bundle),
        "## Limits",
        _describe_limits(bundle, measured),
        "## How to use it",
        describe_loading(bundle.name),
        *_write_training(bundle),
        *_write_evaluation(bundle, measured),
        "## Energy",
        _describe_energy(used),
        "## Software",
        describe_software(bundle),
        "## Citation",
        _CITATION,
    ]
    return f"{join_paragraphs(parts)}\n"


def _write_model(bundle: Bundle, maker: Maker) -> list[str]:
    weights = list_weights(bundle)
    return [
        "## Model details",
        describe_model(bundle),
        _describe_maker(maker),
        "### Tiers: what it sees of a clip",
        "A tier is a group of features that are computed together.",
        make_tier_table(bundle),
        describe_decoding(bundle),
        "### Weights of its networks, and their terms",
        make_weights_table(weights),
        explain_terms(weights),
    ]


def _write_training(bundle: Bundle) -> list[str]:
    head = ["## Training", "### Data", describe_data(bundle)]
    return [*head, "### Procedure", describe_training(bundle), describe_decay(bundle)]


def _write_evaluation(bundle: Bundle, measured: Sequence[Measured]) -> list[str]:
    numbers = [_make_metric_table(measured), _explain_metrics(bundle)]
    return ["## Evaluation", *numbers, describe_reliability(bundle), _describe_coverage(bundle)]


def _warn(bundle: Bundle) -> str:
    lines = []
    if bundle.untrained:
        lines.append(
            "**Its networks are UNTRAINED**: they hold random numbers. Its scores mean nothing beyond a trial of the "
            "software."
        )
    if is_demo(bundle):
        lines.append("**Its data are made up**: drawn clips with drawn scores, so it knows nothing of real videos.")
    return "\n>\n".join(f"> {line}" for line in lines)


def _summarise(bundle: Bundle, measured: Sequence[Measured]) -> str:
    """The one number that most readers look for, with its interval and what would be possible."""
    rho = next((row for row in measured if row.metric == "rho" and row.value is not None), None)
    if rho is None:
        return ""
    interval = "" if rho.low is None else f" (95 % interval {format_interval(rho.low, rho.high)})"
    top = ((bundle.metadata.data or {}).get("ceiling") or {}).get(rho.where, {}).get("spearman")
    number = format_number(rho.value)
    clips = "" if rho.clips is None else f"{rho.clips:,} "
    if rho.is_of_few:
        where = f"{number}{interval} on {clips}{rho.where} clips"
        return f"Rank correlation with the truth: {where}, **{_TOO_FEW}** (under {FEWEST_VAL_CLIPS})."
    ceiling = "" if top is None else f"; no model could reach more than about {top:.3f} on them"
    return f"Rank correlation with the truth: **{number}**{interval} on {clips}{rho.where} clips{ceiling}."


def _describe_lacking(bundle: Bundle) -> str:
    """What is not in the bundle itself: weights that are fetched, or that whoever gets it must have."""
    files = [weights.origin for weights in list_weights(bundle) if weights.is_local_file]
    if files:
        return f", but for weights that lay in files of its makers ({', '.join(files)}): ask them for these"
    fetched = any("://" in weights.origin for weights in list_weights(bundle))
    return ", but for weights that are fetched from where they were published" if fetched else ""


def _describe_maker(maker: Maker) -> str:
    who = f"Made by {', '.join(maker.authors)}." if maker.authors else "Who made it is not recorded."
    licence = f"Licence: {maker.licence}." if maker.licence else "No licence is named: ask before you give it on."
    return f"{who} {licence}"


def _describe_uses(bundle: Bundle) -> str:
    if bundle.untrained or is_demo(bundle):
        return "To try the software. Do not use its scores for anything else."
    return (
        "Meant for: ranking videos or cuts of one kind by how well viewers will recognise them, studies of what makes "
        "videos memorable, and search in collections like the one that it was trained on.\n\n"
        "Not meant for: judging people, single decisions that nobody checks, and claims on how a video is liked, "
        "believed or bought, which it says nothing about."
    )


def _describe_limits(bundle: Bundle, measured: Sequence[Measured]) -> str:
    lines = [
        "It was evaluated on clips of its own data set alone. On others, rank correlations fall; measure it there with "
        "`m3ray evaluate`.",
        "It was not evaluated by groups of viewers, nor by what videos show. Whose memory the scores stand for, its "
        "data set tells.",
        "It hears no sound and reads no text beyond what its tiers see.",
    ]
    if bundle.reference is not None:
        lines.append(
            "A clip unlike all train clips gets a score all the same. The column `inside` of its predictions says how "
            "far outside of them a clip lies; below 0.01 the score is an extrapolation."
        )
    else:
        lines.append("A clip unlike all train clips gets a score all the same, and nothing says so.")
    lines += _describe_seen((bundle.metadata.data or {}).get("seen_duplicates") or {})
    few = [row for row in measured if row.metric == "rho" and row.clips is not None and row.clips < _FEW_CLIPS]
    lines += [f"Its numbers on {row.where} come from {row.clips} clips{_judge_few(row)}." for row in few]
    if bundle.metadata.user_provided:
        names = ", ".join(f"`{name}`" for name in bundle.metadata.user_provided)
        lines.append(f"It cannot score a video alone: {names} must be computed by you, as its makers did.")
    return "\n".join(f"- {line}" for line in lines)


def _judge_few(row: Measured) -> str:
    return f", {_TOO_FEW}" if row.is_of_few else ": see the width of the intervals"


def _describe_seen(seen: Mapping[str, int]) -> list[str]:
    """A line where clips that numbers are measured on have near duplicates in train."""
    counts = [f"{count:,} {name}" for name, count in seen.items() if count]
    if not counts:
        return []
    have = "clip has a near duplicate" if sum(seen.values()) == 1 else "clips have near duplicates"
    return [f"{' and '.join(counts)} {have} in train, so that its numbers flatter it."]


def describe_loading(name: str) -> str:
    """Show how a bundle is loaded.

    Args:
        name: its folder's name, or that of a pretrained scorer.
    Returns:
        Markdown with code.
    """
    return (
        "With the package m3ray installed:\n\n"
        f'```python\nimport m3ray\n\nscorer = m3ray.load("{name}")  # its folder or zip\n'
        'print(scorer.predict("videos/*.mp4"))\n```\n\n'
        f"```bash\nm3ray score videos/ --bundle {name}\n```"
    )


def _make_metric_table(measured: Sequence[Measured]) -> str:
    if not measured:
        return "How good it is, is not recorded."
    rows = [
        (
            row.metric,
            row.where,
            format_number(row.value),
            format_interval(row.low, row.high),
            "unknown" if row.clips is None else f"{row.clips:,}{', too few to tell' if row.is_of_few else ''}",
        )
        for row in measured
    ]
    return make_table(("metric", "on", "value", "95 % interval over clips", "clips"), rows)


def _explain_metrics(bundle: Bundle) -> str:
    trained = bundle.metadata.trained_on or {}
    variance, own = trained.get("val_variance"), trained.get("val_mse")
    constant = ""
    if variance is not None:
        constant = f" One score for all clips, their mean, would have MSE {format_number(variance)} on val."
        constant += " By MSE it is no better than that." if own is not None and own >= variance else ""
    chosen = bundle.metadata.calibrated_on not in (None, "val")
    note = " Val also chose settings of this model: its numbers are better than those of new clips." if chosen else ""
    return (
        "rho is Spearman's rank correlation of prediction and truth (interval of Bonett and Wright 2000), MSE the mean "
        f"squared error, MAE the mean absolute one (Student's intervals).{constant}{note}"
    )


def _describe_coverage(bundle: Bundle) -> str:
    found = measure_coverage(bundle)
    if found is None or found.value is None:
        return "Whether its 90 % intervals hold 90 % of the true scores was not measured: too few clips are known."
    low, high = 100 * (found.low or 0), 100 * (found.high or 0)
    return (
        f"Its 90 % intervals hold {found.value:.1%} of the true scores (95 % interval {low:.1f} to {high:.1f} %; "
        f"{found.clips:,} clips of {found.where}, cross-validated)."
    )


def _describe_energy(used: Used | None) -> str:
    if used is None:
        return "Unknown: a bundle does not hold it, and this card was made where its root is not."
    rows = [(row.device, f"{row.hours:,.3f}", f"{row.kwh:,.4f}", row.how) for row in used.devices]
    jobs = "The one job" if used.jobs == 1 else f"All {used.jobs} jobs"
    return join_paragraphs(
        [
            f"{jobs} of the root that it was made in, with extraction and the study's other models:",
            make_table(("device", "device hours", "kWh", "how"), rows),
            f"In all {used.kwh:.4g} kWh, {used.kilograms:.4g} kg of CO2 at {CARBON:g} kg a kWh.",
        ]
    )


__all__ = ["Maker", "describe_loading", "write_sections"]
