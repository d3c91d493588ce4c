"""Rules of arrays that are zero off a few diagonals, such as the unit vectors of a Jacobian.

``select(i == j + c, x, 0)`` with two indices i and j of its own is such an array, and so is
``select(i == j + c, x, select(i == j + d, z, 0))``. What is zero off the diagonals stays so through
products, and a sum along one of the two axes has one term for each. So a product of a matrix with
the unit vectors is the matrix again, and what two neighbours make of one another is three lines of
numbers, as long as it is not needed as an array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval

from .algebra import evaluated
from .branches import opposite
from .editor import rule, same_bits
from .facts import affine, combined
from .moves import padded, plus_zero

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adjoint.ops.loops import Axis, Index, Shape

    from .editor import Editor
    from .program import Statement

LARGEST = 1 << 22  # elements of a constant that is looked at
MOST = 4  # diagonals of one array
POINTWISE = {"elementwise", "cast", "select"}
# What costs so little that it is computed for each diagonal.
CHEAP = {"add", "subtract", "multiply", "negative", "abs", "maximum", "minimum", "isnan", "isinf",
         "isfinite", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
         "logical_and", "logical_or", "logical_not"}


class Diagonal(NamedTuple):
    """The places where ``index[row] == index[column] + offset``; the row is the first axis."""

    row: int
    column: int
    offset: int


class Piece(NamedTuple):
    """A value on a diagonal, and the condition that says where that is."""

    where: int
    inside: int


class Parts(NamedTuple):
    """Values on diagonals of the same two axes, and the number that is elsewhere."""

    pieces: dict[Diagonal, Piece]
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
    (row, sign), (column, _) = terms
    return Diagonal(row, column, -offset * sign)


def parts(e: Editor, n: int) -> Parts | None:
    """A value as what it is on a few diagonals, with a number elsewhere."""
    s, pieces = e.statements[n], dict[Diagonal, Piece]()
    while s.name == "select" and n not in e.numbers and len(pieces) < MOST:
        found = diagonal(e, s.inputs[0])
        if found is None or not disjoint(found, pieces):
            return None
        pieces[found] = Piece(*s.inputs[:2])
        n = s.inputs[2]
        s = e.statements[n]
    if n in e.numbers:
        return Parts(pieces, e.numbers[n]) if pieces else None
    f = e.function(n)
    h = opposite(e, n) if f in {"not_equal", "logical_not"} else None
    where = n if h is None else h
    found = diagonal(e, where)
    if found is None or not disjoint(found, pieces):
        return None
    pieces[found] = Piece(where, e.splat(np.bool_(h is None), s.known.shape))
    return Parts(pieces, np.bool_(h is not None))


def disjoint(found: Diagonal, pieces: Iterable[Diagonal]) -> bool:
    """Whether a diagonal lies beside others, along the same axes."""
    return all(found[:2] == other[:2] and found != other for other in pieces)


def on(e: Editor, pieces: Iterable[Piece], outside: Any) -> int:
    """Values on diagonals and a number elsewhere."""
    found = -1
    for where, inside in reversed(list(pieces)):
        known = e.known(inside)
        if found < 0:
            found = e.splat(known.dtype.type(outside), known.shape)
        found = e.select(where, inside, found)
    return found


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
                where = e.map("equal", here, there)
                return on(e, [Piece(where, e.splat(first, value.shape))], 0)
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
    """A function of values on diagonals and of numbers."""
    if not e.indexed or len(s.known.shape) < 2 or (
            s.name == "select" and diagonal(e, s.inputs[0]) is not None):
        return None
    found = [None if i in e.numbers else parts(e, i) for i in s.inputs]
    where: dict[Diagonal, int] = {}
    for p in found:
        for d, piece in p.pieces.items() if p is not None else ():
            if d not in where and not disjoint(d, where):
                return None
            where.setdefault(d, piece.where)
    cheap = s.name != "elementwise" or s.parameters[0] in CHEAP
    if not where or len(where) > (MOST if cheap else 1):
        return None
    outside = elsewhere(e, s, found)
    if outside is None:
        return None
    pieces: list[Piece] = []
    for d in sorted(where):
        inside = tuple([i if p is None else p.pieces[d].inside if d in p.pieces else
                        e.splat(p.outside, s.known.shape)
                        for i, p in zip(s.inputs, found, strict=True)])
        pieces.append(Piece(where[d], e.made(s.name, inside, s.parameters, s.known)))
    return on(e, pieces, outside)


@rule("multiply", says="(x on a diagonal, else 0) * z = x * z on the diagonal, else 0",
      stabilises=True)
def product_on_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A product with zeros that are there by construction; 0 * inf is 0 there."""
    for x, z in (s.inputs, s.inputs[::-1]):
        if not e.indexed or x in e.numbers or z in e.numbers or len(s.known.shape) < 2:
            return None
        p = parts(e, x)
        if p is not None and p.outside == 0 and parts(e, z) is None:
            return on(e, [Piece(where, e.map("multiply", inside, z))
                          for where, inside in p.pieces.values()], 0)
    return None


@rule("logical_and", "logical_or",
      says="(c on a diagonal, else False) and d = c and d on the diagonal; the same of or")
