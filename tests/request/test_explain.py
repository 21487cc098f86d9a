"""What of --explain is told before any work: nothing to hide from the bundle, and clips that are not there."""

import json

import pyarrow as pa
import pytest

from m3ray.config.explain_options import ExplainConfig
from m3ray.config.options import PredictOptions
from m3ray.errors import ConfigError
from m3ray.request.checks import check_request
from m3ray.request.explain import check_explain, check_explained_clips, check_occludable
from m3ray.scoring.pretrained_bundle import make_manifest


def options(**given):
    return PredictOptions(out="o", **given)


def test_clips_are_named_for_a_map_alone():
    with pytest.raises(ConfigError, match=r"--explain-clips a\.mp4: no map is asked for: give --explain too"):
        check_explain(options(explain_clips=("a.mp4",)), make_manifest("resmem"))


def test_a_pretrained_scorer_sees_frames():
    check_explain(options(explain=True, explain_clips=("a.mp4",)), make_manifest("resmem"))


def test_a_bundle_of_files_alone_is_told_before_its_files_are_read(tmp_path):
    text = {"folder": "text-1", "untrained": False, "brought": True, "scaled": False, "identity": {"columns": {"t": 3}}}
    sees = {"blocks": [{"tier": "text", "names": ["t_0"], "scaled": False}], "tiers": {"text": text}}
    whole = {"name": "words", "files": {}, "configs": {}, "sources": {}, "untrained": False, **sees}
    (tmp_path / "bundle.json").write_text(json.dumps(whole))
    asked = PredictOptions(out=str(tmp_path / "o"), bundle=str(tmp_path), explain=True, tier=("text=none.csv",))
    with pytest.raises(ConfigError, match="--explain: words sees captions or user-provided tiers alone"):
        check_request(asked)


@pytest.mark.parametrize("setting", ["budget", "grid", "segments", "seeds"])
def test_settings_of_maps_have_a_range(tmp_path, setting):
    config = ExplainConfig(**{setting: 0})
    with pytest.raises(ConfigError, match=f"--explanations.{setting} 0: expected at least 1"):
        check_request(PredictOptions(out=str(tmp_path), explain=True, explanations=config))


@pytest.mark.parametrize("tiers", [[], ["similarity"], ["similarity:knn"]])
def test_a_bundle_of_user_provided_tiers_has_nothing_to_hide(tiers):
    with pytest.raises(ConfigError, match="m3s sees captions or user-provided tiers alone, and no frame"):
        check_occludable("m3s", tiers)


def test_one_computed_tier_is_enough():
    check_occludable("m3s", ["scene", "similarity"])


CLIPS = pa.chunked_array([["a.mp4", "b.mp4"]])


@pytest.mark.parametrize("wanted", [(), ("all",), ("b.mp4",), ("a.mp4", "b.mp4")])
def test_clips_that_are_there_pass(wanted):
    check_explained_clips(options(explain=True, explain_clips=wanted), CLIPS)


@pytest.mark.parametrize("wanted", [("c.mp4",), ("a.mp4", "c.mp4")])
def test_a_clip_that_is_not_there_is_named_with_what_ids_look_like(wanted):
    with pytest.raises(ConfigError, match=r"--explain-clips c\.mp4: no such clip among the 2 to score; .* such as a"):
        check_explained_clips(options(explain=True, explain_clips=wanted), CLIPS)
