"""The model in a card."""

from dataclasses import replace

from made_cards import make_known, make_unknown

from m3ray.model import StackedMLP
from m3ray.scoring.card.model_section import describe_decay, describe_model, describe_software, describe_training


def test_the_mlp_is_counted_layer_by_layer():
    # 7 features to 4 hidden to 1: 7 x 4 + 4 + 4 + 1
    assert describe_model(make_known()) == (
        "Trained as M3-S (in the paper: all tiers). It sees 7 features. The MLP: hidden layers of 4, 37 parameters, "
        "the mean of 2 runs, seeds 0, 1."
    )


def test_many_seeds_are_a_range_and_runs_that_diverged_are_told():
    bundle = replace(make_known(seeds=list(range(10)), dropped_runs=[4]), model=StackedMLP(4, (), range(10)))
    text = describe_model(bundle)
    assert "no hidden layer, 5 parameters, the mean of 10 runs, seeds 0 to 9." in text
    assert "diverged" in text


def test_an_ensemble_names_what_it_is_made_of():
    shares = {"mlp": 0.251, "ridge": 0.749, "svr": 0.0}
    bundle = make_known(model="ensemble", mixture={}, out_of_fold={"ensemble": {"shares": shares}})
    assert "A weighted sum of models beside one another (MLP 25 %, ridge 75 %), put on" in describe_model(bundle)


def test_settings_are_a_table():
    text = describe_training(make_known())
    assert "| epochs | 20 |" in text
    assert "| intervals calibrated on | val |" in text
    tuned = make_known(variant={"name": "M3-S, unfrozen", "training": {"loss": "mse"}, "unfrozen": {"epochs": 3}})
    assert "| finetuning: epochs | 3 |" in describe_training(tuned)
    assert describe_training(make_unknown()) == "The settings of training are not recorded."


def test_software_and_decay_are_told_where_they_are_known():
    assert describe_software(make_known()) == "Made with m3ray 0.1.0, torch 2.14.1."
    assert describe_software(make_unknown()) == "The software that made it is not recorded."
    assert describe_decay(make_unknown()) == ""
    assert "-0.0010 a video" in describe_decay(make_known(decay={"mean": -0.001}))
