"""Cumulative operations along one axis: sums, products, extremes, differences, integrals.

The gradient of a cumulative product needs, for each factor, the products without it. These obey a
linear recurrence, which is a row here: it has neither division nor logarithm, so zeros are exact,
and its own derivatives are recurrences again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import aval
from adjoint.core.primitive import NUMPY, REGISTRY, Label
from adjoint.core.symbol import trace
from adjoint.errors import ArgumentError, DTypeError, ShapeError

from . import loops
from .arithmetic import annihilate, astype
from .cases import Case, Cases, array_cases, draw, integers, layouts
from .declare import arrayed, check_axis, composed, function, general, linear, promoted, total
from .reduce import _summed, in_dtype, sum
from .select import equal, isnan, not_equal, where
from .shape import _pad, broadcast_to, concatenate, ravel, reshape, stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALONG = {"0-d": "it goes along an axis"}
FORWARD = {"axis": 0, "reverse": False}


# ---- along an axis

def slices(axis: int, part: slice) -> tuple[slice, ...]:
    """The key that takes ``part`` along ``axis``."""
    return (*(slice(None),) * axis, part)


def along_cases(*params: dict[str, Any], extra: Sequence[Case] = (), integer: bool = True,
                without: dict[str, str] | None = None) -> Cases:
    """The cases of a row along one axis: each of ``params``, the first also on every layout."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params:
            yield Case((draw(rng, (2, 3)),), p)
        for x in layouts(rng):
            if x.ndim:
                yield Case((x,), params[0])
        if integer:
            yield Case((integers((-3.0, 5.0)),), params[0])
        yield from extra
    return Cases(generate, ALONG | (without or {}))


def batched_along(name: str) -> Any:
    """The batch rule of a row along one axis: the same, one axis further."""
    def batch(size: int, axes: Any, x: Any, axis: int, **params: Any) -> Any:
        return bind(REGISTRY[name], (x,), {"axis": axis + 1, **params}), 0
    return batch


def one_axis(name: str, x: Any, axis: Any, dim: Any) -> tuple[Any, int]:
    """The array and its axis counted from 0; without one, a vector of all elements."""
    x, axis = arrayed(x), dim if axis is None else axis
    if axis is None:
        return (x if len(x.shape) == 1 else ravel(x)), 0
    return x, check_axis(name, axis, len(x.shape))


def turned(b: loops.Builder, x: Any, axis: int) -> Any:
    """A view of ``x`` with one axis reversed."""
    index = tuple((n - 1, ((d, -1),)) if d == axis else (0, ((d, 1),))
                  for d, n in enumerate(x.shape))
    return b.view(x, index, x.shape)


def shifted(x: Any, axis: int, reverse: bool = False) -> Any:
    """The element before each one (after it, if ``reverse``), and 0 before the first."""
    if not x.shape[axis]:
        return x
    width = tuple(((0, 1) if reverse else (1, 0)) if d == axis else (0, 0)
                  for d in range(len(x.shape)))
    return _pad(x[slices(axis, slice(1, None) if reverse else slice(None, -1))], width=width)


def lower_scan(op: str) -> Any:
    """The lowering to one scan, of the array in the dtype that NumPy accumulates in."""
    def lower(b: loops.Builder, x: Any, axis: int, reverse: bool = False) -> Any:
        x = loops.cast(b, x, _summed(x.dtype)) if op in ("add", "multiply") else x
        if not reverse or not x.shape[axis]:
            return b.scan(op, x, axis)
        return turned(b, b.scan(op, turned(b, x, axis), axis), axis)
    return lower


# ---- sums

def _cumsum_impl(x: Any, axis: int, reverse: bool) -> Any:
    if not reverse:
        return np.add.accumulate(x, axis)
    turn = slices(axis, slice(None, None, -1))
    return np.add.accumulate(x[turn], axis)[turn]


def _cumsum_transpose(dy: Any, x: Any, axis: int, reverse: bool) -> Any:
    return _cumsum(dy, axis=axis, reverse=not reverse)


