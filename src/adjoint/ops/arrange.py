"""Putting arrays together, taking them apart, and turning them: written in slices and joins.

Nothing here has a rule of its own; values, gradients and errors are those of reshape, transpose,
concatenate, indexing and where.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.errors import ArgumentError, ShapeError

from .declare import arrayed, check_axis, function, shape_of
from .select import where
from .shape import (
    axes_once,
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    moveaxis,
    ravel,
    reshape,
    sizes,
    swapaxes,
    transpose,
)
from .write import setitem


def whole(name: str, value: Any, what: str) -> int:
    """A Python integer, or an error that names the argument."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise ArgumentError(f"{name}: {what} is an integer, not {value!r}")


def along(axis: int, key: Any) -> tuple[Any, ...]:
    """The key that selects ``key`` along one axis and all of the axes before it."""
    return (*(slice(None),) * axis, key)


def deep(name: str, x: Any, least: int) -> Any:
    """``x`` as an array, which has at least so many axes."""
    x = arrayed(x)
    if len(x.shape) < least:
        raise ShapeError(f"{name}: an array of at least {least} axes is needed; the shape is "
                         f"{x.shape}. Insert axes with x[None]")
    return x


# ---- taking apart

def _sections(x: Any, cuts: list[int], axis: int) -> list[Any]:
    ends = [*cuts, x.shape[axis]]
    return [x[along(axis, slice(start, stop))]
            for start, stop in zip([0, *cuts], ends, strict=True)]


def _cuts(name: str, given: Any, n: int, axis: int, equal: bool) -> list[int]:
    """Where to cut an axis of size n: given as places, or as a number of sections."""
    if isinstance(given, (tuple, list, np.ndarray)) and np.ndim(given) == 1:
        return [whole(name, i, "a place to cut at") for i in given]
    count = whole(name, given, "the number of sections (or a list of places)")
    if count < 1:
        raise ArgumentError(f"{name}: the number of sections is 1 or more, not {count}")
    if equal and n % count:
        raise ShapeError(f"{name}: axis {axis} of size {n} has no {count} equal sections; "
                         "ad.array_split makes unequal ones")
    base, more = divmod(n, count)
    return [base * k + min(k, more) for k in range(1, count)]


def _split(name: str, x: Any, given: Any, axis: int, equal: bool) -> list[Any]:
    x = deep(name, x, 1)
    axis = check_axis(name, axis, len(x.shape))
    return _sections(x, _cuts(name, given, x.shape[axis], axis, equal), axis)


@function(np.split)
def split(x: Any, indices_or_sections: Any, axis: int = 0, *, dim: int | None = None) -> list[Any]:
    """``x`` cut along an axis: into equal sections, or at the places of a list.

    Raises ShapeError if the sections would not be equal.

    >>> ad.split([1.0, 2.0, 3.0, 4.0], 2)
    [array([1., 2.]), array([3., 4.])]
    """
    return _split("split", x, indices_or_sections, axis if dim is None else dim, equal=True)


@function(np.array_split)
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """``x`` cut along an axis into sections of nearly the same size, or at the places of a list.

    >>> ad.array_split([1.0, 2.0, 3.0], 2)
    [array([1., 2.]), array([3.])]
    """
    return _split("array_split", x, indices_or_sections, axis, equal=False)


@function(np.hsplit)
def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``x`` cut along its second axis, or its only one.

    >>> ad.hsplit([[1.0, 2.0]], 2)
    [array([[1.]]), array([[2.]])]
    """
    x = deep("hsplit", x, 1)
    return _split("hsplit", x, indices_or_sections, min(1, len(x.shape) - 1), equal=True)


@function(np.vsplit)
def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``x`` cut along its first axis, of at least two.

    >>> ad.vsplit([[1.0], [2.0]], 2)
    [array([[1.]]), array([[2.]])]
    """
    return _split("vsplit", deep("vsplit", x, 2), indices_or_sections, 0, equal=True)


