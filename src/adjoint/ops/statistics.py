"""Statistics: variance and what stands on it, what skips NaN, interpolation, convolution.

Deviations are taken from the mean of what is left when the first element is subtracted: those of
equal numbers are then exactly 0, and so are variance, standard deviation and their gradients.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import NUMPY, PUBLIC, Label
from adjoint.errors import ArgumentError, DTypeError, ShapeError

from . import loops
from .arithmetic import astype, sqrt
from .cases import Case, Cases, array_cases
from .complexes import conjugate, imag, real
from .declare import arrayed, composed, function, general
from .norms import _euclid_impl as euclid
from .reduce import (
    NOT_EMPTY,
    REDUCTIONS,
    _extreme,
    _min,
    _not_empty,
    _spread,
    _sum,
    as_float,
    axes_of,
    batched,
    full,
    max,
    mean,
    min,
    reduce_of,
    reduced,
    restored,
    settings,
    sum,
)
from .reduce import (
    prod as product,
)
from .select import isnan, logical_not, where
from .select import stop_gradient as stop
from .shape import broadcast_to, reshape
from .sorting import known_values, shaped
from .units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Axes = tuple[int, ...] | None


# ---- variance and standard deviation

def _count(x: Any, axis: Axes) -> int:
    return prod(x.shape if axis is None else [x.shape[a] for a in axis])


def _freedom(x: Any, axis: Axes, ddof: float) -> Any:
    """How many degrees of freedom there are, none below 0: dividing by 0 gives inf or NaN."""
    left = _count(x, axis) - ddof
    return real_type(x.dtype)(np.maximum(left, 0))


def real_type(dtype: Any) -> Any:
    """The type of the real part."""
    return dtype.type(0).real.dtype.type


def _deviations(x: Any, axis: Axes) -> Any:
    """``x`` minus its mean over the axes."""
    axes = full(axis, len(x.shape))
    if 0 in x.shape:
        return x
    first = stop(x[tuple(slice(0, 1) if d in axes else slice(None) for d in range(len(x.shape)))])
    d = x - first
    return d - _sum(d, axis=axis, keepdims=True) / real_type(x.dtype)(_count(x, axis))


def _squares(d: Any) -> Any:
    return real(d * conjugate(d)) if d.dtype.kind == "c" else d * d


def _conjugated(d: Any) -> Any:
    return conjugate(d) if d.dtype.kind == "c" else d


def _real_sum(d: Any, axis: Axes, keepdims: bool) -> Any:
    return _sum(real(d) if d.dtype.kind == "c" else d, axis=axis, keepdims=keepdims)


def _var_impl(x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):  # infinities; no degree of freedom
        return _sum(_squares(_deviations(x, axis)), axis=axis, keepdims=keepdims) / (
            _freedom(x, axis, ddof))


def _std_impl(x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    """The root of the variance; by the norm of the deviations where squares leave the range."""
    with np.errstate(over="ignore", under="ignore"):
        y = np.sqrt(_var_impl(x, axis, ddof, keepdims))
    limits = np.finfo(y.dtype)
    usual = (y > np.sqrt(limits.tiny / limits.eps)) & (y < np.inf)
    if np.all(usual):
        return y
    with np.errstate(invalid="ignore", divide="ignore"):
        norm = euclid(_deviations(x, axis), axis, keepdims) / np.sqrt(_freedom(x, axis, ddof))
    return np.where(usual, y, norm.astype(y.dtype))[()]


def _var_slope(x: Any, axis: Axes, ddof: float) -> Any:
    with np.errstate(divide="ignore"):
        scale = real_type(x.dtype)(2) / _freedom(x, axis, ddof)
    return _conjugated(_deviations(x, axis)) * scale


def _var_jvp(dxs: Any, y: Any, x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    return None if dxs[0] is None else _real_sum(dxs[0] * _var_slope(x, axis, ddof), axis, keepdims)


def _var_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes, ddof: float, keepdims: bool
             ) -> tuple[Any]:
    return (_spread(dy, x, axis, keepdims) * _var_slope(x, axis, ddof),)


def _std_slope(y: Any, x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    """The deviations over the standard deviation: 0 where all elements are equal."""
    y = restored(y, x, axis, keepdims)
    still = y == 0
    by = where(still, y.dtype.type(1), y) * _freedom(x, axis, ddof)
    return where(still, x.dtype.type(0), _conjugated(_deviations(x, axis)) / by)


def _std_jvp(dxs: Any, y: Any, x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    if dxs[0] is None:
        return None
    return _real_sum(dxs[0] * _std_slope(y, x, axis, ddof, keepdims), axis, keepdims)


def _std_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Axes, ddof: float, keepdims: bool
             ) -> tuple[Any]:
    return (_spread(dy, x, axis, keepdims) * _std_slope(y, x, axis, ddof, keepdims),)


def _lower_var(b: loops.Builder, x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    axes = full(axis, len(x.shape))
    if 0 not in x.shape:
        x = b.elementwise("subtract", x, _first(b, x, axes))
        count = _filled(b, x.dtype.type(_count(x, axis)), reduced(x.shape, axes, keepdims=False))
        middle = b.elementwise("divide", b.reduce("add", x, axes), count)
        x = b.elementwise("subtract", x, loops.expanded(b, middle, axes, x.shape))
    square = b.elementwise("multiply", x, x)
    if x.dtype.kind == "c":
        square = b.elementwise("real", b.elementwise(
            "multiply", x, b.elementwise("conjugate", x)))
    y = b.reduce("add", square, axes)
    y = b.elementwise("divide", y, _filled(b, _freedom(x, axis, ddof), y.shape))
    return loops.reshaped(b, y, reduced(x.shape, axis, keepdims))


def _first(b: loops.Builder, x: Any, axes: tuple[int, ...]) -> Any:
    """The first element along the axes, seen in the shape of ``x``."""
    return b.view(x, tuple((0, () if d in axes else ((d, 1),)) for d in range(len(x.shape))),
                  x.shape)


def _filled(b: loops.Builder, number: Any, shape: tuple[int, ...]) -> Any:
    return loops.broadcast(b, b.const(number), shape)


def _lower_std(b: loops.Builder, x: Any, **params: Any) -> Any:
    return b.elementwise("sqrt", _lower_var(b, x, **params))


def _known_spread(x: Any, axis: Axes, ddof: float, keepdims: bool) -> Any:
    return aval(reduced(x.shape, axis, keepdims), real_type(x.dtype))


def _spread_row(name: str, impl: Any, latex: str, partial: str, **rules: Any) -> Any:
    params = [{"ddof": 0, **p} for p in REDUCTIONS[:-1]]
    floats = {"integer": "an integer is cast to float before it gets here"}
    equal_numbers = Case((np.array([0.1, 0.1, 0.1]),), params[0],
                         "kink" if name == "std" else "regular")
    apart = [{"ddof": 0, "axis": (1,), "keepdims": False}] if name == "std" else [
        {"ddof": 1, "axis": (0,), "keepdims": True}, {"ddof": 0, "axis": (), "keepdims": False}]
    return general(
        name, impl, arity=1, aval=_known_spread, batch=batched(name),
        label=Label(name + "({0}, axis={axis}, ddof={ddof}, keepdims={keepdims})", latex,
                    (partial,), "chain rule for the spread"), **rules,
        cases=Cases(lambda rng: _spread_cases(rng, params + apart, equal_numbers), floats))


def _spread_cases(rng: np.random.Generator, params: Any, equal_numbers: Case) -> Iterator[Case]:
    one_each = array_cases(*params, integer=False, layout=False)(rng)
    yield from one_each
    for case in array_cases(params[0], integer=False)(rng):
        # One number, or none, has no spread: std has a kink there, and of nothing it is NaN.
        size = np.size(case.args[0])
        domain = "regular" if size > 1 else "kink" if size else "singular"
        yield Case(case.args, case.params, domain)
    yield equal_numbers
    yield Case((np.array([1.5]),), {**params[0], "ddof": 1}, "singular")


_var = _spread_row(
    "var", _var_impl, r"\mathrm{{var}}_{{\mathrm{{axis}}={axis}}}({0})",
    r"\frac{{2}}{{n - {ddof}}}\,({0}_i - \mathrm{{mean}}({0}))",
    jvp=_var_jvp, vjp=_var_vjp, keeps=frozenset({0}), lower=_lower_var)
_std = _spread_row(
    "std", _std_impl, r"\mathrm{{std}}_{{\mathrm{{axis}}={axis}}}({0})",
    r"\frac{{{0}_i - \mathrm{{mean}}({0})}}{{(n - {ddof})\,{y}}}", jvp=_std_jvp, vjp=_std_vjp,
    keeps=frozenset({0, "y"}), lower=_lower_std,
    kink=lambda x, axis, ddof, keepdims: _var_impl(x, axis, ddof, keepdims=True) == (
        np.zeros(x.shape)))


def _spread_of(name: str, x: Any, axis: Any, dtype: Any, ddof: Any, keepdims: bool,
               correction: Any, unbiased: Any, dim: Any, keepdim: Any) -> Any:
    """The array and the parameters of a row, from NumPy's and PyTorch's spelling."""
    if isinstance(dtype, bool):  # PyTorch's x.var(dim, unbiased)
        dtype, unbiased = None, dtype
    ddof = degrees(name, correction if correction is not None else
                   int(unbiased) if unbiased is not None else ddof)
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise DTypeError(f"{name}: a spread is no integer: dtype is a float, not {np.dtype(dtype)}")
    x = as_float(x) if dtype is None else astype(arrayed(x), dtype)
    x, axes, keepdims = settings(name, x, axis, keepdims, dim, keepdim)
    return x, {"axis": axes, "ddof": ddof, "keepdims": keepdims}


def in_singles(f: Any, x: Any, *args: Any, **params: Any) -> Any:
    """``f(x)``, for halves computed in float32: a count or a sum of theirs overflows at 65504."""
    if x.dtype != np.float16:
        return f(x, *args, **params)
    return astype(f(astype(x, np.float32), *args, **params), np.float16)


def degrees(name: str, ddof: Any) -> Any:
    """``ddof`` if it is a number."""
    if isinstance(ddof, bool) or not isinstance(ddof, (int, float, np.integer, np.floating)) or (
            not np.isfinite(ddof)):
        raise ArgumentError(f"{name}: ddof (correction) is a finite number, not {ddof!r}")
    return ddof


@function(np.var)
def var(x: Any, axis: Any = None, dtype: Any = None, *, ddof: Any = 0, keepdims: bool = False,
        correction: Any = None, unbiased: bool | None = None, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """The variance over some axes, all if none is named.

        y = sum_i |x_i - m|^2 / (n - ddof),    dy/dx_i = 2 (x_i - m) / (n - ddof)

    ``ddof`` is 0 as in NumPy; PyTorch's var is ``ddof=1``, here ``correction=1`` or
    ``unbiased=True``. Of one element with ``ddof=1``, and of nothing, it is NaN. Raises ShapeError
    for an axis that does not exist, ArgumentError for a ``ddof`` that is no number.

    >>> ad.var([1.0, 2.0, 3.0, 4.0])
    np.float64(1.25)
    """
    x, params = _spread_of("var", x, axis, dtype, ddof, keepdims, correction, unbiased, dim,
                           keepdim)
    return in_singles(_var, x, **params)


@function(np.std)
def std(x: Any, axis: Any = None, dtype: Any = None, *, ddof: Any = 0, keepdims: bool = False,
        correction: Any = None, unbiased: bool | None = None, dim: Any = None,
        keepdim: bool | None = None) -> Any:
    """The standard deviation over some axes, all if none is named; `ad.var` has the options.

        y = sqrt(var(x)),    dy/dx_i = (x_i - m) / ((n - ddof) y)

    Where all elements are equal the gradient is 0. Of one element with ``ddof=1`` it is NaN.

    >>> ad.std([1.0, 1.0, 3.0, 3.0])
    np.float64(1.0)
    """
    x, params = _spread_of("std", x, axis, dtype, ddof, keepdims, correction, unbiased, dim,
                           keepdim)
    return in_singles(_std, x, **params)


# ---- averages and ranges

@composed(np.average, label=Label("average({0})", r"\overline{{{0}}}", (), "mean"),
          cases=array_cases({}, {"axis": 0}, {"axis": 1, "keepdims": True}, empty=False, extra=[
              Case((np.array([[1.0, 2.0], [3.0, 5.0]]),), {"axis": 1, "weights": [1.0, 3.0]}),
              Case((np.array([1.0, 2.0, 4.0]),), {"weights": [1, 2, 2]}),
              Case((np.array([[1.0, 2.0], [3.0, 5.0]]),),
                   {"weights": [[0.5, 1.0], [2.0, 1.5]], "axis": (0, 1)})],
              without={"empty": "the mean of nothing is 0/0"}))
def average(x: Any, axis: Any = None, weights: Any = None, returned: bool = False, *,
            keepdims: bool = False) -> Any:
    """The weighted mean over some axes: `ad.mean` without weights.

        y = sum_i w_i x_i / sum_i w_i

    ``weights`` has the shape of ``x``, or of its reduced axes; it is differentiable too. With
    ``returned`` the sum of the weights comes second. Raises ShapeError if the weights do not fit,
    ArgumentError if they sum to 0.

    >>> ad.average([1.0, 3.0], weights=[3.0, 1.0])
    np.float64(1.5)
    """
    x = arrayed(x)
    if weights is None:
        y = mean(x, axis, keepdims=keepdims)
        count = prod(x.shape) / (prod(y.shape) or 1)
        return (y, np.full(y.shape, count, y.dtype)[()]) if returned else y
    axes = None if axis is None else axes_of("average", axis, len(x.shape))
    w = _fitted_weights(x, arrayed(weights), axes, axis)
    kind = np.result_type(x.dtype, w.dtype, *([np.float64] if x.dtype.kind in "iub" else []))
    x, w = astype(x, kind), astype(w, kind)
    total = sum(w, axis, keepdims=keepdims)
    known = known_values(total)
    if known is not None and not known.all():
        raise ArgumentError(f"average: the weights sum to 0; they are {weights!r}")
    y = sum(x * w, axis, keepdims=keepdims) / total
    return (y, total) if returned else y


def _fitted_weights(x: Any, w: Any, axes: Axes, axis: Any) -> Any:
    """The weights in the shape of ``x``: given whole, or over the reduced axes alone."""
    if w.shape == x.shape:
        return w
    kept = () if axes is None else tuple(a % len(x.shape) for a in np.atleast_1d(axis).tolist())
    if axes is None or w.shape != tuple(x.shape[a] for a in kept):
        raise ShapeError(f"average: weights of shape {w.shape} fit neither the shape {x.shape} nor "
                         f"its axes {axis}")
    if list(kept) != sorted(kept):
        w = PUBLIC["transpose"](w, tuple(np.argsort(kept).tolist()))
    w = reshape(w, tuple(n if d in kept else 1 for d, n in enumerate(x.shape)))
    return broadcast_to(w, x.shape)


@composed(np.ptp, label=Label("ptp({0})", r"\max {0} - \min {0}", (), "choice"),
          cases=array_cases({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}, empty=False,
                            without=NOT_EMPTY, extra=[
                                Case((np.array([1.0, 3.0, 3.0]),), {}, "kink")]))
def ptp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The largest minus the smallest element; those that tie share the gradient equally.

    Raises ShapeError for the range of nothing.

    >>> ad.ptp([1.0, 5.0, 3.0])
    np.float64(4.0)
    """
    x, axes, _ = settings("ptp", x, axis, keepdims, None, None)
    _not_empty("ptp", x, axes)
    return max(x, axis, keepdims) - min(x, axis, keepdims)


