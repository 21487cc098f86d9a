"""`bundle.json` as dataclasses: the same bytes out as in, older files understood, damaged ones told."""

import json

import pytest

from m3ray.config import TierConfigs, as_json
from m3ray.errors import BundleError
from m3ray.features.matrix import Block
from m3ray.features.target import Target
from m3ray.scoring.bundle_metadata import FORMAT, BundleManifest, BundleMetadata, read_manifest, select_sources
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry

# The order of its keys is that of bundles made before there were dataclasses for them.
WHOLE = {
    "variant": {"name": "M3-S", "tiers": ["raw", "text"]},
    "seeds": [0, 1],
    "tiers": {
        "raw": {"folder": "raw-1", "untrained": False, "identity": {"tier": "raw", "code": 1}},
        "text": {
            "folder": "text-1",
            "untrained": False,
            "brought": True,
            "scaled": True,
            "identity": {"columns": {"text": 3}},
        },
        "tuned:scene": {"folder": None, "untrained": True, "identity": {"tier": "tuned:scene"}},
    },
    "configs": as_json(TierConfigs()),
    "sources": {"scene": {"location": None, "sha256": None, "seed": 0}},
    "decay": None,
    "untrained": True,
    "trained_on": {"train_clips": 73, "mean_score": 0.65},
    "data": {"dataset": "demo", "split": {"seed": 0}},
    "versions": {"python": "3.11.7"},
    "environments": {"raw": [{"torch": "2.0"}, None]},
    "made_by": "reproduce",
    "target": {"name": "alpha", "low": -0.5, "high": 0.25},
    "dropped_runs": [2],
    "calibrated_on": "train, 5 folds",
    "format": 1,
    "name": "m3s",
    "blocks": [{"tier": "raw", "names": ["brightness"], "scaled": True}],
    "files": {"model.safetensors": "00ff"},
    "networks": {"tuned-scene.safetensors": "ff00"},
}


def write(folder, values):
    (folder / "bundle.json").write_text(json.dumps(values))
    return Root(str(folder))


def test_a_file_is_written_as_it_was_read_byte_by_byte(tmp_path):
    root = write(tmp_path, {})
    root.write_json(WHOLE, "bundle.json")
    before = root.read_bytes("bundle.json")
    root.write_json(read_manifest(root).as_json(), "bundle.json")
    assert root.read_bytes("bundle.json") == before


def test_what_a_file_says_is_told_by_fields(tmp_path):
    manifest = read_manifest(write(tmp_path, WHOLE))
    metadata = manifest.metadata
    assert manifest.blocks == (Block("raw", ("brightness",), True),)
    assert list(metadata.user_provided) == ["text"]
    assert metadata.computed_tiers == ["raw", "tuned:scene"]
    assert metadata.tiers["tuned:scene"] == TierEntry("", untrained=True, identity={"tier": "tuned:scene"})
    assert metadata.configs == TierConfigs()
    assert (metadata.decay, metadata.seeds, metadata.made_by) == (None, [0, 1], "reproduce")


def test_a_target_is_the_score_unless_the_file_says_another(tmp_path):
    assert read_manifest(write(tmp_path, WHOLE)).metadata.units == Target("alpha", -0.5, 0.25)
    assert read_manifest(write(tmp_path, {**WHOLE, "target": None})).metadata.units == Target()


def test_what_an_older_version_did_not_write_is_none_and_stays_out(tmp_path):
    names = ("name", "blocks", "files", "tiers", "configs", "sources", "untrained")
    older = {name: WHOLE[name] for name in names}
    manifest = read_manifest(write(tmp_path, older))
    assert (manifest.networks, manifest.metadata.environments, manifest.metadata.versions) == ({}, None, None)
    added = {"format": 1, "networks": {}, "decay": None}
    assert manifest.as_json() == older | added


def test_a_setting_that_came_later_takes_its_default(tmp_path):
    configs = {**WHOLE["configs"], "decode": {"fps": 5.0}, "gone": {"x": 1}}
    metadata = read_manifest(write(tmp_path, {**WHOLE, "configs": configs})).metadata
    assert (metadata.configs.decode.fps, metadata.configs.decode.size) == (5.0, TierConfigs().decode.size)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**WHOLE, "format": 3}, "has format 3, this m3ray reads up to 2: upgrade m3ray"),
        ({name: value for name, value in WHOLE.items() if name != "tiers"}, "lacks tiers: copy the bundle anew"),
        ([WHOLE], "lacks name, blocks, files"),
        ({**WHOLE, "tiers": ["raw"]}, "is damaged"),
        ({**WHOLE, "tiers": {"raw": {}}}, "is damaged"),
        ({**WHOLE, "blocks": [{"tier": "raw"}]}, "is damaged"),
    ],
)
def test_a_file_that_cannot_be_understood_is_told(tmp_path, values, words):
    with pytest.raises(BundleError, match=words):
        read_manifest(write(tmp_path, values))


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd", "a/b", "..\\x", "C:x", "..", ""])
@pytest.mark.parametrize("key", ["files", "networks"])
def test_files_outside_its_folder_are_not_opened(tmp_path, key, name):
    with pytest.raises(BundleError, match=r"bundle\.json names a file .*expected names of files in its folder"):
        read_manifest(write(tmp_path, {**WHOLE, key: {name: "00ff"}}))


