"""Rules of arrays that are zero off a diagonal, such as the unit vectors of a Jacobian.

``select(i == j + c, x, 0)`` with two indices i and j of its own is such an array. What is zero off
the diagonal stays so through products, and a sum along one of the two axes has one term. So a
product of a matrix with the unit vectors is the matrix again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval

from .algebra import evaluated
from .branches import opposite
from .editor import rule, same_bits
from .facts import affine, combined
from .moves import plus_zero

if TYPE_CHECKING:
    from adjoint.ops.loops import Index, Shape

    from .editor import Editor
    from .program import Statement

LARGEST = 1 << 22  # elements of a constant that is looked at
POINTWISE = {"elementwise", "cast", "select"}


class Diagonal(NamedTuple):
    """The places where ``index[row] == index[column] + offset``."""

    row: int
    column: int
    offset: int


class Parts(NamedTuple):
    """A value on a diagonal, and the number that it is elsewhere."""

    where: int  # the condition
    inside: int
    outside: Any


def diagonal(e: Editor, n: int) -> Diagonal | None:
    """The diagonal that a condition holds on, if it compares two indices."""
    key = ("diagonal", n)
    if key not in e.memo:
        e.memo[key] = compared(e, n) if e.function(n) == "equal" else None
    return e.memo[key]


def compared(e: Editor, n: int) -> Diagonal | None:
    """The diagonal where two affine expressions are equal."""
    one, other = (affine(e, i) for i in e.statements[n].inputs)
    if one is None or other is None:
        return None
    offset, terms = combined(one, other, -1)
    if len(terms) != 2 or {k for _, k in terms} != {1, -1}:
        return None
    (column,), (row,) = [[d for d, k in terms if k == sign] for sign in (-1, 1)]
    return Diagonal(row, column, -offset)


def parts(e: Editor, n: int) -> Parts | None:
    """A value as one on a diagonal with a number elsewhere."""
    s = e.statements[n]
    if s.name == "select":
        found = s.inputs[2] in e.numbers and diagonal(e, s.inputs[0]) is not None
        return Parts(s.inputs[0], s.inputs[1], e.numbers[s.inputs[2]]) if found else None
    f = e.function(n)
    if f == "equal" and diagonal(e, n) is not None:
        return Parts(n, e.splat(np.True_, s.known.shape), np.False_)
    h = opposite(e, n) if f in {"not_equal", "logical_not"} else None
    if h is not None and diagonal(e, h) is not None:
        return Parts(h, e.splat(np.False_, s.known.shape), np.True_)
    return None


def on(e: Editor, where: int, inside: int, outside: Any) -> int:
    """A value on a diagonal and a number elsewhere."""
    known = e.known(inside)
    return e.select(where, inside, e.splat(known.dtype.type(outside), known.shape))


def diagonal_constant(e: Editor, value: Any) -> int | None:
    """A constant array that is one number on a diagonal and 0 elsewhere."""
    if value.ndim < 2 or not 1 < value.size <= LARGEST or value.dtype.kind not in "biuf":
        return None
    nonzero = value != 0
    count = int(np.count_nonzero(nonzero))
    if count > value.size // 2 or not count or (value.dtype.kind == "f" and (
            np.signbit(value).any() or np.isnan(value).any())):
        return None
    places = np.nonzero(nonzero)
    first = value[tuple([p[0] for p in places])]
    if (value[nonzero] != first).any():
        return None
    axes = [d for d, n in enumerate(value.shape) if n > 1]
    for k, row in enumerate(axes):
        for column in axes[k + 1:]:
            offsets = places[row] - places[column]
            if (offsets == offsets[0]).all() and count == whole(value.shape, row, column,
                                                                int(offsets[0])):
                here, there = (e.iota(value.shape, d, np.dtype(np.int64)) for d in (row, column))
                if offsets[0]:
                    there = e.map("add", there, e.like(there, int(offsets[0])))
                return on(e, e.map("equal", here, there), e.splat(first, value.shape), 0)
    return None


def whole(shape: Shape, row: int, column: int, offset: int) -> int:
    """How many places a diagonal has."""
    long = min(shape[row], shape[column] + offset) - max(0, offset)
    return max(long, 0) * int(np.prod(shape)) // (shape[row] * shape[column])


# ---- through statements

def elsewhere(e: Editor, s: Statement, found: list[Parts | None]) -> Any:
    """What a function gives off the diagonal; None if that is no one number."""
    numbers = [e.numbers.get(i) if p is None else p.outside
               for i, p in zip(s.inputs, found, strict=True)]
    if s.name == "select" and numbers[0] is None and numbers[1] is not None and (
            numbers[2] is not None and same_bits(numbers[1], numbers[2])):
        return numbers[1]
    if any(v is None for v in numbers):
        return None
    return np.asarray(evaluated(s, numbers), s.known.dtype)[()]


@rule("elementwise", says="f(x on a diagonal) is f(x) on the diagonal")
def function_on_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A function of values on one diagonal and of numbers."""
    if not e.indexed or len(s.known.shape) < 2 or (
            s.name == "select" and diagonal(e, s.inputs[0]) is not None):
        return None
    found = [None if i in e.numbers else parts(e, i) for i in s.inputs]
    where = {p.where for p in found if p is not None}
    if len(where) != 1:
        return None
    outside = elsewhere(e, s, found)
    if outside is None:
        return None
    inside = tuple([i if p is None else p.inside for i, p in zip(s.inputs, found, strict=True)])
    if s.name == "select" and e.known(inside[0]).shape != s.known.shape:
        return None
    return on(e, where.pop(), e.made(s.name, inside, s.parameters, s.known), outside)


