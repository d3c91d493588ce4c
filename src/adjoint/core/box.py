"""How an operation is applied: bind, Box, levels.

With no Box among the arguments a row just runs; otherwise the Box of the highest level interprets
it, one level down. Symbols sit below everything (-1), Tensors at 0, transformations above, numbered
by time.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from adjoint.errors import LevelError, UnsupportedError

from .node import MODES, aval_of, float64, ndarray, switch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .primitive import Primitive

PLAIN = {ndarray, float64, float, int}  # what rows meet nearly always, and know
new_level = count(1).__next__
live: set[int] = set()  # the levels of transformations that have not ended


class Level:
    """A transformation's level, alive inside the block: ``with Level() as level``."""

    def __enter__(self) -> int:
        self.number = new_level()
        live.add(self.number)
        return self.number

    def __exit__(self, *_: object) -> None:
        live.discard(self.number)


def bind(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Apply ``row``: the outermost Box interprets it, and with no Box it just runs."""
    if switch.armed:
        modes = MODES.get()
        if modes.watch is not None:
            return modes.watch(row, args, params)
        if modes.trace is not None:
            args = modes.trace.barrier(args)
    top, level = None, -2
    for a in args:
        if isinstance(a, Box):
            if a.level > level:
                top, level = a, a.level
        elif a.__class__ not in PLAIN and getattr(a, "__array_priority__", 0) > 0:
            raise UnsupportedError(f"{row}: {type(a).__name__} has a product or masks of its own, "
                                   "which no row knows; write np.asarray(a)")
    if top is None:
        return evaluate(row, args, params)
    if level > 0 and level not in live:
        raise escaped(top)
    return top.interpret(row, args, params)


def evaluate(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The value, on arrays; where NumPy refuses the shapes, the Aval rule says why."""
    try:
        return row.impl(*args, **params)
    except ValueError:
        check_shapes(row, args, params)
        raise


def check_shapes(row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> None:
    """Raise the ShapeError of the row's Aval rule, if the shapes are at fault."""
    if row.aval is not None:
        row.aval(*map(aval_of, args), **params)


class Box:
    """A value in the custody of an interpreter.

    ``ops/protocol.py`` gives it Python's operators and NumPy's protocols: they lead to the rows.
    """

    __slots__ = ("aval", "level", "value")
    value: Any
    aval: Any
    level: int
    __hash__ = object.__hash__

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` to ``args``, of which this Box has the highest level."""
        raise NotImplementedError

    def concrete(self) -> Any:
        """The array at the bottom; an error where it does not exist yet."""
        if self.level > 0 and self.level not in live:
            raise escaped(self)
        return self.value.concrete() if isinstance(self.value, Box) else self.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.aval.shape)


def escaped(box: Box) -> LevelError:
    """The error for a value used after its transformation ended."""
    return LevelError(
        f"a value of shape {box.shape} was made inside a function under grad, vjp, jvp, vmap or "
        "hessian, and is used after that call has ended. Return it from the function, beside the "
        "result (has_aux=True).")
