"""`bundle.json` as dataclasses. Nothing here imports torch, so that a request is checked within a second."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from m3ray.config import TierConfigs, as_json
from m3ray.config.serialization import from_json
from m3ray.errors import BundleError
from m3ray.features.matrix import Block
from m3ray.features.target import Target
from m3ray.schema import SIMILARITY
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.storage.versions import Environment

BUNDLE_FILE = "bundle.json"
INTERVALS_FILE = "intervals.safetensors"
FORMAT = 2
_FINETUNED = "tuned:"  # as `m3ray.tiers.finetuned` has it, which imports torch
_FORMAT_OF_MLP = 1  # a bundle of the MLP as it was trained, which an older m3ray scores with too
_NEEDED = ("name", "blocks", "files", "tiers", "configs", "sources", "untrained")
# An older m3ray did not write these: where they are unknown, they are left out.
_OPTIONAL = (
    "variant",
    "seeds",
    "trained_on",
    "data",
    "versions",
    "environments",
    "made_by",
    "target",
    "dropped_runs",
    "calibrated_on",
    "model",
    "model_summary",
    "out_of_fold",
    "mixture",
)


@dataclass(frozen=True)
class BundleMetadata:
    """What a bundle's features and its training were made with; None for what an older m3ray did not write.

    Args:
        untrained: Whether features came from random weights.
        tiers: Name of each tier to its entry in the tier index of the root where the bundle was trained.
        configs: Settings of the computed tiers.
        sources: Name of each tier that has a network to its `WeightSource`, as JSON values.
        variant: The study's variant, as JSON values.
        seeds: Seed of each run.
        decay: Line from score to decay rate, `intercept` and `slope`, and what was found of it (`DecayModel`); None:
            the training data had none.
        trained_on: Numbers of train and val clips, mean and range of the train split's scores, and on val, of the
            bundle's scores, Spearman's correlation (None: undefined), mean squared error and mean error, and the
            variance of the truth.
        data: What a model card tells of the data (`record_data`), and where there are test clips `on_test`: of them,
            what `trained_on` has of val.
        versions: Name of each package to its version, in the process that trained.
        environments: Name of each computed tier to the software that its features were computed with; None in a list
            stands for rows of an m3ray that did not note it.
        made_by: Name of the job.
        target: What the bundle predicts, as JSON values of a `Target`; None: the score.
        dropped_runs: Seeds of the runs that diverged, and are not in the bundle.
        calibrated_on: What the intervals were calibrated on: `val`, or the train split by folds.
        model: What scores: `mlp`, `ensemble`, or the name of a regressor.
        model_summary: What that is, in a line, and how it compares with the others.
        out_of_fold: Weights of the ensemble and of each member alone, and what was found of them on train clips that
            they were not fitted on (`EnsembleFit`).
        mixture: What is no array of the mixture (`Mixture`); None: the bundle is of the MLP as it was trained.
    """

    untrained: bool
    tiers: Mapping[str, TierEntry] = field(default_factory=dict)
    configs: TierConfigs = field(default_factory=TierConfigs)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant: Mapping[str, Any] | None = None
    seeds: Sequence[int] | None = None
    decay: Mapping[str, Any] | None = None
    trained_on: Mapping[str, float | None] | None = None
    data: Mapping[str, Any] | None = None
    versions: Environment | None = None
    environments: Mapping[str, Sequence[Environment | None]] | None = None
    made_by: str | None = None
    target: Mapping[str, Any] | None = None
    dropped_runs: Sequence[int] | None = None
    calibrated_on: str | None = None
    model: str | None = None
    model_summary: str | None = None
    out_of_fold: Mapping[str, Any] | None = None
    mixture: Mapping[str, Any] | None = None

    @property
    def units(self) -> Target:
        """What the bundle predicts, and the map from a model's output to it."""
        return Target(**(self.target or {}))

    @property
    def user_provided(self) -> dict[str, TierEntry]:
        """The tiers that came from a user's file, by name."""
        return {name: entry for name, entry in self.tiers.items() if entry.user_provided}

    @property
    def computed_tiers(self) -> list[str]:
        """Names of the tiers that were computed from videos, or from other tiers."""
        return [name for name, entry in self.tiers.items() if not entry.user_provided]

    def as_json(self) -> dict[str, Any]:
        """Its JSON values, in the order in which `bundle.json` has them."""
        values = {
            "variant": self.variant,
            "seeds": self.seeds,
            "tiers": {name: entry.as_json() for name, entry in self.tiers.items()},
            "configs": self.configs,
            "sources": self.sources,
            "decay": self.decay,
            "untrained": self.untrained,
            "trained_on": self.trained_on,
            "data": self.data,
            "versions": self.versions,
            "environments": self.environments,
            "made_by": self.made_by,
            "target": self.target,
            "dropped_runs": self.dropped_runs,
            "calibrated_on": self.calibrated_on,
            "model": self.model,
            "model_summary": self.model_summary,
            "out_of_fold": self.out_of_fold,
            "mixture": self.mixture,
        }
        return as_json({name: value for name, value in values.items() if value is not None or name not in _OPTIONAL})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BundleMetadata:
        """Read the metadata out of a bundle's JSON values.

        Args:
            values: JSON object with at least `tiers`, `configs`, `sources` and `untrained`.
        Returns:
            The metadata.
        Raises:
            KeyError, TypeError, ValueError, AttributeError: If the values are no bundle's.
        """
        fields_given = {f.name: values[f.name] for f in fields(cls) if values.get(f.name) is not None}
        tiers = {name: TierEntry.from_json(entry) for name, entry in fields_given["tiers"].items()}
        return cls(**{**fields_given, "tiers": tiers, "configs": from_json(TierConfigs, fields_given["configs"])})


