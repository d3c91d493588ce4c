"""Reductions over axes: sums, products, extremes, and the softmax family."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import aval, float64
from adjoint.core.primitive import NUMPY, REGISTRY, Label
from adjoint.errors import ArgumentError, ShapeError

from . import loops
from .arithmetic import astype
from .cases import Case, array_cases
from .declare import arrayed, check_axis, composed, function, general, linear, shape_of
from .exponential import exp
from .select import isinf, logical_and, where
from .shape import _broadcast, concatenate, moveaxis, reshape, stack

Axes = tuple[int, ...] | None
REDUCTIONS = (
    {"axis": None, "keepdims": False}, {"axis": (0,), "keepdims": False},
    {"axis": (1,), "keepdims": True}, {"axis": (0, 1), "keepdims": True},
    {"axis": (), "keepdims": False})
TO_SCALAR = REDUCTIONS[0]
NOT_EMPTY = {"empty": "there is no extreme of nothing: an error"}


# ---- axes

def axes_of(name: str, axis: Any, ndim: int) -> Axes:
    """``axis`` as the rows take it: None for all, else a tuple counted from 0, each once."""
    if axis is None:
        return None
    if isinstance(axis, (int, np.integer)):
        return (check_axis(name, axis, ndim),)
    if not isinstance(axis, (tuple, list)):
        raise ArgumentError(f"{name}: axis is None, an integer or a tuple of them, not {axis!r}")
    axes = tuple(sorted(check_axis(name, a, ndim) for a in axis))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: axis {axis} names an axis twice")
    return axes


def full(axis: Axes, ndim: int) -> tuple[int, ...]:
    """The axes in full."""
    return tuple(range(ndim)) if axis is None else axis


def reduced(shape: tuple[int, ...], axis: Axes, keepdims: bool) -> tuple[int, ...]:
    """The shape after a reduction."""
    if axis is None:
        return (1,) * len(shape) if keepdims else ()
    if keepdims:
        return tuple([1 if i in axis else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in axis])


def restored(y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """A reduced ``y`` with the reduced axes of ``x`` put back at size 1."""
    if keepdims or not shape_of(y):
        return y
    return reshape(y, reduced(shape_of(x), axis, keepdims=True))


def batched(name: str) -> Any:
    """The batch rule of a reduction: the same over axes one further."""
    def batch(size: int, axes: Any, x: Any, axis: Axes, **params: Any) -> Any:
        shifted = tuple(a + 1 for a in full(axis, len(shape_of(x)) - 1))
        return bind(REGISTRY[name], (x,), {"axis": shifted, **params}), 0
    return batch


def lower_reduce(op: str, dtype: Any = None) -> Any:
    """The lowering of a reduction: the statement, and a view that puts axes of size 1 back."""
    def lower(b: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
        x = loops.cast(b, x, dtype(x.dtype)) if dtype else x
        y = b.reduce(op, x, full(axis, len(x.shape)))
        return loops.reshaped(b, y, reduced(x.shape, axis, keepdims=True)) if keepdims else y
    return lower


def known_reduced(dtype: Any = None) -> Any:
    """The Aval rule of a reduction; ``dtype`` maps the argument's dtype to the result's."""
    return lambda x, axis, keepdims: aval(
        reduced(x.shape, axis, keepdims), dtype(x.dtype) if dtype else x.dtype)


def _summed(dtype: Any) -> Any:
    """NumPy sums booleans and small integers in the default integer."""
    return np.add.reduce(np.ones(1, dtype)).dtype


def _spread(dy: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    if dy.__class__ is float64:  # of a sum over all: the fastest way
        dx = np.empty(x.shape)
        dx.fill(dy)
        return dx
    return _broadcast.record(restored(dy, x, axis, keepdims), {"shape": x.shape})


def settings(name: str, x: Any, axis: Any, keepdims: bool, dim: Any, keepdim: bool | None) -> Any:
    """The array, its axes, and keepdims, from NumPy's and PyTorch's spelling."""
    x = arrayed(x)
    axis = dim if axis is None else axis
    axes = None if axis is None else axes_of(name, axis, len(x.shape))
    return x, axes, keepdims if keepdim is None else keepdim


# ---- sum and mean

_reduce: Any = np.add.reduce


def _sum_impl(x: Any, axis: Axes, keepdims: bool) -> Any:
    return _reduce(x, axis, None, None, keepdims)  # by position: 150 ns less


def _sum_all(x: Any) -> Any:
    return _reduce(x, None)


_sum = linear(
    "sum", _sum_impl, _spread, known_reduced(_summed),
    label=Label("sum({0}, axis={axis}, keepdims={keepdims})",
                r"\sum_{{\mathrm{{axis}}={axis}}}({0})", ("1",), "sum over branches", "((",
                (r"\mathrm{{broadcast\_to}}({dy}, \mathrm{{shape}}({0}))",)),
    batch=batched("sum"), lower=lower_reduce("add", _summed), cases=array_cases(*REDUCTIONS))


_sum_record = _sum.record


def in_dtype(f: Any, x: Any, dtype: Any, **params: Any) -> Any:
    """``f`` of ``x`` in a dtype, also a small one of integers: rows count those in 64 bits."""
    if dtype is None:
        return f(x, **params)
    y = f(astype(x, dtype), **params)
    return y if y.dtype == dtype else astype(y, dtype)


@function(np.sum)
def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """The sum over some axes, all if none is named; ``dim`` and ``keepdim`` are PyTorch's names.

        y = sum_i x_i,    dy/dx_i = 1

    >>> ad.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([4., 6.])
    """
    if x.__class__ is list or x.__class__ is tuple:
        x = arrayed(x)
    if axis is None and dim is None and dtype is None and not keepdims and not keepdim:
        return _sum_record(x, TO_SCALAR, _sum_all)
    if isinstance(dtype, bool):  # PyTorch's x.sum(dim, keepdim)
        dtype, keepdims = None, dtype
    x, axes, keepdims = settings("sum", x, axis, keepdims, dim, keepdim)
    return in_dtype(_sum, x, dtype, axis=axes, keepdims=keepdims)


@composed(np.mean, label=Label("mean({0})", r"\overline{{{0}}}", (r"\frac{{1}}{{n}}",), "mean"),
          cases=array_cases(
              {}, {"axis": 0}, {"axis": (-1,), "keepdims": True}, {"axis": ()}, empty=False, extra=[
                  Case((np.ones((0, 3)),), {"axis": 1}), Case((np.ones((0, 3)),), {}, "singular")]))
def mean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, dim: Any = None,
         keepdim: bool | None = None) -> Any:
    """The mean over some axes, all if none is named.

        y = (1/n) sum_i x_i,    dy/dx_i = 1/n

    >>> ad.mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([2., 3.])
    """
    if isinstance(dtype, bool):  # PyTorch's x.mean(dim, keepdim)
        dtype, keepdims = None, dtype
    x, axes, keepdims = settings("mean", x, axis, keepdims, dim, keepdim)
    n = float(product(x.shape if axes is None else [x.shape[a] for a in axes]))
    if dtype is None and x.dtype == np.float16:  # as in NumPy: the sum of halves overflows at 65504
        return astype(sum(x, axes, np.float32, keepdims) / n, np.float16)
    return sum(x, axes, dtype, keepdims) / n


# ---- product

def _exclusive(x: Any) -> Any:
    """The product of all the others along the last axis: a tree, exact with zeros, in 3n steps."""
    n = shape_of(x)[-1]
    if n <= 1:
        return np.ones(shape_of(x), x.dtype)
    even = n - n % 2
    a, b = x[..., 0:even:2], x[..., 1:even:2]
    rest = _exclusive(concatenate([a * b, x[..., even:]], axis=-1) if n % 2 else a * b)
    inner = rest[..., :even // 2]
    out = reshape(stack([inner * b, inner * a], axis=-1), (*shape_of(x)[:-1], even))
    return concatenate([out, rest[..., even // 2:]], axis=-1) if n % 2 else out


def _others(x: Any, axis: Axes) -> Any:
    """For each element the product of the others that it is reduced with."""
    shape = shape_of(x)
    axes = full(axis, len(shape))
    if not axes:
        return np.ones(shape, x.dtype)
    places = tuple(range(len(shape) - len(axes), len(shape)))
    flat = moveaxis(x, axes, places)
    moved = shape_of(flat)
    out = _exclusive(reshape(flat, (*moved[:places[0]], product(moved[places[0]:]))))
    return moveaxis(reshape(out, moved), places, axes)


def _prod_jvp(dxs: Any, y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    return None if dxs[0] is None else _sum(dxs[0] * _others(x, axis), axis=axis, keepdims=keepdims)


def _prod_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes, keepdims: bool) -> tuple[Any]:
    return (_spread(dy, x, axis, keepdims) * _others(x, axis),)


_prod = general(
    "prod", lambda x, axis, keepdims: np.multiply.reduce(x, axis=axis, keepdims=keepdims), arity=1,
    jvp=_prod_jvp, vjp=_prod_vjp, aval=known_reduced(_summed), keeps=frozenset({0}),
    label=Label("prod({0}, axis={axis}, keepdims={keepdims})",
                r"\prod_{{\mathrm{{axis}}={axis}}}({0})", (r"\prod_{{j \ne i}} {0}_j",),
                "product rule"),
    batch=batched("prod"), lower=lower_reduce("multiply", _summed),
    cases=array_cases(*REDUCTIONS, extra=[Case((np.array([2.0, 0.0, 3.0]),), REDUCTIONS[0])]))


@function(np.prod)
def prod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, dim: Any = None,
         keepdim: bool | None = None) -> Any:
    """The product over some axes, all if none is named; its gradient is exact where factors are 0.

        y = prod_i x_i,    dy/dx_i = prod_(j != i) x_j

    >>> ad.prod([2.0, 3.0, 4.0])
    np.float64(24.0)
    """
    if isinstance(dtype, bool):  # PyTorch's x.prod(dim, keepdim)
        dtype, keepdims = None, dtype
    x, axes, keepdims = settings("prod", x, axis, keepdims, dim, keepdim)
    return in_dtype(_prod, x, dtype, axis=axes, keepdims=keepdims)


# ---- max and min: ties share

def _hits(y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """The share of each element in the extreme: 1 divided among those that equal it."""
    hit = astype(x == restored(y, x, axis, keepdims), x.dtype)
    return hit / _sum(hit, axis=axis, keepdims=True)


def _extreme_jvp(dxs: Any, y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    if dxs[0] is None:
        return None
    return _sum(dxs[0] * _hits(y, x, axis, keepdims), axis=axis, keepdims=keepdims)


def _extreme_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes, keepdims: bool) -> tuple[Any]:
    return (restored(dy, x, axis, keepdims) * _hits(y, x, axis, keepdims),)


def _extreme(name: str, ufunc: Any, latex: str = "", lower: Any = None, extra: Any = ()) -> Any:
    def kink(x: Any, axis: Axes, keepdims: bool) -> Any:
        """The elements that tie for the extreme."""
        hit = x == ufunc.reduce(x, axis=axis, keepdims=True)
        return hit & (np.add.reduce(hit, axis=axis, keepdims=True) > 1)
    return general(
        name, lambda x, axis, keepdims: ufunc.reduce(x, axis=axis, keepdims=keepdims), arity=1,
        jvp=_extreme_jvp, vjp=_extreme_vjp, aval=known_reduced(), keeps=frozenset({0, "y"}),
        label=Label(
            name + "({0}, axis={axis}, keepdims={keepdims})",
            rf"\{latex or name}_{{{{\mathrm{{{{axis}}}}={{axis}}}}}}({{0}})",
            (r"\frac{{[{0}_i = {y}]}}{{\mathrm{{count}}([{0} = {y}])}}",), "choice"),
        batch=batched(name), lower=lower or lower_reduce(ufunc.__name__), kink=kink,
        cases=array_cases(*REDUCTIONS, empty=False, without=NOT_EMPTY, extra=[
            *extra, Case((np.array([1.0, 1.0, 0.0, 1.0]),), REDUCTIONS[0], "kink"),
            Case((np.array([[1.0, 1.0], [0.0, 1.0]]),), REDUCTIONS[1], "kink")]))


_max, _min = _extreme("max", np.maximum), _extreme("min", np.minimum)


def _not_empty(name: str, x: Any, axes: Axes) -> None:
    if 0 in (x.shape if axes is None else [x.shape[a] for a in axes]):
        raise ShapeError(f"{name}: of nothing: shape {x.shape} has no element along the reduced "
                         "axes")


@function(np.max, np.amax)
def max(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """The largest element over some axes; elements that tie share the gradient equally.

        y = max_i x_i,    dy/dx_i = [x_i = y] / (how many x_j = y)

    >>> ad.max([[1.0, 5.0], [3.0, 4.0]], axis=1)
    array([5., 4.])
    """
    x, axes, keepdims = settings("max", x, axis, keepdims, dim, keepdim)
    _not_empty("max", x, axes)
    return _max(x, axis=axes, keepdims=keepdims)


@function(np.min, np.amin)
def min(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """The smallest element over some axes; elements that tie share the gradient equally.

        y = min_i x_i,    dy/dx_i = [x_i = y] / (how many x_j = y)

    >>> ad.min([[1.0, 5.0], [3.0, 4.0]], axis=1)
    array([1., 3.])
    """
    x, axes, keepdims = settings("min", x, axis, keepdims, dim, keepdim)
    _not_empty("min", x, axes)
    return _min(x, axis=axes, keepdims=keepdims)


# ---- positions and tests: constants

def _search(name: str, impl: Any) -> Any:
    def known(x: Any, axis: int | None, keepdims: bool) -> Any:
        return aval(reduced(x.shape, None if axis is None else (axis,), keepdims), np.intp)

    def batch(size: int, axes: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
        flat = reshape(x, (size, -1)) if axis is None else x
        y = row(flat, axis=1 if axis is None else axis + 1, keepdims=keepdims and axis is not None)
        if keepdims and axis is None:
            y = reshape(y, (size, *(1,) * (len(shape_of(x)) - 1)))
        return y, 0

    def lower(b: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
        flat = loops.reshaped(b, x, (product(x.shape),)) if axis is None else x
        y = b.reduce(name, flat, (axis or 0,))
        return loops.reshaped(b, y, reduced(x.shape, None if axis is None else (axis,), keepdims))
    row = general(
        name, lambda x, axis, keepdims: impl(x, axis=axis, keepdims=keepdims), arity=1, aval=known,
        nondiff=True, batch=batch, lower=lower,
        label=Label(name + "({0}, axis={axis}, keepdims={keepdims})",
                    rf"\mathrm{{{{{name}}}}}_{{{{\mathrm{{{{axis}}}}={{axis}}}}}}({{0}})"),
        cases=array_cases({"axis": None, "keepdims": False}, {"axis": 0, "keepdims": False},
                          {"axis": 1, "keepdims": True}, {"axis": None, "keepdims": True},
                          empty=False, without=NOT_EMPTY, extra=[
                              Case((np.array([1.0, 3.0, 3.0]),), TO_SCALAR)]))
    return row


_argmax, _argmin = _search("argmax", np.argmax), _search("argmin", np.argmin)


def _position(name: str, row: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    x = arrayed(x)
    axis = None if axis is None else check_axis(name, axis, len(x.shape))
    _not_empty(name, x, None if axis is None else (axis,))
    return row(x, axis=axis, keepdims=keepdims)


@function(np.argmax)
def argmax(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
           keepdim: bool | None = None) -> Any:
    """The index of the largest element, the first if several tie: an integer, without derivative.

    >>> ad.argmax([[1.0, 5.0], [3.0, 2.0]], axis=1)
    array([1, 0])
    """
    keepdims = keepdims if keepdim is None else keepdim
    return _position("argmax", _argmax, x, dim if axis is None else axis, keepdims)


@function(np.argmin)
def argmin(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
           keepdim: bool | None = None) -> Any:
    """The index of the smallest element, the first if several tie: an integer, without derivative.

    >>> ad.argmin([[1.0, 5.0], [3.0, 2.0]], axis=1)
    array([0, 1])
    """
    keepdims = keepdims if keepdim is None else keepdim
    return _position("argmin", _argmin, x, dim if axis is None else axis, keepdims)


def _test(name: str, ufunc: Any) -> Any:
    return general(
        name, lambda x, axis, keepdims: ufunc.reduce(x, axis=axis, keepdims=keepdims), arity=1,
        nondiff=True, aval=known_reduced(lambda _: np.dtype(bool)), batch=batched(name),
        lower=lower_reduce(ufunc.__name__, lambda _: np.dtype(bool)),
        label=Label(name + "({0}, axis={axis}, keepdims={keepdims})",
                    rf"\mathrm{{{{{name}}}}}_{{{{\mathrm{{{{axis}}}}={{axis}}}}}}({{0}})"),
        cases=array_cases(*REDUCTIONS, extra=[
            Case((np.array([[True, False], [True, True]]),), REDUCTIONS[1])]))


_all, _any = _test("all", np.logical_and), _test("any", np.logical_or)


@function(np.all)
def all(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """Whether all elements are true, over some axes: booleans, without derivative.

    >>> ad.all([[True, False], [True, True]], axis=1)
    array([False,  True])
    """
    x, axes, keepdims = settings("all", x, axis, keepdims, dim, keepdim)
    return _all(x, axis=axes, keepdims=keepdims)


@function(np.any)
def any(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """Whether any element is true, over some axes: booleans, without derivative.

    >>> ad.any([[True, False], [False, False]], axis=1)
    array([ True, False])
    """
    x, axes, keepdims = settings("any", x, axis, keepdims, dim, keepdim)
    return _any(x, axis=axes, keepdims=keepdims)


def reduce_of(f: Any) -> Any:
    """NumPy's ``ufunc.reduce`` by our function: its axis is the first unless one is named."""
    def reduce(x: Any, axis: Any = 0, dtype: Any = None, *, keepdims: bool = False) -> Any:
        x = arrayed(x)
        return in_dtype(f, x, dtype, axis=axis if x.shape or axis != 0 else None,
                        keepdims=keepdims)
    return reduce


