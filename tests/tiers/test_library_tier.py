"""What tiers of libraries have in common, with a library of one small network; theirs are tested with each of them."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from m3ray.config import ImageNetworkConfig
from m3ray.errors import ConfigError
from m3ray.tiers import WeightSource, Window, average_windows
from m3ray.tiers.library_tier import Library, LibraryTier, Preset, other_model

PRESET = Preset([8], [4], "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Channels(nn.Module):
    """The mean of each channel, times a weight."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x.mean(dim=(2, 3)) * self.scale


def check(model):
    if model != "channels":
        raise ConfigError(f"no model {model}")


def assemble(model, path):
    network = Channels()
    network.scale.data.fill_(float(Path(path).read_text()))
    return network


class SmallTier(LibraryTier):
    library: ClassVar[Library] = Library(
        "small:", check, lambda model: Channels(), assemble, lambda network: network, lambda model: PRESET
    )
    width = 3


def test_a_model_is_built_assembled_and_fed_by_its_library(tmp_path):
    (tmp_path / "weights").write_text("2")
    tier = SmallTier(ImageNetworkConfig("float32"), WeightSource(str(tmp_path / "weights")), "channels")
    tier.setup(torch.device("cpu"))
    frame = np.full((1, 8, 8, 3), (51, 102, 204), np.uint8)
    found = average_windows(tier.compute([Window(frame)]))["channels"]
    np.testing.assert_allclose(found, [0.4, 0.8, 1.6], rtol=1e-6)  # twice the values over 255
    assert (tier.name, tier.column) == ("small:channels", "channels")
    assert tier.identity()["input"] == repr(PRESET)


def test_an_unknown_model_is_told_when_the_tier_is_made():
    with pytest.raises(ConfigError, match="no model other"):
        SmallTier(ImageNetworkConfig("float32"), WeightSource(seed=0), "other")


def test_a_file_of_another_model_is_one_line():
    error = other_model(Path("w.pth"), "small:channels", RuntimeError("size\nmismatch " + 400 * "x"))
    assert str(error).startswith("w.pth is not a file of small:channels: size mismatch")
    assert len(str(error)) < 450
