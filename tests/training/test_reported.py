"""The epoch of each run that is kept: a model whose one weight is the epoch, and correlations made for each case."""

import numpy as np
import pytest
import torch

from m3ray.config import TrainConfig
from m3ray.model import StackedMLP
from m3ray.training.reported import ReportedEpochs
from m3ray.training.stacked import predict, train_runs

NAN = np.nan


def kept(report, spearman):
    """Epochs of (epochs, runs) correlations, in each of which weights and predictions are the epoch's number."""
    model = StackedMLP(2, (3,), range(len(spearman[0])))
    epochs = ReportedEpochs(model, report)
    for epoch, values in enumerate(spearman):
        for parameter in model.parameters():
            parameter.data.fill_(epoch + 1)
        epochs.keep(epoch, np.full((len(values), 4), epoch + 1.0), np.array(values))
    return epochs


# Columns are runs: one that is best in the middle, one that rises, one that ties (the first counts), one that is
# defined late, one that never is (its last epoch is reported).
CURVES = [[0.1, 0.1, 0.5, NAN, NAN], [0.4, 0.2, 0.5, 0.2, NAN], [0.3, 0.3, 0.5, 0.1, NAN]]


@pytest.mark.parametrize(("report", "expected"), [("best", [2, 3, 1, 2, 3]), ("last", [3, 3, 3, 3, 3])])
def test_each_run_reports_its_own_epoch(report, expected):
    found = kept(report, CURVES)
    assert found.epochs.tolist() == expected
    assert found.predictions.tolist() == [[float(epoch)] * 4 for epoch in expected]
    for parameter in found.load_weights().parameters():
        assert [set(run.ravel().tolist()) for run in parameter.detach()] == [{float(epoch)} for epoch in expected]


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(120, 30, generator=generator)
    y = torch.sigmoid(x[:, 0] + 2 * torch.randn(120, generator=generator))
    return (x[:60], y[:60]), (x[60:], y[60:])


@pytest.mark.parametrize("stack", [1, 3])
def test_the_best_epoch_s_model_is_the_one_that_predicts(stack):
    """Few clips and noise: the best epoch on val is not the last. The history is the same whichever is reported."""
    train, val = data()
    settings = {"hidden": (16,), "epochs": 12, "learning_rate": 0.02, "step_size": 99}
    best = train_runs(train, val, TrainConfig(**settings, report="best"), [0, 1, 2], stack=stack)
    last = train_runs(train, val, TrainConfig(**settings), [0, 1, 2], stack=stack)
    curves = last.metrics["spearman"]
    np.testing.assert_array_equal(best.metrics["spearman"], curves)
    assert best.reported_epochs.tolist() == (curves.argmax(axis=1) + 1).tolist()
    assert last.reported_epochs.tolist() == [12] * 3
    assert (best.reported_epochs < 12).any()
    np.testing.assert_allclose(predict(best.model, val[0]), best.val, atol=1e-7)
    for run, epoch in enumerate(best.reported_epochs):
        short = train_runs(train, val, TrainConfig(**settings | {"epochs": int(epoch)}), [run], stack=1)
        np.testing.assert_allclose(short.val[0], best.val[run], atol=1e-6)
