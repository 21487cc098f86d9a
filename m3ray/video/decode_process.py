"""Main program of the decoding child, which may crash, run out of memory or hang without harm to a Ray task.

Reads requests on standard input and answers on standard output; `sandbox.Decoder` is its other side.
Each message is a line of JSON, then as many raw bytes as its `payload` says. A request is answered with windows of
frames and `end`, or with `reason`; one with a `task` as `shots.child_tasks` says; `alive` says meanwhile that work goes
on. A line `stop` asks for the end of the answer; one that comes too late is ignored.
Where the child was given a slab (`frame_slab`), a window has no payload but lies there, until a line `read` says that
the other side has its copy; only then is the next one written.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.frame_slab import READ, write_slab

STOP = b"stop\n"
_SKIP_BYTES = 1 << 20
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # linux/sched.h


def main() -> None:
    """Answer requests until standard input closes."""
    requests, answers = sys.stdin.buffer, _private_stdout()
    slab = int(sys.argv[2]) if len(sys.argv) > 2 else None
    isolated = _leave_network()
    _limit_memory(int(sys.argv[1]))
    # Imported once the limits stand: decoders' native code may print or crash while loading.
    import cv2

    from m3ray.video import decode

    cv2.setNumThreads(1)  # one core a decoding task
    while line := requests.readline():
        if line not in (STOP, READ):
            request = json.loads(line)
            _send(answers, {**_answer(decode, request, _Exchange(requests, answers, slab)), "isolated": isolated})


def _private_stdout() -> BinaryIO:
    """The real standard output, hidden from native code that prints to descriptor 1."""
    private = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    return private


def _leave_network() -> bool:
    """Move into a namespace without network, so that no decoder can fetch what a file names; tell whether that worked.

    Where it is not allowed, the list of containers still protects.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    return ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK) == 0


def _limit_memory(megabytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


class _StopError(Exception):
    """The other side wants no more of this answer."""


class _Exchange:
    """Both ends of the conversation about one clip."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, slab: int | None) -> None:
        self.requests, self.answers, self.slab = requests, answers, slab
        self._unread = False  # whether the slab holds a window that the other side still needs

    def pulse(self) -> None:
        """Say that work goes on, unless nobody wants it any more."""
        self.check_stop()
        _send(self.answers, {"alive": True})

    def send(self, header: dict[str, Any], payload: Any = b"") -> None:
        """Hand on what is no window of frames."""
        _send(self.answers, header, payload)
        self.check_stop()

    def send_window(self, metadata: dict[str, Any], frames: Any) -> None:
        """Hand a window of frames over."""
        header = {"metadata": metadata, "shape": frames.shape}
        if self.slab is None:
            _send(self.answers, header, frames.data)
        else:
            while self._unread:
                self._hear()
            write_slab(self.slab, frames)
            self._unread = True
            _send(self.answers, {**header, "slab": True})
        self.check_stop()

    def check_stop(self) -> None:
        """Stop if the other side says so, or is gone."""
        while select.select([self.requests], [], [], 0)[0]:
            self._hear()

    def _hear(self) -> None:
        """Wait for what the other side sends during an answer: `read` once it has a window, else `stop`."""
        # Not through the buffer, in which a second line would be hidden from `select`.
        if os.read(self.requests.fileno(), len(READ)) != READ or not self._unread:
            raise _StopError
        self._unread = False


def _answer(decode: Any, request: dict[str, Any], exchange: _Exchange) -> dict[str, Any]:
    """Send the windows of the clip, or what else is asked of it, and return the message that ends the answer."""
    try:
        data = _read_payload(exchange.requests, request["payload"])
        if "task" in request:
            from m3ray.video.shots.child_tasks import run_task

            run_task(data, request, exchange)
        else:
            for metadata, frames in _decode_windows(decode, data, request, exchange):
                exchange.send_window(metadata.as_dict(), frames)
    except _StopError:
        pass
    except DecodeError as error:
        return {"reason": error.reason, "message": error.message, "stage": error.stage}
    except MemoryError:
        memory = request["limits"]["memory_mb"]
        message = f"needs more than the {memory} MiB of limits.memory-mb: raise it, or leave the clip out"
        return {"reason": "out_of_memory", "message": message, "stage": "decode"}
    except Exception as error:
        return {"reason": "decoder_error", "message": f"{type(error).__name__}: {error}", "stage": "decode"}
    return {"end": True}


def _read_payload(requests: BinaryIO, size: int) -> bytes:
    """The bytes of the clip; where they do not fit into memory they are skipped, as the next request follows them."""
    try:
        return requests.read(size)
    except MemoryError:
        while size > 0 and (part := requests.read(min(size, _SKIP_BYTES))):
            size -= len(part)
        raise


def _decode_windows(decode: Any, data: bytes, request: dict[str, Any], exchange: _Exchange) -> Iterator[Any]:
    config, limits = DecodeConfig(**request["decode"]), LimitsConfig(**request["limits"])
    wanted = {name: request[name] for name in ("extent", "decoder", "threads")}
    yield from decode.decode(data, config, limits, **wanted, pulse=exchange.pulse)


def _send(answers: BinaryIO, header: dict[str, Any], payload: Any = b"") -> None:
    header["payload"] = getattr(payload, "nbytes", len(payload))
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(payload)
    answers.flush()


if __name__ == "__main__":
    main()
