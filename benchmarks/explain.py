"""Planted effects: whether maps point at what a score was made from, against gradients, captum and maps at random.

    python benchmarks/explain.py [--clips 200] [--budgets 32 64 128 256] [--parts known learnt pasted cost]

Clips are drawn (benchmarks/explain_clips.py), with a patch at a known place and time that their score is made from.
`known` scores them by that formula; `learnt` by a network and a head that are trained here on other clips
(benchmarks/explain_scorers.py), and maps clips alone that it scores well; `pasted` pastes an object on clips of a
second and compares what hiding and showing parts in a map's order does to the scores of networks that know nothing of
it; `cost` times a map of a clip of 3 s at the default budget. captum is a peer where it is there: pip install captum.

`--results FILE` keeps each map's numbers as they come, one line of JSON; a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from explain_clips import PlantedClip, draw_clip
from explain_maps import CAPTUM, METHODS, OCCLUSION, Task, make_fill, score_clips
from explain_scorers import KNOWN, LEARNT, fit_bundle, make_known_scorer, make_scene_scorer, make_scorer, train_network

import m3ray
from m3ray.config.explain_options import ExplainConfig
from m3ray.model.metrics import spearman
from m3ray.scoring.explanations import explain_clip
from m3ray.scoring.explanations.faithfulness import find_peak, is_hit, measure_curve, measure_share_inside
from m3ray.scoring.scorer import Scorer
from m3ray.tiers import WeightSource

PASTED, COST = "pasted", "cost"
BUDGET = ExplainConfig().budget
GOAL, SECONDS = 0.95, 20.0
FRAMES, SIZE = 16, 48
_STEPS = 10
_FEWER = 4  # of so many clips one has insertion and deletion, and other budgets
_CLOSE = 0.05  # error of a score up to which the network knows what a clip is worth
_TRAIN_SEED, _VAL_SEED = 1_000_000, 2_000_000  # first seeds of clips that are not mapped


@dataclass(frozen=True)
class Result:
    """What one map of one clip is worth; not a number where that is not asked."""

    part: str
    method: str
    budget: int
    clip: int
    hit: float
    where: float
    when: float
    inside: float
    insertion: float
    deletion: float
    evaluations: int
    seconds: float


class Results:
    """Results of a run, kept in a file if there is one.

    Args:
        path: The file; None: they are kept in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.rows = [Result(**json.loads(line)) for line in lines]

    def has(self, part: str, method: str, budget: int, clip: int) -> bool:
        """Whether this map was judged before."""
        return any((r.part, r.method, r.budget, r.clip) == (part, method, budget, clip) for r in self.rows)

    def add(self, result: Result) -> None:
        """Keep a result."""
        self.rows.append(result)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")

    def select(self, part: str, method: str, budget: int) -> list[Result]:
        """Results of one row of the table."""
        return [r for r in self.rows if (r.part, r.method, r.budget) == (part, method, budget)]


def judge_map(part: str, method: str, clip: PlantedClip, task: Task, *, with_curves: bool = True) -> Result | None:
    """Map a clip and judge the map; None where the method cannot map it."""
    found = METHODS[method](task)
    if found is None:
        return None
    assert clip.patch is not None
    region = np.zeros(task.frames.shape[:3], bool)
    region[clip.patch.slices] = True
    frame, row, column = find_peak(found.effects)
    insertion, deletion = _measure_areas(task, found.effects) if with_curves else (float("nan"), float("nan"))
    return Result(
        part,
        method,
        task.budget,
        task.seed,
        hit=float(is_hit(found.effects, region)),
        where=float(np.any(region[:, row, column])),
        when=float(np.any(region[frame])),
        inside=measure_share_inside(found.effects, region),
        insertion=insertion,
        deletion=deletion,
        evaluations=found.evaluations,
        seconds=found.seconds,
    )


def _measure_areas(task: Task, effects: np.ndarray) -> tuple[float, float]:
    """Areas under the curves of insertion and of deletion."""
    fill = make_fill(task.frames)

    def measure(kind: Literal["insertion", "deletion"]) -> float:
        score = partial(score_clips, task.scorer)
        return measure_curve(score, task.frames, fill, effects, kind, _STEPS).area

    return measure("insertion"), measure("deletion")


