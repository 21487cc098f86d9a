"""Which files are videos and which are images, by their names."""

import pyarrow as pa
import pytest

from m3ray.datasets.media import count_images, count_noun, describe_media, named_kind


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a.jpg", "images"), ("/v/a.JPEG", "images"), ("a.png", "images"), ("a.webp", "images"), ("a.bmp", "images"),
     ("a.gif", "videos"), ("a.mp4", "videos"), ("a.mp4.jpg", "images"), ("v.jpg/readme", None), (".a.jpg", None),
     ("a.heic", None), ("a.txt", None), ("a b#1%20.jpg", "images")],
)  # fmt: skip
def test_the_ending_tells(path, expected):
    assert named_kind(path) == expected


def test_images_of_a_table_are_counted_by_their_endings():
    uris = ["/v/a.jpg", "s3://b/c.PNG", "https://x/y.mp4", None, "", "/v/jpg", "/v/a.jpg.mp4"]
    assert count_images(pa.chunked_array([uris], pa.string())) == 2
    assert count_images(pa.chunked_array([], pa.string())) == 0


def test_the_user_is_told_of_both_kinds_and_how_to_leave_images_out():
    both = describe_media([("videos", 20), ("images", 10_000)], "all")
    assert both == (
        "folder: 20 videos and 10,000 images: an image is a clip of one frame; --media videos leaves images out",
    )
    assert describe_media([("images", 1)], "all") == ("folder: 1 image: an image is a clip of one frame",)
    assert describe_media([("videos", 3)], "all") == ()
    assert count_noun(1, "videos") == "1 video"
