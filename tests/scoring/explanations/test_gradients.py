"""Maps by gradients: pixels' effects sum to what the whole clip adds, and lie where the network looks."""

import numpy as np
import pytest
import torch
from small_maps import SIZE, draw_noise, make_view
from small_networks import TinyTier, make_tiny_bundle

from m3ray.scoring.explanations.gradients import STEPS, GradientMap, gather_cells
from m3ray.scoring.explanations.hiding import blur_frames, enlarge
from m3ray.scoring.explanations.parts import Part


def take_gradients(frames, tier, bundle, progress=None):
    view = make_view(frames, tier)
    gradients = GradientMap(view, [tier], bundle, {}, torch.device("cpu"), progress)
    return gradients.run(), gradients


def score(frames, tier, bundle):
    vector = make_view(frames, tier).values["tiny"]["tiny"]
    return bundle._predict(vector[None].astype(np.float32)).mean()


def test_effects_sum_to_what_the_clip_adds_to_its_blurred_version():
    # Integrated gradients are complete (Sundararajan et al. 2017, proposition 1), up to the sum over few steps.
    frames, tier, bundle = draw_noise(12), TinyTier(), make_tiny_bundle()
    effects, _ = take_gradients(frames, tier, bundle)
    total = sum(float(effect.sum()) for effect in effects.values())
    blurred = enlarge(blur_frames(frames), SIZE, SIZE)
    assert total == pytest.approx(score(frames, tier, bundle) - score(blurred, tier, bundle), rel=0.02)
    assert sorted(effects) == list(range(12))


def test_a_pixel_s_effect_is_slope_times_change():
    frames, tier, bundle = draw_noise(6), TinyTier(), make_tiny_bundle()
    effects, _ = take_gradients(frames, tier, bundle)
    fill = enlarge(blur_frames(frames), SIZE, SIZE).astype(np.float64)
    # At each step: d score / d vector by differences, times the vector's slope, weight / (255 * 0.25 * frames).
    weights = tier.loaded.module.get_parameter("weights").detach().numpy().astype(np.float64)
    expected = np.zeros((SIZE, SIZE))
    for step in range(STEPS):
        mixed = fill + (step + 0.5) / STEPS * (frames - fill)
        vector = np.einsum("thwc,kchw->k", (mixed / 255 - 0.5) / 0.25, weights) / 6
        near = [vector + sign * 1e-2 * np.eye(2)[k] for k in range(2) for sign in (1, -1)]
        scores = bundle._predict(np.array(near, np.float32)).mean(axis=0)
        slopes = (scores[0::2] - scores[1::2]) / 2e-2
        change = (frames[2] - fill[2]) / (255 * 0.25)
        expected += np.einsum("k,kchw,hwc->hw", slopes, weights, change) / 6 / STEPS
    np.testing.assert_allclose(effects[2], expected, rtol=5e-3, atol=1e-6)


def test_parts_have_the_sums_of_their_pixels():
    effects = {0: np.ones((8, 8)), 1: np.full((8, 8), 2.0)}
    cells = gather_cells(effects, [Part(0, 1, right=0.5), Part(0, 1, left=0.5), Part(1, 2), Part(2, 4)])
    assert [cell.effect for cell in cells] == [32, 32, 128, 0]
    assert all(np.isnan(cell.spread) and np.isnan(cell.noise) for cell in cells)


def test_progress_is_told():
    told = []
    _, gradients = take_gradients(
        draw_noise(3), TinyTier(), make_tiny_bundle(), lambda done, count: told.append((done, count))
    )
    assert told == [(k + 1, STEPS) for k in range(STEPS)]
    assert gradients.evaluations == STEPS
