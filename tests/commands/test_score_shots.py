"""`m3ray score --by shots`: a row a shot, and the best as files; the network is made up, its score the brightness."""

import json
import re

import numpy as np
import pytest
from made_bundles import BrightnessScorer, make_pretrained

import m3ray
from m3ray.commands import score
from m3ray.commands.dispatch import main
from m3ray.commands.options import ScoreOptions
from m3ray.commands.score_shots import ShotScoring, check_shot_options, describe_exported
from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError
from m3ray.scoring import scorer as scoring
from m3ray.scoring.inputs import ClipInput
from m3ray.video.encode import encode_clip
from m3ray.video.shots.file_names import name_shot


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A clip of a second of dark grey, one of light grey and one of black, 15 frames each: scores 0.2, 0.8, 0."""
    monkeypatch.chdir(tmp_path)
    frames = np.repeat(np.array([51, 204, 0], np.uint8), 15)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    (tmp_path / "film.mp4").write_bytes(encode_clip(frames, 15))
    bundle = make_pretrained()
    monkeypatch.setattr(score, "find_spec", lambda _: True)
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, [BrightnessScorer()]))
    return tmp_path


def test_a_row_a_shot_and_the_best_ones_as_files(clip, capsys):
    assert main(["score", "film.mp4", "--over-time", "--by", "shots", "--sort", "--export-shots", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["clip", "shot", "from", "to", "score"]
    assert [line.split()[1:4] for line in lines[1:4]] == [
        ["1", "1.00", "2.00"],
        ["0", "0.00", "1.00"],
        ["2", "2.00", "3.00"],
    ]
    assert [float(line.split()[4]) for line in lines[1:4]] == pytest.approx([0.8, 0.2, 0], abs=0.02)
    names = sorted(path.name for path in (clip / "m3ray-shots").iterdir())
    assert names == [name_shot("film.mp4", 0, 0, 1, ".mp4"), name_shot("film.mp4", 1, 1, 2, ".mp4")]
    assert re.match(rf"1\. 0\.(79|80)\d film\.mp4 1\.00-2\.00 s: m3ray-shots/{re.escape(names[1])} ", lines[-2])
    before = (clip / "m3ray-shots" / names[0]).read_bytes()
    assert main(["score", "--json", "film.mp4", "--export-shots", "1"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [(row["shot"], row["start"], row["end"]) for row in rows] == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]
    assert "was there already, and stays" in captured.err
    assert (clip / "m3ray-shots" / names[0]).read_bytes() == before


def test_files_of_one_stem_and_a_file_given_twice(clip, capsys):
    (clip / "film.mov").write_bytes((clip / "film.mp4").read_bytes())
    given = ["film.mp4", "film.mov", "film.mp4", str(clip)]
    assert main(["score", "--json", *given, "--export-shots", "9"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6, "three shots each of two files"
    assert not [line for line in lines if "not written" in line or "there already" in line]
    for name in ("film.mp4", "film.mov"):
        mine = {line.split(": ")[1].split(" (")[0] for line in lines if f" {name} " in line}
        stems = {"m3ray-shots/" + name_shot(name, shot, shot, shot + 1, "") for shot in range(3)}
        assert {path.rpartition(".")[0] for path in mine} == stems
    assert len(list((clip / "m3ray-shots").iterdir())) == 6


def test_a_film_of_a_thousand_cuts(clip):
    """Slides of a second each, whose greys are far apart; the best are those of the brightest grey."""
    greys = np.tile(np.array([20, 120, 220, 70, 170], np.uint8), 201)[:1001]
    data = encode_clip(greys[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8), 1)
    with m3ray.load("resmem") as scorer:
        shots = ShotScoring(scorer, SlidingWindowConfig(by="shots"))
        rows = shots.score(ClipInput("slides.mp4", data))
        exported = shots.export(3, "best")
    assert [row["start"] for row in rows] == list(range(1001))
    np.testing.assert_allclose([row["score"] for row in rows], greys / 255, atol=0.02)
    assert all(row["shot"] % 5 == 2 and row["reason"] is None for row in exported)


def test_a_clip_that_cannot_be_scored_is_a_row_with_its_reason(clip, capsys):
    (clip / "text.mp4").write_text("no video at all")
    assert main(["score", "--json", "--by", "shots", "text.mp4", "missing.mp4"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["clip_id"] for row in rows] == ["text.mp4", "missing.mp4"]
    assert all(row["reason"] and row["shot"] is None for row in rows)


def test_what_cannot_be_is_told_before_anything_is_scored(tmp_path):
    with pytest.raises(ConfigError, match="expected at least 1"):
        check_shot_options(ScoreOptions(what=("a",), export_shots=0))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file: give a folder"):
        check_shot_options(ScoreOptions(what=("a",), export_shots=1, out_folder=str(tmp_path / "file")))


def test_a_file_that_could_not_be_written_is_told():
    row = {"rank": 1, "score": 0.5, "clip_id": "a\x1b.mp4", "start": 0.0, "end": 1.0, "file": None, "how": None}
    assert describe_exported([{**row, "reason": "damaged"}]) == [
        r"1. 0.500 a\x1b.mp4 0.00-1.00 s: not written: damaged"
    ]
