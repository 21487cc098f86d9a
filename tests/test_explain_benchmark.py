"""benchmarks/explain.py: what is planted, maps that know nothing, and its judgement, reckoned in the head."""

from importlib.util import find_spec

import numpy as np
import pytest
from explain import Result, Results, judge_map, show_planted
from explain_clips import BASE, GAIN, HALF, Patch, draw_clip, score_patch
from explain_maps import CENTRE, METHODS, OCCLUSION, RANDOM, FoundMap, Task, map_with_captum, score_clips
from explain_scorers import KNOWN, make_known_scorer, measure_look

FRAMES, SIZE = 4, 32
PATCH = Patch(1, 3, 8, 16, 8, 8)


@pytest.fixture(scope="module")
def scorer():
    with make_known_scorer(SIZE) as known:
        yield known


def test_a_clip_has_its_patch_and_is_drawn_the_same_again():
    clip, again, without = (draw_clip(3, FRAMES, SIZE, PATCH, planted=p, plain=False) for p in (True, True, False))
    assert np.array_equal(clip.frames, again.frames)
    differs = (clip.frames != without.frames).any(axis=-1)
    region = np.zeros(differs.shape, bool)
    region[PATCH.slices] = True
    assert not differs[~region].any(), "the same clip, but for the patch"
    assert differs[region].mean() > 0.9
    assert without.patch is None


def test_a_clip_is_worth_its_patch_s_share():
    assert score_patch(None, (4, 32, 32, 3)) == BASE
    share = 2 * 8 * 8 / (4 * 32 * 32)  # 1 / 32
    assert score_patch(PATCH, (4, 32, 32, 3)) == pytest.approx(BASE + GAIN * share / (share + HALF))
    with_patch, without = (draw_clip(3, FRAMES, SIZE, PATCH, planted=p, plain=False).frames for p in (True, False))
    # Each magenta cell but those of the last column has a green one to its right: 7 of 8 columns.
    assert measure_look(with_patch) - measure_look(without) == pytest.approx(share * 7 / 8, rel=0.15)


def test_maps_that_know_nothing_have_the_clip_s_shape(scorer):
    task = Task(scorer, draw_clip(0, FRAMES, SIZE, PATCH).frames, 0, 8)
    for method in (RANDOM, CENTRE):
        found = METHODS[method](task)
        assert found.effects.shape == (FRAMES, SIZE, SIZE)
        assert found.evaluations == 0
    assert np.array_equal(METHODS[RANDOM](task).effects, METHODS[RANDOM](task).effects)


@pytest.mark.skipif(find_spec("captum") is None, reason="captum is not installed (pip install captum)")
def test_captum_finds_the_patch(scorer):
    clip = draw_clip(0, FRAMES, SIZE, PATCH, plain=False)
    found = map_with_captum(Task(scorer, clip.frames, 0, 64))
    assert found.evaluations == 65, "4 times, 4 rows, 4 columns, and the clip as it is"
    assert found.effects[PATCH.slices].mean() > 5 * found.effects.mean()


def test_a_map_is_judged_by_place_and_time(scorer, monkeypatch):
    clip = draw_clip(0, FRAMES, SIZE, PATCH, plain=False)
    effects = np.zeros((FRAMES, SIZE, SIZE))
    effects[0, 10, 20] = 1  # the right place, and too early
    monkeypatch.setitem(METHODS, "any", lambda _: FoundMap(effects, 7, 0.5))
    early = judge_map(KNOWN, "any", clip, Task(scorer, clip.frames, 0, 8))
    assert (early.hit, early.where, early.when, early.inside) == (0, 1, 0, 0)
    assert (early.evaluations, early.seconds) == (7, 0.5)
    effects[0, 10, 20], effects[PATCH.slices] = 0, 1
    right = judge_map(KNOWN, "any", clip, Task(scorer, clip.frames, 0, 8))
    assert (right.hit, right.where, right.when, right.inside) == (1, 1, 1, 1)
    assert right.insertion > early.insertion, "the patch is shown first"
    assert right.deletion < early.deletion
    monkeypatch.setitem(METHODS, "none", lambda _: None)
    assert judge_map(KNOWN, "none", clip, Task(scorer, clip.frames, 0, 8)) is None


def test_several_clips_at_once_have_the_scores_of_each_alone(scorer):
    clips = [draw_clip(seed, FRAMES, SIZE).frames for seed in range(20)]
    np.testing.assert_allclose(score_clips(scorer, clips), scorer.predict(clips, progress=False)["score"], rtol=1e-6)


def test_results_are_kept_and_a_table_is_of_them(tmp_path, capsys):
    results = Results(tmp_path / "r.jsonl")
    for clip, hit in enumerate((1.0, 1.0, 0.0)):
        results.add(Result(KNOWN, OCCLUSION, 64, clip, hit, hit, 1.0, 0.5, 0.6, float("nan"), 60, 0.25))
    again = Results(tmp_path / "r.jsonl")
    assert [row.hit for row in again.rows] == [1, 1, 0]
    assert again.has(KNOWN, OCCLUSION, 64, 2)
    assert not again.has(KNOWN, OCCLUSION, 64, 3)
    show_planted(KNOWN, "words", [64], again)
    printed = capsys.readouterr().out
    assert "| occlusion | 64 | 3 | 66.7 % | 66.7 % | 100.0 % | 50.0 % | 0.6000 |" in printed
    assert "95%: MISSED" in printed
