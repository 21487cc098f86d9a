"""`m3ray score`: with a pretrained scorer whose network is made up: its score is the brightness of the frames."""

import csv
import json
import sys

import numpy as np
import pytest
from made_bundles import BrightnessScorer, make_pretrained
from PIL import Image

from m3ray.commands import score
from m3ray.commands.dispatch import main
from m3ray.commands.options import ScoreOptions
from m3ray.commands.score import check_options, sort_rows
from m3ray.errors import ConfigError
from m3ray.scoring import scorer as scoring
from m3ray.video.encode import encode_clip

DARK, LIGHT = "dark #1 50%.mp4", "light.mp4"


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """In the working folder: clips of grey 51 and 204 (scores 0.2 and 0.8), an image of grey 102 (0.4), a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v").mkdir()
    for name, grey in ((DARK, 51), (LIGHT, 204)):
        (tmp_path / "v" / name).write_bytes(encode_clip(np.full((30, 64, 64, 3), grey, np.uint8), 15))
    Image.fromarray(np.full((64, 64, 3), 102, np.uint8)).save(tmp_path / "v" / "grey.png")
    (tmp_path / "text.mp4").write_text("no video at all")
    bundle = make_pretrained()
    monkeypatch.setattr(score, "find_spec", lambda _: True)
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, [BrightnessScorer()]))
    return tmp_path


def test_a_table_in_the_order_given_and_what_one_must_know_below(clips, capsys):
    assert main(["score", f"v/{LIGHT}", "text.mp4", f"v/{DARK}", "http://localhost:9/x.mp4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["clip", "score", "spread", "seconds"]
    assert [line[:8] for line in lines[1:5]] == ["v/light.", "text.mp4", "v/dark #", "http://l"]
    assert float(lines[1].split()[1]) == pytest.approx(0.8, abs=0.01)  # 204 / 255, through a lossy codec
    assert " -  " in lines[2]
    assert " -  " in lines[4]
    below = "\n".join(lines[5:])
    assert "ResMem: trained elsewhere on images of LaMem and MemCat" in below
    assert "not calibrated" in below
    assert "noncommercial" in below
    assert "2 of 4 clips have no score" in below


@pytest.mark.parametrize("what", [["v"], ["v/*.*"], [f"v/{DARK}", "v/grey.png", f"v/{LIGHT}"]])
def test_folders_patterns_and_names(clips, capsys, what):
    assert main(["score", "--json", *what]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["clip_id"] for row in rows] == [f"v/{DARK}", "v/grey.png", f"v/{LIGHT}"]
    assert [row["score"] for row in rows] == pytest.approx([0.2, 0.4, 0.8], abs=0.01)
    assert all(row["reason"] is None and row["low"] is None for row in rows)


def test_sorted_the_most_memorable_is_first_and_failures_last(clips, capsys):
    assert main(["score", "--sort", "--json", "text.mp4", "v"]) == 0
    rows = [json.loads(line)["clip_id"] for line in capsys.readouterr().out.splitlines()]
    assert rows == [f"v/{LIGHT}", "v/grey.png", f"v/{DARK}", "text.mp4"]


def test_csv_into_a_file_beside_the_table_or_alone_on_standard_output(clips, capsys):
    assert main(["score", "--csv", "o.csv", f"v/{LIGHT}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "written: o.csv"
    (row,) = csv.DictReader((clips / "o.csv").open())
    assert main(["score", "--csv", "-", f"v/{LIGHT}"]) == 0
    (same,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert {**row, "seconds": ""} == {**same, "seconds": ""}


def test_over_time_there_is_a_row_a_window(clips, capsys):
    assert main(["score", "--over-time", "--json", f"v/{DARK}", "text.mp4"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(rows[0]) == {"clip_id", "time", "score", "reason"}
    assert [row["score"] for row in rows[:-1]] == pytest.approx([0.2] * (len(rows) - 1), abs=0.01)
    assert rows[-1]["clip_id"] == "text.mp4"
    assert rows[-1]["reason"]


def test_no_score_at_all_is_1(clips, capsys):
    (clips / "empty").mkdir()
    assert main(["score", "text.mp4", "empty", "none/*.mp4"]) == 1
    output = capsys.readouterr()
    assert output.err == "error: no score for any of 3 clips: each row has the reason\n"
    assert output.out.count(" -  ") == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ScoreOptions(what=()), "nothing to score"),
        (ScoreOptions(what=("a",), json=True, csv="-"), "both write on standard output"),
        (ScoreOptions(what=("a",), csv="no/such/folder/o.csv"), "there is no folder no/such/folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_loaded(options, expected):
    with pytest.raises(ConfigError, match=expected):
        check_options(options)


def test_without_the_package_the_line_is_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr(score, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "m3ray.scoring.scorer", None)  # nothing heavy is imported for that
    assert main(["score", "a.mp4"]) == 2
    assert capsys.readouterr().err == "error: ResMem is not installed: pip install 'm3ray[resmem]'\n"


def test_equal_scores_stay_in_the_order_given():
    rows = [{"score": 0.5, "reason": None, "k": k} for k in range(3)]
    assert sort_rows(rows) == rows
