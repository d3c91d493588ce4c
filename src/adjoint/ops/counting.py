"""Places and counts: what is found in an array and how often. Integers, without derivative.

Where the size of the result depends on the values, it is a NumPy array, and under vmap or a trace
an error: there is no one shape. Weights that are counted with are differentiable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import aval
from adjoint.core.primitive import PUBLIC, REGISTRY, Label
from adjoint.errors import ArgumentError, DTypeError, EscapeError, ShapeError

from .arithmetic import astype
from .cases import CONTRACTED, Case, Cases, draw, layouts
from .declare import arrayed, check_axis, function, general, is_tracked
from .index import Slot, _scatter
from .reduce import max as largest
from .reduce import min as smallest
from .reduce import sum
from .scans import diff
from .select import not_equal
from .select import stop_gradient as stop
from .shape import ravel, stack
from .sorting import called

if TYPE_CHECKING:
    from collections.abc import Iterator


def values(x: Any) -> Any:
    """The numbers themselves; an error where they do not exist (vmap, a trace)."""
    return np.asarray(x.concrete()) if isinstance(x, Box) else np.asarray(x)


# ---- places in a sorted array

def _known_place(a: Any, v: Any, side: str) -> Any:
    return aval(v.shape, np.intp)


def _batch_searchsorted(size: int, axes: Any, a: Any, v: Any, side: str) -> Any:
    row = REGISTRY["searchsorted"]
    if axes[0] is None:
        return bind(row, (a, v), {"side": side}), 0
    return stack([bind(row, (a[i], v if axes[1] is None else v[i]), {"side": side})
                  for i in range(size)]), 0


def _searchsorted_impl(a: Any, v: Any, side: Any) -> Any:
    return np.searchsorted(a, v, side)


def _searchsorted_cases(rng: np.random.Generator) -> Iterator[Case]:
    a = np.array([-1.0, 0.0, 0.5, 0.5, 1.0])
    for side in ("left", "right"):
        yield Case((a, np.array([[-2.0, 0.5], [3.0, -1.0]])), {"side": side})
        yield Case((np.sort(draw(rng, (4,)))[::-1][::-1], np.arange(3)), {"side": side})
    for x in layouts(rng):
        yield Case((a, x), {"side": "left"})


_searchsorted = general(
    "searchsorted", _searchsorted_impl, nondiff=True, aval=_known_place,
    batch=_batch_searchsorted, lower=called(_searchsorted_impl, _known_place),
    label=Label("searchsorted({0}, {1}, side={side})",
                r"\mathrm{{searchsorted}}_{{\mathrm{{{side}}}}}({0}, {1})"),
    cases=Cases(_searchsorted_cases, CONTRACTED))


@function(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """How many elements of the sorted ``a`` are less than each ``v`` ("right": at most ``v``).

    Integers, without derivative. Raises ShapeError if ``a`` is not a vector.

    >>> ad.searchsorted([1.0, 2.0, 3.0], 2.5)
    np.int64(2)
    """
    a, v = arrayed(a), arrayed(v)
    if len(a.shape) != 1:
        raise ShapeError(f"searchsorted: a is one sorted axis; its shape is {a.shape}")
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side is 'left' or 'right', not {side!r}")
    a = a if sorter is None else PUBLIC["getitem"](a, arrayed(sorter))
    return _searchsorted(a, v, side=side)


@function(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The number of the bin that each element falls into, 0 before the first edge.

    Integers, without derivative. ``bins`` increases or decreases (else ArgumentError) and has known
    values: it is no traced or batched array.

    >>> ad.digitize([0.5, 1.5], [0.0, 1.0, 2.0])
    array([1, 2])
    """
    edges = values(bins)
    if edges.ndim != 1:
        raise ShapeError(f"digitize: bins is one axis of edges; its shape is {edges.shape}")
    step, side = np.diff(edges), "left" if right else "right"
    if (step >= 0).all():
        return searchsorted(edges, x, side)
    if (step <= 0).all():
        return len(edges) - searchsorted(edges[::-1].copy(), x, side)
    raise ArgumentError(f"digitize: bins must increase or decrease, not {edges!r}")


