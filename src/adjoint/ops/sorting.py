"""Order: sort, the elements at given ranks, medians and quantiles; counts and places are constants.

Sorting is stable, in both directions: of equal elements the first stays first, and the gradient
goes to the element that each result came from. NaN counts as the largest number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval
from adjoint.core.primitive import PUBLIC, Label
from adjoint.errors import ArgumentError, DTypeError, EscapeError, ShapeError

from . import loops
from .arithmetic import astype
from .cases import Case, Cases, array_cases, draw, layouts
from .declare import arrayed, check_axis, composed, function, general
from .index import Slot, _scatter
from .reduce import (
    _not_empty,
    as_float,
    reduced,
    settings,
    sum,
)
from .scans import along_cases, batched_along
from .select import floor, isfinite, isnan, logical_not, where
from .shape import moveaxis, ravel, reshape

if TYPE_CHECKING:
    from collections.abc import Iterator

UP = {"axis": 0, "descending": False}
ORDERS = (UP, {"axis": 1, "descending": False}, {"axis": 0, "descending": True},
          {"axis": 1, "descending": True})
TIES = Case((np.array([2.0, 1.0, 2.0, 1.0, 2.0]),), UP, "kink")
CALLED = "what is called outside the language"


def grid(shape: tuple[int, ...], order: Any, axis: int) -> tuple[Any, ...]:
    """The key that reads the places ``order`` along ``axis``, for each place along the others."""
    lines: list[Any] = []
    for d, n in enumerate(shape):
        line = np.arange(n).reshape(tuple(n if k == d else 1 for k in range(len(shape))))
        lines.append(order if d == axis else line)
    return tuple(lines)


def taken(x: Any, order: Any, axis: int) -> Any:
    """The elements of ``x`` at the places ``order`` along one axis."""
    return PUBLIC["getitem"](x, grid(x.shape, order, axis))


def put(dy: Any, order: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """The transpose of `taken`: what was read twice adds up."""
    return _scatter(dy, *grid(shape, order, axis), key=tuple(map(Slot, range(len(shape)))),
                    shape=shape)


def called(impl: Any, known: Any) -> Any:
    """The lowering to a call: the language has no statement for an order."""
    def lower(b: loops.Builder, *xs: Any, **params: Any) -> Any:
        return b.call(lambda *values: impl(*values, **params), xs, known(*xs, **params))
    return lower


# ---- sort

def _argsort_impl(x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    turned = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(turned, axis)


def _known_order(x: Any, axis: int, descending: bool) -> Any:
    return aval(x.shape, np.intp)


_argsort = general(
    "argsort", _argsort_impl, arity=1, aval=_known_order, nondiff=True,
    batch=batched_along("argsort"), lower=called(_argsort_impl, _known_order),
    label=Label("argsort({0}, axis={axis}, descending={descending})",
                r"\mathrm{{argsort}}_{{\mathrm{{axis}}={axis},\,\mathrm{{descending}}={descending}}}({0})"),
    cases=along_cases(*ORDERS, extra=[TIES]))


def _sort_impl(x: Any, axis: int, descending: bool) -> Any:
    y = np.sort(x, axis=axis, kind="stable")
    return np.flip(y, axis) if descending else y


def _sort_jvp(dxs: Any, y: Any, x: Any, axis: int, descending: bool) -> Any:
    if dxs[0] is None:
        return None
    return taken(dxs[0], _argsort(x, axis=axis, descending=descending), axis)


def _sort_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: int, descending: bool) -> tuple[Any]:
    order = _argsort(x, axis=axis, descending=descending)
    return (taken(dy, _argsort(order, axis=axis, descending=False), axis),)


def _tied(x: Any, axis: int, places: Any = None) -> Any:
    """The elements that equal another one (along the axis), at these places of the order."""
    order = np.argsort(x, axis=axis, kind="stable")
    y = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    tie = np.zeros(y.shape, bool)
    same = y[..., 1:] == y[..., :-1]
    tie[..., 1:] |= same
    tie[..., :-1] |= same
    if places is not None:
        tie &= np.isin(np.arange(y.shape[-1]), places)
    hit = np.zeros(x.shape, bool)
    np.put_along_axis(hit, order, np.moveaxis(tie, -1, axis), axis)
    return hit


def _known_sorted(x: Any, axis: int, descending: bool) -> Any:
    return aval(x.shape, x.dtype)


_sort = general(
    "sort", _sort_impl, arity=1, jvp=_sort_jvp, vjp=_sort_vjp, aval=_known_sorted,
    keeps=frozenset({0}), batch=batched_along("sort"), lower=called(_sort_impl, _known_sorted),
    kink=lambda x, axis, descending: _tied(x, axis),
    label=Label("sort({0}, axis={axis}, descending={descending})",
                r"\mathrm{{sort}}_{{\mathrm{{axis}}={axis},\,\mathrm{{descending}}={descending}}}({0})",
                (r"[{y}_i \leftarrow {0}_j]",), "choice"),
    cases=along_cases(*ORDERS, extra=[TIES, Case(TIES.args, {"axis": 0, "descending": True},
                                                 "kink")]))


def _ordered(name: str, row: Any, x: Any, axis: Any, dim: Any, descending: bool) -> Any:
    axis = axis if dim is None else dim  # kind is True: PyTorch's x.sort(dim, descending)
    x = ravel(arrayed(x)) if axis is None else arrayed(x)
    axis = check_axis(name, 0 if axis is None else axis, len(x.shape))
    return row(x, axis=axis, descending=bool(descending))


@function(np.sort)
def sort(x: Any, axis: Any = -1, kind: Any = None, *, stable: bool = True,
         descending: bool = False, dim: Any = None) -> Any:
    """The elements in ascending order along an axis (None: of all in a row), always stably.

        y_i = x_(o_i) with o = argsort(x),    dL/dx_(o_i) = dL/dy_i

    A new array; the method ``x.sort()`` sorts in place, as NumPy's does. PyTorch gives a pair with
    the places (`ad.argsort`). At a tie each result feeds the element it came from. Raises
    ShapeError if the axis does not exist.

    >>> ad.sort([3.0, 1.0, 2.0])
    array([1., 2., 3.])
    """
    return _ordered("sort", _sort, x, axis, dim, descending or kind is True)


@function(np.argsort)
def argsort(x: Any, axis: Any = -1, kind: Any = None, *, stable: bool = True,
            descending: bool = False, dim: Any = None) -> Any:
    """The places of the elements in ascending order: integers, without derivative; always stably.

    >>> ad.argsort([3.0, 1.0, 2.0])
    array([1, 2, 0])
    """
    return _ordered("argsort", _argsort, x, axis, dim, descending or kind is True)


def _check_rank(name: str, x: Any, kth: Any, axis: Any) -> Any:
    x = ravel(arrayed(x)) if axis is None else arrayed(x)
    n = x.shape[check_axis(name, -1 if axis is None else axis, len(x.shape))]
    for k in np.ravel(kth):
        if not isinstance(k, np.integer) or not -n <= k < n:
            raise ShapeError(f"{name}: there is no rank {k} along an axis of size {n}")
    return x


@function(np.partition)
def partition(x: Any, kth: Any, axis: Any = -1, kind: Any = None) -> Any:
    """The elements so arranged that the one of rank ``kth`` stands in its place: here, sorted.

    >>> ad.partition([3.0, 1.0, 2.0], 1)
    array([1., 2., 3.])
    """
    return sort(_check_rank("partition", x, kth, axis), -1 if axis is None else axis)


@function(np.argpartition)
def argpartition(x: Any, kth: Any, axis: Any = -1, kind: Any = None) -> Any:
    """The places of what `partition` gives: integers, without derivative.

    >>> ad.argpartition([3.0, 1.0, 2.0], 1)
    array([1, 2, 0])
    """
    return argsort(_check_rank("argpartition", x, kth, axis), -1 if axis is None else axis)


@function()
def topk(x: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    """The ``k`` largest (or smallest) elements along an axis, in order, and their places.

    Raises ShapeError if there are fewer.

    >>> ad.topk([3.0, 1.0, 2.0], 2)
    (array([3., 2.]), array([0, 2]))
    """
    x = arrayed(x)
    axis = check_axis("topk", dim, len(x.shape))
    if not isinstance(k, (int, np.integer)) or not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: k is an integer from 0 to {x.shape[axis]}, the size of axis "
                         f"{axis} of shape {x.shape}, not {k!r}")
    order = argsort(x, axis, descending=largest)[(*(slice(None),) * axis, slice(None, k))]
    return taken(x, order, axis), order


# ---- the elements at given ranks of the last axis

def _ranked_impl(x: Any, ranks: tuple[int, ...]) -> Any:
    kept = np.partition(x, sorted(set(ranks)), axis=-1) if ranks else x
    return kept[..., list(ranks)]


def _ranked_order(x: Any, ranks: tuple[int, ...]) -> Any:
    order = _argsort(x, axis=len(x.shape) - 1, descending=False)
    return PUBLIC["getitem"](order, (..., list(ranks)))


def _ranked_jvp(dxs: Any, y: Any, x: Any, ranks: tuple[int, ...]) -> Any:
    if dxs[0] is None:
        return None
    return taken(dxs[0], _ranked_order(x, ranks), len(x.shape) - 1)


def _ranked_vjp(dy: Any, y: Any, x: Any, needs: Any, ranks: tuple[int, ...]) -> tuple[Any]:
    return (put(dy, _ranked_order(x, ranks), len(x.shape) - 1, x.shape),)


def _known_ranked(x: Any, ranks: tuple[int, ...]) -> Any:
    return aval((*x.shape[:-1], len(ranks)), x.dtype)


def _ranked_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case((draw(rng, (2, 5)),), {"ranks": (3, 0, 3)})
    for x in layouts(rng):
        if x.ndim:
            yield Case((x,), {"ranks": (0,) if x.size else ()})
    yield Case((np.array([3, 1, 2]),), {"ranks": (1, 2)})
    yield Case(TIES.args, {"ranks": (1, 2)}, "kink")


_ranked = general(
    "order_statistics", _ranked_impl, arity=1, jvp=_ranked_jvp, vjp=_ranked_vjp,
    aval=_known_ranked, keeps=frozenset({0}), lower=called(_ranked_impl, _known_ranked),
    batch=lambda size, axes, x, ranks: (_ranked(x, ranks=ranks), 0),
    kink=lambda x, ranks: _tied(x, x.ndim - 1, ranks),
    label=Label("order_statistics({0}, {ranks})", r"{0}_{{{ranks}}}",
                (r"[{y}_i \leftarrow {0}_j]",), "choice"),
    cases=Cases(_ranked_cases, {"0-d": "ranks are along the last axis"}))


@function()
def order_statistics(x: Any, ranks: Any) -> Any:
    """The elements of the given ranks, 0 for the smallest, along the last axis.

        y_i = x_(r_i)

    Raises ShapeError for a rank that does not exist.

    >>> ad.order_statistics([3.0, 1.0, 2.0], [0, 2])
    array([1., 3.])
    """
    x = _check_rank("order_statistics", x, ranks, -1)
    return _ranked(x, ranks=tuple(int(r) % x.shape[-1] for r in np.ravel(ranks)))


# ---- medians and quantiles

def known_values(x: Any) -> Any:
    """The numbers, or None under vmap or a trace, where they cannot be checked."""
    try:
        return np.asarray(x.concrete() if isinstance(x, Box) else x)
    except EscapeError:
        return None


def shaped(y: Any, shape: tuple[int, ...]) -> Any:
    """``y`` under another shape; without an axis a NumPy scalar, as NumPy's reductions give."""
    return reshape(y, shape) if shape else y[(0,) * y.ndim]


