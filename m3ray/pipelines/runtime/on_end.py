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
_MOST_WORDS = 200

Tell = Callable[[str], None]


def check_on_end(target: str | None) -> None:
    """Raises ConfigError for an address that cannot be posted to; what it says names no secret."""
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
    """Whether `--on-end` is posted to rather than run."""
    return _WEB.match(target) is not None


def shown(target: str) -> str:
    """`--on-end` as it may be kept and said: a webhook's scheme and host alone, and of a command not a word."""
    return without_secrets(target.strip()) if is_address(target) else "a command (it may hold secrets: not kept)"


def without_secrets(text: str) -> str:
    """`text`, each web address in it reduced to scheme and host."""
    return _ADDRESS.sub(_reduced, text)


def _reduced(found: re.Match[str]) -> str:
    try:
        host = urlsplit(found[0]).hostname or ""
    except ValueError:
        host = ""
    return f"{found[1].lower()}://{host}/***"


def call(target: str, event: Mapping[str, Any], environment: Mapping[str, str], tell: Tell) -> None:
    """Runs the command, or posts to the address; a failure is one line to `tell`.

    Args:
        target: `--on-end`.
        event: how the job ended; as JSON it is the command's standard input, or what is posted.
        environment: variables that the command has beside the job's own.
        tell: takes the line.
    """
    data = json.dumps(event).encode() + b"\n"
    try:
        why = _posted(target.strip(), data) if is_address(target) else _run(target, data, environment)
    except Exception as error:  # whatever it is, the job has ended as it has; its text may hold the address
        why = type(error).__name__
    if why:
        tell(f"on-end: {shown(target) if is_address(target) else 'the command'}: {why}; the job's result stays")


def _posted(address: str, data: bytes) -> str:
    """Empty, or why it could not be posted; what may pass is tried again."""
    headers = {"Content-Type": "application/json", "User-Agent": "m3ray"}
    request = urllib.request.Request(address, data, headers, method="POST")
    why = ""
    for attempt in range(_TRIES):
        time.sleep(attempt)
        try:
            with urllib.request.urlopen(request, timeout=_POST_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            why = f"answered {error.code}"
            if error.code < 500 and error.code not in (408, 429):
                return why
        except urllib.error.URLError as error:
            why = without_secrets(f"cannot be reached ({error.reason})")
        except TimeoutError:
            why = f"did not answer within {_POST_SECONDS:.0f} s"
    return f"{why}, {_TRIES} times"


def _run(command: str, data: bytes, environment: Mapping[str, str]) -> str:
    """Empty, or why the command failed. Files, not pipes: what it leaves running may hold on to them."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(data)
        given.seek(0)
        process = subprocess.Popen(
            command,
            shell=True,
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=said,
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
        return f"exit status {status}{_last_words(said)}" if status else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the command and all that it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4096))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({without_secrets(lines[-1])[:_MOST_WORDS]})" if lines else ""