_cumsum = linear(
    "cumsum", _cumsum_impl, _cumsum_transpose,
    lambda x, axis, reverse: aval(x.shape, _summed(x.dtype)),
    label=Label("cumsum({0}, axis={axis}, reverse={reverse})",
                r"\mathrm{{cumsum}}_{{\mathrm{{axis}}={axis},\,\mathrm{{reverse}}={reverse}}}({0})",
                (r"[{0}_j \in {y}_i]",), "sum over branches", "((",
                ((r"\mathrm{{cumsum}}_{{\mathrm{{axis}}={axis},\,"
                  r"\mathrm{{reverse}}=\neg {reverse}}}({dy})"),)),
    batch=batched_along("cumsum"), lower=lower_scan("add"), cases=along_cases(
        FORWARD, {"axis": 1, "reverse": False}, {"axis": 0, "reverse": True},
        {"axis": 1, "reverse": True}, extra=[
            Case((np.ones((2, 0)),), {"axis": 1, "reverse": True})]))


@function(np.cumsum)
def cumsum(x: Any, axis: Any = None, dtype: Any = None, *, dim: Any = None) -> Any:
    """The sums of the first elements along an axis; of all elements in a row if none is named.

        y_i = sum_(j <= i) x_j,    dy_i/dx_j = [j <= i]

    Raises ShapeError if the axis does not exist.

    >>> ad.cumsum([1.0, 2.0, 3.0])
    array([1., 3., 6.])
    """
    x, axis = one_axis("cumsum", x, axis, dim)
    return in_dtype(_cumsum, x, dtype, axis=axis, reverse=False)


@function(np.nancumsum)
def nancumsum(x: Any, axis: Any = None, dtype: Any = None, *, dim: Any = None) -> Any:
    """The cumulative sum with each NaN counted as 0, whose gradient is 0.

    >>> ad.nancumsum([1.0, float("nan"), 3.0])
    array([1., 1., 4.])
    """
    x = arrayed(x)
    return cumsum(where(isnan(x), x.dtype.type(0), x), axis, dtype, dim=dim)


# ---- the linear recurrence

