"""What the viewers of a demo clip do: how many recognise it, how many take it for known, how fast it is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3ray.datasets.demo_traits import DemoTraits

VIEWERS = (120, 240)
FALSE_ALARM, FAMILIARITY = 0.05, 0.20
DECAY, STILLNESS, DECAY_NOISE = -0.0004, -0.0012, 0.0001


@dataclass(frozen=True)
class DemoResponses:
    """What the viewers of a demo clip did.

    Args:
        responses: Viewers who saw it again.
        hits: Those of them who recognised it.
        false_alarm_responses: Viewers who were asked at its first showing.
        false_alarms: Those of them who took it for known.
        alpha: Rate of forgetting, change of the score per video between the two showings.
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


def draw_responses(traits: DemoTraits, number: int, seed: int) -> DemoResponses:
    """Draw what the viewers of a clip did.

    Args:
        traits: What the clip shows, as `draw_traits` returns it.
        number: Number of the clip, from 0.
        seed: Seed of the demo.
    Returns:
        The counts of their responses, and the clip's rate of forgetting.
    """
    # A generator of its own, so that what viewers do changes no picture.
    rng = np.random.default_rng([seed, number, 1])
    responses, asked = (int(count) for count in rng.integers(VIEWERS[0], VIEWERS[1] + 1, 2))
    hits = int(rng.binomial(responses, traits.probability))
    false_alarms = int(rng.binomial(asked, FALSE_ALARM + FAMILIARITY * (1 - traits.oddness)))
    alpha = DECAY + STILLNESS * (1 - traits.motion) + rng.normal(0, DECAY_NOISE)
    return DemoResponses(responses, hits, asked, false_alarms, float(alpha))
