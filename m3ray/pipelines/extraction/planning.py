"""Plan of an extraction: compare the catalogue with what a root holds, column by column, and list what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, TierConfigs, as_json, fingerprint
from m3ray.datasets.clip_contents import clip_stamps, read_canonical_folders
from m3ray.datasets.known_contents import read_known_contents, resolve_contents
from m3ray.pipelines.extraction.clip_comparison import (
    Folder,
    FolderStatus,
    compare_with_folder,
    compare_with_rejects,
)
from m3ray.pipelines.extraction.records import WORK
from m3ray.schema import CONTENT, METADATA_TABLE, SIMILARITY, is_captions
from m3ray.storage.contents import content_hashes
from m3ray.storage.root import Root
from m3ray.storage.shard_stamps import read_stamps
from m3ray.storage.tier_index import TierEntry, feature_folder, read_tier_index
from m3ray.tiers import Tier, tier_fingerprint
from m3ray.video.sampling import DECODING

_DECODING_STAGES = ("sniff", "demux", "decode")


@dataclass(frozen=True)
class Plan:
    """What there is to compute.

    Args:
        root: Root that gets the features.
        tiers: Tiers to compute.
        folders: Path of the feature folder of each tier, and of `METADATA_TABLE`.
        work: Clips that lack a tier, as rows of `records.WORK`.
        missing: Number of clips that each tier lacks, rejected ones left out.
        cached: Number of clips that each tier has.
        rejected: Number of clips that were rejected earlier and are not tried again.
        deferred: Number of clips of each tier that take the rows of a clip of the same content, computed first.
        stale: Folder to `clip_id` and `content` of the clips whose rows were computed from another content.
        copies: Folder to `clip_id` and `content` of the clips whose content it holds under another clip's id.
        changed: Number of clips that are stale in any folder.
        duplicates: Ids of the clips that are deferred in any tier.
        known_contents: Contents known of clips, from `read_known_contents`.
        new_stamps: `clip_id` and `content` of clips of whose content more is known than the root says.
        tier_index: The root's tiers when the plan was made.
        replan: Makes the same plan once more after the root was put in order; takes `only` as `plan` does.
    """

    root: Root
    tiers: tuple[Tier, ...]
    folders: Mapping[str, Folder]
    work: pa.Table
    missing: Mapping[str, int]
    cached: Mapping[str, int]
    rejected: int
    deferred: Mapping[str, int] = field(default_factory=dict)
    stale: Mapping[Folder, pa.Table] = field(default_factory=dict)
    copies: Mapping[Folder, pa.Table] = field(default_factory=dict)
    changed: int = 0
    duplicates: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    known_contents: pa.Table | None = None
    new_stamps: pa.Table | None = None
    tier_index: Mapping[str, TierEntry] = field(default_factory=dict)
    replan: Callable[..., Plan] | None = None

    def lines(self) -> list[str]:
        """The plan in words: a line a tier, and one more if clips have changed."""
        again = "those and what was fitted on them are computed again"
        changed = [f"  {self.changed} clips changed since they were computed: {again}"] if self.changed else []
        return [*changed, *(self._line(tier) for tier in self.tiers)]

    def _line(self, tier: Tier) -> str:
        copies = self.copies.get(self.folders[tier.name])
        count = (0 if copies is None else copies.num_rows) + self.deferred.get(tier.name, 0)
        copied = f", {count} taken from clips of the same content" if count else ""
        return (
            f"  {tier.name:<8} {self.missing[tier.name]} to compute, {self.cached[tier.name]} cached, "
            f"{self.rejected} rejected earlier{copied}{', untrained weights' if tier.untrained else ''}"
        )

    def metadata(self, decode: DecodeConfig) -> dict[str, dict[str, Any]]:
        """Arrow metadata of each tier's shards: enough to know how their numbers were made.

        Args:
            decode: Settings of decoding.
        Returns:
            Tier, or `METADATA_TABLE`, to its metadata.
        """
        common = {"decode": as_json(decode)}
        tiers = {tier.name: {**common, **self.make_entry(tier).as_json()} for tier in self.tiers}
        return {**tiers, METADATA_TABLE: common}

    def make_entry(self, tier: Tier) -> TierEntry:
        """Make the entry of a tier of the plan for the root's tier index.

        Args:
            tier: One of the plan's tiers.
        Returns:
            The entry.
        """
        return TierEntry(self.folders[tier.name][1], tier.untrained, tier.identity())


def plan(
    root: Root,
    catalogue: pa.Table,
    tiers: Sequence[Tier],
    configs: TierConfigs,
    *,
    retry: bool,
    only: pa.Array | None = None,
    home: Root | None = None,
) -> Plan:
    """Compare the catalogue with what the root holds: an anti-join a tier, of hashes and not of Python objects.

    Args:
        root: Root that holds features and rejects.
        catalogue: Columns `clip_id` and `uri`, and the content of each clip if it was looked at.
        tiers: Tiers to compute.
        configs: Settings of the tiers.
        retry: Whether all rejected clips are tried again; those that the storage failed, and those that have changed
            since, are in any case.
        only: Ids of the clips to compute, each itself, whoever else has its content; None computes all clips, one of
            each content.
        home: Root that the catalogue was made for; None if it is `root`.
    Returns:
        The plan.
    """
    folders, clips = _make_folders(tiers, configs), _select_clips(home or root, catalogue)
    status = _compare_with_root(root, clips, read_canonical_folders(catalogue.schema), folders, retry=retry)
    candidates = ~status.rejected
    if only is not None:
        candidates &= pc.is_in(clips["clip_id"], value_set=only).to_numpy()
    by_tier = {tier.name: status.folders[folders[tier.name]] for tier in tiers}
    missing = {name: ~tier.done & candidates & ~tier.copyable for name, tier in by_tier.items()}
    duplicates = _find_duplicates(clips, missing) if only is None else np.zeros(clips.num_rows, bool)
    copyable = {folder: status.folders[folder].copyable for folder in folders.values()}
    return Plan(
        root,
        tuple(tiers),
        folders,
        work=_make_work(clips, {name: mask & ~duplicates for name, mask in missing.items()}),
        missing={name: int((mask & ~duplicates).sum()) for name, mask in missing.items()},
        deferred={name: int((mask & duplicates).sum()) for name, mask in missing.items()},
        cached={name: int(tier.done.sum()) for name, tier in by_tier.items()},
        rejected=int(status.rejected.sum()),
        stale={f: _select_contents(clips, each.stale) for f, each in status.folders.items() if each.stale.any()},
        copies={folder: _select_contents(clips, mask) for folder, mask in copyable.items() if mask.any()},
        changed=int(status.stale.sum()),
        duplicates=clips["clip_id"].filter(pa.array(duplicates)).combine_chunks(),
        known_contents=status.known_contents,
        new_stamps=_select_contents(clips, status.outdated_stamp),
        tier_index=status.tier_index,
        replan=partial(plan, root, catalogue, tiers, configs, retry=retry, only=only, home=home),
    )


@dataclass(frozen=True)
class _RootStatus:
    """What a root holds of some clips; arrays are bool, (clips,).

    Args:
        tier_index: The root's tiers.
        known_contents: Contents known of clips.
        rejected: Whether each clip stays rejected.
        outdated_stamp: Whether more is known now of a clip's content than its row or reject says.
        stale: Whether a clip changed since some folder's row of it was computed.
        folders: Path of a folder to what it holds of the clips.
    """

    tier_index: Mapping[str, TierEntry]
    known_contents: pa.Table
    rejected: np.ndarray
    outdated_stamp: np.ndarray
    stale: np.ndarray
    folders: Mapping[Folder, FolderStatus]


def _compare_with_root(
    root: Root, clips: pa.Table, homes: Mapping[str, str], folders: Mapping[str, Folder], *, retry: bool
) -> _RootStatus:
    index, known_contents = read_tier_index(root), read_known_contents(root, homes)
    # Another way of decoding may read what this one rejected, and the other way round.
    entry = index.get(METADATA_TABLE)
    stages = _DECODING_STAGES if entry is None or entry.path != folders[METADATA_TABLE] else ()
    rejected, outdated_stamp = compare_with_rejects(root, clips, known_contents, retry=retry, stages=stages)
    stamps = {f: resolve_contents(read_stamps(root, *f), known_contents) for f in _list_folders(index, folders)}
    by_folder = {folder: compare_with_folder(clips, rows, ~rejected) for folder, rows in stamps.items()}
    stale = np.any([each.stale for each in by_folder.values()], axis=0)
    outdated_stamp = np.any([outdated_stamp, *(each.outdated_stamp for each in by_folder.values())], axis=0)
    return _RootStatus(index, known_contents, rejected, outdated_stamp & ~stale, stale, by_folder)


def _make_folders(tiers: Sequence[Tier], configs: TierConfigs) -> dict[str, Folder]:
    """Path of the feature folder of each tier, and of `METADATA_TABLE`."""
    folders = {tier.name: feature_folder(tier.name, tier_fingerprint(tier, configs.decode)) for tier in tiers}
    metadata = feature_folder(METADATA_TABLE, fingerprint(METADATA_TABLE, DECODING, configs.decode))
    return {**folders, METADATA_TABLE: metadata}


def _select_clips(root: Root, catalogue: pa.Table) -> pa.Table:
    ids, uris = catalogue["clip_id"].cast(pa.string()), catalogue["uri"].cast(pa.string())
    return pa.table({"clip_id": ids, "uri": uris, CONTENT: clip_stamps(root, catalogue).cast(pa.large_string())})


def _list_folders(index: Mapping[str, TierEntry], folders: Mapping[str, Folder]) -> list[Folder]:
    """The folders of a plan, and those of the root's other computed tiers: no row of a changed clip may stay there."""
    others = (
        entry.path
        for tier, entry in index.items()
        if not (entry.user_provided or is_captions(tier) or tier.partition(":")[0] == SIMILARITY)
    )
    return list(dict.fromkeys([*folders.values(), *others]))


