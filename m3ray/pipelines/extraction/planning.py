"""What there is to compute: the catalogue against what a root holds, column by column; and a tidy root at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import DecodeConfig, TierConfigs, as_json, fingerprint
from m3ray.console import say
from m3ray.datasets.clip_contents import homes_of, stamps_of
from m3ray.datasets.known_contents import known_contents, note_contents, resolved
from m3ray.pipelines.extraction.changes import Stand, copy_rows, drop_stale, held_back, stand_of
from m3ray.pipelines.extraction.records import WORK
from m3ray.schema import CONTENT, LISTING, SIMILARITY
from m3ray.storage.compaction import compact
from m3ray.storage.contents import strong
from m3ray.storage.root import Root
from m3ray.storage.tier_index import NONE, REJECTS, current_tiers, feature_folder, rejected_ids, remember_tiers, stamped
from m3ray.tiers import Tier, fingerprint_of
from m3ray.tiers.factory import computed
from m3ray.video.sampling import DECODING

_DECODING_STAGES = ("sniff", "demux", "decode")

Folder = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """What there is to compute.

    Args:
        folders: path of each tier, and of `facts`.
        work: the clips that lack a tier, as rows of `WORK`.
        missing: clips that each tier lacks, rejected ones left out.
        cached: clips that each tier has.
        rejected: clips rejected earlier and not tried again.
        waiting: clips of each tier that take the rows of one that is computed first.
        stale: of each folder, `clip_id, content` of clips whose rows were computed from something else than this.
        copies: of each folder, the same of clips whose content it holds under another clip's id.
        changed: clips that are stale somewhere.
        twins: ids of clips that wait for one of their content, which is computed first; they then take its rows.
        known: of `known_contents`.
        telling: `clip_id, content` of clips of which more is known than their rows say.
        anew: the same plan once more, after the root was put in order; `only` as in `plan`.
    """

    root: Root
    tiers: tuple[Tier, ...]
    folders: Mapping[str, Folder]
    work: pa.Table
    missing: Mapping[str, int]
    cached: Mapping[str, int]
    rejected: int
    waiting: Mapping[str, int] = field(default_factory=dict)
    stale: Mapping[Folder, pa.Table] = field(default_factory=dict)
    copies: Mapping[Folder, pa.Table] = field(default_factory=dict)
    changed: int = 0
    twins: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    known: pa.Table | None = None
    telling: pa.Table | None = None
    anew: Callable[..., Plan] | None = None

    def lines(self) -> list[str]:
        """The plan in words, a line a tier, and one more where clips have changed."""
        again = "those and what was fitted on them are computed again"
        changed = [f"  {self.changed} clips changed since they were computed: {again}"] if self.changed else []
        return [*changed, *(self._line(tier) for tier in self.tiers)]

    def _line(self, tier: Tier) -> str:
        copies = self.copies.get(self.folders[tier.name])
        taken = (0 if copies is None else copies.num_rows) + self.waiting.get(tier.name, 0)
        copied = f", {taken} taken from clips of the same content" if taken else ""
        return (
            f"  {tier.name:<8} {self.missing[tier.name]} to compute, {self.cached[tier.name]} cached, "
            f"{self.rejected} rejected earlier{copied}{', untrained weights' if tier.untrained else ''}"
        )

    def metadata(self, decode: DecodeConfig) -> dict[str, dict[str, Any]]:
        """What stands in each shard's Arrow metadata: enough to know how its numbers were made."""
        common = {"decode": as_json(decode)}
        tiers = {tier.name: {**common, **_entry(self, tier)} for tier in self.tiers}
        return {**tiers, "facts": common}


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
    """Compares the catalogue with what the root holds: an anti-join a tier, of hashes and not of Python objects.

    Args:
        root: holds features and rejects.
        catalogue: `clip_id, uri`, and what each clip's content is, if it was looked at.
        tiers: to compute.
        configs: their settings.
        retry: whether rejected clips are tried again; those that the storage failed, and those that have changed since,
            are in any case.
        only: ids of the clips to compute, each itself, whoever else has its content; None: all, one of each content.
        home: the root that the catalogue was made for; None: this one.
    """
    folders = _folders(tiers, configs)
    held = _compare(root, _clips(home or root, catalogue), homes_of(catalogue.schema), folders, retry=retry)
    clips, stands = held.clips, held.stands
    of_tier = {tier.name: stands[folders[tier.name]] for tier in tiers}
    asked = ~held.rejected if only is None else ~held.rejected & pc.is_in(clips["clip_id"], value_set=only).to_numpy()
    lacking = {name: ~stand.done & asked & ~stand.copied for name, stand in of_tier.items()}
    twins = _twins(clips, lacking) if only is None else np.zeros(clips.num_rows, bool)
    return Plan(
        root,
        tuple(tiers),
        folders,
        work=_work(clips, {name: mask & ~twins for name, mask in lacking.items()}),
        missing={name: int((mask & ~twins).sum()) for name, mask in lacking.items()},
        waiting={name: int((mask & twins).sum()) for name, mask in lacking.items()},
        cached={name: int(stand.done.sum()) for name, stand in of_tier.items()},
        rejected=int(held.rejected.sum()),
        stale={folder: _chosen(clips, stand.stale) for folder, stand in stands.items() if stand.stale.any()},
        copies={f: _chosen(clips, stands[f].copied) for f in folders.values() if stands[f].copied.any()},
        changed=int(held.stale.sum()),
        twins=clips["clip_id"].filter(pa.array(twins)).combine_chunks(),
        known=held.known,
        telling=_chosen(clips, held.untold),
        anew=partial(plan, root, catalogue, tiers, configs, retry=retry, only=only, home=home),
    )


