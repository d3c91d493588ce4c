"""Series of numbers: covariance and correlation, convolution, interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import aval
from adjoint.core.primitive import PUBLIC, REGISTRY, Label
from adjoint.errors import ArgumentError, DTypeError, ShapeError

from . import loops
from .arithmetic import astype, sqrt
from .cases import CONTRACTED, Case, Cases, array_cases, draw, layouts
from .complexes import conjugate
from .counting import searchsorted
from .declare import arrayed, bilinear, composed, function, gives_arrays, promoted
from .reduce import sum
from .select import isnan, logical_and, where
from .select import stop_gradient as stop
from .shape import concatenate, flip, reshape, stack
from .sorting import argsort, known_values
from .statistics import average, degrees
from .units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def doubled(x: Any) -> Any:
    """``x`` in double precision, which NumPy computes in here whatever it gets."""
    x = arrayed(x)
    return astype(x, np.result_type(x.dtype, np.float64))


# ---- covariance and correlation

def _variables(name: str, x: Any, y: Any, rowvar: bool) -> Any:
    """One row for each variable, one column for each observation."""
    x = doubled(x)
    if len(x.shape) > 2:
        raise ShapeError(f"{name}: variables by observations have two axes, not the shape "
                         f"{x.shape}")
    x = _as_rows(x, rowvar)
    if y is None:
        return x
    y = doubled(y)
    other = _as_rows(y, rowvar) if len(y.shape) <= 2 else y
    if len(other.shape) != 2 or other.shape[1] != x.shape[1]:
        raise ShapeError(f"{name}: y of shape {y.shape} does not have the {x.shape[1]} "
                         "observations of x")
    return concatenate([x, other])


def _as_rows(x: Any, rowvar: bool) -> Any:
    if len(x.shape) < 2:
        return reshape(x, (1, -1))
    return x if rowvar else x.T


def _frequencies(kind: str, given: Any, n: int) -> Any:
    """Weights of the observations: ``fweights`` are counts, ``aweights`` may be tracked."""
    if given is None:
        return None
    weights = arrayed(given)
    if weights.shape != (n,):
        raise ShapeError(f"cov: {kind} of shape {weights.shape} for {n} observations")
    if kind == "fweights" and weights.dtype.kind not in "iub":
        raise DTypeError(f"cov: fweights are counts, so integers, not {weights.dtype}; give "
                         "aweights if they are weights")
    known = known_values(weights)
    if known is not None and (known < 0).any():
        raise ArgumentError(f"cov: {kind} may not be negative; they are {known!r}")
    return doubled(weights)


@composed(np.cov, kind=gives_arrays, label=Label("cov({0})", r"\mathrm{{cov}}\,{0}", (), "spread"),
          cases=array_cases({}, {"bias": True}, {"ddof": 0, "rowvar": False}, shapes=((3, 4),),
                            layout=False, extra=[
              Case((np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.1, 3.0]))),
              Case((np.array([1.0, 2.0, 4.0]),), {"fweights": [1, 2, 1]}),
              Case((np.array([[1.0, 2.0, 4.0], [0.0, 1.0, -2.0]])[:, ::-1],),
                   {"aweights": [0.5, 2.0, 1.0], "fweights": [1, 2, 1]}),
              Case((np.asfortranarray([[1.0, 2.0, 4.0], [0.0, 1.0, -2.0]]),)),
              Case((np.array([1, 2, 4]),)), Case((np.array([1.0, 2.0, 4.0], np.float32),)),
              Case((np.array([2.0]),), {"ddof": 0}),
              Case((np.float64(2.0),), {"ddof": 0})],
              without={"empty": "the covariance of nothing is 0/0",
                       "broadcast left": "y is stacked under x", "broadcast right": "the same"}))
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None,
        fweights: Any = None, aweights: Any = None, *, correction: Any = None) -> Any:
    """The matrix of covariances of variables (rows, or columns without ``rowvar``).

        C = (X - m) W (X - m)^H / (sum w - ddof sum(w a) / sum w)

    ``fweights`` says how often each observation counts, ``aweights`` how much. Raises ShapeError
    for shapes that do not fit, ArgumentError for a ``ddof`` that is no number and for negative
    weights, DTypeError for ``fweights`` that are no integers. Dividing by 0, where no degree of
    freedom is left, gives inf or NaN.

    >>> ad.cov([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    x = _variables("cov", m, y, rowvar)
    ddof = correction if ddof is None else ddof
    ddof = (0 if bias else 1) if ddof is None else degrees("cov", ddof)
    n = x.shape[1]
    often, much = _frequencies("fweights", fweights, n), _frequencies("aweights", aweights, n)
    w = often if much is None else much if often is None else often * much
    d = x - reshape(average(x, 1, w), (-1, 1))
    if w is None or much is None:
        freedom = (np.float64(n) if w is None else sum(w)) - ddof
    else:
        freedom = sum(w) - ddof * sum(w * much) / sum(w)
    c = (d if w is None else d * w) @ (conjugate(d).T if d.dtype.kind == "c" else d.T)
    c = c / where(freedom > 0, freedom, 0.0)
    return c[0, 0] if c.shape == (1, 1) else c


@composed(np.corrcoef, label=Label("corrcoef({0})", r"\rho({0})", (), "spread"),
          cases=array_cases({}, {"rowvar": False}, shapes=((3, 4),), layout=False, extra=[
              Case((np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.1, 3.0]))),
              Case((np.array([[1.0, 2.0, 4.0], [0.0, 1.0, -2.0]])[:, ::-1],)),
              Case((np.asfortranarray([[1.0, 2.0, 4.0], [0.0, 1.0, -2.0]]),)),
              Case((np.array([[1, 2, 4], [3, 1, 1]]),)),
              Case((np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 1.5]], np.float32),))],
              without={"empty": "the covariance of nothing is 0/0", "0-d": "the same",
                       "size 1": "one number has no spread",
                       "broadcast left": "y is stacked under x", "broadcast right": "the same"}))
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    """The matrix of Pearson's correlation coefficients of variables.

        R_ij = C_ij / sqrt(C_ii C_jj) with C = cov(x)

    NaN for a variable that does not vary. Values that rounding took past 1 are set to 1.

    >>> ad.corrcoef([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    x = _variables("corrcoef", x, y, rowvar)
    unit = unit_of(x, 1)
    c = cov(x if unit is None else x / unit)
    if c.shape == ():
        return c / c
    n = c.shape[0]
    d = c[np.arange(n), np.arange(n)]
    spread = sqrt(PUBLIC["real"](d) if d.dtype.kind == "c" else d)
    r = c / reshape(spread, (-1, 1)) / spread
    if r.dtype.kind == "c":
        return r
    return r + stop(PUBLIC["clip"](r, -1.0, 1.0) - r)  # a bound has no part in the gradient


# ---- convolution

def _overlapping(n: int, m: int, mode: str) -> slice:
    """The places of the whole convolution that ``mode`` has: all, or where both overlap fully."""
    return slice(0, n + m - 1) if mode == "full" else slice(min(n, m) - 1, max(n, m))


def _convolved_transpose(dy: Any, x: Any, z: Any, mode: str) -> Any:
    """dx_i = sum_k dy_k z_(k-i), for the places k that ``mode`` has; of x only the shape counts."""
    if mode == "valid" and x.shape[0] < z.shape[0]:
        return flip(_convolved(z, flip(dy), "valid"))
    return _convolved(dy, flip(z), "full" if mode == "valid" else "valid")


def _convolved(x: Any, z: Any, mode: str) -> Any:
    return bind(REGISTRY["convolve"], (x, z), {"mode": mode})


def _known_convolved(x: Any, z: Any, mode: str) -> Any:
    places = _overlapping(x.shape[0], z.shape[0], mode)
    return aval((places.stop - places.start,), promoted(x, z))


def _lower_convolve(b: loops.Builder, x: Any, z: Any, mode: str) -> Any:
    """A table of the longer series, shifted, times the shorter one."""
    x, z = (loops.cast(b, v, promoted(x, z)) for v in (x, z))
    places = _overlapping(x.shape[0], z.shape[0], mode)
    short, long = (x, z) if x.shape[0] < z.shape[0] else (z, x)
    (n,), (m,), rows = short.shape, long.shape, places.stop - places.start
    around: loops.Index = ((n - 1, ((0, 1),)),)
    padded = b.pad(long, around, (m + 2 * (n - 1),), long.dtype.type(0))
    index: loops.Index = ((n - 1 + places.start, ((0, 1), (1, -1))),)
    table = b.view(padded, index, (rows, n))  # long_(k - i)
    y = b.dot([(table, b.view(short, ((0, ((0, 1),)),), (n, 1)))])
    return loops.reshaped(b, y, (rows,))


def _batch_convolve(size: int, axes: Any, x: Any, z: Any, mode: str) -> Any:
    return stack([_convolved(x if axes[0] is None else x[i], z if axes[1] is None else z[i], mode)
                  for i in range(size)]), 0


def _convolve_cases(rng: np.random.Generator) -> Iterator[Case]:
    z = draw(rng, (3,))
    for mode in ("full", "valid"):
        for n in (1, 2, 3, 5):
            yield Case((draw(rng, (n,)), z), {"mode": mode})
        yield Case((z, np.array([2.0])), {"mode": mode})
        yield Case((np.arange(4), z), {"mode": mode})
        yield Case((z[::-1], z.astype(np.float32)), {"mode": mode})
        yield Case((z.astype(np.float32), z.astype(np.float32)), {"mode": mode})


bilinear(
    "convolve", np.convolve,
    _convolved_transpose, lambda dy, x, z, mode: _convolved_transpose(dy, z, x, mode),
    _known_convolved, arity=0, batch=_batch_convolve, lower=_lower_convolve,
    label=Label("convolve({0}, {1}, mode={mode})",
                r"\mathrm{{convolve}}_{{\mathrm{{{mode}}}}}({0}, {1})",
                ("{1}_{{k - i}}", "{0}_{{k - i}}"),
                "convolution"),
    cases=Cases(_convolve_cases, CONTRACTED | {
        "0-d": "both are series", "empty": "a series of nothing: an error",
        "fortran": "both have one axis"}))


def _series(name: str, a: Any, v: Any, mode: str) -> tuple[Any, Any]:
    a, v = arrayed(a), arrayed(v)
    if len(a.shape) != 1 or len(v.shape) != 1 or 0 in (*a.shape, *v.shape):
        raise ShapeError(f"{name}: two series with one axis and at least one element each, not the "
                         f"shapes {a.shape} and {v.shape}")
    if mode not in ("full", "same", "valid"):
        raise ArgumentError(f"{name}: mode is 'full', 'same' or 'valid', not {mode!r}")
    return a, v


def _convolution(a: Any, v: Any, mode: str, late: bool = False) -> Any:
    """The part of the convolution that ``mode`` has; "same" starts half of the shorter one in."""
    if mode != "same":
        return _convolved(a, v, mode)
    short, long = sorted((a.shape[0], v.shape[0]))
    start = short // 2 if late else (short - 1) // 2
    return _convolved(a, v, "full")[start:start + long]


@function(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The convolution of two series.

        y_k = sum_i a_i v_(k-i)

    ``mode`` "full" has every k with a summand, "same" as many as the longer series, "valid" those
    where both overlap throughout. Raises ShapeError for anything but two series that are not empty.

    >>> ad.convolve([1.0, 2.0], [1.0, 1.0, 1.0])
    array([1., 3., 3., 2.])
    """
    return _convolution(*_series("convolve", a, v, mode), mode)


