"""From a scorer and a clip to its map: settings are checked first, clips that fail have a reason."""

import numpy as np
import pytest
from made_bundles import TEXT, make_bundle, make_pretrained
from small_maps import DECODE, ContrastTier, draw_noise
from small_networks import TinyTier, make_tiny_bundle

from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError, DecodeError
from m3ray.scoring import scorer as scoring
from m3ray.scoring.explanations.explain import Unexplained, check_request, explain_clip, explain_clips
from m3ray.scoring.explanations.explanation import Explanation
from m3ray.scoring.inputs import ClipInput


def open_scorer(monkeypatch, bundle, tiers):
    from dataclasses import replace

    configs = replace(bundle.metadata.configs, decode=DECODE)
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (configs, tiers))
    for tier in tiers:
        monkeypatch.setattr(tier, "setup", lambda _: None)
    return scoring.Scorer("bundle")


@pytest.fixture
def scorer(monkeypatch):
    with open_scorer(monkeypatch, make_pretrained(), [ContrastTier()]) as opened:
        yield opened


def test_a_map_says_what_it_was_made_with(scorer):
    frames = draw_noise(12)
    found = explain_clip(scorer, frames, ExplainConfig(budget=40))
    assert found.score == pytest.approx(float(scorer.predict(frames)["score"][0]), rel=1e-6)
    assert (found.clip_id, found.bundle, found.method, found.budget, found.frames) == (
        "[0]",
        "resmem",
        "occlusion",
        40,
        12,
    )
    assert found.duration == 12 / DECODE.fps
    assert found.unit == "score"
    assert found.find_peak().effect > 0
    assert found.features.values.shape == (1, 2)


def test_the_scorer_maps_all_that_it_scores_and_tells_why_not(scorer, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    good, bad, image = scorer.explain(
        [draw_noise(12), tmp_path / "text.mp4", draw_noise(1)[0]], ExplainConfig(budget=8)
    )
    assert isinstance(good, Explanation)
    assert isinstance(bad, Unexplained)
    assert bad.clip_id == str(tmp_path / "text.mp4")
    assert bad.reason.startswith("begins with b'no video'")
    assert image.is_image
    with pytest.raises(DecodeError, match=r"text\.mp4: begins with"):
        scorer.explain(tmp_path / "text.mp4", on_error="raise")
    with pytest.raises(ConfigError, match="on_error='skip'"):
        scorer.explain([], on_error="skip")


def test_a_clip_shorter_than_segments_has_fewer(scorer):
    found = explain_clip(scorer, draw_noise(2), ExplainConfig(segments=10))
    assert found.segments <= 2
    assert len({cell.part.start for cell in found.cells}) <= 2


def test_several_clips_are_not_one(scorer):
    with pytest.raises(ConfigError, match=r"a map is of one clip: got 2; call scorer\.explain for several"):
        explain_clip(scorer, [draw_noise(2), draw_noise(2)])


def test_user_provided_tiers_alone_have_nothing_to_hide(monkeypatch):
    with open_scorer(monkeypatch, make_bundle(tiers={"text": TEXT}), []) as opened:
        with pytest.raises(ConfigError, match=r"nothing to occlude: small sees captions or .* tiers alone \(text\)"):
            check_request(opened, ExplainConfig())
        with pytest.raises(ConfigError, match="nothing to occlude"):
            opened.explain(draw_noise(2), tiers={"text": {"text": np.zeros((1, 3)), "length": np.zeros(1)}})


def test_gradients_are_refused_where_there_are_none(scorer):
    with pytest.raises(ConfigError, match="method gradient: resmem of resmem has no gradient"):
        explain_clip(scorer, draw_noise(2), ExplainConfig(method="gradient"))


def test_both_methods_agree_on_a_network_without_interactions(monkeypatch):
    frames = draw_noise(12)
    with open_scorer(monkeypatch, make_tiny_bundle(), [TinyTier()]) as opened:
        gradient = explain_clip(opened, frames, ExplainConfig(method="gradient"))
        occlusion = explain_clip(opened, frames, ExplainConfig(budget=64, seeds=1, grid=2, segments=2))
    assert (gradient.method, gradient.evaluations, gradient.score) == ("gradient", 4, occlusion.score)

    def within(part):
        inside = [
            cell.effect
            for cell in gradient.cells
            if part.start <= (cell.part.start + cell.part.stop) / 2 < part.stop
            and part.top <= (cell.part.top + cell.part.bottom) / 2 < part.bottom
            and part.left <= (cell.part.left + cell.part.right) / 2 < part.right
        ]
        return sum(inside)

    coarse = [cell for cell in occlusion.cells if cell.part.area >= 1 / 4]
    effects = [(cell.effect, within(cell.part)) for cell in occlusion.cells]
    assert np.corrcoef(np.array(effects).T)[0, 1] > 0.6, coarse
    assert all(np.isfinite(cell.spread) for cell in occlusion.cells), "two runs"


def test_each_clip_has_its_own_user_provided_values(scorer):
    seen = []

    class Probe:
        def __init__(self, opened, provided):
            seen.append({name: values.tolist() for name, values in provided.items()})
            raise DecodeError("probe", "stop here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m3ray.scoring.explanations.explain.ScoreFunction", Probe)
        clips = [ClipInput(str(k), draw_noise(1)) for k in range(2)]
        assert len(list(explain_clips(scorer, clips, None, {"text/length": np.array([1.0, 2.0])}))) == 2
    assert seen == [{"text/length": [1.0]}, {"text/length": [2.0]}]