@dataclass(frozen=True)
class _Held:
    """What a root holds of some clips; arrays are (clips,).

    Args:
        clips: `clip_id`, `uri` and stamps, as they are now.
        known: of `known_contents`.
        rejected: whether each stays rejected.
        untold: whether its row says less of its content than is known now.
        stale: whether it changed since some folder's row of it was computed.
        stands: folder to what it has of the clips.
    """

    clips: pa.Table
    known: pa.Table
    rejected: np.ndarray
    untold: np.ndarray
    stale: np.ndarray
    stands: Mapping[Folder, Stand]


def _compare(
    root: Root, clips: pa.Table, homes: Mapping[str, str], folders: Mapping[str, Folder], *, retry: bool
) -> _Held:
    current, known = current_tiers(root), known_contents(root, homes)
    # What another way of decoding rejected, this one may read.
    stages = _DECODING_STAGES if current.get("facts", {}).get("folder") != folders["facts"][1] else ()
    rejected, untold = held_back(root, clips, known, retry=retry, stages=stages)
    rows = {folder: resolved(stamped(root, *folder), known) for folder in _looked_at(current, folders)}
    stands = {folder: stand_of(clips, found, ~rejected) for folder, found in rows.items()}
    stale = np.any([stand.stale for stand in stands.values()], axis=0)
    untold = np.any([untold, *(stand.telling for stand in stands.values())], axis=0) & ~stale
    return _Held(clips, known, rejected, untold, stale, stands)


def _folders(tiers: Sequence[Tier], configs: TierConfigs) -> dict[str, Folder]:
    """Where the rows of each tier go, and of `facts`."""
    folders = {tier.name: feature_folder(tier.name, fingerprint_of(tier, configs.decode)) for tier in tiers}
    return {**folders, "facts": feature_folder("facts", fingerprint("facts", DECODING, configs.decode))}


def _clips(root: Root, catalogue: pa.Table) -> pa.Table:
    ids, uris = catalogue["clip_id"].cast(pa.string()), catalogue["uri"].cast(pa.string())
    return pa.table({"clip_id": ids, "uri": uris, CONTENT: stamps_of(root, catalogue).cast(pa.large_string())})


def _looked_at(current: Mapping[str, Any], folders: Mapping[str, Folder]) -> list[Folder]:
    """The folders of a plan, and those of the root's other computed tiers: a changed clip must not stand in them."""
    others = (
        ("features", entry["folder"])
        for tier, entry in current.items()
        if not entry.get("brought") and tier.partition(":")[0] != SIMILARITY
    )
    return list(dict.fromkeys([*folders.values(), *others]))


def _chosen(clips: pa.Table, rows: np.ndarray) -> pa.Table:
    return clips.select(["clip_id", CONTENT]).filter(pa.array(rows))