def test_no_file_and_half_a_file_are_told(tmp_path):
    with pytest.raises(BundleError, match="no bundle at"):
        read_manifest(Root(str(tmp_path)))
    (tmp_path / "bundle.json").write_text(json.dumps(WHOLE)[:-30])
    with pytest.raises(BundleError, match="is damaged or cut short"):
        read_manifest(Root(str(tmp_path)))


def test_what_is_no_folder_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BundleError, match=r"no bundle at .*/a\.txt: it is a file, expected a folder with bundle\.json"):
        read_manifest(Root(str(tmp_path / "a.txt")))
    with pytest.raises(BundleError, match=r"no bundle at /: expected a folder with bundle\.json, as m3ray train"):
        read_manifest(Root("/"))


def test_weights_are_those_of_the_tiers_and_of_what_similarity_compares():
    sources = {name: {"location": name} for name in ("resmem", "scene", "event", "timm:a")}

    def select(*names, compared=None, provided=False):
        identity = {"tier": "similarity"} if compared is None else {"tier": "similarity", "sources": compared}
        entries = {name: TierEntry(name, identity=identity, user_provided=provided) for name in names}
        return list(select_sources(BundleMetadata(False, entries, sources=sources), names))

    assert select("raw", "scene") == ["scene"]
    assert select("resmem", "tuned:event") == ["resmem", "event"], "a finetuned network began with the weights of event"
    assert select("similarity", compared=["event", "timm:a"]) == ["event", "timm:a"]
    assert select("raw", "similarity", compared=["tuned:scene"]) == ["scene"]
    assert select("similarity") == ["scene", "event"], "an older m3ray did not note it: its settings say what"
    assert select("similarity", provided=True) == [], "a user's own numbers"
    assert list(select_sources(BundleMetadata(False, sources=sources), ["timm:a"])) == ["timm:a"]


def test_a_manifest_of_a_new_bundle_has_all_keys():
    known = {name: {} for name in ("variant", "trained_on", "data", "versions", "environments")}
    known["target"] = {"name": "alpha"}
    metadata = BundleMetadata(False, seeds=[0], made_by="train", dropped_runs=[], calibrated_on="val", **known)
    assert list(BundleManifest("m", metadata, (), {}).as_json()) == list(WHOLE)


def test_blocks_of_an_older_bundle_come_in_the_order_that_its_model_was_trained_with():
    """It wrote them as the root holds them: raw, text, similarity; its model saw raw, similarity, text."""
    blocks = [{"tier": name, "names": [f"{name}0"], "scaled": False} for name in ("raw", "text", "similarity")]
    values = {**WHOLE, "blocks": blocks, "variant": {"tiers": ["raw", "similarity", "text"]}}
    assert [block.tier for block in BundleManifest.from_json(values).blocks] == ["raw", "similarity", "text"]
    tuned = {**values, "variant": {"tiers": ["raw", "scene", "similarity"]}}
    assert [block.tier for block in BundleManifest.from_json(tuned).blocks] == ["raw", "text", "similarity"]


def test_the_order_is_the_variant_s_and_not_that_of_the_alphabet():
    blocks = [{"tier": name, "names": [f"{name}0"], "scaled": False} for name in ("raw", "text", "similarity")]
    values = {**WHOLE, "blocks": blocks, "variant": {"tiers": ["text", "similarity", "raw"]}}
    assert [block.tier for block in BundleManifest.from_json(values).blocks] == ["text", "similarity", "raw"]


def test_a_bundle_of_this_version_opens_and_a_newer_one_does_not(tmp_path):
    root = write(tmp_path, {**WHOLE, "format": FORMAT})
    assert read_manifest(root).name == WHOLE["name"]
    write(tmp_path, {**WHOLE, "format": FORMAT + 1})
    with pytest.raises(BundleError, match="upgrade m3ray"):
        read_manifest(root)
