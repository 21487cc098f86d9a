"""A bundle: a fitted model with all that it needs to score a new video, as safetensors and JSON, never as pickle."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from m3ray.config.presets import BASE_LAG
from m3ray.errors import BundleError, ConfigError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, BundleManifest, BundleMetadata, read_manifest
from m3ray.storage.root import Root
from m3ray.storage.versions import Difference, Environment, differences, filter_rejected, software_versions

if TYPE_CHECKING:
    import pandas as pd

COVERAGE = 0.9


@dataclass(frozen=True)
class Bundle:
    """An ensemble of R stacked runs, with what it takes to score clips.

    Args:
        name: Name of the bundle.
        model: The R runs as one model.
        blocks: Columns that the model sees, tier by tier, F in all.
        scaling: Mean and deviation of those columns, (F,) each.
        baseline: The train split's mean of the scaled columns, (F,), float32.
        residuals: Absolute errors of the ensemble on the val split, ascending, (V,), float32.
        metadata: What features and training were made with.
        files: Name to content of each artefact that the tiers need.
        networks: Name to SHA-256 of each finetuned network in the bundle's folder, which is read where it is used.
        uri: The bundle's folder; None while it is not on disk.
    """

    name: str
    model: StackedMLP
    blocks: tuple[Block, ...]
    scaling: Scaling
    baseline: np.ndarray
    residuals: np.ndarray
    metadata: BundleMetadata
    files: Mapping[str, bytes]
    networks: Mapping[str, str] = field(default_factory=dict)
    uri: str | None = None

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

    def score(self, features: Features) -> pd.DataFrame:
        """Score clips.

        Args:
            features: Features of N clips, columns in the order of `blocks`.
        Returns:
            A row a clip: `clip_id`, `score` in [0, 1], `spread` (standard deviation over runs), `low` and `high` (the
            90 % split-conformal interval), and `share_<tier>`, which sum to the score minus that of the baseline.
        Raises:
            FeatureError: If the columns are not those that the model was trained on.
        """
        if features.blocks != self.blocks:
            raise FeatureError(f"{self.name} sees {_format_blocks(self.blocks)}; got {_format_blocks(features.blocks)}")
        import pandas as pd  # imported with the first result: a bundle opens without it

        scaled = self.scaling(features.values).astype(np.float32)
        runs = self._predict(scaled)
        score = runs.mean(axis=0)
        half = conformal_half_width(self.residuals)
        columns = {
            "clip_id": list(features.clip_ids),
            "score": score,
            "spread": runs.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros_like(score),
            "low": np.clip(score - half, 0, 1),
            "high": np.clip(score + half, 0, 1),
        }
        return pd.DataFrame(columns | {f"share_{tier}": v for tier, v in self._shares(scaled).items()})

    def baseline_score(self) -> float:
        """Score of a clip whose every feature is the train split's mean."""
        return float(self._predict(self.baseline[None]).mean())

    def scores_at_delay(self, score: np.ndarray, delay: float, base: float = BASE_LAG) -> np.ndarray:
        """Scores after a delay, linear in the videos since viewing (Newman et al. 2020).

        The decay rate of a clip is estimated from its score, by a line fitted on the train split.

        Args:
            score: Score of each clip, (N,).
            delay: Number of videos shown since viewing, 0 or more.
            base: Number of videos shown since viewing that the training scores stand for.
        Returns:
            Scores in [0, 1], (N,).
        Raises:
            ConfigError: If the training data had no decay rates, or the delay is negative.
        """
        decay = self.metadata.decay
        if decay is None:
            raise ConfigError(f"{self.name} was trained on data without decay rates (column alpha): leave out --delay")
        if delay < 0:
            raise ConfigError(f"--delay {delay:g}: expected videos since viewing, 0 or more")
        alpha = decay["intercept"] + decay["slope"] * score
        return np.clip(score + alpha * (delay - base), 0, 1)

    @torch.inference_mode()
    def _predict(self, scaled: np.ndarray) -> np.ndarray:
        return self.model(torch.from_numpy(np.ascontiguousarray(scaled))).double().numpy()

    def _shares(self, scaled: np.ndarray) -> dict[str, np.ndarray]:
        """Exact Shapley values over tiers: an absent tier shows the train split's mean."""
        count = len(self.blocks)
        coalition_scores = {
            members: self._predict(self._mask_tiers(scaled, members)).mean(axis=0)
            for size in range(count + 1)
            for members in itertools.combinations(range(count), size)
        }
        shares = {}
        for index, block in enumerate(self.blocks):
            total = np.zeros(len(scaled))
            for members, score in coalition_scores.items():
                if index in members:
                    continue
                size = len(members)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                total += weight * (coalition_scores[tuple(sorted((*members, index)))] - score)
            shares[block.tier] = total
        return shares

    def _mask_tiers(self, scaled: np.ndarray, members: Sequence[int]) -> np.ndarray:
        """The columns of these tiers as they are, those of the others at the baseline."""
        visible = np.concatenate([np.full(len(b.names), k in members) for k, b in enumerate(self.blocks)])
        return np.where(visible, scaled, self.baseline).astype(np.float32)

    # On disk.

    def save(self, root: Root, *folder: str) -> None:
        """Write the bundle; `bundle.json` comes last, with the hash of every other file.

        Args:
            root: Root that the bundle goes to.
            folder: Path parts of the bundle's folder below the root.
        """
        tensors = {f"weights.{k}": w.detach().cpu().numpy() for k, w in enumerate(self.model.weights)}
        tensors |= {f"biases.{k}": b.detach().cpu().numpy() for k, b in enumerate(self.model.biases)}
        tensors |= {"mean": self.scaling.mean, "deviation": self.scaling.deviation}
        tensors |= {"baseline": self.baseline, "residuals": self.residuals}
        files = {**self.files, "model.safetensors": save({k: np.ascontiguousarray(v) for k, v in tensors.items()})}
        for name, data in files.items():
            root.write_bytes(data, *folder, name)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        manifest = BundleManifest(self.name, self.metadata, self.blocks, hashes, self.networks)
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
        files = {name: _read_file(root, name, digest) for name, digest in manifest.files.items()}
        try:
            tensors = load(files.pop("model.safetensors"))
        except SafetensorError as error:
            raise BundleError(f"{uri}: model.safetensors cannot be read ({error})") from error
        return cls(
            name=manifest.name,
            model=_build_model(tensors),
            blocks=manifest.blocks,
            scaling=Scaling(tensors["mean"], tensors["deviation"]),
            baseline=tensors["baseline"],
            residuals=tensors["residuals"],
            metadata=manifest.metadata,
            files=files,
            networks=manifest.networks,
            uri=root.uri,
        )