@rule("multiply", says="(x on a diagonal, else 0) * z = x * z on the diagonal, else 0",
      stabilises=True)
def product_on_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A product with zeros that are there by construction; 0 * inf is 0 there."""
    for x, z in (s.inputs, s.inputs[::-1]):
        if not e.indexed or x in e.numbers or z in e.numbers or len(s.known.shape) < 2:
            return None
        p = parts(e, x)
        if p is not None and p.outside == 0 and parts(e, z) is None:
            return on(e, p.where, e.map("multiply", p.inside, z), 0)
    return None


@rule("logical_and", says="(c on a diagonal, else False) and d = c and d on the diagonal")
def truth_on_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A conjunction with what is False off a diagonal."""
    if not e.indexed or len(s.known.shape) < 2:
        return None
    for x, z in (s.inputs, s.inputs[::-1]):
        p = parts(e, x)
        if p is not None and not p.outside and x != p.where:
            return on(e, p.where, e.map("logical_and", p.inside, z), False)
    return None


@rule("view", says="a diagonal seen through a view is a diagonal")
def view_of_a_diagonal(e: Editor, s: Statement) -> int | None:
    """Broadcast and turned axes of a diagonal: the two indices are seen instead."""
    (x,), (index, shape) = s.inputs, s.parameters
    base = e.statements[x]
    h = base.inputs[0] if base.name == "select" else x
    if base.name not in {"select", "elementwise"} or diagonal(e, h) is None:
        return None
    for i in e.statements[h].inputs:
        entry = affine(e, i)
        if entry is None or any(index[d] != (0, ((index[d][1][0][0], 1),)) if index[d][1] else
                                index[d][0] for d, _ in entry[1]):
            return None
    where = e.map("equal", *[pushed(e, i, index, shape) for i in e.statements[h].inputs])
    if base.name != "select":
        return where
    return e.select(where, *[e.view(i, index, shape) for i in base.inputs[1:]])


def pushed(e: Editor, n: int, index: Index, shape: Shape, depth: int = 8) -> int:
    """A view of what a function gives, as the function of views of its operands."""
    s = e.statements[n]
    if not depth or s.name not in POINTWISE:
        return e.view(n, index, shape)
    inputs = tuple([pushed(e, i, index, shape, depth - 1) for i in s.inputs])
    return e.made(s.name, inputs, s.parameters, aval(shape, s.known.dtype))


# ---- sums

@rule("reduce", says="sum over j of (x[i, j] where j == i, else 0) = x[i, i]")
def sum_along_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A sum in which all terms but one are 0 by construction."""
    op, axes = s.parameters
    p = parts(e, s.inputs[0])
    if op != "add" or p is None or p.outside != 0 or s.known.dtype.kind != "f":
        return None
    row, column, offset = diagonal(e, p.where) or Diagonal(0, 0, 0)
    shape = e.known(s.inputs[0]).shape
    for gone, kept, shift in ((column, row, -offset), (row, column, offset)):
        if gone not in axes or not 0 <= shift <= shape[gone] - shape[kept]:
            continue
        left = [d for d in range(len(shape)) if d != gone]
        index = tuple([(shift, ((left.index(kept), 1),)) if d == gone else
                       (0, ((left.index(d), 1),)) for d in range(len(shape))])
        x = pushed(e, p.inside, index, tuple([shape[d] for d in left]))
        rest = tuple([left.index(d) for d in axes if d != gone])
        return e.reduce("add", x, rest) if rest else plus_zero(e, x)
    return None


@rule("dot", says="a product with rows or columns of the identity is the matrix", stabilises=True)
def product_with_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A product whose sum has one term, because one factor is on a diagonal: no sum is needed."""
    if not e.indexed or len(s.inputs) != 2 or s.known.dtype.kind != "f":
        return None
    x, z = s.inputs
    n, shape = len(s.known.shape), s.known.shape
    held = [diagonal(e, p.where) if p is not None and p.outside == 0 else None
            for p in (parts(e, x), parts(e, z))]
    if not any(d is not None and axis in d[:2] for d, axis in zip(held, (n - 1, n - 2),
                                                                  strict=True)):
        return None
    size = (*shape[:-1], e.known(x).shape[-1], shape[-1])
    batch: Index = tuple([(0, ((d, 1),)) for d in range(n - 2)])
    first = e.view(x, (*batch, (0, ((n - 2, 1),)), (0, ((n - 1, 1),))), size)
    second = e.view(z, (*batch, (0, ((n - 1, 1),)), (0, ((n, 1),))), size)
    return e.reduce("add", e.map("multiply", first, second), (n - 1,))
