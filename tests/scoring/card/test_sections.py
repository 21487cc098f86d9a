"""Sections of a card, as a stranger reads them."""

from dataclasses import replace

from made_cards import make_known, make_unknown

from m3ray.costs import DeviceUsage
from m3ray.scoring.card.energy import Used
from m3ray.scoring.card.measured import measure_bundle
from m3ray.scoring.card.sections import Maker, write_sections
from m3ray.scoring.reference.reference_file import ReferenceFile

SECTIONS = [
    "Model details",
    "Uses",
    "Limits",
    "How to use it",
    "Training",
    "Evaluation",
    "Energy",
    "Software",
    "Citation",
]


def write(bundle, used=None, maker=None):
    return write_sections(bundle, measure_bundle(bundle), used, maker or Maker())


def test_sections_stand_in_the_order_of_the_hub_s_template():
    text = write(make_known())
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert "| rho | test | 0.5000 | " in text
    assert "One score for all clips, their mean, would have MSE 0.0300 on val." in text
    assert "cross-validated" in text


def test_untrained_networks_and_the_demo_s_data_are_told_first():
    loud = make_known(data={"dataset": "demo"})
    text = write(replace(loud, metadata=replace(loud.metadata, untrained=True)))
    assert text.index("UNTRAINED") < text.index("## Model details")
    assert text.index("made up") < text.index("## Model details")
    assert "Do not use its scores for anything else." in text
    assert "UNTRAINED" not in write(make_known())


def test_what_is_not_in_the_bundle_is_told():
    assert "but for weights that lay in files of its makers (csn.pth)" in write(make_known())
    published = make_known(sources={"scene": {"location": "https://host/w.pth", "sha256": None, "seed": 0}})
    assert "but for weights that are fetched" in write(published)
    assert "new videos and images.\n" in write(make_unknown())
    assert "It cannot score a video alone: `text`" in write(make_known())


def test_limits_say_whether_extrapolation_is_seen_and_how_few_clips_there_are():
    assert "and nothing says so" in write(make_known())
    assert "The column `inside`" in write(replace(make_known(), reference=ReferenceFile(b"x")))
    assert "Its numbers on" not in write(make_known())
    few = make_known(data={"test": 30, "on_test": {"spearman": 0.4}})
    assert "Its numbers on test come from 30 clips: see the width of the intervals." in write(few)
    fewer = make_known(data={"test": 29, "on_test": {"spearman": 0.4}})
    assert "Its numbers on test come from 29 clips, too few to tell how good it is." in write(fewer)


def test_a_number_of_very_few_clips_has_its_caution_beside_it():
    """The limit is that of a study's cautions, 30 clips."""
    text = write(make_known(data={"test": 2, "on_test": {"spearman": 1.0}}))
    line = "Rank correlation with the truth: 1.0000 on 2 test clips, **too few to tell how good it is** (under 30)."
    assert line in text
    assert "| rho | test | 1.0000 | unknown | 2, too few to tell |" in text
    assert "| rho | val | " in text
    assert text.count("too few to tell |") == 1, "val has 200 clips"
    enough = write(make_known(data={"test": 30, "on_test": {"spearman": 0.4}}))
    assert "Rank correlation with the truth: **0.4000** (95 % interval" in enough
    assert "too few" not in enough


def test_the_number_that_most_look_for_comes_first_with_the_ceiling_of_its_clips():
    text = write(make_known())
    assert "Rank correlation with the truth: **0.5000** (95 % interval " in text
    assert text.index("**0.5000**") < text.index("## Model details")
    assert " on 100 test clips." in text, "the ceiling is known of val alone"
    on_val = make_known(
        data={"ceiling": {"val": {"clips": 200, "spearman": 0.81, "reliability": 0.7, "responses": 40.0}}}
    )
    assert "val clips; no model could reach more than about 0.810 on them." in write(on_val)
    assert "Rank correlation with the truth" not in write(make_unknown())


def test_near_duplicates_in_train_are_a_limit():
    assert "near duplicate" not in write(make_known()).partition("## Limits")[2].partition("## How")[0]
    text = write(make_known(data={"seen_duplicates": {"val": 2, "test": 1}}))
    assert "- 2 val and 1 test clips have near duplicates in train, so that its numbers flatter it." in text


def test_a_model_no_better_than_one_score_for_all_is_called_so():
    assert "no better than that" not in write(make_known())
    worse = make_known()
    trained = {**worse.metadata.trained_on, "val_variance": 0.001}
    assert "no better than that" in write(make_known(trained_on=trained))


def test_val_that_chose_something_is_told():
    assert "Val also chose settings" not in write(make_known())
    assert "Val also chose settings" in write(make_known(calibrated_on="train, 5 folds"))


def test_energy_is_that_of_all_jobs_or_unknown():
    used = Used(2, (DeviceUsage("CPU", 3.0, 0.015, "TDP x time"),))
    text = write(make_known(), used)
    assert "All 2 jobs of the root" in text
    assert "| CPU | 3.000 | 0.0150 | TDP x time |" in text
    assert "In all 0.015 kWh, 0.00555 kg of CO2 at 0.37 kg a kWh." in text  # 0.015 x 0.37
    assert "Unknown: a bundle does not hold it" in write(make_known())


def test_a_bundle_that_knows_nothing_invents_nothing():
    text = write(make_unknown())
    assert "How good it is, is not recorded." in text
    assert "Who made it is not recorded. No licence is named" in text
    assert "None" not in text
    assert "nan" not in text


def test_the_maker_is_named():
    text = write(make_known(), maker=Maker("CC-BY-4.0", ("Ada Lovelace", "Vision Lab")))
    assert "Made by Ada Lovelace, Vision Lab. Licence: CC-BY-4.0." in text