def _lined_up(x: Any, axes: Any) -> Any:
    """``x`` with the axes to be reduced as one, the last."""
    ndim = len(x.shape)
    if axes is None:
        return reshape(x, (-1,)) if ndim != 1 else x
    x = moveaxis(x, axes, tuple(range(ndim - len(axes), ndim))) if axes else x
    return reshape(x, (*x.shape[:ndim - len(axes)], int(np.prod(x.shape[ndim - len(axes):]))))


def _start(name: str, x: Any, axis: Any, keepdims: bool, dim: Any, keepdim: Any) -> Any:
    """The array as floats, lined up, and the shape of the result."""
    x, axes, keepdims = settings(name, as_float(x), axis, keepdims, dim, keepdim)
    _not_empty(name, x, axes)
    return _lined_up(x, axes), reduced(x.shape, axes, keepdims)


MEDIANS = ({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}, {"axis": -1})
NOT_EMPTY = {"empty": "there is no order of nothing: an error"}
WITH_NAN = Case((np.array([[4.0, np.nan, 3.0, 2.0], [np.nan, 5.0, np.nan, 7.0]]),), {"axis": 1})


@composed(np.median, label=Label("median({0})", r"\mathrm{{median}}\,{0}", (), "choice"),
          cases=array_cases(*MEDIANS, empty=False, without=NOT_EMPTY, extra=[
              Case((np.array([4.0, 1.0, 3.0, 2.0]),)),
              Case((np.array([2.0, 2.0, 1.0, 2.0]),), {}, "kink")]))
