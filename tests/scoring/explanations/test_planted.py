"""Maps of clips whose score was made from a patch at a known place and time: they point there, with the right sign.

The clips are the easier set of benchmarks/explain.py, that of its known formula: `plain=False` leaves out patches that
look alike, which the clips of its learnt network have.
"""

import math
import zlib

import numpy as np
import pytest
from explain_clips import Patch, draw_clip
from explain_maps import score_clips
from explain_scorers import KnownTier, make_known_scorer

from m3ray.config.explain_options import ExplainConfig
from m3ray.scoring.explanations import explain_clip
from m3ray.scoring.explanations.faithfulness import find_peak, is_hit, measure_share_inside
from m3ray.scoring.explanations.overlay import rasterise_heat
from m3ray.tiers import WeightedValue

FRAMES, SIZE, CLIPS = 12, 32, 40


@pytest.fixture(scope="module")
def scorer():
    with make_known_scorer(SIZE) as known:
        yield known


def draw(seed, frames=FRAMES, patch=None):
    # Without plain patches of the sought look's colours: the formula takes two of them side by side for a little of it.
    return draw_clip(seed, frames, SIZE, patch, plain=False)


def map_effects(scorer, clip, **settings):
    """The map as an array, the map itself, and where the patch is."""
    found = explain_clip(scorer, clip.frames, ExplainConfig(**settings))
    region = np.zeros(clip.frames.shape[:3], bool)
    region[clip.patch.slices] = True
    heat = np.stack([rasterise_heat(found, k, clip.frames.shape[1:3]) for k in range(len(clip.frames))])
    return heat, found, region


def middle_of(found):
    """Frame, row and column in the middle of the part that matters most."""
    part = found.find_peak().part
    middle = ((part.top + part.bottom) * SIZE / 2, (part.left + part.right) * SIZE / 2)
    return (part.start + part.stop) // 2, int(middle[0]), int(middle[1])


def test_the_scorer_gives_what_clips_are_worth(scorer):
    clips = [draw(seed) for seed in range(CLIPS)]
    worth = np.array([clip.score for clip in clips])
    assert np.corrcoef(score_clips(scorer, [clip.frames for clip in clips]), worth)[0, 1] > 0.9


def test_the_peak_lies_in_the_patch_in_19_of_20_clips(scorer):
    hits, named, inside = [], [], []
    for seed in range(CLIPS):
        heat, found, region = map_effects(scorer, draw(seed))
        hits.append(is_hit(heat, region))
        named.append(bool(region[middle_of(found)]))
        inside.append(measure_share_inside(heat, region) / region.mean())
        assert found.evaluations <= ExplainConfig().budget
        assert found.find_peak().effect > 0, "it adds to the score"
    assert sum(hits) >= 0.95 * CLIPS, np.flatnonzero(~np.array(hits))
    assert sum(named) >= 0.95 * CLIPS, "the middle of the part that is named first"
    assert np.median(inside) > 5, "the patch has many times its share of the effects"


def test_what_takes_from_the_score_is_blue_and_at_its_place():
    hits = []
    with make_known_scorer(SIZE, sign=-1) as scorer:
        for seed in range(10):
            heat, found, region = map_effects(scorer, draw(seed))
            hits.append(is_hit(heat, region, sign=-1))
            assert found.find_peak().effect < 0
    assert sum(hits) == 10


class NoiseTier(KnownTier):
    """A score that no part of the clip decides: it is drawn anew with each pixel that changes."""

    def _score(self, frames):
        values = super()._score(frames)
        noise = zlib.crc32(np.ascontiguousarray(frames).tobytes()) / 2**32
        return {name: WeightedValue(np.array(noise), value.weight) for name, value in values.items()}


def test_a_score_without_the_effect_is_not_mapped_to_the_patch_more_often_than_by_chance(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "tiers", [NoiseTier()])
    hits, chance = 0, []
    for seed in range(CLIPS):
        heat, _, region = map_effects(scorer, draw(seed), budget=64)
        hits += is_hit(heat, region)
        chance.append(region.mean())
    p = float(np.mean(chance))
    # The upper tail of the binomial distribution: so many hits by chance once in a thousand times at most.
    tail = sum(math.comb(CLIPS, k) * p**k * (1 - p) ** (CLIPS - k) for k in range(hits, CLIPS + 1))
    assert tail > 0.001, f"{hits} of {CLIPS} hits, {p:.1%} of the clip"


THIRD, EIGHTH = SIZE // 3, SIZE // 8
PLACES = {
    "first frames": (FRAMES, Patch(0, 2, 9, 12, THIRD, THIRD)),
    "last frames": (FRAMES, Patch(FRAMES - 2, FRAMES, 9, 12, THIRD, THIRD)),
    "upper left corner": (FRAMES, Patch(0, 6, 0, 0, THIRD, THIRD)),
    "lower right corner": (FRAMES, Patch(5, FRAMES, SIZE - THIRD, SIZE - THIRD, THIRD, THIRD)),
    "a 64th of the frame": (FRAMES, Patch(3, FRAMES, 13, 18, EIGHTH, EIGHTH)),
    "all of the time": (FRAMES, Patch(0, FRAMES, 5, 17, THIRD, THIRD)),
    "on borders of parts": (FRAMES, Patch(1, 5, 12, 12, EIGHTH * 2, EIGHTH * 2)),
    "an image": (1, Patch(0, 1, 6, 19, THIRD, THIRD)),
    "two frames": (2, Patch(1, 2, 6, 19, THIRD, THIRD)),
}


@pytest.mark.parametrize("place", PLACES)
def test_patches_at_the_ends_are_found_too(scorer, place):
    frames, patch = PLACES[place]
    missed = []
    for seed in range(5):
        heat, found, region = map_effects(scorer, draw(seed, frames, patch))
        if not is_hit(heat, region):
            missed.append((seed, find_peak(heat)))
        assert found.find_peak().effect > 0
    assert not missed, patch


@pytest.mark.parametrize("frame", [0, FRAMES - 1])
def test_a_single_frame_at_an_end_is_found_with_twice_the_budget(scorer, frame):
    """With the default one the shortest parts are of three frames, and their middle is the frame beside it."""
    patch = Patch(frame, frame + 1, 9, 12, THIRD, THIRD)
    for seed in range(3):
        heat, _, region = map_effects(scorer, draw(seed, FRAMES, patch), budget=2 * ExplainConfig().budget)
        assert is_hit(heat, region)


def test_of_an_image_there_is_a_place_and_no_time(scorer):
    _, found, _ = map_effects(scorer, draw(0, 1, PLACES["an image"][1]))
    assert found.is_image
    assert {cell.part.start for cell in found.cells} == {0}
    assert found.find_peak().part.area <= 1 / 64, "all of the budget went into space"
