"""Forward mode: Dual, a value and its rate of change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import RuleError

from .box import Box, Level, bind
from .careful import QUIET, factor, has_nan, is_finite, released
from .node import MODES, aval_of, new
from .primitive import REGISTRY, Primitive

if TYPE_CHECKING:
    from collections.abc import Sequence


class Dual(Box):
    """``value + tangent * epsilon`` at one level, with ``epsilon**2 = 0``."""

    __slots__ = ("tangent",)
    tangent: Any

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` one level down, and its jvp to the tangents; None is a structural zero."""
        mine = [isinstance(a, Dual) and a.level == self.level for a in args]
        xs = [a.value if m else a for a, m in zip(args, mine, strict=True)]
        y = bind(row, xs, params)
        if row.nondiff or self.level < MODES.get().paused:
            return y
        if row.jvp is None:
            raise RuleError(f"{row} has no jvp rule, so forward mode cannot pass it; use ad.grad")
        dxs = [a.tangent if m else None for a, m in zip(args, mine, strict=True)]
        dy = push(row, dxs, y, xs, params)
        return y if dy is None else dual(y, spread(dy, aval_of(y), row), self.level)


def push(row: Primitive, dxs: Sequence[Any], y: Any, xs: Sequence[Any], params: Any) -> Any:
    """The tangent of one step. A NaN may have been 0 * inf: then once more, with care."""
    if row.elementwise and not row.singular and all(map(is_finite, dxs)):
        return row.jvp(dxs, y, *xs, **params)  # a product for each: there is nothing to cancel
    with np.errstate(**QUIET):  # infinity is meant; the doctor names it
        if (strict := MODES.get().strict) or MODES.get().trace is None:  # there nobody can look
            dy = row.jvp(dxs, y, *xs, **params)
            if dy is None or not has_nan(dy) or strict:
                return dy
        with Level() as level:
            dxs = [factor(dx, level, downstream=False) for dx in dxs]
            return released(row.jvp(dxs, y, *xs, **params), level)


def dual(value: Any, tangent: Any, level: int) -> Dual:
    """A Dual, without its constructor."""
    y = new(Dual)
    y.value, y.tangent, y.level, y.aval = value, tangent, level, aval_of(value)
    return y


def spread(dy: Any, known: Any, row: Primitive) -> Any:
    """The tangent of y has the shape and dtype of y: elementwise rules leave broadcasting to us."""
    if known.__class__ is tuple:
        return dy
    got = aval_of(dy)
    if got.shape != known.shape:
        if not row.elementwise:
            raise RuleError(f"the jvp of {row} gave shape {got.shape} for a result of shape "
                            f"{known.shape}")
        dy = bind(REGISTRY["broadcast_to"], (dy,), {"shape": known.shape})
    return dy if got.dtype == known.dtype else bind(REGISTRY["cast"], (dy,), {"dtype": known.dtype})
