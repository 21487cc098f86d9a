"""A bundle: a fitted model with all that it needs to score a new video. safetensors and JSON, never pickle."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from m3ray.config.presets import BASE_LAG
from m3ray.errors import BundleError, ConfigError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.storage.root import Root
from m3ray.storage.versions import KEY as ENVIRONMENTS
from m3ray.storage.versions import Difference, Environment, differences, refused, software

FORMAT = 1
COVERAGE = 0.9


@dataclass(frozen=True)
class Bundle:
    """R stacked runs as an ensemble, with scaling, intervals and shares.

    Args:
        name: of the bundle.
        model: R runs.
        blocks: the columns that the model sees, tier by tier.
        scaling: of those columns.
        baseline: (F,), the train split's mean of the scaled columns.
        residuals: (V,), absolute errors of the ensemble on val, ascending.
        facts: tiers and their settings, training, versions, what it was trained on.
        files: artefacts of the tiers, by name.
        networks: fine-tuned networks that lie in the bundle's folder, file to SHA-256; read where they are used.
        uri: the folder; None: not on disk yet.
    """

    name: str
    model: StackedMLP
    blocks: tuple[Block, ...]
    scaling: Scaling
    baseline: np.ndarray
    residuals: np.ndarray
    facts: Mapping[str, Any]
    files: Mapping[str, bytes]
    networks: Mapping[str, str] = field(default_factory=dict)
    uri: str | None = None

    @property
    def tiers(self) -> tuple[str, ...]:
        return tuple(block.tier for block in self.blocks)

    @property
    def untrained(self) -> bool:
        """Whether its features came from random weights: then its scores mean nothing beyond the demo."""
        return bool(self.facts["untrained"])

    def made_otherwise(self, here: Environment | None = None) -> list[Difference]:
        """Where the features that it learned from were computed with other software, if that changes them.

        Args:
            here: an environment; None: this process'.
        """
        noted, here = self.facts.get(ENVIRONMENTS, {}), here or software()
        # Bundles of before name the software that trained them alone.
        made = [(tier, then) for tier in self._computed for then in noted.get(tier) or [self.facts.get("versions")]]
        found = (difference for tier, then in made for difference in differences(then or {}, here, tier))
        return refused(dict.fromkeys(found))

    @property
    def _computed(self) -> list[str]:
        return [tier for tier, entry in self.facts.get("tiers", {}).items() if not entry.get("brought")]

    # Scoring.

    def score(self, features: Features) -> pd.DataFrame:
        """Scores of clips.

        Args:
            features: columns in the order of `blocks`.
        Returns:
            `clip_id, score, spread, low, high` and `share_<tier>`: spread is the deviation over runs, low to high the
            90 % split-conformal interval, shares sum to score minus the baseline's score.
        Raises:
            FeatureError: other columns than the model was trained on.
        """
        if features.blocks != self.blocks:
            raise FeatureError(f"{self.name} sees {_words(self.blocks)}; got {_words(features.blocks)}")
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
        """The score of a clip whose every feature is the train split's mean."""
        return float(self._predict(self.baseline[None]).mean())

    def at_delay(self, score: np.ndarray, delay: float, base: float = BASE_LAG) -> np.ndarray:
        """Scores after `delay` videos: linear in time since viewing (Newman et al. 2020).

        The decay rate of a clip is estimated from its score, by a line fitted on the train split.

        Args:
            score: (N,).
            delay: videos since viewing.
            base: those that the training scores stand for.

        Raises:
            ConfigError: the training data had no decay rates.
        """
        decay = self.facts.get("decay")
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
        worth = {
            kept: self._predict(self._with_only(scaled, kept)).mean(axis=0)
            for size in range(count + 1)
            for kept in itertools.combinations(range(count), size)
        }
        shares = {}
        for index, block in enumerate(self.blocks):
            total = np.zeros(len(scaled))
            for kept, value in worth.items():
                if index in kept:
                    continue
                weight = math.factorial(len(kept)) * math.factorial(count - len(kept) - 1) / math.factorial(count)
                total += weight * (worth[tuple(sorted((*kept, index)))] - value)
            shares[block.tier] = total
        return shares

    def _with_only(self, scaled: np.ndarray, kept: Sequence[int]) -> np.ndarray:
        shown = np.concatenate([np.full(len(b.names), k in kept) for k, b in enumerate(self.blocks)])
        return np.where(shown, scaled, self.baseline).astype(np.float32)

    # On disk.

    def save(self, root: Root, *folder: str) -> None:
        """Writes the bundle; `bundle.json` last, with the hash of every other file."""
        tensors = {f"weights.{k}": w.detach().cpu().numpy() for k, w in enumerate(self.model.weights)}
        tensors |= {f"biases.{k}": b.detach().cpu().numpy() for k, b in enumerate(self.model.biases)}
        tensors |= {"mean": self.scaling.mean, "deviation": self.scaling.deviation}
        tensors |= {"baseline": self.baseline, "residuals": self.residuals}
        files = {**self.files, "model.safetensors": save({k: np.ascontiguousarray(v) for k, v in tensors.items()})}
        for name, data in files.items():
            root.write_bytes(data, *folder, name)
        blocks = [{"tier": b.tier, "names": list(b.names), "scaled": b.scaled} for b in self.blocks]
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        root.write_json(
            {**self.facts, "format": FORMAT, "name": self.name, "blocks": blocks, "files": hashes}
            | {"networks": dict(self.networks)},
            *folder,
            "bundle.json",
        )

    @classmethod
    def load(cls, uri: str) -> Self:
        """Reads a bundle.

        Raises:
            BundleError: not a bundle, of a newer version, or a file was changed since it was written.
        """
        root = Root(uri)
        try:
            facts = root.read_json("bundle.json")
        except FileNotFoundError as error:
            raise BundleError(
                f"no bundle at {uri}: expected a folder with bundle.json, as jobs/train.py writes"
            ) from error
        except ValueError as error:
            raise BundleError(f"{root.display('bundle.json')} is not JSON ({error}): write the bundle again") from error
        if facts.get("format", 0) > FORMAT:
            raise BundleError(f"{uri} has format {facts['format']}, this m3ray reads up to {FORMAT}: upgrade m3ray")
        files = {name: _checked(root, name, digest) for name, digest in facts["files"].items()}
        try:
            tensors = load(files.pop("model.safetensors"))
        except SafetensorError as error:
            raise BundleError(f"{uri}: model.safetensors cannot be read ({error})") from error
        return cls(
            name=facts["name"],
            model=_model(tensors),
            blocks=tuple(Block(b["tier"], tuple(b["names"]), b["scaled"]) for b in facts["blocks"]),
            scaling=Scaling(tensors["mean"], tensors["deviation"]),
            baseline=tensors["baseline"],
            residuals=tensors["residuals"],
            facts=facts,
            files=files,
            networks=facts.get("networks", {}),
            uri=root.uri,
        )