def _select_contents(clips: pa.Table, mask: np.ndarray) -> pa.Table:
    return clips.select(["clip_id", CONTENT]).filter(pa.array(mask))


def _find_duplicates(clips: pa.Table, missing: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether an earlier clip of those that lack a tier has the same content; bool, (clips,)."""
    duplicates = np.zeros(clips.num_rows, bool)
    rows = np.flatnonzero(np.any(list(missing.values()), axis=0))
    contents = content_hashes(clips[CONTENT].take(rows))
    hashed = np.flatnonzero(pc.is_valid(contents).to_numpy())
    values = contents.take(hashed)
    if pc.count_distinct(values).as_py() < len(values):
        codes = pc.index_in(values, value_set=pc.unique(values)).to_numpy()
        _, first_rows = np.unique(codes, return_index=True)
        duplicates[rows[np.delete(hashed, first_rows)]] = True
    return duplicates


def _make_work(clips: pa.Table, missing: Mapping[str, np.ndarray]) -> pa.Table:
    """The clips that lack a tier, each with the list of those it lacks."""
    masks = np.stack(list(missing.values()), axis=1)
    rows = masks.any(axis=1)
    _, columns = np.nonzero(masks[rows])
    offsets = np.concatenate([[0], np.cumsum(masks[rows].sum(axis=1))]).astype(np.int32)
    names = pa.array(list(missing), pa.string()).take(pa.array(columns))
    tiers = pa.ListArray.from_arrays(pa.array(offsets), names)
    return clips.filter(pa.array(rows)).append_column("tiers", tiers).select(WORK.names).cast(WORK)
