"""`m3ray card`."""

import pytest
import yaml
from made_bundles import TEXT, make_bundle, make_pretrained

from m3ray.commands import score
from m3ray.commands.card import split_file
from m3ray.commands.dispatch import main
from m3ray.scoring import open_bundle as opening
from m3ray.storage.root import Root
from m3ray.storage.zip_files import write_zip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A bundle's folder `small` in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "small")
    return tmp_path / "small"


def test_the_card_goes_into_the_bundle_s_folder_with_its_citation(folder, capsys):
    assert main(["card", "small", "--licence", "CC-BY-4.0", "--author", "Ada Lovelace", "Plato"]) == 0
    assert capsys.readouterr().out == "written: small/README.md, and CITATION.cff beside it\n"
    assert "Made by Ada Lovelace, Plato. Licence: CC-BY-4.0." in (folder / "README.md").read_text()
    assert yaml.safe_load((folder / "CITATION.cff").read_text())["license"] == "CC-BY-4.0"


def test_a_card_that_is_there_stays_unless_one_says_so(folder, capsys):
    (folder / "README.md").write_text("by hand")
    assert main(["card", "small"]) == 2
    assert "README.md is there already: --overwrite replaces it; or give another --out" in capsys.readouterr().err
    assert (folder / "README.md").read_text() == "by hand"
    assert not (folder / "CITATION.cff").exists()
    assert main(["card", "small", "--overwrite"]) == 0
    assert (folder / "README.md").read_text().startswith("---\n")


def test_it_is_printed_or_goes_where_one_says(tmp_path, capsys):
    assert main(["card", "small", "--out", "-"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nlibrary_name: m3ray")
    assert main(["card", "small", "--out", "cards/small.md"]) == 0
    assert (tmp_path / "cards" / "small.md").read_text() == text
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["small.cff", "small.md"]


def test_the_citation_of_a_card_elsewhere_has_the_card_s_name(tmp_path, capsys):
    """The working folder may be that of a project, whose CITATION.cff is its own."""
    (tmp_path / "CITATION.cff").write_text("the project's")
    assert main(["card", "small", "--out", "cc", "--overwrite"]) == 0
    assert capsys.readouterr().out == "written: cc, and cc.cff beside it\n"
    assert (tmp_path / "CITATION.cff").read_text() == "the project's"
    assert yaml.safe_load((tmp_path / "cc.cff").read_text())["title"].startswith("small")
    assert main(["card", "small", "--out", "cc"]) == 2
    assert "cc is there already: --overwrite replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "cards/"], "--out cards/: expected the name of a file"),
        (["--out", ""], "--out is empty: expected the name of a file"),
        (["--out", "small.cff"], "--out small.cff: that is the name of its citation: give the card another ending"),
        (["--author", "Ada", ""], "--author: got an empty name, expected one such as 'Ada Lovelace'"),
        (["--author", " "], "--author: got an empty name"),
        (["--licence", ""], "--licence is empty, expected one such as CC-BY-4.0"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_bundle_is_opened(tmp_path, capsys, words, message):
    assert main(["card", "none", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("**/*.cff"))


def test_what_has_no_folder_is_printed(tmp_path, folder, capsys, monkeypatch):
    (tmp_path / "small.zip").write_bytes(write_zip({file.name: file.read_bytes() for file in folder.iterdir()}))
    assert main(["card", "small.zip"]) == 0
    assert "# small: how memorable a video is" in capsys.readouterr().out
    monkeypatch.setattr(score, "find_spec", lambda _: True)
    monkeypatch.setattr(opening, "load_pretrained", lambda name, **_: make_pretrained(name))
    assert main(["card", "resmem"]) == 0
    assert "**Noncommercial use only.**" in capsys.readouterr().out
    assert main(["card", "resmem", "--licence", "MIT"]) == 2
    assert "was made by others, who chose its licence" in capsys.readouterr().err


def test_a_card_of_a_bundle_in_s3_goes_there(s3, capsys):
    s3.create_bucket(Bucket="cards")
    make_bundle(tiers={"text": TEXT}).save(Root("s3://cards"), "models", "small")
    assert main(["card", "s3://cards/models/small"]) == 0
    assert "written: s3://cards/models/small/README.md" in capsys.readouterr().out
    assert Root("s3://cards/models/small").read_bytes("README.md").startswith(b"---\n")


def test_what_is_no_bundle_is_one_line(tmp_path, capsys):
    (tmp_path / "video.mp4").write_bytes(b"x")
    assert main(["card", "video.mp4"]) == 1
    assert "error: no bundle at " in (told := capsys.readouterr().err)
    assert "it is a file, expected a folder with bundle.json, as m3ray train writes it" in told
    assert main(["card", ""]) == 2
    assert "the bundle's name is empty" in capsys.readouterr().err
    assert main(["card"]) == 2
    assert capsys.readouterr().err.startswith("error: m3ray card: BUNDLE is missing: A bundle's folder or zip")
    assert main(["card", "none"]) == 1
    assert capsys.readouterr().err.startswith("error: no bundle at ")
    assert main(["card", "https://host/m3s.zip"]) == 2
    assert "needs its hash, got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.md", (".", "a.md")),
        ("x/a.md", ("x", "a.md")),
        ("/a.md", ("/", "a.md")),
        ("s3://b/k/a.md", ("s3://b/k", "a.md")),
    ],
)
def test_a_path_is_split_into_folder_and_name(path, expected):
    assert split_file(path) == expected