for _ufunc, _f in ((np.add, sum), (np.multiply, prod), (np.maximum, max), (np.minimum, min),
                   (np.logical_and, all), (np.logical_or, any)):
    NUMPY[_ufunc, "reduce"] = reduce_of(_f)


# ---- the softmax family

def _logsumexp_impl(x: Any, axis: Axes, keepdims: bool) -> Any:
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):  # ln 0, and e^x next to an infinite x
        y = np.log(np.add.reduce(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else y.reshape(reduced(x.shape, axis, keepdims=False))[()]


def _logsumexp_weights(y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """The softmax of x, infinities decided: +inf takes all, and -inf gets 0 among its like too."""
    y = restored(y, x, axis, keepdims)
    with np.errstate(invalid="ignore"):  # inf - inf, which is not chosen
        settled = logical_and(x == y, isinf(x))
        return where(x == -np.inf, 0.0, exp(where(settled, 0.0, x - y)))


def _logsumexp_jvp(dxs: Any, y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    if dxs[0] is None:
        return None
    return _sum(dxs[0] * _logsumexp_weights(y, x, axis, keepdims), axis=axis, keepdims=keepdims)


def _logsumexp_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes, keepdims: bool) -> tuple[Any]:
    return (restored(dy, x, axis, keepdims) * _logsumexp_weights(y, x, axis, keepdims),)


def _logsumexp_lower(b: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    axes = full(axis, len(x.shape))
    top = b.reduce("maximum", x, axes)
    zero = loops.broadcast(b, b.const(x.dtype.type(0)), top.shape)
    top = b.select(b.elementwise("isfinite", top), top, zero)
    shifted = b.elementwise("subtract", x, loops.expanded(b, top, axes, x.shape))
    y = b.elementwise("add", b.elementwise(
        "log", b.reduce("add", b.elementwise("exp", shifted), axes)), top)
    return loops.reshaped(b, y, reduced(x.shape, axis, keepdims))


FLOATS = {**NOT_EMPTY, "integer": "an integer is cast to float before it gets here"}
_logsumexp = general(
    "logsumexp", _logsumexp_impl, arity=1, jvp=_logsumexp_jvp, vjp=_logsumexp_vjp,
    aval=known_reduced(), keeps=frozenset({0, "y"}), batch=batched("logsumexp"),
    lower=_logsumexp_lower,
    label=Label("logsumexp({0}, axis={axis}, keepdims={keepdims})",
                r"\ln(\sum_{{\mathrm{{axis}}={axis}}}(e^{{{0}}}))", ("e^{{{0} - {y}}}",),
                "chain rule for log-sum-exp"),
    cases=array_cases(*REDUCTIONS, empty=False, integer=False, without=FLOATS, extra=[
        Case((np.array([-np.inf, -np.inf]),), TO_SCALAR, "singular"),
        Case((np.array([np.inf, 0.0, 800.0]),), TO_SCALAR, "singular")]))


def as_float(x: Any) -> Any:
    """Integers and booleans cast to float64, anything else as it is."""
    x = arrayed(x)
    return x if x.dtype.kind in "fc" else astype(x, np.float64)


@function()
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
              keepdim: bool | None = None) -> Any:
    """The logarithm of a sum of exponentials, without overflow.

        y = ln sum_i e^(x_i),    dy/dx_i = e^(x_i - y)

    An x_i of -inf gets gradient 0, also when all are.

    >>> ad.logsumexp([1000.0, 1000.0])
    np.float64(1000.6931471805599)
    """
    x, axes, keepdims = settings("logsumexp", as_float(x), axis, keepdims, dim, keepdim)
    _not_empty("logsumexp", x, axes)
    return _logsumexp(x, axis=axes, keepdims=keepdims)


def _softmax_impl(x: Any, axis: Axes) -> Any:
    e = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True))
    return e / np.add.reduce(e, axis=axis, keepdims=True)


def _softmax_jvp(dxs: Any, y: Any, x: Any, axis: Axes) -> Any:
    if dxs[0] is None:
        return None
    return y * (dxs[0] - _sum(y * dxs[0], axis=axis, keepdims=True))


def _softmax_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes) -> tuple[Any]:
    return (y * (dy - _sum(y * dy, axis=axis, keepdims=True)),)


