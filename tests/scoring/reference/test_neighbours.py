"""Nearest train clips and how far inside the training data clips lie: uniform for clips as those, near 0 for others."""

from dataclasses import replace

import numpy as np
import pytest
from made_bundles import make_bundle, make_pretrained
from made_references import BLOCKS, draw_features, make_compared_bundle

from m3ray.errors import FeatureError
from m3ray.features.matrix import Block, Features
from m3ray.scoring.reference import compact_space
from m3ray.scoring.reference.neighbours import (
    COLUMNS,
    add_inside,
    check_reference,
    describe_extrapolation,
    describe_neighbours,
    explain_no_reference,
    find_neighbours,
    measure_inside,
)
from m3ray.scoring.reference.reference_file import ReferenceFile
from m3ray.scoring.reference.train_reference import make_reference


@pytest.fixture(scope="module")
def train():
    return draw_features(300, 0, prefix="t")


@pytest.fixture(scope="module")
def bundle(train):
    return make_compared_bundle(train)


def measure_over_draws(draws, train, clips):
    bundles = [make_compared_bundle(draw_features(train, seed)) for seed in range(draws)]
    return np.concatenate([measure_inside(b, draw_features(clips, 50 + k)) for k, b in enumerate(bundles)])


def take(features, rows):
    return Features(tuple(features.clip_ids[k] for k in rows), features.values[rows], features.blocks)


def test_clips_drawn_as_the_train_clips_lie_anywhere_inside():
    """Over 6 draws of 300 train clips: a uniform share has mean 0.5, and below 0.01, 0.1 and 0.5 as many as it says.

    Of one draw all clips share their train clips, so the bounds are those of the spread over draws.
    """
    inside = measure_over_draws(6, 300, 500)
    assert inside.mean() == pytest.approx(0.5, abs=0.03)
    assert (inside < 0.01).mean() == pytest.approx(0.01, abs=0.006)
    assert (inside < 0.1).mean() == pytest.approx(0.1, abs=0.03)
    assert (inside < 0.5).mean() == pytest.approx(0.5, abs=0.05)


def test_it_is_so_with_fewer_clips_than_columns():
    """40 clips of 86 columns: directions fit the train clips, and not new ones, which must not look far out for it."""
    inside = measure_over_draws(10, 40, 200)
    assert inside.mean() == pytest.approx(0.5, abs=0.05)


def draw_falling(rows, power, rng):
    """Gaussian columns of which the k-th has a variance of k to the -power: at 0.5 no few directions hold them."""
    values = rng.standard_normal((rows, 720)) * np.arange(1, 721) ** (-power / 2)
    return values.astype(np.float32)


def measure_falling(power, rows, seed, new=200):
    """`inside` of new clips, and of the train clips themselves."""
    blocks = (Block("scene", tuple(f"scene_{k}" for k in range(720)), False),)
    rng = np.random.default_rng([rows, seed])
    train = draw_falling(rows, power, rng)
    ids = tuple(f"t{k}" for k in range(rows))
    bundle = make_bundle(blocks)
    reference = make_reference(ids, train, blocks, np.linspace(0, 1, rows), None)
    bundle = replace(bundle, reference=ReferenceFile(reference.to_bytes()))
    clips = Features(tuple(f"n{k}" for k in range(new)), draw_falling(new, power, rng), blocks)
    return measure_inside(bundle, clips), find_neighbours(bundle, Features(ids, train, blocks)).clips


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("rows", [100, 300])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_it_is_so_where_no_few_directions_hold_the_clips(power, rows, whole, monkeypatch):
    """Whether all columns are kept, or directions; bounds as above, over 8 draws of train clips."""
    if not whole:
        monkeypatch.setattr(compact_space, "MOST_WHOLE", 0)
    parts = [measure_falling(power, rows, seed) for seed in range(8)]
    inside = np.concatenate([new for new, _ in parts])
    assert inside.mean() == pytest.approx(0.5, abs=0.05)
    assert (inside < 0.01).mean() == pytest.approx(0.01, abs=0.012)
    for _, own in parts:
        # The share of the train clips that lie farther out than each of them is uniform by its definition.
        for name in ("inside", "inside_scene"):
            assert own[name].mean() == pytest.approx(0.5, abs=1e-6)
            assert (own[name] < 0.01).mean() <= 0.011
        assert own["train_clip"].tolist() == own["clip_id"].tolist()


def test_clips_that_differ_lie_outside(bundle):
    assert np.median(measure_inside(bundle, draw_features(200, 77, shift=1.0))) < 0.01
    assert measure_inside(bundle, draw_features(200, 77, shift=5.0)).max() == 0


def test_each_tier_says_how_far_outside_it_is(bundle):
    clips = draw_features(50, 3)
    clips.values[:, 6:] += 20  # the scene tier alone
    found = find_neighbours(bundle, clips).clips
    assert found["inside"].max() < 0.01
    assert found["inside_scene"].max() < 0.01
    assert found["inside_raw"].mean() > 0.3