def run_planted(
    part: str, scorer: Scorer, clips: Iterator[tuple[int, PlantedClip]], budgets: Sequence[int], results: Results
) -> None:
    """Map clips with every method at the default budget; every fourth one with ours at the others, and with curves."""
    for number, (seed, clip) in enumerate(clips):
        wanted = [(method, BUDGET) for method in METHODS]
        wanted += [(OCCLUSION, budget) for budget in budgets if budget != BUDGET and number % _FEWER == 0]
        for method, budget in wanted:
            if not results.has(part, method, budget, seed):
                task = Task(scorer, clip.frames, seed, budget)
                found = judge_map(part, method, clip, task, with_curves=number % _FEWER == 0)
                if found is not None:
                    results.add(found)


def run_known(args: argparse.Namespace, results: Results) -> None:
    # Plain patches of the sought look's colours would be no distractors here: the formula knows colours of neighbours.
    clips = ((seed, draw_clip(seed, FRAMES, SIZE, plain=False)) for seed in range(args.clips))
    with make_known_scorer(SIZE) as scorer:
        run_planted(KNOWN, scorer, clips, args.budgets, results)
    show_planted(KNOWN, "the formula itself", args.budgets, results)


def run_learnt(args: argparse.Namespace, results: Results) -> None:
    train = [draw_clip(_TRAIN_SEED + k, FRAMES, SIZE, planted=k % 4 > 0) for k in range(args.train)]
    with tempfile.TemporaryDirectory() as folder:
        path = (
            Path(folder) / "network.safetensors" if args.results is None else args.results.with_suffix(".safetensors")
        )
        source = WeightSource(str(path)) if path.exists() else train_network(train, path, args.epochs)
        bundle, tier = fit_bundle(train, source)
        with make_scorer(bundle, [tier]) as scorer:
            rho = _measure_rho(scorer)
            kept = list(_keep_close(scorer, args.clips))
            run_planted(LEARNT, scorer, iter(kept), args.budgets, results)
    drawn = kept[-1][0] + 1
    which = f"{len(kept)} of {drawn} drawn clips, scores off by < {_CLOSE} with and without the patch"
    words = f"rho {rho:.3f} on 200 new clips; {which}"
    show_planted(LEARNT, words, args.budgets, results)


def _measure_rho(scorer: Scorer) -> float:
    clips = [draw_clip(_VAL_SEED + k, FRAMES, SIZE, planted=k % 4 > 0) for k in range(200)]
    predicted = score_clips(scorer, [clip.frames for clip in clips])
    return float(spearman(predicted, np.array([clip.score for clip in clips])))


def _keep_close(scorer: Scorer, count: int) -> Iterator[tuple[int, PlantedClip]]:
    """The first clips that are scored well, with the patch and without: of others nobody knows what decided."""
    seed = 0
    while count:
        pair = [draw_clip(seed, FRAMES, SIZE, planted=planted) for planted in (True, False)]
        off = score_clips(scorer, [clip.frames for clip in pair]) - [clip.score for clip in pair]
        if np.abs(off).max() < _CLOSE:
            yield seed, pair[0]
            count -= 1
        seed += 1


def show_planted(part: str, words: str, budgets: Sequence[int], results: Results) -> None:
    """Print the table of one kind of scorer."""
    print(f"\n{part}: {words}; {describe_machine()}")
    names = ("map", "budget", "clips", "hits", "place", "time", "inside", "insertion", "deletion", "evaluations", "s")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    rows = [(method, BUDGET) for method in METHODS]
    for method, budget in [*rows, *((OCCLUSION, budget) for budget in budgets if budget != BUDGET)]:
        found = results.select(part, method, budget)
        if found:
            print(_format_row(method, budget, found))
    ours, theirs = (results.select(part, method, BUDGET) for method in (OCCLUSION, CAPTUM))
    if theirs:
        ratio = np.median([r.seconds for r in theirs]) / np.median([r.seconds for r in ours])
        hits = _mean(ours, "hit") / _mean(theirs, "hit")
        print(f"captum / ours, seconds a clip: {ratio:.2f}; hits, ours / captum: {hits:.2f}")
    print(f"goal, hits of ours at the default budget {GOAL:.0%}: {_met(_mean(ours, 'hit') >= GOAL)}")


