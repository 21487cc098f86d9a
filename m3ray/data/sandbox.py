"""Decoding in a child process, restarted when it dies."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.data.sampling import Facts
from m3ray.errors import DecodeError

_PIPE_BYTES = 1 << 20


class Decoder:
    """Decodes clips in a child process.

    Args:
        config: rate, size and window.
        limits: what a clip may cost.
    """

    def __init__(self, config: DecodeConfig, limits: LimitsConfig) -> None:
        self.config = config
        self.limits = limits
        self._child: subprocess.Popen[bytes] | None = None

    def windows(self, data: bytes, *, first_frame_only: bool = False) -> Iterator[tuple[Facts, np.ndarray]]:
        """As `decode.decode`, in the child; a clip that kills it more than `limits.strikes` times is rejected.

        Raises:
            DecodeError: as `decode.decode`, and `decoder_crashed`, `timed_out`.
        """
        for strike in range(1, self.limits.strikes + 1):
            started = False
            try:
                for window in self._windows(data, first_frame_only):
                    started = True
                    yield window
                return
            except DecodeError as error:
                # What was already handed on can't be taken back, and a slow clip stays slow.
                if error.reason != "decoder_crashed" or started or strike == self.limits.strikes:
                    raise

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None

    def _windows(self, data: bytes, first_frame_only: bool) -> Iterator[tuple[Facts, np.ndarray]]:
        finished = False
        try:
            self._request(data, first_frame_only)
            while True:
                header, payload = self._receive()
                if "reason" in header:
                    finished = True
                    raise DecodeError(header["reason"], header["message"], header["stage"])
                if "end" in header:
                    finished = True
                    return
                frames = np.frombuffer(payload, np.uint8).reshape(header["shape"])
                yield Facts(**header["facts"]), frames
        finally:
            if not finished:  # crashed, timed out, or the caller wants no more windows: the child is mid-sentence
                self.close()

    def _request(self, data: bytes, first_frame_only: bool) -> None:
        child = self._running()
        header = {
            "payload": len(data),
            "decode": asdict(self.config),
            "limits": asdict(self.limits),
            "first_frame_only": first_frame_only,
        }
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(header).encode() + b"\n")
            child.stdin.write(data)
            child.stdin.flush()
        except BrokenPipeError:
            raise self._crash() from None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            self._child = subprocess.Popen(
                [sys.executable, "-m", "m3ray.data.decode_child", str(self.limits.memory_mb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._child

    def _receive(self) -> tuple[dict[str, Any], bytearray]:
        deadline = time.monotonic() + self.limits.decode_seconds
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read(1, deadline)
        header = json.loads(line)
        return header, self._read(header["payload"], deadline)

    def _read(self, count: int, deadline: float) -> bytearray:
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        out = bytearray(count)
        view, done = memoryview(out), 0
        while done < count:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise DecodeError("timed_out", f"no frames within {self.limits.decode_seconds:.0f} s: the clip hangs")
            got = os.readv(descriptor, [view[done : done + _PIPE_BYTES]])
            if not got:
                raise self._crash()
            done += got
        return out

    def _crash(self) -> DecodeError:
        assert self._child is not None
        status = self._child.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return DecodeError("decoder_crashed", f"the decoder died of this clip ({how}), {self.limits.strikes} times")