@dataclass(frozen=True)
class BundleManifest:
    """All that `bundle.json` holds.

    Args:
        name: Name of the bundle.
        metadata: What features and training were made with.
        blocks: The columns that the model sees, tier by tier.
        files: Name of each file of the folder to its SHA-256.
        networks: Name of each finetuned network's file to its SHA-256.
    """

    name: str
    metadata: BundleMetadata
    blocks: tuple[Block, ...]
    files: Mapping[str, str]
    networks: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Its JSON values, in the order in which the file has them."""
        blocks = [{"tier": b.tier, "names": list(b.names), "scaled": b.scaled} for b in self.blocks]
        version = _FORMAT_OF_MLP if self.metadata.mixture is None else FORMAT
        named = {"format": version, "name": self.name, "blocks": blocks}
        return {**self.metadata.as_json(), **named, "files": dict(self.files), "networks": dict(self.networks)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BundleManifest:
        """Read a manifest.

        Args:
            values: The JSON object of `bundle.json`.
        Returns:
            The manifest.
        Raises:
            KeyError, TypeError, ValueError, AttributeError: If the values are no bundle's.
        """
        blocks = _order_blocks([Block(b["tier"], tuple(b["names"]), b["scaled"]) for b in values["blocks"]], values)
        metadata, networks = BundleMetadata.from_json(values), dict(values.get("networks") or {})
        return cls(str(values["name"]), metadata, blocks, dict(values["files"]), networks)


def select_sources(metadata: BundleMetadata, tiers: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Select the weights that a model's tiers come from, without those of baselines that were compared with it.

    Args:
        metadata: What features and training were made with, `sources` of a whole root among it.
        tiers: Names of the tiers that the model sees.
    Returns:
        Name of each tier to its `WeightSource`, as JSON values: of those tiers, of what their similarity compares, and
        of the networks that finetuned ones began with.
    """
    seen = set(tiers)
    if SIMILARITY in seen and SIMILARITY not in metadata.user_provided:
        entry = metadata.tiers.get(SIMILARITY)
        identity = (entry.identity if entry else None) or {}
        seen |= set(identity.get("sources") or metadata.configs.similarity.sources)
    seen |= {tier.removeprefix(_FINETUNED) for tier in seen}
    return {tier: source for tier, source in metadata.sources.items() if tier in seen}


def explain_no_bundle(uri: str) -> str:
    """Say that there is no bundle where one was looked for.

    Args:
        uri: Path or URI of a folder, or of a file that was taken for one.
    Returns:
        What is there, and what was expected.
    """
    found = "it is a file, " if is_local(uri) and Path(local_path(uri)).is_file() else ""
    return (
        f"no bundle at {uri or '/'}: {found}expected a folder with {BUNDLE_FILE}, as m3ray train writes it, or a .zip "
        "of m3ray pack"
    )


def _order_blocks(blocks: Sequence[Block], values: Mapping[str, Any]) -> tuple[Block, ...]:
    """Put blocks into the order in which the model sees them, which is that of its variant's tiers.

    An older m3ray wrote them in the order of the root's features, and scored with columns in the wrong places where
    that was another one.
    """
    tiers = list((values.get("variant") or {}).get("tiers") or ())
    if sorted(tiers) != sorted(block.tier for block in blocks):
        return tuple(blocks)
    return tuple(sorted(blocks, key=lambda block: tiers.index(block.tier)))


def read_manifest(folder: Root) -> BundleManifest:
    """Read `bundle.json`.

    Args:
        folder: The bundle's folder.
    Returns:
        The manifest; the files that it names are not looked at.
    Raises:
        BundleError: If there is none, it is damaged, or a newer m3ray wrote it.
    """
    where = folder.display(BUNDLE_FILE)
    try:
        values = folder.read_json(BUNDLE_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(explain_no_bundle(folder.uri)) from error
    except ValueError as error:
        raise BundleError(f"{where} is damaged or cut short: copy the bundle anew, or train it again") from error
    _check_values(where, values)
    try:
        manifest = BundleManifest.from_json(values)
        _check_names(where, [*manifest.files, *manifest.networks])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{where} is damaged ({type(error).__name__}: {error}): copy the bundle anew, or train it again"
        ) from error
    return manifest


def _check_names(where: str, names: Iterable[str]) -> None:
    """A bundle that comes from others must not name files outside its folder, which packing would give on."""
    for name in names:
        if re.search(r"[/\\:\0]", name) or name in ("", ".", ".."):
            raise BundleError(
                f"{where} names a file {name!r}, expected names of files in its folder: it is damaged, or was made to "
                "read others; get the bundle anew from who made it"
            )


def _check_values(where: str, values: Any) -> None:
    version = values.get("format", 0) if isinstance(values, dict) else 0
    if isinstance(version, int) and version > FORMAT:
        raise BundleError(f"{where} has format {version}, this m3ray reads up to {FORMAT}: upgrade m3ray")
    missing = [name for name in _NEEDED if not isinstance(values, dict) or name not in values]
    if missing:
        raise BundleError(f"{where} lacks {', '.join(missing)}: copy the bundle anew, or train it again")
