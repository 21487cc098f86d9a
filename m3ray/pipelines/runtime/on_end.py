"""What is called when a job has ended: a command, or a webhook. Nothing that goes wrong here changes the job's end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any
from urllib.parse import urlsplit

from m3ray.errors import ConfigError

_COMMAND_SECONDS = 60.0
_POST_SECONDS = 10.0
_TRIES = 3
_OTHER_SCHEME = re.compile(r"^\s*(?!https?://)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WEB = re.compile(r"^\s*https?://", re.IGNORECASE)
# The path of a webhook lets anyone post there who knows it; so does its query, and a user before its host.
_ADDRESS = re.compile(r"(https?)://[^\s'\"<>]+", re.IGNORECASE)
_MOST_CHARACTERS = 200

Tell = Callable[[str], None]


def check_on_end(target: str | None) -> None:
    """Check that the target can be called; no message names a secret.

    Args:
        target: `--on-end`, a shell command or an address; None if the option is not given.
    Raises:
        ConfigError: If it is an address that cannot be posted to.
    """
    if target is None:
        return
    if not target.strip() or _OTHER_SCHEME.match(target):
        raise ConfigError("--on-end: neither a command nor an http(s):// address: give one of them, or leave it out")
    if not is_address(target):
        return
    try:
        host = urlsplit(target.strip()).hostname
    except ValueError:
        host = None
    if not host or any(sign.isspace() for sign in target.strip()):
        raise ConfigError("--on-end: the address has no host or holds blanks: give http(s)://HOST/PATH, or a command")


def is_address(target: str) -> bool:
    """Whether the target is posted to rather than run.

    Args:
        target: `--on-end`, a shell command or an address.
    Returns:
        True for an http or https address.
    """
    return _WEB.match(target) is not None


def redact_target(target: str) -> str:
    """The target as it may be stored and logged.

    Args:
        target: `--on-end`, a shell command or an address.
    Returns:
        Scheme and host of an address; of a command not a word.
    """
    return redact_addresses(target.strip()) if is_address(target) else "a command (it may hold secrets: not kept)"


def redact_addresses(text: str) -> str:
    """Reduce each web address in a text to its scheme and host.

    Args:
        text: any text, such as the last line that a command printed.
    Returns:
        The text, with `***` in place of paths and queries.
    """
    return _ADDRESS.sub(_reduce_address, text)


def _reduce_address(match: re.Match[str]) -> str:
    try:
        host = urlsplit(match[0]).hostname or ""
    except ValueError:
        host = ""
    return f"{match[1].lower()}://{host}/***"


def call_target(target: str, event: Mapping[str, Any], environment: Mapping[str, str], tell: Tell) -> None:
    """Run the command, or post to the address; a failure is one line.

    Args:
        target: `--on-end`, a shell command or an address.
        event: how the job ended; as JSON it is the command's standard input, or what is posted.
        environment: variables that the command has beside the job's own.
        tell: function that takes the line.
    """
    data = json.dumps(event).encode() + b"\n"
    try:
        reason = _post(target.strip(), data) if is_address(target) else _run_command(target, data, environment)
    except Exception as error:  # whatever it is, the job has ended as it has; its text may hold the address
        reason = type(error).__name__
    if reason:
        name = redact_target(target) if is_address(target) else "the command"
        tell(f"on-end: {name}: {reason}; the job's result stays")


def _post(address: str, data: bytes) -> str:
    """Post the data; return why that failed, or nothing. What may pass is tried again."""
    headers = {"Content-Type": "application/json", "User-Agent": "m3ray"}
    request = urllib.request.Request(address, data, headers, method="POST")
    reason = ""
    for attempt in range(_TRIES):
        time.sleep(attempt)
        try:
            with urllib.request.urlopen(request, timeout=_POST_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"answered {error.code}"
            if error.code < 500 and error.code not in (408, 429):
                return reason
        except urllib.error.URLError as error:
            reason = redact_addresses(f"cannot be reached ({error.reason})")
        except TimeoutError:
            reason = f"did not answer within {_POST_SECONDS:.0f} s"
    return f"{reason}, {_TRIES} times"


def _run_command(command: str, data: bytes, environment: Mapping[str, str]) -> str:
    """Run the command; return why it failed, or nothing."""
    # Files, not pipes: what the command leaves running may hold on to them.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            shell=True,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            status = process.wait(_COMMAND_SECONDS)
        except BaseException as error:
            _kill(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return f"took more than {_COMMAND_SECONDS:.0f} s and was killed"
        return f"exit status {status}{_read_last_line(stderr)}" if status else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and all that it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_last_line(stderr: IO[bytes]) -> str:
    """The last line that the command printed, in brackets; empty if it printed none."""
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 4096))
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({redact_addresses(lines[-1])[:_MOST_CHARACTERS]})" if lines else ""
