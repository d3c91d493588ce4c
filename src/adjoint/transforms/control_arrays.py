"""Arrays of the user's that a function reaches: writes to them, which no later turn would repeat.

NumPy's arrays are no Boxes, so nothing sees it when a function that is being written down changes
one in place. It would change once, and each turn of a loop would read what it was then. To find
that out arrays are copied and compared, so it is done when a function's code runs here first.
"""

from __future__ import annotations

from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1 << 20  # elements of arrays that are compared
DEPTH = 4  # of containers and functions inside others


innocent: set[tuple[CodeType, ...]] = set()  # codes of functions that have written to no array
KNOWN = 4096  # of them


def codes_of(f: Any) -> tuple[CodeType, ...]:
    """The code of a function and of those in its closure: another function has another."""
    if not isinstance(f, FunctionType):
        return ()
    cells = [getattr(cell, "cell_contents", None) for cell in f.__closure__ or ()]
    return f.__code__, *[g.__code__ for g in cells if isinstance(g, FunctionType)]


def absolve(f: Any) -> None:
    """Note that the code of ``f`` has written to no array."""
    if len(innocent) >= KNOWN:
        innocent.clear()
    if codes := codes_of(f):
        innocent.add(codes)


def inside(value: Any) -> Iterator[Any]:
    """What stands one step inside a value: cells, globals, defaults, elements, attributes."""
    if isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, FunctionType):
        yield from value.__defaults__ or ()
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # a variable that has no value yet
                continue
        yield from (value.__globals__[name] for name in value.__code__.co_names
                    if name in value.__globals__)
    elif type(value) in (list, tuple):
        yield from value
    elif type(value) is dict:
        yield from value.values()
    elif type(value).__module__ not in ("builtins", "numpy") and not isinstance(value, type):
        yield from getattr(value, "__dict__", {}).values()


def arrays_of(f: Any) -> list[tuple[Any, Any]]:
    """The writable arrays that ``f`` reaches, and copies of them; none if its code is known."""
    if codes_of(f) in innocent:
        return []
    seen, found, size = set[int](), list[tuple[Any, Any]](), 0
    level = [f]
    for _ in range(DEPTH):
        below: list[Any] = []
        for value in level:
            if id(value) in seen or type(value).__name__ == "module":
                continue
            seen.add(id(value))
            if isinstance(value, np.ndarray):
                size += value.size
                if value.flags.writeable and size <= LIMIT:
                    found.append((value, value.copy()))
            else:
                below += inside(value)
        level = below
    return found


def written(arrays: list[tuple[Any, Any]]) -> bool:
    """Whether one of the arrays is not what it was; it becomes that again."""
    changed = [(a, before) for a, before in arrays if a.shape != before.shape or (
        a.tobytes() != before.tobytes())]
    for a, before in changed:
        a[...] = before
    return bool(changed)