def _lower_centred(b: Any, x: Any, axis: Axes) -> tuple[Any, Any, tuple[int, ...]]:
    """X minus its maximum, and the sum of its exponential, both in the shape of x."""
    axes = full(axis, len(x.shape))
    top = loops.expanded(b, b.reduce("maximum", x, axes), axes, x.shape)
    shifted = b.elementwise("subtract", x, top)
    mass = b.reduce("add", b.elementwise("exp", shifted), axes)
    return shifted, mass, axes


def _softmax_lower(b: Any, x: Any, axis: Axes) -> Any:
    shifted, mass, axes = _lower_centred(b, x, axis)
    return b.elementwise("divide", b.elementwise("exp", shifted),
                         loops.expanded(b, mass, axes, x.shape))


def _log_softmax_impl(x: Any, axis: Axes) -> Any:
    x = x - np.maximum.reduce(x, axis=axis, keepdims=True)
    return x - np.log(np.add.reduce(np.exp(x), axis=axis, keepdims=True))


def _log_softmax_jvp(dxs: Any, y: Any, x: Any, axis: Axes) -> Any:
    return None if dxs[0] is None else dxs[0] - _sum(exp(y) * dxs[0], axis=axis, keepdims=True)


def _log_softmax_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes) -> tuple[Any]:
    return (dy - exp(y) * _sum(dy, axis=axis, keepdims=True),)


