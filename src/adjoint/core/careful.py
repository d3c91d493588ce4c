"""Where zero meets infinity: products in which the factor downstream wins (the second look).

A zero downstream cancels a non-finite number upstream, never the reverse: ``where(x > 0, sqrt(x),
0)`` has the derivative 0 at 0, though that of sqrt is infinite there. Products are made plainly, as
NumPy makes them; 0 * inf leaves a NaN, and only if one comes out is the work done once more, with
every cotangent (or tangent) in the custody of a `Factor`: rules then meet a Box, and each product
that they make becomes the one in which the zero wins.
"""

from __future__ import annotations

from cmath import isfinite, nan  # of real numbers too
from typing import TYPE_CHECKING, Any

from .box import Box, bind
from .node import aval_of, ndarray, new, vdot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .primitive import Primitive

QUIET: dict[str, Any] = {"all": "ignore"}  # for np.errstate: infinity is meant in a sweep


class Factor(Box):
    """A cotangent, which is downstream of what it is multiplied with, or a tangent: upstream."""

    __slots__ = ("downstream",)
    downstream: bool

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` one level down; in a product the zero downstream wins."""
        mine = [isinstance(a, Factor) and a.level == self.level for a in args]
        xs = [a.value if m else a for a, m in zip(args, mine, strict=True)]
        downstream = tuple([m is self.downstream for m in mine])
        products = row.zero_wins if True in downstream else None
        y = products(downstream, *xs, **params) if products else bind(row, xs, params)
        return y if row.nondiff else factor(y, self.level, self.downstream)


def factor(value: Any, level: int, downstream: bool) -> Any:
    """A Factor, without its constructor; None is a structural zero."""
    if isinstance(value, tuple):
        return value.__class__([factor(v, level, downstream) for v in value])
    if value is None:
        return None
    y = new(Factor)
    y.value, y.aval, y.level, y.downstream = value, aval_of(value), level, downstream
    return y


def released(x: Any, level: int) -> Any:
    """What a Factor of this level holds."""
    if isinstance(x, tuple):
        return x.__class__([released(part, level) for part in x])
    return x.value if isinstance(x, Factor) and x.level == level else x


def has_nan(x: Any) -> bool:
    """Whether an array has a NaN: then the sum of its squares is not equal to itself.

    Of complex infinities and of what overflows it may be true too; that costs a second look.
    Ask where NumPy is quiet, as in a sweep: `dot` takes two thirds of vdot's time, but warns.
    """
    return bool((s := x.dot(x) if x.__class__ is ndarray and x.ndim == 1 else squares(x)) != s)


def is_finite(x: Any) -> bool:
    """Whether an array is finite; that of one which overflows when it is squared is denied."""
    return isfinite(squares(x))


def squares(x: Any) -> Any:
    """The sum of the squares of an array, or what has the same kind of number.

    That of a Symbol is not known, so NaN: what is traced is always done with care. An overflow is
    no news here, and of all products vdot alone does not warn of it.
    """
    if x.__class__ is ndarray:
        return vdot(x, x)
    if isinstance(x, Box):
        return nan if x.value is None else squares(x.value)
    return sum(map(squares, x)) if isinstance(x, tuple) else 0 if x is None else x
