"""Reliability and ceilings of made populations of clips and viewers, beside what asking other viewers gives."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from m3ray.study.cross_dataset import spearman_confidence_interval
from m3ray.study.reliability import (
    Ceiling,
    estimate_reliability,
    measure_ceiling,
    measure_corrected_ceiling,
    share_of_ceiling,
    spearman_brown,
    spearman_ceiling,
    split_half,
)

CLIPS, WORLDS = 5000, 6

# Distribution of the clips' true shares: from wide to narrow, skewed, with two kinds of clips, and flat.
POPULATIONS = {
    "wide": lambda rng: rng.beta(8, 2, CLIPS),
    "narrow": lambda rng: rng.beta(20, 5, CLIPS),
    "skewed": lambda rng: (0.98 - rng.exponential(0.08, CLIPS)).clip(0.05, 1),
    "two kinds": lambda rng: np.where(
        rng.random(CLIPS) < 0.5, rng.normal(0.5, 0.05, CLIPS), rng.normal(0.85, 0.04, CLIPS)
    ).clip(0, 1),
    "flat": lambda rng: rng.uniform(0.4, 1, CLIPS),
}
# Viewers of each clip: as of VideoMem (38) and Memento10k (90), few, and unlike ones.
VIEWERS = {
    "few": lambda rng: np.full(CLIPS, 16),
    "videomem": lambda rng: np.full(CLIPS, 38),
    "memento10k": lambda rng: rng.integers(80, 101, CLIPS),
    "unlike": lambda rng: rng.integers(4, 80, CLIPS),
}


def ask(truth, viewers, rng):
    return rng.binomial(viewers, truth) / viewers


def correlate_halves(truth, viewers, rng):
    """Spearman's correlation between the shares of two groups of half as many viewers that are asked anew."""
    first = viewers // 2
    return spearmanr(ask(truth, first, rng), ask(truth, viewers - first, rng)).statistic


@pytest.mark.parametrize("viewers", VIEWERS)
@pytest.mark.parametrize("population", POPULATIONS)
def test_reliability_ceilings_and_halves_are_those_of_other_viewers(population, viewers):
    """Brute force: the true shares are known here, and as many viewers are asked anew as it takes."""
    rng = np.random.default_rng(7)
    found, true = [], []
    for _ in range(WORLDS):
        truth, n = POPULATIONS[population](rng), VIEWERS[viewers](rng)
        scores, again = ask(truth, n, rng), ask(truth, n, rng)
        # What `measure_ceiling` says, without the resamples of its interval, which take most of its time.
        reliability, halves = estimate_reliability(scores, n), split_half(scores, n)[0]
        found.append((reliability, np.sqrt(reliability), spearman_ceiling(scores, n), halves))
        true.append(
            (
                pearsonr(scores, again).statistic,
                pearsonr(truth, scores).statistic,
                spearmanr(truth, scores).statistic,
                correlate_halves(truth, n, rng),
            )
        )
    np.testing.assert_allclose(np.mean(found, axis=0), np.mean(true, axis=0), atol=0.01)


def test_the_spearman_ceiling_of_skewed_scores_is_not_the_square_root_of_the_reliability():
    rng = np.random.default_rng(0)
    truth = POPULATIONS["skewed"](rng)
    n = np.full(CLIPS, 38)
    ceiling = measure_ceiling(ask(truth, n, rng), n)
    assert ceiling.pearson - ceiling.spearman > 0.05


def test_the_reliability_is_variance_less_chance_over_variance():
    # By hand: shares 1/4, 2/4, 3/4 of 4 viewers; variance 1/16, chance (3/16 + 4/16 + 3/16) / 3 / 3 = 10/144.
    assert estimate_reliability(np.array([0.25, 0.5, 0.75]), np.full(3, 4.0)) == pytest.approx(1 - 10 / 144 * 16)
    assert np.isnan(estimate_reliability(np.full(3, 0.5), np.full(3, 4.0)))


