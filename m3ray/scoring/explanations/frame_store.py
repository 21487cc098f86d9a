"""Frames of a clip while its map is computed: in memory, or of a long clip in a temporary file."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from m3ray.scoring.explanations.hiding import blur_frames

MAX_BYTES = 512 << 20
"""Bytes of frames that are held in memory: three minutes at 15 frames a second; all others lie in a file."""


class FrameStore:
    """Frames that some tier looks at, and their blurred versions.

    Args:
        max_bytes: bytes of frames that are held in memory; where there are more, all lie in a temporary file (TMPDIR),
            which goes with the store.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: list[np.ndarray] = []
        self._blurred: list[np.ndarray] = []
        self._rows: dict[int, int] = {}
        self._file: BinaryIO | None = None
        self.shape: tuple[int, ...] = (0, 0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_in_memory(self) -> bool:
        """Whether all frames are."""
        return self._file is None

    def add(self, position: int, frame: np.ndarray) -> None:
        """Keep a frame.

        Args:
            position: its position in the clip.
            frame: RGB, uint8, (H, W, 3).
        """
        self.shape = frame.shape
        self._rows[position] = len(self._rows)
        self._blurred.append(blur_frames(frame[None])[0])
        if self._file is not None:
            self._file.write(frame.tobytes())
            return
        self._frames.append(np.array(frame))
        if len(self._frames) * frame.nbytes > self._max_bytes:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            for kept in self._frames:
                self._file.write(kept.tobytes())
            self._frames = []

    def read(self, start: int, stop: int) -> np.ndarray:
        """Give consecutive frames.

        Args:
            start: position of the first.
            stop: end of the positions; all between must have been added.
        Returns:
            RGB, uint8, (T, H, W, 3).
        """
        rows = [self._rows[position] for position in range(start, stop)]
        if self._file is None:
            return np.stack([self._frames[row] for row in rows])
        # Read, and not mapped: pages of a mapping would count as this process's memory.
        self._file.flush()
        size = int(np.prod(self.shape))
        data = os.pread(self._file.fileno(), size * len(rows), size * rows[0])
        return np.frombuffer(data, np.uint8).reshape(len(rows), *self.shape)

    def read_blurred(self, start: int, stop: int) -> np.ndarray:
        """Give the blurred versions of consecutive frames.

        Args:
            start: position of the first.
            stop: end of the positions.
        Returns:
            uint8, (T, 32, 32, 3).
        """
        return np.stack([self._blurred[self._rows[position]] for position in range(start, stop)])
