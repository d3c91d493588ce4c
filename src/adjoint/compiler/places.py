"""Where values stand that a function reaches besides its arguments, and what was found there.

A `Place` is read and, while the function is traced, assigned to; `Reached` is everything that
`reachable.reach` has found.
"""

from __future__ import annotations

import gc
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from adjoint.tensors import Tensor

UNREAD = (KeyError, IndexError, AttributeError, LookupError, ValueError, TypeError, ReferenceError)


class Attribute(NamedTuple):
    """The key of a place that is an attribute: ``getattr(holder, name)``."""

    name: str


class Called(NamedTuple):
    """The key of a place that a method tells, such as ``get`` of a context variable."""

    method: str


class Place(NamedTuple):
    """Where a value stands: ``holder[key]``, an attribute, and ``inner`` in tuples below it."""

    holder: Any
    key: Any
    inner: tuple[int, ...] = ()

    def get(self) -> Any:
        """What stands there now."""
        value = self.outer()
        for i in self.inner:
            value = value[i]
        return value

    def outer(self) -> Any:
        """What stands there, tuples whole."""
        if isinstance(self.key, Called):
            return getattr(self.holder, self.key.method)()
        return getattr(self.holder, self.key.name) if isinstance(self.key, Attribute) else (
            self.holder[self.key])

    def now(self) -> Any:
        """What stands there; the place itself if nothing does."""
        try:
            return self.get()
        except UNREAD:
            return self

    def put(self, value: Any) -> None:
        """Put something else there, whatever a class does about it; tuples are made anew."""
        if self.inner:
            value = changed(self.outer(), self.inner, value)
        if isinstance(self.key, Attribute):
            kind: Any = type if isinstance(self.holder, type) else object
            kind.__setattr__(self.holder, self.key.name, value)  # a frozen dataclass would refuse
        else:
            self.holder[self.key] = value

    def is_missing(self) -> bool:
        """Whether nothing stands there: a slot or a variable that is not set."""
        try:
            self.get()
        except UNREAD:
            return True
        return False


def changed(whole: Any, inner: tuple[int, ...], value: Any) -> Any:
    """A tuple with another value in one place."""
    first, *rest = inner
    parts = list(whole)
    parts[first] = changed(parts[first], tuple(rest), value) if rest else value
    return whole._make(parts) if hasattr(whole, "_make") else tuple(parts)


class Passing(list[Any]):
    """The holder of something that stands at no place that could be assigned to."""


class Reached:
    """All that was found, each object once."""

    def __init__(self) -> None:
        self.numbers: list[Place] = []  # floats, which become inputs
        self.arrays: list[Place] = []
        self.tensors: dict[int, Tensor] = {}
        self.same: list[tuple[Place, Any]] = []  # must be the same object at each call
        self.equal: list[tuple[Place, Any]] = []  # must be of the same type, and equal
        self.contents: list[tuple[Place, Any, Any]] = []  # must have the same `snapshot`
        self.missing: list[Place] = []  # where nothing stands
        self.lengths: list[tuple[Place, int]] = []  # tuples
        self.classes: list[tuple[Any, type]] = []  # objects, and their classes
        self.containers: list[Any] = []  # dicts, lists and others, whose changes are looked for
        self.orders: list[tuple[Any, tuple[Any, ...]]] = []  # dicts, and their keys in order
        self.attributes: list[dict[str, Any]] = []  # dicts of attributes, whose order few ask for
        self.quiet: dict[int, Any] = {}  # containers that are a library's own: no change counts
        self.sizes: list[tuple[dict[str, Any], int]] = []  # of dicts of classes
        self.iterators: list[Place] = []
        self.generators: list[Any] = []
        self.stuck: dict[int, Any] = {}  # arrays at places that cannot be assigned to
        self.names: set[str] = set()  # that the code looks up, of globals and of attributes
        self.texts: set[str] = set()  # constants of the code that could be such names
        self.spaces: list[Any] = []  # the user's modules and classes: what the code names there
        self.modules: set[str] = set()  # that the code imports, and nobody has imported yet
        self.seen: dict[int, Any] = {}  # keeps what it holds alive, so that ids stay their own

    def loose(self) -> list[Place]:
        """The places that can be assigned to in no container: variables, and attributes in slots.

        Tuples stand there whole.
        """
        inside = {id(c) for c in self.containers}
        places = [*self.numbers, *self.arrays, *[p for p, _ in (
            *self.same, *self.equal, *self.lengths)], *[p for p, *_ in self.contents]]
        return [*{(id(p.holder), p.key): Place(p.holder, p.key) for p in places if not (
            isinstance(p.holder, Passing) or isinstance(p.key, Called)
            or id(p.holder) in inside)}.values()]

    def is_quiet(self, container: Any, key: Any) -> bool:
        """Whether a change of an item is a library's own affair."""
        return id(container) in self.quiet and (
            str(key).startswith("_") or all(container is not d for d in self.attributes))


def space_of(cls: type) -> dict[str, Any]:
    """The dictionary of a class itself, of which ``vars(cls)`` is a view; to be read only."""
    (found,) = [x for x in gc.get_referents(vars(cls)) if isinstance(x, dict)]
    return found


def tells(value: Any) -> bool:
    """Whether ``==`` tells a value from every other of its type: not -0.0 from 0.0, nor NaN.

    >>> from adjoint.compiler.places import tells
    >>> tells(0.5), tells(-0.0), tells(float("nan")), tells(1j), tells("mode")
    (True, False, False, False, True)
    """
    if not isinstance(value, (float, complex, np.inexact)):
        return True
    several = isinstance(value, (complex, np.complexfloating))
    return all(x and x == x for x in ((value.real, value.imag) if several else (value,)))


def snapshot(value: Any) -> Any:
    """What a set, a buffer of bytes or an array holds, in its order, to be compared later.

    >>> from adjoint.compiler.places import snapshot
    >>> snapshot({1}) == snapshot({True}), snapshot(bytearray(b"a")) == snapshot(bytearray(b"a"))
    (False, True)
    """
    if isinstance(value, (set, frozenset)):
        return type(value), [(type(x), x if tells(x) else repr(x)) for x in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value), value.dtype, value.shape, value.tobytes()
    held = memoryview(value)
    return type(value), held.format, held.tobytes()


# ---- containers, which are looked at before and after

def content(container: Any) -> Any:
    """A shallow copy of a container: a dict of a dict, and a list of all others."""
    return dict(container) if isinstance(container, dict) else list(container)


def refill(container: Any, content: Any) -> None:
    """Give a container another content."""
    if isinstance(container, list):
        container[:] = content
    elif isinstance(container, deque):
        container.clear()
        container.extend(content)
    elif isinstance(container, set):
        container.clear()
        container.update(content)
    else:
        for k in [*container]:
            if k not in content:
                del container[k]
        container.update(content)
