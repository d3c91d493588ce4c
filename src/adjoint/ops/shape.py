"""Shapes: reshape, transpose, broadcast, join and pad. All are linear: the vjp is the transpose."""

from __future__ import annotations

import operator
from math import prod
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval, aval_of, float64
from adjoint.core.primitive import PUBLIC, Label
from adjoint.errors import AdjointError, ArgumentError, ShapeError

from . import loops
from .cases import Case, Cases, array_cases, draw
from .declare import (
    arrayed,
    check_axis,
    function,
    general,
    gives_arrays,
    linear,
    promoted,
    shape_of,
)

PLAIN = Label("{0}", "{0}", ("1",), "change of shape")


def sizes(shape: Any) -> tuple[int, ...]:
    """A shape, or several axes, as a tuple of Python integers."""
    several = isinstance(shape, (tuple, list)) or (isinstance(shape, np.ndarray) and shape.ndim)
    parts: Any = shape if several else (shape,)
    try:
        return tuple([operator.index(n) for n in parts])
    except TypeError as e:
        if isinstance(e, AdjointError):
            raise
        raise ArgumentError(f"a shape is made of integers, not {shape!r}") from None


def axes_once(name: str, axes: Any, ndim: int) -> list[int]:
    """Axes counted from 0, each named once."""
    found = [check_axis(name, a, ndim) for a in sizes(axes)]
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: {axes} names an axis twice")
    return found


# ---- reshape

def _batch_reshape(size: int, axes: Any, x: Any, shape: Any) -> Any:
    return _reshape(x, shape=(size, *shape)), 0


_reshape = linear(
    "reshape", np.reshape, lambda dy, x, shape: _reshape(dy, shape=x.shape),
    lambda x, shape: aval(shape, x.dtype), batch=_batch_reshape, lower=loops.reshaped, alias=True,
    label=Label("reshape({0}, {shape})", r"\mathrm{{reshape}}({0}, {shape})", ("1",),
                "change of shape", "((", (r"\mathrm{{reshape}}({dy}, \mathrm{{shape}}({0}))",)),
    cases=array_cases(
        {"shape": (6,)}, {"shape": (3, 2)}, {"shape": (1, 2, 1, 3)}, layout=False,
        extra=[Case((np.float64(1.5),), {"shape": (1,)}), Case((np.ones(1),), {"shape": ()}),
               Case((np.ones((0, 3)),), {"shape": (3, 0)}),
               Case((np.arange(6),), {"shape": (2, 3)}),
               Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),), {"shape": (6,)}),
               Case((np.arange(6.0)[::-1],), {"shape": (2, 3)}),
               Case((np.arange(6, dtype=np.float32),), {"shape": (2, 3)})]))


@function(np.reshape)
def reshape(x: Any, *shape: Any) -> Any:
    """``x`` under another shape, its elements in the same (C) order; one size may be -1.

    >>> ad.reshape([1.0, 2.0, 3.0, 4.0], (2, 2))
    array([[1., 2.],
           [3., 4.]])
    """
    new = sizes(shape[0] if len(shape) == 1 else shape)
    old = shape_of(x)
    if -1 in new:
        rest = -prod(new)
        new = tuple((prod(old) // rest if rest else 0) if n == -1 else n for n in new)
    if prod(new) != prod(old) or min(new, default=0) < 0:
        raise ShapeError(f"reshape: {old} has {prod(old)} elements and cannot become {new}")
    return _reshape(arrayed(x), shape=new)


# ---- the order of axes

def _batch_permute(size: int, batched: Any, x: Any, axes: Any) -> Any:
    return _permute(x, axes=(0, *(a + 1 for a in axes))), 0


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


_permute = linear(
    "transpose", np.transpose,
    lambda dy, x, axes: _permute(dy, axes=_inverse(axes)),
    lambda x, axes: aval(tuple(x.shape[a] for a in axes), x.dtype),
    label=Label("transpose({0}, {axes})", r"{0}^{{\top_{{{axes}}}}}", ("1",), "transpose", "(^",
                (r"{dy}^{{\top_{{{axes}}}^{{-1}}}}",)), batch=_batch_permute, alias=True,
    lower=loops.permuted,
    cases=array_cases(
        {"axes": (1, 0)}, layout=False,
        extra=[Case((np.float64(1.5),), {"axes": ()}), Case((np.ones((1,)),), {"axes": (0,)}),
               Case((np.ones((0, 3)),), {"axes": (1, 0)}), Case((np.arange(3),), {"axes": (0,)}),
               Case((np.arange(24.0).reshape(2, 3, 4),), {"axes": (2, 0, 1)}),
               Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),), {"axes": (1, 0)}),
               Case((np.arange(6.0).reshape(2, 3)[::-1],), {"axes": (1, 0)}),
               Case((np.ones((2, 3), np.float32),), {"axes": (1, 0)})]))


