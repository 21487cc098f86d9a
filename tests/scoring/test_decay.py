"""Decay rates from the score or from the features: which one is chosen, and what is said of it."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from m3ray.errors import ShapeError
from m3ray.scoring.decay import correlate, describe_decay, fit_decay, fit_line, fit_ridge


def made(clips=300, width=12, by_features=1.0, seed=0):
    """Scores that follow column 0, and rates that follow the score and, apart from it, column 1."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((clips, width))
    scores = 0.7 + 0.05 * features[:, 0] + 0.03 * rng.standard_normal(clips)
    alpha = -0.001 + 0.002 * scores + 1e-4 * by_features * features[:, 1] + 2e-5 * rng.standard_normal(clips)
    return features, scores, alpha


def test_the_line_is_least_squares():
    """By hand: rates of 0.5 - 0.3 score; a level line where all scores are equal."""
    scores = np.linspace(0, 1, 12)
    assert fit_line(scores, 0.5 - 0.3 * scores) == pytest.approx((0.5, -0.3))
    assert fit_line(np.full(4, 0.5), np.array([1.0, 2.0, 3.0, 4.0])) == (2.5, 0.0)


def test_a_correlation_of_what_does_not_vary_is_undefined():
    assert correlate(np.ones(4), np.arange(4)) is None
    assert correlate(np.arange(4), -np.arange(4)) == pytest.approx(-1)


