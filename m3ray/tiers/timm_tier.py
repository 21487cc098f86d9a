"""Any image model of timm as a tier: `timm:NAME`, pooled before its classifier, with its own transforms."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers.backbones.weights import read_file
from m3ray.tiers.library_tier import Library, LibraryTier, Preset, other_model

PREFIX = "timm:"
INSTALL = "pip install 'm3ray[timm]'"


def check_timm_model(model: str) -> None:
    """Check that timm is installed and has a model.

    Args:
        model: name to look up.
    Raises:
        ConfigError: If timm is not installed, or has none of this name; similar names are suggested.
    """
    if find_spec("timm") is None:
        raise ConfigError(f"{PREFIX}{model} needs timm: {INSTALL}")
    import timm

    known = timm.list_models(pretrained=False)
    if model.partition(".")[0] in known and ("." not in model or model in timm.list_pretrained()):
        return
    choices = [*known, *timm.list_pretrained()]
    architecture = model.partition(".")[0]
    near = difflib.get_close_matches(model, choices, 4) or difflib.get_close_matches(architecture, choices, 4)
    near = near or ["resnet50.a1_in1k", "vit_base_patch16_224.augreg_in21k"]
    raise ConfigError(f"{PREFIX}{model} is none of timm's {len(known)} models: did you mean {', '.join(near)}?")


def build_timm_model(model: str) -> Any:
    """Build a model with the layers that its published weights have, before they are loaded.

    Args:
        model: timm's name of the model.
    """
    import timm

    return timm.create_model(model, pretrained=False)


def assemble_timm_model(model: str, path: Path) -> Any:
    """Build a model with the weights of a file, which timm converts where it is older than its layers' names.

    Args:
        model: timm's name of the model.
        path: path of the weight file.
    Raises:
        WeightsError: If the file is damaged, or is one of another model.
    """
    import timm

    read_file(path)  # damaged files, and those that would run code, are told apart there
    try:
        return timm.create_model(model, True, pretrained_cfg_overlay={"file": str(path), "custom_load": False})
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:
        raise other_model(path, f"{PREFIX}{model}", error) from error


def remove_timm_classifier(network: nn.Module) -> nn.Module:
    """Take a model's classifier off, and leave its pooling as it is.

    Args:
        network: a model of timm; it is changed.
    Returns:
        `network`.
    """
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def read_timm_preset(model: str) -> Preset:
    """Read how a model wants its input.

    Args:
        model: timm's name of the model.
    Returns:
        Its transforms.
    """
    import timm
    from timm.data import resolve_data_config

    settings = resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(model).to_dict())
    height, width = settings["input_size"][1:]
    resized = [int(height / settings["crop_pct"]), int(width / settings["crop_pct"])]
    return Preset(resized, [height, width], settings["interpolation"], tuple(settings["mean"]), tuple(settings["std"]))


def timm_weights_url(model: str) -> str:
    """The URL of a model's published weights.

    Args:
        model: timm's name of the model.
    Returns:
        The address of the file.
    Raises:
        WeightsError: If none are published.
    """
    check_timm_model(model)
    import timm

    published = timm.models.get_pretrained_cfg(model)
    if published.hf_hub_id:
        file = published.hf_hub_filename or "model.safetensors"
        return f"https://huggingface.co/{published.hf_hub_id}/resolve/main/{file}"
    if published.url:
        return str(published.url)
    raise WeightsError(f"timm has no published weights of {model}: name a file with --weights FILE.json")


@dataclass
class TimmTier(LibraryTier):
    """The vector that the classifier of a model of timm would see.

    Args:
        model: timm's name of the model, with the tag of its weights where there are several.
    """

    library = Library(
        PREFIX, check_timm_model, build_timm_model, assemble_timm_model, remove_timm_classifier, read_timm_preset
    )

    @cached_property
    def width(self) -> int:
        """How many numbers its vector has."""
        with torch.device("meta"):
            network = build_timm_model(self.model)
        return int(getattr(network, "head_hidden_size", None) or network.num_features)