def _recurrence_impl(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    result = np.empty(b.shape, np.result_type(a, b))
    a, b, y = (np.moveaxis(v, axis, 0)[::-1 if reverse else 1] for v in (a, b, result))
    if b.ndim == 1 and result.dtype == np.float64:  # Python's floats are faster here
        y[:] = _in_floats(a.tolist(), b.tolist())
        return result
    for k in range(len(b)):
        y[k] = a[k] * y[k - 1] + b[k] if k else b[k]
    return result


def _in_floats(a: list[float], b: list[float]) -> list[float]:
    y: list[float] = b[:1]
    for k in range(1, len(b)):
        y.append(a[k] * y[-1] + b[k])
    return y


def _driven(d: Any, y: Any, axis: int, reverse: bool) -> Any:
    """d_i y_(i-1), and 0 where there is no y before: no product, so nothing infinite is met."""
    n = y.shape[axis]
    if not n:
        return d * y
    first, later = slices(axis, slice(0, n - 1)), slices(axis, slice(1, n))
    here, before = (first, later) if reverse else (later, first)
    width = tuple(((0, 1) if reverse else (1, 0)) if k == axis else (0, 0)
                  for k in range(len(y.shape)))
    return _pad(d[here] * y[before], width=width)


def _recurrence_jvp(dxs: Any, y: Any, a: Any, b: Any, axis: int, reverse: bool) -> Any:
    da, db = dxs
    driven = total([None if da is None else _driven(da, y, axis, reverse), db])
    return None if driven is None else _recurrence(a, driven, axis=axis, reverse=reverse)


def _recurrence_vjp(dy: Any, y: Any, a: Any, b: Any, needs: Any, axis: int, reverse: bool) -> Any:
    back = _recurrence(shifted(a, axis, not reverse), dy, axis=axis, reverse=not reverse)
    return _driven(back, y, axis, reverse) if needs[0] else None, back if needs[1] else None


def _recurrence_where_zero_wins(downstream: Any, a: Any, b: Any, axis: int, reverse: bool) -> Any:
    """Step by step, each product with the factor downstream first: only where a NaN came out."""
    n, y, parts = b.shape[axis], None, []
    for k in reversed(range(n)) if reverse else range(n):
        key = (*(slice(None),) * axis, k)
        if y is not None:
            y = annihilate(y, a[key]) if downstream[1] else annihilate(a[key], y)
        y = b[key] if y is None else y + b[key]
        parts.append(y)
    return stack(parts[::-1] if reverse else parts, axis) if parts else b


def _batch_recurrence(size: int, axes: Any, a: Any, b: Any, axis: int, reverse: bool) -> Any:
    a, b = (broadcast_to(x, (size, *x.shape)) if lead is None else x
            for x, lead in zip((a, b), axes, strict=True))
    return _recurrence(a, b, axis=axis + 1, reverse=reverse), 0


def _lower_recurrence(b: loops.Builder, a: Any, x: Any, axis: int, reverse: bool) -> Any:
    n, order = x.shape[axis], (axis, *[d for d in range(len(x.shape)) if d != axis])
    a, x = (loops.cast(b, v, promoted(a, x)) for v in (a, x))
    if n == 0:
        return x
    if reverse:
        a, x = turned(b, a, axis), turned(b, x, axis)
    a, x = loops.permuted(b, a, order), loops.permuted(b, x, order)
    zero, rest = x.dtype.type(0), loops.straight(len(order) - 1)
    index = ((1, ((0, 1),)), *[(0, ((d, 1),)) for d in range(1, len(order))])
    later = b.view(a, index, (n - 1, *a.shape[1:]))
    a = b.pad(later, index, a.shape, zero)  # the first coefficient meets nothing
    one = aval(x.shape[1:], x.dtype)
    body, y = trace(lambda y, a, x: a * y + x, one, one, one)
    body.outputs = [y.node, y.node]
    start = b.view(b.const(zero), (), one.shape) if rest else b.const(zero)
    y = b.item(b.loop(body, n, [start], [a, x]), 1)
    y = loops.permuted(b, y, tuple(np.argsort(order).tolist()))
    return turned(b, y, axis) if reverse else y


def _recurrence_cases(rng: np.random.Generator) -> Iterator[Case]:
    for axis, reverse in ((0, False), (1, False), (0, True), (1, True)):
        yield Case((draw(rng, (2, 3)), draw(rng, (2, 3))), {"axis": axis, "reverse": reverse})
    for x in layouts(rng):
        if x.ndim:
            yield Case((x, np.asarray(draw(rng, x.shape), x.dtype)), FORWARD)
    yield Case((np.arange(3), draw(rng, (3,))), FORWARD)


_recurrence = general(
    "linear_recurrence", _recurrence_impl, jvp=_recurrence_jvp, vjp=_recurrence_vjp,
    aval=lambda a, b, axis, reverse: aval(b.shape, promoted(a, b)), keeps=frozenset({0, "y"}),
    batch=_batch_recurrence, lower=_lower_recurrence, zero_wins=_recurrence_where_zero_wins,
    label=Label("linear_recurrence({0}, {1}, axis={axis}, reverse={reverse})",
                r"\mathrm{{linear\_recurrence}}_{{\mathrm{{axis}}={axis},\,"
                r"\mathrm{{reverse}}={reverse}}}({0}, {1})", ("{y}_{{i-1}}", "1"),
                "recurrence", "((",
                (r"\lambda_i\,{y}_{{i-1}}", r"\lambda_i = {dy}_i + {0}_{{i+1}}\,\lambda_{{i+1}}")),
    cases=Cases(_recurrence_cases, ALONG | {
        "broadcast left": "both have one shape by then", "broadcast right": "the same"}))


@function()
def linear_recurrence(a: Any, b: Any, axis: int = 0, reverse: bool = False) -> Any:
    """The solution of a linear recurrence along an axis, backwards if ``reverse``.

        y_i = a_i y_(i-1) + b_i,    y_0 = b_0

    A moving average, a filter, a diagonal state space model. ``a`` and ``b`` broadcast. Raises
    ShapeError if they do not, or if the axis does not exist.

    >>> ad.linear_recurrence(0.5, [1.0, 1.0, 1.0])
    array([1.  , 1.5 , 1.75])
    """
    a, b = arrayed(a), arrayed(b)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"linear_recurrence: the shapes {a.shape} and {b.shape} do not "
                         "broadcast") from None
    axis = check_axis("linear_recurrence", axis, len(shape))
    return _recurrence(broadcast_to(a, shape), broadcast_to(b, shape), axis=axis, reverse=reverse)


