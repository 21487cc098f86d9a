"""A bundle as it is given to others."""

import hashlib
import json

import pytest
from made_bundles import TEXT, make_bundle
from made_cards import DIGEST, SCENE
from made_references import draw_features, make_compared_bundle

from m3ray.errors import BundleError, ConfigError
from m3ray.features.matrix import Block, Features
from m3ray.scoring.card.write import is_outdated, write_card
from m3ray.scoring.open_bundle import open_bundle
from m3ray.scoring.packed_bundle import pack_bundle
from m3ray.scoring.reference.train_reference import TrainReference
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.storage.zip_files import write_zip

SOURCES = {
    "scene": {"location": SCENE, "sha256": DIGEST, "seed": 0},
    "event": {"location": "/home/ada/weights/csn.pth", "sha256": DIGEST, "seed": 0},
    "resmem": {"location": "/home/ada/env/resmem/model.pt", "sha256": DIGEST, "seed": 0},
}


@pytest.fixture
def folder(tmp_path):
    make_bundle(tiers={"text": TEXT}, sources=SOURCES).save(Root(str(tmp_path)), "models", "small")
    return Root(str(tmp_path / "models" / "small"))


def test_its_files_go_along_with_a_card_and_without_paths_of_the_machine(folder, tmp_path, monkeypatch):
    folder.write_bytes(b"notes of mine", "notes.txt")
    packed = pack_bundle(folder)
    assert set(packed.files) == {"bundle.json", "model.safetensors", "README.md", "CITATION.cff"}
    assert (packed.name, packed.has_own_card, packed.local_weights) == ("small", False, ("csn.pth",))
    assert b"/home/ada" not in b"".join(packed.files.values())
    before, after = folder.read_json("bundle.json"), json.loads(packed.files["bundle.json"])
    locations = {tier: source["location"] for tier, source in after.pop("sources").items()}
    assert locations == {"scene": SCENE, "event": "csn.pth", "resmem": "model.pt"}
    assert after == {name: value for name, value in before.items() if name != "sources"}
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.zip").write_bytes(write_zip(packed.files))
    assert open_bundle(tmp_path / "small.zip").metadata.sources["event"]["location"] == "csn.pth"


def test_a_card_of_one_s_own_is_kept(folder):
    folder.write_bytes(b"# Mine", "README.md")
    packed = pack_bundle(folder)
    assert (packed.has_own_card, packed.files["README.md"]) == (True, b"# Mine")
    assert packed.files["CITATION.cff"].startswith(b"cff-version: 1.2.0")


def test_a_card_of_an_earlier_bundle_is_not_given_on(folder):
    folder.write_bytes(write_card(open_bundle(folder.uri)).text.encode(), "README.md")
    assert pack_bundle(folder).has_own_card
    make_bundle(tiers={"text": TEXT}).save(folder)
    with pytest.raises(ConfigError, match=r"README\.md is the card of an earlier bundle: m3ray card .* --overwrite"):
        pack_bundle(folder)


@pytest.mark.parametrize("has_card", [True, False])
def test_a_packed_bundle_can_be_packed_again_and_stays_as_it_is(folder, tmp_path, has_card):
    if has_card:
        folder.write_bytes(write_card(open_bundle(folder.uri)).text.encode(), "README.md")
    first = pack_bundle(folder)
    card, manifest = first.files["README.md"].decode(), first.files["bundle.json"]
    assert hashlib.sha256(manifest).hexdigest() in card
    assert not is_outdated(card, manifest)
    again = Root(str(tmp_path / "again"))
    for name, data in first.files.items():
        again.write_bytes(data, name)
    assert pack_bundle(again).files == first.files


@pytest.mark.parametrize(
    ("location", "expected", "is_local"),
    [
        ("file:///home/ada/w.pth", "w.pth", True),
        ("s3://private-bucket/lab/w.pth", "w.pth", True),
        ("https://ada:pw@host/lab/w.pth?token=abc#x", "https://host/lab/w.pth", False),
        ("https://host/lab/w.pth", "https://host/lab/w.pth", False),
    ],
)
def test_of_addresses_of_weights_only_public_ones_stay(tmp_path, location, expected, is_local):
    sources = {"event": {"location": location, "sha256": DIGEST, "seed": 0}}
    blocks = (Block("event", ("event_0",), False),)
    make_bundle(blocks, tiers={"event": TierEntry("event-1")}, sources=sources).save(Root(str(tmp_path)))
    packed = pack_bundle(Root(str(tmp_path)))
    assert json.loads(packed.files["bundle.json"])["sources"]["event"]["location"] == expected
    assert packed.local_weights == (("w.pth",) if is_local else ())
    every = b"".join(packed.files.values())
    assert expected.encode() in packed.files["README.md"]
    for word in (b"/home/ada", b"private-bucket", b"ada:pw", b"token=abc"):
        assert word not in every


def test_facts_of_the_data_have_no_path(tmp_path):
    make_bundle(tiers={"text": TEXT}, data={"dataset": "/home/ada/my set"}).save(Root(str(tmp_path)))
    packed = pack_bundle(Root(str(tmp_path)))
    assert json.loads(packed.files["bundle.json"])["data"] == {"dataset": "my set"}
    assert b"/home/ada" not in b"".join(packed.files.values())


def test_train_clips_whose_ids_are_paths_stand_by_the_names_of_their_files(tmp_path):
    drawn = draw_features(40, seed=1)
    ids = ("/home/ada/a/x.mp4", "s3://private/b/x.mp4", *drawn.clip_ids[2:])
    make_compared_bundle(Features(ids, drawn.values, drawn.blocks)).save(Root(str(tmp_path / "whole")))
    folder = Root(str(tmp_path / "whole"))
    packed = pack_bundle(folder)
    data, before = packed.files["train_reference.safetensors"], folder.read_bytes("train_reference.safetensors")
    assert (
        json.loads(packed.files["bundle.json"])["files"]["train_reference.safetensors"]
        == hashlib.sha256(data).hexdigest()
    )
    reference, old = TrainReference.from_bytes(data), TrainReference.from_bytes(before)
    assert reference.ids == ("x.mp4", "x-2.mp4", *drawn.clip_ids[2:])
    assert (reference.scores == old.scores).all()
    assert (reference.spaces["scene"].vectors == old.spaces["scene"].vectors).all()
    again = Root(str(tmp_path / "again"))
    for name, content in packed.files.items():
        again.write_bytes(content, name)
    assert open_bundle(again.uri).reference.load().ids == reference.ids
    assert b"/home/ada" not in b"".join(packed.files.values())
    assert pack_bundle(again).files == packed.files


def test_a_file_outside_the_folder_is_not_given_on(folder, tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"a secret")
    values = folder.read_json("bundle.json")
    values["files"]["../../secret.txt"] = hashlib.sha256(b"a secret").hexdigest()
    folder.write_json(values, "bundle.json")
    with pytest.raises(BundleError, match="expected names of files in its folder"):
        pack_bundle(folder)


def test_a_damaged_bundle_is_not_given_on(folder):
    folder.write_bytes(b"other numbers", "model.safetensors")
    with pytest.raises(BundleError, match="was changed since the bundle was written"):
        pack_bundle(folder)