@function(np.dsplit)
def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``x`` cut along its third axis.

    >>> ad.dsplit([[[1.0, 2.0]]], 2)
    [array([[[1.]]]), array([[[2.]]])]
    """
    return _split("dsplit", deep("dsplit", x, 3), indices_or_sections, 2, equal=True)


@function(np.unstack)
def unstack(x: Any, axis: int = 0, *, dim: int | None = None) -> tuple[Any, ...]:
    """The slices of ``x`` along an axis, which disappears: the inverse of `stack`.

    >>> ad.unstack([[1.0, 2.0], [3.0, 4.0]])
    (array([1., 2.]), array([3., 4.]))
    """
    x = deep("unstack", x, 1)
    axis = check_axis("unstack", axis if dim is None else dim, len(x.shape))
    return tuple([x[along(axis, i)] for i in range(x.shape[axis])])


# ---- putting together

def _at_least(name: str, xs: Any, ndim: int) -> Any:
    found = [_padded(arrayed(x), ndim) for x in xs]
    return found[0] if len(found) == 1 else tuple(found)


def _padded(x: Any, ndim: int) -> Any:
    """``x`` with axes of size 1 as NumPy puts them: in front, and one at the end for the third."""
    shape = x.shape
    if ndim == 3 and len(shape) in (1, 2):
        return reshape(x, (*(1,) * (2 - len(shape)), *shape, 1))
    return reshape(x, (*(1,) * (ndim - len(shape)), *shape)) if len(shape) < ndim else x


@function(np.atleast_1d)
def atleast_1d(*xs: Any) -> Any:
    """Each array with at least one axis.

    >>> ad.atleast_1d(2.0)
    array([2.])
    """
    return _at_least("atleast_1d", xs, 1)


@function(np.atleast_2d)
def atleast_2d(*xs: Any) -> Any:
    """Each array with at least two axes: a vector becomes a row.

    >>> ad.atleast_2d([1.0, 2.0])
    array([[1., 2.]])
    """
    return _at_least("atleast_2d", xs, 2)


@function(np.atleast_3d)
def atleast_3d(*xs: Any) -> Any:
    """Each array with at least three axes: a vector becomes (1, n, 1), a matrix (m, n, 1).

    >>> ad.atleast_3d([1.0, 2.0]).shape
    (1, 2, 1)
    """
    return _at_least("atleast_3d", xs, 3)


def _several(name: str, arrays: Any) -> list[Any]:
    if isinstance(arrays, (Box, np.ndarray)) and not shape_of(arrays):
        raise ArgumentError(f"{name}: a list of arrays is needed, not one 0-d array")
    given: Any = arrays
    xs = [arrayed(x) for x in given]
    if not xs:
        raise ArgumentError(f"{name}: at least one array is needed")
    return xs


@function(np.hstack)
def hstack(arrays: Any) -> Any:
    """Arrays side by side: joined along the second axis, vectors along their only one.

    >>> ad.hstack([[1.0, 2.0], [3.0]])
    array([1., 2., 3.])
    """
    xs = [_padded(x, 1) for x in _several("hstack", arrays)]
    return concatenate(xs, axis=0 if len(xs[0].shape) == 1 else 1)


@function(np.vstack)
def vstack(arrays: Any) -> Any:
    """Arrays above each other: joined along the first axis, vectors as rows.

    >>> ad.vstack([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 2.],
           [3., 4.]])
    """
    return concatenate([_padded(x, 2) for x in _several("vstack", arrays)], axis=0)


@function(np.dstack)
def dstack(arrays: Any) -> Any:
    """Arrays behind each other: joined along the third axis.

    >>> ad.dstack([[1.0, 2.0], [3.0, 4.0]])
    array([[[1., 3.],
            [2., 4.]]])
    """
    return concatenate([_padded(x, 3) for x in _several("dstack", arrays)], axis=2)


@function(np.column_stack)
def column_stack(arrays: Any) -> Any:
    """Vectors as the columns of a matrix; matrices stand as they are.

    >>> ad.column_stack([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 3.],
           [2., 4.]])
    """
    xs = [transpose(_padded(x, 2)) if len(x.shape) < 2 else x
          for x in _several("column_stack", arrays)]
    return concatenate(xs, axis=1)


@function(np.block)
def block(arrays: Any) -> Any:
    """An array made of blocks in nested lists: the innermost are joined along the last axis.

    Raises ArgumentError if the lists are not nested equally deep.

    >>> ad.block([[np.eye(2), np.zeros((2, 1))]])
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    depth = _depth(arrays)
    ndim = max(depth, _most_axes(arrays))
    return _joined(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(a) for a in arrays}
    if len(depths) != 1:
        raise ArgumentError("block: the lists are empty or not nested equally deep; write "
                            "ad.block([[a, b], [c, d]])")
    return depths.pop() + 1