def _log_softmax_lower(b: Any, x: Any, axis: Axes) -> Any:
    shifted, mass, axes = _lower_centred(b, x, axis)
    return b.elementwise("subtract", shifted,
                         loops.expanded(b, b.elementwise("log", mass), axes, x.shape))


def _soft_row(name: str, impl: Any, jvp: Any, vjp: Any, lower: Any, latex: str, slope: str,
              pullback: str) -> Any:
    return general(
        name, impl, arity=1, jvp=jvp, vjp=vjp, lower=lower, batch=batched(name),
        aval=lambda x, axis: aval(x.shape, x.dtype), keeps=frozenset("y"),
        label=Label(name + "({0}, axis={axis})", latex, (slope,), "chain rule for softmax", "((",
                    (pullback,)),
        cases=array_cases({"axis": None}, {"axis": (1,)}, {"axis": (0, 1)}, {"axis": ()},
                          empty=False, integer=False, without=FLOATS))


_softmax = _soft_row("softmax", _softmax_impl, _softmax_jvp, _softmax_vjp, _softmax_lower,
                     r"\mathrm{{softmax}}_{{\mathrm{{axis}}={axis}}}({0})",
                     r"{y}_i\,([i = j] - {y}_j)", r"{y} \odot ({dy} - \sum({y} \odot {dy}))")
