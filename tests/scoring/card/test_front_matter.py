"""The head of a card, as YAML reads it."""

import yaml
from made_cards import make_known

from m3ray.costs import DeviceUsage
from m3ray.scoring.card.energy import Used
from m3ray.scoring.card.front_matter import make_front_matter
from m3ray.scoring.card.measured import Measured, measure_bundle


def read(text):
    assert text.startswith("---\n")
    assert text.endswith("---")
    return yaml.safe_load(text.strip("-"))


def test_it_has_the_keys_of_the_hub():
    used = Used(1, (DeviceUsage("L4", 1.0, 0.072, "TDP x time"),))
    values = read(make_front_matter("m3s", measure_bundle(make_known()), "memento10k", ("cc-by-4.0", ""), used=used))
    assert (values["license"], values["library_name"]) == ("cc-by-4.0", "m3ray")
    assert values["metrics"] == ["spearmanr", "mse", "mae"]
    results = values["model-index"][0]["results"]
    assert [result["dataset"]["split"] for result in results] == ["test", "val"]
    assert results[0]["metrics"][0] == {"type": "spearmanr", "value": 0.5, "name": "Spearman's rho, test"}
    # 0.072 kWh x 0.37 kg a kWh, in grams
    assert values["co2_eq_emissions"] == {"emissions": 26.6, "source": "m3ray: TDP x time"}


def test_what_is_unknown_is_left_out():
    values = read(make_front_matter("m3s", [Measured("rho", "val", None)], None, None))
    assert set(values) == {"library_name", "pipeline_tag", "tags"}


def test_numbers_of_few_clips_are_left_out_as_the_hub_shows_them_without_a_caution():
    rows = [Measured("rho", "test", 1.0, clips=29), Measured("rho", "val", 0.5, clips=30)]
    assert "model-index" not in read(make_front_matter("m3s", rows[:1], None, None))
    (result,) = read(make_front_matter("m3s", rows, None, None))["model-index"][0]["results"]
    assert result["dataset"]["split"] == "val"
    unknown = [Measured("rho", "val", 0.5)]
    assert "model-index" in read(make_front_matter("m3s", unknown, None, None))


def test_a_licence_without_a_name_of_the_hub_s_has_its_own():
    values = read(make_front_matter("m3s", [], None, ("other", "Terms: of a lab")))
    assert (values["license"], values["license_name"]) == ("other", "Terms: of a lab")
