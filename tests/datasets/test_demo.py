"""The demo's clips are the same from the same seed, a smaller demo begins a larger one, and scores are hits."""

from pathlib import Path

from m3ray.datasets.demo import CLIPS, choose_split, make_demo
from m3ray.datasets.demo_traits import draw_traits
from m3ray.storage.root import Root


def test_the_demo_is_the_same_from_the_same_seed(tmp_path):
    one, two = (make_demo(Root(str(tmp_path / name)), 3, seed=5) for name in "ab")
    for a, b in zip(one, two, strict=True):
        assert (a.clip_id, a.score, a.labels, a.extra) == (b.clip_id, b.score, b.labels, b.extra)
        assert Path(a.uri).read_bytes() == Path(b.uri).read_bytes()
    assert make_demo(Root(str(tmp_path / "a")), 2, seed=5) == one[:2], "a smaller demo is the start of a larger one"
    assert make_demo(Root(str(tmp_path / "a")), 3, seed=6)[0].score != one[0].score


def test_the_score_is_the_share_of_viewers_who_recognise_the_clip(tmp_path):
    for clip in make_demo(Root(str(tmp_path)), 30, write=False):
        assert clip.score == clip.extra["hits"] / clip.extra["responses"]
        assert 120 <= clip.extra["responses"] <= 240
        assert 0 <= clip.extra["false_alarms"] <= clip.extra["false_alarm_responses"]
    assert not (tmp_path / "demo").exists(), "a dry run writes no clip"


def test_the_catalogue_says_what_was_drawn(tmp_path):
    (clip,) = make_demo(Root(str(tmp_path)), 1, seed=4, write=False)
    traits, _ = draw_traits(0, 4)
    assert clip.labels == (traits.kind,)
    assert clip.extra["drawn_motion"] == traits.motion
    assert clip.extra["drawn_probability"] == traits.probability


def test_half_of_the_later_clips_are_val():
    """Of the first 40 one in five: where there are few clips, training needs them more."""
    splits = [choose_split(number) for number in range(CLIPS)]
    assert {few: splits[:few].count("val") for few in (4, 14, 40)} == {4: 2, 14: 3, 40: 8}
    assert (splits[40:].count("train"), splits[40:].count("val")) == (180, 180)