def _twins(clips: pa.Table, lacking: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether an earlier clip of those that lack something has the very content; bool, (clips,)."""
    twins = np.zeros(clips.num_rows, bool)
    rows = np.flatnonzero(np.any(list(lacking.values()), axis=0))
    contents = strong(clips[CONTENT].take(rows))
    told = np.flatnonzero(pc.is_valid(contents).to_numpy())
    values = contents.take(told)
    if pc.count_distinct(values).as_py() < len(values):
        first = pc.index_in(values, value_set=pc.unique(values)).to_numpy()
        _, firsts = np.unique(first, return_index=True)
        twins[rows[np.delete(told, firsts)]] = True
    return twins


def _work(clips: pa.Table, lacking: Mapping[str, np.ndarray]) -> pa.Table:
    """The clips that lack a tier, each with the list of those it lacks."""
    masks = np.stack(list(lacking.values()), axis=1)
    rows = masks.any(axis=1)
    _, columns = np.nonzero(masks[rows])
    offsets = np.concatenate([[0], np.cumsum(masks[rows].sum(axis=1))]).astype(np.int32)
    names = pa.array(list(lacking), pa.string()).take(pa.array(columns))
    chosen = clips.filter(pa.array(rows))
    tiers = pa.ListArray.from_arrays(pa.array(offsets), names)
    return chosen.append_column("tiers", tiers).select(WORK.names).cast(WORK)


def prepare(plan: Plan) -> Plan:
    """Puts the root in order before anything is computed, and returns what is then left to compute.

    Rows of the same content are copied, then rows of changed clips go, and rejects that are tried again: a job that is
    killed after it has lost nothing but time.
    """
    ids = rejected_ids(plan.root)
    again = ids.filter(pc.is_in(ids, value_set=plan.work["clip_id"]))
    compact(plan.root, *REJECTS, without=again if len(again) else None)
    if plan.known is not None and plan.telling is not None:
        note_contents(plan.root, plan.known, plan.telling)
    for folder, clips in plan.copies.items():
        copy_rows(plan.root, folder, clips, plan.known)
    for folder, clips in plan.stale.items():
        drop_stale(plan.root, folder, clips, known=plan.known)
    if plan.anew is None or not (plan.stale or plan.copies):
        return plan
    copied = max((clips.num_rows for clips in plan.copies.values()), default=0)
    if plan.changed:
        say(f"extract: {plan.changed} clips changed since they were computed")
    if copied:
        say(f"extract: {copied} clips have the content of others, whose rows are copied")
    return plan.anew()


def tidy(plan: Plan) -> None:
    """Merges small shards, takes clips that now succeeded out of `rejects/`, notes the current folders."""
    for folder in plan.folders.values():
        compact(plan.root, *folder)
    compact(plan.root, *REJECTS, without=_succeeded(plan))
    current = {tier.name: _entry(plan, tier) for tier in plan.tiers}
    remember_tiers(plan.root, {**current, "facts": {"folder": plan.folders["facts"][1]}})


def _succeeded(plan: Plan) -> pa.ChunkedArray:
    """Rejects that now have what was asked for; those that a tier failed must have all that the root holds."""
    table = plan.root.read_shards(*REJECTS, columns=["clip_id", "stage"])
    if table is None:
        return NONE
    asked = [plan.folders[tier.name] for tier in plan.tiers]
    current = current_tiers(plan.root)
    others = [tier for tier in computed(current) if tier not in plan.folders]
    held = [("features", current[tier]["folder"]) for tier in others]
    by_tier = pc.starts_with(table["stage"], "tier")
    read = table.filter(pc.and_(pc.invert(by_tier), pc.not_equal(table["stage"], LISTING)))["clip_id"]
    found = [_in_all(plan.root, read, asked), _in_all(plan.root, table.filter(by_tier)["clip_id"], [*asked, *held])]
    return pa.chunked_array([chunk for ids in found for chunk in ids.chunks], pa.string())


def _in_all(root: Root, ids: pa.ChunkedArray, folders: Sequence[tuple[str, str]]) -> pa.ChunkedArray:
    """Those of some clips that all of these folders hold."""
    for folder in folders if len(ids) else ():
        ids = ids.filter(pc.is_in(ids, value_set=root.ids(*folder)))
    return ids


def _entry(plan: Plan, tier: Tier) -> dict[str, Any]:
    return {"folder": plan.folders[tier.name][1], "untrained": tier.untrained, "identity": tier.identity()}
