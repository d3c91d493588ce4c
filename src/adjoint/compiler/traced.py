"""Symbols of `ad.jit`: `Traced` for arrays, `Number` for what Python has as a number.

Two things are different from other Symbols. A Symbol that stands in the user's objects is met by
other threads, for which it is the value that it stands for. And Python code may look at one that
follows from numbers and arrays that were reached.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import MODES, aval_of
from adjoint.core.primitive import PUBLIC
from adjoint.core.symbol import symbol
from adjoint.errors import EscapeError, GraphError
from adjoint.ops.protocol import BINARY, COMPARE, UNARY
from adjoint.scalars import ScalarSymbol

from . import shadows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.primitive import Primitive

    from .tracing import Capture

NUMBERS = (bool, int, float, complex)
KINDS: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
LIBRARIES = {"adjoint", "numpy", "scipy", "optree"}  # which see a Symbol as what it is
OURS: dict[Any, bool] = {None: True}  # whether a module is of those
LOGICAL = {"and", "or", "xor", "invert"}
active: list[Capture] = []  # the tracings that have not ended: one inside the other


def told_class(x: Any) -> type:
    """The ``__class__`` of a Symbol: what stands there eagerly, so that `isinstance` says the same.

    This library and those below it see what it is.
    """
    ours = OURS.get(sys._getframe(1).f_globals.get("__name__"))
    return type(x) if ours else x.stands_for() if asked_by_user() else type(x)


def asked_by_user() -> bool:
    """Whether the code that has asked for a method is the user's, or of the standard library."""
    name = sys._getframe(2).f_globals.get("__name__")
    if name not in OURS:
        OURS[name] = str(name).partition(".")[0] in LIBRARIES
    return not OURS[name]


Telling: Any = type("Telling", (), {"__slots__": (), "__class__": property(told_class)})


class Traced(Telling, ScalarSymbol):
    """A Symbol that may turn out to be a value after all: one that Python code looks at.

    It can where it follows from numbers and arrays that were reached; they become guards then.
    """

    __slots__ = ()

    @property
    def stands_for_tensor(self) -> bool:
        """Whether the function was given values of a function of tensors, which are no Tensors."""
        return self.graph.inner

    def noted_as_number(self) -> Any:
        """This Symbol, where a transformation gives a number for numbers."""
        return as_number(self)

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Write ``row`` down; its parameters are settings, so numbers among them are guards."""
        if get_ident() != shadows.tracer.thread:
            args, params = seen_outside(args), {k: seen_outside(v) for k, v in params.items()}
            return bind(row, args, params)
        if params:
            params = {k: plain(v) for k, v in params.items()}
        if row.elementwise and any(isinstance(a, Number) for a in args):
            args = adopted_dtypes(args)
        y = super().interpret(row, args, params)
        return y if type(y) is Traced else symbol(y.graph, y.node, Traced)

    def stands_for(self) -> type:
        """The class of what stands here eagerly."""
        if self.stands_for_tensor:
            return type(self)
        array = self.shape or self.node in self.graph.arrays
        return np.ndarray if array else self.dtype.type

    def concrete(self) -> Any:
        """The number, if it follows from Python numbers that were reached; else an error."""
        if get_ident() != shadows.tracer.thread:
            return self.outside()
        capture = MODES.get().trace
        if capture in active and capture.graph is self.graph:
            return capture.settled(self.node)
        raise self.lost()

    def number(self) -> Any:
        """``x.item()``: what will be a Python number at each call; one now, if it is known."""
        capture = MODES.get().trace
        if get_ident() != shadows.tracer.thread or capture not in active or (
                capture.graph is not self.graph):
            return np.asarray(self.concrete()).item()
        y = PUBLIC["astype"](PUBLIC["reshape"](self, ()), type(self.dtype.type().item()))
        return symbol(y.graph, y.node, Number)

    def outside(self) -> Any:
        """What stands here for threads that do not trace: the number or array that was reached."""
        for capture in active:
            if self.node in capture.numbers:
                return capture.numbers[self.node]
        raise self.lost()

    def lost(self) -> EscapeError:
        """The error for a value that no call will compute."""
        return EscapeError(
            f"this value ({self.aval}) was made while ad.jit traced a function, and has escaped "
            "from it: no call computes it. Return it from the function, or assign it to an "
            "attribute that exists before the call")

    def __hash__(self) -> int:
        known = asked_by_user() and not self.shape
        return hash(self.concrete()) if known else object.__hash__(self)

    def __str__(self) -> str:
        return self.text(known=asked_by_user())

    def __format__(self, spec: str) -> str:
        known = asked_by_user()
        return super().__format__(spec) if spec else self.text(known=known)

    def text(self, *, known: bool) -> str:
        """The text of the number that stands here; of an argument, that it is one."""
        with suppress(EscapeError):
            return repr(self) if self.shape or not known else str(self.concrete())
        return repr(self)

    def __float__(self) -> float:
        return float(self.concrete())

    def __int__(self) -> int:
        return int(self.concrete())

    def __index__(self) -> int:
        return self.concrete().__index__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.concrete(), dtype=dtype)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if get_ident() == shadows.tracer.thread:
            return super().__reduce_ex__(protocol)
        return plain, (self.outside(),)


class Once:
    """An iterator of the user's while a function is traced, whose steps would be taken once."""

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Any:
        """The next value, for other threads."""
        self.check()
        return next(self.iterator)

    def __getattr__(self, name: str) -> Any:
        self.check()
        return getattr(self.iterator, name)

    def check(self) -> None:
        """An error for the thread that traces."""
        if get_ident() == shadows.tracer.thread:
            raise GraphError(
                f"ad.jit: the function takes from an iterator ({type(self.iterator).__name__}) "
                "that was made outside. That would happen once, when it is traced, and never "
                "again. Call next() outside, and pass the value as an argument")