def test_the_split_half_correlation_published_for_isola_s_images():
    """Isola, Xiao, Torralba and Oliva, CVPR 2011, section 2: 2222 images of mean hit rate 67.5 %, standard deviation
    13.6 %, seen by 78 viewers each; Spearman's correlation 0.75 between halves, over 25 splits.
    """
    rng = np.random.default_rng(0)
    mean, deviation, viewers = 0.675, 0.136, 78
    # The true shares vary by what the viewers' chance does not: Var(p) = Var(t) (1 - 1 / n) + m (1 - m) / n
    variance = (deviation**2 - mean * (1 - mean) / viewers) / (1 - 1 / viewers)
    both = mean * (1 - mean) / variance - 1
    halves = []
    for _ in range(10):
        truth = rng.beta(mean * both, (1 - mean) * both, 2222)
        n = np.full(2222, viewers)
        scores = ask(truth, n, rng)
        assert (scores.mean(), scores.std()) == pytest.approx((mean, deviation), abs=0.01)
        halves.append(measure_ceiling(scores, n).split_half)
    assert np.mean(halves) == pytest.approx(0.75, abs=0.02)


def test_halves_of_halves_follow_spearman_and_brown():
    assert spearman_brown(0.6) == pytest.approx(0.75)  # 1.2 / 1.6
    assert np.isnan(spearman_brown(-1.0))
    rng = np.random.default_rng(1)
    truth, n = rng.beta(2, 2, CLIPS), np.full(CLIPS, 40)
    scores = ask(truth, n, rng)
    half, deviation = split_half(scores, n)
    # Of a distribution near the normal one, ranks are as reliable as scores.
    assert spearman_brown(half) == pytest.approx(estimate_reliability(scores, n), abs=0.01)
    assert 0 < deviation < 0.01
    assert split_half(scores, n) == (half, deviation), "seeded"


