"""LaMem (Khosla et al. 2015): `splits/train_1.txt` and so on, an image and its score a line, and `images/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from m3ray.config import ReadConfig
from m3ray.datasets.image_sets import ImageSet, build_listing, find_annotations, parse_image_score
from m3ray.datasets.listing import Listing
from m3ray.errors import SchemaError
from m3ray.schema import SPLITS, Clip
from m3ray.storage.filesystems import one_line
from m3ray.storage.root import Root

NUMBERS = ("1", "2", "3", "4", "5")
_EXPECTED = "splits/train_1.txt, val_1.txt, test_1.txt"


def list_lamem(source: str, read: ReadConfig) -> Listing:
    """List the clips of LaMem, images of one frame each.

    Args:
        source: path or URI of the data set's folder.
        read: which of the five published splits to take, 1 to 5 (`splits`; none: 1), or a file that says which image
            is in which split; the folder of the images if it is elsewhere (`videos`).
    Returns:
        The clips, and what the user is told of them.
    Raises:
        SchemaError: If a list is not there, a line is impossible, or an image is in two splits.
    """
    number = "1" if read.splits is None or not read.splits.isdecimal() else read.splits
    if number not in NUMBERS:
        raise SchemaError(f"--splits {number}: LaMem has the splits 1 to 5; or give a file")
    images = _describe(number)
    found = find_annotations(source, images)
    folder = found.parts[:-1]
    clips = [clip for split in SPLITS for clip in _read_list(found.root, (*folder, f"{split}_{number}.txt"), split)]
    _check_leaks(clips, number)
    given = read.splits is not None and not read.splits.isdecimal()
    note = (
        "lamem: splits from --splits" if given else f"lamem: split {number} of 5, as published; --splits takes others"
    )
    read = read if given else replace(read, splits=None)
    return build_listing(images, found, clips, read, f"the second column of train_{number}.txt", [note])


def _describe(number: str) -> ImageSet:
    name = f"train_{number}.txt"
    return ImageSet(
        "lamem",
        "LaMem (lamem.tar.gz, unpacked)",
        (("splits", name), (name,)),
        frozenset({"splits", "images"}),
        ("images",),
        _EXPECTED.replace("_1", f"_{number}"),
    )


def _read_list(root: Root, parts: tuple[str, ...], split: str) -> Iterator[Clip]:
    try:
        lines = root.read_bytes(*parts).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SchemaError(f"{root.display(*parts)} cannot be read: {one_line(error)}") from error
    for number, line in enumerate(lines, start=1):
        where, cells = f"{parts[-1]}: row {number}", line.split()
        if not cells:
            continue
        if len(cells) != 2:
            raise SchemaError(f"{where} is {line[:60]!r}, expected an image and its score, as in 00000001.jpg 0.75")
        yield Clip(clip_id=cells[0], uri=cells[0], split=split, score=parse_image_score(cells[1], where))


def _check_leaks(clips: list[Clip], number: str) -> None:
    known: dict[str, str | None] = {}
    for clip in clips:
        if known.setdefault(clip.clip_id, clip.split) != clip.split:
            raise SchemaError(
                f"{clip.clip_id} is in {known[clip.clip_id]}_{number}.txt and in {clip.split}_{number}.txt: a leak; "
                "unpack LaMem anew"
            )