@pytest.mark.parametrize("shape", [(60, 8), (20, 50)])
def test_ridge_is_scikit_learn_s_at_the_penalty_that_gcv_chooses(shape):
    """The peer: Ridge at each penalty of the grid, GCV by the trace of its own hat matrix."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape)
    y = x[:, 0] + 0.5 * rng.standard_normal(shape[0])
    centred = x - x.mean(axis=0)
    spectrum = np.linalg.svd(centred, compute_uv=False) ** 2
    spectrum = spectrum[spectrum > 1e-10 * spectrum[0]]
    fits = []
    for penalty in np.logspace(-4, 4, 33) * spectrum.mean():
        model = Ridge(penalty).fit(x, y)
        # n less the hat matrix' trace, 1 + sum(s / (s + penalty)), without cancellation
        left = len(y) - 1 - len(spectrum) + (penalty / (spectrum + penalty)).sum()
        fits.append((np.sum((model.predict(x) - y) ** 2) / left**2, model))
    best = min(fits, key=lambda fit: fit[0])[1]
    weights = fit_ridge(x, y[:, None])[:, 0]
    np.testing.assert_allclose(weights, [*best.coef_, best.intercept_], atol=1e-6)


@pytest.mark.parametrize(("clips", "width"), [(80, 800), (400, 300)])
def test_ridge_predicts_as_well_as_scikit_learn_s(clips, width):
    """Held-out error over five draws, beside RidgeCV, which leaves one clip out, at the same penalties.

    With more features than clips every fit of a tiny penalty is perfect in sample.
    """
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(5):
        hidden = rng.standard_normal((2 * clips, 5))
        x = hidden @ rng.standard_normal((5, width)) + rng.standard_normal((2 * clips, width))
        y = hidden @ [0.5, 0.3, 0.2, 0.1, 0.1] + rng.standard_normal(2 * clips)
        spectrum = np.linalg.svd(x[:clips] - x[:clips].mean(axis=0), compute_uv=False) ** 2
        spectrum = spectrum[spectrum > 1e-10 * spectrum[0]]
        peer = RidgeCV(np.logspace(-4, 4, 33) * spectrum.mean()).fit(x[:clips], y[:clips])
        weights = fit_ridge(x[:clips], y[:clips, None])[:, 0]
        ours = x[clips:] @ weights[:-1] + weights[-1]
        errors.append([np.mean((p - y[clips:]) ** 2) for p in (ours, peer.predict(x[clips:]))])
    ours, peers = np.mean(errors, axis=0)
    assert ours == pytest.approx(peers, rel=0.03)


def test_ridge_of_no_features_is_the_mean_and_of_no_numbers_is_refused():
    np.testing.assert_allclose(fit_ridge(np.ones((10, 0)), np.arange(10.0)[:, None]), [[4.5]])
    features = np.ones((10, 3))
    features[2, 1], features[7, 0] = np.nan, np.inf
    with pytest.raises(ShapeError, match="2 of 10 clips have features or targets that are no finite numbers"):
        fit_ridge(features, np.arange(10.0)[:, None])


@pytest.mark.parametrize("kind", ["none", "not a number"])
def test_features_that_cannot_be_fitted_leave_the_line_and_say_so(kind):
    features, scores, alpha = made(clips=100)
    if kind == "none":
        features, said = features[:, :0], "there are none"
    else:
        features[3, 4], said = np.nan, "1 of 100 clips has some that are no finite numbers"
    model = fit_decay(features, scores, alpha)
    assert (model.predicted_from, model.weights) == ("score", None)
    assert (model.intercept, model.slope) == fit_line(scores, alpha)
    assert describe_decay(model.as_json()).endswith(f", in sample; the clip's features were not tried: {said})")


def test_ridge_of_constant_features_predicts_the_mean():
    weights = fit_ridge(np.ones((10, 3)), np.arange(10.0)[:, None])[:, 0]
    np.testing.assert_allclose(weights, [0, 0, 0, 4.5])


def test_features_that_tell_more_than_the_score_are_taken():
    features, scores, alpha = made()
    model = fit_decay(features, scores, alpha)
    assert model.predicted_from == "features"
    # By the variances of `made`, in 0.001: features tell all but 0.06^2 + 0.02^2 of 0.117^2 + 0.1^2 + 0.02^2, r 0.91,
    # and the part of the score that they tell has 0.1^2 of it, r 0.64.
    assert model.facts["r_features"] == pytest.approx(0.91, abs=0.05)
    assert model.facts["r_line"] == pytest.approx(0.64, abs=0.1)
    assert model.facts["mse_features"] < model.facts["mse_line"]
    predicted = features @ model.weights[:-1] + model.weights[-1]
    assert np.corrcoef(predicted, alpha)[0, 1] == pytest.approx(0.91, abs=0.05)


def test_features_that_tell_no_more_are_not_taken():
    """Rates that are a line in the score, of which the features are noise, over 20 draws."""
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(20):
        features = rng.standard_normal((120, 30))
        alpha = rng.standard_normal(120)
        model = fit_decay(features, 0.7 + 0.1 * rng.standard_normal(120), alpha)
        chosen.append(model.predicted_from)
        assert (model.weights is None) == (model.predicted_from == "score")
    assert chosen.count("features") <= 3, "one standard error: at most one in six by chance, here in both directions"


def test_constant_rates_have_no_correlation_and_not_the_number_0():
    features, scores, _ = made()
    model = fit_decay(features, scores, np.full(300, -0.002))
    assert model.facts["r"] is None
    assert (model.intercept, model.slope) == pytest.approx((-0.002, 0))
    assert model.as_json()["r"] is None
    assert "undefined" in describe_decay(model.as_json())


def test_few_rates_make_a_line_and_fewer_nothing():
    features, scores, alpha = made()
    known = np.where(np.arange(300) < 30, alpha, np.nan)
    model = fit_decay(features, scores, known)
    assert (model.predicted_from, model.facts["clips"]) == ("score", 30)
    assert "r_line" not in model.facts, "thirty clips are not cross-validated"
    assert fit_decay(features, scores, np.where(np.arange(300) < 9, alpha, np.nan)) is None


def test_what_is_said_names_both():
    better, line = fit_decay(*made()).as_json(), {"r_line": 0.4, "r_features": None, "predicted_from": "score"}
    r, of_line = better["r_features"], better["r_line"]
    assert describe_decay(better) == (
        f"decay from the clip's features (cross-validated r {r:.2f}; a line in the score: {of_line:.2f})"
    )
    said = "decay from the score by a line (cross-validated r 0.40; the clip's features: undefined, not better)"
    assert describe_decay(line) == said
    assert describe_decay({"intercept": 0.1, "slope": 0.2, "r": 0.31}) == (
        "decay from the score by a line (r 0.31, in sample)"
    )