# ---- skipping NaN

SOME_NAN = np.array([[1.0, np.nan, 3.0], [4.0, -2.0, np.nan]])
_NAN_SETTINGS = ({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True})


def _nan_cases(*more: dict[str, Any], empty: bool = True, domain: str = "regular") -> Cases:
    """Each of the settings on an array with NaN; without, also on every layout of more than one."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in (*_NAN_SETTINGS, *more):
            yield Case((SOME_NAN.copy(),), p, "regular")
        for case in array_cases({}, empty=empty)(rng):
            size = np.size(case.args[0])
            yield Case(case.args, {}, "regular" if size > 1 else domain)
    return Cases(generate, {} if empty else NOT_EMPTY)


def _without_nan(x: Any, instead: float) -> Any:
    return where(isnan(x), x.dtype.type(instead), x)


@composed(np.nansum, label=Label("nansum({0})", r"\sum {0}", (), "sum over branches"),
          cases=_nan_cases())
def nansum(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False,
           dim: Any = None, keepdim: bool | None = None) -> Any:
    """The sum of the elements that are not NaN; the gradient of a NaN is 0.

    >>> ad.nansum([1.0, float("nan"), 2.0])
    np.float64(3.0)
    """
    return sum(_without_nan(arrayed(x), 0), axis, dtype, keepdims, dim=dim, keepdim=keepdim)


@composed(np.nanprod, label=Label("nanprod({0})", r"\prod {0}", (), "product rule"),
          cases=_nan_cases())
def nanprod(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False,
            dim: Any = None, keepdim: bool | None = None) -> Any:
    """The product of the elements that are not NaN; the gradient of a NaN is 0.

    >>> ad.nanprod([2.0, float("nan"), 3.0])
    np.float64(6.0)
    """
    return product(_without_nan(arrayed(x), 1), axis, dtype, keepdims, dim=dim, keepdim=keepdim)


def _numbers(x: Any, axes: Axes) -> Any:
    """How many elements are not NaN, with the reduced axes at size 1."""
    return astype(_sum(logical_not(isnan(x)), axis=axes, keepdims=True), real_type(x.dtype))


def _nan_mean(x: Any, axes: Axes) -> Any:
    return _sum(_without_nan(x, 0), axis=axes, keepdims=True) / _numbers(x, axes)


@composed(np.nanmean, label=Label("nanmean({0})", r"\overline{{{0}}}", (), "mean"),
          cases=_nan_cases(empty=False))
def nanmean(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False,
            dim: Any = None, keepdim: bool | None = None) -> Any:
    """The mean of the elements that are not NaN; NaN if all are.

    >>> ad.nanmean([1.0, float("nan"), 2.0])
    np.float64(1.5)
    """
    x = as_float(x) if dtype is None else astype(arrayed(x), dtype)
    x, axes, keepdims = settings("nanmean", x, axis, keepdims, dim, keepdim)
    return shaped(in_singles(_nan_mean, x, axes), reduced(x.shape, axes, keepdims))


def _smallest(x: Any, axes: Axes) -> Any:
    """A number from which deviations are exact where all are equal."""
    if x.dtype.kind == "c":
        return _smallest(real(x), axes) + 1j * _smallest(imag(x), axes)
    return stop(_min(_without_nan(x, np.inf), axis=axes, keepdims=True))


def _nan_var(x: Any, axes: Axes, ddof: Any, keepdims: bool) -> Any:
    lost = isnan(x)
    x = x - _smallest(x, axes) if 0 not in x.shape else x
    d = where(lost, x.dtype.type(0), x - _nan_mean(where(lost, np.nan, x), axes))
    freedom = _numbers(where(lost, np.nan, x), axes) - ddof
    y = _sum(_squares(d), axis=axes, keepdims=True) / where(freedom > 0, freedom, np.nan)
    return shaped(y, reduced(x.shape, axes, keepdims))


def _nan_std(x: Any, axes: Axes, ddof: Any, keepdims: bool) -> Any:
    unit = unit_of(x - _smallest(x, axes), axes) if 0 not in x.shape else None
    y = _nan_var(x if unit is None else x / unit, axes, ddof, keepdims=True)
    y = where(y == 0, y.dtype.type(0), sqrt(where(y == 0, y.dtype.type(1), y)))
    return shaped(y if unit is None else unit * y, reduced(x.shape, axes, keepdims))


@composed(np.nanvar, label=Label("nanvar({0})", r"\mathrm{{var}}\,{0}", (), "spread"),
          cases=_nan_cases({"axis": (0, 1), "ddof": 1}, empty=False))
def nanvar(x: Any, axis: Any = None, dtype: Any = None, *, ddof: Any = 0, keepdims: bool = False,
           correction: Any = None, dim: Any = None, keepdim: bool | None = None) -> Any:
    """The variance of the elements that are not NaN; NaN if no degree of freedom is left.

    >>> ad.nanvar([1.0, float("nan"), 3.0])
    np.float64(1.0)
    """
    x, p = _spread_of("nanvar", x, axis, dtype, ddof, keepdims, correction, None, dim, keepdim)
    return in_singles(_nan_var, x, p["axis"], p["ddof"], p["keepdims"])


@composed(np.nanstd, label=Label("nanstd({0})", r"\sigma({0})", (), "spread"),
          cases=_nan_cases({"axis": (0, 1), "ddof": 1}, empty=False, domain="kink"))
def nanstd(x: Any, axis: Any = None, dtype: Any = None, *, ddof: Any = 0, keepdims: bool = False,
           correction: Any = None, dim: Any = None, keepdim: bool | None = None) -> Any:
    """The standard deviation of the elements that are not NaN; where these are equal, gradient 0.

    >>> ad.nanstd([1.0, float("nan"), 3.0])
    np.float64(1.0)
    """
    x, p = _spread_of("nanstd", x, axis, dtype, ddof, keepdims, correction, None, dim, keepdim)
    return in_singles(_nan_std, x, p["axis"], p["ddof"], p["keepdims"])


def _nan_extreme(name: str, ufunc: Any, of: str, worst: float) -> Any:
    def lower(b: loops.Builder, x: Any, axis: Axes, keepdims: bool) -> Any:
        axes = full(axis, len(x.shape))
        if x.dtype.kind not in "fc":
            return loops.reshaped(b, b.reduce(of, x, axes), reduced(x.shape, axis, keepdims))
        lost = b.elementwise("isnan", x)
        kept = b.select(lost, _filled(b, x.dtype.type(worst), x.shape), x)
        y, none = b.reduce(of, kept, axes), b.reduce("logical_and", lost, axes)
        y = b.select(none, _filled(b, x.dtype.type(np.nan), y.shape), y)
        return loops.reshaped(b, y, reduced(x.shape, axis, keepdims))
    return _extreme(name, ufunc, of[:3], lower=lower, extra=[
        Case((SOME_NAN,), p) for p in REDUCTIONS[:-1]])


_nanmax = _nan_extreme("nanmax", np.fmax, "maximum", -np.inf)
_nanmin = _nan_extreme("nanmin", np.fmin, "minimum", np.inf)


@function(np.nanmax)
def nanmax(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
           keepdim: bool | None = None) -> Any:
    """The largest element that is not NaN, NaN if all are; those that tie share the gradient.

    >>> ad.nanmax([1.0, float("nan"), 3.0])
    np.float64(3.0)
    """
    x, axes, keepdims = settings("nanmax", x, axis, keepdims, dim, keepdim)
    _not_empty("nanmax", x, axes)
    return _nanmax(x, axis=axes, keepdims=keepdims)


@function(np.nanmin)
def nanmin(x: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
           keepdim: bool | None = None) -> Any:
    """The smallest element that is not NaN, NaN if all are; those that tie share the gradient.

    >>> ad.nanmin([1.0, float("nan"), 3.0])
    np.float64(1.0)
    """
    x, axes, keepdims = settings("nanmin", x, axis, keepdims, dim, keepdim)
    _not_empty("nanmin", x, axes)
    return _nanmin(x, axis=axes, keepdims=keepdims)


for _ufunc, _f in ((np.fmax, nanmax), (np.fmin, nanmin)):
    NUMPY[_ufunc, "reduce"] = reduce_of(_f)
