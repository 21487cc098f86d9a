"""GPU: all that a GPU's figures come from, in one command, for the day that one is at hand.

Each part is a process of its own with its own time limit, so that one that fails, hangs or crashes takes no other
along. What a part has measured is written line by line, and kept whatever becomes of it; time that it leaves goes to
the parts after it. Tables are printed as Markdown when a part ends, with the card's name and the date, and the JSON
file holds all that there is by then.

Without a GPU everything runs small on the CPU: that shows that it runs, and its figures mean nothing.

    python benchmarks/gpu.py [--minutes 7.5] [--json FILE] [--only 1,3]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu_tables import collect_tables, render_part

TOP = Path(__file__).resolve().parents[1]
# A part is told to end this much earlier than it is killed.
_SOFT_SHARE, _SOFT_SECONDS = 0.9, 2.0
_KILL_SECONDS = 5.0
_LOG_LINES = 15
SKIPPED = 77  # exit status of a part that cannot run here, as in Automake


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Args:
        number: its number.
        title: what it measures.
        module: module whose function `measure` measures it.
        weight: its share of the time, against those of the others.
    """

    number: int
    title: str
    module: str
    weight: float


PARTS = (
    Part(1, "Card, driver, peaks and copies", "gpu_card", 25),
    Part(2, "Golden features", "gpu_golden", 30),
    Part(3, "Depthwise 3-D convolution", "gpu_depthwise", 45),
    Part(4, "Networks", "gpu_networks", 110),
    Part(5, "Raw tier by feature", "gpu_raw", 25),
    Part(6, "Tier stage", "gpu_stage", 55),
    Part(7, "Whole extraction", "gpu_extraction", 70),
    Part(8, "Study", "gpu_study", 45),
    Part(9, "Finetuning", "gpu_finetuning", 45),
)

# From a part, the seconds that it should end within, and the file of results, to the command that runs it.
MakeCommand = Callable[[Part, float, Path], Sequence[str]]
OnEnd = Callable[[dict[str, Any], dict[str, Any]], None]


def make_command(part: Part, seconds: float, results: Path) -> list[str]:
    """The command that runs a part in a process of its own."""
    options = ["--part", str(part.number), "--seconds", f"{seconds:.1f}", "--results", str(results)]
    return [sys.executable, str(Path(__file__).resolve()), *options]


def share_time(parts: Sequence[Part], seconds: float) -> float:
    """Time limit of the first of some parts: its share by weight of what is left for all of them."""
    return max(0.0, seconds) * parts[0].weight / sum(part.weight for part in parts)


def run_parts(
    parts: Sequence[Part], seconds: float, results: Path, on_end: OnEnd, command: MakeCommand = make_command
) -> list[dict[str, Any]]:
    """Run parts one after the other, each within its limit.

    Args:
        parts: the parts, in order.
        seconds: time for all of them.
        results: file that parts append their records to.
        on_end: called at each part's end with the part and the machine as they are described.
        command: makes the command of a part.
    Returns:
        A description of each part.
    """
    end, done = time.monotonic() + seconds, []
    for index, part in enumerate(parts):
        limit = share_time(parts[index:], end - time.monotonic())
        soft = limit * _SOFT_SHARE - _SOFT_SECONDS
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as log:
            status, reason = run_process(command(part, soft, results), limit, log)
        end_line(results)
        records = read_records(results)
        described = describe_part(part, status, reason, records)
        done.append({**described, "seconds": time.monotonic() - start, "limit": limit})
        on_end(done[-1], find_machine(records))
    return done


