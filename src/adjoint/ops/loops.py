"""The loop language that rows lower to: about eighteen statements, and index expressions.

A row's ``lower(b, *refs, **params)`` writes statements with the builder ``b`` and returns a
reference. `Builder` is the interface; ``compiler/numpy_builder.py`` runs it, the compiler emits
machine code from it. A row never imports either.

An **index** says where an element comes from: for each axis of the operand
``(offset, ((output axis, step), ...))``, an affine expression in the output's indices. Broadcast,
transpose, slices, flips, diagonals and windows are all views.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Axis = tuple[int, tuple[tuple[int, int], ...]]
Index = tuple[Axis, ...]
Shape = tuple[int, ...]
Ref = Any  # what a builder returns; it has .shape, .dtype and .weak, as an Aval has


class Builder(Protocol):
    """The statements.

    Operands of one statement have equal shapes and dtypes: broadcasting is a view and promotion a
    cast, both written first. An index may not leave its operand. Only ``copy`` merges axes.
    """

    def input(self, known: Any) -> Ref:
        """An argument of the given Aval."""

    def const(self, value: Any) -> Ref:
        """A number or an array known when the program is built."""

    def iota(self, shape: Shape, axis: int, dtype: Any) -> Ref:
        """The index along ``axis``."""

    def elementwise(self, function: str, *xs: Ref) -> Ref:
        """A scalar function of ``compiler/maths.py``."""

    def cast(self, x: Ref, dtype: Any) -> Ref:
        """The scalar function that changes the dtype."""

    def view(self, x: Ref, index: Index, shape: Shape) -> Ref:
        """``out[i] = x[index(i)]``."""

    def pad(self, x: Ref, index: Index, shape: Shape, fill: Any) -> Ref:
        """``out[index(i)] = x[i]``, else fill; ``index`` has one entry for each axis of ``out``."""

    def select(self, condition: Ref, x: Ref, z: Ref) -> Ref:
        """``x`` where the condition holds, else ``z``."""

    def pick(self, x: Ref, indices: Sequence[Ref]) -> Ref:
        """``out[i] = x[indices[0][i], indices[1][i], ...]``, counted from 0."""

    def reduce(self, op: str, x: Ref, axes: Shape) -> Ref:
        """``op`` over axes, which disappear, in the dtype of ``x``.

        add, multiply, maximum, minimum; logical_and, logical_or on booleans; argmax, argmin over
        one axis, which give intp.
        """

    def scan(self, op: str, x: Ref, axis: int) -> Ref:
        """The cumulative ``op`` along one axis, in the dtype of ``x``."""

    def dot(self, pairs: Sequence[tuple[Ref, Ref]]) -> Ref:
        """The sum of products (..., m, k) by (..., k, n)."""

    def scatter_add(self, x: Ref, indices: Sequence[Ref], shape: Shape) -> Ref:
        """``out[indices[i]] += x[i]``, from zeros."""

    def copy(self, x: Ref, shape: Shape) -> Ref:
        """The elements in C order under another shape: stored."""

    def loop(self, body: Any, count: int, carries: Sequence[Ref], inputs: Sequence[Ref],
             shared: int = 0) -> Ref:
        """``count`` runs of the Graph ``body(*carries, *inputs[i])``.

        The last ``shared`` of the inputs are given whole to every run. Its first results are the
        next carries, the others are stacked; the value is a tuple.
        """

    def branch(self, condition: Ref, bodies: Sequence[Any], inputs: Sequence[Ref]) -> Ref:
        """The results of the Graph ``bodies[condition](*inputs)``, the one that is run."""

    def repeat(self, condition: Any, body: Any, carries: Sequence[Ref], inputs: Sequence[Ref]
               ) -> Ref:
        """``carries = body(*carries, *inputs)`` while the Graph ``condition`` of them holds.

        The value is a tuple: the last carries, and how often the body ran, as an int64.
        """

    def item(self, x: Ref, index: int) -> Ref:
        """One result of a statement with several."""

    def call(self, function: Callable[..., Any], xs: Sequence[Ref], known: Any) -> Ref:
        """A C entry point or Python."""


def lowered_row(b: Builder, n: Any, xs: Sequence[Ref]) -> Ref:
    """A step as statements; a row without a lowering (a user's function) is a call of its impl."""
    if n.prim.lower is not None:
        return n.prim.lower(b, *xs, **n.params)
    impl, params = n.prim.impl, n.params
    return b.call(lambda *values: impl(*values, **params), xs, n.aval)


def straight(n: int) -> Index:
    """The index of n axes, unchanged."""
    return tuple((0, ((d, 1),)) for d in range(n))


def cast(b: Builder, x: Ref, dtype: Any) -> Ref:
    """``x`` in a dtype; nothing where it has it."""
    return x if x.dtype == dtype and not x.weak else b.cast(x, dtype)


def broadcast(b: Builder, x: Ref, shape: Shape) -> Ref:
    """``x`` seen in a larger shape by NumPy's rule: an axis of size 1 is read at 0 throughout."""
    if x.shape == shape:
        return x
    lead = len(shape) - len(x.shape)
    index = tuple((0, ((lead + d, 1),)) if n == shape[lead + d] else (0, ())
                  for d, n in enumerate(x.shape))
    return b.view(x, index, shape)


def aligned(b: Builder, xs: Sequence[Ref]) -> list[Ref]:
    """All of ``xs`` broadcast to their common shape."""
    shapes = [x.shape for x in xs]
    if shapes.count(shapes[0]) == len(shapes):
        return list(xs)
    shape = np.broadcast_shapes(*shapes)
    return [broadcast(b, x, shape) for x in xs]


def permuted(b: Builder, x: Ref, axes: Shape) -> Ref:
    """``x`` with its axes in another order."""
    where = {axis: position for position, axis in enumerate(axes)}
    index = tuple((0, ((where[d], 1),)) for d in range(len(axes)))
    return b.view(x, index, tuple(x.shape[a] for a in axes))


def expanded(b: Builder, x: Ref, axes: Shape, shape: Shape) -> Ref:
    """A reduced ``x`` seen again in ``shape``, constant along ``axes``: the transpose of a sum."""
    rest = [d for d in range(len(shape)) if d not in axes]
    return b.view(x, tuple((0, ((d, 1),)) for d in rest), shape)


def reshaped(b: Builder, x: Ref, shape: Shape) -> Ref:
    """``x`` under another shape: a view if axes split or of size 1 come and go; else a copy."""
    kept, rest = [[d for d, n in enumerate(s) if n != 1] for s in (x.shape, shape)]
    if [x.shape[d] for d in kept] == [shape[d] for d in rest]:
        where = dict(zip(kept, rest, strict=True))
        index = tuple((0, ((where[d], 1),)) if d in where else (0, ())
                      for d in range(len(x.shape)))
        return b.view(x, index, shape)
    index = split(x.shape, shape)
    return b.copy(x, shape) if index is None else b.view(x, index, shape)


def split(old: Shape, shape: Shape) -> Index | None:
    """The index of a reshape that only splits axes; None if it merges some."""
    if prod(old) == 0:
        return None
    index: list[Axis] = []
    d = 0
    for n in old:
        terms: list[int] = []
        size = 1
        while d < len(shape) and size < n:
            terms.append(d)
            size *= shape[d]
            d += 1
        if size != n:
            return None
        steps = [prod(shape[t + 1:terms[-1] + 1]) for t in terms]
        index.append((0, tuple(zip(terms, steps, strict=True))))
    return tuple(index) if all(n == 1 for n in shape[d:]) else None
