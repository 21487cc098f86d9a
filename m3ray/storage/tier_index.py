"""The tier index of a root: which feature folder each tier is in now, and what its numbers were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from m3ray.errors import StudyError
from m3ray.schema import feature_names
from m3ray.storage.parquet_tables import file_damage_error
from m3ray.storage.root import Root

_INDEX = ("artifacts", "tiers.json")


@dataclass(frozen=True)
class TierEntry:
    """A tier's entry in the tier index of a root.

    Args:
        folder: name of the folder below `features/` that holds the tier's shards; "" in a bundle's list of tiers, where
            the bundle itself carries the network.
        untrained: whether its numbers came through random weights.
        identity: everything that its fingerprint is taken of, as JSON values; None for the table of video metadata,
            which is no tier of a model.
        user_provided: whether its numbers came from a user's file.
        scaled: whether a model standardises its columns; None unless it is user-provided.
    """

    folder: str
    untrained: bool = False
    identity: Mapping[str, Any] | None = None
    user_provided: bool = False
    scaled: bool | None = None

    @property
    def path(self) -> tuple[str, str]:
        """Path parts, below the root, of the folder that holds the tier's shards."""
        return ("features", self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """The tier's settings as JSON values; empty where its identity names none."""
        return dict((self.identity or {}).get("config", {}))

    @property
    def weights(self) -> dict[str, Any]:
        """What identifies the tier's weights, such as `sha256`; empty where it needs none."""
        return dict((self.identity or {}).get("weights", {}))

    def as_json(self) -> dict[str, Any]:
        """JSON values of the entry, as `artifacts/tiers.json` and `bundle.json` hold them."""
        values: dict[str, Any] = {"folder": self.folder or None}
        if self.identity is not None:
            values["untrained"] = self.untrained
        if self.user_provided:
            values["brought"] = True
        if self.scaled is not None:
            values["scaled"] = self.scaled
        return values if self.identity is None else {**values, "identity": dict(self.identity)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TierEntry:
        """Read an entry; whatever an older version did not write takes its default.

        Args:
            values: JSON object with at least the key `folder`.
        Returns:
            The entry.
        """
        scaled, identity = values.get("scaled"), values.get("identity")
        return cls(
            folder=str(values["folder"] or ""),
            untrained=bool(values.get("untrained", False)),
            identity=None if identity is None else dict(identity),
            user_provided=bool(values.get("brought", False)),
            scaled=None if scaled is None else bool(scaled),
        )


def feature_folder(tier: str, fingerprint: str) -> tuple[str, str]:
    """Path parts, below the root, of the folder for a tier's shards.

    Args:
        tier: name of the tier; `torchvision:NAME` loses its colon, which some file systems do not allow.
        fingerprint: hash of everything that changes the tier's numbers.
    Returns:
        `("features", "<tier>-<fingerprint>")`.
    """
    return ("features", f"{tier.replace(':', '-')}-{fingerprint}")


def read_tier_index(root: Root) -> dict[str, TierEntry]:
    """Read the tier index of a root.

    Args:
        root: root that holds the features.
    Returns:
        Name of each tier to its entry; empty for a new root.
    Raises:
        DamagedFileError: If the file is no tier index.
    """
    if not root.exists(*_INDEX):
        return {}
    values = root.read_json(*_INDEX)
    try:
        return {tier: TierEntry.from_json(entry) for tier, entry in values.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise file_damage_error(root.display(*_INDEX), error) from error


def update_tier_index(root: Root, entries: Mapping[str, TierEntry]) -> None:
    """Make these entries the current ones of their tiers; the other tiers keep theirs.

    Args:
        root: root that holds the features.
        entries: name of each tier to its new entry.
    """
    index = {**read_tier_index(root), **entries}
    root.write_json({tier: entry.as_json() for tier, entry in index.items()}, *_INDEX)


def read_tier_table(root: Root, tier: str, index: Mapping[str, TierEntry] | None = None) -> pa.Table:
    """Read the current features of a tier.

    Args:
        root: root that holds the features.
        tier: name of the tier.
        index: the root's tier index; None: it is read.
    Returns:
        `clip_id` and the tier's columns, one row a clip, ordered by `clip_id`.
    Raises:
        StudyError: If the root holds no features of the tier.
    """
    entry = (read_tier_index(root) if index is None else index).get(tier)
    table = None if entry is None else root.read_shards(*entry.path)
    if table is None:
        raise StudyError(f"{root.uri} holds no features of tier {tier}: run jobs/extract.py --tiers {tier} first")
    return table.select(["clip_id", *feature_names(table.schema)])
