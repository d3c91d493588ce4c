"""Rules of reductions and products: axes along which nothing happens, and thin products."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from adjoint.core.node import aval

from .editor import rule
from .moves import plus_zero

if TYPE_CHECKING:
    from adjoint.ops.loops import Index, Shape

    from .editor import Editor
    from .program import Statement

DEEP = 16  # the least sum over k for which products of windows are added up in memory
MATRIX = 4  # the least size along each axis of what becomes a product
IDEMPOTENT = {"maximum", "minimum", "logical_and", "logical_or"}
ONCE = IDEMPOTENT | {"add", "multiply"}


def without(shape: Shape, axes: Shape) -> Shape:
    """A shape without some axes."""
    return tuple([n for d, n in enumerate(shape) if d not in axes])


def dropped(e: Editor, x: int, axes: Shape) -> int:
    """``x`` without axes along which it does not change."""
    shape = e.known(x).shape
    kept = [d for d in range(len(shape)) if d not in axes]
    where = {d: k for k, d in enumerate(kept)}
    index = tuple([(0, ((where[d], 1),)) if d in where else (0, ()) for d in range(len(shape))])
    return e.view(x, index, without(shape, axes))


@rule("reduce", says="a reduction over no axis, or over axes of size 1, is its operand")
def reduce_nothing(e: Editor, s: Statement) -> int | None:
    """Axes that have one element; a sum is one from 0, so -0 becomes 0."""
    op, axes = s.parameters
    shape = e.known(s.inputs[0]).shape
    single = tuple([d for d in axes if shape[d] == 1])
    if op not in ONCE or (axes and not single):
        return None
    x = dropped(e, s.inputs[0], single)
    rest = [d for d in axes if d not in single]
    if rest:
        return e.reduce(op, x, tuple([d - sum(k < d for k in single) for d in rest]))
    return plus_zero(e, x) if op == "add" else x


@rule("reduce", says="max over an axis along which x is broadcast = x; a sum of n equal = n x")
def reduce_of_broadcast(e: Editor, s: Statement) -> int | None:
    """Axes that a view only repeats. A sum of n equal numbers is n times one, within its bound."""
    op, axes = s.parameters
    (x,) = s.inputs
    v, shape = e.statements[x], e.known(s.inputs[0]).shape
    if v.name != "view" or op not in IDEMPOTENT | {"add"} or (
            op == "add" and s.known.dtype.kind not in "iuf"):
        return None
    moved = {d for _, terms in v.parameters[0] for d, _ in terms}
    still = tuple([d for d in axes if d not in moved])
    if not still or not all(shape[d] for d in still):
        return None
    with np.errstate(over="ignore"):  # integers wrap, as their sums do; halves end soon
        count = np.asarray(prod([shape[d] for d in still])).astype(s.known.dtype)
    if op == "add" and not np.isfinite(count):
        return None
    rest = tuple([d - sum(k < d for k in still) for d in axes if d not in still])
    y = dropped(e, x, still)
    y = e.reduce(op, y, rest) if rest else y
    if op != "add":
        return y
    return e.map("multiply", plus_zero(e, y), e.like(y, count))


@rule("reduce", says="max(max(x, 1), 0) = max(x, (0, 1)); the same of sums")
def reduce_of_reduce(e: Editor, s: Statement) -> int | None:
    """Two reductions of one kind, if nobody else reads the inner one."""
    op, axes = s.parameters
    inner = e.statements[s.inputs[0]]
    if inner.name != "reduce" or inner.parameters[0] != op or op not in ONCE or (
            not e.alone(s.inputs[0])):
        return None
    gone = inner.parameters[1]
    left = [d for d in range(len(e.known(inner.inputs[0]).shape)) if d not in gone]
    return e.reduce(op, inner.inputs[0], tuple(sorted((*gone, *[left[d] for d in axes]))))


@rule("reduce", says="the sum of a batch of products is one product, its sum over batch and k")
def sum_of_batch(e: Editor, s: Statement) -> int | None:
    """Products that are added up: their operands, one behind the other along k."""
    op, axes = s.parameters
    inner = e.statements[s.inputs[0]]
    shape = inner.known.shape
    if op != "add" or inner.name != "dot" or s.known.dtype.kind != "f" or len(shape) < 3 or (
            axes != tuple(range(len(shape) - 2)) or not e.alone(s.inputs[0])):
        return None
    pairs = zip(inner.inputs[::2], inner.inputs[1::2], strict=True)
    if not all(e.known(x).shape[-1] for x in inner.inputs[::2]) or not prod(shape):
        return None
    if any(is_repeated(e, i) for i in inner.inputs) and (
            min(e.known(x).shape[-1] for x in inner.inputs[::2]) >= DEEP):
        return None
    return e.made("dot", tuple([i for x, z in pairs for i in (
        turned(e, merged(e, turned(e, x))), merged(e, z))]), (), s.known)


@rule("reduce", says="the sum over k of x[i, k] * z[k, j] is a product")
def sum_of_outer_products(e: Editor, s: Statement) -> int | None:
    """Products of two operands, each broadcast along an axis of the other, and summed over a third.

    The gradient of a matrix that multiplies one vector each turn is such a sum over the turns.
    """
    op, axes = s.parameters
    inner = e.statements[s.inputs[0]]
    if op != "add" or len(axes) != 1 or inner.name != "elementwise" or (
            inner.parameters != ("multiply",)) or len(inner.known.shape) != 3 or (
            inner.known.dtype.kind != "f" or min(inner.known.shape) < MATRIX) or (
            not e.alone(s.inputs[0])):
        return None
    rest = [d for d in range(3) if d not in axes]
    for i, j in (rest, rest[::-1]):
        x, z = (e.statements[n].parameters[0] if e.is_view(n) else None for n in inner.inputs)
        if x is not None and z is not None and still(x, j) and still(z, i):
            k, shape = axes[0], inner.known.shape
            left = seen_along(e, inner.inputs[0], (i, k), shape)
            right = seen_along(e, inner.inputs[1], (k, j), shape)
            found = e.made("dot", (left, right), (), aval((shape[i], shape[j]), s.known.dtype))
            return found if i < j else turned(e, found)
    return None


def still(index: Index, axis: int) -> bool:
    """Whether a view is the same all along an axis."""
    return all(d != axis for _, terms in index for d, _ in terms)


def seen_along(e: Editor, x: int, kept: Shape, shape: Shape) -> int:
    """An operand along two of its axes, at 0 along the others."""
    index = tuple([(0, ((kept.index(d), 1),)) if d in kept else (0, ()) for d in range(len(shape))])
    return e.view(x, index, (shape[kept[0]], shape[kept[1]]))


@rule("reduce", says="a sum is 0 + ..., so of x + 0 it is that of x")
def sum_of_plus_zero(e: Editor, s: Statement) -> int | None:
    """The 0 that keeps -0 out of each term is in the sum anyway."""
    op, axes = s.parameters
    inner = e.statements[s.inputs[0]]
    if op != "add" or not axes or inner.name != "elementwise" or inner.parameters != ("add",):
        return None
    for x, zero in (inner.inputs, inner.inputs[::-1]):
        if zero in e.numbers and e.numbers[zero] == 0:
            return e.reduce("add", x, axes)
    return None


def is_repeated(e: Editor, x: int) -> bool:
    """Whether elements are read several times, as by windows: a copy would repeat them."""
    return e.is_view(x) and e.known(x).size > e.known(e.statements[x].inputs[0]).size


def merged(e: Editor, x: int) -> int:
    """A batch of matrices as one, their rows one below the other."""
    known = e.known(x)
    shape = (prod(known.shape[:-1]), known.shape[-1])
    return e.made("copy", (x,), (shape,), aval(shape, known.dtype))


# ---- products

@rule("add", says="x @ w + h @ u is one product with two pairs")
def sum_of_products(e: Editor, s: Statement) -> int | None:
    """Two products that only their sum needs: one accumulator.

    Not more than two: in a chain of sums the product would grow with each.
    """
    x, z = s.inputs
    one, other = e.statements[x], e.statements[z]
    if e.current in e.gathered:
        return None
    if one.name != "dot" or other.name != "dot" or x == z or s.known.dtype.kind != "f" or (
            len(one.inputs) != 2 or len(other.inputs) != 2) or not (e.alone(x) and e.alone(z)):
        return None
    return e.made("dot", one.inputs + other.inputs, (), s.known)


@rule("dot", says="a product over one index is x[i] * z[j]")
def outer_product(e: Editor, s: Statement) -> int | None:
    """A product without a sum, but for the 0 that every sum starts from."""
    if len(s.inputs) != 2 or e.known(s.inputs[0]).shape[-1] != 1 or s.known.dtype.kind != "f":
        return None
    x, z = s.inputs
    shape = s.known.shape
    n = len(shape)
    batch: Index = tuple([(0, ((d, 1),)) for d in range(n - 2)])
    first = e.view(x, (*batch, (0, ((n - 2, 1),)), (0, ())), shape)
    second = e.view(z, (*batch, (0, ()), (0, ((n - 1, 1),))), shape)
    return plus_zero(e, e.map("multiply", first, second))


@rule("dot", says="many vectors times one matrix are one product")
def product_with_vectors(e: Editor, s: Statement) -> int | None:
    """A batch of vectors, each multiplied by the same matrix, is a matrix multiplied by it."""
    if len(s.inputs) != 2 or len(s.known.shape) != 3 or s.known.shape[0] < 2:
        return None
    x, z = s.inputs
    count, m, n = s.known.shape
    if n == 1 and m > 1 and is_one(e, x):
        vectors = e.view(z, ((0, ((0, 1),)), (0, ((1, 1),)), (0, ())), (count, e.known(z).shape[1]))
        matrix, index = turned(e, dropped(e, x, (0,))), ((0, ((0, 1),)), (0, ((1, 1),)))
    elif m == 1 and n > 1 and is_one(e, z):
        vectors = e.view(x, ((0, ((0, 1),)), (0, ()), (0, ((1, 1),))), (count, e.known(x).shape[2]))
        matrix, index = dropped(e, z, (0,)), ((0, ((0, 1),)), (0, ((2, 1),)))
    else:
        return None
    known = aval((count, max(m, n)), s.known.dtype)
    return e.view(e.made("dot", (vectors, matrix), (), known), index, s.known.shape)


def is_one(e: Editor, n: int) -> bool:
    """Whether all of a batch are the same."""
    return e.is_view(n) and all(d for _, terms in e.statements[n].parameters[0] for d, _ in terms)


@rule("dot", says="a product with a vector is a sum of x[i, k] * z[k]")
def product_with_vector(e: Editor, s: Statement) -> int | None:
    """A product whose result has one row or one column: a sum, which fuses as rows do.

    The sum runs in the order in which the matrix lies in memory.
    """
    if len(s.inputs) != 2 or s.known.dtype.kind != "f":
        return None
    x, z = s.inputs
    n = len(s.known.shape)
    if s.known.shape[-1] == 1:
        matrix, vector, summed = x, turned(e, z), n - 1
    elif s.known.shape[-2] == 1:
        matrix, vector, summed = z, x, n - 2
    else:
        return None
    if e.is_view(matrix) and lies_turned(e, matrix):
        matrix, summed = turned(e, matrix), 2 * n - 3 - summed
    shape = e.known(matrix).shape
    if not all(shape):
        return None
    batch: Index = tuple([(0, ((d, 1),)) for d in range(n - 2)])
    seen = e.view(vector, (*batch, (0, ()), (0, ((summed, 1),))), shape)
    product = e.made("elementwise", (matrix, seen), ("multiply",), aval(shape, s.known.dtype))
    found = e.reduce("add", product, (summed,))
    at = n - 2 if s.known.shape[-1] == 1 else n - 1
    return e.view(found, (*batch, (0, ((at, 1),))), s.known.shape)


def turned(e: Editor, x: int) -> int:
    """The last two axes changed round."""
    shape = e.known(x).shape
    n = len(shape)
    index = (*[(0, ((d, 1),)) for d in range(n - 2)], (0, ((n - 1, 1),)), (0, ((n - 2, 1),)))
    return e.view(x, index, (*shape[:-2], shape[-1], shape[-2]))


def lies_turned(e: Editor, x: int) -> bool:
    """Whether a view's last axis is not the one along which its operand lies in memory.

    An operand without axes, one number that is broadcast, lies along none.
    """
    s = e.statements[x]
    index: Index = s.parameters[0]
    return bool(index) and index[-1][1] == ((len(s.known.shape) - 2, 1),)
