"""What a compiled call reads and gives: where each input is found, and what becomes of each output.

A Source is a small closed set of places that native code can look into. `Input` says how a place
is read, `Output` what is made of a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from contextvars import ContextVar
    from types import CellType

Kind = Literal["array", "number", "float", "scalar", "int", "bool"]
Result = Literal["array", "scalar", "float", "into"]
Question = Literal["is", "is not", "==", "type", "array", "len", "keys", "held"]


class Argument(NamedTuple):
    """The argument at a position."""

    position: int


class Held(NamedTuple):
    """An object that is known when the call is compiled, and kept alive."""

    value: Any


class Cell(NamedTuple):
    """What a closure's cell holds when the function is called."""

    cell: CellType


class Item(NamedTuple):
    """What a dictionary, such as a module's globals, has under a key."""

    mapping: dict[Any, Any]
    key: Any


class Slot(NamedTuple):
    """A member of ``__slots__`` of what another source gives, which must be of that very type.

    ``Slot(Held(tensor), Tensor, "value")`` is the array that the tensor has now.
    """

    of: Source
    type: type
    name: str


class Element(NamedTuple):
    """What stands at a position of a list, or of a tuple, of that very type."""

    of: Source
    type: type
    position: int


class Attribute(NamedTuple):
    """An attribute, as ``getattr`` finds it: by Python, if need be."""

    of: Source
    name: str


class Context(NamedTuple):
    """The value of a context variable that has one, or a default."""

    variable: ContextVar[Any]


Source = Argument | Held | Cell | Item | Slot | Element | Attribute | Context


class Guard(NamedTuple):
    """What must hold of an object for a call to fit.

    ``is`` and ``is not``: it is that very object, or another. ``==``: it is of the same type and
    equal, with the sign of a zero. ``type``: it is of this very type. ``array``: it is an array of
    this Aval, in any order. ``len``: the value is a type (list, dict or a tuple's) and the length
    that it must have. ``keys``: a dict that begins with these very keys, in that order.
    ``held``: the object has at most so many references.
    """

    source: Source
    value: Any
    how: Question = "is"


class Input(NamedTuple):
    """An input of the program: its source, and how that is read.

    ``array``: an ndarray of the input's dtype and shape, in C order and aligned. ``number``: a
    NumPy scalar of the input's dtype, or a Python float where that is float64; ``float`` and
    ``scalar`` are only the one or the other. ``int`` and ``bool``: a Python int where the dtype is
    int64, a Python bool. ``holders`` is the number of references to the array when nobody else
    holds it, where an output is written into it.
    """

    source: Source
    kind: Kind = "array"
    holders: int = 0


class Output(NamedTuple):
    """What is made of a result: a new array, a NumPy scalar, a Python float, or no new object.

    ``into``: it is written over the input at position ``position``, and not returned. A ``pooled``
    array is used again when nobody but the pool holds it; until then the pool's is one reference
    more, which an output that becomes somebody's state cannot have.
    """

    kind: Result = "array"
    position: int = -1
    pooled: bool = True


class Constant(NamedTuple):
    """A part of what a call returns that is always this object."""

    value: Any


class New(NamedTuple):
    """A part of what a call returns: a new object of a class, with some of its ``__slots__`` set.

    ``New(Tensor, (("value", 0), ("level", Constant(0))))`` has the first result as its value. It is
    made as by ``object.__new__``.
    """

    type: type
    slots: tuple[tuple[str, Any], ...]


# What a call returns: the number of a result among those that are no ``into``, a `Constant`, a
# `New`, or a tuple, a list or a dict of such.
Tree = Any


def into(position: int) -> Output:
    """The output that is written over an input."""
    return Output("into", position)


ARRAY, STATE, SCALAR, FLOAT = (Output(), Output(pooled=False), Output("scalar"), Output("float"))


def guard_of(given: Guard | tuple[Source, Any]) -> Guard:
    """A guard; a source and an object say that it must be that one."""
    return given if isinstance(given, Guard) else Guard(given[0], given[1])
