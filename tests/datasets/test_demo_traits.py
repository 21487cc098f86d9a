"""What the demo draws follows its formula, and nothing that is drawn tells of anything else."""

from dataclasses import asdict

import numpy as np

from m3ray.datasets.demo_traits import KINDS, STRENGTHS, draw_traits

CLIPS = 2000
DRAWN = [draw_traits(number, 0)[0] for number in range(CLIPS)]
COLUMNS = {name: np.array([asdict(clip)[name] for clip in DRAWN]) for name in asdict(DRAWN[0])}


def test_the_probability_is_the_documented_formula():
    """docs/demo.md: 0.22 + 0.24 motion + 0.17 brightness + 0.24 contrast + 0.22 oddness, noise 0.01."""
    parts = (COLUMNS["motion"], COLUMNS["brightness"], COLUMNS["contrast"], COLUMNS["oddness"])
    expected = 0.22 + np.array([0.24, 0.17, 0.24, 0.22]) @ parts
    inside = expected < 0.95
    assert np.abs(COLUMNS["probability"] - expected)[inside].max() < 5 * 0.01
    assert abs((COLUMNS["probability"] - expected)[inside].std() - 0.01) < 0.001
    assert COLUMNS["probability"].max() <= 1


def test_a_least_squares_fit_finds_the_strengths():
    """A plain regression of the probabilities on all that is drawn; noise 0.01 over 2,000 clips leaves about 0.001."""
    names = [*STRENGTHS, "colour", "later_colour", "grain"]
    inside = COLUMNS["probability"] < 0.95
    design = np.column_stack([np.ones(CLIPS), *(COLUMNS[name] for name in names)])[inside]
    found = np.linalg.lstsq(design, COLUMNS["probability"][inside], rcond=None)[0][1:]
    np.testing.assert_allclose(found, [*STRENGTHS.values(), 0, 0, 0], atol=0.006)


def test_what_is_drawn_is_independent():
    """Of 21 correlations over 2,000 clips each is within four of its standard deviations, 1 / sqrt(2000)."""
    names = ("motion", "brightness", "contrast", "oddness", "colour", "later_colour", "grain")
    correlations = np.corrcoef([COLUMNS[name] for name in names])[np.triu_indices(7, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(CLIPS)


def test_kinds_have_their_shares_and_no_part_in_the_formula():
    for kind, share in KINDS.items():
        own = COLUMNS["kind"] == kind
        assert abs(own.mean() - share) < 4 * np.sqrt(share * (1 - share) / CLIPS)
        error = COLUMNS["probability"].std() / np.sqrt(own.sum())
        assert abs(COLUMNS["probability"][own].mean() - COLUMNS["probability"].mean()) < 4 * error


def test_four_of_ten_clips_are_odd():
    odd = COLUMNS["oddness"] > 0
    assert abs(odd.mean() - 0.4) < 4 * np.sqrt(0.24 / CLIPS)
    assert COLUMNS["oddness"][odd].min() >= 0.4