def conformal_half_width(residuals: np.ndarray, coverage: float = COVERAGE) -> float:
    """Half width of a split-conformal interval (Vovk et al. 2005): the ceil((n + 1) coverage)-th smallest residual.

    Args:
        residuals: Absolute errors on clips that trained nothing, ascending, (n,).
        coverage: Share of new clips that the interval is to cover.
    Returns:
        The half width; 1, the widest, where there are too few residuals (fewer than 9 for 90 %).
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    return float(residuals[rank - 1]) if rank <= len(residuals) else 1.0


def _format_blocks(blocks: Sequence[Block]) -> str:
    return ", ".join(f"{b.tier} ({len(b.names)})" for b in blocks)


def _read_file(root: Root, name: str, digest: str) -> bytes:
    try:
        data = root.read_bytes(name)
    except FileNotFoundError as error:
        raise BundleError(f"{root.display(name)} is missing: copy the whole folder of the bundle") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(
            f"{root.display(name)} was changed since the bundle was written: copy it anew, or train again"
        )
    return data


def _build_model(tensors: Mapping[str, np.ndarray]) -> StackedMLP:
    return StackedMLP.from_state({name: torch.from_numpy(values) for name, values in tensors.items()}).eval()


def describe_bundle(bundle: Bundle) -> str:
    """Say in a line what a bundle is, and whether other software computed its features.

    Args:
        bundle: The bundle.
    Returns:
        A line for a log.
    """
    note = "; features from UNTRAINED weights" if bundle.untrained else ""
    software = describe_software(bundle)
    runs = bundle.model.weights[0].shape[0]
    line = f"{bundle.name}: {', '.join(bundle.tiers)}; {len(bundle.baseline)} features, {runs} runs{note}"
    return f"{line}; {software}" if software else line


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
