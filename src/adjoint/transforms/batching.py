"""vmap: Batch, a value with an axis that the function does not see."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, Level, bind
from adjoint.core.node import aval, aval_of, new
from adjoint.core.primitive import Primitive
from adjoint.errors import ArgumentError, EscapeError, ShapeError
from adjoint.ops.shape import broadcast_to, moveaxis, stack

from .trees import flatten, kind_of_all, lift, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Batch(Box):
    """A value whose leading axis the function does not see: one row works on all of a batch at once."""

    __slots__ = ()

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply the batch rule of ``row``, or one element at a time where it has none."""
        level = self.level
        mine = [isinstance(a, Batch) and a.level == level for a in args]
        lower = [a.value if m else a for a, m in zip(args, mine, strict=True)]
        axes = [0 if m else None for m in mine]
        size = length(self.value)
        if row.batch is not None:
            y, axis = row.batch(size, axes, *lower, **params)
            y = moveaxis(y, axis, 0) if axis else y
        else:
            y = joined([bind(row, [part(a, i) if m else a for a, m in zip(lower, mine, strict=True)], params)
                        for i in range(size)])
        return batch(y, level)

    def concrete(self) -> Any:
        """Always an error: there are as many values as the batch is long."""
        raise EscapeError(
            f"this value ({self.aval}) stands for {length(self.value)} at once (vmap), so Python cannot branch on it, "
            "index with it or print it. Use ad.where(condition, x, y) to choose by element.")


def length(value: Any) -> int:
    """The size of the batch."""
    return length(value[0]) if isinstance(value, tuple) else value.shape[0]


def part(value: Any, i: int) -> Any:
    """One element of a batch."""
    return tuple(part(v, i) for v in value) if isinstance(value, tuple) else value[i]


def joined(ys: Sequence[Any]) -> Any:
    """Results of single elements as a batch."""
    if isinstance(ys[0], tuple):
        return tuple(joined(column) for column in zip(*ys, strict=True))
    return stack(ys)


def without_axis(known: Any) -> Any:
    """The Aval that the function sees."""
    return tuple(map(without_axis, known)) if isinstance(known, tuple) else aval(known.shape[1:], known.dtype)


def batch(value: Any, level: int) -> Batch:
    """A Batch, without its constructor."""
    b = new(Batch)
    b.value, b.level, b.aval = value, level, without_axis(aval_of(value))
    return b


def spread_axes(axes: Any, tree: Any) -> list[Any]:
    """The batch axis of each leaf: ``axes`` is one for all, or a tree that begins as ``tree`` does."""
    leaves, _ = flatten(tree)
    if axes is None or isinstance(axes, int):
        return [axes] * len(leaves)
    if isinstance(axes, dict):
        return [a for key in sorted(axes) for a in spread_axes(axes[key], tree[key])]
    if len(axes) != len(tree):
        raise ArgumentError(f"in_axes/out_axes {axes} does not match {len(tree)} values")
    return [a for one, value in zip(axes, tree, strict=True) for a in spread_axes(one, value)]


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """``f`` on a whole batch at once, written for one element: its operations get one more axis each.

    ``in_axes`` says which axis of each argument is the batch (None: shared by all), ``out_axes`` where it goes in the
    result. A row without a batch rule runs element by element, with the same result.

    >>> ad.vmap(np.dot)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    @functools.wraps(f)
    def mapped(*args: Any) -> Any:
        given, structure = flatten(args)
        axes = spread_axes(in_axes, args)
        values = [lift(x) for x in given]
        for x, a in zip(values, axes, strict=True):
            if a is not None and not -len(aval_of(x).shape) <= a < len(aval_of(x).shape):
                raise ShapeError(f"vmap: an argument of shape {aval_of(x).shape} has no axis {a} to map over; use "
                                 "in_axes=None for an argument that all share")
        moved = [x if a is None else moveaxis(x, a, 0) if a else x for x, a in zip(values, axes, strict=True)]
        sizes = {aval_of(x).shape[0] for x, a in zip(moved, axes, strict=True) if a is not None}
        if len(sizes) != 1:
            raise ShapeError(f"vmap: the mapped axes have sizes {sorted(sizes)}; all must be equal" if sizes else
                             "vmap: no argument is mapped (in_axes is None for all)")
        (size,) = sizes
        if size == 0:
            raise ShapeError("vmap: the mapped axis is empty; there is no element to run the function on")
        with Level() as level:
            inner = [x if a is None else batch(x, level) for x, a in zip(moved, axes, strict=True)]
            out = f(*unflatten(structure, inner))
            results, s = flatten(out)
            kind = kind_of_all([x for x in given if np.ndim(getattr(x, "value", x)) or isinstance(x, Box)])
            full = [r.value if isinstance(r, Batch) and r.level == level else shared(r, size) for r in results]
        places = spread_axes(out_axes, out)
        return unflatten(s, [kind(moveaxis(y, 0, a) if a else y) for y, a in zip(full, places, strict=True)])
    return mapped


def shared(y: Any, size: int) -> Any:
    """A result that does not depend on the batch, repeated for each element."""
    return broadcast_to(y if hasattr(y, "shape") else np.asarray(y), (size, *aval_of(y).shape))
