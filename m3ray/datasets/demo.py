"""The demo: small synthetic clips whose viewers remember them by known formulas.

Each clip shows one *action*: some actions are common, some rare. A viewer who sees it again recognises it with

    p = 0.45 + 0.22 rarity + 0.16 motion + 0.12 brightness + noise,  noise ~ N(0, 0.02), clipped to [0, 1]

with rarity = 1 - (share of the clip's action) / (share of the commonest), motion and brightness drawn evenly in
[0, 1]. So rare, moving, bright clips are remembered, and a study of the demo can be compared with the formula. As in a
real data set nobody knows p: 60 to 120 viewers see a clip again, each hits or misses, and its score is the share of
hits, so that no model can be right to the end. At the first showing a viewer gives a false alarm with

    q = 0.05 + 0.20 (1 - rarity),

since what is common looks familiar, and a clip is forgotten at the rate, in score per video,

    alpha = -0.0004 - 0.0012 (1 - motion) + noise,  noise ~ N(0, 0.0001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from m3ray.schema import Clip
from m3ray.storage.root import Root
from m3ray.video.encode import encode_clip

FOLDER = "demo"
CLIPS = 96
INTERCEPT, RARITY, MOTION, BRIGHTNESS, NOISE = 0.45, 0.22, 0.16, 0.12, 0.02
FALSE_ALARM, FAMILIARITY = 0.05, 0.20
DECAY, STILLNESS, DECAY_NOISE = -0.0004, -0.0012, 0.0001
VIEWERS = (60, 120)
SHARES = {"drifting": 0.36, "spinning": 0.28, "bouncing": 0.18, "pulsing": 0.10, "flickering": 0.05, "swarming": 0.03}
SIZES = ((320, 240), (256, 256), (426, 240), (240, 320))  # width, height
RATES = (12, 15, 24, 30)
SECONDS = (2.0, 2.6)


@dataclass(frozen=True)
class DemoTraits:
    """What a demo clip shows.

    Args:
        action: name of its action, of `SHARES`.
        motion: speed of what moves, in [0, 1].
        brightness: brightness of the picture, in [0, 1].
        texture: fineness and strength of the background's grain, in [0, 1].
        probability: that a viewer recognises it, by the formula above, in [0, 1].
    """

    action: str
    motion: float
    brightness: float
    texture: float
    probability: float

    @property
    def rarity(self) -> float:
        """1 less the share of its action, of the commonest's: 0 for that one."""
        return 1 - SHARES[self.action] / max(SHARES.values())


@dataclass(frozen=True)
class DemoResponses:
    """What the viewers of a demo clip did.

    Args:
        responses: viewers who saw it again.
        hits: those of them who recognised it.
        false_alarm_responses: viewers who were asked at its first showing.
        false_alarms: those of them who took it for known.
        alpha: rate of forgetting, change of the score per video between the two showings.
    """

    responses: int
    hits: int
    false_alarm_responses: int
    false_alarms: int
    alpha: float

    @property
    def score(self) -> float:
        """Share of hits."""
        return self.hits / self.responses


def make_demo(root: Root, clips: int = CLIPS, seed: int = 0, *, write: bool = True) -> list[Clip]:
    """Draw the clips of the demo, and write those that the root lacks.

    Args:
        root: root that the files are written to, in the folder `demo`.
        clips: number of clips; a smaller one gives the first clips of a larger one.
        seed: seed that decides everything about them.
        write: whether files are written.
    Returns:
        All clips, the same from the same seed.
    """
    return [_make_clip(root, number, seed, write) for number in range(clips)]


def draw_traits(number: int, seed: int) -> tuple[DemoTraits, np.random.Generator]:
    """Draw what a clip shows and how likely a viewer is to recognise it.

    Args:
        number: number of the clip, from 0.
        seed: seed of the demo.
    Returns:
        Its traits, and the generator that draws the rest of it.
    """
    rng = np.random.default_rng([seed, number])
    actions, shares = list(SHARES), np.array(list(SHARES.values()))
    action = str(rng.choice(actions, p=shares))
    motion, brightness, texture = rng.uniform(size=3)
    rarity = 1 - SHARES[action] / shares.max()
    score = INTERCEPT + RARITY * rarity + MOTION * motion + BRIGHTNESS * brightness + rng.normal(0, NOISE)
    return DemoTraits(action, motion, brightness, texture, float(np.clip(score, 0, 1))), rng


def draw_responses(traits: DemoTraits, number: int, seed: int) -> DemoResponses:
    """Draw what the viewers of a clip did.

    Args:
        traits: what the clip shows, as `draw_traits` returns it.
        number: number of the clip, from 0.
        seed: seed of the demo.
    Returns:
        The counts of their responses, and the clip's rate of forgetting.
    """
    # A generator of its own, so that the pictures stay those of roots made before viewers were drawn.
    rng = np.random.default_rng([seed, number, 1])
    responses, asked = (int(count) for count in rng.integers(VIEWERS[0], VIEWERS[1] + 1, 2))
    hits = int(rng.binomial(responses, traits.probability))
    false_alarms = int(rng.binomial(asked, FALSE_ALARM + FAMILIARITY * (1 - traits.rarity)))
    alpha = DECAY + STILLNESS * (1 - traits.motion) + rng.normal(0, DECAY_NOISE)
    return DemoResponses(responses, hits, asked, false_alarms, float(alpha))


