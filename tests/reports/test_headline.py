"""The headline: the full model's numbers, and the ceiling beside them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_reports import fill_page, make_trials
from published import memento_csv, text_tier, videomem_csv
from scipy.stats import spearmanr

from m3ray.config import TrainConfig
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.registry import list_clips
from m3ray.features.load import load_data
from m3ray.reports.headline import build_headline
from m3ray.reports.page import build_report
from m3ray.reports.study_section import add_study
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root
from m3ray.study.ceiling import StudyCeilings
from m3ray.study.reliability import Ceiling
from m3ray.study.store import collect_trials, write_trial
from m3ray.study.study import Study
from m3ray.study.table_list import MeasureNotes, TableList, write_table_list
from m3ray.study.trial import run_trial
from m3ray.study.variants import full_model
from m3ray.tiers.user import read_user_tier, store_user_tier

KNOWN = Ceiling(1500, 3, 38.2, 0.64, 0.8, 0.79, 0.77, 0.81, 0.47, 0.012, 0.64)


def build(clips=1500, ceiling=KNOWN, target="score", **changes):
    row = make_trials().set_index("variant").loc["M3-S"].copy()
    for name, value in changes.items():
        row[name] = value
    return build_headline(row, "M3-S", clips, StudyCeilings(target, {"val": ceiling}))


def test_the_headline_is_the_full_model_s():
    headline = build()
    assert headline["rho"] == "0.6300 ± 0.0100"
    assert (headline["mse"], headline["best"]) == ("0.00670", "0.6400, epoch 10")
    assert (headline["features"], headline["parameters"], headline["clips"]) == ("2,783", "1,458,305", "1,500")
    assert (headline["test"], headline["target"]) == ("", ""), "no clip has the split test"
    low, high = map(float, headline["interval"].split(" to "))
    # The ensemble's 0.65 (make_trials: each mean and 0.02), whose interval it is.
    assert low < 0.65 < high
    assert (low + high) / 2 == pytest.approx(0.65, abs=0.003)
    assert high - low == pytest.approx(2 * 1.96 * (1 - 0.65**2) / 1500**0.5, rel=0.15)
    assert headline["interval_of"] == "the runs' mean"


def test_a_study_of_an_earlier_version_has_the_single_runs_mean_in_the_ensemble_s_place():
    headline = build(ensemble_spearman=np.nan)
    low, high = map(float, headline["interval"].split(" to "))
    assert (low + high) / 2 == pytest.approx(0.63, abs=0.003)
    assert headline["interval_of"] == "the mean of single runs"
    assert headline["share"].startswith("80 [")


def test_few_clips_leave_no_interval_and_say_so():
    """The tables have none under 20 clips either."""
    headline = build(19)
    assert (headline["interval"], headline["no_interval"]) == ("", "19 val clips: no interval under 20")
    # 0.65 / 0.79
    assert headline["share"] == "82 %"
    assert build(20)["interval"]
    assert build(20)["no_interval"] == ""


def test_rho_is_shown_as_a_share_of_the_ceiling_with_its_interval():
    headline = build()
    # Of the ensemble, as in Table 6: 0.65 / 0.79 = 0.823; its deviation by the delta method:
    # 0.823 sqrt((0.0164 / 0.65)^2 + (0.0102 / 0.79)^2) = 0.023
    assert headline["share"].startswith("82 [")
    low, high = map(int, headline["share"].removeprefix("82 [").removesuffix("] %").split(", "))
    assert (low, high) == (pytest.approx(78, abs=1), pytest.approx(87, abs=1))
    assert (headline["ceiling"], headline["reliability"], headline["viewers"]) == ("0.790", "0.640", "38")
    assert headline["halves"] == "0.470 ± 0.012 (0.640 for all viewers)"
    assert (headline["left_out"], headline["no_ceiling"]) == ("3", "")


def test_a_ceiling_that_nobody_can_know_is_said_to_be_unknown():
    headline = build(ceiling=Ceiling(0, 1500, reason="the number of viewers is unknown (column responses)"))
    assert [headline[name] for name in ("ceiling", "share", "reliability", "halves", "viewers")] == [""] * 5
    assert headline["no_ceiling"] == "the number of viewers is unknown (column responses)"


def test_a_negative_reliability_is_shown_as_it_is():
    headline = build(ceiling=Ceiling(50, 0, 20.0, -0.05, reason="nothing is left"))
    assert (headline["reliability"], headline["ceiling"], headline["share"]) == ("-0.050", "", "")


def test_a_constant_prediction_has_an_undefined_headline():
    undefined = dict.fromkeys(["spearman", "spearman_std", "best_spearman", "mse", "ensemble_spearman"], np.nan)
    headline = build(10, **undefined)
    assert [headline[key] for key in ("rho", "interval", "mse", "best")] == ["undefined", "", "undefined", "undefined"]
    assert headline["share"] == ""


def test_the_ensemble_and_another_target_are_named_and_small_errors_keep_their_digits():
    headline = build(target="false_alarm_rate", ensemble_spearman=0.6512, mse=2.345e-8)
    assert (headline["ensemble"], headline["target"], headline["mse"]) == ("0.6512", "false alarm rate", "2.35e-08")
    # Table 6's words.
    assert [build(target=name)["target"] for name in ("alpha", "d_prime")] == ["decay", "d'"]


def test_the_bundle_s_rho_stands_beside_the_headline_s(root):
    """The headline is the MLP's; a bundle of --model auto may be the ensemble, which scores new clips otherwise."""
    ranks = {"val_spearman": 0.89606, "val_clips": 188}
    metadata = BundleMetadata(untrained=False, variant={"name": "M3-S"}, trained_on=ranks, model="ensemble")
    root.write_json(BundleManifest("x", metadata, (), {}).as_json(), "models", "x", "bundle.json")
    build_report(root.uri)
    page = root.read_bytes("report", "index.html").decode()
    said = "<li><b>0.8961</b> the same of bundle x on its 188 val clips: it is the ensemble of the MLP and regressors"
    assert page.index('<ul class="headline">') < page.index(said) < page.index("95 % interval of the rank correlation")