def _most_axes(arrays: Any) -> int:
    return max(map(_most_axes, arrays)) if isinstance(arrays, list) else len(shape_of(arrays))


def _joined(arrays: Any, depth: int, ndim: int) -> Any:
    if not depth:
        x = arrayed(arrays)
        return reshape(x, (*(1,) * (ndim - len(x.shape)), *x.shape))
    return concatenate([_joined(a, depth - 1, ndim) for a in arrays], axis=ndim - depth)


@function(np.append)
def append(x: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` after ``x``: both flattened, or along an axis of arrays that fit.

    >>> ad.append([1.0, 2.0], 3.0)
    array([1., 2., 3.])
    """
    if axis is None:
        return concatenate([ravel(arrayed(x)), ravel(arrayed(values))])
    return concatenate([arrayed(x), arrayed(values)], axis=axis)


# ---- turning

@function(np.roll)
def roll(x: Any, shift: Any, axis: Any = None, *, dims: Any = None) -> Any:
    """The elements moved along some axes; what leaves at one end comes back at the other.

    Flattened meanwhile if no axis is named.

    >>> ad.roll([1.0, 2.0, 3.0], 1)
    array([3., 1., 2.])
    """
    x = arrayed(x)
    axis = axis if dims is None else dims
    if axis is None:
        flat = ravel(x)
        for s in sizes(shift):
            flat = _rolled(flat, s, 0)
        return reshape(flat, x.shape)
    shifts, axes = sizes(shift), sizes(axis)
    count = max(len(shifts), len(axes))
    if {len(shifts), len(axes)} - {1, count}:
        raise ArgumentError(f"roll: shift {shift!r} and axis {axis!r} are integers, or lists of "
                            "the same length")
    shifts, axes = (v * count if len(v) == 1 else v for v in (shifts, axes))
    for s, a in zip(shifts, axes, strict=True):
        x = _rolled(x, s, check_axis("roll", a, len(x.shape)))
    return x


def _rolled(x: Any, shift: int, axis: int) -> Any:
    n = x.shape[axis]
    place = -shift % n if n else 0
    if not place:
        return x
    return concatenate([x[along(axis, slice(place, None))], x[along(axis, slice(None, place))]],
                       axis=axis)


@function(np.fliplr)
def fliplr(x: Any) -> Any:
    """The second axis reversed.

    >>> ad.fliplr([[1.0, 2.0]])
    array([[2., 1.]])
    """
    return flip(deep("fliplr", x, 2), 1)


@function(np.flipud)
def flipud(x: Any) -> Any:
    """The first axis reversed.

    >>> ad.flipud([1.0, 2.0])
    array([2., 1.])
    """
    return flip(deep("flipud", x, 1), 0)


@function(np.rot90)
def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """``x`` turned k times by a right angle, from the first of two axes to the second.

    >>> ad.rot90([[1.0, 2.0], [3.0, 4.0]])
    array([[2., 4.],
           [1., 3.]])
    """
    x = deep("rot90", x, 2)
    found = axes_once("rot90", axes, len(x.shape))
    if len(found) != 2:
        raise ArgumentError(f"rot90: axes names two axes, not {axes!r}")
    first, second = found
    turns = whole("rot90", k, "k") % 4
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second) if turns else x


@function(np.rollaxis)
def rollaxis(x: Any, axis: int, start: int = 0) -> Any:
    """``x`` with one axis moved in front of the place ``start``; `moveaxis` says it more plainly.

    >>> ad.rollaxis(np.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    ndim = len(shape_of(x))
    axis = check_axis("rollaxis", axis, ndim)
    start = ndim if start == ndim else check_axis("rollaxis", start, ndim)
    return moveaxis(x, axis, start - (axis < start))


@function(np.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged.

    >>> ad.matrix_transpose([[1.0, 2.0]]).shape
    (2, 1)
    """
    return swapaxes(deep("matrix_transpose", x, 2), -1, -2)


# ---- repeating

@function(np.repeat)
def repeat(x: Any, repeats: Any, axis: int | None = None, *, dim: int | None = None) -> Any:
    """Each element several times in a row, along an axis or flattened.

    ``repeats`` is an integer or one for each element along the axis. Raises ShapeError for another
    number of them, ArgumentError for negative ones.

    >>> ad.repeat([1.0, 2.0], 2)
    array([1., 1., 2., 2.])
    """
    x, axis = arrayed(x), axis if dim is None else dim
    x = x if x.shape else ravel(x)  # NumPy takes an axis of a 0-d array too
    x, axis = (ravel(x), 0) if axis is None else (x, check_axis("repeat", axis, len(x.shape)))
    counts = np.asarray(sizes(repeats))
    if counts.size not in (1, x.shape[axis]):
        raise ShapeError(f"repeat: {counts.size} repeats for an axis of size {x.shape[axis]}; "
                         "give one number, or one for each")
    if (counts < 0).any():
        raise ArgumentError(f"repeat: the repeats are not negative: {repeats!r}")
    if counts.size != 1:
        return x[along(axis, np.repeat(np.arange(x.shape[axis]), counts))]
    shape = list(x.shape)
    wide = broadcast_to(expand_dims(x, axis + 1),
                        (*shape[:axis + 1], int(counts[0]), *shape[axis + 1:]))
    shape[axis] *= int(counts[0])
    return reshape(wide, tuple(shape))


@function(np.tile)
def tile(x: Any, *reps: Any) -> Any:
    """``x`` laid side by side: so many times along each axis, the last named last.

    >>> ad.tile([1.0, 2.0], 2)
    array([1., 2., 1., 2.])
    """
    x = arrayed(x)
    counts = sizes(reps[0] if len(reps) == 1 else reps)
    if any(n < 0 for n in counts):
        raise ArgumentError(f"tile: the repeats are not negative: {counts}")
    ndim = max(len(counts), len(x.shape))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    ones = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for pair in zip(counts, shape, strict=True) for n in pair)
    full = tuple(n * size for n, size in zip(counts, shape, strict=True))
    return reshape(broadcast_to(reshape(x, ones), wide), full)


@function(np.broadcast_arrays)
def broadcast_arrays(*xs: Any, subok: bool = False) -> tuple[Any, ...]:
    """The arrays in their common shape.

    >>> ad.broadcast_arrays([1.0, 2.0], 3.0)
    (array([1., 2.]), array([3., 3.]))
    """
    found = [arrayed(x) for x in xs]
    try:
        shape = np.broadcast_shapes(*[x.shape for x in found])
    except ValueError:
        raise ShapeError("broadcast_arrays: the shapes "
                         + ", ".join(str(x.shape) for x in found) + " do not broadcast") from None
    return tuple([x if x.shape == shape else broadcast_to(x, shape) for x in found])


@function(np.meshgrid)
def meshgrid(*xs: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True
             ) -> tuple[Any, ...]:
    """The coordinates of a grid, one array for each vector.

    ``indexing="ij"`` numbers the axes as the arguments; "xy" exchanges the first two.

    >>> ad.meshgrid([1.0, 2.0], [5.0], indexing="ij")
    (array([[1.],
           [2.]]), array([[5.],
           [5.]]))
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}')
    found = [arrayed(x) for x in xs]
    for x in found:
        if len(x.shape) > 1:
            raise ShapeError(f"meshgrid: vectors are needed, not the shape {x.shape}")
    n = len(found)
    lines = [reshape(x, (*(1,) * k, -1, *(1,) * (n - k - 1))) for k, x in enumerate(found)]
    if indexing == "xy" and n > 1:
        lines = [swapaxes(x, 0, 1) for x in lines]
    return tuple(lines) if sparse or not lines else broadcast_arrays(*lines)


# ---- diagonals and triangles

def _band(rows: int, columns: int, offset: int) -> tuple[Any, Any]:
    """The places of a diagonal: row and column of each element."""
    n = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    return np.arange(n) - min(offset, 0), np.arange(n) + max(offset, 0)


@function(np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, *, dim1: int | None = None,
             dim2: int | None = None) -> Any:
    """A diagonal of two axes, which become one at the end; ``offset`` counts to the right.

    >>> ad.diagonal([[1.0, 2.0], [3.0, 4.0]])
    array([1., 4.])
    """
    x = deep("diagonal", x, 2)
    pair = (axis1 if dim1 is None else dim1, axis2 if dim2 is None else dim2)
    x = moveaxis(x, axes_once("diagonal", pair, len(x.shape)), (-2, -1))
    rows, columns = x.shape[-2:]
    return x[(..., *_band(rows, columns, whole("diagonal", offset, "offset")))]


@function(np.diag)
def diag(x: Any, k: int = 0) -> Any:
    """The matrix with a vector on its diagonal, or the diagonal of a matrix.

    Raises ShapeError for another number of axes.

    >>> ad.diag([1.0, 2.0])
    array([[1., 0.],
           [0., 2.]])
    """
    x = arrayed(x)
    if len(x.shape) == 2:
        return diagonal(x, k)
    if len(x.shape) != 1:
        raise ShapeError(f"diag: a vector or a matrix is needed; the shape is {x.shape}. "
                         "ad.diagonal takes more axes")
    k = whole("diag", k, "k")
    n = x.shape[0] + abs(k)
    return setitem(np.zeros((n, n), x.dtype), _band(n, n, k), x)


@function(np.diagflat)
def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix with all elements of ``x`` on its diagonal.

    >>> ad.diagflat([[1.0, 2.0]])
    array([[1., 0.],
           [0., 2.]])
    """
    return diag(ravel(arrayed(x)), k)


def _triangle(name: str, x: Any, k: int, lower: bool) -> Any:
    x = deep(name, x, 1)
    rows, columns = (x.shape * 2)[-2:] if len(x.shape) == 1 else x.shape[-2:]
    k = whole(name, k, "k")
    kept = np.tri(rows, columns, k if lower else k - 1, dtype=bool)
    return where(kept if lower else ~kept, x, x.dtype.type(0))


@function(np.tril)
def tril(x: Any, k: int = 0, *, diagonal: int | None = None) -> Any:
    """``x`` with zeros above the k-th diagonal of its last two axes.

    >>> ad.tril([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 0.],
           [3., 4.]])
    """
    return _triangle("tril", x, k if diagonal is None else diagonal, lower=True)


@function(np.triu)
def triu(x: Any, k: int = 0, *, diagonal: int | None = None) -> Any:
    """``x`` with zeros below the k-th diagonal of its last two axes.

    >>> ad.triu([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 2.],
           [0., 4.]])
    """
    return _triangle("triu", x, k if diagonal is None else diagonal, lower=False)
