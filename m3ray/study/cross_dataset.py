"""Evaluation of bundles across data sets: what each was trained on (rows) by what it is evaluated on (columns)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from m3ray.config.serialization import as_json, json_key
from m3ray.features.target import SCORE
from m3ray.model.metrics import METRICS
from m3ray.study.cross_legend import explain_table
from m3ray.study.reliability import Ceiling, share_of_ceiling


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of one bundle on one data set.

    Args:
        trained_on: Name of the bundle's root, or of the bundle.
        evaluated_on: Name of the root whose clips are scored.
        split: `test`, or `val` where no clip of `test` has a score.
        own: Whether the bundle was trained on this root.
        clips: Number of clips scored.
        spearman: Spearman's rank correlation; None where it is undefined.
        low: Lower end of its 95 % confidence interval; None where the correlation is undefined.
        high: Upper end of its 95 % confidence interval; None where the correlation is undefined.
        mse: Mean squared error; None where fewer than two clips are left.
        untrained: Whether the bundle's features came from random weights.
        target: What was predicted.
        bundle: Name of the bundle.
        reliability: Share of the scores' variance that is not the viewers' chance; None where it is unknown.
        ceiling: Highest rank correlation that a perfect model could have with these scores; None where it is unknown.
        share: `spearman` as a share of the ceiling; None where either is unknown.
        share_low: Lower end of its 95 % confidence interval; None: there is none.
        share_high: Upper end of it; None: there is none.
        no_ceiling: Why the ceiling is unknown; empty: it is known.
        seen_train: How many clips of the split trained the bundle, which are left out; None: an older bundle does not
            tell.
        seen_val: How many were among those that chose its settings or calibrated it, and trained nothing; they are left
            out too, unless they are val of its own root; None: an older bundle does not tell.
        spearman_with_seen: The correlation over all clips, those left out too; None where it is undefined.
        pretrained: Whether the bundle is a network that was trained elsewhere.
        undefined: Why the metrics are undefined; empty where they are not, or predictions or scores are constant.
    """

    trained_on: str
    evaluated_on: str = field(metadata=json_key("judged_on"))
    split: str
    own: bool
    clips: int
    spearman: float | None
    low: float | None
    high: float | None
    mse: float | None
    untrained: bool = False
    target: str = SCORE
    bundle: str = ""
    reliability: float | None = None
    ceiling: float | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    no_ceiling: str = ""
    seen_train: int | None = None
    seen_val: int | None = None
    spearman_with_seen: float | None = None
    pretrained: bool = False
    undefined: str = ""

    @property
    def keeps_val(self) -> bool:
        """Whether val of the bundle's own root is all there is to evaluate it on: it stays, as it trained nothing."""
        return self.own and self.split == "val"


def evaluate_predictions(
    trained_on: str,
    evaluated_on: str,
    split: str,
    own: bool,
    predictions: np.ndarray,
    truth: np.ndarray,
    ceiling: Ceiling | None = None,
) -> Evaluation:
    """Compare predictions with scores.

    Args:
        trained_on: Name of the bundle's root, or of the bundle.
        evaluated_on: Name of the root whose clips are scored.
        split: Split of the clips, `test` or `val`.
        own: Whether the bundle was trained on this root.
        predictions: Predicted scores of the ensemble, (N,).
        truth: Scores, (N,).
        ceiling: Ceiling of these clips' scores; None: nobody looked.
    Returns:
        The metrics, the correlation with its confidence interval, and its share of the ceiling.
    """
    if len(truth) < FEWEST_CLIPS:
        return Evaluation(trained_on, evaluated_on, split, own, len(truth), None, None, None, None)
    rho = float(METRICS["spearman"](predictions[None], truth)[0])
    mse = float(METRICS["mse"](predictions[None], truth)[0])
    known, top = math.isfinite(rho), ceiling or Ceiling(0)
    low, high = spearman_confidence_interval(rho, len(truth)) if known else (None, None)
    share = share_of_ceiling(rho, low, high, top)
    return Evaluation(
        trained_on,
        evaluated_on,
        split,
        own,
        len(truth),
        rho if known else None,
        low,
        high,
        mse,
        reliability=top.reliability,
        ceiling=top.spearman,
        share=share.share,
        share_low=share.low,
        share_high=share.high,
        no_ceiling=top.reason,
    )


def evaluate_unseen(whole: Evaluation, unseen: Evaluation, seen_train: int, seen_val: int) -> Evaluation:
    """Say of an evaluation which clips it is without.

    Args:
        whole: Evaluation on all clips.
        unseen: Evaluation on those that the bundle has not seen; those of its own val are among them if it keeps them.
        seen_train: Number of clips that trained it.
        seen_val: Number of clips that chose its settings or calibrated it.
    Returns:
        The evaluation on the clips that it has not seen, with these numbers.
    """
    reason = ""
    if unseen.clips < FEWEST_CLIPS:
        others = ": the bundle has seen the others" if unseen.clips < whole.clips else ""
        reason = f"{unseen.clips} clips are left of {whole.clips}, {FEWEST_CLIPS} are the fewest{others}"
    return replace(
        unseen, seen_train=seen_train, seen_val=seen_val, spearman_with_seen=whole.spearman, undefined=reason
    )


def spearman_confidence_interval(rho: float, clips: int) -> tuple[float, float]:
    """95 % confidence interval of a rank correlation: Fisher's z with the variance of Bonett and Wright (2000).

    Args:
        rho: Spearman's rank correlation, -1 to 1.
        clips: Number of clips.
    Returns:
        Lower and upper end; -1 and 1 for fewer than 5 clips.
    """
    if clips < 5:
        return -1.0, 1.0
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    # z +- 1.96 sqrt((1 + rho^2 / 2) / (n - 3)), z = atanh(rho)
    margin = 1.959964 * math.sqrt((1 + rho**2 / 2) / (clips - 3))
    return math.tanh(centre - margin), math.tanh(centre + margin)