def truth_on_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A conjunction with what is False off diagonals, or the other with what is True there."""
    if not e.indexed or len(s.known.shape) < 2:
        return None
    (f,) = s.parameters
    for x, z in (s.inputs, s.inputs[::-1]):
        p = parts(e, x)
        if p is not None and bool(p.outside) == (f == "logical_or") and all(
                inside not in e.numbers for _, inside in p.pieces.values()):
            return on(e, [Piece(where, e.map(f, inside, z))
                          for where, inside in p.pieces.values()], p.outside)
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


@rule("pad", says="a pad of a diagonal with zeros is a diagonal with zeros")
def pad_of_a_diagonal(e: Editor, s: Statement) -> int | None:
    """What is on diagonals, placed among what it is elsewhere: each is a line, placed in a line."""
    index, shape, fill = s.parameters
    p = parts(e, s.inputs[0]) if e.indexed else None
    if p is None or not same_bits(s.known.dtype.type(fill), p.outside) or any(
            len(terms) > 1 or (terms and terms[0][1] != 1) for _, terms in index):
        return None
    axis = {terms[0][0]: d for d, (_, terms) in enumerate(index) if terms}
    if len(axis) != sum(bool(terms) for _, terms in index):
        return None
    pieces: list[Piece] = []
    for d, (_, inside) in p.pieces.items():
        row, column = axis[d.row], axis[d.column]
        line = Line(e.known(inside).shape, d.row, d.column, d.offset)
        if not line.length:
            continue
        rest = [k for k in range(len(shape)) if k != row]
        places: list[Axis] = []
        for k in rest:
            offset, terms = index[k]
            places.append((offset + (line.start if k == column else 0),
                           tuple([(line.left.index(a), step) for a, step in terms])))
        value = padded(e, line.of(e, inside), tuple(places), tuple([shape[k] for k in rest]), fill)
        seen = e.view(value, tuple([(0, ((k, 1),)) for k in rest]), shape)
        offset = d.offset + index[row][0] - index[column][0]
        pieces.append(Piece(condition(e, shape, row, column, offset), seen))
    return on(e, pieces, fill) if pieces else e.splat(s.known.dtype.type(fill), shape)


def condition(e: Editor, shape: Shape, row: int, column: int, offset: int) -> int:
    """Where ``index[row] == index[column] + offset``."""
    here, there = (e.iota(shape, d, np.dtype(np.int64)) for d in (row, column))
    return e.map("equal", here, e.map("add", there, e.like(there, offset)) if offset else there)


# ---- sums

class Line:
    """The elements of an array on a diagonal, along the axis ``kept``; ``gone`` is the other.

    There are ``length`` of them, from index ``start`` of the kept axis on.
    """

    def __init__(self, shape: Shape, gone: int, kept: int, shift: int) -> None:
        self.gone, self.kept, self.shift = gone, kept, shift
        self.left = [d for d in range(len(shape)) if d != gone]
        self.start = max(0, -shift)
        self.length = max(0, min(shape[kept], shape[gone] - shift) - self.start)
        self.shape = tuple([self.length if d == kept else shape[d] for d in self.left])

    def of(self, e: Editor, x: int) -> int:
        """The elements of an array."""
        along: Index = ((0, ((self.left.index(self.kept), 1),)),)
        first = {self.kept: self.start, self.gone: self.start + self.shift}
        index = tuple([(first[d], along[0][1]) if d in first else (0, ((self.left.index(d), 1),))
                       for d in range(len(self.left) + 1)])
        return pushed(e, x, index, self.shape)


@rule("reduce", says="sum over j of (x[i, j] where j == i, else 0) = x[i, i]")
def sum_along_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A sum in which all terms but one, or a few, are 0 by construction."""
    op, axes = s.parameters
    p = parts(e, s.inputs[0])
    if op != "add" or p is None or p.outside != 0 or s.known.dtype.kind != "f":
        return None
    total = -1
    for d, (_, inside) in p.pieces.items():
        found = sum_along(e, inside, d, axes)
        if found is None:
            return None
        total = found if total < 0 else e.map("add", total, found)
    return total


def sum_along(e: Editor, x: int, d: Diagonal, axes: Shape) -> int | None:
    """The sum over some axes of what is on one diagonal."""
    shape = e.known(x).shape
    for gone, kept, shift in ((d.column, d.row, -d.offset), (d.row, d.column, d.offset)):
        line = Line(shape, gone, kept, shift)
        if gone not in axes or line.length != shape[kept]:
            continue
        rest = tuple([line.left.index(a) for a in axes if a != gone])
        found = line.of(e, x)
        return e.reduce("add", found, rest) if rest else plus_zero(e, found)
    return None


@rule("dot", says="a product with rows or columns of the identity is the matrix", stabilises=True)
def product_with_a_diagonal(e: Editor, s: Statement) -> int | None:
    """A product whose sum has one term, because one factor is on a diagonal: no sum is needed."""
    if not e.indexed or len(s.inputs) != 2 or s.known.dtype.kind != "f":
        return None
    x, z = s.inputs
    n, shape = len(s.known.shape), s.known.shape
    held = [next(iter(p.pieces)) if p is not None and p.outside == 0 and len(p.pieces) == 1
            else None for p in (parts(e, x), parts(e, z))]
    if not any(d is not None and axis in d[:2] for d, axis in zip(held, (n - 1, n - 2),
                                                                  strict=True)):
        return None
    size = (*shape[:-1], e.known(x).shape[-1], shape[-1])
    batch: Index = tuple([(0, ((d, 1),)) for d in range(n - 2)])
    first = e.view(x, (*batch, (0, ((n - 2, 1),)), (0, ((n - 1, 1),))), size)
    second = e.view(z, (*batch, (0, ((n - 1, 1),)), (0, ((n, 1),))), size)
    return e.reduce("add", e.map("multiply", first, second), (n - 1,))
