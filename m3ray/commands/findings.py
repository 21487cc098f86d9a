"""What a check of this machine found, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Status = Literal["ok", "warning", "missing"]
_LONGEST = 200


@dataclass(frozen=True)
class Finding:
    """One line of what was found.

    Args:
        name: what was checked.
        status: ok; warning: works, but not as it could; missing: does not work.
        text: what is there.
        mend: command or advice that mends it; empty: nothing to mend.
        essential: whether m3ray cannot work without it, be it there or missing.
    """

    name: str
    status: Status
    text: str
    mend: str = ""
    essential: bool = False


Check: TypeAlias = Callable[[], Iterable[Finding]]


def run_check(name: str, check: Check, *, mend: str = "", essential: bool = False) -> list[Finding]:
    """Run a check that may fail in any way: broken packages raise what they like, SystemExit too.

    Args:
        name: what is checked, where the check cannot say it.
        check: function that finds.
        mend: what mends it where the check itself fails.
        essential: whether m3ray cannot work where the check fails.
    Returns:
        What it found; where it failed, that.
    """
    try:
        return list(check())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return [Finding(name, "missing", describe_error(error), mend, essential)]


def describe_error(error: BaseException) -> str:
    """An error as one short line.

    Args:
        error: what was raised.
    Returns:
        Its class and its message.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def is_sound(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing essential is missing.

    Args:
        findings: what was found.
    Returns:
        Whether m3ray can work.
    """
    return not any(finding.essential and finding.status == "missing" for finding in findings)


def format_findings(findings: Sequence[Finding], *, colours: bool, width: int) -> str:
    """Write findings as lines, each with what mends it below.

    Args:
        findings: what was found.
        colours: whether the status is coloured.
        width: characters of the column of names.
    Returns:
        Lines.
    """
    codes = {"ok": "32", "warning": "33", "missing": "31"} if colours else {}
    lines = []
    for finding in findings:
        status = f"{finding.status:<8}"
        if codes:
            status = f"\x1b[{codes[finding.status]}m{status}\x1b[0m"
        lines.append(f"{status} {finding.name:<{width}}  {finding.text}")
        if finding.mend:
            lines.append(f"{'':8} {'':{width}}  -> {finding.mend}")
    return "\n".join(lines)
