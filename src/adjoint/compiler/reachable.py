"""What a function can reach besides its arguments: closure cells, globals, attributes, containers.

`reach(f)` walks them once before tracing, so that nothing of Python's is baked into a compiled
function unseen. Each value stands at a `Place`, and is one of four things: a tensor; a number or an
array, which becomes an input of the compiled function; a value that is compared before each call
(a guard); or a container, an object or a function, which is walked in its turn.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf
from adjoint.errors import ArgumentError
from adjoint.hooks import of
from adjoint.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 100_000  # places; more is a data set that is better passed as an argument
PLAIN = (int, str, bytes, complex, type(None), np.dtype, np.integer, np.bool_, slice,
         type(Ellipsis), range, frozenset)
FLOATS = (float, np.float64)
ARRAYS = (np.ndarray, np.floating, np.complexfloating)
OPAQUE = (types.BuiltinFunctionType, np.ufunc)
DESCRIPTORS = (property, staticmethod, classmethod, functools.cached_property)
FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
LIBRARIES = {"numpy", "scipy", "optree", "math", "functools", "itertools", "builtins",
             "collections", "typing", "weakref", "contextvars", "threading", "_thread"}
CLOSED = {*LIBRARIES, *sys.stdlib_module_names, "adjoint"}  # their code reads nothing of the user's


class Attribute(NamedTuple):
    """The key of a place that is an attribute: ``getattr(holder, name)``."""

    name: str


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
        return getattr(self.holder, self.key.name) if isinstance(self.key, Attribute) else (
            self.holder[self.key])

    def put(self, value: Any) -> None:
        """Put something else there; tuples are made anew."""
        if self.inner:
            value = changed(self.outer(), self.inner, value)
        if isinstance(self.key, Attribute):
            setattr(self.holder, self.key.name, value)
        else:
            self.holder[self.key] = value


def changed(whole: Any, inner: tuple[int, ...], value: Any) -> Any:
    """A tuple with another value in one place."""
    first, *rest = inner
    parts = list(whole)
    parts[first] = changed(parts[first], tuple(rest), value) if rest else value
    return whole._make(parts) if hasattr(whole, "_make") else tuple(parts)


class Passing(list[Any]):
    """The holder of something that stands at no place that could be assigned to."""


CONTENT = Attribute("cell_contents")


class Reached:
    """All that was found, each object once."""

    def __init__(self) -> None:
        self.numbers: list[Place] = []  # floats, which become inputs
        self.arrays: list[Place] = []
        self.tensors: dict[int, Tensor] = {}
        self.same: list[tuple[Place, Any]] = []  # must be the same object at each call
        self.equal: list[tuple[Place, Any]] = []  # must be of the same type, and equal
        self.lengths: list[tuple[Place, int]] = []  # tuples
        self.containers: list[Any] = []  # dicts and lists, whose changes are looked for
        self.orders: list[tuple[Any, tuple[Any, ...]]] = []  # dicts, and their keys in order
        self.generators: list[Any] = []
        self.stuck: dict[int, Any] = {}  # arrays at places that cannot be assigned to
        self.names: set[str] = set()  # that the code looks up, of globals and of attributes
        self.spaces: list[Any] = []  # the user's modules and classes: what the code names there
        self.seen: dict[int, Any] = {}  # keeps what it holds alive, so that ids stay their own


def reach(f: Any) -> Reached:
    """Everything that ``f`` can reach. Raises ArgumentError if that is very much."""
    found, asked = Reached(), set[tuple[int, str]]()
    waiting = [Place(Passing([f]), 0)]
    for count, place in enumerate(waiting):  # which grows
        if count > LIMIT:
            raise ArgumentError(f"ad.jit: the function reaches more than {LIMIT:,} Python values "
                                "(a list of data?); pass them as an argument, as one array")
        waiting += entered(place, place.get(), found)
        if count + 1 == len(waiting):
            waiting += named_there(found, asked)
    return found


def named_there(found: Reached, asked: set[tuple[int, str]]) -> Iterator[Place]:
    """What modules and classes of the user's have under names in the code, each once."""
    for space in found.spaces:
        for name in sorted(found.names & vars(space).keys()):
            if (id(space), name) in asked or name.startswith("__"):
                continue
            asked.add((id(space), name))
            if isinstance(space, types.ModuleType):
                yield Place(vars(space), name)
            elif hasattr(space, name) and not isinstance(  # an Enum hides some of its own
                    vars(space)[name], (types.FunctionType, *DESCRIPTORS)):
                yield Place(space, Attribute(name))


def entered(place: Place, value: Any, found: Reached) -> Iterator[Place]:
    """Sort one value; the places inside it, if it has any."""
    kind = type(value)
    fast = isinstance(place.holder, Passing) or (  # it cannot be assigned to: a partial's arguments
        isinstance(place.key, Attribute) and place.key.name == "args")
    if isinstance(value, Tensor):
        if id(value) not in found.tensors:
            yield from (Place(Passing([hook]), 0) for hook in hooks_of(value))
        found.tensors[id(value)] = value
        found.same.append((place, value))
    elif kind in FLOATS and not fast:
        found.numbers.append(place)
    elif isinstance(value, ARRAYS):
        if fast:
            found.stuck[id(value)] = value
        else:
            found.arrays.append(place)
    elif isinstance(value, (*PLAIN, float)):
        found.equal.append((place, value))
    elif isinstance(value, (set, frozenset)):
        found.equal.append((place, value.copy()))
    elif isinstance(value, tuple):
        found.lengths.append((place, len(value)))
        yield from (Place(place.holder, place.key, (*place.inner, i)) for i in range(len(value)))
    else:
        found.same.append((place, value))
        if is_generator(value):
            found.generators.append(value)
        elif not isinstance(value, (Box, *OPAQUE)) and id(value) not in found.seen:
            found.seen[id(value)] = value
            yield from inside(value, found)


