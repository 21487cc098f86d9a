"""Bundles that a job is asked to score with, and what they are to score, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import PredictOptions
from m3ray.datasets.catalogue import checked
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import BundleError, ConfigError, StudyError
from m3ray.request.clips import check_videos
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.tiers.user import Brought, parse_tiers, read_tier

_NEEDED = ("name", "blocks", "files", "tiers", "configs", "sources", "untrained")


def bundle_facts(uri: str) -> dict[str, Any]:
    """What a bundle's folder says of it; its files are read, and compared with their hashes, where they are used.

    Raises:
        BundleError: there is none, or it is cut short.
    """
    root = DryRoot(uri)
    if not root.exists("bundle.json"):
        raise ConfigError(f"no bundle at {uri}: expected a folder with bundle.json, as jobs/train.py writes")
    where = root.display("bundle.json")
    try:
        facts = root.read_json("bundle.json")
    except ValueError as error:
        raise BundleError(f"{where} is damaged or cut short: copy the bundle anew, or train it again") from error
    lacking = [name for name in _NEEDED if not isinstance(facts, dict) or name not in facts]
    if lacking:
        raise BundleError(f"{where} lacks {', '.join(lacking)}: copy the bundle anew, or train it again")
    missing = sorted({*facts["files"], *facts.get("networks", {})} - set(root.names()))
    if missing:
        raise BundleError(f"{root.display(missing[0])} is missing: copy the whole folder of the bundle")
    return facts


def asked_predictions(root: Root, options: PredictOptions) -> tuple[Listing | None, tuple[Brought, ...]]:
    """The clips to score (None: those of the tiers brought), and the tiers that the bundle's user brought, of them.

    Raises:
        BundleError: no bundle, or not one.
        UserError: a path, a table, a tier or an option that does not go with it.
    """
    facts = bundle_facts(options.bundle or root.display("models", "m3s"))
    known = {tier: entry for tier, entry in facts["tiers"].items() if entry.get("brought")}
    _check_delay(facts, options)
    if options.over_time and known:
        raise ConfigError(f"--over-time: {facts['name']} sees {next(iter(known))}, brought by a user once a clip")
    brought = _brought_again(facts["name"], known, parse_tiers(options.tier))
    seen = [block["tier"] for block in facts["blocks"] if block["tier"] not in known]
    if options.root is None and brought and not seen:
        return None, brought
    listed = list_clips(root, options.dataset, options.root, limit=options.limit, seed=0, read=options.reading)
    checked(listed.table)
    check_videos(listed, seen)
    return listed, brought


def _check_delay(facts: Mapping[str, Any], options: PredictOptions) -> None:
    if options.delay is not None and facts.get("decay") is None:
        raise ConfigError(f"{facts['name']} was trained on data without decay rates (column alpha): leave out --delay")


def _brought_again(name: str, known: Mapping[str, Any], given: Mapping[str, str]) -> tuple[Brought, ...]:
    lacking = sorted(set(known) - set(given))
    if lacking:
        raise ConfigError(
            f"{name} sees {', '.join(lacking)}, brought by a user: give the new clips' with --tier {lacking[0]}=FILE"
        )
    return tuple(read_tier(tier, given[tier], scaled=entry["scaled"]) for tier, entry in known.items())


def judged_split(catalogue: pa.Table, uri: str) -> str:
    """The split of a root that bundles are judged on.

    Raises:
        StudyError: neither test nor val has a scored clip.
    """
    splits = set(catalogue.filter(pc.is_valid(catalogue["score"]))["split"].to_pylist())
    found = next((split for split in ("test", "val") if split in splits), None)
    if found is None:
        raise StudyError(f"{uri} has no scored clip in test or val: nothing to judge a bundle on")
    return found
