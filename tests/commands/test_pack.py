"""`m3ray pack`."""

import hashlib
import json
import zipfile

import pytest
from made_bundles import TEXT, make_bundle

from m3ray.commands.dispatch import main
from m3ray.commands.options import PackOptions
from m3ray.commands.pack import run
from m3ray.scoring.open_bundle import open_bundle
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE

SOURCES = {"event": {"location": "/home/ada/csn.pth", "sha256": None, "seed": 0}}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """A root `results` in the working folder, of a folder of clips, with a bundle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    root = Root(str(tmp_path / "results"))
    record = {"m3ray": 1, "dataset": "folder", "source": "/home/ada/clips", "settings": {}, "tiers": [], "real": None}
    root.write_json(record, RECORD_FILE)
    root.write_bytes(b'<img src="data:image/jpeg;base64,AAAA"> /home/ada/clips/a.mp4', "report", "index.html")
    make_bundle(tiers={"text": TEXT}, sources=SOURCES).save(root, "models", "small")
    return root


def test_a_bundle_opens_from_the_zip_and_its_hash_is_printed(tmp_path, capsys):
    assert main(["pack", "results/models/small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    digest = hashlib.sha256((tmp_path / "small.zip").read_bytes()).hexdigest()
    assert lines[0].startswith("written: small.zip, 5 files, 0.0 MiB")
    assert lines[1] == f"sha256: {digest}"
    assert lines[2].startswith("card: made now")
    assert lines[3].startswith("not in it: csn.pth")
    assert f"https://HOST/small.zip#sha256={digest}" in lines[4]
    assert open_bundle(f"small.zip#sha256={digest}").name == "small"


def test_a_root_s_zip_says_what_became_of_frames_and_paths(tmp_path, capsys):
    assert main(["pack", "results", "--out", "share/study.zip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("written: share/study.zip, 3 files")
    assert lines[2].startswith("left out: clips, catalogue, logs, trained weights, features")
    assert lines[3] == (
        "frames: 1 small picture of a clip taken out of the page, and Figure 5 left out; --frames keep leaves them, "
        "if the data set's terms let you"
    )
    assert lines[4].startswith("paths of this machine: ")
    with zipfile.ZipFile(tmp_path / "share" / "study.zip") as archive:
        assert archive.namelist() == ["SHA256SUMS", "dataset.json", "report/index.html"]
        assert json.loads(archive.read("dataset.json"))["source"] == "clips"


def test_the_same_root_gives_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        assert run(PackOptions(what="results", out=name)) == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_frames_that_one_keeps_are_told(capsys):
    assert main(["pack", "results", "--frames", "keep"]) == 0
    assert "frames: the page shows 1 small picture of a clip; --frames remove" in capsys.readouterr().out


def test_a_file_that_is_there_stays_unless_one_says_so(tmp_path, capsys):
    (tmp_path / "results.zip").write_text("mine")
    assert main(["pack", "results"]) == 2
    assert "results.zip is there already: --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "results.zip").read_text() == "mine"
    assert main(["pack", "results", "--overwrite"]) == 0
    assert zipfile.is_zipfile(tmp_path / "results.zip")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: m3ray pack: WHAT is missing: A bundle's folder"),
        (["nowhere"], "holds neither a report nor a study"),
        ([""], "nothing to pack: give a bundle's folder, or the root of a job"),
        (["/"], "/ holds neither a report nor a study"),
        (["results", "--out", ""], "--out is empty: expected the name of a .zip"),
        (["resmem"], "comes in a package of its authors'"),
        (["results", "--out", "a.tar"], "expected the name of a .zip"),
        (["results/models/small", "--features"], "--features and --frames are for roots"),
    ],
)
def test_what_cannot_be_packed_is_one_line(tmp_path, capsys, words, message):
    assert main(["pack", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip"))


def test_a_zip_goes_to_s3_and_opens_from_there(s3, capsys):
    s3.create_bucket(Bucket="zips")
    assert main(["pack", "results/models/small", "--out", "s3://zips/small.zip"]) == 0
    digest = capsys.readouterr().out.splitlines()[1].removeprefix("sha256: ")
    assert open_bundle(f"s3://zips/small.zip#sha256={digest}").name == "small"
