"""Options as command lines and as the JSON of a run's record."""

import dataclasses

import pytest
import tyro

from m3ray.config import options
from m3ray.config.finetuning import FinetuneOverrides
from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.config.serialization import as_json, from_json

ALL = [AblateOptions, EvaluateOptions, ExtractOptions, PredictOptions, ReproduceOptions, TrainOptions, TuneOptions]


def test_groups_take_settings_by_dotted_names():
    words = ["--out", "r", "--finetune.micro-batch", "2", "--finetune.refit-similarity", "True", "--unfrozen", "small"]
    parsed = tyro.cli(TrainOptions, args=[*words, "--limits.crash-count", "5", "--tier", "a=b", "--tier", "c=d"])
    assert (parsed.finetune, parsed.unfrozen) == (FinetuneOverrides(micro_batch=2, refit_similarity=True), "small")
    assert (parsed.limits.crash_count, parsed.tier) == (5, ("a=b", "c=d"))


def test_the_help_of_overrides_is_that_of_the_settings(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(TuneOptions, args=["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--finetune.cache-gb {None}|FLOAT Most that the kept frames may take, GiB" in text
    assert "--finetune.runs INT Runs, one after the other" in text
    assert "--finetune.weight-decay" not in text, "the preset alone sets it"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_run_s_record_is_read_back(kind):
    given = kind(out="r", **({"bundles": ("b",), "roots": ("s",)} if kind is EvaluateOptions else {}))
    values = as_json(given)
    assert from_json(kind, values) == given
    assert not {"finetune", "sliding_windows"} & set(values), "JSON keeps the keys of earlier releases"
    assert ("full" in values) == hasattr(given, "finetune")


def test_options_of_python_are_given_by_name_and_fixed():
    with pytest.raises(TypeError):
        ExtractOptions("r")  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExtractOptions(out="r").out = "s"  # type: ignore[misc]


def test_choices_of_published_data_sets_go_to_their_readers():
    reading = ExtractOptions(out="r", target="long", splits="s.csv", identity="hash", group="film").read_config
    assert (reading.score, reading.target, reading.splits, reading.identity) == ("normalized", "long", "s.csv", "hash")
    assert reading.group == "film"


@pytest.mark.parametrize(("kind", "sees"), [(ExtractOptions, False), (ReproduceOptions, False), (TrainOptions, True)])
def test_a_model_s_tiers_include_similarity(kind, sees):
    assert kind(out="r").sees_similarity is sees


def test_every_option_that_says_something_twice_says_the_same():
    """`--allow-missing` is one option of three jobs."""
    owners = [
        k
        for k in vars(options).values()
        if isinstance(k, type) and "allow_missing" in vars(k).get("__annotations__", {})
    ]
    assert [owner.__name__ for owner in owners] == ["MissingOptions"]