def test_the_table_has_the_nearest_clips_of_each_space_and_their_true_scores(bundle, train):
    clips = draw_features(4, 5)
    table = find_neighbours(bundle, clips, count=3).table
    assert tuple(table.columns) == COLUMNS
    assert table["clip_id"].tolist() == np.repeat(clips.clip_ids, 9).tolist()
    assert table["space"].tolist()[:9] == ["raw"] * 3 + ["scene"] * 3 + ["model"] * 3
    assert table["rank"].tolist()[:6] == [1, 2, 3, 1, 2, 3]
    gaps = np.linalg.norm(train.values[:, :6] - clips.values[0, :6], axis=1)
    nearest = np.argsort(gaps)[:3]
    assert table["neighbour"].tolist()[:3] == [train.clip_ids[k] for k in nearest]
    centred = train.values[:, :6] - train.values[:, :6].mean(axis=0)
    np.testing.assert_allclose(table["distance"][:3], gaps[nearest] / np.sqrt((centred**2).sum(1).mean()), rtol=5e-3)
    np.testing.assert_allclose(table["true_score"][:3], np.linspace(0.2, 0.9, 300)[nearest], atol=1e-6)


def test_a_train_clip_is_told_and_is_not_its_own_neighbour(bundle, train):
    some = take(train, [0, 7])
    renamed = Features(("other", "names"), some.values, some.blocks)
    for clips in (some, renamed):
        found = find_neighbours(bundle, clips)
        assert found.clips["train_clip"].tolist() == ["t0", "t7"]
        assert not {"t0"} & set(found.table.loc[found.table["clip_id"] == clips.clip_ids[0], "neighbour"])
        assert found.table["distance"].min() > 0.1
    assert find_neighbours(bundle, draw_features(2, 9)).clips["train_clip"].tolist() == [None, None]


def test_train_clips_lie_as_far_inside_as_new_ones(bundle, train):
    """Each is measured without itself."""
    assert measure_inside(bundle, train).mean() == pytest.approx(0.5, abs=0.05)


def test_train_clips_that_stand_there_twice_change_nothing_for_new_ones(train):
    doubled = Features((*train.clip_ids, *(f"{x}-copy" for x in train.clip_ids)), np.tile(train.values, (2, 1)), BLOCKS)
    inside = measure_inside(make_compared_bundle(doubled), draw_features(300, 8))
    assert inside.mean() == pytest.approx(0.5, abs=0.08)
    assert (inside < 0.01).mean() < 0.04


def test_constant_tiers_break_nothing(train):
    values = train.values.copy()
    values[:, 6:] = 3.0
    bundle = make_compared_bundle(replace(train, values=values))
    clips = draw_features(400, 4)
    clips.values[:, 6:] = 3.0
    assert measure_inside(bundle, clips).mean() == pytest.approx(0.5, abs=0.08)
    clips.values[:, 6:] = 4.0
    assert measure_inside(bundle, clips).max() == 0
    alike = make_compared_bundle(replace(train, values=np.ones_like(values)))
    assert measure_inside(alike, replace(clips, values=np.ones_like(clips.values))).tolist() == [0.5] * 400


def test_too_few_train_clips_give_no_share_and_neighbours_all_the_same(train):
    bundle = make_compared_bundle(take(train, list(range(12))))
    found = find_neighbours(bundle, draw_features(3, 1))
    assert found.clips["inside"].isna().all()
    assert len(found.table) == 3 * 3 * 5
    assert not any("farther" in line for line in describe_neighbours(bundle, found))


def test_without_train_clips_the_reason_is_told():
    old, elsewhere = make_bundle(BLOCKS), make_pretrained()
    assert "bundles of an older m3ray: train it again" in explain_no_reference(old)
    assert "trained elsewhere" in explain_no_reference(elsewhere)
    check_reference(old)
    check_reference(elsewhere)
    with pytest.raises(FeatureError, match="small holds no train clips to compare with"):
        measure_inside(old, draw_features(2, 1))
    frame = old.score(draw_features(2, 1))
    assert add_inside(frame, old, draw_features(2, 1)) is frame


def test_inside_stands_beside_scores(bundle):
    clips = draw_features(5, 1)
    frame = add_inside(bundle.score(clips), bundle, clips)
    np.testing.assert_array_equal(frame["inside"], measure_inside(bundle, clips))


def test_words_name_the_neighbours_and_warn_of_an_extrapolation(bundle, train):
    lines = describe_neighbours(bundle, find_neighbours(bundle, take(train, [3])), score=0.5)
    assert lines[0] == "it is the train clip t3, left out below"
    assert lines[1].endswith("% of the train clips lie farther from their nearest others than it does")
    assert [line.split(" (true score): ")[0] for line in lines[2:]] == [
        "nearest train clips by raw",
        "nearest train clips by scene",
        "nearest train clips by the model's last hidden layer",
    ]
    far = describe_neighbours(bundle, find_neighbours(bundle, draw_features(1, 1, shift=9)))
    assert (
        far[-1]
        == "its score is an extrapolation: it lies farther from the train clips than every train clip from one another"
    )


@pytest.mark.parametrize(
    ("inside", "score", "words"),
    [
        (0.5, 0.5, None),
        (np.nan, None, None),
        (0.011, 0.5, None),
        (0.004, 0.5, "than 99.6% of the train clips from one another"),
        (0.5, 0.95, "true scores range from 0.200 to 0.900"),
        (0.5, 0.1, "true scores range from 0.200 to 0.900"),
        (0.5, None, None),
    ],
)
def test_an_extrapolation_is_far_outside_or_beyond_the_true_scores(bundle, inside, score, words):
    line = describe_extrapolation(bundle, inside, score)
    assert (line is None) if words is None else (words in line)
