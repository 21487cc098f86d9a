"""The command m3ray: from its arguments to a subcommand, which imports the heavy libraries that it needs."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from m3ray.commands.catalogue import COMMANDS, Command

_INTRODUCTION = """usage: m3ray COMMAND [options]

How memorable videos and images are: scores at once from a pretrained network, or models of your own, fitted to your
scores, with the tables and figures of their study. On a laptop or a Ray cluster.
"""
_CONCLUSION = """
m3ray COMMAND --help shows the options that most people need, --help-all all; m3ray --version the versions.

  m3ray score holiday.mp4 photos/
  m3ray reproduce --dataset table --root clips.csv --out results
"""
_SHORT, _ALL = ("--help", "-h"), "--help-all"
_UNKNOWN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: command line, without the program's name; None: this process's.
    Returns:
        The exit status. 0: done; 1: failed; 2: the request cannot be carried out; 130: Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    name, rest = (words[0], words[1:]) if words else ("--help", [])
    if name in (*_SHORT, _ALL):
        return _print_text(describe_commands)
    if name == "--version":
        return _print_text(_describe_versions)
    if name not in COMMANDS:
        print(f"error: {_explain_unknown(name)}", file=sys.stderr)
        return _UNKNOWN
    return _run(COMMANDS[name], rest)


def describe_commands() -> str:
    """Write the help of m3ray itself.

    Returns:
        Lines: what it does, the subcommands in groups, two examples.
    """
    lines = [_INTRODUCTION.rstrip("\n")]
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {c.name:<11}{c.line}" for c in COMMANDS.values() if c.group == group]
    return "\n".join(lines) + "\n" + _CONCLUSION.rstrip("\n")


def _run(command: Command, words: Sequence[str]) -> int:
    given = words[: words.index("--")] if "--" in words else words
    if any(word in _SHORT for word in given) and _ALL not in given:
        from m3ray.commands.short_help import describe_briefly

        return _print_text(lambda: describe_briefly(command))
    try:
        from m3ray.cli import main as run_job
        from m3ray.cli import parse_options, run_command
    except ImportError as error:
        return _run_broken(command, words, error)
    from m3ray.commands.short_help import load_options

    options, program, line = load_options(command), f"m3ray {command.name}", f"{command.line}."
    if command.job is not None:
        from m3ray.commands import jobs

        return run_job(options, getattr(jobs, command.job), line, words, program)

    def act() -> int:
        # Read when PyTorch is loaded. Threads that wait for each other would keep the cores busy: where other programs
        # work too, a network then takes several times as long.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        parsed = parse_options(options, line, words, program=program)
        run: Callable[[object], int] = import_module(f"m3ray.commands.{command.name}").run
        return run(parsed)

    return run_command(act)


def _run_broken(command: Command, words: Sequence[str], error: ImportError) -> int:
    """Where not even a command line can be read: the doctor works all the same, and others name it."""
    if command.name == "doctor":
        from m3ray.commands.doctor import DoctorOptions, run

        return run(DoctorOptions(json="--json" in words))
    print(f"error: {error}: m3ray doctor tells what is missing, and the command that mends it", file=sys.stderr)
    return 1


def _print_text(write: Callable[[], str]) -> int:
    try:
        print(write(), flush=True)
    except BrokenPipeError:  # whoever read along is gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _describe_versions() -> str:
    from m3ray.commands.versions import describe_versions

    return describe_versions()


def _explain_unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.6)
    guess = f": did you mean {' or '.join(near)}?" if near else ":"
    kind = "option" if name.startswith("-") else "command"
    return f"m3ray has no {kind} {name!r}{guess} m3ray --help lists the commands"
