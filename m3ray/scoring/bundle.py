"""A bundle: a fitted model with all that it needs to score a new video, as safetensors and JSON, never as pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from m3ray.config.presets import BASE_LAG
from m3ray.errors import ConfigError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.features.target import SCORE
from m3ray.model import StackedMLP
from m3ray.model.mixture import Mixture
from m3ray.scoring.bundle_files import (
    MIXTURE_FILE,
    MODEL_FILE,
    build_mixture,
    build_model,
    drop_diverged,
    keep_finite,
    list_weights,
    load_arrays,
    read_file,
    read_rule,
    save_arrays,
    save_intervals,
)
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, INTERVALS_FILE, BundleManifest, BundleMetadata, read_manifest
from m3ray.scoring.decay import describe_decay
from m3ray.scoring.diverged import describe_dropped
from m3ray.scoring.intervals import IntervalRule, fit_plain_intervals
from m3ray.scoring.reference.reference_file import ReferenceFile, find_reference
from m3ray.scoring.reference.train_reference import REFERENCE_FILE
from m3ray.scoring.shares import share_tiers
from m3ray.storage.root import Root
from m3ray.storage.versions import Difference, Environment, differences, filter_rejected, software_versions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bundle:
    """An ensemble of R stacked runs, and perhaps of regressors beside them, with what it takes to score clips.

    Args:
        name: Name of the bundle.
        model: The MLP's R runs as one model; None: the bundle is of regressors alone.
        blocks: Columns that the model sees, tier by tier, F in all.
        scaling: Mean and deviation of those columns, (F,) each.
        baseline: The train split's mean of the scaled columns, (F,), float32.
        residuals: Absolute errors of the ensemble on the clips that its intervals are calibrated on, ascending, (n,),
            float32.
        metadata: What features and training were made with.
        files: Name to content of each artefact that the tiers need.
        networks: Name to SHA-256 of each finetuned network in the bundle's folder, which is read where it is used.
        uri: The bundle's folder; None while it is not on disk.
        intervals: Rule of the 90 % intervals; None, as in older bundles: one half width for all, of the residuals.
        calibration: Scores and true scores of the clips that it was fitted on, (2, n), float32; None: an older bundle.
        calibration_spread: Standard deviation of these scores over the runs, (n,), float32; None: unknown.
        decay_weights: Weights of the scaled features for the decay rate and, last, the intercept, (F + 1,), float32;
            None: it is a line in the score, or there is none.
        mixture: The MLP and regressors, weighed, and the map of their sum to scores; None: the MLP as it was trained.
        reference: The train clips that new ones are compared with, which is read when it is asked for; None: an older
            bundle.
    """

    name: str
    model: StackedMLP | None
    blocks: tuple[Block, ...]
    scaling: Scaling
    baseline: np.ndarray
    residuals: np.ndarray
    metadata: BundleMetadata
    files: Mapping[str, bytes]
    networks: Mapping[str, str] = field(default_factory=dict)
    uri: str | None = None
    intervals: IntervalRule | None = None
    calibration: np.ndarray | None = None
    calibration_spread: np.ndarray | None = None
    decay_weights: np.ndarray | None = None
    mixture: Mixture | None = None
    reference: ReferenceFile | None = None

    @property
    def tiers(self) -> tuple[str, ...]:
        """Names of the tiers that the model sees."""
        return tuple(block.tier for block in self.blocks)

    @property
    def untrained(self) -> bool:
        """Whether features came from random weights: then the scores mean nothing beyond the demo."""
        return self.metadata.untrained

    def software_differences(self, here: Environment | None = None) -> list[Difference]:
        """Compare the software that computed the train split's features with another one.

        Args:
            here: The other environment; None: this process'.
        Returns:
            The differences that change features.
        """
        recorded, here = self.metadata.environments or {}, here or software_versions()
        # An older bundle names the software that trained it, and no other.
        trained = [self.metadata.versions]
        earlier = [(tier, then) for tier in self.metadata.computed_tiers for then in recorded.get(tier) or trained]
        every = (difference for tier, then in earlier for difference in differences(then or {}, here, tier))
        return filter_rejected(dict.fromkeys(every))

    # Scoring.

    def score(self, features: Features, delay: tuple[float, float] | None = None) -> pd.DataFrame:
        """Score clips.

        Args:
            features: Features of N clips, columns in the order of `blocks`.
            delay: Videos shown since viewing for a further score, and those that the training scores stand for; None:
                no further score.
        Returns:
            A row a clip: `clip_id`, `score` in the target's units, `spread` (standard deviation over runs), `low` and
            `high` (the 90 % conformal interval), `share_<tier>`, which sum to the score minus that of the baseline,
            and with a delay `decay` and `score_at_delay`.
        Raises:
            ConfigError: If there is a delay, and the bundle predicts no decay.
            FeatureError: If the columns are not those that the model was trained on.
        """
        if features.blocks != self.blocks:
            raise FeatureError(f"{self.name} sees {_format_blocks(self.blocks)}; got {_format_blocks(features.blocks)}")
        import pandas as pd  # imported with the first result: a bundle opens without it

        scaled = self.scaling(features.values).astype(np.float32)
        runs = self._predict(scaled)
        score = runs.mean(axis=0)
        low, high = (np.clip(ends, *self.metadata.units.bounds) for ends in self.rule(score))
        columns = {
            "clip_id": list(features.clip_ids),
            "score": score,
            "spread": runs.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros_like(score),
            "low": low,
            "high": high,
        }
        shares = share_tiers(lambda rows: self._predict(rows).mean(axis=0), scaled, self.baseline, self.blocks)
        columns |= {f"share_{tier}": share for tier, share in shares.items()}
        if delay is not None:
            columns["decay"] = self.decay_rates(score, scaled)
            columns["score_at_delay"] = self.scores_at_delay(score, *delay, decay=columns["decay"])
        return pd.DataFrame(columns)

    @property
    def rule(self) -> IntervalRule:
        """The rule of its 90 % intervals."""
        return self.intervals or fit_plain_intervals(self.residuals)

    def baseline_score(self) -> float:
        """Score of a clip whose every feature is the train split's mean."""
        return float(self._predict(self.baseline[None]).mean())

    def decay_rates(self, score: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """Decay rates of clips: from their features, or by a line in the score, whichever was better in training.

        Args:
            score: Score of each clip, (N,).
            scaled: Their scaled features, (N, F).
        Returns:
            Change of the score a video, (N,).
        Raises:
            ConfigError: If the training data had no decay rates.
        """
        if self.decay_weights is not None:
            return scaled.astype(np.float64) @ self.decay_weights[:-1] + self.decay_weights[-1]
        line = self._decay_line()
        return line["intercept"] + line["slope"] * score

    def scores_at_delay(
        self, score: np.ndarray, delay: float, base: float = BASE_LAG, decay: np.ndarray | None = None
    ) -> np.ndarray:
        """Scores after a delay, linear in the videos since viewing (Newman et al. 2020).

        Args:
            score: Score of each clip, (N,).
            delay: Number of videos shown since viewing, 0 or more.
            base: Number of videos shown since viewing that the training scores stand for.
            decay: Decay rate of each clip, (N,); None: by the line in its score.
        Returns:
            Scores in [0, 1], (N,).
        Raises:
            ConfigError: If the training data had no decay rates, or the delay is negative.
        """
        line = self._decay_line()
        if delay < 0:
            raise ConfigError(f"--delay {delay:g}: expected videos since viewing, 0 or more")
        alpha = line["intercept"] + line["slope"] * score if decay is None else decay
        return np.clip(score + alpha * (delay - base), 0, 1)

    def _decay_line(self) -> Mapping[str, Any]:
        if self.metadata.decay is None:
            raise ConfigError(f"{self.name} was trained on data without decay rates (column alpha): leave out --delay")
        return self.metadata.decay

    def predict_runs(self, scaled: np.ndarray) -> np.ndarray:
        """Predict with each run.

        Args:
            scaled: Features of N clips as `scaling` scales them, columns in the order of `blocks`, (N, F), float32.
        Returns:
            Predictions in the target's units, (R, N), float64.
        """
        return self._predict(scaled)

    @torch.inference_mode()
    def _predict(self, scaled: np.ndarray) -> np.ndarray:
        """Predictions of each run in the target's units, (R, N)."""
        units = self.metadata.units
        if self.mixture is not None:
            return np.clip(units.from_unit(self.mixture(scaled)), *units.bounds)
        assert self.model is not None
        outputs = self.model(torch.from_numpy(np.ascontiguousarray(scaled))).double().numpy()
        return units.from_unit(outputs)

    # On disk.

    def save(self, root: Root, *folder: str) -> None:
        """Write the bundle; `bundle.json` comes last, with the hash of every other file.

        Args:
            root: Root that the bundle goes to.
            folder: Path parts of the bundle's folder below the root.
        """
        arrays = {**list_weights(self.model), "mean": self.scaling.mean, "deviation": self.scaling.deviation}
        arrays |= {"baseline": self.baseline, "residuals": self.residuals}
        arrays |= {} if self.decay_weights is None else {"decay_weights": self.decay_weights}
        files = {**self.files, MODEL_FILE: save_arrays(arrays)}
        if self.intervals is not None:
            files[INTERVALS_FILE] = save_intervals(self.intervals, self.calibration, self.calibration_spread)
        if self.mixture is not None:
            files[MIXTURE_FILE] = save_arrays(self.mixture.tensors())
        if self.reference is not None:
            files[REFERENCE_FILE] = self.reference.read()
        for name, data in files.items():
            root.write_bytes(data, *folder, name)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        settings = None if self.mixture is None else self.mixture.settings()
        metadata = replace(self.metadata, mixture=settings)
        manifest = BundleManifest(self.name, metadata, self.blocks, hashes, self.networks)
        root.write_json(manifest.as_json(), *folder, BUNDLE_FILE)

    @classmethod
    def load(cls, uri: str) -> Self:
        """Read a bundle.

        Args:
            uri: The bundle's folder, local or on S3.
        Returns:
            The bundle, its files compared with their hashes.
        Raises:
            BundleError: If the folder is no bundle, a newer m3ray wrote it, or a file was changed since.
        """
        root = Root(uri)
        manifest = read_manifest(root)
        now = {name: digest for name, digest in manifest.files.items() if name != REFERENCE_FILE}
        files = {name: read_file(root, name, digest) for name, digest in now.items()}
        arrays = load_arrays(root, MODEL_FILE, files.pop(MODEL_FILE))
        intervals = load_arrays(root, INTERVALS_FILE, files.pop(INTERVALS_FILE)) if INTERVALS_FILE in files else {}
        model, metadata = drop_diverged(build_model(arrays), arrays["baseline"], manifest)
        mixture = build_mixture(root, manifest, files.pop(MIXTURE_FILE, None), model, arrays["baseline"])
        return cls(
            name=manifest.name,
            model=model,
            blocks=manifest.blocks,
            scaling=Scaling(arrays["mean"], arrays["deviation"]),
            baseline=arrays["baseline"],
            residuals=keep_finite(arrays["residuals"]),
            metadata=metadata,
            files=files,
            networks=manifest.networks,
            uri=root.uri,
            intervals=read_rule(intervals),
            calibration=intervals.get("calibration"),
            calibration_spread=intervals.get("calibration_spread"),
            decay_weights=arrays.get("decay_weights"),
            mixture=mixture,
            reference=find_reference(root, manifest),
        )


def _format_blocks(blocks: Sequence[Block]) -> str:
    return ", ".join(f"{b.tier} ({len(b.names)})" for b in blocks)


def describe_bundle(bundle: Bundle) -> str:
    """Say in a line what a bundle is, and whether other software computed its features.

    Args:
        bundle: The bundle.
    Returns:
        A line for a log.
    """
    metadata, runs = bundle.metadata, "no MLP" if bundle.model is None else f"{len(bundle.model.weights[0])} runs"
    parts = [f"{bundle.name}: {', '.join(bundle.tiers)}", f"{len(bundle.baseline)} features, {runs}"]
    if metadata.dropped_runs:
        parts.append(describe_dropped(metadata.dropped_runs))
    if bundle.untrained:
        parts.append("features from UNTRAINED weights")
    if metadata.units.name != SCORE:
        parts.append(f"predicts {metadata.units.name}")
    if (metadata.trained_on or {}).get("val_spearman", ...) is not ...:
        parts.append(f"rho on val {_format_rho((metadata.trained_on or {})['val_spearman'])}")
    if metadata.model_summary:
        parts.append(metadata.model_summary)
    parts.append(_describe_intervals(bundle))
    if metadata.decay is not None:
        parts.append(describe_decay(metadata.decay))
    software = describe_software(bundle)
    return "; ".join([*parts, software] if software else parts)


def _format_rho(rho: float | None) -> str:
    return "undefined" if rho is None else f"{rho:.4f}"


def _describe_intervals(bundle: Bundle) -> str:
    count, source = len(bundle.residuals), bundle.metadata.calibrated_on or "val"
    if not np.isfinite(bundle.rule.high).all():
        return f"intervals undefined: {count} clips to calibrate them on ({source}), 9 are the fewest"
    kind = "adaptive" if bundle.intervals is not None and len(bundle.rule.knots) > 1 else "of one width"
    return f"90 % intervals {kind}, calibrated on {source} ({count:,} clips)"


def describe_software(bundle: Bundle) -> str | None:
    """Say which software changes the features that a bundle sees.

    Args:
        bundle: The bundle.
    Returns:
        Part of a sentence; None where this process' software gives the features that the bundle was trained on.
    """
    changes = bundle.software_differences()
    if not changes:
        return None
    return (
        f"its features were computed with {', '.join(map(str, changes))}, which changes them: scores may be off; "
        "install those versions (the requirements.lock of then), or train it again"
    )
