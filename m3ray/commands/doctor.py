"""`m3ray doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from m3ray.commands.findings import Check, Finding, format_findings, is_sound, run_check

_NAMES = 22  # characters of the longest name
# Name, module and function of each check, and whether m3ray cannot work where the check itself fails. Modules are
# imported within the check: a broken package may be one that they need.
_CHECKS = (
    ("Python", "machine", "check_python", True),
    ("packages", "packages", "check_packages", True),
    ("extras", "packages", "check_extras", False),
    ("GPU", "machine", "check_gpus", False),
    ("processors", "machine", "check_processors", False),
    ("temporary files", "machine", "check_temporary_files", True),
    ("disks", "machine", "check_disks", False),
    ("limits", "machine", "check_limits", False),
    ("Ray cluster", "reach", "check_ray_address", False),
    ("self-test: decoding", "self_test", "try_decoding", True),
    ("self-test: network", "self_test", "try_network", True),
)
# What takes a moment: no import of a heavy package, no trial, no address.
_QUICK_CHECKS = (
    ("packages", "packages", "find_packages", True),
    *(check for check in _CHECKS if check[0] in {"Python", "processors", "temporary files", "disks", "limits"}),
)


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Checks of this machine."""

    json: bool = False
    """Write what was found as JSON, one finding a line."""
    quick: bool = False
    """Leave out what takes seconds (imports, trials, addresses): for a health check that runs again and again."""
    network: Literal["try", "skip"] = "try"
    """Whether the addresses of the published weights are tried, for 3 seconds at most."""


def run(options: DoctorOptions) -> int:
    """Check this machine, and print a line for each finding as it comes.

    Args:
        options: form of the output, and whether the network is tried.
    Returns:
        The exit status. 0: nothing essential is missing; 1: something is.
    """
    findings: list[Finding] = []
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for group in examine_quickly() if options.quick else examine(network=options.network == "try"):
        findings += group
        lines = [json.dumps(dataclasses.asdict(finding)) for finding in group]
        text = "\n".join(lines) if options.json else format_findings(group, colours=colours, width=_NAMES)
        print(text, flush=True)
    if not options.json:
        print(f"\n{describe_result(findings)}")
    return 0 if is_sound(findings) else 1


def examine(*, network: bool) -> Iterator[list[Finding]]:
    """Run all checks.

    Args:
        network: whether the addresses of the published weights are tried.
    Yields:
        Findings that belong together.
    """
    reaching: list[Any] = []

    def start() -> Iterable[Finding]:
        reaching.append(_find("reach", "start_reaching")())
        return ()

    if network:
        yield from filter(None, [run_check("network", start)])
    yield from _run_checks(_CHECKS)
    answers = reaching[0] if reaching else None
    yield from filter(None, [run_check("weights", lambda: _find("reach", "check_weights")(answers))])


def examine_quickly() -> Iterator[list[Finding]]:
    """Run the checks that take a moment.

    Yields:
        Findings that belong together.
    """
    yield from _run_checks(_QUICK_CHECKS)


def describe_result(findings: Iterable[Finding]) -> str:
    """Sum up what was found.

    Args:
        findings: all findings.
    Returns:
        A line.
    """
    wrong = [finding for finding in findings if finding.status != "ok"]
    essential = [finding.name for finding in wrong if finding.essential and finding.status == "missing"]
    if essential:
        return f"m3ray cannot work before this is mended: {', '.join(essential)}"
    return f"m3ray works here{f'; not essential: {len(wrong)}' if wrong else ''}"


def _run_checks(checks: Iterable[tuple[str, str, str, bool]]) -> Iterator[list[Finding]]:
    for name, module, function, essential in checks:
        yield from filter(None, [run_check(name, _make_check(module, function), essential=essential)])


def _make_check(module: str, function: str) -> Check:
    def check() -> Iterable[Finding]:
        found: Iterable[Finding] = _find(module, function)()
        return found

    return check


def _find(module: str, function: str) -> Any:
    return getattr(import_module(f"m3ray.commands.{module}"), function)