# ---- products

def _before(y: Any, axis: int) -> Any:
    """The product of all the factors before each one: 1 before the first."""
    one = np.ones([1 if d == axis else n for d, n in enumerate(y.shape)], y.dtype)
    return concatenate([one, y[slices(axis, slice(None, -1))]], axis) if y.shape[axis] else y


def _cumprod_jvp(dxs: Any, y: Any, x: Any, axis: int) -> Any:
    if dxs[0] is None:
        return None
    return _recurrence(x, dxs[0] * _before(y, axis), axis=axis, reverse=False)


def _cumprod_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: int) -> tuple[Any]:
    back = _recurrence(shifted(x, axis, reverse=True), dy, axis=axis, reverse=True)
    return (back * _before(y, axis),)


_cumprod = general(
    "cumprod", np.multiply.accumulate, arity=1, jvp=_cumprod_jvp,
    vjp=_cumprod_vjp, aval=lambda x, axis: aval(x.shape, _summed(x.dtype)),
    keeps=frozenset({0, "y"}), batch=batched_along("cumprod"), lower=lower_scan("multiply"),
    label=Label("cumprod({0}, axis={axis})", r"\mathrm{{cumprod}}_{{\mathrm{{axis}}={axis}}}({0})",
                (r"[j \le i]\,\prod_{{k \le i, k \ne j}} {0}_k",), "product rule"),
    cases=along_cases({"axis": 0}, {"axis": 1}, extra=[
        Case((np.array([2.0, 0.0, 3.0]),), {"axis": 0}),
        Case((np.array([[2.0, 0.0, 3.0, 0.0], [0.0, 1.0, 2.0, 5.0]]),), {"axis": 1})]))


@function(np.cumprod)
def cumprod(x: Any, axis: Any = None, dtype: Any = None, *, dim: Any = None) -> Any:
    """The products of the first elements along an axis; of all elements in a row if none is named.

        y_i = prod_(j <= i) x_j,    dy_i/dx_j = prod_(k <= i, k != j) x_k

    Exact where factors are 0, at every order: nothing is divided by a factor.

    >>> ad.cumprod([2.0, 3.0, 4.0])
    array([ 2.,  6., 24.])
    """
    x, axis = one_axis("cumprod", x, axis, dim)
    return in_dtype(_cumprod, x, dtype, axis=axis)


@function(np.nancumprod)
def nancumprod(x: Any, axis: Any = None, dtype: Any = None, *, dim: Any = None) -> Any:
    """The cumulative product with each NaN counted as 1, whose gradient is 0.

    >>> ad.nancumprod([2.0, float("nan"), 3.0])
    array([2., 2., 6.])
    """
    x = arrayed(x)
    return cumprod(where(isnan(x), x.dtype.type(1), x), axis, dtype, dim=dim)


# ---- extremes: ties share

def _runs(y: Any, x: Any, axis: int) -> tuple[Any, Any, Any]:
    """Where the extreme is as before, which elements equal it, and how many have by then."""
    goes_on = equal(y, shifted(y, axis))
    hit, goes_on = astype(x == y, x.dtype), astype(goes_on, x.dtype)
    return goes_on, hit, _recurrence(goes_on, hit, axis=axis, reverse=False)


