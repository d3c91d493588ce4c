"""Indexing: basic and advanced reads, the scatter that transposes them, and the functional write.

A key is split into a template, which is a parameter (slices, integers, new axes, places of index arrays), and the
index arrays, which are arguments: so that they can be batched and traced. A boolean mask becomes index arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import NO_PARAMS, aval, ndarray
from adjoint.core.primitive import REGISTRY, Label
from adjoint.errors import EscapeError, IndexingError, ShapeError

from . import loops
from .cases import Case, Cases, draw
from .declare import function, general, linear, promoted, shape_of
from .shape import broadcast_to, moveaxis, reshape, unbroadcast

NOT_BROADCAST = {"broadcast left": "indices select, shapes do not broadcast",
                 "broadcast right": "indices select, shapes do not broadcast"}


class Slot(NamedTuple):
    """The place of an index array in a key's template."""

    number: int


# ---- keys

def parse(key: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """The template of a key and its index arrays."""
    items = key if isinstance(key, tuple) else (key,)
    template: list[Any] = []
    arrays: list[Any] = []
    for item in items:
        if item is None or item is Ellipsis or isinstance(item, slice):
            template.append(_plain_slice(item) if isinstance(item, slice) else item)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, (bool, np.bool_)):
            template.append(int(item))
        else:
            for array in _indices(item):
                template.append(Slot(len(arrays)))
                arrays.append(array)
    return tuple(template), arrays


def _plain_slice(item: slice) -> slice:
    """A slice of Python integers; a tracked bound is an error that names the place."""
    bounds = [None if v is None else v.__index__() for v in (item.start, item.stop, item.step)]
    return slice(*bounds)


def _indices(item: Any) -> list[Any]:
    """The index arrays of one part of a key: one of integers, or those of a mask."""
    if isinstance(item, Box) and item.dtype.kind != "b":
        if item.dtype.kind not in "iu":
            raise IndexingError(f"an index must be an integer or a boolean, not {item.dtype}; "
                                "write x[i.astype(int)]")
        return [item]
    if isinstance(item, Box):
        item = item.concrete()
    array = np.asarray(item)
    if array.size == 0 and not isinstance(item, ndarray):
        array = array.astype(np.intp)
    if array.dtype.kind == "b":
        return list(np.nonzero(array)) if array.ndim else [np.zeros(int(array), np.intp)]
    if array.dtype.kind not in "iu":
        raise IndexingError(f"an index is an integer, a slice, None, ... or an array of integers or "
                            f"booleans, not {item!r}")
    return [array.copy()]


def filled(template: tuple[Any, ...], arrays: Any) -> Any:
    """The NumPy key of a template and its index arrays."""
    return tuple([arrays[k.number] if k.__class__ is Slot else k for k in template])


def shape_under(name: str, shape: tuple[int, ...], template: Any, arrays: Any) -> tuple[int, ...]:
    """The shape that a key selects, by asking NumPy; an index out of range is an error."""
    stand_in = np.broadcast_to(np.False_, shape)
    try:
        return stand_in[filled(template, [np.zeros(a.shape, np.intp) for a in arrays])].shape
    except IndexError as e:
        raise IndexingError(f"{name}: {e}; the shape is {shape}") from None


# ---- getitem and its transpose

def _read(x: Any, *indices: Any, key: Any) -> Any:
    try:
        return x[filled(key, indices) if indices else key]
    except IndexError as e:
        raise IndexingError(f"{e}; the shape is {np.shape(x)}") from None


def _scatter_impl(dy: Any, *indices: Any, key: Any, shape: Any) -> Any:
    y = np.zeros(shape, np.asarray(dy).dtype)
    if indices:
        np.add.at(y, filled(key, indices), dy)
    else:
        y[key] = dy
    return y


def _nothing(indices: Any) -> tuple[None, ...]:
    return (None,) * len(indices)


def _getitem_vjp(dy: Any, y: Any, x: Any, *indices_needs: Any, key: Any) -> tuple[Any, ...]:
    *indices, _ = indices_needs
    return (_scatter(dy, *indices, key=key, shape=x.shape), *_nothing(indices))


def _getitem_jvp(dxs: Any, y: Any, x: Any, *indices: Any, key: Any) -> Any:
    return None if dxs[0] is None else _getitem(dxs[0], *indices, key=key)


def _scatter_vjp(dy: Any, y: Any, x: Any, *indices_needs: Any, key: Any, shape: Any) -> Any:
    *indices, _ = indices_needs
    return (_getitem(dy, *indices, key=key), *_nothing(indices))


