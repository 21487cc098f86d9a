"""A clip's map on the page: pictures, the numbers of the colours, and parts in words, or why there is none."""

import pytest

from m3ray.reports.map_block import describe_grid, make_legend, make_map_block

ROW = {
    "reason": None,
    "method": "occlusion",
    "evaluations": 64,
    "segments": 4,
    "rows": 8,
    "columns": 8,
    "peak_t": 1.5,
    "picture_times": [0.5, 1.5],
    "pictures": [b"one", b"two"],
    "scale": 0.0064,
    "adds": ["upper left (x 0-50 %), 1.0-2.0 s: +0.080 ± 0.005"],
    "takes": [],
    "resolution": "occlusion: 4 x 4 parts",
    "overlay": "a-1.webp",
}


def test_pictures_have_their_times_and_the_legend_zero_and_numbers():
    block = make_map_block(ROW, "a.mp4", untrained=True)
    assert [picture["time"] for picture in block["pictures"]] == ["0.5 s", "1.5 s"]
    assert block["pictures"][0]["source"] == "data:image/webp;base64,b25l"
    assert block["pictures"][1]["alt"] == "Map of a.mp4 at 1.5 s"
    assert {name: block["legend"][name] for name in ("low", "zero", "high")} == {
        "low": "-0.0064",
        "zero": "0",
        "high": "+0.0064",
    }
    assert block["adds"] == [{"where": "upper left (x 0-50 %), 1.0-2.0 s", "effect": "+0.080 ± 0.005"}]
    assert (block["takes"], block["untrained"], block["overlay"]) == ([], True, "a-1.webp")


def test_a_clip_without_a_map_has_the_reason():
    block = make_map_block({**ROW, "reason": "damaged"}, "a.mp4", untrained=True)
    assert block == {"reason": "damaged", "untrained": False}


def test_an_image_has_no_time_and_nothing_that_moves():
    block = make_map_block({**ROW, "picture_times": [0.0], "pictures": [b"one"], "peak_t": 0.0}, "a", untrained=False)
    assert [(picture["time"], picture["alt"]) for picture in block["pictures"]] == [("", "Map of a")]
    assert block["overlay"] == ""
    assert block["legend"]["unit"].endswith("of the image")


def test_a_map_without_effects_has_no_numbers():
    assert make_legend(0.0, "clip")["low"] == ""


@pytest.mark.parametrize("row", [{**ROW, "resolution": None, "adds": None, "takes": None, "pictures": None}])
def test_a_row_without_words_still_says_how_finely_was_looked(row):
    block = make_map_block(row, "a", untrained=False)
    assert block["resolution"] == describe_grid(ROW) == "occlusion: 8 x 8 parts x 4 times; 64 versions scored"
    assert block["pictures"] == []
