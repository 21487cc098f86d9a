"""`m3ray explain`: with a pretrained scorer whose network is made up: its score is the contrast of the frames."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_bundles import TEXT, BrightnessScorer, make_bundle, make_pretrained
from PIL import Image
from small_maps import make_explanation, make_image_explanation

from m3ray.commands import score
from m3ray.commands.dispatch import main
from m3ray.commands.explain import check_options, describe_map
from m3ray.commands.options import ExplainCommandOptions
from m3ray.errors import ConfigError
from m3ray.scoring import scorer as scoring
from m3ray.tiers import WeightedValue
from m3ray.video.encode import encode_clip


class ContrastScorer(BrightnessScorer):
    """A scorer of contrast, which blurring takes away."""

    def compute(self, windows):
        return [
            {
                "resmem": WeightedValue(np.array(window.frames.std() / 255), len(window.frames)),
                "resmem_spread": WeightedValue(np.array(0.0), len(window.frames)),
            }
            for window in windows
        ]


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """In the working folder: a clip and an image of noise in the upper left, grey elsewhere, and a text."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frames = np.full((12, 64, 64, 3), 128, np.uint8)
    frames[:, :32, :32] = rng.integers(0, 2, (12, 8, 8, 1), np.uint8).repeat(4, 1).repeat(4, 2) * 255
    (tmp_path / "noise.mp4").write_bytes(encode_clip(frames, 6))
    Image.fromarray(frames[0]).save(tmp_path / "picture.png")
    (tmp_path / "text.mp4").write_text("no video at all")
    bundle = make_pretrained()
    monkeypatch.setattr(score, "find_spec", lambda _: True)
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, [ContrastScorer()]))
    return tmp_path


def test_lines_and_files_of_a_clip_and_an_image(clips, capsys):
    assert main(["explain", "noise.mp4", "picture.png", "text.mp4"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("noise.mp4: score 0.")
    assert lines[1].split()[:2][0] == "adds"
    box = re.search(r"\(x \d+-(\d+) %, y \d+-(\d+) %\)", lines[1])
    assert max(map(int, box.groups())) <= 50, "within the noise"
    assert lines[1].endswith(" s")
    assert "versions scored in" in said
    assert any(line.startswith("text.mp4: begins with") for line in lines)
    assert "1 of 3 clips have no map" in said
    written = sorted(path.name for path in (clips / "m3ray-maps").iterdir())
    assert written == ["noise-map.parquet", "noise-map.png", "noise-map.webp", "picture-map.parquet", "picture-map.png"]
    table = pq.read_table(clips / "m3ray-maps" / "picture-map.parquet")
    assert set(table["duration"].to_pylist()) == {0.0}


def test_json_is_a_row_a_clip_and_nothing_else(clips, capsys):
    assert (
        main(["explain", "--json", "--format", "png", "--out", "maps", "--budget", "16", "noise.mp4", "text.mp4"]) == 0
    )
    found, failed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert found["method"] == "occlusion"
    assert found["evaluations"] <= found["budget"] == 16
    part = found["adds"][0]
    assert part["effect"] > 0
    assert part["top"] < 0.5
    assert part["left"] < 0.5
    assert part["spread"] is None, "a pretrained scorer has no runs"
    assert found["files"] == ["maps/noise-map.png", "maps/noise-map.parquet"]
    assert failed == {"clip_id": "text.mp4", "score": None, "reason": failed["reason"]}
    assert "begins with" in failed["reason"]


def test_no_map_at_all_is_exit_status_1(clips, capsys):
    assert main(["explain", "text.mp4"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: no map of any of 1 clips: each has the reason"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to explain: give videos"),
        (["--budget", "0", "noise.mp4"], "budget 0 of a map"),
        (["--method", "gradient", "noise.mp4"], "method gradient: resmem of resmem has no gradient"),
        (["--out", "text.mp4", "noise.mp4"], "--out text.mp4: a file is there"),
        (["--out", "/proc/nope", "noise.mp4"], "--out /proc/nope: maps cannot be written there"),
        (["--out", "s3://bucket/maps", "noise.mp4"], "--out s3://bucket/maps: expected a folder of this machine"),
    ],
)
def test_requests_that_cannot_be_carried_out(clips, capsys, words, message):
    assert main(["explain", *words]) == 2
    assert message in capsys.readouterr().err


def test_user_provided_tiers_alone_are_told_at_once(clips, capsys, monkeypatch):
    bundle = make_bundle(tiers={"text": TEXT})
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, []))
    assert main(["explain", "--bundle", "b", "noise.mp4"]) == 2
    assert "nothing to occlude" in capsys.readouterr().err
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, [ContrastScorer()]))
    assert main(["explain", "--bundle", "b", "noise.mp4"]) == 2
    assert "small sees the user-provided tier text, which no file here gives" in capsys.readouterr().err


def test_clips_stay_as_they_are_where_maps_are_written_beside_them(clips, capsys):
    before = {path.name: path.read_bytes() for path in clips.iterdir()}
    for form in ("mp4", "webp"):
        words = ["explain", "picture.png", "noise.mp4", "--budget", "16", "--format", form, "--out", "."]
        assert main(words) == 0
        assert {name: (clips / name).read_bytes() for name in before} == before
    written = {path.name for path in clips.iterdir()} - set(before)
    endings = {"noise": ("png", "mp4", "webp", "parquet"), "picture": ("png", "parquet")}
    assert written == {f"{name}-map.{ending}" for name, kinds in endings.items() for ending in kinds}


def test_what_a_folder_passes_over_is_told_without_a_place_in_the_code(clips, capsys):
    (clips / "sound.wav").write_bytes(b"RIFF")
    (clips / "noise-map.png").write_bytes(b"")
    assert main(["explain", ".", "--out", "."]) == 2
    said = capsys.readouterr().err
    assert "passed over" in said
    assert "inputs.py" not in said


@pytest.mark.parametrize("what", ["clip", "text", "folder"])
def test_what_would_be_written_over_is_told_before_any_work(clips, capsys, monkeypatch, what):
    target = clips / "noise-map.png"
    picture = (clips / "picture.png").read_bytes()
    target.mkdir() if what == "folder" else target.write_bytes(picture)
    given = ["noise.mp4", "noise-map.png"] if what == "clip" else ["noise.mp4"]
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: pytest.fail("work was done"))
    assert main(["explain", *given, "--out", "."]) == 2
    lines = capsys.readouterr().err.splitlines()
    expected = "written over this clip" if what == "clip" else "is there, and no map of m3ray explain's"
    assert len(lines) == 1
    assert f"noise-map.png: {'a map would be ' if what == 'clip' else ''}{expected}" in lines[0]
    assert what == "folder" or target.read_bytes() == picture


def test_the_lines_of_a_map():
    lines = describe_map(make_explanation())
    assert lines[0] == "a/clip.mp4: score 0.750"
    assert lines[1] == "  adds  +0.020 ± 0.005  left (x 0-50 %, y 0-100 %), 0.0-1.0 s"
    assert lines[3] == "  takes -0.010  lower right (x 50-100 %, y 50-100 %), 1.0-2.0 s"
    assert describe_map(make_image_explanation())[2] == "  takes nothing"


def test_a_scorer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(score, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="ResMem is not installed"):
        check_options(ExplainCommandOptions(what=("a.mp4",)))