@function(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The cross-correlation of two series: the convolution with the second reversed, conjugated.

        y_k = sum_i a_(i+k) conj(v_i)

    >>> ad.correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([3.5])
    """
    a, v = _series("correlate", a, v, mode)
    turned = flip(conjugate(v) if v.dtype.kind == "c" else v)
    return _convolution(a, turned, mode, late=v.shape[0] > a.shape[0])


# ---- interpolation

def _knots(xp: Any, fp: Any, period: Any) -> tuple[Any, Any]:
    """The points in ascending order, a period's worth of them with its neighbours."""
    xp, fp = doubled(xp), doubled(fp)
    if len(xp.shape) != 1 or xp.shape != fp.shape or not xp.shape[0]:
        raise ShapeError(f"interp: xp and fp are one value for each point, not the shapes "
                         f"{xp.shape} and {fp.shape}")
    if period is not None:
        xp = xp % period
        order = argsort(xp)
        xp, fp = PUBLIC["getitem"](xp, order), PUBLIC["getitem"](fp, order)
        return (concatenate([xp[-1:] - period, xp, xp[:1] + period]),
                concatenate([fp[-1:], fp, fp[:1]]))
    known = known_values(xp)
    if known is not None and not (known[1:] >= known[:-1]).all():
        raise ArgumentError(f"interp: xp must increase; it is {known!r}. Sort both: o = "
                            "np.argsort(xp), then xp[o] and fp[o]")
    return xp, fp


def _on_line(x: Any, low: Any, high: Any, base: Any, top: Any) -> Any:
    """The value at ``x`` on the line from (low, base) to (high, top).

    Where infinities, or two points at one place, make it NaN: at a point its value, else what comes
    of going back from the right end, or the value of both.
    """
    slope = (top - base) / (high - low)
    y = base + (x - low) * slope
    lost = isnan(y)
    if not _any(lost):
        return y
    back = top + (x - high) * slope
    back = where(logical_and(isnan(back), base == top), base, back)
    return where(lost, where(x == high, top, where(x == low, base, back)), y)


def _any(condition: Any) -> bool:
    """Whether it holds somewhere; under vmap and a trace nobody knows, so that it may."""
    known = known_values(condition)
    return known is None or bool(known.any())


def _interp_cases(rng: np.random.Generator) -> Iterator[Case]:
    xp, fp = np.array([-1.5, -0.2, 0.7, 1.8]), np.array([1.0, 3.0, -2.0, 0.5])
    for x in layouts(rng):
        yield Case((x, xp.astype(x.dtype), fp.astype(x.dtype)) if x.dtype != np.float32 else (
            x, xp, fp))
    yield Case((np.array([-5.0, 0.0, 5.0]), xp, fp), {"left": 7.0, "right": -7.0})
    yield Case((np.array([-5.0, 0.0, 5.0]), xp, fp), {"period": 4.0})
    yield Case((np.arange(-1, 2), xp, fp))
    yield Case((np.array([0.5, 2.0]), np.array([1.0]), np.array([3.0])))


@composed(np.interp, label=Label("interp({0}, {1}, {2})", r"\mathrm{{interp}}({0})", (),
                                 "interpolation"),
          cases=Cases(_interp_cases, {"broadcast left": "the points are one axis",
                                      "broadcast right": "the same"}, near=True))
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
           ) -> Any:
    """The values at ``x`` on the straight lines through the points (``xp``, ``fp``).

        y = f_k + (x - x_k) (f_(k+1) - f_k) / (x_(k+1) - x_k)

    Differentiable in ``x``, ``xp``, ``fp``, ``left`` and ``right``; at a point ``x_k`` the slope in
    x is that of the line to its right, and outside it is 0. Raises ShapeError if the points are not
    two series of one length, ArgumentError if ``xp`` does not increase (under vmap or a trace
    nobody can look) or the period is 0.

    >>> ad.interp(2.5, [1.0, 2.0, 3.0], [3.0, 2.0, 0.0])
    np.float64(1.0)
    """
    x = doubled(x)
    if x.dtype.kind == "c":
        raise DTypeError("interp: x is complex, and complex numbers have no order; fp may be")
    if period is not None:
        if period == 0:
            raise ArgumentError("interp: the period is 0")
        x, left, right = x % abs(period), None, None
    xp, fp = _knots(xp, fp, None if period is None else abs(period))
    n = xp.shape[0]
    first, last = fp[0] if left is None else left, fp[n - 1] if right is None else right
    if n == 1:
        y = fp[0] + 0.0 * x
    else:
        k = searchsorted(stop(xp), stop(x), "right") - 1
        k = PUBLIC["clip"](k, 0, n - 2)
        ends = [PUBLIC["getitem"](p, j) for p in (xp, fp) for j in (k, k + 1)]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            y = _on_line(x, *ends)
    return where(x < xp[0], first, where(x > xp[n - 1], last, y))