def _scatter_jvp(dxs: Any, y: Any, x: Any, *indices: Any, key: Any, shape: Any) -> Any:
    return None if dxs[0] is None else _scatter(dxs[0], *indices, key=key, shape=shape)


def _batch_key(size: int, axes: Any, shape: Any, indices: Any, key: Any) -> tuple[Any, Any]:
    """The key and index arrays with a batch axis: all advanced parts together, so the batch index is one of them."""
    full = _spelled_out(key, len(shape))
    if not any(a is not None for a in axes[1:]) and not indices:
        return (slice(None), *full), indices
    rank = max([len(shape_of(i)) - (a is not None) for i, a in zip(indices, axes[1:], strict=True)])
    wide = [reshape(i, (size, *(1,) * (rank - len(shape_of(i)) + 1), *shape_of(i)[1:]))
            if a is not None else i for i, a in zip(indices, axes[1:], strict=True)]
    batch = np.arange(size).reshape(size, *(1,) * rank)
    shifted = tuple(Slot(k.number + 1) if isinstance(k, Slot) else k for k in full)
    return (Slot(0), *shifted), [batch, *wide]


def _spelled_out(key: Any, ndim: int) -> tuple[Any, ...]:
    """A template without Ellipsis."""
    used = sum(k is not None and k is not Ellipsis for k in key)
    rest = (slice(None),) * (ndim - used)
    where = next((n for n, k in enumerate(key) if k is Ellipsis), len(key))
    return (*key[:where], *rest, *key[where + 1:])


def _advanced_place(key: Any, arrays: Any, ndim: int) -> int:
    """Where NumPy puts the axes of the index arrays in the result."""
    full = _spelled_out(key, ndim)
    slots = [n for n, k in enumerate(full) if isinstance(k, (Slot, int))]
    together = slots[-1] - slots[0] + 1 == len(slots)
    return sum(k is None or isinstance(k, slice) for k in full[:slots[0]]) if together else 0


def _batch_getitem(size: int, axes: Any, x: Any, *indices: Any, key: Any) -> Any:
    if axes[0] is None:
        x = broadcast_to(x, (size, *shape_of(x)))
    shape = shape_of(x)[1:]
    template, wide = _batch_key(size, axes, shape, indices, key)
    y = _getitem(x, *wide, key=template)
    if not indices:
        return y, 0
    rank = len(np.broadcast_shapes(*[shape_of(i) for i in wide]))
    place = _advanced_place(key, indices, len(shape))
    lead = _advanced_place(template, wide, len(shape) + 1)
    moved = moveaxis(y, tuple(range(lead, lead + rank)), (0, *range(place + 1, place + rank)))
    return moved, 0


def _lower_getitem(b: loops.Builder, x: Any, *indices: Any, key: Any) -> Any:
    full = _spelled_out(key, len(x.shape))
    return _lower_view(b, x, full) if not indices else _lower_pick(b, x, indices, full)


def _basic_index(shape: Any, full: Any) -> tuple[loops.Index, tuple[int, ...]]:
    """The index expression of a basic key, and the shape it selects."""
    index: list[Any] = []
    out: list[int] = []
    for k in full:
        if k is None:
            out.append(1)
            continue
        n = shape[len(index)]
        if isinstance(k, slice):
            r = range(n)[k]
            index.append((r.start, ((len(out), r.step),)))
            out.append(len(r))
        else:
            index.append((k % n, ()))
    return tuple(index), tuple(out)


def _lower_view(b: loops.Builder, x: Any, full: Any) -> Any:
    return b.view(x, *_basic_index(x.shape, full))


def _grid(b: loops.Builder, shape: Any, indices: Any, full: Any, out: Any, place: int) -> list[Any]:
    """For each axis of x the index read there, as an array of the result's shape."""
    common = np.broadcast_shapes(*[i.shape for i in indices])
    rank, grid, axis, d = len(common), [], 0, 0
    for k in full:
        if d == place and any(isinstance(j, (Slot, int)) for j in full[:1]):
            pass
        if k is None:
            axis += 1
            continue
        n = shape[d]
        if isinstance(k, Slot):
            i = loops.broadcast(b, indices[k.number], common)
            zero, size = b.const(np.intp(0)), b.const(np.intp(n))
            wrapped = b.select(b.elementwise("less", i, loops.broadcast(b, zero, common)),
                               b.elementwise("add", i, loops.broadcast(b, size, common)), i)
            where = tuple((0, ((place + j, 1),)) for j in range(rank))
            grid.append(b.view(wrapped, tuple((0, ((p[1][0][0], 1),)) if common[j] != 1 else (0, ())
                                              for j, p in enumerate(where)), out))
        elif isinstance(k, slice):
            r = range(n)[k]
            position = axis + (rank if axis >= place else 0)
            line = b.const(np.arange(r.start, r.start + r.step * len(r), r.step, dtype=np.intp))
            grid.append(b.view(line, ((0, ((position, 1),)),), out))
            axis += 1
        else:
            grid.append(loops.broadcast(b, b.const(np.intp(k % n)), out))
        d += 1
    return grid