def _so_far_jvp(dxs: Any, y: Any, x: Any, axis: int) -> Any:
    if dxs[0] is None:
        return None
    goes_on, hit, count = _runs(y, x, axis)
    return _recurrence(goes_on, dxs[0] * hit, axis=axis, reverse=False) / count


def _so_far_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: int) -> tuple[Any]:
    goes_on, hit, count = _runs(y, x, axis)
    back = shifted(goes_on, axis, reverse=True)
    return (_recurrence(back, dy / count, axis=axis, reverse=True) * hit,)


def _so_far(name: str, ufunc: Any, latex: str) -> Any:
    def kink(x: Any, axis: int) -> Any:
        """The elements from which on the extreme is shared."""
        return _runs(ufunc.accumulate(x, axis), np.asarray(x, float), axis)[2] > 1
    return general(
        name, ufunc.accumulate, arity=1, jvp=_so_far_jvp, vjp=_so_far_vjp,
        aval=lambda x, axis: aval(x.shape, x.dtype), keeps=frozenset({0, "y"}), kink=kink,
        batch=batched_along(name), lower=lower_scan(ufunc.__name__),
        label=Label(
            name + "({0}, axis={axis})",
            rf"\mathrm{{{{cum{latex}}}}}_{{{{\mathrm{{{{axis}}}}={{axis}}}}}}({{0}})",
            ((r"\frac{{[j \le i]\,[{0}_j = {y}_i]}}"
              r"{{\mathrm{{count}}_{{k \le i}}([{0}_k = {y}_i])}}"),),
            "choice"),
        cases=along_cases({"axis": 0}, {"axis": 1}, extra=[
            Case((np.array([1.0, 0.0, 1.0, 2.0, 2.0, 1.0]),), {"axis": 0}, "kink")]))


_cummax, _cummin = _so_far("cummax", np.maximum, "max"), _so_far("cummin", np.minimum, "min")


@function()
def cummax(x: Any, axis: Any = None, *, dim: Any = None) -> Any:
    """The largest of the first elements along an axis; those that tie share the gradient equally.

        y_i = max_(j <= i) x_j

    The values alone, as ``np.maximum.accumulate(x, axis)``; PyTorch gives a pair with the indices.

    >>> ad.cummax([1.0, 3.0, 2.0])
    array([1., 3., 3.])
    """
    x, axis = one_axis("cummax", x, axis, dim)
    return _cummax(x, axis=axis)


@function()
def cummin(x: Any, axis: Any = None, *, dim: Any = None) -> Any:
    """The smallest of the first elements along an axis; those that tie share the gradient equally.

        y_i = min_(j <= i) x_j

    The values alone, as ``np.minimum.accumulate(x, axis)``; PyTorch gives a pair with the indices.

    >>> ad.cummin([2.0, 1.0, 3.0])
    array([2., 1., 1.])
    """
    x, axis = one_axis("cummin", x, axis, dim)
    return _cummin(x, axis=axis)


def _accumulate(f: Any) -> Any:
    """NumPy's ``ufunc.accumulate``, whose axis is the first unless one is named."""
    def accumulate(x: Any, axis: Any = 0, dtype: Any = None) -> Any:
        return in_dtype(f, arrayed(x), dtype, axis=axis)
    return accumulate


for _ufunc, _f in ((np.add, cumsum), (np.multiply, cumprod), (np.maximum, cummax),
                   (np.minimum, cummin)):
    NUMPY[_ufunc, "accumulate"] = _accumulate(_f)


# ---- the names of the array API standard

def _numpys(name: str) -> list[Any]:
    """NumPy's function of that name: 2.0 lacks these."""
    return [getattr(np, name)] if hasattr(np, name) else []