def hooks_of(t: Tensor) -> list[Any]:
    """The functions that backward() calls when the gradient of a leaf is complete."""
    return of(t.node) if isinstance(t.node, Leaf) else []


def inside(value: Any, found: Reached) -> Iterator[Place]:
    """The places inside a container, a function or an object."""
    if isinstance(value, dict):
        found.containers.append(value)
        if len(value) > 1:
            found.orders.append((value, (*value,)))
        yield from (Place(value, k) for k in value)
        yield from (Place(Passing([k]), 0) for k in value if isinstance(k, Tensor))
    elif isinstance(value, list):
        found.containers.append(value)
        yield from (Place(value, k) for k in range(len(value)))
    elif isinstance(value, functools.partial):
        yield Place(Passing([value.func]), 0)
        yield Place(value, Attribute("args"))
        yield from (Place(value.keywords, k) for k in value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (Place(Passing([part]), 0) for part in (value.__func__, value.__self__))
    elif isinstance(value, types.FunctionType):
        yield from of_function(value, found)
    elif isinstance(value, types.ModuleType):
        if value.__name__.partition(".")[0] not in CLOSED:
            found.spaces.append(value)
    elif isinstance(value, type):
        yield from of_class(value, found)
    else:
        yield from of_object(value, found)


def of_function(f: types.FunctionType, found: Reached) -> Iterator[Place]:
    """Closure cells, the globals that the code names, and defaults.

    Functions of a library have no globals that a user changes, but cells: `ad.grad(f)` has f there.
    """
    ours = is_library(f)
    yield from (Place(Passing([cell.cell_contents]), 0) if ours else Place(cell, CONTENT)
                for cell in f.__closure__ or () if filled(cell))
    if not ours:
        names, looked_up = f.__globals__, names_of(f.__code__)
        found.names |= looked_up
        yield from (Place(names, name) for name in sorted(looked_up) if name in names)
    if f.__defaults__:
        yield Place(f, Attribute("__defaults__"))
    yield from (Place(f.__kwdefaults__, k) for k in f.__kwdefaults__ or ())


def of_object(value: Any, found: Reached) -> Iterator[Place]:
    """The attributes of an object, and the functions of its class."""
    jitted = getattr(value, "__jitted__", None)
    if jitted is not None:  # of its own cache nothing matters
        yield Place(Passing([jitted]), 0)
        return
    if hasattr(value, "__wrapped__"):  # functools.lru_cache
        yield Place(Passing([value.__wrapped__]), 0)
    if root(type(value)) in LIBRARIES:
        return
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        found.containers.append(attributes)
        yield from (Place(attributes, k) for k in attributes)
    yield Place(Passing([type(value)]), 0)
    for cls in type(value).__mro__:
        if root(cls) in {*LIBRARIES, "adjoint"}:
            continue
        slots: Any = vars(cls).get("__slots__", ())
        yield from (Place(value, Attribute(name))
                    for name in ((slots,) if isinstance(slots, str) else slots)
                    if name not in {"__dict__", "__weakref__"} and hasattr(value, name))


def of_class(cls: type, found: Reached) -> Iterator[Place]:
    """The functions of a user's class and its bases; attributes are found by name, at the end."""
    for c in cls.__mro__:
        if root(c) in CLOSED:
            continue
        if c is not cls:
            yield Place(Passing([c]), 0)
            continue
        found.spaces.append(c)
        for v in vars(c).values():
            inner = getattr(v, "__func__", None) or getattr(v, "fget", None) or getattr(
                v, "func", None) if isinstance(v, DESCRIPTORS) else v
            if isinstance(inner, types.FunctionType):
                yield Place(Passing([inner]), 0)


def is_generator(value: Any) -> bool:
    """Whether it is a generator of NumPy's, whose module is imported on first use: none is before.

    >>> from adjoint.compiler.reachable import is_generator
    >>> is_generator(np.random.default_rng(0)), is_generator(0)
    (True, False)
    """
    module = sys.modules.get("numpy.random")
    return module is not None and isinstance(value, module.Generator)


def tells(value: Any) -> bool:
    """Whether ``==`` tells a value from every other of its type: not -0.0 from 0.0, nor NaN.

    >>> from adjoint.compiler.reachable import tells
    >>> tells(0.5), tells(-0.0), tells(float("nan")), tells(1j), tells("mode")
    (True, False, False, False, True)
    """
    if not isinstance(value, (float, complex, np.inexact)):
        return True
    several = isinstance(value, (complex, np.complexfloating))
    return all(x and x == x for x in ((value.real, value.imag) if several else (value,)))


def root(value: Any) -> str:
    """The package that a function or class comes from."""
    return (getattr(value, "__module__", None) or "").partition(".")[0]


def is_library(f: types.FunctionType) -> bool:
    """Whether a function is written in a library; `functools.wraps` gives it the user's module."""
    return str(f.__globals__.get("__name__", "")).partition(".")[0] in CLOSED


def filled(cell: Any) -> bool:
    """Whether a cell has a content yet."""
    return hasattr(cell, "cell_contents")


def names_of(code: types.CodeType) -> set[str]:
    """The names that a code object, and the functions inside it, may look up."""
    return {*code.co_names}.union(
        *[names_of(c) for c in code.co_consts if isinstance(c, types.CodeType)])