def test_the_ceiling_of_corrected_scores_counts_both_kinds_of_viewers():
    rng = np.random.default_rng(3)
    found, true = [], []
    for _ in range(WORLDS):
        hits, alarms = rng.beta(8, 2, CLIPS), rng.beta(2, 18, CLIPS)
        n, m = np.full(CLIPS, 40), np.full(CLIPS, 30)
        p, f = ask(hits, n, rng), ask(alarms, m, rng)
        ceiling = measure_corrected_ceiling(p, n, f, m)
        found.append((ceiling.reliability, ceiling.spearman, ceiling.split_half))
        halves = [ask(hits, n // 2, rng) - ask(alarms, m // 2, rng) for _ in range(2)]
        true.append(
            (
                pearsonr(hits - alarms, p - f).statistic ** 2,
                spearmanr(hits - alarms, p - f).statistic,
                spearmanr(*halves).statistic,
            )
        )
    np.testing.assert_allclose(np.mean(found, axis=0), np.mean(true, axis=0), atol=0.01)


def test_clips_without_a_count_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    truth, n = rng.beta(2, 2, 400), np.full(400, 30.0)
    scores = ask(truth, n.astype(int), rng)
    n[:50], n[50], scores[51] = np.nan, 1, np.nan
    ceiling = measure_ceiling(scores, n)
    assert (ceiling.clips, ceiling.left_out, ceiling.responses) == (348, 51, 30)
    assert ceiling.reliability == pytest.approx(estimate_reliability(scores[52:], n[52:]))


@pytest.mark.parametrize(
    ("scores", "responses", "reason"),
    [
        (np.linspace(0, 1, 30), None, "number of viewers behind each score is unknown"),
        (np.linspace(0, 1, 30), np.full(30, np.nan), "is unknown"),
        (np.linspace(0, 1, 30), np.ones(30), "unknown .* or 1"),
        (np.linspace(0, 1, 19), np.full(19, 30), "19 clips with known viewers are too few"),
        (np.full(30, 0.5), np.full(30, 30), r"all scores are 0\.5"),
        (np.linspace(-0.5, 1, 30), np.full(30, 30), "no shares of viewers"),
    ],
)
def test_what_is_undefined_says_why_and_is_no_number(scores, responses, reason):
    ceiling = measure_ceiling(scores, responses)
    assert (ceiling.reliability, ceiling.spearman, ceiling.split_half, ceiling.low) == (None, None, None, None)
    assert re.search(reason, ceiling.reason)
    assert share_of_ceiling(0.5, 0.4, 0.6, ceiling).share is None


def test_scores_of_chance_alone_have_a_reliability_around_zero_and_no_ceiling_below_it():
    rng = np.random.default_rng(0)
    ceilings = [measure_ceiling(rng.binomial(20, 0.7, 200) / 20, np.full(200, 20)) for _ in range(40)]
    values = np.array([c.reliability for c in ceilings])
    assert abs(values.mean()) < 0.03
    below = [c for c in ceilings if c.reliability < 0]
    assert len(below) > 10, "shown as it is"
    assert all(c.spearman is None and "nothing is left" in c.reason for c in below)


@pytest.mark.slow
@pytest.mark.parametrize("viewers", [10, 37])
def test_the_share_s_interval_covers_the_true_share(viewers):
    """A model that sees each true share and noise; its correlation with the scores, and theirs with the truth, are
    taken on 200,000 clips.
    """
    rng = np.random.default_rng(1)

    def see(truth):
        return truth + 0.15 * rng.standard_normal(len(truth))

    all_clips = rng.beta(8, 2, 200_000)
    asked = rng.binomial(viewers, all_clips) / viewers
    true = spearmanr(see(all_clips), asked).statistic / spearmanr(all_clips, asked).statistic
    shares = []
    for _ in range(200):
        truth = rng.beta(8, 2, 300)
        scores = rng.binomial(viewers, truth) / viewers
        rho = spearmanr(see(truth), scores).statistic
        interval = spearman_confidence_interval(rho, 300)
        shares.append(share_of_ceiling(rho, *interval, measure_ceiling(scores, np.full(300, viewers))))
    covered = np.mean([share.low <= true <= share.high for share in shares])
    # Both are measured on one set of clips, and err together: the interval, as of two, is a little wide.
    assert 0.93 <= covered <= 1
    assert np.median([share.high - share.low for share in shares]) < 0.35
    assert np.mean([share.share for share in shares]) == pytest.approx(true, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("clips", [150, 1500])
def test_the_ceiling_s_interval_covers_the_true_ceiling(clips):
    """The truth is the correlation of 400,000 clips; 100 draws of clips: 95 % +- 2 standard errors of 2.2 %."""
    rng, viewers = np.random.default_rng(11), 30
    everyone = rng.beta(8, 3, 400_000)
    true = spearmanr(everyone, ask(everyone, viewers, rng)).statistic
    ceilings = [measure_ceiling(ask(rng.beta(8, 3, clips), viewers, rng), np.full(clips, viewers)) for _ in range(100)]
    covered = np.mean([ceiling.low <= true <= ceiling.high for ceiling in ceilings])
    assert 0.905 <= covered <= 0.995
    width = np.mean([ceiling.high - ceiling.low for ceiling in ceilings])
    assert width < 5 * np.std([ceiling.spearman for ceiling in ceilings]), "2 x 1.96 standard deviations, and no more"


def test_the_interval_of_a_ceiling_is_repeatable_and_holds_it():
    rng = np.random.default_rng(0)
    scores, n = ask(rng.beta(8, 3, 300), 30, rng), np.full(300, 30)
    ceiling = measure_ceiling(scores, n, seed=3)
    assert ceiling == measure_ceiling(scores, n, seed=3)
    assert 0 <= ceiling.low < ceiling.spearman < ceiling.high <= 1


def test_of_more_than_twenty_thousand_clips_some_are_drawn():
    rng = np.random.default_rng(0)
    truth, n = rng.beta(8, 3, 60_000), rng.integers(10, 60, 60_000)
    scores = ask(truth, n, rng)
    assert spearman_ceiling(scores, n) == pytest.approx(spearmanr(truth, scores).statistic, abs=0.005)
    assert spearman_ceiling(scores, n, seed=1) == spearman_ceiling(scores, n, seed=1)
    assert spearman_ceiling(scores, n, seed=1) != spearman_ceiling(scores, n, seed=2)


@pytest.mark.parametrize("viewers", [10**6, 2 * 10**9, np.inf])
def test_narrow_scores_of_many_viewers_have_the_ceiling_of_their_truth(viewers):
    """200 true shares from 0.80 to 0.81: brute force, with at most a million viewers asked."""
    rng = np.random.default_rng(4)
    truth = rng.uniform(0.80, 0.81, 200)
    scores = ask(truth, 10**6, rng)
    ceiling = measure_ceiling(scores, np.full(200, viewers))
    assert ceiling.spearman == pytest.approx(spearmanr(truth, scores).statistic, abs=0.005)
    assert ceiling.responses == 10**6


def test_one_clip_of_endless_viewers_changes_little():
    rng = np.random.default_rng(4)
    scores, n = ask(rng.beta(8, 3, 200), 30, rng), np.full(200, 30.0)
    plain = measure_ceiling(scores, n).spearman
    n[7] = 2e9
    assert measure_ceiling(scores, n).spearman == pytest.approx(plain, abs=0.01)


def test_rates_that_are_no_shares_have_no_ceiling_when_corrected_either():
    rates, n = np.linspace(0, 1, 30), np.full(30, 30)
    ceiling = measure_corrected_ceiling(rates * 1.2, n, rates / 2, n)
    assert ceiling.spearman is None
    assert ceiling.reason == "scores from 0 to 1.2 are no shares of viewers"


@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.09), st.floats(0.01, 0.09), st.floats(0.3, 0.6), st.floats(0.7, 0.99))
def test_the_share_of_a_negative_correlation_is_the_mirror_of_the_positive_one(rho, down, up, low, high):
    ceiling = Ceiling(100, spearman=0.65, low=low, high=high)
    share = share_of_ceiling(rho, rho - down, rho + up, ceiling)
    mirrored = share_of_ceiling(-rho, -rho - up, -rho + down, ceiling)
    assert (mirrored.low, mirrored.high) == pytest.approx((-share.high, -share.low))
    assert share.low < share.share < share.high


def test_a_share_of_an_uncertain_ceiling_by_hand():
    """Ends x solve (r - x c)^2 = (r - end)^2 + x^2 (c - u)^2: u is the ceiling's end that is farther from 0 below x."""
    ceiling = Ceiling(100, spearman=0.8, low=0.5, high=0.86)
    share = share_of_ceiling(0.3, 0.2, 0.4, ceiling)
    assert (share.low, share.high) == pytest.approx((0.249, 0.648), abs=0.001)
    assert (0.3 - share.low * 0.8) ** 2 == pytest.approx(0.1**2 + (share.low * 0.06) ** 2)
    assert (0.3 - share.high * 0.8) ** 2 == pytest.approx(0.1**2 + (share.high * 0.3) ** 2)
    mirrored = share_of_ceiling(-0.3, -0.4, -0.2, ceiling)
    assert (mirrored.low, mirrored.high) == pytest.approx((-share.high, -share.low))
    none = share_of_ceiling(0.0, -0.1, 0.1, ceiling)
    # x^2 (0.64 - 0.09) = 0.01, the ceiling's lower end being the wider
    assert (none.low, none.high) == pytest.approx((-((0.01 / 0.55) ** 0.5), (0.01 / 0.55) ** 0.5))


def test_a_share_by_hand():
    # 0.4 / 0.8; interval of a known ceiling: that of rho divided by it.
    known = Ceiling(100, spearman=0.8, low=0.8, high=0.8)
    share = share_of_ceiling(0.4, 0.2, 0.56, known)
    assert (share.share, share.low, share.high) == pytest.approx((0.5, 0.25, 0.7))
    assert share_of_ceiling(None, None, None, known).share is None
    assert share_of_ceiling(0.4, 0.2, 0.56, Ceiling(100, spearman=0.8, low=0.0, high=1.0)).low is None


def test_the_ceiling_of_certain_scores_is_one():
    scores = np.linspace(0, 1, 101)
    assert spearman_ceiling(scores, np.full(101, 1_000_000)) > 0.99