@function(np.transpose)
def transpose(x: Any, *axes: Any) -> Any:
    """``x`` with its axes in another order, reversed if none is given.

    >>> ad.transpose([[1.0, 2.0]])
    array([[1.],
           [2.]])
    """
    x = arrayed(x)
    ndim = len(x.shape)
    if not axes:
        return _permute(x, axes=tuple(range(ndim - 1, -1, -1)))
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = tuple(axes[0] or ())
    order = tuple(check_axis("transpose", a, ndim) for a in axes) or tuple(range(ndim))[::-1]
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"transpose: {axes} is not an order of {ndim} axes")
    return _permute(x, axes=order)


@function(np.swapaxes)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """``x`` with two axes exchanged.

    >>> ad.swapaxes([[1.0, 2.0]], 0, 1).shape
    (2, 1)
    """
    ndim = len(shape_of(x))
    order = list(range(ndim))
    i, j = check_axis("swapaxes", axis1, ndim), check_axis("swapaxes", axis2, ndim)
    order[i], order[j] = order[j], order[i]
    return transpose(x, order)


@function(np.moveaxis)
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """``x`` with some axes moved to other places, the rest in their order.

    >>> ad.moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    ndim = len(shape_of(x))
    start = axes_once("moveaxis", source, ndim)
    end = axes_once("moveaxis", destination, ndim)
    if len(start) != len(end):
        raise ArgumentError("moveaxis: source and destination name as many axes as each other")
    order = [a for a in range(ndim) if a not in start]
    for place, a in sorted(zip(end, start, strict=True)):
        order.insert(place, a)
    return transpose(x, order)


@function(np.ravel)
def ravel(x: Any) -> Any:
    """All elements in one axis, in C order.

    >>> ad.ravel([[1.0, 2.0], [3.0, 4.0]])
    array([1., 2., 3., 4.])
    """
    return reshape(x, (-1,))


@function(np.expand_dims)
def expand_dims(x: Any, axis: Any) -> Any:
    """``x`` with new axes of size 1 at the places ``axis`` of the result.

    >>> ad.expand_dims([1.0, 2.0], 1).shape
    (2, 1)
    """
    places, shape = sizes(axis), list(shape_of(x))
    for a in sorted(axes_once("expand_dims", places, len(shape) + len(places))):
        shape.insert(a, 1)
    return reshape(x, tuple(shape))


@function(np.squeeze)
def squeeze(x: Any, axis: Any = None) -> Any:
    """``x`` without its axes of size 1, or without those named.

    >>> ad.squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    shape = shape_of(x)
    gone = [a for a, n in enumerate(shape) if n == 1] if axis is None else [
        *axes_once("squeeze", axis, len(shape))]
    for a in gone:
        if shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} has size {shape[a]}, not 1")
    if not gone and isinstance(x, Box):
        return x  # itself, as in NumPy: a change in place reaches it
    return reshape(x, tuple(n for a, n in enumerate(shape) if a not in gone))


# ---- broadcast_to and its transpose sum_to

def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    y = np.empty(shape, x.dtype)
    if x.__class__ is float64:
        y.fill(x)
        return y
    try:
        y[...] = x
    except ValueError:
        raise ShapeError(f"broadcast_to: shape {np.shape(x)} does not broadcast to {shape}"
                         ) from None
    return y