def run_process(command: Sequence[str], limit: float, log: Any) -> tuple[str, str]:
    """Run a command, and end it and all its descendants at its limit.

    Args:
        command: the command.
        limit: seconds after which it is killed.
        log: open file for its output.
    Returns:
        What became of it, one of done, skipped, failed and cut off, and why.
    """
    paths = [str(TOP), str(TOP / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        return "cut off", "at its limit; what it had measured is kept"
    except BaseException:  # Ctrl-C must not leave a part behind
        kill_tree(process)
        raise
    return judge_exit(code, read_tail(log))


def judge_exit(code: int, tail: str) -> tuple[str, str]:
    """What became of a process, from its exit status and the end of its output."""
    last = tail.splitlines()[-1] if tail else ""
    if code == 0:
        return "done", ""
    if code == SKIPPED:
        return "skipped", last.removeprefix("skipped: ")
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
    return "failed", f"{how}: {last[:300]}" if last else how


def read_tail(log: Any) -> str:
    """The last lines of a log."""
    log.seek(0)
    return "\n".join(log.read().strip().splitlines()[-_LOG_LINES:])


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its group, and its descendants that have left it, as Ray's do."""
    descendants: list[Any] = []
    with contextlib.suppress(Exception):  # psutil may be missing where torch alone is there
        import psutil

        descendants = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with contextlib.suppress(Exception):  # it may be gone
            descendant.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process that hangs in the driver dies when it lets go
        process.wait(_KILL_SECONDS)


def end_line(results: Path) -> None:
    """End a line that was cut off in writing, or the next part's first record would stand in it."""
    if results.exists() and not results.read_bytes().endswith(b"\n"):
        with results.open("a") as file:
            file.write("\n")


def read_records(results: Path) -> list[dict[str, Any]]:
    """Read the records of all parts; a line that was cut off in writing is left out."""
    records = []
    for line in results.read_text().splitlines() if results.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def describe_part(part: Part, status: str, reason: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Describe a part at its end: what became of it, its tables, its notes."""
    own = [record for record in records if record["part"] == part.number]
    notes = [record["text"] for record in own if record["kind"] == "note"]
    named = {"number": part.number, "title": part.title, "status": status, "reason": reason}
    return {**named, "tables": collect_tables(own), "notes": notes}


def find_machine(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The device that parts described; empty where none got so far."""
    machines = (record for record in records if record["kind"] == "machine")
    return {name: value for name, value in next(machines, {}).items() if name not in ("part", "kind")}


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, in whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(file)


class Reporter:
    """Prints each part at its end, and writes the JSON of all that have ended.

    Args:
        minutes: time for all parts.
        file: the JSON file; None writes none.
    """

    def __init__(self, minutes: float, file: Path | None) -> None:
        self.minutes, self.file = minutes, file
        self.parts: list[dict[str, Any]] = []
        self.date = str(date.today())

    def __call__(self, part: dict[str, Any], machine: dict[str, Any]) -> None:
        """Report a part that has ended."""
        self.parts.append(part)
        print(render_part(part, machine, self.date), flush=True)
        if self.file is not None:
            content = {"date": self.date, "minutes": self.minutes, "machine": machine, "parts": self.parts}
            write_json(self.file, content)


def run_one(number: int, seconds: float, results: Path) -> int:
    """Run a part in this process.

    Args:
        number: its number.
        seconds: time that it should end within.
        results: file that it appends its records to.
    Returns:
        Exit status: 0; 1 where some of it failed, or `SKIPPED`, with the reason as the last line of the output.
    """
    from gpu_part import PartRun, PartSkippedError

    part = next(part for part in PARTS if part.number == number)
    run = PartRun(number, results, seconds, read_records(results))
    run.describe_machine()
    try:
        import_module(part.module).measure(run)
    except PartSkippedError as reason:
        print(f"skipped: {reason}", flush=True)
        return SKIPPED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "m3ray" or package.startswith("gpu_"):
            raise
        print(f"skipped: no {'Ray' if package == 'ray' else package}", flush=True)
        return SKIPPED
    if run.failures:
        print(f"{run.failures} of its measurements failed, the notes say which; the others stand", flush=True)
    return 1 if run.failures else 0


def choose_parts(only: str) -> list[Part]:
    """The parts that `--only` names, all where it names none."""
    numbers = {int(word) for word in only.split(",") if word.strip()}
    unknown = numbers - {part.number for part in PARTS}
    if unknown:
        raise SystemExit(f"--only {only}: there is no part {min(unknown)}: give some of 1 to {len(PARTS)}, as in 1,3")
    return [part for part in PARTS if not numbers or part.number in numbers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.5, help="time for all parts")
    parser.add_argument("--json", type=Path, help="file for all results, written anew at the end of each part")
    parser.add_argument("--only", default="", help="numbers of parts, as in 1,3; all where it is left out")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part is not None:
        return run_one(args.part, args.seconds, args.results)
    with tempfile.TemporaryDirectory() as folder:
        reporter = Reporter(args.minutes, args.json)
        done = run_parts(choose_parts(args.only), args.minutes * 60, Path(folder, "results.jsonl"), reporter)
    return 1 if any(part["status"] == "failed" for part in done) else 0


if __name__ == "__main__":
    sys.exit(main())
