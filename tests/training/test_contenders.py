"""Candidates compared on the parts that were held out of both, and the rule of one standard error."""

import numpy as np
import pytest

from m3ray.config import TrainConfig
from m3ray.training.contenders import Candidate, choose_simplest, compare
from m3ray.training.held_out import Curves


def make(name, hidden, scores, decay=1e-5, loss="mse"):
    """A candidate with such scores on each part, after each epoch: (parts, epochs)."""
    config = TrainConfig(hidden=hidden, epochs=len(scores[0]), weight_decay=decay, loss=loss)
    # rho = score and 1 - MSE = score: their mean is the score.
    curves = {(0, k): Curves(np.array(s), 1 - np.array(s)) for k, s in enumerate(scores)}
    return Candidate(name, config, curves)


def test_the_number_of_epochs_is_that_of_the_mean_curve():
    candidate = make("a", (), [[0.1, 0.6, 0.3], [0.1, 0.3, 0.5]])
    assert (candidate.epochs, candidate.training.epochs) == (2, 2)
    assert candidate.best_score == pytest.approx(0.45)
    assert candidate.measure("spearman") == pytest.approx(0.45)
    assert candidate.measure("mse", epochs=3) == pytest.approx(0.6)


def test_a_loss_that_changes_over_the_epochs_keeps_them_all():
    assert make("a", (), [[0.5, 0.1]], loss="mse_to_spearman").epochs == 2


def test_the_error_is_that_of_the_difference_over_shared_parts():
    one, other = make("a", (), [[0.5], [0.7], [0.3]]), make("b", (), [[0.4], [0.5]])
    gap, error = compare(one, 1, other, 1)
    assert gap == pytest.approx(0.15)
    assert error == pytest.approx(np.std([0.1, 0.2], ddof=1) / np.sqrt(2))
    assert compare(one, 1, make("c", (), [[0.4]]), 1)[1] == np.inf


@pytest.mark.parametrize(
    ("linear", "chosen"),
    [([[0.49], [0.52]], "linear"), ([[0.40], [0.41]], "net")],
)
def test_a_simpler_candidate_within_one_standard_error_is_taken(linear, chosen):
    """Differences of 0.01 and -0.01: their mean, 0, is within the error, 0.01; of 0.1 and 0.1: the error is 0."""
    net = make("net", (8,), [[0.50], [0.51]])
    assert choose_simplest([net, make("linear", (), linear)], inputs=4) == chosen


def test_of_equal_shapes_the_strongest_decay_is_taken():
    weak, strong = (make(f"{w:g}", (), [[0.5], [0.5]], decay=w) for w in (1e-3, 1.0))
    assert choose_simplest([weak, strong], inputs=4) == "1"
