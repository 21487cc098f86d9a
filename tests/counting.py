"""Operations and copies that code asks of a device, counted without one: on `torch.device("meta")`.

An operation that computes or copies is a launch on a GPU, of one kernel in most cases; views and allocations are none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
_FROM_LISTS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
_ALLOCATIONS = (
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "detach",
    "lift_fresh",
    "alias",
)


class _CountedLists(TorchFunctionMode):
    """Counts tensors that are made of lists on a device: each is an upload that no operation shows."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.uploads += func in _FROM_LISTS and out.device.type != "cpu"
        return out


class CountedOperations(TorchDispatchMode):
    """Counts what is asked of a device other than the CPU while it is entered.

    Attributes:
        names: how often each operation was asked for, views and allocations not counted.
        downloads: copies from the device to the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self._lists = _CountedLists()
        self._uploads = 0
        self.downloads = 0

    def __enter__(self) -> CountedOperations:
        self._lists.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._lists.__exit__(*error)

    @property
    def uploads(self) -> int:
        """Copies from the host to the device."""
        return self._uploads + self._lists.uploads

    @property
    def launches(self) -> int:
        """Operations on the device, copies within it included, those from and to the host not."""
        return self.names.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        sources, results = ({t.device.type for t in tree_leaves(x) if isinstance(t, Tensor)} for x in (args, out))
        if name == "copy_":
            sources, results = {args[1].device.type}, {args[0].device.type}
        if name in ("_to_copy", "copy_") and sources != results:
            self._uploads += sources == {"cpu"}
            self.downloads += results == {"cpu"}
        elif results - {"cpu"} and not func.is_view and name not in _ALLOCATIONS:
            self.names[name] += 1
        return out


class CountedMemory(TorchDispatchMode):
    """Measures the memory of tensors that are made on `meta` while it is entered.

    Attributes:
        peak: the most bytes that such tensors have taken together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        storages = [x.untyped_storage() for x in tree_leaves(out) if isinstance(x, Tensor) and x.device == META]
        # Whatever was freed before has its address given to another.
        self._alive = {reference: size for reference, size in self._alive.items() if not reference.expired()}
        self._alive |= {StorageWeakRef(storage): storage.nbytes() for storage in storages}
        self.peak = max(self.peak, sum(self._alive.values()))
        return out


def count_operations(function: Any, *arguments: Any) -> CountedOperations:
    """Count what a call asks of the device, after a first call that uploads what is uploaded once.

    Args:
        function: function to call twice.
        arguments: its positional arguments.
    """
    function(*arguments)
    counted = CountedOperations()
    with counted:
        function(*arguments)
    return counted
