"""Recording, flat: what `Tracked.interpret` does, for one and two arguments at one level.

Equal shape and dtype is one identity check, because Avals are interned. At most three names are
assigned at once, because CPython builds a tuple for four (25 ns). Every unusual mode stands behind
``switch.armed`` and goes the general way, through `bind`; a test holds the two ways equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adjoint.core.box import bind, check_shapes, escaped, live
from adjoint.core.node import (
    MODES,
    NO_PARAMS,
    Node,
    aval_of,
    clock,
    constant,
    float64,
    known,
    ndarray,
    new,
    switch,
)
from adjoint.core.reverse import Tracked

from .operators import runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from adjoint.core.node import Aval
    from adjoint.core.primitive import Primitive


NUMBER = aval_of(float64(0))  # of sums over all, and of most losses


class Step(Node):
    """A Node without parameters and site: they stand in the class, and two slots stay empty."""

    __slots__ = ()
    params = NO_PARAMS  # pyright: ignore[reportIncompatibleVariableOverride] - read only
    site = None


def paused_below() -> int:
    """The level below which nothing is recorded here; -1 if a mode asks for the general way."""
    modes = MODES.get()
    usual = modes.site is None and not modes.tapes and not modes.whole and modes.trace is None
    return modes.paused if usual else -1


def scaled(x: Aval, z: Aval) -> Aval | None:
    """The Aval of a number and an array of its dtype together: the array's. Else None."""
    if x.dtype is not z.dtype or (x.shape and z.shape):
        return None
    return x if x.shape else z


def unary(row: Primitive) -> Callable[[Any], Any]:
    """The function of an elementwise row with one argument and no parameters."""
    impl, run, keeps_x, keeps_y = row.impl, runner(row), row.kept(0), row.kept("y")

    def apply(x: Any) -> Any:
        cls = x.__class__
        if not isinstance(x, Tracked):
            return impl(x) if cls is ndarray or cls is float64 else bind(row, (x,), NO_PARAMS)
        aval, level, source = x.aval, x.level, x.node
        paused = 0
        if switch.armed:
            paused = paused_below()
        if paused < 0 or not aval.inexact:
            return bind(row, (x,), NO_PARAMS)
        if level and level not in live:
            raise escaped(x)
        value = x.value
        y = new(cls)
        y.value = result = impl(value) if value.__class__ is ndarray else run(value)
        y.aval = aval
        y.level = level
        if source is None or level < paused:
            y.node = None
            return y
        y.node = n = Step()
        if keeps_x:
            source.value = value
        n.value = result if keeps_y else None
        n.prim, n.inputs = row, (source,)
        n.aval, n.index = aval, next(clock)
        return y
    return apply


def unary_with(row: Primitive) -> Callable[..., Any]:
    """The function of a row with one argument and parameters: the shape and dtype may change."""
    impl, keeps_x, keeps_y, alias = row.impl, row.kept(0), row.kept("y"), row.alias

    def record(x: Any, params: dict[str, Any], run: Any = None) -> Any:
        cls = x.__class__  # run(x) is impl(x, **params), where a caller has a shorter way
        if cls is ndarray or cls is float64:
            return impl(x, **params)
        if not isinstance(x, Tracked) or (paused := paused_below() if switch.armed else 0) < 0:
            return bind(row, (x,), params)
        value, source, level = x.value, x.node, x.level
        if level and level not in live:
            raise escaped(x)
        y = new(cls)
        y.value = result = bind(row, (value,), params) if value.__class__ is not ndarray else (
            impl(value, **params) if run is None else run(value))
        y.aval = aval = NUMBER if result.__class__ is float64 else (
            known.get((result.shape, result.dtype)) or aval_of(result))
        y.level = level
        if alias:
            y.shares(x)
        if source is None or level < paused:
            y.node = None
            return y
        y.node = n = Node()
        if keeps_x:
            source.value = value
        n.value = result if keeps_y else None
        n.prim, n.inputs, n.params = row, (source,), params
        n.aval, n.index, n.site = aval, next(clock), None
        return y

    def apply(x: Any, **params: Any) -> Any:
        return record(x, params)
    vars(apply)["record"] = record  # for callers whose parameters are always the same
    return apply


def binary(row: Primitive, swapped: bool = False) -> Callable[[Any, Any], Any]:
    """The function of a row with two arguments: ``x`` is Tracked, ``z`` anything."""
    run, elementwise = runner(row), row.elementwise
    keeps_first, keeps_second, keeps_y = row.kept(0), row.kept(1), row.kept("y")

    def apply(x: Any, z: Any) -> Any:
        cls, kind, level = x.__class__, z.__class__, x.level
        aval, left, first = x.aval, x.value, x.node
        right, second, paused = z, None, 0
        if switch.armed:
            paused = paused_below()
        if kind is cls and z.level == level:
            right, second = z.value, z.node
            same = elementwise and (z.aval is aval or scaled(aval, z.aval))
        elif kind is float or kind is int:
            same = elementwise
        else:
            same = False
            if kind is not ndarray and kind is not float64:
                paused = -1
        if paused < 0 or not aval.inexact:
            return bind(row, (z, x) if swapped else (x, z), NO_PARAMS)
        if level and level not in live:
            raise escaped(x)
        if swapped:
            left, right = right, left
            first, second = second, first
        y = new(cls)
        try:
            y.value = result = run(left, right)
        except ValueError:
            check_shapes(row, (left, right), NO_PARAMS)
            raise
        y.aval = aval = aval if same is True else same or (
            known.get((result.shape, result.dtype)) or aval_of(result))
        y.level = level
        if level < paused or (first is None and second is None):
            y.node = None
            return y
        if first is None:
            first = constant(left, keeps_first, owned=kind is cls or not swapped)
        elif keeps_first:
            first.value = left
        if second is None:
            second = constant(right, keeps_second, owned=kind is cls or swapped)
        elif keeps_second:
            second.value = right
        y.node = n = Step()
        n.value = result if keeps_y else None
        n.prim, n.inputs = row, (first, second)
        n.aval, n.index = aval, next(clock)
        return y
    return apply
