"""The files of a bundle as they are given to others: with its card, and without a machine's paths."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from m3ray.errors import ConfigError
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_files import read_file
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, read_manifest
from m3ray.scoring.card.write import CARD_FILE, CITATION_FILE, is_outdated, write_card
from m3ray.scoring.reference.train_reference import REFERENCE_FILE, TrainReference
from m3ray.storage.machine_paths import PathCleaner
from m3ray.storage.root import Root
from m3ray.tiers.pretrained.facts import SCORERS

_SEPARATOR = re.compile(r"[/\\]")
_WEB = ("http", "https")
_OWN = ("blocks", "files", "networks", "sources")  # names that other files have too; of sources the location alone


@dataclass(frozen=True)
class PackedBundle:
    """What is packed of a bundle.

    Args:
        name: its name.
        files: name of each file in the archive to its content.
        has_own_card: whether its folder had a card; else one was written.
        local_weights: names of weight files that lay on the machine that made it, or where others may not read, and
            are not packed.
    """

    name: str
    files: Mapping[str, bytes]
    has_own_card: bool
    local_weights: tuple[str, ...] = field(default=())


def pack_bundle(folder: Root) -> PackedBundle:
    """Collect the files of a bundle.

    Args:
        folder: the bundle's folder, local or on S3.
    Returns:
        Its files, compared with their hashes, with card and citation. Ids of train clips that are paths become the
        names of their files.
    Raises:
        BundleError: If it is damaged, or a file is missing.
        ConfigError: If its card is of an earlier bundle of that name.
    """
    bundle, manifest = Bundle.load(folder.uri), read_manifest(folder)
    hashes = {**manifest.files, **manifest.networks}
    files = {name: read_file(folder, name, digest) for name, digest in hashes.items()}
    before = folder.read_bytes(BUNDLE_FILE)
    values, shortened, local = _shorten_locations(json.loads(before))
    cleaner = PathCleaner()
    values = {name: value if name in _OWN else cleaner.clean_json(value) for name, value in values.items()}
    if REFERENCE_FILE in files:
        files[REFERENCE_FILE] = _clean_reference(files[REFERENCE_FILE])
        values["files"][REFERENCE_FILE] = hashlib.sha256(files[REFERENCE_FILE]).hexdigest()
    files[BUNDLE_FILE] = json.dumps(values, indent=1).encode() + b"\n"
    shortened |= {path: cleaner.clean_json(path) for path in cleaner.replaced if len(_SEPARATOR.findall(path)) > 1}
    cards, has_own = _read_cards(folder, bundle, before)
    # The card's mark is the hash of the bundle.json that lies beside it, so that what was packed can be packed again.
    shortened[hashlib.sha256(before).hexdigest()] = hashlib.sha256(files[BUNDLE_FILE]).hexdigest()
    files |= {name: _replace_all(data, shortened) for name, data in cards.items()}
    return PackedBundle(manifest.name, files, has_own, tuple(local))


def _read_cards(folder: Root, bundle: Bundle, bundle_json: bytes) -> tuple[dict[str, bytes], bool]:
    """Card and citation: those of the folder, else made now; and whether the folder has a card."""
    has_own = folder.exists(CARD_FILE)
    if has_own and is_outdated(folder.read_bytes(CARD_FILE).decode(errors="replace"), bundle_json):
        raise ConfigError(
            f"{folder.display(CARD_FILE)} is the card of an earlier bundle: "
            f"m3ray card {folder.uri} --overwrite makes it anew"
        )
    card = write_card(bundle)
    made = {CARD_FILE: card.text, CITATION_FILE: card.citation}
    names = {name: folder.read_bytes(name) if folder.exists(name) else text.encode() for name, text in made.items()}
    return names, has_own


def _replace_all(data: bytes, names: Mapping[str, str]) -> bytes:
    for old in sorted(names, key=len, reverse=True):
        data = data.replace(old.encode(), names[old].encode())
    return data


def _clean_reference(data: bytes) -> bytes:
    """The train reference without ids that are paths; as it is where there are none."""
    reference, cleaner = TrainReference.from_bytes(data), PathCleaner()
    cleaner.keep_apart(reference.ids)
    ids = tuple(cleaner.names.get(name, name) for name in reference.ids)
    return data if ids == reference.ids else replace(reference, ids=ids).to_bytes()


def _shorten_locations(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """`bundle.json` without paths of weight files, what became of each, and the names of those that no package has."""
    sources: dict[str, Any] = {}
    shortened: dict[str, str] = {}
    local: list[str] = []
    for tier, source in values.get("sources", {}).items():
        location = source.get("location")
        sources[tier] = source
        if location:
            name, is_public = _shorten_location(location)
            sources[tier] = {**source, "location": name}
            shortened |= {} if name == location else {location: name}
            local += [] if is_public or tier in SCORERS else [name]
    return {**values, "sources": sources}, shortened, local


def _shorten_location(location: str) -> tuple[str, bool]:
    """The name of a weight file, or its address on the web without user and query; and whether it is on the web."""
    address = urlsplit(location)
    if address.scheme.lower() in _WEB:
        return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, "", "")), True
    return PurePosixPath(location.replace("\\", "/")).name, False
