"""Which tiers a data set of images gets where none are named."""

import pytest

from m3ray.config.options import ExtractOptions, TrainOptions
from m3ray.datasets.listing import Listing
from m3ray.request.checks import check_request
from m3ray.request.images import add_event_note, settle_event_tier
from m3ray.schema import Clip, catalogue_table

ALL = ("raw", "scene", "event")


def listed(*names):
    return Listing(catalogue_table([Clip(name, f"/v/{name}") for name in names]), ("folder: a line",))


@pytest.mark.parametrize(
    ("kind", "tiers", "expected"),
    [(ExtractOptions, ALL, ("raw", "scene")), (TrainOptions, (*ALL, "similarity"), ("raw", "scene", "similarity"))],
)
def test_images_alone_have_no_event_tier_unless_it_is_named(kind, tiers, expected):
    options = kind(out="x", tiers=tiers)
    chosen, listing = settle_event_tier(options, listed("a.jpg", "B.PNG"), named=False)
    assert chosen.tiers == expected
    assert listing.notes == (
        "folder: a line",
        "event: left out, as 2 images and no video show no motion; --tiers raw scene event computes it of one frame "
        "repeated",
    )
    chosen, listing = settle_event_tier(options, listed("a.jpg"), named=True)
    assert chosen == options
    assert listing.notes[1:] == ("event: 1 image: one frame repeated, which shows no motion",)


def test_beside_videos_the_frame_of_an_image_is_repeated_and_said_so_once():
    options = ExtractOptions(out="x", tiers=ALL)
    chosen, listing = settle_event_tier(options, listed("a.jpg", "b.mp4", "c.webp"), named=False)
    assert chosen == options
    assert listing.notes[1:] == ("event: 2 images: one frame repeated, which shows no motion",)


@pytest.mark.parametrize(("names", "tiers"), [(("a.mp4", "b.gif"), ALL), (("a.jpg",), ("raw", "scene"))])
def test_nothing_is_said_of_videos_nor_without_the_tier(names, tiers):
    listing = listed(*names)
    assert settle_event_tier(ExtractOptions(out="x", tiers=tiers), listing, named=False)[1] == listing
    assert add_event_note(listing, tiers) == listing


def test_a_folder_of_images_alone_is_asked_for_without_the_event_tier(tmp_path):
    for name in ("a.jpg", "b c#%.png", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    given = {"out": str(tmp_path / "o"), "dataset": "folder", "root": str(tmp_path)}
    assert check_request(ExtractOptions(**given)).options.tiers == ALL
    images = check_request(ExtractOptions(**given, media="images"))
    assert images.options.tiers == ("raw", "scene")
    assert images.listing.notes[-1].startswith("event: left out, as 2 images")
    assert check_request(ExtractOptions(**given, media="images", tiers=("event",))).options.tiers == ("event",)