def conformal_half_width(residuals: np.ndarray, coverage: float = COVERAGE) -> float:
    """Half width of a split-conformal interval (Vovk et al. 2005): the ceil((n + 1) coverage)-th smallest residual.

    Fewer than 9 residuals cannot bound 90 %: then the widest interval, 1.
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    return float(residuals[rank - 1]) if rank <= len(residuals) else 1.0


def _words(blocks: Sequence[Block]) -> str:
    return ", ".join(f"{b.tier} ({len(b.names)})" for b in blocks)


def _checked(root: Root, name: str, digest: str) -> bytes:
    try:
        data = root.read_bytes(name)
    except FileNotFoundError as error:
        raise BundleError(f"{root.display(name)} is missing: copy the whole folder of the bundle") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(
            f"{root.display(name)} was changed since the bundle was written: copy it anew, or train again"
        )
    return data


def _model(tensors: Mapping[str, np.ndarray]) -> StackedMLP:
    count = sum(name.startswith("weights.") for name in tensors)
    shapes = [tensors[f"weights.{k}"].shape for k in range(count)]
    model = StackedMLP(shapes[0][2], [shape[1] for shape in shapes[:-1]], [0] * shapes[0][0])
    state = {name: torch.from_numpy(tensors[name]) for name in tensors if name.startswith(("weights.", "biases."))}
    model.load_state_dict(state)
    return model.eval()


def as_text(bundle: Bundle) -> str:
    """A line that says what a bundle is, and where the software of its features is not this one."""
    note = "; features from UNTRAINED weights" if bundle.untrained else ""
    made = version_note(bundle)
    runs = bundle.model.weights[0].shape[0]
    what = f"{bundle.name}: {', '.join(bundle.tiers)}; {len(bundle.baseline)} features, {runs} runs{note}"
    return f"{what}; {made}" if made else what


def version_note(bundle: Bundle) -> str | None:
    """In words, what software changes the features that a bundle sees; None where none does."""
    found = bundle.made_otherwise()
    if not found:
        return None
    return (
        f"its features were computed with {', '.join(map(str, found))}, which changes them: scores may be off; install "
        "those versions (the requirements.lock of then), or train it again"
    )
