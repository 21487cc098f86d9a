"""Training settings to choose among, from the paper's to a linear model with the shrinkage of a ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from m3ray.config import TrainConfig
from m3ray.model import parameter_count

LOSSES: tuple[str, ...] = ("mse", "mse_tails")
PRESET = "the paper's"
FROM_MEAN = "the paper's layers, from the mean"
EPOCHS = 20

# A plain training, in which costs are counted: the paper's runs.
_PLAIN_RUNS = 4
# Milliseconds of one core: of a step, of fetching a number of a clip, of a weight in Adam, and of a weight a clip in
# the products; fitted to trainings of 300 to 3,635 inputs on a machine of two cores.
_STEP, _FETCH, _WEIGHT, _PRODUCT = 0.5, 2.5e-6, 1.5e-6, 0.06e-6
# On a CPU runs are stacked until their weights fall out of its cache.
_STACKED_WEIGHTS = 400_000
# With so many clips a step of 128 leaves enough steps, and takes a third of the time.
_MANY_CLIPS = 2_000


@dataclass(frozen=True)
class Scope:
    """What a command line leaves open: only this decides, with the data, what is chosen.

    Args:
        losses: Losses that may be chosen.
        epochs: Most epochs.
        base: Settings that the candidates vary, apart from loss and epochs.
    """

    losses: tuple[str, ...] = LOSSES
    epochs: int = EPOCHS
    base: TrainConfig = field(default_factory=TrainConfig)

    @classmethod
    def around(cls, training: TrainConfig, loss: str | None) -> Scope:
        """Leave the loss open unless it was asked for, so that each job on a root chooses among the same settings.

        Args:
            training: Settings of the model as the job would train it.
            loss: Loss that was asked for; None: none was, and that of a preset does not count.
        """
        neutral = replace(training, loss="mse", tails_centre="batch", epochs=EPOCHS)
        return cls(LOSSES if loss is None else (loss,), training.epochs, neutral)


def make_candidates(clips: int, scope: Scope | None = None) -> dict[str, TrainConfig]:
    """Make the settings to choose among.

    A linear model starts at the train split's mean score, with decay up to where it is all but a constant; that is a
    ridge regression whose penalty is 8 x clips x decay. Nets of one layer start there too; the paper's start as the
    paper's do, as two layers that start at zero stay there under decay.

    Args:
        clips: Number of train clips.
        scope: What is left open; None: all.
    Returns:
        Name of each candidate to its settings; the paper's own first, once a loss.
    """
    scope = scope or Scope()
    candidates: dict[str, TrainConfig] = {}
    for number, loss in enumerate(scope.losses):
        centre = "data" if loss == "mse_tails" else scope.base.tails_centre
        base = replace(scope.base, loss=loss, tails_centre=centre, epochs=scope.epochs)  # type: ignore[arg-type]
        varied = _vary(base, clips)
        if number > 0:  # a second loss changes little, and least in a small model: the paper's layers alone try it
            varied = {name: varied[name] for name in (PRESET, FROM_MEAN)}
        candidates |= {f"{name}, {loss}": config for name, config in varied.items()}
    order = sorted(candidates, key=lambda name: not is_preset(name))
    return {name: candidates[name] for name in order}


def _vary(base: TrainConfig, clips: int) -> dict[str, TrainConfig]:
    from_mean = replace(base, start="mean")
    if clips >= _MANY_CLIPS:
        from_mean = replace(from_mean, batch=128, learning_rate=3e-3)
    layer, linear = replace(from_mean, hidden=(64,)), replace(from_mean, hidden=())
    return {
        PRESET: base,
        "the paper's layers, decay 0.001": replace(base, weight_decay=1e-3),
        FROM_MEAN: from_mean,
        **{f"one layer of 64, decay {w:g}": replace(layer, weight_decay=w) for w in (1e-5, 1e-4, 1e-3, 1e-2)},
        **{
            f"linear, rate {rate:g}, decay {w:g}": replace(linear, learning_rate=rate, weight_decay=w)
            for rate in (3e-3, 1e-2)
            for w in (1e-3, 1e-2, 1e-1, 3e-1, 1.0, 3.0)
        },
    }


def is_preset(name: str) -> bool:
    """Whether a candidate is the paper's own, with either loss.

    Args:
        name: Name of the candidate.
    """
    return name.startswith(f"{PRESET}, ")


def simplicity(config: TrainConfig, inputs: int) -> tuple[float, ...]:
    """Order settings from the simplest: fewest parameters, then strongest decay, then fewest epochs.

    Args:
        config: The settings.
        inputs: Number of features.
    Returns:
        A key to sort by.
    """
    return parameter_count(inputs, config.hidden), -config.weight_decay, config.epochs


def estimate_cost(configs: Sequence[TrainConfig], inputs: int, clips: int) -> float:
    """Estimate how long one core trains settings as one model.

    It is computed, not measured, so that what a budget allows does not depend on the machine or its load.

    Args:
        configs: The settings, one a run.
        inputs: Number of features.
        clips: Number of clips that they are trained on.
    Returns:
        Seconds on a core as of a laptop.
    """
    config, runs = configs[0], len(configs)
    batch, weights = min(config.batch, clips), parameter_count(inputs, config.hidden)
    step = _STEP + runs * (batch * inputs * _FETCH + weights * (_WEIGHT + batch * _PRODUCT))
    return config.epochs * -(-clips // batch) * step / 1000


def estimate_plain(inputs: int, clips: int) -> float:
    """Estimate a plain training: the paper's model, four runs of 20 epochs.

    Args:
        inputs: Number of features.
        clips: Number of train clips.
    Returns:
        Seconds on a core, as of `estimate_cost`.
    """
    together = max(1, min(_PLAIN_RUNS, _STACKED_WEIGHTS // parameter_count(inputs, TrainConfig().hidden)))
    return _PLAIN_RUNS / together * estimate_cost([TrainConfig()] * together, inputs, clips)
