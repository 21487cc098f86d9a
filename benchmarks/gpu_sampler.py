"""How busy a GPU is while something runs, and how much of its memory is taken: sampled by nvidia-smi."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from types import TracebackType

_MILLISECONDS = 100


class GpuSampler:
    """Samples the first GPU for the length of the block; where there is none, all it tells is None."""

    def __enter__(self) -> GpuSampler:
        self.busy: float | None = None
        self.peak_gib: float | None = None
        self._file = tempfile.TemporaryFile("w+")
        self._process = None
        if shutil.which("nvidia-smi") is not None:
            fields = "--query-gpu=utilization.gpu,memory.used"
            command = ["nvidia-smi", "-i", "0", fields, "--format=csv,noheader,nounits", "-lms", str(_MILLISECONDS)]
            self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._file.seek(0)
        self.busy, self.peak_gib = parse_samples(self._file.read())
        self._file.close()


def parse_samples(text: str) -> tuple[float | None, float | None]:
    """Mean share of time with a kernel running, and the most memory taken, from lines of nvidia-smi.

    Args:
        text: lines `percent, MiB`; others, such as one that was cut off or `[N/A]`, are left out.
    Returns:
        Share in [0, 1], and GiB; None where no line tells.
    """
    pairs = [line.split(",") for line in text.splitlines()]
    numbers = [pair for pair in pairs if len(pair) == 2 and all(part.strip().isdigit() for part in pair)]
    if not numbers:
        return None, None
    return statistics.fmean(int(busy) for busy, _ in numbers) / 100, max(int(used) for _, used in numbers) / 1024
