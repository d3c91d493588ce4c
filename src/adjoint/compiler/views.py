"""The algebra of views: index expressions composed, compared and checked.

An index has one entry for each axis of the operand, ``(offset, ((output axis, step), ...))``: the
place that is read, affine in the output's indices. Views of views are views, so a chain of
transposes, slices and broadcasts is one statement.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from adjoint.ops.loops import straight

if TYPE_CHECKING:
    from adjoint.ops.loops import Axis, Index, Shape


def extent(entry: Axis, shape: Shape) -> tuple[int, int]:
    """The lowest and the highest place that an entry reads, over an output of ``shape``.

    >>> from adjoint.compiler.views import extent
    >>> extent((5, ((0, -2), (1, 1))), (3, 4))  # 5 - 2 i + j
    (1, 8)
    """
    offset, terms = entry
    ends = [step * (shape[d] - 1) for d, step in terms]
    return offset + sum(min(e, 0) for e in ends), offset + sum(max(e, 0) for e in ends)


def outside(index: Index, operand: Shape, shape: Shape) -> str:
    """What is wrong with an index, as words; empty if it stays inside its operand."""
    if len(index) != len(operand):
        return f"has an index of {len(index)} axes for an operand of shape {operand}"
    if prod(shape):
        for n, entry in zip(operand, index, strict=True):
            low, high = extent(entry, shape)
            if not 0 <= low <= high < n:
                return f"reads {low} to {high} along an axis of size {n}"
    return ""


def composed(inner: Index, outer: Index) -> Index:
    """The index of ``view(view(x, inner), outer)``, as one view of x.

    >>> from adjoint.compiler.views import composed
    >>> transposed = ((0, ((1, 1),)), (0, ((0, 1),)))
    >>> composed(transposed, transposed)
    ((0, ((0, 1),)), (0, ((1, 1),)))
    """
    return tuple(substituted(entry, outer) for entry in inner)


def substituted(entry: Axis, outer: Index) -> Axis:
    """An affine expression in which each variable is replaced by its own expression."""
    offset, terms = entry
    steps: dict[int, int] = {}
    for axis, step in terms:
        start, inner = outer[axis]
        offset += step * start
        for d, k in inner:
            steps[d] = steps.get(d, 0) + step * k
    return offset, tuple(sorted((d, k) for d, k in steps.items() if k))


def normal(index: Index, shape: Shape) -> Index:
    """The same places with one spelling: terms in order, and none along axes of size 1."""
    return tuple((offset, tuple(sorted((d, k) for d, k in terms if k and shape[d] != 1)))
                 for offset, terms in index)


def is_identity(index: Index, operand: Shape, shape: Shape) -> bool:
    """Whether a view is its operand."""
    return operand == shape and normal(index, shape) == normal(straight(len(shape)), shape)
