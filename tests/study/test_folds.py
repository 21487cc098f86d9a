"""Repeated splits: how clips are dealt to folds, and that nothing of a val clip reaches what it is judged by."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted import CPU, planted

from m3ray.config import SimilarityConfig, TrainConfig
from m3ray.errors import ConfigError, StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.features.target import Target
from m3ray.similarity.fitted import FittedSimilarity, label_matrix
from m3ray.study.fold_results import FoldResult, add_splits
from m3ray.study.folds import OUTSIDE, SimilaritySource, Splits, check_folds, draw_folds, replace_tiers, train_fold
from m3ray.study.regressors import run_regressor
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant, pretrained_variant, regressor_variants
from m3ray.tiers.pretrained.facts import RESMEM

SMALL = TrainConfig(hidden=(8,), epochs=4)
RAW = Variant("raw", ("raw",), training=SMALL)


def cut(data, folds=4, groups=None, seed=0, labels=None, similarity=None):
    rows = len(data.scores)
    groups = np.arange(rows) if groups is None else groups
    return Splits.draw(data, groups, folds, seed, labels or [()] * rows, similarity or {})


# Dealing clips out


@pytest.mark.parametrize(("clips", "folds"), [(100, 5), (97, 4), (20, 10), (1000, 2)])
def test_folds_have_like_sizes_and_like_scores(clips, folds):
    scores = np.random.default_rng(1).beta(8, 2, clips)
    drawn = draw_folds(scores, np.arange(clips), folds, seed=0)
    sizes = np.bincount(drawn, minlength=folds)
    assert sizes.max() - sizes.min() <= 2
    parts = max(1, min(10, clips // folds))
    part = np.argsort(np.argsort(scores)) * parts // clips
    of_parts = np.stack([np.bincount(drawn[part == k], minlength=folds) for k in range(parts)])
    assert (of_parts.max(axis=1) - of_parts.min(axis=1) <= 1).all(), "each fold has its share of every part"


def test_the_draw_is_seeded():
    scores, groups = np.linspace(0, 1, 60), np.arange(60)
    first = draw_folds(scores, groups, 3, seed=0)
    np.testing.assert_array_equal(first, draw_folds(scores, groups, 3, seed=0))
    assert (first != draw_folds(scores, groups, 3, seed=1)).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_parted_and_folds_stay_even(seed):
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 60, 600)
    groups = np.unique(groups, return_inverse=True)[1]
    drawn = draw_folds(generator.random(600), groups, 5, seed)
    assert all(len(set(drawn[groups == k])) == 1 for k in range(groups.max() + 1))
    assert np.bincount(drawn).min() > 90, "of 120 each, where groups have 10 clips"


def test_every_fold_gets_a_group_though_one_is_large():
    groups = np.array([0] * 50 + [1] * 3 + [2] * 3)
    drawn = draw_folds(np.linspace(0, 1, 56), groups, 3, seed=0)
    assert sorted(np.bincount(drawn)) == [3, 3, 50]


@pytest.mark.parametrize("seed", range(100))
def test_no_fold_is_left_with_one_clip_where_groups_allow_two(seed):
    """They do where the groups of one clip can fill all folds that no larger group is for."""
    rng = np.random.default_rng(seed)
    folds = rng.integers(2, 11)
    clips = rng.integers(2 * folds, 5 * folds)
    others = rng.integers(0, rng.integers(folds, clips + 1), clips - folds)
    groups = np.unique(np.r_[np.arange(folds), others], return_inverse=True)[1]
    sizes = np.bincount(groups)
    allowed = (sizes == 1).sum() >= 2 * max(0, folds - (sizes > 1).sum())
    counts = np.bincount(draw_folds(rng.beta(8, 3, clips), groups, folds, seed), minlength=folds)
    assert counts.min() >= (2 if allowed else 1)


def test_where_groups_do_not_allow_two_clips_the_split_is_undefined():
    data = planted(40)
    groups = np.r_[np.zeros(38, int), 1, 2]
    splits = cut(replace(data, train=np.arange(30), val=np.arange(30, 40)), folds=3, groups=groups)
    small = [k for k in range(3) if len(splits.rows(k)[1]) == 1]
    assert len(small) == 2
    assert train_fold(RAW, splits, small[0], {}, (0,), CPU).reason == "1 val clips: a rank correlation needs 2"


@pytest.mark.parametrize(
    ("folds", "clips", "groups", "message"),
    [
        (1, None, None, "--folds 1: expected 0 .* or at least 2"),
        (-3, None, None, "--folds -3: expected 0"),
        (6, 11, 11, "--folds 6: 11 scored clips outside test make folds of fewer than 2: choose at most 5"),
        (2, 3, 3, "--folds 2: 3 scored clips .*: leave --folds out, or add clips"),
        (2, 100, 1, "the 100 scored clips .* are of 1 groups, .*: leave --folds out"),
        (4, 100, 3, "the 100 scored clips outside test are of 3 groups, and a group is never parted: choose at most 3"),
    ],
)
def test_impossible_numbers_of_folds_are_told_in_words(folds, clips, groups, message):
    with pytest.raises(ConfigError, match=message):
        check_folds(folds, clips, groups)


def test_no_folds_and_possible_ones_pass():
    check_folds(0, 1, 1)
    check_folds(5)
    check_folds(5, 10, 5)


def test_test_clips_and_clips_without_a_score_are_in_no_fold():
    data = planted(100)
    data = replace(data, train=data.train[:-5], val=data.val[:-4], test=data.val[-4:])
    splits = cut(data)
    assert set(np.flatnonzero(splits.fold_of == OUTSIDE)) == set(range(100)) - set(data.train) - set(data.val)
    vals = [splits.rows(k)[1] for k in range(4)]
    assert sorted(np.concatenate(vals)) == sorted([*data.train, *data.val]), "each once val"
    for k in range(4):
        train, val = splits.rows(k)
        assert sorted([*train, *val]) == sorted([*data.train, *data.val])


# What a split may not know


def of_groups(groups=200, clips=4, seed=0):
    """Clips whose score is their group's, and whose features say which group it is, and nothing else."""
    generator = np.random.default_rng(seed)
    number = np.repeat(np.arange(groups), clips)
    codes = generator.standard_normal((groups, 64))
    values = (codes[number] + 0.05 * generator.standard_normal((len(number), 64))).astype(np.float32)
    scores = (0.2 + 0.6 * generator.random(groups))[number] + 0.02 * generator.standard_normal(len(number))
    block = Block("raw", tuple(f"raw_{k}" for k in range(64)), True)
    features = Features(tuple(f"c{k}" for k in range(len(number))), values, (block,))
    return StudyData.make(features, scores, ["train" if k % 4 else "val" for k in range(len(number))]), number


