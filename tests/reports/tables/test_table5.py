"""Table 5 against the supplement's."""

import pytest

from m3ray.config import TrainConfig, as_json
from m3ray.reports.tables.table5 import build_parameters_table


def test_table_5_is_the_paper_s():
    """The supplement, Table 5."""
    variant = {"name": "M3-S", "training": as_json(TrainConfig()), "tiers": ["raw", "scene", "event", "similarity"]}
    frame = build_parameters_table(variant).frame.set_index("Parameter")
    theirs = frame[["M3-S", "Memento10k", "VideoMem"]]
    assert theirs.loc["Normalizing"].tolist() == ["raw, similarity"] * 3
    assert theirs.loc["Hidden channels"].tolist() == ["[512, 64, 1]"] * 3
    assert theirs.loc["Batch size"].tolist() == ["32"] * 3
    assert theirs.loc["Learning rate"].tolist() == ["0.001"] * 3
    assert theirs.loc["Scheduler"].tolist() == ["StepLR, gamma = 0.2, step size = 5"] * 3
    assert theirs.loc["Weight decay"].tolist() == ["1e-05"] * 3
    assert theirs.loc["Epoch reported"].tolist() == ["last"] * 3
    assert frame.loc["Loss", "Memento10k"] == "MSE (tails: gain 2, power 4, train mean)"
    assert frame.loc["Loss", "VideoMem"].startswith("MSE to Spearman")


@pytest.mark.parametrize(("scaled", "words"), [(True, "text"), (False, "none")])
def test_table_5_says_whether_a_brought_tier_was_scaled(scaled, words):
    variant = {"name": "M3", "training": as_json(TrainConfig()), "tiers": ["text"]}
    frame = build_parameters_table(variant, {"text": {"scaled": scaled}}).frame.set_index("Parameter")
    assert frame.loc["Normalizing", "M3"] == words


def test_the_authors_commands_stand_beside_the_paper_s():
    """Their README's two commands, and the epoch that their train.py reports."""
    variant = {"name": "M3-S", "training": as_json(TrainConfig(report="best")), "tiers": ["raw"]}
    frame = build_parameters_table(variant).frame.set_index("Parameter")
    memento10k, videomem = frame["Memento10k, authors' code"], frame["VideoMem, authors' code"]
    assert (memento10k["Loss"], memento10k["Learning rate"]) == ("MSE", "0.001")
    assert videomem["Loss"] == "MSE to Spearman (strength 1, scale 0.01)"
    assert (videomem["Learning rate"], videomem["Weight decay"]) == ("0.00040574", "1.12263e-05")
    assert videomem["Scheduler"] == "StepLR, gamma = 0.285206, step size = 8"
    assert frame.loc["Epoch reported"].tolist() == ["best", "last", "last", "best", "best"]


def test_a_study_of_an_earlier_release_centred_its_tails_on_the_batch():
    older = {k: v for k, v in as_json(TrainConfig(loss="mse_tails")).items() if k not in ("tails_centre", "report")}
    frame = build_parameters_table({"name": "M3", "training": older, "tiers": ["raw"]}).frame.set_index("Parameter")
    assert frame.loc["Loss", "M3"] == "MSE (tails: gain 2, power 4, batch mean)"
    assert frame.loc["Epoch reported", "M3"] == "last"
