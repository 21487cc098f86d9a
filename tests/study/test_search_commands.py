"""The commands that a search prints are taken by the jobs' own command lines."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
import tyro
from planted import planted_tiers

from m3ray.config.options import AblateOptions, TrainOptions, TuneOptions
from m3ray.features.load import StudyFeatures
from m3ray.features.target import Target
from m3ray.storage.root import Root
from m3ray.study.search_commands import ablate_command, train_command
from m3ray.study.study import Study

TIERS = ("raw", "own tier")


def make_study(folder, **changes):
    data = replace(planted_tiers(40), **changes)
    return Study(Root(str(folder)), "my search", StudyFeatures(data, {}, "key"), (0, 1))


def parse(kind, command):
    """What a shell and the job's command line make of a command."""
    program, script, *arguments = shlex.split(command)
    assert (program, script) == ("python", f"jobs/{kind.__name__.removesuffix('Options').lower()}.py")
    return tyro.cli(kind, args=arguments)


@pytest.mark.parametrize(("kind", "command"), [(TrainOptions, train_command), (AblateOptions, ablate_command)])
def test_a_command_has_the_root_the_settings_and_the_tiers(tmp_path, kind, command):
    study = make_study(tmp_path / "a root")
    options = parse(kind, command(study, TIERS, TuneOptions(out="ignored")))
    assert options.out == str(tmp_path / "a root"), "quoted"
    assert options.config == f"{tmp_path}/a root/study/my search/best.json"
    assert options.tiers == TIERS
    plain = kind(out=options.out, config=options.config, tiers=TIERS)
    assert options == (replace(plain, name="tuned-my search") if kind is TrainOptions else plain), "and nothing else"


def test_the_bundle_of_a_second_search_replaces_nothing(tmp_path):
    study = make_study(tmp_path)
    first = Study(study.root, TuneOptions.name, study.loaded, study.seeds)
    assert parse(TrainOptions, train_command(first, TIERS, TuneOptions(out="ignored"))).name == "tuned"
    assert parse(TrainOptions, train_command(study, TIERS, TuneOptions(out="ignored"))).name == "tuned-my search"


@pytest.mark.parametrize(("kind", "command"), [(TrainOptions, train_command), (AblateOptions, ablate_command)])
def test_a_command_repeats_what_was_searched_with(tmp_path, kind, command):
    study = make_study(tmp_path, target=Target("hit_rate"), weights=np.ones(40, np.float32))
    options = parse(kind, command(study, TIERS, TuneOptions(out="ignored", runs=2, allow_missing=True, weigh="none")))
    assert (options.target, options.weigh, options.allow_missing) == ("hit_rate", "responses", True)
    assert options.runs == 2


def test_a_root_may_be_relative_or_in_a_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study("results")
    assert parse(TrainOptions, train_command(study, TIERS, TuneOptions(out="results"))).out == f"{tmp_path}/results"


def test_the_study_s_first_seed_is_the_search_s_and_a_bundle_s_the_root_s(tmp_path):
    """`train --seed` would draw splits anew."""
    study, searched = make_study(tmp_path), TuneOptions(out="ignored", seed=7)
    assert parse(AblateOptions, ablate_command(study, TIERS, searched)).seed == 7
    assert parse(TrainOptions, train_command(study, TIERS, searched)).seed == 0
