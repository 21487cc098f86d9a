"""Whole cards."""

import yaml
from made_cards import DIGEST, make_known, make_pretrained, make_unknown

from m3ray.scoring.card.write import Maker, write_card
from m3ray.scoring.open_bundle import open_bundle
from m3ray.storage.root import Root


def read_head(card):
    return yaml.safe_load(card.text.split("---\n")[1])


def test_head_text_and_citation_belong_together():
    card = write_card(make_known(), Maker("cc-by-4.0", ("Ada Lovelace",)))
    assert read_head(card)["license"] == "cc-by-4.0"
    assert "# small: how memorable a video is" in card.text
    citation = yaml.safe_load(card.citation)
    assert (citation["license"], citation["references"][1]["version"]) == ("CC-BY-4.0", "0.1.0")
    assert [work["title"][:9] for work in citation["references"]][2] == "Embracing", "it sees ResMem"
    assert "/home/ada" not in card.text + card.citation


def test_a_baseline_that_the_bundle_does_not_see_is_neither_cited_nor_binding():
    sources = {"resmem": {"location": "/env/resmem/model.pt", "sha256": DIGEST, "seed": 0}}
    card = write_card(make_unknown(sources=sources))
    assert "resmem" not in card.text.lower()
    assert "oncommercial" not in card.text
    assert len(yaml.safe_load(card.citation)["references"]) == 2, "the paper and m3ray"


def test_a_licence_of_one_s_own_is_in_the_card_and_not_in_the_citation():
    card = write_card(make_known(), Maker("Terms of a lab"))
    assert (read_head(card)["license"], read_head(card)["license_name"]) == ("other", "Terms of a lab")
    assert "license" not in yaml.safe_load(card.citation)


def test_scorers_have_their_own_terms():
    head = read_head(write_card(make_pretrained()))
    assert head["license"] == "other"
    assert "noncommercial" in head["license_name"]
    assert read_head(write_card(make_pretrained("vitmem")))["license"] == "mit"


def test_the_same_bundle_gives_the_same_card_and_its_root_s_energy(tmp_path):
    root = Root(str(tmp_path))
    device = {"device": "CPU", "hours": 2.0, "kwh": 0.01, "how": "TDP x time"}
    root.write_json({"devices": [device]}, "runs", "a", "summary.json")
    make_unknown().save(root, "models", "small")
    bundle = open_bundle(f"{root.uri}/models/small")
    assert write_card(bundle) == write_card(bundle)
    assert "The one job of the root" in write_card(bundle).text
    assert read_head(write_card(bundle))["co2_eq_emissions"]["emissions"] == 3.7  # 0.01 kWh x 370 g
