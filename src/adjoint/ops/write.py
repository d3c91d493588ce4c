"""Writing by key, as a function: a copy of an array in which some elements are others."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import aval, aval_of, ndarray
from adjoint.core.primitive import REGISTRY, Label
from adjoint.errors import DTypeError, IndexingError, ShapeError

from . import loops
from .cases import Case, Cases, draw
from .declare import function, general, promoted, shape_of
from .index import (
    NOT_BROADCAST,
    Shape,
    Template,
    basic_index,
    batch_key,
    filled,
    key_cases,
    parse,
    selected_shape,
    spelled_out,
)
from .shape import broadcast_to, reshape, unbroadcast


def forward(a: Any) -> Any:
    """An array in the order of its memory."""
    return a if a.__class__ is not ndarray or a.flags.c_contiguous else a.copy()


def _write_impl(x: Any, v: Any, *indices: Any, key: Template) -> Any:
    x = np.asarray(x)
    y = np.array(x, dtype=x.dtype if x.dtype.kind in "fc" else np.result_type(x, v))
    if indices:  # NumPy goes backward where no operand's strides are positive: the first would stay
        v, indices = forward(v), tuple(map(forward, indices))
    try:
        y[filled(key, indices)] = v
    except IndexError as e:
        raise IndexingError(f"x[...] = v: {e}; the shape is {x.shape}") from None
    return y


def _known(x: Any, v: Any, *indices: Any, key: Template) -> Any:
    return aval(x.shape, x.dtype if x.inexact else promoted(x, v))


def _winners(indices: Any, key: Template, shape: Shape, selected: Shape) -> Any:
    """Which values are still there after the write: of several to one place the last."""
    numbers = np.arange(prod(selected)).reshape(selected)
    marks = _write(np.full(shape, -1), numbers, *indices, key=key)
    return bind(REGISTRY["getitem"], (marks, *indices), {"key": key}) == numbers


def _write_vjp(dy: Any, y: Any, x: Any, v: Any, *indices_needs: Any, key: Template) -> Any:
    *indices, needs = indices_needs
    dx = _write(dy, 0.0, *indices, key=key) if needs[0] else None
    dv = None
    if needs[1]:
        part = bind(REGISTRY["getitem"], (dy, *indices), {"key": key})
        if indices:
            part = part * _winners(indices, key, x.shape, shape_of(part))
        dv = unbroadcast(part, v.shape)
    return (dx, dv, *(None,) * len(indices))


def _write_jvp(dxs: Any, y: Any, x: Any, v: Any, *indices: Any, key: Template) -> Any:
    dx, dv = dxs[:2]
    if dx is None and dv is None:
        return None
    dx = np.zeros(shape_of(y), aval_of(y).dtype) if dx is None else dx
    return _write(dx, 0.0 if dv is None else dv, *indices, key=key)


def _batch_write(size: int, axes: Any, x: Any, v: Any, *indices: Any, key: Template) -> Any:
    if axes[0] is None:
        x = broadcast_to(x, (size, *shape_of(x)))
    shape = shape_of(x)[1:]
    inner = [shape_of(i)[a is not None:] for i, a in zip(indices, axes[2:], strict=True)]
    selected = selected_shape("setitem", shape, key, inner)
    if axes[1] is not None:
        own = shape_of(v)
        v = reshape(v, (size, *(1,) * (len(selected) + 1 - len(own)), *own[1:]))
    batch = batch_key(size, axes[2:], len(shape), indices, key)
    v = batch.inward(broadcast_to(v, (size, *selected)))
    return _write(x, v, *batch.indices, key=batch.key), 0


def _lower_write(b: loops.Builder, x: Any, v: Any, *indices: Any, key: Template) -> Any:
    """Without index arrays padding and a choice; which of several writes is last needs a call."""
    known = _known(aval(x.shape, x.dtype), v, key=key)
    if indices:
        return b.call(lambda *xs: _write_impl(*xs, key=key), (x, v, *indices), known)
    index, selected = basic_index(x.shape, spelled_out(key, len(x.shape)))
    v = loops.broadcast(b, loops.cast(b, v, known.dtype), selected)
    true = loops.broadcast(b, b.const(np.True_), selected)
    return b.select(b.pad(true, index, x.shape, np.False_),
                    b.pad(v, index, x.shape, known.dtype.type(0)), loops.cast(b, x, known.dtype))


def _write_cases(rng: np.random.Generator) -> Any:
    for case in key_cases(rng):
        x, *indices = case.args
        y = np.asarray(x)[filled(case.params["key"], indices)]
        kind = np.float32 if np.asarray(x).dtype == np.float32 else float
        v = np.asarray(y * 0.5 + 1.0, kind)
        yield Case((np.asarray(x, kind)[()], v, *indices), case.params)
    yield Case((draw(rng, (2, 3)), np.float64(2.0)), {"key": (0,)})
    yield Case((draw(rng, (2, 3)), draw(rng, (3,)), np.array([0, 0])), {"key": parse([0], (2,))[0]})
    yield Case((draw(rng, (4,)), np.arange(2)), {"key": (slice(0, 2),)})
    yield Case((np.arange(4), draw(rng, (2,))), {"key": (slice(0, 2),)})


_write = general(
    "setitem", _write_impl, vjp=_write_vjp, jvp=_write_jvp, batch=_batch_write, lower=_lower_write,
    aval=_known, keeps=frozenset(range(2, 34)), cases=Cases(_write_cases, NOT_BROADCAST),
    label=Label("set({0}, [{key}], {1})", r"\mathrm{{set}}({0}, [{key}], {1})",
                (r"[\mathrm{{kept}}]", r"[\mathrm{{written}}]"), "selection", "((",
                (r"\mathrm{{set}}({dy}, [{key}], 0)", "{dy}_{{{key}}}")))


@function()
def setitem(x: Any, key: Any, value: Any) -> Any:
    """A copy of ``x`` in which ``x[key]`` is ``value``: a write without side effect.

    The gradient of what is overwritten is 0; of several values written to one place the last gets
    the gradient. Raises ShapeError if the value does not broadcast to what the key selects.

    >>> ad.setitem([1.0, 2.0, 3.0], 0, 9.0)
    array([9., 2., 3.])
    """
    x = x if isinstance(x, Box) else np.asarray(x)
    value = value if isinstance(value, (Box, int, float)) else np.asarray(value)[()]
    if aval_of(value).dtype.kind == "c" and x.dtype.kind != "c":
        raise DTypeError(f"x[...] = v: a complex value would lose its imaginary part in {x.dtype}; "
                         "write v.real, or x = x.astype(complex) first")
    template, indices = parse(key, shape_of(x))
    selected = selected_shape("setitem", shape_of(x), template, [shape_of(i) for i in indices])
    shape = shape_of(value)
    spare = max(len(shape) - len(selected), 0)
    try:
        fits = set(shape[:spare]) <= {1} and np.broadcast_shapes(
            shape[spare:], selected) == selected
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"x[...] = v: a value of shape {shape} does not broadcast to the "
                         f"{selected} that the key selects")
    value = reshape(value, shape[spare:]) if spare else value
    return bind(REGISTRY["setitem"], (x, value, *indices), {"key": template})
