"""The demo: short drawn clips whose viewers remember them by a known formula, written below a root.

`demo_traits` has the formula, `demo_drawing` the pictures, `demo_responses` the viewers; docs/demo.md tells it all.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from m3ray.datasets.demo_drawing import draw_clip
from m3ray.datasets.demo_responses import draw_responses
from m3ray.datasets.demo_traits import DemoTraits, draw_traits
from m3ray.schema import Clip
from m3ray.storage.root import Root
from m3ray.video.encode import encode_clip

FOLDER = "demo"
CLIPS = 400
DRAWN = "drawn_"
"""How the catalogue's columns of what was drawn begin, such as `drawn_motion`: tiers measure, they do not know it."""

_WITH_SOUND = 0.25  # share of the clips
_FIRST = 40  # clips
_FIRST_VAL = (1, 3, *range(12, _FIRST, 5))


def make_demo(root: Root, clips: int = CLIPS, seed: int = 0, *, write: bool = True) -> list[Clip]:
    """Draw the clips of the demo, and write those that the root lacks.

    Args:
        root: Root that the files are written to, in the folder `demo`.
        clips: Number of clips; a smaller one gives the first clips of a larger one.
        seed: Seed that decides everything about them.
        write: Whether files are written.
    Returns:
        All clips, the same from the same seed.
    """
    return [_make_clip(root, number, seed, write) for number in range(clips)]


def choose_split(number: int) -> str:
    """Choose the split of a clip: of the first forty one in five is val, of all others one in two.

    A study's intervals narrow with the number of val clips, and a demo is to show what they can tell apart; a demo of
    few clips (`--limit`) needs its train clips more.

    Args:
        number: Number of the clip, from 0.
    Returns:
        `train` or `val`: two of each among the first four, and then never fewer of train than of val.
    """
    return "val" if (number in _FIRST_VAL if number < _FIRST else number % 2) else "train"


def _make_clip(root: Root, number: int, seed: int, write: bool) -> Clip:
    traits, rng = draw_traits(number, seed)
    viewers = draw_responses(traits, number, seed)
    name = f"{traits.kind}_{seed}_{number:04d}.mp4"
    if write and not root.exists(FOLDER, name):
        root.write_bytes(_encode(traits, rng), FOLDER, name)
    drawn = {f"{DRAWN}{trait}": value for trait, value in asdict(traits).items() if trait != "kind"}
    return Clip(
        name,
        root.display(FOLDER, name),
        split=choose_split(number),
        score=viewers.score,
        labels=(traits.kind,),
        extra={**drawn, **asdict(viewers)},
    )


def _encode(traits: DemoTraits, rng: np.random.Generator) -> bytes:
    drawn = draw_clip(traits, rng)
    pitch = float(rng.uniform(200, 800)) if rng.random() < _WITH_SOUND else None
    return encode_clip(drawn.frames, drawn.rate, pitch)
