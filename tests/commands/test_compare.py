"""`m3ray compare`, with a scorer whose network is made up: its score is the brightness of the frames."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from made_bundles import BrightnessScorer, make_bundle, make_pretrained
from PIL import Image

from m3ray.commands import score
from m3ray.commands.compare import check_options
from m3ray.commands.dispatch import main
from m3ray.commands.options import CompareOptions
from m3ray.errors import ConfigError
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring import scorer as scoring

GREYS = {"dark.png": 51, "light.png": 204, "grey.png": 102}


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """In the working folder: images of grey 51, 204 and 102 (scores 0.2, 0.8, 0.4), and a text."""
    monkeypatch.chdir(tmp_path)
    for name, grey in GREYS.items():
        Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(tmp_path / name)
    (tmp_path / "text.mp4").write_text("no video at all")
    monkeypatch.setattr(score, "find_spec", lambda _: True)
    use(monkeypatch, make_pretrained())
    return tmp_path


def use(monkeypatch, bundle):
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(
        scoring, "make_bundle_tiers", lambda _: (make_pretrained().metadata.configs, [BrightnessScorer()])
    )


@pytest.fixture
def calibrated(clips, monkeypatch):
    """A bundle whose score rises with brightness, with 200 calibration clips whose errors have deviation 0.05."""
    bundle = make_bundle((Block("resmem", ("resmem", "resmem_spread"), False),))
    model = StackedMLP(2, (), [0, 1]).eval()
    with np.errstate(all="ignore"):
        model.weights[0].data[:] = 0
        model.weights[0].data[:, 0, 0] = 4
        model.biases[0].data[:] = -2
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.2, 0.8, 200)
    calibration = np.stack([scores, scores + 0.05 * rng.standard_normal(200)]).astype(np.float32)
    bundle = replace(bundle, model=model, calibration=calibration)
    use(monkeypatch, bundle)
    return bundle


def test_two_clips_are_a_sentence(calibrated, capsys):
    assert main(["compare", "--bundle", "b", "dark.png", "light.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # 1 / (1 + exp(2 - 4 x)) of x = 0.8 and 0.2
    assert lines[0] == (
        "light.png is more memorable than dark.png: 0.769 against 0.231, by 0.537, with a probability of over 99 %"
    )
    assert "probabilities calibrated on val (200 clips)" in lines


def test_many_clips_are_a_ranked_table(calibrated, capsys):
    assert main(["compare", "--bundle", "b", "dark.png", "text.mp4", "light.png", "grey.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "clip", "score", "low", "high", "lead", ">", "next", "best"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["1", "light.png"],
        ["2", "grey.png"],
        ["3", "dark.png"],
        ["-", "text.mp4"],
    ]
    assert "begins with" in lines[4]


def test_nothing_can_be_said_of_clips_that_score_alike(calibrated, capsys, clips):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((32, 32, 3), 102, np.uint8)).save(clips / name)
    assert main(["compare", "--bundle", "b", "a.png", "b.png"]) == 0
    assert capsys.readouterr().out.startswith("cannot say which is ahead: a.png and b.png score alike, 0.401")
    assert main(["compare", "--bundle", "b", "a.png", "b.png", "light.png"]) == 0
    assert "cannot say who is ahead of rank 2 and the next one: under 60%" in capsys.readouterr().out


def test_a_pretrained_scorer_gives_an_order_alone(clips, capsys):
    assert main(["compare", "dark.png", "light.png"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("light.png scores higher than dark.png: 0.800 against 0.200, by 0.600\n")
    assert "no probabilities: it was not calibrated here" in out
    assert main(["compare", "."]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.split() == ["rank", "clip", "score", "lead"]


def test_json_and_csv_have_a_row_a_clip(calibrated, clips, capsys):
    assert main(["compare", "--bundle", "b", "--json", "--csv", "o.csv", "dark.png", "light.png", "text.mp4"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["rank"], row["clip_id"]) for row in rows] == [(1, "light.png"), (2, "dark.png"), (None, "text.mp4")]
    assert rows[0]["p_best"] + rows[1]["p_best"] == pytest.approx(1)
    assert rows[2]["reason"].startswith("begins with")
    written = list(csv.DictReader((clips / "o.csv").open()))
    assert [row["rank"] for row in written] == ["1", "2", ""]
    assert main(["compare", "--bundle", "b", "--csv", "-", "dark.png", "light.png"]) == 0
    assert capsys.readouterr().out.startswith("rank,clip_id,score,spread,low,high,lead,p_next,p_best,reason\n")


def test_one_clip_cannot_be_compared(clips, capsys):
    assert main(["compare", "dark.png", "text.mp4"]) == 1
    assert capsys.readouterr().err.endswith("error: 1 of 2 clips have a score: two or more can be compared\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": ()}, "nothing to compare: give two videos or more"),
        ({"what": ("a",), "json": True, "csv": "-"}, "--json and --csv - both write"),
        ({"what": ("a",), "csv": "no/such/o.csv"}, "there is no folder no/such"),
    ],
)
def test_mistakes_are_told_before_anything_is_opened(options, words):
    with pytest.raises(ConfigError, match=words):
        check_options(CompareOptions(**options))
