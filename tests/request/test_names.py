"""Names on a command line: tiers, measures, folders, files of weights; torch is not asked."""

import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import ConfigError, WeightsError
from m3ray.request.checks import check_request
from m3ray.request.names import (
    OWN_TIERS,
    check_measure,
    check_name,
    check_tiers,
    check_vectors,
    is_computed,
    list_clip_models,
    list_timm_models,
    list_torchvision_models,
)
from m3ray.tiers.pretrained.facts import SCORERS


def test_light_names_are_those_of_the_heavy_modules():
    from torchvision import models

    from m3ray.tiers.factory import TIERS

    assert [name for name in TIERS if ":" not in name] == [*OWN_TIERS, *SCORERS]
    known = {*models.list_models(module=models), *models.list_models(module=models.video)}
    assert list_torchvision_models() == known


def test_weights_of_a_file_are_looked_for(tmp_path):
    weights = tmp_path / "weights.json"
    options = ExtractOptions(out=str(tmp_path / "o"), tiers=("scene",), weights=str(weights))
    weights.write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        check_request(options)
    weights.write_text("[]")
    with pytest.raises(ConfigError, match="expected an object"):
        check_request(options)
    weights.write_text('{"event": "e.pth"}')
    with pytest.raises(ConfigError, match="names no weights for scene; it has event"):
        check_request(options)
    weights.write_text('{"scene": "s.pth"}')
    with pytest.raises(WeightsError, match=f"no weight file for scene at {tmp_path}/s.pth"):
        check_request(options)
    (tmp_path / "s.pth").write_bytes(b"x")
    assert check_request(options).options.weights == str(weights)


@pytest.mark.parametrize(
    ("tier", "computed"),
    [
        ("raw", True),
        ("event", True),
        ("torchvision:resnet18", True),
        ("timm:resnet18", True),
        ("clip:ViT-B-32.openai", True),
        ("resmem", True),
        ("tuned:scene", True),
        ("similarity", False),
        ("text", False),
        ("torchvisions", False),
    ],
)
def test_computed_tiers_are_told_by_their_names(tier, computed):
    assert is_computed(tier) is computed


def test_a_tier_is_computed_or_there_already():
    check_tiers(["raw", "text", "similarity", "torchvision:resnet18"], also=("text", "similarity"))
    with pytest.raises(ConfigError, match=r"unknown tier text, smell: choose from raw, .*, torchvision:NAME"):
        check_tiers(["raw", "text", "smell"])
    with pytest.raises(ConfigError, match=r"torchvision:resnet-50 is none of torchvision's .* did you mean resnet50"):
        check_tiers(["torchvision:resnet-50"])


@pytest.mark.parametrize(
    ("library", "listed", "tier", "message"),
    [
        ("timm", list_timm_models, "timm:resnet19.a1_in1k", r"is none of timm's \d+ models: did you mean resnet18"),
        ("open_clip", list_clip_models, "clip:ViT-B-33.openai", r"is none of open_clip's .*: did you mean ViT-B-32"),
    ],
)
def test_a_library_s_models_are_known_without_importing_it(library, listed, tier, message):
    package = pytest.importorskip(library, reason=f"{library} is not installed")
    assert listed() == set(package.list_models())
    with pytest.raises(ConfigError, match=f"{tier} {message}"):
        check_tiers([tier])


def test_a_measure_is_one_of_the_table_s():
    check_measure(None)
    check_measure("kde")
    with pytest.raises(ConfigError, match="unknown measure 'kd': choose from fractional_mean"):
        check_measure("kd")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 81, "ünicode"])
def test_a_name_that_makes_no_plain_folder_is_told(name):
    with pytest.raises(ConfigError, match="expected letters, digits"):
        check_name(name)


def test_a_reserved_name_is_told_and_others_pass():
    check_name("m3s-2.1_x", reserved=("ablation",))
    check_name("x" * 80)
    with pytest.raises(ConfigError, match="'ablation' is kept for the study's own tables"):
        check_name("ablation", reserved=("ablation",))


def test_networks_are_trained_where_the_model_sees_one():
    check_vectors(["raw"], "none")
    check_vectors(["raw", "event"], "small")
    with pytest.raises(ConfigError, match="the model sees raw, similarity: no scene and no event to train"):
        check_vectors(["raw", "similarity"], "small")


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        ("timm:resnet18", r"timm:resnet18 needs timm: pip install 'm3ray\[timm\]'"),
        ("clip:ViT-B-32.openai", r"needs open_clip: pip install 'm3ray\[clip\]'"),
        ("resmem", r"ResMem is not installed: pip install 'm3ray\[resmem\]' \(.*noncommercial"),
        ("vitmem", r"ViTMem is not installed: pip install 'm3ray\[vitmem\]'"),
    ],
)
def test_what_is_not_installed_is_said_with_the_command_that_installs_it(tier, message, monkeypatch):
    monkeypatch.setattr("m3ray.request.names.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        check_tiers([tier])