def _sum_axes(old: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(old) - len(shape)
    inner = [i + extra for i, n in enumerate(shape) if n == 1 and old[i + extra] != 1]
    return (*range(extra), *inner)


def _gather(x: Any, shape: tuple[int, ...]) -> Any:
    if not shape:
        return np.add.reduce(x, None, x.dtype)
    axes = _sum_axes(x.shape, shape)
    y = np.add.reduce(x, axes, x.dtype) if axes else x
    return y.reshape(shape) if y.shape != shape else y


def _with_ones(size: int, x: Any, ndim: int) -> Any:
    """A batched ``x`` with axes of size 1 behind the batch axis, up to ``ndim`` besides it."""
    shape = shape_of(x)
    return _reshape(x, shape=(size, *(1,) * (ndim - len(shape) + 1), *shape[1:]))


def _batch_broadcast(size: int, axes: Any, x: Any, shape: Any) -> Any:
    return broadcast_to(_with_ones(size, x, len(shape)), (size, *shape)), 0


def _batch_sum_to(size: int, axes: Any, x: Any, shape: Any) -> Any:
    extra = len(shape_of(x)) - 1 - len(shape)
    y = _sum_to(x, shape=(size, *(1,) * extra, *shape))
    return _reshape(y, shape=(size, *shape)) if extra else y, 0


def _lower_sum_to(b: Any, x: Any, shape: Any) -> Any:
    return loops.reshaped(b, b.reduce("add", x, _sum_axes(x.shape, shape)), shape)


_BROADCASTS = [Case((np.array([1.0, 2.0]),), {"shape": (3, 2)}),
               Case((np.array([[1.0], [2.0]]),), {"shape": (2, 3)}),
               Case((np.float64(1.5),), {"shape": (2, 2)}), Case((np.ones(1),), {"shape": (0,)}),
               Case((np.ones((0, 1)),), {"shape": (0, 2)}),
               Case((np.arange(3),), {"shape": (2, 3)}),
               Case((np.ones((2, 3), order="F"),), {"shape": (4, 2, 3)}),
               Case((np.arange(3.0)[::-1],), {"shape": (2, 3)}),
               Case((np.ones(2, np.float32),), {"shape": (3, 2)})]
_broadcast = linear(
    "broadcast_to", _spread, lambda dy, x, shape: _sum_to(dy, shape=x.shape),
    lambda x, shape: aval(shape, x.dtype),
    label=Label("broadcast_to({0}, {shape})", r"\mathrm{{broadcast\_to}}({0}, {shape})", ("1",),
                "broadcasting", "((", (r"\mathrm{{sum\_to}}({dy}, \mathrm{{shape}}({0}))",)),
    batch=_batch_broadcast, lower=loops.broadcast,
    cases=Cases(lambda rng: _BROADCASTS))
_sum_to = linear(
    "sum_to", _gather, lambda dy, x, shape: _broadcast(dy, shape=x.shape),
    lambda x, shape: aval(shape, x.dtype), batch=_batch_sum_to, lower=_lower_sum_to,
    label=Label("sum_to({0}, {shape})", r"\mathrm{{sum\_to}}({0}, {shape})", ("1",),
                "sum over branches", "((",
                (r"\mathrm{{broadcast\_to}}({dy}, \mathrm{{shape}}({0}))",)),
    cases=array_cases(
        {"shape": (3,)}, {"shape": (2, 1)}, {"shape": (1, 3)}, {"shape": ()}, layout=False,
        extra=[Case((np.float64(1.5),), {"shape": ()}), Case((np.ones(1),), {"shape": ()}),
               Case((np.ones((0, 3)),), {"shape": (3,)}),
               Case((np.ones((2, 3), int),), {"shape": (3,)}),
               Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),), {"shape": (2, 1)}),
               Case((np.arange(6.0).reshape(2, 3)[::-1],), {"shape": (3,)}),
               Case((np.ones((2, 3), np.float32),), {"shape": (1, 3)})]))


