"""The sections of a model card on the model itself: what it is, how it was trained, with which software."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3ray.scoring.bundle import Bundle
from m3ray.scoring.card.markdown import format_number, make_table
from m3ray.scoring.diverged import describe_dropped

_NAMES = {"mlp": "MLP", "ridge": "ridge", "svr": "support vectors", "boosting": "boosted trees"}
_LEAST_SHARE = 0.005
_TRAINING = ("loss", "epochs", "batch", "learning_rate", "weight_decay")
_TUNED = ("epochs", "batch", "learning_rate", "backbone_learning_rate", "precision", "size")


def describe_model(bundle: Bundle) -> str:
    """Say what scores.

    Args:
        bundle: the bundle.
    Returns:
        Sentences.
    """
    metadata, features = bundle.metadata, len(bundle.baseline)
    variant = dict(metadata.variant or {})
    parts = [_name_variant(variant.get("name")), f"It sees {features:,} features."]
    shares = ((metadata.out_of_fold or {}).get(metadata.model or "") or {}).get("shares") or {}
    if metadata.mixture is not None:
        named = [
            f"{_NAMES.get(name, name)} {100 * share:.0f} %" for name, share in shares.items() if share >= _LEAST_SHARE
        ]
        of = f" ({', '.join(named)})" if named else ""
        kind = "A weighted sum of models beside one another" if metadata.model == "ensemble" else "One regressor"
        parts.append(f"{kind}{of}, put on the scores' scale by one map; the weights come from clips held out of train.")
    if bundle.model is not None:
        parts.append(_describe_mlp(bundle))
    if metadata.dropped_runs:
        parts.append(f"{describe_dropped(metadata.dropped_runs).capitalize()}.")
    return " ".join(part for part in parts if part)


def _name_variant(name: str | None) -> str:
    """What it was trained as, with what the paper's names mean."""
    meaning = {"M3-S": " (in the paper: all tiers)", "M3": " (in the paper: all tiers but similarity)"}
    return "" if not name else f"Trained as {name}{meaning.get(name, '')}."


def _describe_mlp(bundle: Bundle) -> str:
    assert bundle.model is not None
    weights = bundle.model.weights
    runs, widths = len(weights[0]), [w.shape[1] for w in weights[:-1]]
    count = sum(int(w[0].numel()) for w in weights) + sum(int(b[0].numel()) for b in bundle.model.biases)
    hidden = f"hidden layers of {' and '.join(map(str, widths))}" if widths else "no hidden layer"
    runs_text = "1 run" if runs == 1 else f"the mean of {runs} runs, seeds {_list_seeds(bundle.metadata.seeds)}"
    return f"The MLP: {hidden}, {count:,} parameters, {runs_text}."


def _list_seeds(seeds: Any) -> str:
    known = sorted(seeds or ())
    if not known:
        return "unknown"
    whole = known == list(range(known[0], known[-1] + 1)) and len(known) > 2
    return f"{known[0]} to {known[-1]}" if whole else ", ".join(map(str, known))


def describe_training(bundle: Bundle) -> str:
    """Describe the settings of training.

    Args:
        bundle: the bundle.
    Returns:
        A table; a sentence where they are not recorded.
    """
    variant = bundle.metadata.variant or {}
    rows = [*_list_settings(variant.get("training") or {}, _TRAINING)]
    tuned = variant.get("unfrozen") or variant.get("finetuning") or {}
    rows += [(f"finetuning: {name}", value) for name, value in _list_settings(tuned, _TUNED)]
    if not rows:
        return "The settings of training are not recorded."
    rows.append(("intervals calibrated on", bundle.metadata.calibrated_on or "val"))
    return make_table(("setting", "value"), rows)


def _list_settings(values: Mapping[str, Any], names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), f"{values[name]}") for name in names if values.get(name) is not None]


def describe_software(bundle: Bundle) -> str:
    """List the software that a bundle was made with.

    Args:
        bundle: the bundle.
    Returns:
        A sentence.
    """
    versions = bundle.metadata.versions
    if not versions:
        return "The software that made it is not recorded."
    return f"Made with {', '.join(f'{name} {version}' for name, version in versions.items())}."


def describe_decay(bundle: Bundle) -> str:
    """Say whether a bundle predicts scores after a delay.

    Args:
        bundle: the bundle.
    Returns:
        A sentence; empty where it does not.
    """
    decay = bundle.metadata.decay
    if decay is None:
        return ""
    mean = f", in the mean {format_number(decay['mean'])} a video shown since" if "mean" in decay else ""
    return f"It also predicts how scores fall with time (`--delay`){mean}."
