"""The demo is the same from the same seed, and follows its formula."""

from pathlib import Path

from m3ray.datasets.demo import SHARES, draw_traits, make_demo
from m3ray.storage.root import Root


def test_the_demo_is_the_same_from_the_same_seed(tmp_path):
    one, two = (make_demo(Root(str(tmp_path / name)), 3, seed=5) for name in "ab")
    for a, b in zip(one, two, strict=True):
        assert (a.clip_id, a.score, a.labels) == (b.clip_id, b.score, b.labels)
        assert Path(a.uri).read_bytes() == Path(b.uri).read_bytes()
    assert make_demo(Root(str(tmp_path / "a")), 2, seed=5) == one[:2], "a smaller demo is the start of a larger one"
    assert make_demo(Root(str(tmp_path / "a")), 3, seed=6)[0].score != one[0].score


def test_the_demo_s_scores_follow_the_published_function():
    drawn = [draw_traits(k, 0)[0] for k in range(400)]
    for clip in drawn:
        rarity = 1 - SHARES[clip.action] / 0.36
        expected = 0.45 + 0.22 * rarity + 0.16 * clip.motion + 0.12 * clip.brightness
        assert abs(clip.score - expected) < 6 * 0.02
    common = sum(clip.action == "drifting" for clip in drawn) / 400
    assert abs(common - SHARES["drifting"]) < 0.08