@function(np.broadcast_to, kind=gives_arrays)
def broadcast_to(x: Any, shape: Any) -> Any:
    """``x`` repeated to a larger shape by NumPy's rule; its vjp sums over what was repeated.

    >>> ad.broadcast_to([1.0, 2.0], (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    return _broadcast(arrayed(x), shape=sizes(shape))


@function()
def unbroadcast(x: Any, shape: Any, to_keep: int = 0) -> Any:
    """Undo broadcasting: ``x`` summed over the axes that broadcasting had added or repeated.

    The last ``to_keep`` axes are never summed (2 for a batch of matrices). This is what the
    backward function of a broadcast does to a gradient; it is recorded only if ``x`` is.

    >>> ad.unbroadcast([[1.0, 2.0], [3.0, 4.0]], (2,))
    array([4., 6.])
    """
    x, shape = arrayed(x), sizes(shape)
    keep = x.shape[len(x.shape) - to_keep:]
    target = (*shape[:len(shape) - to_keep], *keep)
    try:
        fits = np.broadcast_shapes(x.shape, target) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"unbroadcast: {x.shape} is not what broadcasting makes of {shape}")
    return _sum_to(x, shape=target)


# ---- joining

def _joined(*xs: Any, axis: int) -> Any:
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return aval(tuple(shape), promoted(*xs))


def _pieces(dy: Any, xs: Any, axis: int) -> Any:
    start = 0
    for x in xs:
        stop = start + x.shape[axis]
        yield dy[(slice(None),) * axis + (slice(start, stop),)]
        start = stop


def _concatenate_vjp(dy: Any, y: Any, *xs_needs: Any, axis: int) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    parts = _pieces(dy, xs, axis)
    return tuple([p if need else None for p, need in zip(parts, needs, strict=True)])


def _concatenate_jvp(dxs: Any, y: Any, *xs: Any, axis: int) -> Any:
    dtype = aval_of(y).dtype
    return _concatenate(*[np.zeros(shape_of(x), dtype) if dx is None else dx
                          for dx, x in zip(dxs, xs, strict=True)], axis=axis)


def _batch_concatenate(size: int, axes: Any, *xs: Any, axis: int) -> Any:
    wide = [x if a is not None else broadcast_to(x, (size, *shape_of(x)))
            for x, a in zip(xs, axes, strict=True)]
    return _concatenate(*wide, axis=axis + 1), 0


def _lower_concatenate(b: Any, *xs: Any, axis: int) -> Any:
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    dtype = promoted(*xs)
    fill = np.negative(dtype.type(0)) if dtype.kind in "fc" else dtype.type(0)
    y, start = None, 0  # x + (-0.0) is x, also where x is -0.0
    for x in xs:
        index = tuple((start if d == axis else 0, ((d, 1),)) for d in range(len(shape)))
        part = b.pad(loops.cast(b, x, dtype), index, tuple(shape), fill)
        y = part if y is None else b.elementwise("add", y, part)
        start += x.shape[axis]
    return y


def _concatenate_cases(rng: np.random.Generator) -> Any:
    for a, b, axis in (((2, 3), (4, 3), 0), ((2, 3), (2, 1), 1), ((1,), (3,), 0),
                       ((0, 2), (1, 2), 0)):
        yield Case((draw(rng, a), draw(rng, b)), {"axis": axis})
    x = draw(rng, (3, 2))
    yield Case((np.asfortranarray(x), x[::-1], x), {"axis": 1})
    yield Case((x.astype(np.float32), x.astype(np.float32)), {"axis": 0})
    yield Case((x, np.arange(6).reshape(3, 2)), {"axis": 0})


_concatenate = general(
    "concatenate", lambda *xs, axis: np.concatenate(xs, axis=axis), aval=_joined,
    vjp=_concatenate_vjp, jvp=_concatenate_jvp, batch=_batch_concatenate, lower=_lower_concatenate,
    label=Label("concatenate({0}, ..., axis={axis})",
                r"\mathrm{{concatenate}}_{{\mathrm{{axis}}={axis}}}({0}, \dots)", ("1",), "join",
                "((", (r"\mathrm{{own\ part}}({dy})",)),
    cases=Cases(_concatenate_cases, {
        "0-d": "a 0-d array has no axis to join along", "broadcast left": "shapes do not broadcast",
        "broadcast right": "shapes do not broadcast"}))


@function(np.concatenate)
def concatenate(arrays: Any, axis: int | None = 0, *, dim: int | None = None) -> Any:
    """The arrays one after another along an axis that exists; flattened first if ``axis`` is None.

    >>> ad.concatenate([[1.0, 2.0], [3.0]])
    array([1., 2., 3.])
    """
    axis = axis if dim is None else dim
    xs = [arrayed(x) for x in arrays]
    if not xs:
        raise ArgumentError("concatenate: at least one array is needed")
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    first = shape_of(xs[0])
    if not first:
        raise ShapeError("concatenate: 0-d arrays have no axis to join along; use stack")
    axis = check_axis("concatenate", axis, len(first))
    rest = {(len(x.shape), *x.shape[:axis], *x.shape[axis + 1:]) for x in xs}
    if len(rest) > 1:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ShapeError(f"concatenate: the shapes {shapes} differ elsewhere than along axis "
                         f"{axis}")
    return _concatenate(*xs, axis=axis)


@function(np.stack)
def stack(arrays: Any, axis: int = 0, *, dim: int | None = None) -> Any:
    """Arrays of one shape, side by side along a new axis.

    >>> ad.stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    array([[1., 3.],
           [2., 4.]])
    """
    axis = axis if dim is None else dim
    xs = list(arrays)
    if not xs:
        raise ArgumentError("stack: at least one array is needed")
    if len({shape_of(x) for x in xs}) > 1:
        shapes = ", ".join(str(shape_of(x)) for x in xs)
        raise ShapeError(f"stack: the shapes {shapes} differ; all must be equal")
    axis = check_axis("stack", axis, len(shape_of(xs[0])) + 1)
    return concatenate([expand_dims(x, axis) for x in xs], axis=axis)


# ---- pad

def _shifted(x: Any, width: Any) -> tuple[loops.Index, tuple[int, ...]]:
    index = tuple((before, ((d, 1),)) for d, (before, _) in enumerate(width))
    return index, tuple(n + a + z for n, (a, z) in zip(x.shape, width, strict=True))


def _middle(width: Any, shape: Any) -> tuple[slice, ...]:
    return tuple(slice(before, n - after) for n, (before, after) in zip(shape, width, strict=True))


def _pad_impl(x: Any, width: Any) -> Any:
    return np.pad(x, np.array(width, int).reshape(-1, 2)) if width else np.asarray(x)[()]


_pad = linear(
    "pad", _pad_impl,
    lambda dy, x, width: dy[_middle(width, shape_of(dy))],
    lambda x, width: aval(_shifted(x, width)[1], x.dtype),
    label=Label("pad({0}, {width})", r"\mathrm{{pad}}({0}, {width})", ("1",), "padding", "((",
                (r"\mathrm{{middle}}({dy}, {width})",)),
    batch=lambda size, axes, x, width: (_pad(x, width=((0, 0), *width)), 0),
    lower=lambda b, x, width: b.pad(x, *_shifted(x, width), x.dtype.type(0)),
    cases=array_cases(
        {"width": ((1, 2), (0, 1))}, layout=False,
        extra=[Case((np.float64(1.0),), {"width": ()}), Case((np.ones(1),), {"width": ((1, 1),)}),
               Case((np.ones((0, 3)),), {"width": ((1, 0), (0, 0))}),
               Case((np.arange(3),), {"width": ((2, 1),)}),
               Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),),
                    {"width": ((0, 1), (1, 0))}),
               Case((np.arange(3.0)[::-1],), {"width": ((1, 0),)}),
               Case((np.ones(2, np.float32),), {"width": ((0, 2),)})]))


@function(np.pad)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """``x`` with more elements around it, as `numpy.pad`.

    Modes: "constant", and "edge", "reflect", "symmetric", "wrap", which take elements of ``x``
    itself. Raises ShapeError for a width or constants of another form than NumPy's.

    >>> ad.pad([1.0, 2.0], 1)
    array([0., 1., 2., 0.])
    """
    x = arrayed(x)
    shape = shape_of(x)
    width = _width(pad_width, len(shape))
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        for axis, (n, w) in enumerate(zip(shape, width, strict=True)):
            if w != (0, 0):
                x = PUBLIC["getitem"](
                    x, ((slice(None),) * axis + (np.pad(np.arange(n), w, mode=mode),)))
        return x
    if mode != "constant":
        raise ArgumentError(f"pad: no mode {mode!r}; there are constant, edge, reflect, symmetric, "
                            "wrap")
    y = _pad(x, width=width)
    if isinstance(constant_values, (int, float)) and constant_values == 0:
        return y
    inside = _pad_impl(np.ones(shape, bool), width)
    return PUBLIC["where"](inside, y, _border(shape, width, constant_values, x.dtype))


def _width(pad_width: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """``pad_width`` as one pair for each axis."""
    given = np.asarray(pad_width)
    if given.dtype.kind not in "iu":
        raise ArgumentError(f"pad: pad_width is made of integers, not {pad_width!r}")
    try:
        pairs = np.broadcast_to(given, (ndim, 2))
    except ValueError:
        raise ShapeError(f"pad: pad_width {pad_width!r} is an integer, a pair (before, after), or "
                         f"one pair for each of the {ndim} axes") from None
    if given.size and given.min() < 0:
        raise ShapeError(f"pad: pad_width {pad_width!r} is negative; x[1:] takes elements away")
    return tuple((int(before), int(after)) for before, after in pairs)


def _border(shape: tuple[int, ...], width: Any, constants: Any, dtype: Any) -> Any:
    """What stands around the array: a (possibly tracked) number, or pairs of numbers by axis."""
    if isinstance(constants, Box) and constants.shape == ():
        return PUBLIC["astype"](constants, dtype)
    pairs: Any = constants
    try:
        return np.pad(np.zeros(shape, dtype), width, constant_values=pairs)
    except ValueError:
        raise ShapeError(f"pad: constant_values {constants!r} is a number, a pair (before, after), "
                         f"or one pair for each of the {len(shape)} axes") from None


@function(np.flip)
def flip(x: Any, axis: Any = None) -> Any:
    """``x`` with the order reversed along some axes, all if none is named.

    >>> ad.flip([1.0, 2.0, 3.0])
    array([3., 2., 1.])
    """
    x = arrayed(x)
    ndim = len(shape_of(x))
    turned = range(ndim) if axis is None else axes_once("flip", axis, ndim)
    return x[tuple(slice(None, None, -1) if d in turned else slice(None) for d in range(ndim))]
