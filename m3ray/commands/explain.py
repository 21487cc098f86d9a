"""`m3ray explain`: which parts of videos and images add to their scores, and when, without a root and without Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import m3ray
from m3ray.commands.map_files import check_targets, name_maps, prepare_folder, write_files
from m3ray.commands.options import ExplainCommandOptions
from m3ray.commands.rows import as_json, escape_control
from m3ray.commands.score import check_scorer, show_warnings
from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError
from m3ray.status_line import StatusLine, can_redraw

if TYPE_CHECKING:
    from m3ray.scoring.explanations.explain import Unexplained
    from m3ray.scoring.explanations.explanation import Cell, Explanation
    from m3ray.scoring.explanations.occlusion import Progress
    from m3ray.scoring.inputs import ClipInput
    from m3ray.scoring.scorer import Scorer

_MEANING = {
    "occlusion": "an effect is the score as it is less the score with that part blurred; ± is how far it may be off",
    "gradient": "effects share the score, less that of the blurred clip, among its parts (integrated gradients)",
}


def run(options: ExplainCommandOptions) -> int:
    """Map what the options name.

    Args:
        options: clips, bundle, method and where files go.
    Returns:
        The exit status. 0: at least one clip has a map; 1: none has.
    Raises:
        ConfigError: If nothing is to be mapped, nothing that the bundle sees can be hidden, or files cannot be written
            or would be written over others.
    """
    check_options(options)
    folder = prepare_folder(options.out)
    config = ExplainConfig(**{field.name: getattr(options, field.name) for field in fields(ExplainConfig)})
    from m3ray.scoring.explanations.explain import check_request
    from m3ray.scoring.inputs import iter_clips

    with show_warnings():
        clips = list(iter_clips(list(options.what)))
    ids = [clip.clip_id for clip in clips]
    names = name_maps(ids, folder)
    check_targets(ids, names, folder, options.format)
    with show_warnings(), m3ray.load(options.bundle, allow_other_weights=options.allow_other_weights) as scorer:
        check_request(scorer, config)
        _check_user_tiers(scorer)
        done = 0
        for found, name in zip(_iter_maps(scorer, clips, config), names, strict=True):
            done += _report(found, name, options, scorer)
        if not options.json:
            _print_notes(scorer, config.method, done, len(clips))
    if not done:
        print(f"error: no map of any of {len(clips)} clips: each has the reason", file=sys.stderr)
    return 0 if done else 1


def check_options(options: ExplainCommandOptions) -> None:
    """Check what can be checked before anything heavy is imported.

    Args:
        options: clips, bundle, method and where files go.
    Raises:
        ConfigError: If nothing is to be mapped, or a package is missing.
    """
    if not options.what:
        raise ConfigError("nothing to explain: give videos, images or folders, as in m3ray explain holiday.mp4")
    check_scorer(options.bundle)


def _check_user_tiers(scorer: Scorer) -> None:
    provided = ", ".join(scorer.bundle.metadata.user_provided)
    if provided:
        raise ConfigError(
            f"{scorer.bundle.name} sees the user-provided tier {provided}, which no file here gives: in Python, "
            "m3ray.load(...).explain(..., tiers=...) takes it"
        )


def _iter_maps(
    scorer: Scorer, clips: Sequence[ClipInput], config: ExplainConfig
) -> Iterator[Explanation | Unexplained]:
    from m3ray.scoring.explanations.explain import explain_clips

    for number, clip in enumerate(clips, start=1):
        with _show_progress(f"{number} of {len(clips)}: {escape_control(clip.clip_id)}") as progress:
            (found,) = explain_clips(scorer, [clip], config, {}, progress=progress)
        yield found


@contextmanager
def _show_progress(label: str) -> Iterator[Progress | None]:
    """A line on a terminal that says how many versions are scored."""
    if not can_redraw(sys.stderr):
        yield None
        return
    state = {"text": "decoded"}
    line = StatusLine(sys.stderr)

    def progress(done: int, budget: int) -> None:
        state["text"] = f"{done} of {budget} versions scored"

    describe: Callable[[], str] = lambda: f"{label}: {state['text']}"  # noqa: E731
    state["text"] = "decoding and computing it as it is"
    line.show(describe)
    try:
        yield progress
    finally:
        line.hide()


def _report(found: Explanation | Unexplained, name: str, options: ExplainCommandOptions, scorer: Scorer) -> bool:
    """Write a clip's files and lines; whether it has a map."""
    from m3ray.scoring.explanations.explanation import Explanation

    if not isinstance(found, Explanation):
        row = {"clip_id": found.clip_id, "score": None, "reason": found.reason}
        print(json.dumps(row) if options.json else f"{escape_control(found.clip_id)}: {found.reason}", flush=True)
        return False
    files = write_files(found, Path(options.out), name, options.format)
    compared = _compare(scorer, found)
    if options.json:
        print(json.dumps({**_as_row(found), "files": files, "compared": compared, "reason": None}), flush=True)
    else:
        print("\n".join([*describe_map(found), *(f"  {line}" for line in compared), f"  written: {', '.join(files)}"]))
        sys.stdout.flush()
    return True


