"""vmap: Batch, a value with an axis that the function does not see."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from adjoint.core.box import Box, bind
from adjoint.core.node import aval, aval_of, new
from adjoint.core.primitive import Primitive
from adjoint.errors import ArgumentError, EscapeError, ShapeError
from adjoint.ops.shape import broadcast_to, moveaxis, stack
from adjoint.scalars import gives_array, is_changeable

from .trees import (
    NAMESPACE,
    Over,
    check_function,
    distinct,
    flatten,
    kind_of_all,
    lift,
    result,
    single,
    unflatten,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Batch(Box):
    """A value whose leading axis the function does not see: a row works on all of it at once.

    ``changeable`` says whether NumPy would have an array without axes for each element, which a
    change in place reaches, and no scalar.
    """

    __slots__ = ("changeable",)
    changeable: bool

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
            y = joined([bind(row, [part(a, i) if m else a
                                   for a, m in zip(lower, mine, strict=True)], params)
                        for i in range(size)])
        b = batch(y, level)
        if row.alias and b.aval.__class__ is not tuple and not b.aval.shape:
            b.changeable = gives_array(row, [*map(aval_of, args)], params,
                                       lambda k: is_changeable(args[k]))
        return b

    def noted_as_array(self) -> Batch:
        """This Batch, noted as one of arrays without axes."""
        self.changeable = True
        return self

    def concrete(self) -> Any:
        """Always an error: there are as many values as the batch is long."""
        raise EscapeError(
            f"this value ({self.aval}) stands for {length(self.value)} at once (vmap), so Python "
            "cannot branch on it, index an array with it or print it. Use ad.where(condition, x, "
            "y) to choose by element, ad.tensor(a)[i] to index an array.")


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
    if isinstance(known, tuple):
        return tuple(map(without_axis, known))
    return aval(known.shape[1:], known.dtype)


def batch(value: Any, level: int) -> Batch:
    """A Batch, without its constructor."""
    b = new(Batch)
    b.value, b.level, b.aval, b.changeable = value, level, without_axis(aval_of(value)), False
    return b


def spread_axes(axes: Any, tree: Any, what: str) -> list[Any]:
    """The batch axis of each leaf: ``axes`` is one for all, or a tree that begins as ``tree``."""
    leaves, structure = flatten(tree)
    if axes is None or (isinstance(axes, (int, np.integer)) and not isinstance(axes, bool)):
        return [axes] * len(leaves)
    if isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        return [a for key in keys_of(tree) for a in spread_axes(axes[key], tree[key], what)]
    if isinstance(axes, (tuple, list)) and isinstance(tree, (tuple, list)) and (
            len(axes) == len(tree)):
        return [a for one, v in zip(axes, tree, strict=True) for a in spread_axes(one, v, what)]
    shown = unflatten(structure, ["*"] * len(leaves))
    raise ArgumentError(f"vmap: {what}={axes!r} does not match the values {shown!r}; give one axis "
                        "(an int, or None) for all, or one for each")


def keys_of(tree: Any) -> list[Any]:
    """The keys of a dict in the order in which `flatten` takes them: an OrderedDict has its own."""
    return optree.tree_structure(tree, is_leaf=lambda x: x is not tree, none_is_leaf=True,
                                 namespace=NAMESPACE).entries()


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """``f`` on a whole batch, written for one element: its operations get one more axis each.

    ``in_axes`` says which axis of each argument is the batch (None: shared by all), ``out_axes``
    where it goes in the result (None: the result is one for all and has no batch). Keyword
    arguments are shared. A row without a batch rule runs element by element, with the same result.
    Raises ShapeError if the mapped axes
    are missing, empty or of different sizes, ArgumentError if ``out_axes`` is None for a result
    that is another for each element.

    >>> ad.vmap(np.dot)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    check_function(f, "ad.vmap(f)")

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        given, structure = flatten(args)
        values, axes = [lift(x) for x in given], spread_axes(in_axes, args, "in_axes")
        moved = [x if a is None else leading(x, a) for x, a in zip(values, axes, strict=True)]
        size = batch_size([aval_of(x).shape[0] for x, a in zip(moved, axes, strict=True)
                           if a is not None])
        with Over(given) as level:
            inner = [x if a is None else batch(x, level) for x, a in zip(moved, axes, strict=True)]
            out = f(*unflatten(structure, inner), **kwargs)
            results, s = flatten(out)
            places = spread_axes(out_axes, out, "out_axes")
            full = [placed(y, a, level, size) for y, a in zip(results, places, strict=True)]
        kind = kind_of_all([x for x in given if isinstance(x, Box) or np.ndim(x)])
        return unflatten(s, [kind(y) for y in distinct(full)])
    return mapped


def leading(x: Any, axis: int) -> Any:
    """``x`` with the batch axis first."""
    shape = aval_of(x).shape
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(
            f"vmap: an argument of shape {shape} has no axis {axis} to map over; use in_axes=None "
            "for an argument that all share (a list is several arguments: np.array(list) is one)")
    return moveaxis(x, axis, 0) if axis else x


def batch_size(sizes: Sequence[int]) -> int:
    """The one size of all mapped axes."""
    if not sizes:
        raise ShapeError("vmap: no argument is mapped (in_axes is None for all)")
    if len(set(sizes)) != 1:
        raise ShapeError(f"vmap: the mapped axes have sizes {sorted(set(sizes))}; all must be "
                         "equal")
    if sizes[0] == 0:
        raise ShapeError("vmap: the mapped axis is empty; there is no element to run the function "
                         "on")
    return sizes[0]


def placed(y: Any, axis: int | None, level: int, size: int) -> Any:
    """A result of the function with the batch where ``axis`` says; None: it has no batch."""
    y = result(y, "ad.vmap(f)")
    mine = isinstance(y, Batch) and y.level == level
    if axis is None:
        if mine:
            raise ArgumentError(
                f"vmap: out_axes=None for a result ({y.aval}) that is another for each element of "
                "the batch; give the axis where the batch goes, or reduce it inside the function")
        return single(y)
    full = y.value if mine else shared(y, size)
    if not -len(full.shape) <= axis < len(full.shape):
        raise ShapeError(f"vmap: out_axes={axis}, and the result has shape {full.shape} with the "
                         "batch first")
    return moveaxis(full, 0, axis) if axis else full


def shared(y: Any, size: int) -> Any:
    """A result that does not depend on the batch, repeated for each element."""
    y = y if hasattr(y, "shape") else np.asarray(y)
    return single(broadcast_to(y, (size, *aval_of(y).shape)))