def _format_row(method: str, budget: int, found: Sequence[Result]) -> str:
    shares = [f"{100 * _mean(found, name):.1f} %" for name in ("hit", "where", "when", "inside")]
    areas = [f"{_mean(found, name):.4f}" for name in ("insertion", "deletion")]
    seconds = float(np.median([r.seconds for r in found]))
    cells = (
        method,
        str(budget),
        str(len(found)),
        *shares,
        *areas,
        f"{_mean(found, 'evaluations'):.0f}",
        f"{seconds:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _mean(found: Sequence[Result], name: str) -> float:
    values = np.array([getattr(r, name) for r in found], float)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _met(hit: bool) -> str:
    return "met" if hit else "MISSED"


def list_networks() -> Iterator[tuple[str, Scorer]]:
    """Scorers of images at full size: a bundle of the scene tier with random weights, and resmem if it is installed."""
    yield "scene, untrained", make_scene_scorer()
    if find_spec("resmem") is None:
        print("resmem is not installed: pip install 'm3ray[resmem]'")
    else:
        yield "resmem", m3ray.load("resmem")


def run_pasted(args: argparse.Namespace, results: Results) -> None:
    print(f"\n{PASTED}: {args.pasted} clips of 1 s with an object pasted; {describe_machine()}")
    print("| scorer | map | clips | insertion | deletion | difference | evaluations | s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, scorer in list_networks():
        with scorer:
            part = f"{PASTED}: {name}"
            for seed in range(args.pasted):
                clip = draw_clip(seed, frames=15, size=256)
                for method in METHODS:
                    if not results.has(part, method, BUDGET, seed):
                        found = judge_map(part, method, clip, Task(scorer, clip.frames, seed, BUDGET))
                        if found is not None:
                            results.add(found)
        for method in METHODS:
            rows = results.select(part, method, BUDGET)
            if rows:
                insertion, deletion = _mean(rows, "insertion"), _mean(rows, "deletion")
                counts = f"{_mean(rows, 'evaluations'):.0f} | {np.median([r.seconds for r in rows]):.1f}"
                areas = f"{insertion:.4f} | {deletion:.4f} | {insertion - deletion:+.4f}"
                print(f"| {name} | {method} | {len(rows)} | {areas} | {counts} |")


def run_cost(args: argparse.Namespace, results: Results) -> None:
    print(f"\n{COST}: a map of 3 s, 45 frames of 256x256, budget {BUDGET} (goal {SECONDS:.0f} s); {describe_machine()}")
    print("| scorer | evaluations | parts | s | CPU s | goal |\n|---|---|---|---|---|---|")
    clip = draw_clip(0, frames=45, size=256)
    for name, scorer in list_networks():
        with scorer:
            explain_clip(scorer, clip.frames[:1], ExplainConfig(budget=4))
            start, busy = time.perf_counter(), time.process_time()
            found = explain_clip(scorer, clip.frames)
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
        times = f"{seconds:.1f} | {busy:.1f} | {_met(seconds < SECONDS)}"
        print(f"| {name} | {found.evaluations} | {len(found.cells)} | {times} |")


def describe_machine() -> str:
    captum = "" if find_spec("captum") else "; captum is not installed: pip install captum"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {date.today()}{captum}"


PARTS = {KNOWN: run_known, LEARNT: run_learnt, PASTED: run_pasted, COST: run_cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pasted", type=int, default=8)
    parser.add_argument("--budgets", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--results", type=Path)
    args = parser.parse_args()
    results, threads = Results(args.results), torch.get_num_threads()
    for part in args.parts:
        # Clips and networks of the first two are so small that two threads would wait for each other.
        torch.set_num_threads(1 if part in (KNOWN, LEARNT) else threads)
        PARTS[part](args, results)


if __name__ == "__main__":
    main()