def describe_map(explanation: Explanation) -> list[str]:
    """Write a map as lines for a terminal.

    Args:
        explanation: the map.
    Returns:
        The clip and its score, the parts that add most and take most, and how finely was looked.
    """
    from m3ray.scoring.explanations.words import choose_parts, describe_effect, describe_part, describe_resolution

    lines = [f"{escape_control(explanation.clip_id)}: {explanation.unit} {explanation.score:.3f}"]
    for word, cells in zip(("adds", "takes"), choose_parts(explanation), strict=True):
        rows = [(describe_effect(cell), describe_part(explanation, cell.part)) for cell in cells]
        width = max((len(effect) for effect, _ in rows), default=0)
        lines += [f"  {word:<6}{effect:<{width}}  {place}" for effect, place in rows] or [f"  {word:<6}nothing"]
    return [*lines, f"  {describe_resolution(explanation)}"]


def _compare(scorer: Scorer, explanation: Explanation) -> list[str]:
    """What the clip is compared to: the nearest training clips, and whether its score is an extrapolation."""
    from m3ray.scoring.bundle import Bundle
    from m3ray.scoring.reference.neighbours import describe_neighbours, explain_no_reference, find_neighbours

    bundle = scorer.bundle
    if not isinstance(bundle, Bundle) or explanation.features is None or explain_no_reference(bundle) is not None:
        return []
    return describe_neighbours(bundle, find_neighbours(bundle, explanation.features), score=explanation.score)


def _as_row(explanation: Explanation) -> dict[str, Any]:
    """A map as JSON values."""
    from m3ray.scoring.explanations.explanation import describe
    from m3ray.scoring.explanations.words import choose_parts

    adds, takes = ([_as_part(explanation, cell) for cell in cells] for cells in choose_parts(explanation))
    return {"clip_id": explanation.clip_id, **describe(explanation), "adds": adds, "takes": takes}


def _as_part(explanation: Explanation, cell: Cell) -> Mapping[str, Any]:
    from m3ray.scoring.explanations.words import name_place

    begin, end = explanation.seconds_of(cell.part)
    box = {name: getattr(cell.part, name) for name in ("top", "bottom", "left", "right")}
    numbers = {name: as_json(getattr(cell, name)) for name in ("effect", "spread", "noise")}
    return {"place": name_place(cell.part), "start": begin, "end": end, **box, **numbers}


def _print_notes(scorer: Scorer, method: str, done: int, count: int) -> None:
    """What one must know of the maps, below them."""
    from m3ray.scoring.describe_scorer import describe_origin
    from m3ray.scoring.reference.neighbours import explain_no_reference

    bundle = scorer.bundle
    print(f"\n{bundle.facts.title if hasattr(bundle, 'facts') else bundle.name}: {describe_origin(bundle)}")
    missing = explain_no_reference(bundle)
    if missing is not None:
        print(missing)
    if done:
        print(_MEANING[method])
    if done < count:
        print(f"{count - done} of {count} clips have no map")
