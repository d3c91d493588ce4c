"""The planning stage: where in one workspace each buffer lies, by when it is alive.

Kernels run in a fixed order, so each buffer is alive from the kernel that writes it to the last one
that reads it, and two that are never alive together may lie in the same place.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE = 64  # bytes to which a buffer is aligned
PAGE = 4096


class Buffer(NamedTuple):
    """What needs space: from kernel ``first`` to kernel ``last``, both included."""

    first: int
    last: int
    size: int


class Space:
    """Free stretches of a workspace that grows where none is large enough."""

    def __init__(self) -> None:
        self.free: list[tuple[int, int]] = []  # offset and size, in order
        self.top = 0

    def take(self, size: int) -> int:
        """The offset of the first stretch that is large enough; the end grows if none is."""
        for i, (offset, room) in enumerate(self.free):
            if room >= size:
                self.free[i:i + 1] = [(offset + size, room - size)] if room > size else []
                return offset
        offset = self.top
        if self.free and sum(self.free[-1]) == self.top:
            offset = self.free.pop()[0]
        self.top = offset + size
        return offset

    def give(self, offset: int, size: int) -> None:
        """Take a stretch back, joined to its neighbours."""
        i = bisect_left(self.free, (offset, 0))
        before, after = self.free[i - 1:i] if i else [], self.free[i:i + 1]
        first, last = i, i
        if before and sum(before[0]) == offset:
            first, offset, size = i - 1, before[0][0], before[0][1] + size
        if after and after[0][0] == offset + size:
            last, size = i + 1, size + after[0][1]
        self.free[first:last] = [(offset, size)]


def rounded(size: int) -> int:
    """The bytes that a buffer takes: whole lines, and no whole pages.

    Buffers at distances of pages would all want the same few places of a cache.
    """
    lines = -(-max(size, 1) // LINE) * LINE
    return lines if lines % PAGE else lines + LINE


def planned(buffers: Mapping[Any, Buffer], *, reuse: bool = True) -> tuple[dict[Any, int], int]:
    """The offset of each buffer, and the size of the workspace.

    Args:
        buffers: what needs space, by any key.
        reuse: whether space is given to others when nothing reads it any more.

    >>> from adjoint.compiler.plan import Buffer, planned
    >>> planned({"a": Buffer(0, 1, 100), "b": Buffer(1, 2, 60), "c": Buffer(2, 2, 128)})
    ({'a': 0, 'b': 128, 'c': 0}, 192)
    """
    space, offsets = Space(), dict[Any, int]()
    ending: list[tuple[int, int, int]] = []  # the last kernel, offset and size
    for key in sorted(buffers, key=lambda k: buffers[k].first):
        first, last, size = buffers[key]
        while reuse and ending and ending[0][0] < first:
            space.give(*heappop(ending)[1:])
        offsets[key] = space.take(rounded(size))
        heappush(ending, (last, offsets[key], rounded(size)))
    return offsets, space.top
