"""Data of a card."""

from dataclasses import replace

from made_cards import make_known, make_unknown

from m3ray.scoring.card.data_section import define_target, describe_data, describe_reliability, is_demo, name_dataset
from m3ray.scoring.reference.reference_file import ReferenceFile


def test_data_are_told_as_they_were_recorded():
    text = describe_data(make_known())
    assert "| data set | Memento10k |" in text
    assert "1,000 train, 200 val, 100 test" in text
    assert "80/20, seed 3; clips with the same `film` are kept together" in text
    assert "median 40, from 20 to 61" in text
    assert "| near duplicates | none found |" in text
    assert "mean 0.6000, from 0.1000 to 0.9500" in text


def test_an_older_bundle_says_what_it_does_not_know():
    text = describe_data(make_unknown())
    assert text.count("not recorded: an earlier m3ray made this bundle") == 4
    assert "| clips with a score | unknown |" in text
    assert describe_reliability(make_unknown()) == "How well a perfect model could do (the ceiling) is not recorded."
    assert name_dataset(make_unknown()) is None


def test_the_ceiling_is_told_with_the_viewers_behind_it():
    assert describe_reliability(make_known()).startswith(
        "No model's rank correlation can exceed about 0.810 for score on val: the reliability of the scores is 0.700 "
        "with 40 viewers a clip"
    )


def test_a_demo_is_known_as_one():
    bundle = make_known(data={"dataset": "demo"})
    assert is_demo(bundle)
    assert "scores that it makes up" in describe_data(bundle)
    assert "unknown: the data set does not tell" in describe_data(bundle)
    assert not is_demo(make_unknown())


def test_train_clips_that_a_bundle_holds_are_told():
    assert "train_reference" not in describe_data(make_known())
    assert "their ids, scores and compressed features" in describe_data(
        replace(make_known(), reference=ReferenceFile(b"x"))
    )


def test_every_target_has_a_definition():
    assert define_target("false_alarm_rate").startswith("the false alarm rate: the share of viewers")
    assert define_target("likes") == "`likes`, a column of the data set"