_log_softmax = _soft_row(
    "log_softmax", _log_softmax_impl, _log_softmax_jvp, _log_softmax_vjp, _log_softmax_lower,
    r"\ln(\mathrm{{softmax}}_{{\mathrm{{axis}}={axis}}}({0}))", r"[i = j] - e^{{{y}_j}}",
    r"{dy} - e^{{{y}}}\,\sum({dy})")


@function()
def softmax(x: Any, axis: Any = -1, *, dim: Any = None) -> Any:
    """Positive numbers that sum to 1 along an axis, the last one if none is named.

        y_i = e^(x_i) / sum_j e^(x_j),    dy_i/dx_j = y_i ([i = j] - y_j)

    >>> ad.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    x, axes, _ = settings("softmax", as_float(x), axis if dim is None else dim, False, None, None)
    _not_empty("softmax", x, axes)
    return _softmax(x, axis=axes)


@function()
def log_softmax(x: Any, axis: Any = -1, *, dim: Any = None) -> Any:
    """The logarithm of softmax, finite where softmax underflows.

        y_i = x_i - ln sum_j e^(x_j),    dy_i/dx_j = [i = j] - e^(y_j)

    >>> ad.log_softmax([0.0, 1000.0])
    array([-1000.,     0.])
    """
    axis = axis if dim is None else dim
    x, axes, _ = settings("log_softmax", as_float(x), axis, False, None, None)
    _not_empty("log_softmax", x, axes)
    return _log_softmax(x, axis=axes)