def evaluation_table(evaluations: list[Evaluation]) -> pd.DataFrame:
    """Evaluations as a table.

    Args:
        evaluations: Evaluations of bundles on data sets.
    Returns:
        A row an evaluation, a column a field, `evaluated_on` by its earlier name `judged_on`.
    """
    frame = pd.DataFrame([as_json(evaluation) for evaluation in evaluations])
    # A column of which no row has a value would be one of objects.
    frame = frame.astype(
        dict.fromkeys(("spearman", "low", "high", "mse", "spearman_with_seen", *_OF_THE_CEILING), float)
    )
    return frame.astype(dict.fromkeys(("seen_train", "seen_val"), "Int64"))


FEWEST_CLIPS = 2
_OF_THE_CEILING = ("reliability", "ceiling", "share", "share_low", "share_high")


def as_markdown(evaluations: list[Evaluation]) -> str:
    """Evaluations as a Markdown table, bundles by data sets; what a bundle was trained on is in italics.

    Args:
        evaluations: Evaluations of bundles on data sets.
    Returns:
        The table, with how it is read, why ceilings are unknown, and a line on untrained weights where there are some.
    """
    columns = list(dict.fromkeys(row.evaluated_on for row in evaluations))
    labels = _label_bundles(evaluations)
    cells = {(label, row.evaluated_on): _cell(row) for label, row in zip(labels, evaluations, strict=True)}
    lines = [f"| trained on | {' | '.join(f'on {name}' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(labels):
        lines.append(f"| {name} | " + " | ".join(cells.get((name, column), "") for column in columns) + " |")
    further = [*_explain_unknown(evaluations), *filter(None, map(describe_seen, evaluations))]
    lines += ["", *explain_table(evaluations), *(line for text in further for line in ("", text))]
    random = dict.fromkeys(row.trained_on for row in evaluations if row.untrained)
    if random:
        lines += ["", f"UNTRAINED weights made the features of {', '.join(random)}: for trials alone."]
    return "\n".join(lines) + "\n"


def _label_bundles(evaluations: list[Evaluation]) -> list[str]:
    """Name of each evaluation's bundle in the table: what it was trained on, and which one where there are several."""
    bundles: dict[str, set[str]] = {}
    for row in evaluations:
        bundles.setdefault(row.trained_on, set()).add(row.bundle)
    return [
        f"{row.trained_on}: {row.bundle}" if len(bundles[row.trained_on]) > 1 else row.trained_on for row in evaluations
    ]


def describe_seen(row: Evaluation) -> str:
    """Say in a line which clips of an evaluation the bundle has seen, and what they would have made of it.

    Args:
        row: The evaluation.
    Returns:
        The line; empty where it has seen none.
    """
    bundle, data = f"{row.bundle or 'the bundle'} of {row.trained_on}", row.evaluated_on
    if row.pretrained:
        return f"Whether clips of {data} are among {row.trained_on}, which {row.bundle} was trained on, is unknown."
    if row.seen_train is None or row.seen_val is None:
        return (
            ""
            if row.own
            else (
                f"Whether clips of {data} trained {bundle} is unknown: an older m3ray wrote the bundle: train it again."
            )
        )
    val_out = 0 if row.keeps_val else row.seen_val
    lines = []
    if row.keeps_val and row.seen_val:
        lines.append(
            f"{bundle} is evaluated on its own val clips, which may have chosen its settings and calibrated it, and no "
            f"test split is there in {data}."
        )
    if out := row.seen_train + val_out:
        lines.append(
            f"SEEN: of the {out + row.clips} {row.split} clips of {data} {row.seen_train} trained {bundle} and "
            f"{val_out} were its val clips: left out; rho {_format_rho(row.spearman)} without them, "
            f"{_format_rho(row.spearman_with_seen)} with them."
        )
    return " ".join([*lines, f"Undefined on {data}: {row.undefined}."] if row.undefined else lines)


def _format_rho(rho: float | None) -> str:
    return "undefined" if rho is None else f"{rho:.3f}"


def _cell(row: Evaluation) -> str:
    of = "" if row.target == "score" else f"{row.target}: "
    if row.spearman is None:
        return f"{of}undefined ({row.clips} {row.split} clips)"
    text = f"{of}{row.spearman:.3f} [{row.low:.3f}, {row.high:.3f}], MSE {row.mse:.4f}, {row.clips} {row.split} clips"
    text += _ceiling_text(row)
    return f"*{text}*" if row.own else text


def _ceiling_text(row: Evaluation) -> str:
    """Text of the share of the ceiling; empty where it is unknown."""
    if row.ceiling is None or row.share is None:
        return ""
    interval = ""
    if row.share_low is not None and row.share_high is not None:
        interval = f" [{100 * row.share_low:.0f}, {100 * row.share_high:.0f}]"
    return f", {100 * row.share:.0f}{interval} % of the ceiling {row.ceiling:.3f} (reliability {row.reliability:.3f})"


def _explain_unknown(evaluations: list[Evaluation]) -> list[str]:
    """A line for each data set and target whose ceiling is unknown."""
    reasons = {
        (row.evaluated_on, row.target): row.no_ceiling for row in evaluations if row.ceiling is None and row.no_ceiling
    }
    return [
        f"Ceiling unknown on {name}{'' if target == 'score' else f' for {target}'}: {reason}."
        for (name, target), reason in reasons.items()
    ]