class Number(Traced):
    """A Symbol where Python has a number, which adopts the dtype of the arrays that it meets.

    So is what Python's operators make of such numbers alone. A number is never changed in place.
    """

    __slots__ = ()
    stands_for_number = True

    @property
    def stands_for_tensor(self) -> bool:
        """Never."""
        return False

    def stands_for(self) -> type:
        """The class of the number."""
        return KINDS[self.dtype.kind]



def of_numbers(operator: str) -> Callable[..., Any]:
    """A number's operator: with numbers it gives a number, and Python calculates with truths."""
    method, logical = getattr(Box, operator), operator.strip("_").removeprefix("r") in LOGICAL

    def apply(x: Number, *others: Any) -> Any:
        if not all(isinstance(z, (Number, *NUMBERS)) for z in others):
            return method(x, *others)
        y = method(x, *others) if logical else method(counted(x), *map(counted, others))
        return tuple(map(as_number, y)) if isinstance(y, tuple) else as_number(y)
    return apply


def as_number(y: Any) -> Any:
    """A result of numbers, which is one."""
    return symbol(y.graph, y.node, Number) if isinstance(y, Traced) else y


def counted(x: Any) -> Any:
    """A truth as 0 or 1; other numbers as they are."""
    if isinstance(x, bool):
        return int(x)
    return PUBLIC["astype"](x, int) if isinstance(x, Number) and x.dtype == bool else x


for _name in (*UNARY, *COMPARE, *(two := (*BINARY, "divmod")), *[f"r{name}" for name in two]):
    setattr(Number, f"__{_name}__", of_numbers(f"__{_name}__"))


def adopted_dtypes(args: Sequence[Any]) -> list[Any]:
    """Arguments with numbers in the dtype that NumPy computes in, where they meet arrays (NEP 50).

    The weak Avals of numbers that come in do that by themselves.
    """
    strong = [known.dtype for a in args if not isinstance(a, Number) and not (
        known := aval_of(a)).weak]

    def adopted(a: Any) -> Any:
        if not strong or not isinstance(a, Number) or a.aval.weak:
            return a
        dtype = np.result_type(*strong, a.aval.dtype.type(0).item())
        return a if dtype == a.dtype else PUBLIC["astype"](symbol(a.graph, a.node, Traced), dtype)
    return [*map(adopted, args)]


def seen_outside(value: Any) -> Any:
    """What stands for a value in threads that do not trace."""
    if isinstance(value, Traced):
        return value.outside()
    if type(value) in (tuple, list):
        return type(value)(map(seen_outside, value))
    return value


def plain(value: Any) -> Any:
    """A parameter without Symbols in it."""
    if isinstance(value, Box):
        return value.concrete()
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    return value
