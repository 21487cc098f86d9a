"""A network as CUDA graphs, one for each bucket of batches: small batches no longer wait for their launches."""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]
# From a function and its input, which stays where it is, to a function that computes it anew and returns the output,
# which stays where it is too.
Capture = Callable[[Run, Tensor], Callable[[], Tensor]]

# Graphs that are kept; each holds its input and output, and all share one pool for what lies between.
_KEPT = 8
# Capturing costs several runs: a shape that comes a third time will come again.
_APPEARANCES = 3
# Frames of a batch above which an H100's kernels take longer than their launches, reckoned: a CSN's 350 launches take
# 1.4 ms, and one clip of 45 frames 1 ms. A graph of more would hold gigabytes for nothing.
_FRAMES = 256
_IMAGES_DIMENSIONS = 4

_Bucket = tuple[int, ...]


@dataclass(frozen=True)
class _Graph:
    x: Tensor
    replay: Callable[[], Tensor]


class GraphedNetwork:
    """A network that repeats batches of known shapes as graphs, and computes all others as they come.

    A batch is padded to a power of two of clips. Each clip's features are computed from its own frames alone, so what
    stands in the rows beyond it, frames of an earlier batch or zeros, changes nothing of them but the rounding that
    any batch of that size has; deterministic algorithms are therefore never graphed.

    Args:
        run: the network, from uint8 frames, (B, [T,] H, W, 3), to features, (B, width).
        capture: function that captures a graph; another than CUDA's is for tests.
    """

    def __init__(self, run: Run, capture: Capture | None = None) -> None:
        self._run = run
        self._capture: Capture | None = capture or CudaCapture()
        self._graphs: OrderedDict[_Bucket, _Graph] = OrderedDict()
        self._appearances: Counter[_Bucket] = Counter()

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute the features of a batch.

        Args:
            frames: uint8, on the device, (B, H, W, 3) or (B, T, H, W, 3).
        Returns:
            (B, width), not overwritten by later batches.
        """
        bucket = (1 << (len(frames) - 1).bit_length(), *frames.shape[1:])
        if self._capture is None or _count_frames(bucket) > _FRAMES or torch.are_deterministic_algorithms_enabled():
            return self._compute(frames)
        graph = self._find(bucket, frames)
        return self._compute(frames) if graph is None else _replay(graph, frames)

    def _compute(self, frames: Tensor) -> Tensor:
        try:
            return self._run(frames)
        except torch.OutOfMemoryError:
            # What graphs hold cannot be given to anybody else.
            self._drop_graphs()
            raise

    def _find(self, bucket: _Bucket, frames: Tensor) -> _Graph | None:
        if bucket in self._graphs:
            self._graphs.move_to_end(bucket)
            return self._graphs[bucket]
        self._appearances[bucket] += 1
        return self._add(bucket, frames) if self._appearances[bucket] >= _APPEARANCES else None

    def _add(self, bucket: _Bucket, frames: Tensor) -> _Graph | None:
        assert self._capture is not None
        try:
            x = frames.new_zeros(bucket)
            graph = _Graph(x, self._capture(self._run, x))
        except Exception as error:  # Whatever it was, the batch can be computed without.
            self._give_up(bucket, error)
            return None
        self._graphs[bucket] = graph
        if len(self._graphs) > _KEPT:
            oldest, _ = self._graphs.popitem(last=False)
            self._appearances[oldest] = 0
        return graph

    def _give_up(self, bucket: _Bucket, error: Exception) -> None:
        """All later batches too: a network that cannot be captured once will not be another time."""
        self._drop_graphs()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"networks run without CUDA graphs from here on: none can be made for {bucket} ({reason}). Their numbers "
            "are the same, small batches are slower",
            stacklevel=2,
        )

    def _drop_graphs(self) -> None:
        self._capture = None
        self._graphs.clear()


def _count_frames(shape: _Bucket) -> int:
    return shape[0] if len(shape) == _IMAGES_DIMENSIONS else shape[0] * shape[1]


def _replay(graph: _Graph, frames: Tensor) -> Tensor:
    graph.x[: len(frames)].copy_(frames)
    # A copy: features wait on the device to the end of all batches, and the next replay writes the same memory.
    return graph.replay()[: len(frames)].clone()


class CudaCapture:
    """Captures functions as CUDA graphs that share one pool of memory.

    Sharing is safe in any order of replays: they run one after the other on one stream, inputs lie outside the pool,
    and each output is copied before the next replay.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, run: Run, x: Tensor) -> Callable[[], Tensor]:
        """Capture a function.

        Args:
            run: function from a tensor on a GPU to another one, that waits for nothing.
            x: its input, which replays read anew.
        Returns:
            Function that replays it and returns the output.
        """
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        _warm_up(run, x)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process, such as one that prepares the next batch, go on with their own calls.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            out = run(x)

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


def _warm_up(run: Run, x: Tensor) -> None:
    """Run twice beside the graph: what is allocated, uploaded or chosen at first calls must not be captured."""
    stream = torch.cuda.Stream(x.device)
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        for _ in range(2):
            run(x)
    torch.cuda.current_stream(x.device).wait_stream(stream)
