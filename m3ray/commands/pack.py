"""`m3ray pack`: a zip of a bundle, or of the results of a root, to give to others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from m3ray.commands.card import check_absent, split_file
from m3ray.commands.options import PackOptions
from m3ray.errors import ConfigError
from m3ray.scoring.bundle_metadata import BUNDLE_FILE
from m3ray.storage.root import Root

_LEFT_OUT = "left out: clips, catalogue, logs, trained weights"


def run(options: PackOptions) -> int:
    """Pack what the options name.

    Args:
        options: bundle or root, the zip, and what goes into it.
    Returns:
        The exit status, 0.
    Raises:
        ConfigError: If there is nothing to pack, or the zip is there already.
        BundleError: If a bundle is damaged.
    """
    from m3ray.scoring.pretrained_bundle import is_pretrained

    if is_pretrained(options.what):
        raise ConfigError(f"{options.what} comes in a package of its authors': there is nothing to pack")
    if not options.what.strip():
        raise ConfigError("nothing to pack: give a bundle's folder, or the root of a job, got an empty name")
    root = Root(options.what)
    name = root.uri.rpartition("/")[2]
    out = f"{name}.zip" if options.out is None else options.out
    if not out:
        raise ConfigError("--out is empty: expected the name of a .zip")
    if not out.lower().endswith(".zip"):
        raise ConfigError(f"--out {out}: expected the name of a .zip, from which a bundle can be opened")
    if not options.overwrite:
        check_absent(*split_file(out))
    is_bundle = root.exists(BUNDLE_FILE)
    if is_bundle and (options.features or options.frames != "auto"):
        raise ConfigError("--features and --frames are for roots: a bundle has neither")
    print("\n".join(_pack_bundle(root, out) if is_bundle else _pack_root(root, out, options)))
    return 0


def _pack_bundle(folder: Root, out: str) -> list[str]:
    from m3ray.scoring.packed_bundle import pack_bundle

    packed = pack_bundle(folder)
    digest, line = _write(packed.files, out)
    lines = [line, f"sha256: {digest}"]
    if not packed.has_own_card:
        lines.append("card: made now; m3ray card writes it into the folder, with --licence and --author")
    lines += [
        f"not in it: {name}, a file of this machine that its networks need: give it along, to lie where scores are made"
        for name in packed.local_weights
    ]
    file = out.rpartition("/")[2]
    return [*lines, f'open it here with m3ray.load("{out}"), from the web with "https://HOST/{file}#sha256={digest}"']


def _pack_root(root: Root, out: str, options: PackOptions) -> list[str]:
    from m3ray.reports.packed_files import pack_root

    packed = pack_root(root, options.frames, with_features=options.features)
    digest, line = _write(packed.files, out)
    lines = [line, f"sha256: {digest}", _LEFT_OUT + ("" if options.features else ", features (--features adds them)")]
    if packed.frames:
        lines.append(_describe_frames(packed.frames, kept=packed.are_frames_kept, chosen=options.frames != "auto"))
    if packed.replaced:
        lines.append(f"paths of this machine: {packed.replaced} replaced by the names of their files")
    return lines


def _describe_frames(count: int, *, kept: bool, chosen: bool) -> str:
    pictures = "1 small picture of a clip" if count == 1 else f"{count} small pictures of clips"
    if kept:
        why = "" if chosen else ", which the demo drew"
        return f"frames: the page shows {pictures}{why}; --frames remove takes them out"
    why = "" if chosen else "; --frames keep leaves them, if the data set's terms let you"
    return f"frames: {pictures} taken out of the page, and Figure 5 left out{why}"


def _write(files: Mapping[str, bytes], out: str) -> tuple[str, str]:
    """Write the zip; return its hash, and a line on it."""
    from m3ray.storage.zip_files import write_zip

    data = write_zip(files)
    folder, name = split_file(out)
    Root(folder).write_bytes(data, name)
    return hashlib.sha256(data).hexdigest(), f"written: {out}, {len(files) + 1} files, {len(data) / 2**20:.1f} MiB"