def _lower_pick(b: loops.Builder, x: Any, indices: Any, full: Any) -> Any:
    out = shape_under("getitem", x.shape, full, indices)
    return b.pick(x, _grid(b, x.shape, indices, full, out, _advanced_place(full, indices, 0)))


def _lower_scatter(b: loops.Builder, dy: Any, *indices: Any, key: Any, shape: Any) -> Any:
    full = _spelled_out(key, len(shape))
    if not indices:
        index, out = _basic_index(shape, full)
        return b.pad(loops.reshaped(b, dy, out), index, shape, dy.dtype.type(0))
    out = shape_under("scatter", shape, full, indices)
    grid = _grid(b, shape, indices, full, out, _advanced_place(full, indices, 0))
    return b.scatter_add(loops.broadcast(b, dy, out), grid, shape)


KEYS: tuple[Any, ...] = (
    0, -1, slice(1, None), slice(None, None, -1), slice(None, None, 2), (slice(None), 1), (..., 0),
    (None, slice(0, 2)), (0, 1), (slice(2, 0, -1), None, ..., -1), [0, 0, 1], ([0, 1], [1, 1]),
    (slice(None), [2, 0]), (np.array([[0], [1]]), [0, 2]), np.array([True, False]), ([0, 1, 1], 0))


def _key_cases(rng: np.random.Generator) -> Any:
    for key in KEYS:
        template, indices = parse(key)
        yield Case((draw(rng, (2, 3)), *indices), {"key": template})
    for x, key in ((np.float64(1.5), ...), (np.ones(1), 0), (np.ones((0, 3)), (slice(None), 1)),
                   (np.asfortranarray(draw(rng, (2, 3))), 1), (draw(rng, (4,))[::-1], slice(1, 3)),
                   (np.arange(4), slice(1, 3)), (np.ones(3, np.float32), slice(0, 2)),
                   (draw(rng, (2, 3, 4)), ([0, 1], slice(None), [1, 2]))):
        template, indices = parse(key)
        yield Case((x, *indices), {"key": template})


def _scatter_cases(rng: np.random.Generator) -> Any:
    for case in _key_cases(rng):
        x, *indices = case.args
        y = _read(x, *indices, key=case.params["key"])
        yield Case((np.asarray(y), *indices), {**case.params, "shape": np.shape(x)})


_getitem = general(
    "getitem", _read, vjp=_getitem_vjp, jvp=_getitem_jvp, batch=_batch_getitem, alias=True,
    aval=lambda x, *indices, key: aval(shape_under("getitem", x.shape, key, indices), x.dtype),
    lower=_lower_getitem, keeps=frozenset(range(1, 33)),
    label=Label("{0}[{key}]", "{0}_{{{key}}}", ("1",), "selection"), cases=Cases(_key_cases, NOT_BROADCAST))
_scatter = general(
    "scatter", _scatter_impl, vjp=_scatter_vjp, jvp=_scatter_jvp, lower=_lower_scatter,
    aval=lambda dy, *indices, key, shape: aval(shape, dy.dtype), keeps=frozenset(range(1, 33)),
    label=Label("scatter({0})", r"\mathrm{{scatter}}({0})", ("1",), "selection"),
    cases=Cases(_scatter_cases, {**NOT_BROADCAST, "fortran": "a cotangent is never in Fortran order",
                                 "negative stride": "nor with negative strides"}))


@function()
def getitem(x: Any, key: Any) -> Any:
    """``x[key]`` by NumPy's rules: slices, integers, None, ..., integer and boolean arrays; contributions add.

    >>> ad.getitem([1.0, 2.0, 3.0], slice(1, None))
    array([2., 3.])
    """
    if not isinstance(x, Box):
        x = np.asarray(x)
    template, indices = parse(key)
    return bind(REGISTRY["getitem"], (x, *indices), {"key": template})


# ---- the functional write

def _write_impl(x: Any, v: Any, *indices: Any, key: Any) -> Any:
    y = np.array(x, dtype=np.result_type(x, v) if np.asarray(x).dtype.kind not in "fc" else None)
    y[filled(key, indices)] = v
    return y