def _make_clip(root: Root, number: int, seed: int, write: bool) -> Clip:
    traits, rng = draw_traits(number, seed)
    viewers = draw_responses(traits, number, seed)
    name = f"{traits.action}_{seed}_{number:04d}.mp4"
    if write and not root.exists(FOLDER, name):
        width, height = SIZES[rng.integers(len(SIZES))]
        rate = int(RATES[rng.integers(len(RATES))])
        frames = round(rng.uniform(*SECONDS) * rate)
        pictures = _draw_frames(traits, width, height, frames, rate, rng)
        pitch = float(rng.uniform(200, 800)) if rng.random() < 0.5 else None
        root.write_bytes(encode_clip(pictures, rate, pitch), FOLDER, name)
    extra = {
        "motion": float(traits.motion),
        "brightness_drawn": float(traits.brightness),
        "texture": float(traits.texture),
        **asdict(viewers),
    }
    return Clip(name, root.display(FOLDER, name), score=viewers.score, labels=(traits.action,), extra=extra)


def _draw_frames(
    traits: DemoTraits, width: int, height: int, frames: int, rate: int, rng: np.random.Generator
) -> np.ndarray:
    background = _draw_background(traits, width, height, rng)
    colour = tuple(int(c) for c in rng.integers(90, 256, 3) * (0.3 + 0.7 * traits.brightness))
    start = rng.uniform(0.25, 0.75, size=2)
    out = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        picture = background.copy()
        # Speed follows `motion`, in picture widths a second, whatever the frame rate.
        ACTIONS[traits.action](picture, (0.05 + 1.2 * traits.motion) * index / rate, start, colour)
        out[index] = picture
    return out


def _draw_background(traits: DemoTraits, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A gradient with grain: fine and strong where `texture` is high."""
    grain = rng.standard_normal((height, width, 3))
    grain = cv2.GaussianBlur(grain, (0, 0), 1 + 6 * (1 - traits.texture))
    grain *= (6 + 40 * traits.texture) / grain.std()
    slope = np.linspace(-20, 20, width)[None, :, None]
    return np.clip(20 + 150 * traits.brightness + slope + grain, 0, 255).astype(np.uint8)


Colour = tuple[int, ...]


def _draw_drifting(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    centre = (int((start[0] + phase) % 1 * width), int(start[1] * height))
    cv2.circle(picture, centre, height // 6, colour, -1, cv2.LINE_AA)


def _draw_spinning(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    box = ((start[0] * width, start[1] * height), (height / 2, height / 6), 360 * phase)
    cv2.fillPoly(picture, [cv2.boxPoints(box).astype(np.int32)], colour, cv2.LINE_AA)


def _draw_bouncing(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    rise = abs(np.sin(np.pi * (phase * 2 + start[1])))
    centre = (int(start[0] * width), int((0.85 - 0.6 * rise) * height))
    cv2.circle(picture, centre, height // 8, colour, -1, cv2.LINE_AA)


def _draw_pulsing(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    radius = int(height * (0.1 + 0.25 * (1 + np.sin(2 * np.pi * phase)) / 2))
    cv2.circle(picture, (int(start[0] * width), int(start[1] * height)), radius, colour, 8, cv2.LINE_AA)


def _draw_flickering(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    if int(phase * 8) % 2 == 0:
        corner = (int(start[0] * width * 0.6), int(start[1] * height * 0.6))
        cv2.rectangle(picture, corner, (corner[0] + width // 3, corner[1] + height // 3), colour, -1)


def _draw_swarming(picture: np.ndarray, phase: float, start: np.ndarray, colour: Colour) -> None:
    height, width = picture.shape[:2]
    for k in range(24):
        angle = 2 * np.pi * (k / 24 + phase * (1 + k % 3) / 3)
        reach = 0.15 + 0.25 * ((k * 7) % 10) / 10
        centre = (int((0.5 + reach * np.cos(angle)) * width), int((0.5 + reach * np.sin(angle)) * height))
        cv2.circle(picture, centre, max(3, height // 40), colour, -1, cv2.LINE_AA)


ACTIONS: dict[str, Callable[[np.ndarray, float, np.ndarray, Colour], None]] = {
    "drifting": _draw_drifting,
    "spinning": _draw_spinning,
    "bouncing": _draw_bouncing,
    "pulsing": _draw_pulsing,
    "flickering": _draw_flickering,
    "swarming": _draw_swarming,
}
