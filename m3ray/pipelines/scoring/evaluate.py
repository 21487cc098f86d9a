"""Bundles judged on roots. What a root lacks for a bundle is computed under `--out`: the root stays as it is."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import fingerprint
from m3ray.config.options import EvaluateOptions
from m3ray.console import say
from m3ray.datasets.catalogue import read_catalogue
from m3ray.datasets.clip_contents import homes_of, stamps_of
from m3ray.datasets.known_contents import known_contents, note_contents
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction import dataflow as extraction
from m3ray.pipelines.extraction import planning
from m3ray.pipelines.extraction.changes import drop_stale
from m3ray.pipelines.extraction.preflight import check_weights, check_workers
from m3ray.pipelines.extraction.rejects import accepted, check_rejects, parted, tell_rejects
from m3ray.pipelines.extraction.run import check_none_lost
from m3ray.pipelines.extraction.versions import check_versions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.job import Job
from m3ray.request.bundles import judged_split
from m3ray.request.ranges import most_rejects
from m3ray.schema import CATALOGUE_FILE, CONTENT
from m3ray.scoring.bundle import Bundle, as_text
from m3ray.scoring.score_root import scored
from m3ray.scoring.scorer import bundle_tiers
from m3ray.storage.compaction import replace_rows
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.root import Root
from m3ray.storage.tier_index import current_tiers, feature_folder, rejected_ids, remember_tiers
from m3ray.storage.versions import folder_metadata
from m3ray.study.cross_dataset import Judged, as_markdown, judge, table
from m3ray.tiers import Tier, fingerprint_of

FOLDER = "evaluation"
_OF_ROOT = "evaluated.json"


def evaluate_all(job: Job, options: EvaluateOptions, on: Resources) -> list[Judged]:
    """Every bundle on every root; the table goes to `evaluation/`."""
    roots, found = [Root(uri) for uri in options.roots], []
    names = _names([root.uri for root in roots])
    for uri in options.bundles:
        bundle = Bundle.load(uri)
        say(f"evaluate: {as_text(bundle)}")
        for root, name in zip(roots, names, strict=True):
            found.append(_judged(job.root, bundle, _home(uri, roots, names), root, name, options, on))
    frame = table(found)
    job.root.write_table(pa.Table.from_pandas(frame, preserve_index=False), FOLDER, "evaluation.parquet")
    job.root.write_bytes(csv_bytes(frame), FOLDER, "evaluation.csv")
    job.root.write_bytes(as_markdown(found).encode(), FOLDER, "evaluation.md")
    say(as_markdown(found).rstrip())
    return found


def _names(uris: list[str]) -> list[str]:
    """The last part of each root, the whole where that is not unique."""
    short = [uri.rsplit("/", 1)[-1] for uri in uris]
    return short if len(set(short)) == len(short) else uris


def _home(uri: str, roots: list[Root], names: list[str]) -> str:
    """The root that a bundle lies in, by name; else its own path."""
    where = Root(uri).uri
    return next((name for root, name in zip(roots, names, strict=True) if where.startswith(root.uri + "/")), where)


def _judged(
    out: Root, bundle: Bundle, home: str, root: Root, name: str, options: EvaluateOptions, on: Resources
) -> Judged:
    catalogue = read_catalogue(root)
    known = catalogue.filter(pc.is_valid(catalogue["score"]))
    split = judged_split(catalogue, root.uri)
    chosen = known.filter(pc.equal(known["split"], split))
    room = _features(out, bundle, root, name, chosen, options, on)
    frame = scored(bundle, room).set_index("clip_id")["score"]
    truth = dict(zip(chosen["clip_id"].to_pylist(), chosen["score"].to_pylist(), strict=True))
    frame = frame[[clip for clip in frame.index if clip in truth]]
    say(f"evaluate: {bundle.name} of {home} on {name}: {len(frame)} of {len(truth)} {split} clips")
    judged = judge(
        home, name, split, home == name, frame.to_numpy(), frame.index.map(truth).to_numpy(dtype=float, copy=True)
    )
    return replace(judged, untrained=bundle.untrained)


def _features(
    out: Root, bundle: Bundle, root: Root, name: str, clips: pa.Table, options: EvaluateOptions, on: Resources
) -> Root:
    """A room with the bundle's tiers of `clips`: taken from the root where it has just those, else computed."""
    configs, tiers = bundle_tiers(bundle)
    room = _room(out, root, name.replace("/", "_").replace(":", "_"))
    room.write_table(clips, CATALOGUE_FILE)
    now = pa.table({"clip_id": clips["clip_id"], CONTENT: stamps_of(root, clips)})
    known = known_contents(root, homes_of(clips.schema))
    note_contents(room, known_contents(room, {}), known)
    lacking = []
    for tier in tiers:
        folder = feature_folder(tier.name, fingerprint_of(tier, configs.decode))
        if not _taken(room, root, tier, folder, now, known):
            lacking.append(tier)
    _take_brought(bundle, root, room)
    if lacking:
        check_weights(lacking)
        plan = planning.plan(room, clips, lacking, configs, retry=False, home=root)
        check_versions(plan, options.compute, on, mix=options.mix_versions)
        check_workers(room, plan.work["uri"])
        most = most_rejects(options.max_rejects, clips.num_rows)
        limits, stall = options.limits, options.stall_minutes
        extraction.run(plan, configs, limits, options.compute, on, most_rejects=most, stall_minutes=stall)
        settled, waiting = parted(room, clips["clip_id"])
        tell_rejects(settled, waiting)
        check_none_lost(plan, accepted(clips["clip_id"], settled, waiting))
        check_rejects(room, settled.num_rows, most, settled)
    return room


