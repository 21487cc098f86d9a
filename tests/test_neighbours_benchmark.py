"""benchmarks/neighbours.py: its drawn data, and what it prints of a reference, against plain NumPy."""

import neighbours
import numpy as np
import pytest
from neighbours import DRAWN, KINDS, LARGE, draw_tiers, make_bundle, make_features, measure_kind, split_tiers, summarise
from tabular_table import Table, make_columns


@pytest.mark.parametrize("name", KINDS)
def test_draws_follow_their_seed_and_have_the_columns_of_their_tiers(name):
    one, same = (KINDS[name](30, np.random.default_rng(3)) for _ in range(2))
    assert one.shape == (30, 114)
    assert one.dtype == np.float32
    assert np.array_equal(one, same)


def test_kinds_are_what_they_are_called():
    drawn = {name: draw(2_000, np.random.default_rng(0)).astype(float) for name, draw in KINDS.items()}
    # The share of the variance in the first twelve directions: little of noise's, nearly all of what has twelve.
    shares = {}
    for name, rows in drawn.items():
        values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
        shares[name] = values[:12].sum() / values.sum()
    assert shares["noise"] < 0.2
    assert shares["low rank"] > 0.95
    # A heavy-tailed clip lies far out in all columns: lengths of rows vary, which those of noise hardly do.
    lengths = {name: np.linalg.norm(rows, axis=1) for name, rows in drawn.items()}
    assert np.ptp(lengths["heavy tails"]) > 5 * np.ptp(lengths["noise"])


def test_a_shift_lowers_inside(monkeypatch):
    monkeypatch.setattr(neighbours, "NEW", 60)
    own, shifted = measure_kind(KINDS["clusters"], 100, 2)
    assert own.shape == shifted.shape == (120,)
    assert shifted.mean() < own.mean() / 4
    assert summarise(np.array([0.0, 0.005, 0.5, 1.0])) == (pytest.approx(1.505 / 4), 0.5)


def test_a_bundle_scales_by_its_train_clips():
    train = KINDS["noise"](50, np.random.default_rng(0))
    bundle = make_bundle(train, DRAWN)
    scaled = bundle.scaling(make_features(train, DRAWN, "a").values)
    assert np.abs(scaled.std(axis=0) - 1).max() < 1e-5
    assert [part.shape for part in split_tiers(train, DRAWN)] == [(50, 14), (50, 100)]
    assert bundle.reference.load().total == 50


def test_large_data_has_the_widths_of_the_tiers():
    assert draw_tiers(3, np.random.default_rng(0)).shape == (3, 15 + 720 + 2048)
    assert [len(block.names) for block in LARGE] == [15, 720, 2048]


def test_what_is_printed_of_a_large_reference_is_its_own(capsys, monkeypatch):
    blocks = (neighbours.name_columns("raw", 5), neighbours.name_columns("scene", 9))
    monkeypatch.setattr(neighbours, "LARGE", blocks)
    neighbours.print_large(60)
    printed = capsys.readouterr().out
    assert "60 train clips of 14 columns, four runs" in printed
    assert "raw 1.00, scene 1.00" in printed  # so few columns are all kept
    assert "| `inside` | " in printed


def test_rows_are_ranked_by_scores_of_those_nearby():
    rows = np.random.default_rng(0).standard_normal((200, 3))
    table = Table(rows, (rows[:, 0] - rows[:, 0].min()) / np.ptp(rows[:, 0]), make_columns(3), "the first column")
    assert min(neighbours.rank_rows(table, 0)) > 0.6
