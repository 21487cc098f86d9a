"""Any image encoder of open_clip as a tier: `clip:NAME`, its embedding of an image, with its own transforms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
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

PREFIX = "clip:"
INSTALL = "pip install 'm3ray[clip]'"
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class _Encoder(nn.Module):
    """An image encoder that gives its embedding alone.

    Args:
        encoder: the encoder, some of which give tokens too.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.encoder(x)
        return found[0] if isinstance(found, tuple) else found


def _split(model: str) -> tuple[str, str | None]:
    architecture, _, weights = model.partition(".")
    return architecture, weights or None


def check_clip_model(model: str) -> None:
    """Check that open_clip is installed and has a model and its weights.

    Args:
        model: name to look up.
    Raises:
        ConfigError: If open_clip is not installed, or has none of this name; similar names are suggested.
    """
    if find_spec("open_clip") is None:
        raise ConfigError(f"{PREFIX}{model} needs open_clip: {INSTALL}")
    import open_clip

    architectures = open_clip.list_models()
    named = [f"{architecture}.{weights}" for architecture, weights in open_clip.list_pretrained()]
    if model not in (*architectures, *named):
        near = difflib.get_close_matches(model, [*named, *architectures], 4) or ["ViT-B-32.openai"]
        raise ConfigError(
            f"{PREFIX}{model} is none of open_clip's {len(architectures)} models and {len(named)} published weights: "
            f"did you mean {', '.join(near)}?"
        )


def build_clip_model(model: str) -> nn.Module:
    """Build a whole model, text encoder included, with the layers that its published weights have.

    Args:
        model: name of the model and its weights.
    """
    import open_clip

    architecture, _ = _split(model)
    quick = bool(_published(model).get("quick_gelu"))
    return open_clip.create_model(architecture, force_quick_gelu=quick, load_weights=False)


def assemble_clip_model(model: str, path: Path) -> nn.Module:
    """Build a whole model with the weights of a file, which open_clip converts where others made it.

    Args:
        model: name of the model and its weights.
        path: path of the weight file.
    Raises:
        WeightsError: If the file is damaged, or is one of another model.
    """
    import open_clip

    read_file(path)  # damaged files, and those that would run code, are told apart there
    network = build_clip_model(model)
    try:
        open_clip.load_checkpoint(network, str(path))
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise other_model(path, f"{PREFIX}{model}", error) from error
    return network


def take_encoder(network: nn.Module) -> nn.Module:
    """Take the image encoder out of a whole model.

    Args:
        network: a model of open_clip.
    Returns:
        Its encoder of images.
    """
    return _Encoder(network.get_submodule("visual"))


def read_clip_preset(model: str) -> Preset:
    """Read how a model wants its input.

    Args:
        model: name of the model and its weights.
    Returns:
        Its transforms; frames are square, so the ways to resize differ in nothing but the interpolation.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg

    given = {name: value for name, value in _published(model).items() if name in PreprocessCfg.__annotations__}
    vision = open_clip.get_model_config(_split(model)[0])["vision_cfg"]
    settings = PreprocessCfg(**{"size": vision["image_size"], **given})
    size = [settings.size] * 2 if isinstance(settings.size, int) else list(settings.size)
    return Preset(size, size, settings.interpolation, tuple(settings.mean), tuple(settings.std))


def clip_weights_urls(model: str) -> list[str]:
    """The URLs that a model's published weights may have.

    Args:
        model: name of the model and its weights.
    Returns:
        Addresses of the file, one of which exists.
    Raises:
        WeightsError: If the name has no weights, or their file cannot be fetched by an address.
    """
    check_clip_model(model)
    published = _published(model)
    # open_clip's entry is a repository and a stroke, or that and a file.
    hub, _, file = str(published.get("hf_hub") or "").rpartition("/")
    if hub:
        return [f"https://huggingface.co/{hub}/resolve/main/{name}" for name in ([file] if file else _FILES)]
    if published.get("url"):
        return [str(published["url"])]
    raise WeightsError(
        f"{PREFIX}{model} names no published weights: give them as in {PREFIX}ViT-B-32.openai, or a file with "
        "--weights FILE.json"
    )


def _published(model: str) -> Mapping[str, Any]:
    import open_clip

    architecture, weights = _split(model)
    return open_clip.pretrained.get_pretrained_cfg(architecture, weights) if weights else {}


@dataclass
class OpenClipTier(LibraryTier):
    """An image encoder's embedding.

    Args:
        model: open_clip's name of the model, a full stop, and that of its weights, as in `ViT-B-32.openai`.
    """

    library = Library(PREFIX, check_clip_model, build_clip_model, assemble_clip_model, take_encoder, read_clip_preset)

    @cached_property
    def width(self) -> int:
        """How many numbers its embedding has."""
        import open_clip

        return int(open_clip.get_model_config(_split(self.model)[0])["embed_dim"])