def _room(out: Root, root: Root, name: str) -> Root:
    """A folder for what is computed of a root's clips: its own, as clips of two roots may bear one name."""
    room = out.below(FOLDER, name)
    if room.exists(CATALOGUE_FILE) and (not room.exists(_OF_ROOT) or room.read_json(_OF_ROOT) != {"root": root.uri}):
        room = out.below(FOLDER, f"{name}-{fingerprint(root.uri)}")
    room.write_json({"root": root.uri}, _OF_ROOT)
    return room


def _taken(room: Root, root: Root, tier: Tier, folder: tuple[str, str], now: pa.Table, known: pa.Table) -> bool:
    """Copies what the root has of the very tier and of what its clips are now; whether that is all of it."""
    shards = root.read_shards(*folder)
    if shards is None:
        return False
    wanted = room.read_table(CATALOGUE_FILE, columns=["clip_id"])["clip_id"]
    rows = shards.filter(pc.is_in(shards["clip_id"], wanted.combine_chunks()))
    if rows.num_rows == 0:
        return False
    replace_rows(room, rows, folder, folder_metadata(root, *folder))
    drop_stale(room, folder, now, known=known)
    entry = {"folder": folder[1], "untrained": tier.untrained, "identity": tier.identity()}
    remember_tiers(room, {tier.name: entry})
    # What the root rejected stays out; whatever else it lacks is computed.
    rejected = rejected_ids(root, settled=True)
    there = pc.or_(pc.is_in(wanted, value_set=room.ids(*folder)), pc.is_in(wanted, value_set=rejected))
    return pc.all(there).as_py()


def _take_brought(bundle: Bundle, root: Root, room: Root) -> None:
    """The tiers that the bundle's user brought, under the same names in the root judged on."""
    current = current_tiers(root)
    for tier, entry in bundle.facts["tiers"].items():
        if not entry.get("brought"):
            continue
        if not current.get(tier, {}).get("brought"):
            raise ConfigError(
                f"{bundle.name} sees {tier}, brought by a user, and {root.uri} has none: bring it with "
                f"jobs/extract.py --out {root.uri} --tier {tier}=FILE --tiers {tier}"
            )
        folder = ("features", current[tier]["folder"])
        rows = root.read_shards(*folder)
        assert rows is not None
        room.write_shard(rows, folder, root.shard_metadata(*folder))
        remember_tiers(room, {tier: current[tier]})
