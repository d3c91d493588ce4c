"""Choosing elements by number and putting others in their place; arrays made of few numbers.

NumPy's functions that write into an argument are refused with the line to write instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.primitive import NUMPY, PUBLIC, REGISTRY
from adjoint.errors import ArgumentError, IndexingError, MutationError, ShapeError, UnsupportedError

from .arithmetic import astype, power, remainder
from .arrange import along, broadcast_arrays, deep, whole
from .complexes import conjugate
from .declare import arrayed, broadcast_shape, check_axis, function, gives_arrays, shape_of
from .index import getitem, parse
from .linalg import dot
from .select import clip, where
from .shape import broadcast_to, concatenate, moveaxis, ravel, reshape, sizes, stack
from .write import setitem

MODES = ("raise", "wrap", "clip")


def promotion(*xs: Any) -> Any:
    """The dtype that arrays, dtypes and (weak) Python numbers have in common."""
    return np.result_type(*[x if type(x) in (int, float) else
                            x if isinstance(x, np.dtype) else arrayed(x).dtype for x in xs])


# ---- by number

def indices_of(name: str, indices: Any) -> Any:
    """Indices as an array of integers, or an error that says which dtype they have."""
    found = arrayed(indices)
    if not np.prod(found.shape) and not isinstance(indices, (Box, np.ndarray)):
        found = found.astype(np.intp)
    if found.dtype.kind not in "iu":
        raise IndexingError(f"{name}: indices are integers, not {found.dtype}; write "
                            "i.astype(int), or x[mask] for booleans")
    return found


def in_mode(name: str, indices: Any, n: int, mode: str) -> Any:
    """Indices that may leave 0..n-1 as ``mode`` says: an error later on, around, or to the end."""
    if mode not in MODES:
        raise ArgumentError(f"{name}: mode is one of {', '.join(MODES)}, not {mode!r}")
    if mode == "raise":
        return indices
    return remainder(indices, n) if mode == "wrap" else clip(indices, 0, n - 1)


@function(np.take)
def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise", *,
         dim: int | None = None) -> Any:
    """The elements with these numbers, along an axis or of ``x`` flattened.

    ``mode`` says what an index out of range does: "raise" IndexingError, "wrap" around, "clip".

    >>> ad.take([1.0, 2.0, 3.0], [2, 0, 0])
    array([3., 1., 1.])
    """
    x, axis = arrayed(x), axis if dim is None else dim
    found = indices_of("take", indices)
    if axis is None or not x.shape:  # NumPy takes an axis of a 0-d array too
        x, axis = ravel(x), 0 if axis is None else axis
    axis = check_axis("take", axis, len(x.shape))
    return getitem(x, along(axis, in_mode("take", found, x.shape[axis], mode)))


@function()
def index_select(x: Any, axis: int | None = None, index: Any = None, *, dim: int | None = None
                 ) -> Any:
    """The slices of ``x`` with these numbers along an axis: PyTorch's spelling of `take`.

    >>> ad.index_select([[1.0, 2.0], [3.0, 4.0]], 1, [1])
    array([[2.],
           [4.]])
    """
    axis = _axis_given("index_select", axis if dim is None else dim, index)
    found = indices_of("index_select", index)
    if len(found.shape) != 1:
        raise ShapeError(f"index_select: the index is a vector, not of shape {found.shape}; "
                         "ad.take takes any shape")
    return take(x, found, axis)


def _axis_given(name: str, axis: Any, *others: Any) -> int:
    if axis is None or any(v is None for v in others):
        raise ArgumentError(f"{name}: the axis and the index are needed: ad.{name}(x, axis, index"
                            f"{', ...' if len(others) > 1 else ''})")
    return axis


def _grid(shape: Any, index: Any, axis: int) -> tuple[Any, ...]:
    """The key that reads at ``index`` along one axis, and elsewhere at the place itself."""
    n = len(shape)
    return tuple([index if d == axis else np.arange(shape[d]).reshape((-1,) + (1,) * (n - d - 1))
                  for d in range(n)])


@function(np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1, *, dim: int | None = None) -> Any:
    """For each place the element with the number that stands there, along an axis.

        Y[i, j] = X[i, I[i, j]]    (axis 1)

    The other axes of x and of the indices broadcast. Raises ShapeError if they do not.

    >>> ad.take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], 1)
    array([[2.],
           [3.]])
    """
    x, axis = arrayed(x), axis if dim is None else dim
    found = indices_of("take_along_axis", indices)
    if axis is None:
        x, axis = ravel(x), 0
    axis = check_axis("take_along_axis", axis, len(x.shape))
    if len(found.shape) != len(x.shape) or any(
            1 not in (n, m) and n != m for d, (n, m) in enumerate(
                zip(x.shape, found.shape, strict=True)) if d != axis):
        raise ShapeError(f"take_along_axis: indices of shape {found.shape} do not go with the "
                         f"shape {x.shape} along axis {axis}: the others must broadcast. Insert "
                         "axes with i[:, None]")
    shape = tuple(1 if n == 1 and d != axis else n for d, n in enumerate(x.shape))
    return getitem(x, _grid(shape, found, axis))


# ---- PyTorch's gather and scatter

def _gathered(name: str, x: Any, axis: Any, index: Any) -> tuple[Any, int, Any, tuple[Any, ...]]:
    """The array, the axis, the index, and the key of gather and scatter."""
    x, found = arrayed(x), indices_of(name, index)
    axis = check_axis(name, axis, len(x.shape))
    if len(found.shape) != len(x.shape) or any(
            m > n for d, (n, m) in enumerate(zip(x.shape, found.shape, strict=True)) if d != axis):
        raise ShapeError(f"{name}: an index of shape {found.shape} does not go with the shape "
                         f"{x.shape}: it has as many axes, and is no larger elsewhere than along "
                         f"axis {axis}")
    return x, axis, found, _grid(found.shape, found, axis)


@function()
def gather(x: Any, axis: int | None = None, index: Any = None, *, dim: int | None = None) -> Any:
    """PyTorch's gather: for each place of the index the element with that number along an axis.

        Y[i, j] = X[i, I[i, j]]    (axis 1)

    The index has as many axes as x and the shape of the result; nothing broadcasts. Raises
    ShapeError for an index of another kind, IndexingError for a number out of range.

    >>> ad.gather([[1.0, 2.0], [3.0, 4.0]], 1, [[1, 1], [0, 1]])
    array([[2., 2.],
           [3., 4.]])
    """
    axis = _axis_given("gather", axis if dim is None else dim, index)
    x, _, _, key = _gathered("gather", x, axis, index)
    return getitem(x, key)


def _source(name: str, src: Any, shape: tuple[int, ...]) -> Any:
    """What is scattered: a number, or the corner of ``src`` in the shape of the index."""
    src = arrayed(src)
    if not src.shape:
        return broadcast_to(src, shape)
    if len(src.shape) != len(shape) or any(n < m for n, m in zip(src.shape, shape, strict=True)):
        raise ShapeError(f"{name}: a source of shape {src.shape} is smaller than the index, "
                         f"{shape}, or has another number of axes")
    return src if src.shape == shape else src[tuple(slice(n) for n in shape)]


@function()
def scatter(x: Any, axis: int | None = None, index: Any = None, src: Any = None, *,
            dim: int | None = None) -> Any:
    """PyTorch's scatter as a value: ``x`` with the elements of ``src`` at the numbers of an index.

        Y[i, I[i, j]] = S[i, j]    (axis 1)

    Of several elements for one place the last stays, and gets the gradient.

    >>> ad.scatter(np.zeros((1, 3)), 1, [[2, 0]], [[5.0, 6.0]])
    array([[6., 0., 5.]])
    """
    axis = _axis_given("scatter", axis if dim is None else dim, index, src)
    x, _, found, key = _gathered("scatter", x, axis, index)
    return setitem(x, key, _source("scatter", src, found.shape))


def _added(x: Any, key: Any, src: Any) -> Any:
    """``x`` plus an array of zeros to which ``src`` was added at a key."""
    template, indices = parse(key, x.shape)
    return x + bind(REGISTRY["getitem_transpose"], (src, *indices),
                    {"key": template, "shape": x.shape})


@function()
def scatter_add(x: Any, axis: int | None = None, index: Any = None, src: Any = None, *,
                dim: int | None = None) -> Any:
    """PyTorch's scatter_add as a value: ``x`` with elements of ``src`` added at an index.

        Y[i, I[i, j]] += S[i, j]    (axis 1)

    >>> ad.scatter_add(np.zeros((1, 3)), 1, [[2, 2]], [[5.0, 6.0]])
    array([[ 0.,  0., 11.]])
    """
    axis = _axis_given("scatter_add", axis if dim is None else dim, index, src)
    x, _, found, key = _gathered("scatter_add", x, axis, index)
    return _added(x, key, _source("scatter_add", src, found.shape))


@function()
def index_add(x: Any, axis: int | None = None, index: Any = None, src: Any = None, *,
              alpha: Any = 1, dim: int | None = None) -> Any:
    """PyTorch's index_add as a value: slices of ``src`` added to those slices of ``x``.

        Y[I[k], ...] += alpha S[k, ...]    (axis 0)

    Raises ShapeError if src has not the shape of x, with as many slices as the index is long.

    >>> ad.index_add([1.0, 2.0, 3.0], 0, [2, 2], [10.0, 20.0])
    array([ 1.,  2., 33.])
    """
    axis = _axis_given("index_add", axis if dim is None else dim, index, src)
    x, src, found = arrayed(x), arrayed(src), indices_of("index_add", index)
    axis = check_axis("index_add", axis, len(x.shape))
    fits = (*x.shape[:axis], *found.shape, *x.shape[axis + 1:])
    if len(found.shape) != 1 or src.shape != fits:
        raise ShapeError(f"index_add: an index of shape {found.shape} and a source of shape "
                         f"{src.shape} for the shape {x.shape}: the index is a vector, and the "
                         f"source has shape {fits}")
    plain = isinstance(alpha, int) and alpha == 1
    return _added(x, along(axis, found), src if plain else src * alpha)


@function()
def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """``x`` with one value where the mask holds, and gradient 0 there.

    >>> ad.masked_fill([1.0, 2.0], [True, False], 0.0)
    array([0., 2.])
    """
    return where(arrayed(mask), value, x)


# ---- by condition

def _mask(name: str, condition: Any) -> Any:
    """A condition as a boolean array that is known."""
    found = condition.concrete() if isinstance(condition, Box) else np.asarray(condition)
    if found.dtype.kind not in "biu":
        raise ArgumentError(f"{name}: a condition is made of booleans, not {found.dtype}; write "
                            "x > 0")
    return found.astype(bool)


@function(np.compress)
def compress(condition: Any, x: Any, axis: int | None = None) -> Any:
    """The slices of ``x`` along an axis for which the condition holds, of x flattened if None.

    >>> ad.compress([True, False, True], [1.0, 2.0, 3.0])
    array([1., 3.])
    """
    mask = _mask("compress", condition)
    if mask.ndim != 1:
        raise ShapeError(f"compress: the condition is a vector, not of shape {mask.shape}; "
                         "ad.extract takes any shape")
    return take(x, np.flatnonzero(mask), axis)


@function(np.extract)
def extract(condition: Any, x: Any) -> Any:
    """The elements of ``x`` for which the condition holds, in C order.

    >>> ad.extract([[True, False], [False, True]], [[1.0, 2.0], [3.0, 4.0]])
    array([1., 4.])
    """
    return take(x, np.flatnonzero(_mask("extract", condition)))


@function(np.choose)
def choose(indices: Any, choices: Any, mode: str = "raise") -> Any:
    """At each place the element of that choice whose number stands there.

        y_i = choices[k_i]_i

    >>> ad.choose([0, 1, 0], [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    array([ 1., 20.,  3.])
    """
    xs = list(choices)
    if not xs:
        raise ArgumentError("choose: at least one choice is needed")
    common = promotion(*xs)
    xs = [np.asarray(c, common) if type(c) in (int, float) else arrayed(c) for c in xs]
    found = in_mode("choose", indices_of("choose", indices), len(xs), mode)
    found, *xs = broadcast_arrays(found, *xs)
    if mode == "raise" and not isinstance(found, Box) and found.size and (
            found.min() < 0 or found.max() >= len(xs)):
        raise IndexingError(f"choose: the indices {found.min()} to {found.max()} are not all in 0 "
                            f"to {len(xs) - 1}, of {len(xs)} choices")
    return getitem(stack(xs), _grid((len(xs), *found.shape), found, 0))


@function(np.select, kind=gives_arrays)
def select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    """At each place the choice of the first condition that holds, else ``default``.

    Raises ArgumentError if there are not as many choices as conditions, or none.

    >>> ad.select([[True, False], [True, True]], [[1.0, 2.0], [3.0, 4.0]])
    array([1., 4.])
    """
    conditions, choices = [arrayed(c) for c in conditions], list(choices)
    if len(conditions) != len(choices) or not choices:
        raise ArgumentError(f"select: {len(conditions)} conditions for {len(choices)} choices; "
                            "there are as many of both, at least one")
    for c in conditions:
        if c.dtype.kind != "b":
            raise ArgumentError(f"select: a condition is made of booleans, not {c.dtype}; write "
                                "x > 0")
    y = default
    for c, x in zip(reversed(conditions), reversed(choices), strict=True):
        y = where(c, arrayed(x) if isinstance(x, (list, tuple)) else x, y)
    return y


@function(np.piecewise, kind=gives_arrays)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> Any:
    """Functions of ``x``, each computed where its condition holds; the last condition counts.

    A number stands for a constant function; one function more than conditions is for the rest.

    >>> ad.piecewise(np.array([-1.0, 4.0]), [[True, False]], [0.0, np.sqrt])
    array([0., 2.])
    """
    x = arrayed(x)
    known = (len(condlist),) if isinstance(condlist, (list, tuple)) else shape_of(condlist)
    condlist = condlist if known else [condlist]
    if known[:1] == (0,):
        raise ArgumentError("piecewise: at least one condition is needed")
    one = x.shape and not shape_of(condlist[0])  # one condition alone
    masks = [broadcast_to(_mask("piecewise", c), x.shape)
             for c in ([condlist] if one else condlist)]
    if len(funclist) == len(masks) + 1:
        masks = [*masks, ~np.any(masks, axis=0)]
    if len(funclist) != len(masks):
        raise ArgumentError(f"piecewise: {len(masks)} conditions for {len(funclist)} functions; "
                            "there are as many, or one function more")
    y = np.zeros(x.shape, x.dtype)
    for mask, f in zip(masks, funclist, strict=True):
        places = np.nonzero(mask) if x.shape else ()
        if not np.any(mask):
            continue
        part = f(getitem(x, places) if x.shape else x, *args, **kwargs) if callable(f) else f
        part = astype(arrayed(part), bool) if x.dtype.kind == "b" else part
        y = setitem(y, places if x.shape else ..., part)
    # Constant everywhere, here: still a value of x, so that backward() exists.
    return where(False, x, y) if isinstance(x, Box) and not isinstance(y, Box) else y


# ---- fewer and more elements

@function(np.delete)
def delete(x: Any, obj: Any, axis: int | None = None) -> Any:
    """``x`` without the elements or slices that an integer, a slice or a list names.

    Raises IndexingError for an index out of range.

    >>> ad.delete([1.0, 2.0, 3.0], 1)
    array([1., 3.])
    """
    x = arrayed(x)
    x, axis = (ravel(x), 0) if axis is None else (x, check_axis("delete", axis, len(x.shape)))
    return take(x, _numbered("delete", np.delete, x.shape[axis], obj), axis)


def _numbered(name: str, function: Any, n: int, obj: Any, *more: Any) -> Any:
    """What NumPy's function does to the numbers 0 to n - 1."""
    try:
        return function(np.arange(n), obj, *more)
    except (IndexError, ValueError) as e:
        raise IndexingError(f"{name}: {e}; the axis has size {n}") from None


@function(np.insert)
def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """``x`` with values put in front of the elements or slices that an integer or a list names.

    Raises ShapeError for values that do not broadcast, IndexingError for an index out of range.

    >>> ad.insert([1.0, 3.0], 1, 2.0)
    array([1., 2., 3.])
    """
    x = arrayed(x)
    x, axis = (ravel(x), 0) if axis is None else (x, check_axis("insert", axis, len(x.shape)))
    values = astype(arrayed(values), x.dtype)
    n, ndim = x.shape[axis], len(x.shape)
    obj = np.asarray(obj) if isinstance(obj, list) and obj else obj  # NumPy fails on lists of bool
    if len(values.shape) < ndim:
        values = reshape(values, (*(1,) * (ndim - len(values.shape)), *values.shape))
    if isinstance(obj, slice):
        count = len(range(n)[obj])
    elif np.ndim(obj) == 0:
        values = moveaxis(values, 0, axis)
        count = values.shape[axis]
    else:
        count = int(np.sum(obj)) if np.asarray(obj).dtype.kind == "b" else np.size(obj)
        count = values.shape[axis] if count == 1 else count
    order = _numbered("insert", np.insert, n, obj, np.arange(n, n + count))
    wanted = (*x.shape[:axis], count, *x.shape[axis + 1:])
    return take(concatenate([x, broadcast_to(values, wanted)], axis=axis), order, axis)


@function(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Any:
    """All windows of a shape, which becomes the last axes of the result.

        Y[i, k] = X[i + k]    (one axis)

    Raises ShapeError for a window larger than the array.

    >>> ad.sliding_window_view([1.0, 2.0, 3.0], 2)
    array([[1., 2.],
           [2., 3.]])
    """
    x = arrayed(x)
    window = sizes(window_shape)
    axes = tuple(range(len(x.shape))) if axis is None else tuple(
        [check_axis("sliding_window_view", a, len(x.shape)) for a in sizes(axis)])
    if len(axes) != len(window):
        raise ArgumentError(f"sliding_window_view: the window {window} has not one size for each "
                            f"of the axes {axes}")
    for a, w in zip(axes, window, strict=True):
        n = x.shape[a]
        if not 0 <= w <= n:
            raise ShapeError(f"sliding_window_view: a window of {w} in an axis of size {n}")
        x = moveaxis(getitem(x, along(a, np.arange(n - w + 1)[:, None] + np.arange(w))), a + 1, -1)
    return x


# ---- products

@function(np.kron)
def kron(x: Any, z: Any) -> Any:
    """The Kronecker product: ``x`` with each element replaced by it times ``z``.

    >>> ad.kron([1.0, 10.0], [1.0, 2.0])
    array([ 1.,  2., 10., 20.])
    """
    x, z = arrayed(x), arrayed(z)
    ndim = max(len(x.shape), len(z.shape))
    a, b = ((1,) * (ndim - len(v.shape)) + tuple(v.shape) for v in (x, z))
    left = reshape(x, tuple(v for n in a for v in (n, 1)))
    right = reshape(z, tuple(v for n in b for v in (1, n)))
    return reshape(left * right, tuple(n * m for n, m in zip(a, b, strict=True)))


@function(np.cross)
def cross(x: Any, z: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1,
          axis: int | None = None, *, dim: int | None = None) -> Any:
    """The cross product of vectors with three components.

        y = x × z,    dL/dx = z × dL/dy,    dL/dz = dL/dy × x

    Raises ShapeError for another number of components.

    >>> ad.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    array([0., 0., 1.])
    """
    axis = axis if dim is None else dim
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    x, z = (moveaxis(deep("cross", v, 1), a, -1) for v, a in ((x, axisa), (z, axisb)))
    if x.shape[-1] != 3 or z.shape[-1] != 3:
        raise ShapeError(f"cross: vectors have 3 components, not {x.shape[-1]} and {z.shape[-1]}; "
                         "of two write x[..., 0] * z[..., 1] - x[..., 1] * z[..., 0]")
    broadcast_shape("cross", x, z)
    (a, b, c), (d, e, f) = ([v[..., k] for k in range(3)] for v in (x, z))
    return moveaxis(stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1), -1, axisc)


@function(np.vdot)
def vdot(x: Any, z: Any) -> Any:
    """The inner product of all elements, the first conjugated.

    >>> ad.vdot([[1.0, 2.0]], [[3.0], [4.0]])
    np.float64(11.0)
    """
    x, z = ravel(arrayed(x)), ravel(arrayed(z))
    if x.shape != z.shape:
        raise ShapeError(f"vdot: {x.shape[0]} elements meet {z.shape[0]}; there are as many")
    return dot(conjugate(x) if x.dtype.kind == "c" else x, z)


# ---- arrays of few numbers

def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False,
              dtype: Any = None, axis: int = 0) -> Any:
    """Evenly spaced numbers, differentiable in both ends: y = (1 - t) start + t stop."""
    count = whole("linspace", num, "num")
    if count < 0:
        raise ArgumentError(f"linspace: num is not negative: {count}")
    computed = promotion(start, stop, 1.0)
    start, stop = (astype(v, computed) for v in broadcast_arrays(start, stop))
    t = np.linspace(0.0, 1.0, count, endpoint, dtype=computed)
    t = t.reshape((-1,) + (1,) * len(start.shape))
    y = moveaxis(start * (1.0 - t) + stop * t, 0, axis)
    if dtype is not None:
        y = astype(PUBLIC["floor"](y) if np.dtype(dtype).kind in "iu" else y, dtype)
    if not retstep:
        return y
    parts = count - 1 if endpoint else count
    return y, (stop - start) / parts if parts > 0 else np.nan


NUMPY[np.linspace] = _linspace


@function(np.logspace)
def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0,
             dtype: Any = None, axis: int = 0) -> Any:
    """Powers of ``base`` with evenly spaced exponents.

        y = base^((1 - t) start + t stop)

    >>> ad.logspace(0.0, 2.0, 3)
    array([  1.,  10., 100.])
    """
    y = power(base, _linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else astype(y, dtype)


@function(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None,
              axis: int = 0) -> Any:
    """Numbers with a constant ratio, from ``start`` to ``stop``, both of one sign and not 0.

        y = start (stop / start)^t

    >>> ad.geomspace(1.0, 100.0, 3)
    array([  1.,  10., 100.])
    """
    count = whole("geomspace", num, "num")
    start, stop = (v if v.dtype.kind in "fc" else astype(v, float)
                   for v in broadcast_arrays(start, stop))
    t = np.linspace(0.0, 1.0, count, endpoint).reshape((-1,) + (1,) * len(start.shape))
    y = moveaxis(start * power(stop / start, t), 0, axis)
    return y if dtype is None else astype(y, dtype)


@function(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The Vandermonde matrix: the powers of each element of a vector in a row.

        Y_ij = x_i^(N - 1 - j)

    >>> ad.vander([2.0, 3.0], 3)
    array([[4., 2., 1.],
           [9., 3., 1.]])
    """
    x = arrayed(x)
    if len(x.shape) != 1:
        raise ShapeError(f"vander: a vector is needed, not the shape {x.shape}")
    powers = np.arange(x.shape[0] if N is None else whole("vander", N, "N"))
    return power(x[:, None], powers if increasing else powers[::-1])


@function(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """A polynomial with the coefficients ``p``, highest first, by Horner's rule.

        y = p_0 x^(n - 1) + ... + p_(n - 1)

    >>> ad.polyval([1.0, 0.0, 2.0], 3.0)
    np.float64(11.0)
    """
    p, x = arrayed(p), arrayed(x)
    if not p.shape or not p.shape[0]:
        raise ShapeError("polyval: the coefficients are a vector (or stand in the first axis), not "
                         f"of shape {p.shape}")
    y = broadcast_to(p[0], broadcast_shape("polyval", p[0], x))
    for i in range(1, p.shape[0]):
        y = y * x + p[i]
    return y


# ---- refused

def _in_place(name: str, remedy: str) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise MutationError(f"np.{name} writes into its argument, which a derivative does not "
                            f"follow. Write {remedy}")
    NUMPY[getattr(np, name)] = refuse


_in_place("fill_diagonal", "x[np.diag_indices(n)] = v, or x = ad.setitem(x, np.diag_indices(n), v)")
_in_place("put_along_axis", "x = ad.scatter(x, axis, indices, values)")
_in_place("put", "x[np.unravel_index(i, x.shape)] = v, or x = ad.setitem(x, ..., v)")
_in_place("place", "x[mask] = v, or x = ad.setitem(x, mask, v)")
_in_place("putmask", "x = np.where(mask, v, x)")
_in_place("copyto", "x[...] = v, or x = np.where(mask, v, x)")


def _by_slices(name: str) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise UnsupportedError(f"np.{name} calls a function with one slice after the other, which "
                               "tracked values do not pass. Write ad.vmap(f)(np.moveaxis(x, axis, "
                               "-1)) for matrices, or np.stack([f(row) for row in x])")
    NUMPY[getattr(np, name)] = refuse


_by_slices("apply_along_axis")
_by_slices("apply_over_axes")