# ---- counts

@function(np.count_nonzero)
def count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False, dim: Any = None,
                  keepdim: bool | None = None) -> Any:
    """How many elements are not 0, over some axes: integers, without derivative.

    >>> ad.count_nonzero([0.0, 2.0, 3.0])
    np.int64(2)
    """
    return sum(not_equal(arrayed(x), 0), axis, None, keepdims, dim=dim, keepdim=keepdim)


def _weighted(places: Any, weights: Any, size: int) -> Any:
    """The sum of the weights at each place, in double precision: differentiable in them."""
    weights = astype(weights, np.result_type(weights.dtype, np.float64))
    return _scatter(weights, places, key=(Slot(0),), shape=(size,))


@function(np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each integer from 0 on occurs in ``x``; with ``weights``, the sum of theirs.

        y_k = sum_(i: x_i = k) w_i,    dy_k/dw_i = [x_i = k]

    The values of ``x`` must be known. Raises DTypeError if they are no integers or the weights are
    complex, ShapeError for weights of another shape, ArgumentError if an integer is negative.

    >>> ad.bincount([0, 1, 1, 3])
    array([1, 2, 0, 1])
    """
    places = values(x)
    if places.dtype.kind not in "iub" and places.size:
        raise DTypeError(f"bincount: x holds integers, not {places.dtype}; write x.astype(int)")
    if places.ndim != 1:
        raise ShapeError(f"bincount: x is one axis of integers; its shape is {places.shape}")
    if places.size and places.min() < 0:
        raise ArgumentError(f"bincount: x holds the negative number {places.min()}")
    if not isinstance(minlength, (int, np.integer)) or minlength < 0:
        raise ArgumentError(f"bincount: minlength is an integer of at least 0, not {minlength!r}")
    if weights is None:
        return np.bincount(places.astype(np.intp), minlength=minlength)
    weights = arrayed(weights)
    if weights.shape != places.shape:
        raise ShapeError(f"bincount: weights of shape {weights.shape} for x of {places.shape}")
    if weights.dtype.kind == "c":
        raise DTypeError("bincount: the weights are real numbers; sum those of w.real and w.imag")
    size = max(minlength, int(places.max(initial=-1)) + 1)
    return _weighted(places.astype(np.intp), weights, size)


def flows(x: Any) -> bool:
    """Whether a derivative flows through ``x``, or through something in a list."""
    return any(map(flows, x)) if isinstance(x, (list, tuple)) else is_tracked(x)


def _binned(x: Any, bins: Any, range: Any, density: bool) -> Any:
    """NumPy's counts and edges, for bins that nothing is differentiated in."""
    for what, given in (("bins", bins), ("range", range)):
        if flows(given):
            raise EscapeError(
                f"histogram: {what} is tracked, and the counts would silently lose its gradient: "
                "they jump where an element crosses an edge. Write the numbers: "
                f"{what}=x.detach().numpy(), or x.item() for each of them")
    bins = bins if isinstance(bins, str) else values(bins)[()]
    try:
        return np.histogram(x, bins, range if range is None else values(range), density)
    except (ValueError, TypeError) as e:
        raise ArgumentError(f"histogram: {e}") from None


def _following(edges: Any, x: Any, bins: Any, range: Any) -> Any:
    """The edges, which move with the smallest and the largest element if these set them."""
    given = range is not None or (not isinstance(bins, str) and np.ndim(bins))
    if given or 0 in x.shape or not flows(x):
        return edges
    t = np.linspace(0.0, 1.0, len(edges))
    moved = smallest(x) * (1.0 - t) + largest(x) * t
    return edges + (moved - stop(moved))  # the values are NumPy's


@function(np.histogram)
def histogram(x: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
              ) -> Any:
    """How many elements fall into each bin, and the edges of the bins.

    Counts are constants. With ``weights`` the sum of theirs, differentiable in them; ``density``
    divides by the total and the widths. Edges that ``x`` sets, because neither a range nor edges
    are given, are differentiable in its smallest and its largest element, and so is the density.
    The values of ``x`` must be known. Raises ArgumentError for edges that do not increase and
    ranges that are not finite, EscapeError for tracked ``bins`` or ``range``, ShapeError for
    weights of another shape.

    >>> ad.histogram([0.1, 0.2, 0.9], bins=2, range=(0.0, 1.0))
    (array([2, 1]), array([0. , 0.5, 1. ]))
    """
    x = arrayed(x)
    data = values(x)
    counts, edges = _binned(data, bins, range, bool(density) and weights is None and not flows(x))
    edges = _following(edges, x, bins, range)
    if weights is not None:
        counts = _weighted_counts(data, values(edges), arrayed(weights))
    elif not density or not isinstance(edges, Box):
        return counts, edges
    return (counts / diff(edges) / sum(counts) if density else counts), edges


def _weighted_counts(x: Any, edges: Any, weights: Any) -> Any:
    """The sum of the weights in each bin, in their dtype."""
    if weights.shape != x.shape:
        raise ShapeError(f"histogram: weights of shape {weights.shape} for x of {x.shape}")
    last = len(edges) - 1
    places = np.searchsorted(edges, x.ravel(), "right") - 1
    places[x.ravel() == edges[-1]] = last - 1  # the last bin includes its right edge
    inside = np.flatnonzero((places >= 0) & (places < last))
    return astype(_weighted(places[inside], ravel(weights)[inside], last), weights.dtype)


# ---- what is there: the shape depends on the values

@function(np.nonzero)
def nonzero(x: Any) -> Any:
    """The indices of the elements that are not 0, one NumPy array for each axis: constants.

    >>> ad.nonzero([0.0, 2.0, 3.0])
    (array([1, 2]),)
    """
    x = values(x)
    if x.ndim == 0:
        raise ShapeError("nonzero: a 0-d value has no axis; write ad.atleast_1d(x) or x != 0")
    return np.nonzero(x)


@function(np.flatnonzero)
def flatnonzero(x: Any) -> Any:
    """The indices, of all elements in a row, of those that are not 0: a NumPy array, constant.

    >>> ad.flatnonzero([[0.0, 2.0], [3.0, 0.0]])
    array([1, 2])
    """
    return np.flatnonzero(values(x))


@function(np.argwhere)
def argwhere(x: Any) -> Any:
    """The indices of the elements that are not 0, one row for each: a NumPy array, constant.

    >>> ad.argwhere([[0.0, 2.0], [3.0, 0.0]])
    array([[0, 1],
           [1, 0]])
    """
    return np.argwhere(values(x))


@function(np.unique)
def unique(x: Any, return_index: bool = False, return_inverse: bool = False,
           return_counts: bool = False, axis: Any = None) -> Any:
    """The different elements in ascending order; the gradient goes to the first of each kind.

    With ``return_index``, ``return_inverse``, ``return_counts`` a tuple with NumPy arrays, which
    are constants: the places of the first, which of the different ones each element is, how many of
    each there are. The values of ``x`` must be known.

    >>> ad.unique([2.0, 1.0, 2.0])
    array([1., 2.])
    """
    x = arrayed(x)
    axis = None if axis is None else check_axis("unique", axis, len(x.shape))
    _, first, inverse, counts = np.unique(values(x), True, True, True, axis=axis)
    x = ravel(x) if axis is None else x
    y = PUBLIC["getitem"](x, (*(slice(None),) * (axis or 0), first))
    wanted = ((first, return_index), (inverse, return_inverse), (counts, return_counts))
    more = tuple(part for part, want in wanted if want)
    return (y, *more) if more else y
