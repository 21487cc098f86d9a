"""Table 5 against the supplement's."""

import pytest

from m3ray.config import TrainConfig, as_json
from m3ray.reports.tables.table5 import build_parameters_table


def test_table_5_is_the_paper_s():
    """The supplement, Table 5."""
    variant = {"name": "M3-S", "training": as_json(TrainConfig()), "tiers": ["raw", "scene", "event", "similarity"]}
    frame = build_parameters_table(variant).frame.set_index("Parameter")
    assert frame.loc["Normalizing"].tolist() == ["raw, similarity"] * 3
    assert frame.loc["Hidden channels"].tolist() == ["[512, 64, 1]"] * 3
    assert frame.loc["Batch size"].tolist() == ["32"] * 3
    assert frame.loc["Learning rate"].tolist() == ["0.001"] * 3
    assert frame.loc["Scheduler"].tolist() == ["StepLR, gamma = 0.2, step size = 5"] * 3
    assert frame.loc["Weight decay"].tolist() == ["1e-05"] * 3
    assert frame.loc["Loss", "Memento10k"].startswith("MSE (tails")
    assert frame.loc["Loss", "VideoMem"].startswith("MSE to Spearman")


@pytest.mark.parametrize(("scaled", "words"), [(True, "text"), (False, "none")])
def test_table_5_says_whether_a_brought_tier_was_scaled(scaled, words):
    variant = {"name": "M3", "training": as_json(TrainConfig()), "tiers": ["text"]}
    frame = build_parameters_table(variant, {"text": {"scaled": scaled}}).frame.set_index("Parameter")
    assert frame.loc["Normalizing", "M3"] == words
