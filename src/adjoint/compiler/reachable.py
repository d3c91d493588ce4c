"""What a function can reach besides its arguments: closure cells, globals, attributes, containers.

`reach(f)` walks them once before tracing, so that nothing of Python's is baked into a compiled
function unseen. Each value stands at a `places.Place`, and is one of four things: a tensor; a
number or an array, which becomes an input of the compiled function; a value that is compared before
each call (a guard); or a container, an object or a function, which is walked in its turn
(`inside.py`).
"""

from __future__ import annotations

import random
import sys
import weakref
from collections.abc import Iterator as IteratorBase
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf
from adjoint.errors import ArgumentError
from adjoint.tensors import Tensor

from .inside import inside, named_there, passing, root
from .places import UNREAD, Attribute, Called, Passing, Place, Reached, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 100_000  # places; more is a data set that is better passed as an argument
PLAIN = (int, float, str, bytes, complex, type(None), np.dtype, np.integer, np.bool_, slice,
         type(Ellipsis), range)
FLOATS = (float, np.float64)
ARRAYS = (np.ndarray, np.floating, np.complexfloating)
PLACED = (np.ndarray, np.memmap)  # other classes of arrays have rules of their own
ORDERED = {"vars", "__dict__", "asdict", "astuple"}  # they tell in which order attributes were set


def reach(f: Any) -> Reached:
    """Everything that ``f`` can reach. Raises ArgumentError if that is very much."""
    found, asked = Reached(), set[tuple[int, str]]()
    waiting = [Place(Passing([f]), 0)]
    for count, place in enumerate(waiting):  # which grows
        if count > LIMIT:
            raise ArgumentError(f"ad.jit: the function reaches more than {LIMIT:,} Python values "
                                "(a list of data?); pass them as an argument, as one array")
        try:
            value = place.get()
        except UNREAD:
            found.missing.append(place)
        else:
            waiting += entered(place, value, found)
        if count + 1 == len(waiting):
            waiting += named_there(found, asked)
    if found.names & ORDERED:
        found.orders += [(d, (*d,)) for d in found.attributes if len(d) > 1]
    return found


def entered(place: Place, value: Any, found: Reached) -> Iterator[Place]:
    """Sort one value; the places inside it, if it has any."""
    kind = type(value)
    passes = isinstance(place.holder, Passing) or isinstance(place.key, Called) or (
        isinstance(place.key, Attribute) and place.key.name == "args")  # none can be assigned to
    if kind in weakref.ProxyTypes:
        found.same.append((place, value))
        yield from passing(*behind(value))
    elif isinstance(value, Tensor):
        if id(value) not in found.tensors:
            yield from (Place(Passing([hook]), 0) for hook in hooks_of(value))
        found.tensors[id(value)] = value
        found.same.append((place, value))
    elif kind in FLOATS and not passes:
        found.numbers.append(place)
    elif isinstance(value, ARRAYS):
        array(place, value, found, passes=passes)
        yield from extras(value, found)
    elif isinstance(value, PLAIN):
        found.equal.append((place, value))
        yield from extras(value, found)
    elif isinstance(value, (set, frozenset)) or is_buffer(value):
        found.contents.append((place, value, snapshot(value)))
        yield from extras(value, found)
    elif isinstance(value, tuple):
        found.lengths.append((place, len(value)))
        if kind is tuple or hasattr(kind, "_make"):
            yield from (Place(place.holder, place.key, (*place.inner, i))
                        for i in range(len(value)))
        else:  # it could not be made anew with another element
            found.same.append((place, value))
            yield from passing(*value)
        yield from extras(value, found)
    else:
        found.same.append((place, value))
        if is_generator(value):
            found.generators.append(value)
        elif not isinstance(value, (Box, np.ufunc)) and id(value) not in found.seen:
            if isinstance(value, IteratorBase) and is_builtin(kind) and not passes:
                found.iterators.append(place)
            found.seen[id(value)] = value
            yield from inside(value, found)


def array(place: Place, value: Any, found: Reached, *, passes: bool) -> None:
    """Sort an array, or a NumPy number."""
    if value.dtype.kind not in "fciub":
        found.contents.append((place, value, snapshot(np.asarray(value))))
    elif isinstance(value, np.ndarray) and type(value) not in PLACED:
        found.same.append((place, value))
    elif not passes:
        found.arrays.append(place)
    else:
        found.stuck[id(value)] = value
        if isinstance(place.key, Called):
            found.same.append((place, value))


def extras(value: Any, found: Reached) -> Iterator[Place]:
    """What a value has besides, whose class is no builtin one: attributes and methods."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        yield from passing(*value.ravel())
    if id(value) not in found.seen and (isinstance(value, (set, frozenset)) or (
            not is_builtin(type(value)) and root(type(value)) != "numpy")):
        found.seen[id(value)] = value
        yield from inside(value, found)


def hooks_of(t: Tensor) -> list[Any]:
    """The hooks of a tensor, which a backward pass inside of the function calls."""
    hooks: Any = t.node.hooks if isinstance(t.node, Leaf) else ()
    return [*hooks.values()] if hooks else []


def is_builtin(kind: type) -> bool:
    """Whether a class is one of Python's own, written in C."""
    return kind.__module__ in {"builtins", "itertools"}


def is_buffer(value: Any) -> bool:
    """Whether a value is bytes that may change: a bytearray, an array of the standard library's."""
    try:
        return memoryview(value) is not None
    except (TypeError, ValueError, BufferError):
        return False


def behind(proxy: Any) -> list[Any]:
    """The object behind a proxy, in a list; an empty one if it is gone."""
    try:
        return [proxy.__repr__.__self__]
    except (ReferenceError, AttributeError):
        return []


def is_generator(value: Any) -> bool:
    """Whether it is a stream of random numbers; NumPy's module is imported on first use.

    >>> from adjoint.compiler.reachable import is_generator
    >>> is_generator(np.random.default_rng(0)), is_generator(0)
    (True, False)
    """
    module = sys.modules.get("numpy.random")
    return isinstance(value, random.Random) or (module is not None and isinstance(
        value, (module.Generator, module.RandomState)))