def _standard(name: str, f: Any, x: Any, axis: Any, dtype: Any, include_initial: bool, initial: int
              ) -> Any:
    x = arrayed(x)
    if axis is None and len(x.shape) != 1:
        raise ArgumentError(f"{name}: axis is needed where there is not exactly one; the shape is "
                            f"{x.shape}")
    axis = check_axis(name, 0 if axis is None else axis, len(x.shape))
    y = f(x, axis, dtype)
    if not include_initial:
        return y
    shape = [1 if d == axis else n for d, n in enumerate(y.shape)]
    return concatenate([np.full(shape, initial, y.dtype), y], axis)


@function(*_numpys("cumulative_sum"))
def cumulative_sum(x: Any, axis: Any = None, dtype: Any = None, include_initial: bool = False
                   ) -> Any:
    """`ad.cumsum` along an axis, with a 0 in front if ``include_initial`` (array API standard).

    Raises ArgumentError if no axis is named and there is more than one.

    >>> ad.cumulative_sum([1.0, 2.0, 3.0], include_initial=True)
    array([0., 1., 3., 6.])
    """
    return _standard("cumulative_sum", cumsum, x, axis, dtype, include_initial, 0)


@function(*_numpys("cumulative_prod"))
def cumulative_prod(x: Any, axis: Any = None, dtype: Any = None, include_initial: bool = False
                    ) -> Any:
    """`ad.cumprod` along an axis, with a 1 in front if ``include_initial`` (array API standard).

    Raises ArgumentError if no axis is named and there is more than one.

    >>> ad.cumulative_prod([2.0, 3.0], include_initial=True)
    array([1., 2., 6.])
    """
    return _standard("cumulative_prod", cumprod, x, axis, dtype, include_initial, 1)


# ---- differences and integrals

def _bordered(name: str, x: Any, axis: int, more: Any) -> Any:
    """What stands before or after ``x``: an array, or a number that becomes one slice."""
    more = arrayed(more)
    if more.shape == ():
        return broadcast_to(more, tuple(1 if d == axis else n for d, n in enumerate(x.shape)))
    if len(more.shape) != len(x.shape):
        raise ShapeError(f"{name}: what is put before or after an array of shape {x.shape} is a "
                         f"number or has as many axes, not the shape {more.shape}")
    return more


@composed(np.diff, label=Label("diff({0})", r"\Delta {0}", (), "difference"),
          cases=along_cases({}, {"axis": 0}, {"n": 2}, {"n": 2, "axis": 0}, {"n": 0}, extra=[
              Case((np.array([1.0, 4.0, 9.0]),), {"prepend": 0.0, "append": [1.0, 2.0]}),
              Case((np.array([True, False, False]),))]))
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None, *,
         dim: int | None = None) -> Any:
    """The differences of neighbours along an axis, taken ``n`` times.

        y_i = x_(i+1) - x_i

    Of booleans, whether they differ. Raises ShapeError if the axis does not exist, ArgumentError
    for a negative ``n``.

    >>> ad.diff([1.0, 4.0, 9.0])
    array([3., 5.])
    """
    x = arrayed(x)
    axis = check_axis("diff", axis if dim is None else dim, len(x.shape))
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ArgumentError(f"diff: n is how often differences are taken, 0 or more, not {n!r}")
    around = [None if v is None or v is np._NoValue else _bordered("diff", x, axis, v)
              for v in (prepend, append)]
    parts = [v for v in (around[0], x, around[1]) if v is not None]
    x = concatenate(parts, axis) if len(parts) > 1 else x
    if not n:
        return x[...]
    for _ in range(n):
        after, before = x[slices(axis, slice(1, None))], x[slices(axis, slice(None, -1))]
        x = not_equal(after, before) if x.dtype == np.bool_ else after - before
    return x


