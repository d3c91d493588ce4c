"""Memory that calls use again: arrays that nobody holds any more, and one workspace for all.

`fresh` makes an aligned array on memory of its own, on huge pages if it is large. A compiled call
keeps its last results in lists of two, and takes one again when it is held by its list alone;
`reserve` bounds how much all of these hold. Tuples of Python floats are kept so too (`arrays_ir`).
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from contextlib import suppress
from math import prod
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE = 64  # bytes: of a line of the cache, and of the widest vector
LARGE = 4096  # bytes from which on alignment pays for a call of Python
HUGE, PAGE = 4 << 20, 2 << 20  # bytes from which on huge pages are asked for, and their size
LIMIT = 1 << 30  # bytes that all pools may hold
AGAIN = 2  # arrays of one output: the one that the caller has, and the one before


class Memory(np.ndarray):
    """Bytes of which one array is made. Views of that array refer to it, as to an owner."""


def fresh(shape: Sequence[int], dtype: Any) -> Any:
    """An array of undefined values, alone on memory that is aligned to `LINE`.

    >>> from adjoint.compiler.pool import fresh
    >>> x = fresh((1000, 3), np.dtype(float))
    >>> x.shape, x.ctypes.data % 64
    ((1000, 3), 0)
    """
    size = prod(shape) * dtype.itemsize
    if size >= HUGE:
        return np.ndarray(shape, dtype, *huge(size))
    memory: Any = Memory((size + LINE,), np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % LINE)


def huge(size: int) -> tuple[Any, int]:
    """Memory for a large array, and where in it a huge page begins."""
    whole = size + PAGE
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        memory: Any = Memory((whole,), np.uint8)
    else:
        pages = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without them: small pages do the same work
                pages.madvise(mmap.MADV_HUGEPAGE)
        memory = Memory((whole,), np.uint8, pages)
    return memory, -memory.ctypes.data % PAGE


# ---- how much is held

class State:
    """What all pools hold together, and the workspace.

    A thread may come back while it has the lock: a collection runs whatever objects do at their
    end. What these give back is therefore only noted.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.reserved = 0
        self.returned: deque[int] = deque()
        self.spare: Any = np.empty(0, np.uint8)

    def held(self) -> int:
        """The bytes that pools hold or may come to hold."""
        with self.lock:
            while self.returned:
                self.reserved -= self.returned.popleft()
            return self.reserved


state = State()


class Share:
    """What a function has reserved, for as long as this lives."""


def reserve(owner: Share, size: int) -> bool:
    """Whether the pools have room for ``size`` bytes more; they are ``owner``'s until it ends."""
    with state.lock:
        if state.held() + size > LIMIT:
            return False
        state.reserved += size
    weakref.finalize(owner, state.returned.append, size).atexit = False
    return True


# ---- the workspace

def workspace(size: int) -> Any:
    """Aligned bytes that every call may use that keeps the GIL: the largest made so far."""
    with state.lock:
        if state.spare.nbytes < size:
            state.spare = fresh((size,), np.dtype(np.uint8))
        return state.spare


def after_fork() -> None:
    """A lock that another thread held when the process forked is free in the child."""
    state.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
