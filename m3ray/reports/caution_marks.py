"""Where each caution stands on the page: a mark of few words beside each number, table and figure it is true of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m3ray.study.cautions import Caution, Subject

UNTRAINED_ID = "untrained"
RHO, INTERVAL, SHARE, MSE, TEST, CLIPS = "rho", "interval", "share", "mse", "test", "clips"
_TABLES_OF_MODELS = tuple(f"table{number}" for number in (1, 2, 3, 4, 7))
_TRUTH = ("figure7", "calibration")
_CLUSTERS = ("figure3", "figure4", "figure5")

_WORDS: Mapping[Subject, str] = {
    "error": "the mean score would be closer",
    "bias": "too high or too low on average",
    "spread": "nearly one score for all",
    "clips": "few val clips",
    "duplicates": "near duplicates in train",
    "clusters": "DBSCAN of {tier}: nearly all in one group",
    "baselines": "a simpler model is better",
    "pretrained": "a pretrained network is better",
    "selection": "choosing settings gained nothing",
    "new scores": "scores to be read with care",
}
_PLACES: Mapping[Subject, Sequence[str]] = {
    "error": (MSE, *_TRUTH),
    "bias": (MSE, *_TRUTH),
    "spread": (MSE, *_TRUTH),
    "clips": (RHO, INTERVAL, SHARE, *_TABLES_OF_MODELS, "figure2", *_TRUTH, "forest"),
    "duplicates": (RHO, SHARE, TEST, *_TABLES_OF_MODELS, "figure2", *_TRUTH),
    "clusters": ("table3", "table4"),
    "baselines": (RHO, "table7"),
    "pretrained": (RHO, "table3"),
    "selection": ("table5",),
    "new scores": (CLIPS, "coverage"),
}


@dataclass(frozen=True)
class Mark:
    """A caution beside what it is true of.

    Args:
        target: id of the place on the page that has the whole of it.
        text: what it says, in a few words.
    """

    target: str
    text: str


def place_marks(cautions: Sequence[Caution], *, untrained: bool = False) -> dict[str, list[Mark]]:
    """Place the cautions of a page.

    Args:
        cautions: the cautions, in the order of the page's list of them.
        untrained: whether any tier came from untrained weights: tables and figures say it in their titles, the
            headline's numbers by a mark.
    Returns:
        Key of a number of the headline, of a table, of a figure or of a section, to its marks.
    """
    marks: dict[str, list[Mark]] = {}
    if untrained:
        marks = {place: [Mark(UNTRAINED_ID, "untrained networks")] for place in (RHO, SHARE, TEST)}
    for number, caution in enumerate(cautions, start=1):
        mark = Mark(f"caution{number}", _WORDS[caution.about].format(tier=caution.tier))
        for place in _list_places(caution):
            marks.setdefault(place, []).append(mark)
    return marks


def list_cautions(cautions: Sequence[Caution], place: str) -> tuple[str, ...]:
    """List what a number, a table or a figure is to be read with, for its files, which have no page around them.

    Args:
        cautions: cautions.
        place: its key.
    Returns:
        Their sentences.
    """
    return tuple(caution.text for caution in cautions if place in _list_places(caution))


def _list_places(caution: Caution) -> list[str]:
    """Places of a caution; one of clusters stands beside the figures of its own vector tier too."""
    own = [key_of(figure, caution.tier) for figure in _CLUSTERS] if caution.about == "clusters" else []
    return [*_PLACES[caution.about], *own]


def key_of(figure: str, tier: str) -> str:
    """Key of a figure's part on one vector tier, for its marks.

    Args:
        figure: key of the figure, such as `figure4`.
        tier: name of the tier.
    Returns:
        The key.
    """
    return f"{figure} of {tier}"