def _winners(indices: Any, key: Any, shape: Any) -> Any:
    """Which elements of v are still there after the write: of several written to one place the last."""
    selected = shape_under("setitem", shape, key, indices)
    numbers = np.arange(int(np.prod(selected))).reshape(selected)
    marks = np.full(shape, -1)
    marks[filled(key, [np.asarray(i) for i in indices])] = numbers
    return marks[filled(key, [np.asarray(i) for i in indices])] == numbers


def _write_vjp(dy: Any, y: Any, x: Any, v: Any, *indices_needs: Any, key: Any) -> tuple[Any, ...]:
    *indices, needs = indices_needs
    dx = _write(dy, 0.0, *indices, key=key) if needs[0] else None
    dv = None
    if needs[1]:
        part = _getitem(dy, *indices, key=key)
        part = part * _winners(indices, key, x.shape) if indices else part
        dv = unbroadcast(part, v.shape)
    return (dx, dv, *_nothing(indices))


def _write_jvp(dxs: Any, y: Any, x: Any, v: Any, *indices: Any, key: Any) -> Any:
    dx, dv = dxs[:2]
    if dx is None and dv is None:
        return None
    zero = np.zeros(shape_of(y))
    return _write(zero if dx is None else dx, 0.0 if dv is None else dv, *indices, key=key)


def _batch_write(size: int, axes: Any, x: Any, v: Any, *indices: Any, key: Any) -> Any:
    if axes[0] is None:
        x = broadcast_to(x, (size, *shape_of(x)))
    shape = shape_of(x)[1:]
    template, wide = _batch_key(size, (0, *axes[2:]), shape, indices, key)
    selected = shape_under("setitem", shape, key, indices)
    v = broadcast_to(v, (size, *selected)) if axes[1] is None else broadcast_to(
        reshape(v, (size, *(1,) * (len(selected) + 1 - len(shape_of(v))), *shape_of(v)[1:])), (size, *selected))
    if indices:
        rank = len(np.broadcast_shapes(*[shape_of(i) for i in wide]))
        place, lead = _advanced_place(key, indices, len(shape)), _advanced_place(template, wide, len(shape) + 1)
        v = moveaxis(v, (0, *range(place + 1, place + rank)), tuple(range(lead, lead + rank)))
    return _write(x, v, *wide, key=template), 0


def _lower_write(b: loops.Builder, x: Any, v: Any, *indices: Any, key: Any) -> Any:
    return b.call(lambda *xs: _write_impl(*xs, key=key), (x, v, *indices), aval(x.shape, x.dtype))


def _write_cases(rng: np.random.Generator) -> Any:
    for case in _key_cases(rng):
        x, *indices = case.args
        y = np.asarray(_read(x, *indices, key=case.params["key"]), dtype=float)
        yield Case((x if np.asarray(x).dtype.kind == "f" else x.astype(float), y * 0.5 + 1.0, *indices), case.params)
    yield Case((draw(rng, (2, 3)), np.float64(2.0)), {"key": (0,)})
    yield Case((draw(rng, (4,)), np.arange(2)), {"key": (slice(0, 2),)})


_write = general(
    "setitem", _write_impl, vjp=_write_vjp, jvp=_write_jvp, batch=_batch_write, lower=_lower_write,
    aval=lambda x, v, *indices, key: aval(x.shape, x.dtype if x.inexact else promoted(x, v)),
    keeps=frozenset(range(2, 34)), label=Label("set({0}, {1})", r"{0}[\dots] := {1}", ("1", "1"), "selection"),
    cases=Cases(_write_cases, NOT_BROADCAST))


@function()
def setitem(x: Any, key: Any, value: Any) -> Any:
    """A copy of ``x`` in which ``x[key]`` is ``value``: a write without side effect.

    The gradient of what is overwritten is 0; of several values written to one place the last gets the gradient.

    >>> ad.setitem([1.0, 2.0, 3.0], 0, 9.0)
    array([9., 2., 3.])
    """
    x = x if isinstance(x, Box) else np.asarray(x)
    template, indices = parse(key)
    selected = shape_under("setitem", shape_of(x), template, indices)
    try:
        np.broadcast_to(np.False_, shape_of(value)) if shape_of(value) == selected else np.broadcast_shapes(
            shape_of(value), selected)
    except ValueError:
        raise ShapeError(f"x[...] = v: a value of shape {shape_of(value)} does not fit the {selected} that the key "
                         "selects") from None
    return bind(REGISTRY["setitem"], (x, value, *indices), {"key": template})