def mean_spearman(splits, variant=RAW):
    return np.mean([train_fold(variant, splits, k, {}, (0,), CPU).spearman for k in range(splits.count)])


def test_recognising_a_group_helps_where_it_is_parted_and_not_where_it_is_not():
    data, number = of_groups()
    variant = replace(RAW, training=TrainConfig(hidden=(64,), epochs=8, learning_rate=1e-2))
    assert mean_spearman(cut(data), variant) > 0.9, "its other clips are in train"
    # The null's deviation: 1 / sqrt(200 groups - 1) = 0.07, of which 0.2 is nearly three.
    assert abs(mean_spearman(cut(data, groups=number), variant)) < 0.2


def vectors(rows=60, seed=0):
    """Raw, scene and similarity of random numbers; two labels."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((rows, 1 + 12 + 2)).astype(np.float32)
    blocks = (
        Block("raw", ("brightness",), True),
        Block("scene", tuple(f"scene_{k}" for k in range(12)), False),
        Block("similarity", ("near", "far"), True),
    )
    features = Features(tuple(f"c{k}" for k in range(rows)), values, blocks)
    splits = ["train" if k % 4 else "val" for k in range(rows)]
    return StudyData.make(features, generator.random(rows), splits), [("a", "b")[: 1 + k % 2] for k in range(rows)]


@pytest.mark.parametrize("measure", ["fractional_mean", "euclidean_prototypes", "kde"])
def test_similarity_is_fitted_on_the_split_s_train_clips_alone(measure):
    data, labels = vectors()
    config = SimilarityConfig(measure=measure, sources=("scene",), components=3)
    source = SimilaritySource(config, ("scene",))
    splits = cut(data, labels=labels, similarity={"similarity": source})
    refitted = splits.refit(1, source, splits.project(1, source))
    train, val = splits.rows(1)
    scene = data.features.values[:, 1:13].astype(np.float64)
    matrix, names = label_matrix([labels[row] for row in train])
    alone = FittedSimilarity.fit(config, {"scene": scene[train]}, matrix, names)
    np.testing.assert_allclose(refitted[train], alone.transform_train(), rtol=1e-5)
    np.testing.assert_allclose(refitted[val], alone.transform({"scene": scene[val]}), rtol=1e-5)
    leaked = FittedSimilarity.fit(
        config, {"scene": scene[data.train]}, label_matrix([labels[r] for r in data.train])[0]
    )
    assert np.abs(leaked.transform({"scene": scene[val]}) - refitted[val]).max() > 1e-3, "the root's own fit knows val"


def test_another_val_clip_changes_no_column_of_the_rest():
    data, labels = vectors()
    source = SimilaritySource(SimilarityConfig(measure="fractional_mean", components=3), ("scene",))
    one = cut(data, labels=labels, similarity={"similarity": source})
    changed = int(one.rows(2)[1][0])
    values = data.features.values.copy()
    values[changed] += 5
    other = replace(one, data=replace(data, features=replace(data.features, values=values)))
    before, after = (s.refit(2, source, s.project(2, source)) for s in (one, other))
    rest = np.arange(60) != changed
    np.testing.assert_array_equal(before[rest], after[rest])
    assert (before[changed] != after[changed]).all()
    select = (
        s.select(2, ("raw", "scene", "similarity"), {"similarity": c}) for s, c in ((one, before), (other, after))
    )
    first, second = select
    np.testing.assert_array_equal(first.scaled[rest], second.scaled[rest])


def test_each_split_scales_weighs_and_maps_with_its_own_train_clips():
    data = planted(80)
    responses = np.random.default_rng(0).integers(5, 60, 80).astype(float)
    data = replace(data, scores=data.scores * 4 - 2, responses=responses, weights=np.ones(80, np.float32))
    data = replace(data, target=Target("d_prime", -2.0, 2.0))
    splits = cut(data)
    chosen = splits.select(3, ("raw",), {})
    train, val = splits.rows(3)
    np.testing.assert_array_equal(chosen.train, train)
    np.testing.assert_array_equal(chosen.val, val)
    assert len(chosen.test) == 0
    np.testing.assert_allclose(chosen.scaled[train].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(chosen.scaled[train].std(axis=0), 1, atol=1e-5)
    assert chosen.weights[train].mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(chosen.weights, responses / responses[train].mean(), rtol=1e-6)
    assert chosen.target == Target.fit("d_prime", data.scores[train])


def test_tiers_are_taken_in_order_and_replaced_at_another_width():
    data, _ = vectors()
    columns = np.arange(180, dtype=np.float32).reshape(60, 3)
    taken = replace_tiers(data.features, ("similarity", "raw"), {"similarity": columns})
    assert taken.tiers == ("similarity", "raw")
    np.testing.assert_array_equal(taken.values[:, taken.columns_of("similarity")], columns)
    np.testing.assert_array_equal(taken.values[:, taken.columns_of("raw", "brightness")], data.features.values[:, :1])
    with pytest.raises(StudyError, match="no features of tier event"):
        replace_tiers(data.features, ("raw", "event"), {})


# What is undefined, and what is reached


def test_the_mean_and_the_spread_over_splits_are_those_of_a_plain_loop():
    """Each split made as a study of its own, by `StudyData.make`, and trained by `run_trial`."""
    data = planted(160)
    without = replace(RAW, name="without", without=("contrast",), full="raw")
    splits, seeds = cut(data, folds=4), (3, 4)
    results = [train_fold(v, splits, k, {}, seeds, CPU) for v in (RAW, without) for k in range(4)]
    expected = {}
    for variant in (RAW, without):
        of_splits = []
        for k in range(4):
            names = ["val" if fold == k else "train" for fold in splits.fold_of]
            trained = run_trial(variant, StudyData.make(data.features, data.scores, names), seeds, CPU).trained
            of_splits.append([trained.metrics[name][:, -1].mean() for name in ("spearman", "mse")])
        expected[variant.name] = np.array(of_splits)
    trials = pd.DataFrame({"variant": ["raw", "without"], "full": [None, "raw"]})
    table = add_splits(trials, results, 4).set_index("variant")
    for name, values in expected.items():
        assert table.loc[name, "splits"] == 4
        np.testing.assert_allclose(table.loc[name, ["splits_spearman", "splits_mse"]].astype(float), values.mean(0))
        spread = table.loc[name, ["splits_spearman_std", "splits_mse_std"]].astype(float)
        np.testing.assert_allclose(spread, values.std(0, ddof=1))
    difference = expected["without"][:, 0] - expected["raw"][:, 0]
    assert table.loc["without", "splits_delta"] == pytest.approx(difference.mean())
    assert table.loc["without", "splits_delta_std"] == pytest.approx(difference.std(ddof=1))
    assert np.isnan(table.loc["raw", "splits_delta"])


def test_a_split_of_equal_scores_is_undefined_and_says_why():
    data = planted(40)
    splits = cut(data)
    scores = data.scores.copy()
    scores[splits.rows(2)[1]] = 0.5
    flat = replace(splits, data=replace(data, scores=scores))
    result = train_fold(RAW, flat, 2, {}, (0,), CPU)
    assert result == FoldResult("raw", 2, 30, 10, reason="all 10 val scores are 0.5: rank correlation is undefined")


def test_a_split_of_one_clip_is_undefined():
    data = planted(21)
    splits = replace(cut(data, folds=2), fold_of=np.array([0] * 20 + [1]))
    assert train_fold(RAW, splits, 1, {}, (0,), CPU).reason == "1 val clips: a rank correlation needs 2"


def test_a_constant_run_makes_the_split_undefined():
    data = planted(40)
    values = np.zeros_like(data.features.values)
    splits = cut(replace(data, features=replace(data.features, values=values)))
    result = train_fold(RAW, splits, 0, {}, (0, 1), CPU)
    assert (result.spearman, result.mse) == (None, None)
    assert result.reason == "2 of 2 runs diverged or are constant"


def test_the_key_changes_with_the_folds_and_with_labels_that_similarity_sees():
    data, labels = vectors()
    plain, other_seed, other_count = cut(data), cut(data, seed=1), cut(data, folds=5)
    source = {"similarity": SimilaritySource(SimilarityConfig(), ("scene",))}
    seen, relabelled = cut(data, labels=labels, similarity=source), cut(data, labels=[("c",)] * 60, similarity=source)
    assert len({s.key for s in (plain, other_seed, other_count, seen, relabelled)}) == 5
    assert plain.key == cut(data, labels=labels).key, "no similarity, no labels"


# Regressors in further splits


def test_a_regressor_is_fitted_in_each_split_on_its_train_clips_alone():
    splits = cut(planted(200))
    _, ridge, _, _, constant = regressor_variants(RAW)
    result = train_fold(ridge, splits, 1, {}, (0, 1), CPU)
    own = run_regressor(ridge, splits.select(1, ("raw",), {}), (0, 1))
    assert (result.spearman, result.mse) == (own.summary["spearman"], own.summary["mse"])
    assert result.spearman > 0.8, "a linear score with little noise"
    assert (result.train, result.val, result.reason) == (150, 50, None)
    nothing = train_fold(constant, splits, 1, {}, (0, 1), CPU)
    assert nothing.spearman is None
    assert nothing.mse > result.mse
    assert nothing.reason == "rank correlation is undefined: it predicts one score for all clips"


def test_a_split_that_is_too_small_for_a_regressor_says_so():
    splits = cut(planted(12), folds=2)
    ridge = regressor_variants(RAW)[1]
    assert "6 train clips are too few" in train_fold(ridge, splits, 0, {}, (0,), CPU).reason


def test_a_pretrained_scorer_is_evaluated_in_each_split_and_calibrated_on_its_train_clips():
    data = planted(200)
    block = Block("resmem", ("resmem", "resmem_spread"), False)
    rng = np.random.default_rng(0)
    columns = np.stack([0.4 + 0.1 * data.scores, rng.random(200)], axis=1).astype(np.float32)
    wide = np.concatenate([data.features.values, columns], axis=1)
    features = Features(data.features.clip_ids, wide, (*data.features.blocks, block))
    splits = cut(replace(data, features=features, scaled=wide))
    plain, line = (pretrained_variant(RAW, RESMEM, how) for how in ("none", "linear"))
    result = train_fold(plain, splits, 1, {}, (0, 1), CPU)
    assert (result.train, result.val, result.reason) == (150, 50, None)
    assert result.spearman == pytest.approx(1, abs=1e-6), "its output follows the score"
    assert result.mse > 0.01, "on another scale"
    assert train_fold(line, splits, 1, {}, (0, 1), CPU).mse < 1e-6