def median(x: Any, axis: Any = None, *, keepdims: bool = False, dim: Any = None,
           keepdim: bool | None = None) -> Any:
    """The median over some axes, all if none is named: the mean of the two middle elements.

    These two share the gradient equally; of an odd count it goes to the one in the middle. NaN if
    an element is. Raises ShapeError for the median of nothing.

    >>> ad.median([4.0, 1.0, 3.0, 2.0])
    np.float64(2.5)
    """
    x, shape = _start("median", x, axis, keepdims, dim, keepdim)
    n = x.shape[-1]
    y = _ranked(x, ranks=((n - 1) // 2, n // 2, n - 1))
    top = y[..., 2]
    return shaped(where(isnan(top), top, (y[..., 0] + y[..., 1]) / 2.0), shape)


SPREADS = {  # alpha and beta of Hyndman and Fan, Sample quantiles in statistical packages, 1996
    "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8)}
METHODS = ("linear", "lower", "higher", "midpoint", "nearest", *SPREADS)


def _rank_of(q: Any, n: int, method: str) -> tuple[Any, Any]:
    """The whole rank below each quantile, and how far it is from there to the next rank."""
    if method in SPREADS:
        alpha, beta = SPREADS[method]
        place = n * q + (alpha + q * (1 - alpha - beta)) - 1
    else:
        place = (n - 1) * q
        rounding: Any = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}.get(method)
        place = rounding(place) if rounding else place
    place = np.clip(place, 0, n - 1)
    low = np.floor(place)
    part = place - low
    return low.astype(np.intp), np.where(part > 0, 0.5, part).astype(part.dtype) if (
        method == "midpoint") else part


def _probability(name: str, x: Any, q: Any, whole: int) -> tuple[Any, Any]:
    """``q`` as numbers from 0 to 1, in double precision, and the dtype that it computes in.

    That is the dtype of ``x`` for a Python number. Ranks are found in double precision all the
    same: floats of half and single precision do not count far.
    """
    if x.dtype.kind == "c":
        raise DTypeError(f"{name}: complex numbers have no quantiles; take those of x.real or "
                         "ad.abs(x)")
    if isinstance(q, Box):
        raise ArgumentError(
            f"{name}: q says which elements are read, so it is a constant; write a number or an "
            "array (q.detach().numpy()), not a tensor")
    p = np.asarray(q)
    if p.dtype.kind not in "iuf" or (p.size and not (p.min() >= 0 and p.max() <= whole)):
        raise ArgumentError(f"{name}: q is a number (or numbers) from 0 to {whole}, not {q!r}")
    kind = x.dtype if type(q) in (int, float) else np.result_type(
        x.dtype, p.dtype if p.dtype.kind == "f" else np.float64)
    return p / np.float64(whole), kind


def _between(low: Any, high: Any, part: Any) -> Any:
    """Between two neighbours, from the nearer one: exact at both ends."""
    with np.errstate(invalid="ignore", over="ignore"):  # two infinities have no difference
        step = high - low
        near = where(part >= 0.5, high - step * (1 - part), low + step * part)
        mixed = low * (1 - part) + high * part
    return where(part == 0, low, where(isfinite(step), near, mixed))


def _in_front(y: Any, q: Any, shape: tuple[int, ...]) -> Any:
    """The last axis, over the quantiles, goes to the front, in the shape of ``q``."""
    full = (*q.shape, *shape)
    return shaped(moveaxis(y, -1, 0), full) if full else y[0]


def _quantile(name: str, x: Any, q: Any, whole: int, axis: Any, method: str, keepdims: Any,
              dim: Any, keepdim: Any) -> Any:
    if method not in METHODS:
        raise ArgumentError(f"{name}: no method {method!r}; there are {', '.join(METHODS)}")
    x, shape = _start(name, x, axis, keepdims, dim, keepdim)
    q, kind = _probability(name, x, q, whole)
    n = x.shape[-1]
    low, part = _rank_of(q.ravel(), n, method)
    part = part.astype(kind)
    ranks = (*low.tolist(), *np.where(part > 0, low + 1, low).tolist(), n - 1)
    y = _ranked(x, ranks=ranks)
    top = y[..., -1:]
    value = _between(y[..., :low.size], y[..., low.size:-1], part)
    return _in_front(where(isnan(top), top, value), q, shape)


QUANTILES = ({"q": 0.3}, {"q": [0.0, 0.25, 1.0], "axis": 0}, {"q": 0.5, "axis": (0, 1)},
             {"q": [[0.1], [0.7]], "axis": 1, "keepdims": True})


def _percents(case: dict[str, Any]) -> dict[str, Any]:
    return case | {"q": (np.multiply(case["q"], 100)).tolist()}


def _quantile_cases(settings: Any, extra: Any = ()) -> Any:
    return array_cases(*settings, empty=False, without=NOT_EMPTY, extra=[
        Case((np.array([2.0, 2.0, 1.0, 2.0]),), {"q": settings[2]["q"]}, "kink"), *extra])


@composed(np.quantile, label=Label("quantile({0})", r"Q({0})", (), "choice"),
          cases=_quantile_cases(QUANTILES, [
              Case((np.array([4.0, 1.0, 3.0, 2.5]),), {"q": [0.2, 0.5, 0.9], "method": m})
              for m in METHODS]))
def quantile(x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False,
             dim: Any = None, keepdim: bool | None = None) -> Any:
    """The q-quantiles over some axes, all if none is named; the axes of ``q`` come first.

        y = (1 - t) x_(k) + t x_(k+1)    with k + t = q (n - 1) by the method "linear"

    The two neighbours in order share the gradient as they share the value. NaN if an element is.
    The other methods are NumPy's: "lower", "higher", "midpoint", "nearest", and the continuous
    ones of Hyndman and Fan (Sample quantiles in statistical packages, 1996). Raises ArgumentError
    for a ``q`` outside 0 to 1 and for an unknown method, ShapeError for a quantile of nothing.

    >>> ad.quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    np.float64(2.5)
    """
    return _quantile("quantile", x, q, 1, axis, method, keepdims, dim, keepdim)


@composed(np.percentile, label=Label("percentile({0})", r"Q({0})", (), "choice"),
          cases=_quantile_cases(list(map(_percents, QUANTILES))))
def percentile(x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False,
               dim: Any = None, keepdim: bool | None = None) -> Any:
    """The percentiles over some axes: `ad.quantile` with ``q`` from 0 to 100.

    >>> ad.percentile([1.0, 2.0, 3.0, 4.0], 50)
    np.float64(2.5)
    """
    return _quantile("percentile", x, q, 100, axis, method, keepdims, dim, keepdim)


def _nanquantile(name: str, x: Any, q: Any, whole: int, axis: Any, keepdims: Any, dim: Any,
                 keepdim: Any) -> Any:
    """By the method "linear", among the elements that are numbers; NaN where none is."""
    x, shape = _start(name, x, axis, keepdims, dim, keepdim)
    q, kind = _probability(name, x, q, whole)
    y = _sort(x, axis=len(x.shape) - 1, descending=False)
    last = astype(sum(logical_not(isnan(x)), -1, keepdims=True) - 1, q.dtype)
    last = where(last < 0, last.dtype.type(0), last)
    place = last * q.ravel()
    low = floor(place)
    part = astype(place - low, kind)
    high = where(low < last, low + 1.0, last)
    pick = [taken(y, astype(i, np.intp), len(x.shape) - 1) for i in (low, high)]
    return _in_front(_between(pick[0], pick[1], part), q, shape)


@composed(np.nanmedian, label=Label("nanmedian({0})", r"\mathrm{{median}}\,{0}", (), "choice"),
          cases=array_cases(*MEDIANS, empty=False, without=NOT_EMPTY, extra=[
              WITH_NAN, Case((np.array([2.0, np.nan, 2.0, 2.0]),), {}, "kink")]))
def nanmedian(x: Any, axis: Any = None, *, keepdims: bool = False, dim: Any = None,
              keepdim: bool | None = None) -> Any:
    """The median of the elements that are not NaN, whose gradient is 0; NaN if all are.

    >>> ad.nanmedian([4.0, float("nan"), 1.0])
    np.float64(2.5)
    """
    return _nanquantile("nanmedian", x, 0.5, 1, axis, keepdims, dim, keepdim)


@composed(np.nanquantile, label=Label("nanquantile({0})", r"Q({0})", (), "choice"),
          cases=_quantile_cases(QUANTILES, [Case(WITH_NAN.args, {"q": [0.2, 0.9], "axis": 1})]))
def nanquantile(x: Any, q: Any, axis: Any = None, *, keepdims: bool = False, dim: Any = None,
                keepdim: bool | None = None) -> Any:
    """The q-quantiles of the elements that are not NaN, by linear interpolation.

    >>> ad.nanquantile([4.0, float("nan"), 1.0], 0.5)
    np.float64(2.5)
    """
    return _nanquantile("nanquantile", x, q, 1, axis, keepdims, dim, keepdim)


@composed(np.nanpercentile, label=Label("nanpercentile({0})", r"Q({0})", (), "choice"),
          cases=_quantile_cases(list(map(_percents, QUANTILES))))
def nanpercentile(x: Any, q: Any, axis: Any = None, *, keepdims: bool = False, dim: Any = None,
                  keepdim: bool | None = None) -> Any:
    """The percentiles of the elements that are not NaN, by linear interpolation.

    >>> ad.nanpercentile([4.0, float("nan"), 1.0], 50)
    np.float64(2.5)
    """
    return _nanquantile("nanpercentile", x, q, 100, axis, keepdims, dim, keepdim)
