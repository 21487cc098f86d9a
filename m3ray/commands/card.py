"""`m3ray card`: the model card of a bundle, and its citation."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from m3ray.commands.options import CardOptions
from m3ray.errors import ConfigError

if TYPE_CHECKING:
    from m3ray.scoring.open_bundle import AnyBundle

_STDOUT = "-"


def run(options: CardOptions) -> int:
    """Write the card of the bundle that the options name.

    Args:
        options: bundle, file of the card, and what its maker says.
    Returns:
        The exit status, 0.
    Raises:
        ConfigError: If there is a card already, an option is empty, or a package is missing.
        BundleError: If it is no bundle, or it cannot be fetched.
    """
    from m3ray.commands.score import check_scorer
    from m3ray.scoring.card.write import Maker, write_card
    from m3ray.scoring.open_bundle import open_bundle

    _check_words(options)
    check_scorer(options.bundle)
    out = _choose_file(options.bundle) if options.out is None else options.out
    folder, name = split_file(out)
    citation = _name_citation(options.out, name)
    if out != _STDOUT and not options.overwrite:
        check_absent(folder, name, citation)
    bundle = open_bundle(options.bundle)
    _check_maker(options, bundle)
    card = write_card(bundle, Maker(options.licence, options.author))
    if out == _STDOUT:
        print(card.text, end="")
        return 0
    from m3ray.storage.root import Root

    for file, text in ((name, card.text), (citation, card.citation)):
        Root(folder).write_bytes(text.encode(), file)
    print(f"written: {out}, and {citation} beside it")
    return 0


def _check_words(options: CardOptions) -> None:
    if any(not author.strip() for author in options.author):
        raise ConfigError("--author: got an empty name, expected one such as 'Ada Lovelace'")
    if options.licence is not None and not options.licence.strip():
        raise ConfigError("--licence is empty, expected one such as CC-BY-4.0")
    if options.out == "":
        raise ConfigError("--out is empty: expected the name of a file, or - to print the card")


def _name_citation(out: str | None, name: str) -> str:
    """The citation's file: beside a card elsewhere of its name, as a project's own CITATION.cff may lie there."""
    from m3ray.scoring.card.citation import CITATION_FILE

    if out is None:
        return CITATION_FILE
    if not name:
        raise ConfigError(f"--out {out}: expected the name of a file, got a folder")
    citation = f"{PurePosixPath(name).stem}.cff"
    if citation == name:
        raise ConfigError(f"--out {out}: that is the name of its citation: give the card another ending, such as .md")
    return citation


def _choose_file(bundle: str) -> str:
    """Where the card goes by default: into the bundle's folder; to the terminal where it has none."""
    from m3ray.scoring.bundle_archive import is_archive
    from m3ray.scoring.card.write import CARD_FILE
    from m3ray.scoring.pretrained_bundle import is_pretrained
    from m3ray.storage.hashed_address import parse_address

    if is_pretrained(bundle) or is_archive(parse_address(bundle).location):
        return _STDOUT
    return f"{bundle.rstrip('/')}/{CARD_FILE}"


def split_file(path: str) -> tuple[str, str]:
    """Split the path of a file.

    Args:
        path: path or `s3://` URI.
    Returns:
        The folder, and the name in it.
    """
    folder, slash, name = path.rpartition("/")
    return (folder or slash or "."), name


def check_absent(folder: str, *names: str) -> None:
    """Check that files are not there yet.

    Args:
        folder: folder or `s3://` URI.
        *names: names of the files.
    Raises:
        ConfigError: If one is there.
    """
    from m3ray.storage.dry_root import DryRoot

    root = DryRoot(folder)
    for name in names:
        if root.exists(name):
            raise ConfigError(f"{root.display(name)} is there already: --overwrite replaces it; or give another --out")


def _check_maker(options: CardOptions, bundle: AnyBundle) -> None:
    if hasattr(bundle, "facts") and (options.licence or options.author):
        raise ConfigError(f"--licence and --author: {bundle.name} was made by others, who chose its licence")
