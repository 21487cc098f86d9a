"""Decoding in a child process, restarted when it dies."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.decode_process import STOP
from m3ray.video.frame_slab import READ, open_slab, read_slab
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sampling import UNFORESEEN_TIMES, Extent

_PIPE_BYTES = 1 << 20
_LINE_BYTES = 4096
_SKIPPED_BYTES = 4 << 30  # of the rest of an answer that nobody wants any more
MAX_THREADS = 4
"""Threads of a decoder beyond which frames of usual sizes gain little; each takes address space."""
_START_SECONDS = 10.0  # a child loads its libraries before it reads
# Variables that a child needs to find Python, its libraries and a folder for temporary files.
_ENVIRONMENT = frozenset(
    [
        "PATH",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "TEMP",
        "SYSTEMROOT",
        "VIRTUAL_ENV",
    ]
)
# The decoder to try first, and the one to try after it if the first one hangs.
_ORDER = {"auto": ("pyav", "decord alone"), "pyav": ("pyav", "decord alone"), "decord": ("decord", "pyav")}


class Decoder:
    """Decodes clips in a child process.

    Args:
        config: sampling rate, size of the frames and length of a window.
        limits: per-clip limits of memory, time, pixels and crashes.
        decoder: "decord" takes decord where it is proven right, else PyAV; "pyav" and "auto" take PyAV.
        threads: threads that PyAV decodes with: more than one where cores would idle. Each takes address space of
            `limits.memory_mb`.
    """

    def __init__(
        self, config: DecodeConfig, limits: LimitsConfig, decoder: DecoderName = "auto", *, threads: int = 1
    ) -> None:
        self.config = config
        self.threads = threads
        self.limits = limits
        self.order = _ORDER[decoder]
        self.isolated: bool | None = None  # whether the child has no network; None before its first answer
        self._child: subprocess.Popen[bytes] | None = None
        self._slab: int | None = None  # the child's, a file descriptor
        self._rest = b""  # bytes that came with a header and belong to what follows it
        self._turn, self._answering = 0, False

    def windows(self, data: bytes, *, extent: Extent = "all") -> Iterator[tuple[VideoMetadata, np.ndarray]]:
        """Decode the sampled frames of a clip in the child.

        The child serves the next clip too, even if the caller takes only a part of this one. A clip that kills the
        child `limits.crash_count` times is rejected; one that it hangs on is tried with the other decoder before that.

        Args:
            data: bytes of the file.
            extent: what of the clip is wanted, as `decode.decode` takes it.
        Yields:
            The metadata of the clip, and frames: uint8, (T, size, size, 3), RGB.
        Raises:
            DecodeError: If `decode.decode` raises it, the child dies of the clip (`decoder_crashed`) or hangs on it
                (`timed_out`).
        """
        first, other = self.order
        started = False
        try:
            for window in self._windows_of(data, extent, first):
                started = True
                yield window
        except DecodeError as error:
            # Frames that were handed on cannot be taken back. decord was seen to crash on clips that PyAV reads.
            may_retry = error.reason == "timed_out" or (error.reason == "decoder_crashed" and first == "decord")
            if started or not may_retry:
                raise
            yield from self._windows_of(data, extent, other)

    def windows_in_one_pass(self, data: bytes) -> Iterator[tuple[int, VideoMetadata, np.ndarray]]:
        """Decode the sampled frames of a clip once, however long it is, and twice more only if its packets mislead.

        The last window of attempt 0 comes when all of the clip proved the others right; it then equals what `windows`
        gives. Where attempt 0 breaks off before that, because frames are not shown as the packets foretell, or the
        child dies of the clip or hangs on it, attempt 1 begins with the first window, and what came before is void.

        Args:
            data: bytes of the file.
        Yields:
            The attempt, 0 or 1, the metadata of the clip, and frames: uint8, (T, size, size, 3), RGB.
        Raises:
            DecodeError: If `windows` raises it.
        """
        begun: VideoMetadata | None = None
        try:
            for metadata, frames in self.windows(data, extent="in_one_pass"):
                begun = metadata
                yield 0, metadata, frames
            return
        except DecodeError as error:
            if error.reason != UNFORESEEN_TIMES and not _may_begin_anew(error, begun):
                raise
        for metadata, frames in self.windows(data):
            yield 1, metadata, frames

    def first_window(self, data: bytes) -> np.ndarray:
        """Decode the first window of a clip.

        Args:
            data: bytes of the file.
        Returns:
            uint8, (T, size, size, 3).
        Raises:
            DecodeError: If the clip cannot be decoded.
        """
        ((_, frames),) = self.windows(data, extent="first_window")
        return frames

    def ask(
        self, data: bytes, task: str, most_bytes: int, *, threads: int = 1, **wanted: Any
    ) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Have the child do something else with a clip than decode its windows.

        Args:
            data: bytes of the file.
            task: name of the task, as `shots.child_tasks` knows it.
            most_bytes: largest answer that is taken from the child, which is not trusted.
            threads: threads that it decodes with.
            **wanted: what the task takes, as JSON values.
        Yields:
            The header of each answer, and its bytes.
        Raises:
            DecodeError: If the task raises it, the child dies of the clip (`decoder_crashed`) or hangs on it
                (`timed_out`).
        """
        request = {"task": task, "limits": vars(self.limits), "threads": threads, **wanted}
        for header, payload in self._answers(partial(self._send, data, request), most_bytes):
            if "alive" not in header:
                yield header, payload

    def _windows_of(self, data: bytes, extent: Extent, decoder: str) -> Iterator[tuple[VideoMetadata, np.ndarray]]:
        for crashes in range(1, self.limits.crash_count + 1):
            started = False
            try:
                for window in self._windows(data, extent, decoder):
                    started = True
                    yield window
                return
            except DecodeError as error:
                if error.reason != "decoder_crashed" or started or crashes == self.limits.crash_count:
                    raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            self._child = None
        if self._slab is not None:
            os.close(self._slab)
            self._slab = None

    def _windows(self, data: bytes, extent: Extent, decoder: str) -> Iterator[tuple[VideoMetadata, np.ndarray]]:
        send = partial(self._request, data, extent, decoder)
        for header, payload in self._answers(send, self._window_bytes):
            if "shape" in header:
                yield VideoMetadata(**header["metadata"]), self._take_frames(header, payload)

    @property
    def _window_bytes(self) -> int:
        return self.config.window_frames * self.config.size**2 * 3

    def _answers(self, send_request: Callable[[], None], most_bytes: int) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Each answer of the child to a request, up to the last one, which is not handed on."""
        turn = self._take_turn()
        answered = False  # whether the child has ended its answer
        try:
            send_request()
            while True:
                if turn != self._turn:
                    raise RuntimeError("these windows ended when the same Decoder was asked for another clip")
                header, payload = self._receive(most_bytes)
                answered = "reason" in header or "end" in header
                self.isolated = header.get("isolated", self.isolated)
                if "reason" in header:
                    raise DecodeError(header["reason"], header["message"], header["stage"])
                if "end" in header:
                    return
                yield header, payload
        except GeneratorExit:
            answered = turn != self._turn or self._stop()
            raise
        finally:
            if turn == self._turn:
                self._answering = False
                if not answered:  # crashed or timed out
                    self.close()

    def _take_frames(self, header: dict[str, Any], payload: bytearray) -> np.ndarray:
        """The frames of a window, out of the slab or the pipe, in memory that the child has no hold on."""
        count, *sides = header["shape"]
        if not 0 <= count <= self.config.window_frames or sides != [self.config.size, self.config.size, 3]:
            raise DecodeError("decoder_error", f"the decoder answers with frames of shape {header['shape']}")
        if not header.get("slab") or self._slab is None:
            return np.frombuffer(payload, np.uint8).reshape(header["shape"])
        frames = read_slab(self._slab, (count, *sides))
        self._write(READ)
        return frames

    def _take_turn(self) -> int:
        """End an answer that somebody holds half read: the next one would else begin with the rest of it."""
        if self._answering and not self._stop():
            self.close()
        self._turn, self._answering = self._turn + 1, True
        return self._turn

    def _stop(self) -> bool:
        """Ask the child to end its answer, skip the rest of it, and tell whether the end came."""
        if self._child is None:
            return False
        try:
            self._write(STOP)
            while True:
                header, _ = self._receive()
                if "end" in header or "reason" in header:
                    return True
        except DecodeError:
            return False

    def _request(self, data: bytes, extent: Extent, decoder: str) -> None:
        request = {
            "decode": vars(self.config),  # plain numbers: of a small image, a deep copy would be felt
            "limits": vars(self.limits),
            "extent": extent,
            "decoder": decoder,
            "threads": self.threads,
        }
        self._send(data, request)

    def _send(self, data: bytes, request: dict[str, Any]) -> None:
        self._ensure_child()
        self._write(json.dumps({"payload": len(data), **request}).encode() + b"\n")
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write to the child; DecodeError if it is gone, or takes nothing for as long as it may hang."""
        assert self._child is not None
        assert self._child.stdin is not None
        pipe, view = self._child.stdin.fileno(), memoryview(data)
        deadline = time.monotonic() + max(self.limits.decode_seconds, _START_SECONDS)
        while view:
            if not select.select([], [pipe], [], max(0.0, deadline - time.monotonic()))[1]:
                raise self._hang_error()
            try:
                view = view[os.write(pipe, view[:_PIPE_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._crash_error() from None

    def _ensure_child(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            # Neither cloud keys nor tokens: whatever a hostile file does to the child, it has none to give away.
            environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
            environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            self._rest = b""
            self._slab = open_slab(self._window_bytes)
            slabs = () if self._slab is None else (self._slab,)
            memory = str(self.limits.memory_mb)
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "m3ray.video.decode_process", memory, *map(str, slabs)],
                pass_fds=slabs,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                pipesize=_PIPE_BYTES,
            )
            assert self._child.stdin is not None
            os.set_blocking(self._child.stdin.fileno(), False)  # a child that hangs must not take its parent along
        return self._child

    def _receive(self, most_bytes: int = _SKIPPED_BYTES) -> tuple[dict[str, Any], bytearray]:
        deadline = time.monotonic() + self.limits.decode_seconds
        line = self._rest
        while b"\n" not in line:
            line += self._read_some(_LINE_BYTES, deadline)
        end = line.index(b"\n") + 1
        header = json.loads(line[:end])
        if header["payload"] > most_bytes:
            raise DecodeError("decoder_error", f"the decoder answers with {header['payload']} bytes")
        payload = bytearray(header["payload"])
        count = min(len(line) - end, len(payload))
        payload[:count] = line[end : end + count]
        self._rest = line[end + count :]
        self._read_into(memoryview(payload)[count:], deadline)
        return header, payload

    def _read_into(self, view: memoryview, deadline: float) -> None:
        while len(view):
            self._wait(deadline)
            count = os.readv(self._descriptor, [view[:_PIPE_BYTES]])
            if not count:
                raise self._crash_error()
            view = view[count:]

    def _read_some(self, max_bytes: int, deadline: float) -> bytes:
        self._wait(deadline)
        data = os.read(self._descriptor, max_bytes)
        if not data:
            raise self._crash_error()
        return data

    def _wait(self, deadline: float) -> None:
        if not select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise self._hang_error()

    def _hang_error(self) -> DecodeError:
        seconds = self.limits.decode_seconds
        return DecodeError(
            "timed_out", f"no frames within {seconds:.0f} s: the clip hangs, or raise limits.decode-seconds"
        )

    @property
    def _descriptor(self) -> int:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def _crash_error(self) -> DecodeError:
        assert self._child is not None
        status = self._child.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return DecodeError("decoder_crashed", f"the decoder died of this clip ({how}), {self.limits.crash_count} times")


def _may_begin_anew(error: DecodeError, begun: VideoMetadata | None) -> bool:
    """Whether a clip that broke off in one pass would have been tried again, had its frames been held back."""
    return begun is not None and begun.decoder == "pyav" and error.reason in ("decoder_crashed", "timed_out")