@pytest.fixture(scope="module", params=["memento10k", "videomem"])
def published(request, tmp_path_factory):
    """A root with a study of a published data set's layout, whose only tier is a text's, and its report."""
    folder = tmp_path_factory.mktemp(request.param)
    is_memento = request.param == "memento10k"
    known = memento_csv(folder / "data", 200, 120) if is_memento else videomem_csv(folder / "data", 600)
    root = Root(str(folder / "out"))
    listed = list_clips(root, request.param, str(folder / "data"), limit=None, seed=0)
    # With the data set's folder, as the jobs give it: the draw is then the same wherever the folder lies.
    catalogue = write_catalogue(root, listed.table, 0, origin=DatasetOrigin((str(folder / "data"),)))
    tier = read_user_tier("text", str(text_tier(folder / "text.npz", known)))
    store_user_tier(root, tier, catalogue["clip_id"].to_pylist())
    variant = replace(full_model(("text",)), training=TrainConfig(hidden=(16,), epochs=20, learning_rate=1e-2))
    study = Study(root, "ablation", load_data(root, ("text",)), (0, 1))
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    collect_trials(study, [variant])
    write_table_list(TableList({3: (variant.name,)}, MeasureNotes(None, variant.name)), root, study.folder)
    build_report(root.uri)
    return root, study, known


def test_the_ceiling_and_the_corrected_rho_of_published_data_are_in_the_headline(published):
    """The fixtures' true chances are known: the ceiling must be the scores' own correlation with them."""
    root, study, known = published
    ids = [study.data.features.clip_ids[row] for row in study.data.val]
    chances = [known[name]["chance"] for name in ids]
    possible = spearmanr(chances, [known[name]["score"] for name in ids]).statistic
    page = root.read_bytes("report", "index.html").decode()
    ceiling = float(re.search(r"a perfect model would have about (0\.\d{3}) on val", page)[1])
    # About 120 val clips: the correlation that this sample has differs from what is expected by 0.02 or so.
    assert ceiling == pytest.approx(possible, abs=0.04)
    rho = float(re.search(r"the mean of their predictions has (0\.\d{4})", page)[1])
    # Between the number and its words stand the marks of what is to be read with it.
    shown = re.search(r"<b>(\d+) \[(\d+), (\d+)\] %</b>(?:(?!<b>).)*?of the ceiling by the runs", page, re.DOTALL)
    share, low, high = map(int, shown.groups())
    assert share == pytest.approx(100 * rho / ceiling, abs=0.6)
    assert low < share < high
    viewers = np.mean([known[name]["responses"] for name in ids])
    assert f"reliability of the scores with {viewers:.0f} viewers a clip; two halves of the viewers agree by 0." in page
    table = root.read_bytes("report", "tables", "table3.md").decode()
    assert f"{ceiling:.3f} for score on val" in table
    assert f"ceiling {ceiling:.3f}" in root.read_bytes("report", "figures", "figure7.svg").decode()


def test_the_page_says_that_the_ceiling_is_unknown_where_nobody_counted_viewers(root):
    page = fill_page(root, add_study)
    assert page.headline["ceiling"] == ""
    assert len(page.headline["no_ceiling"]) > 20
    assert any("Ceiling unknown" in note for note in page.tables[0]["notes"])