def _beside(v: Any, dtype: Any) -> Any:
    """What stands beside the differences, in their dtype if that keeps its kind."""
    weak = isinstance(v, int) and dtype.kind != "b"
    v = arrayed(v)
    if not weak and not np.can_cast(v.dtype, dtype, "same_kind"):
        raise DTypeError(f"ediff1d: {v.dtype} beside differences in {dtype} would be cut off; "
                         f"write x.astype({v.dtype}) for x")
    return ravel(astype(v, dtype))


@composed(np.ediff1d, label=Label("ediff1d({0})", r"\Delta {0}", (), "difference"),
          cases=array_cases({}, extra=[
              Case((np.array([1.0, 4.0, 9.0]),), {"to_end": 5.0, "to_begin": [0.5, 1.5]})]))
def ediff1d(x: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours among all elements in a row, with numbers around them.

    Raises DTypeError for numbers around them that the dtype of ``x`` cannot hold.

    >>> ad.ediff1d([1.0, 4.0, 9.0], to_end=0.0)
    array([3., 5., 0.])
    """
    x = ravel(arrayed(x))
    parts = [None if v is None else _beside(v, x.dtype) for v in (to_begin, to_end)]
    joined = [v for v in (parts[0], x[1:] - x[:-1], parts[1]) if v is not None]
    return concatenate(joined) if len(joined) > 1 else joined[0]


def _strips(name: str, y: Any, x: Any, dx: Any, axis: int) -> Any:
    """The areas of the trapezoids between neighbours."""
    if x is None:
        widths = dx
    else:
        x = arrayed(x)
        if len(x.shape) == 1 and x.shape[0] == y.shape[axis]:
            x = reshape(x, tuple(-1 if d == axis else 1 for d in range(len(y.shape))))
        if len(x.shape) != len(y.shape) or x.shape[axis] != y.shape[axis]:
            raise ShapeError(f"{name}: x of shape {x.shape} has no point for each of the "
                             f"{y.shape[axis]} values along axis {axis} of y, shape {y.shape}")
        widths = diff(x, axis=axis)
    return widths * (y[slices(axis, slice(1, None))] + y[slices(axis, slice(None, -1))]) / 2.0


@composed(np.trapezoid, label=Label("trapezoid({0})", r"\int {0}\,dx", (), "integral"),
          cases=along_cases({}, {"axis": 0}, {"dx": 0.5}, extra=[
              Case((np.array([1.0, 4.0, 9.0]), np.array([1.0, 2.0, 4.0]))),
              Case((np.ones((2, 3)) * [1.0, 2.0, 5.0], np.array([1.0, 2.0, 4.0]))),
              Case((np.ones((3, 2)), np.array([[1.0], [2.0], [4.0]])), {"axis": 0})],
              without={"broadcast left": "y is whole"}))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, *, dim: int | None = None
              ) -> Any:
    """The integral along an axis by the trapezoidal rule, over the points ``x`` or steps ``dx``.

        sum_i (x_(i+1) - x_i) (y_i + y_(i+1)) / 2

    Differentiable in the values, the points and the step. Raises ShapeError if ``x`` does not fit.

    >>> ad.trapezoid([1.0, 2.0, 3.0])
    np.float64(4.0)
    """
    y = arrayed(y)
    axis = check_axis("trapezoid", axis if dim is None else dim, len(y.shape))
    return sum(_strips("trapezoid", y, x, dx, axis), axis)


@function()
def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1,
                         initial: Any = None, *, dim: int | None = None) -> Any:
    """The integrals up to each point by the trapezoidal rule, as `scipy.integrate` has it.

    ``initial``, 0 where it is given, is put in front. Raises ShapeError if ``x`` does not fit.

    >>> ad.cumulative_trapezoid([1.0, 2.0, 3.0])
    array([1.5, 4. ])
    """
    y = arrayed(y)
    axis = check_axis("cumulative_trapezoid", axis if dim is None else dim, len(y.shape))
    areas = cumsum(_strips("cumulative_trapezoid", y, x, dx, axis), axis)
    if initial is None:
        return areas
    return concatenate([_bordered("cumulative_trapezoid", areas, axis, initial), areas], axis)
