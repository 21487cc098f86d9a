"""Versions: their scores are those of the changed clip as a whole, and no more is computed than a change touches."""

import numpy as np
import pytest
from small_maps import SIZE, ContrastTier, draw_noise, make_evaluator, make_view

from m3ray.scoring.explanations.hiding import cover_part
from m3ray.scoring.explanations.parts import Part

PARTS = [
    Part(4, 8, 0.25, 0.5, 0.5, 0.75),
    Part(0, 3),
    Part(5, 12, 0.0, 0.5, 0.0, 1.0),
    Part(0, 12, 0.25, 0.5, 0.5, 0.75),
]


def lay_covers(frames, parts=PARTS):
    return [cover_part(part, frames.shape[:3], 0, 1, every_frame=True) for part in parts]


def test_a_version_has_the_score_of_the_changed_clip():
    frames, tier = draw_noise(14), ContrastTier()
    view, evaluator = make_evaluator(frames, tier)
    covers = lay_covers(frames)
    found = evaluator.evaluate(covers)
    assert found.shape == (1, len(PARTS))
    fill = view.store.read_blurred(0, 14)
    for cover, score in zip(covers, found[0], strict=True):
        changed = make_view(cover.hide(frames, fill, 0), ContrastTier())
        assert score == pytest.approx(float(changed.values["resmem"]["resmem"]), rel=1e-6)
    assert found[0, 0] < evaluator.as_it_is[0] - 0.01, "the box is hidden"
    assert found[0, 1] == pytest.approx(evaluator.as_it_is[0]), "another place is"


def test_windows_without_a_change_are_not_computed_again():
    frames, tier = draw_noise(30), ContrastTier()  # five windows of six frames
    _, evaluator = make_evaluator(frames, tier)
    tier.frames = 0
    evaluator.evaluate(lay_covers(frames, [Part(13, 16, 0.0, 0.5)]))
    assert tier.frames in (6, 12), "one window, or two where the soft border reaches over"
    tier.frames = 0
    evaluator.evaluate([])
    assert tier.frames == 0


class NoisyWindows(ContrastTier):
    """Notes how many frames it is given at once."""

    most = 0

    def compute(self, windows):
        self.most = max(self.most, sum(len(window.frames) for window in windows))
        return super().compute(windows)


def test_batches_are_bounded():
    frames, tier = draw_noise(12), NoisyWindows()
    _, evaluator = make_evaluator(frames, tier)
    evaluator.evaluate(lay_covers(frames, PARTS * 10))
    assert tier.most <= 16


def test_versions_without_a_touched_tier_keep_their_score():
    class First(ContrastTier):
        whole_clip = False

    frames, tier = draw_noise(12), First()
    _, evaluator = make_evaluator(frames, tier)
    tier.frames = 0
    covers = [cover_part(Part(3, 12), (12, SIZE, SIZE), 0, 1, every_frame=False)]
    np.testing.assert_array_equal(evaluator.evaluate(covers)[:, 0], evaluator.as_it_is)
    assert tier.frames == 0
