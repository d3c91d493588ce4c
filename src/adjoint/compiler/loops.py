"""Loops over axes, around an Evaluator: what every kernel is made of.

One axis runs over lanes; its tail is the same code with a mask, so that an element's value does
not depend on where it stands. Loops carry values from turn to turn in registers.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .evaluator import Evaluator, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .evaluator import Place

    Axes = list[tuple[str, int]]
    Body = Callable[[list[str]], Sequence[str]]

# What combines two numbers of a reduction. On truth values + is or, and * is and.
COMBINE = {"add": "add", "multiply": "multiply", "maximum": "larger", "minimum": "smaller",
           "logical_and": "multiply", "logical_or": "add"}
MOST = 64    # lanes
WIDENED = 4  # native vectors that one value spans at most
LONG = 16    # an axis so many times longer than its vectors may have a tail


def identity(op: str, dtype: Any) -> Any:
    """What combines with any number to that number; -0.0 for sums, which keeps the sign of 0."""
    if op in {"add", "logical_or"}:
        return -0.0 if dtype.kind == "f" else 0
    if op in {"multiply", "logical_and"}:
        return 1
    if dtype.kind == "f":
        return -np.inf if op == "maximum" else np.inf
    if dtype.kind == "b":
        return op == "minimum"
    return np.iinfo(dtype).min if op == "maximum" else np.iinfo(dtype).max


def start(op: str, dtype: Any) -> Any:
    """What a reduction begins with: NumPy's sums begin with +0.0, so that of -0.0s is 0.0."""
    return 0 if op == "add" else identity(op, dtype)


def straight(shape: Sequence[int]) -> Place:
    """The index of the variables ``i0, i1, ...``; 0 along axes of size 1, as views say it."""
    return tuple([(0, ((f"i{d}", 1),)) if n > 1 else (0, ()) for d, n in enumerate(shape)])


def lanes_for(size: int, native: int, spans: int) -> int:
    """How many lanes an axis is computed in: up to ``spans`` native vectors for one value.

    A short axis is one value under a mask. Else wider vectors only where they divide the axis, or
    where it is long; few where it is very short.
    """
    width, most = max(2, native), min(native * spans, MOST)
    whole = 1 << (size - 1).bit_length()
    if width < whole <= most and whole // width == -(-size // width):
        return whole
    while 2 * width <= min(size, most) and (size % (2 * width) == 0 or size >= LONG * width):
        width *= 2
    while width > 2 and width // 2 >= size:
        width //= 2
    return width


class Loops(Evaluator):
    """An Evaluator that writes loops; ``vector_bytes`` are those of a native vector."""

    vector_bytes = 16
    rows = 0  # lanes that are rows: then nothing else is

    def name(self) -> str:
        """The name of the function, which is made unless an equal one exists."""
        head = ", ".join(f"ptr %b{k}" for k in range(len(self.buffers)))
        return self.writer.module.kernel(head, self.writer.body())

    def axes(self, shape: Sequence[int], first: int = 0) -> Axes:
        """The variables of a shape, from ``first`` on, that have more than one value."""
        return [(f"i{d}", n) for d, n in enumerate(shape) if d >= first and n > 1]

    def over_lanes(self, axes: Axes, itemsize: int, spans: int) -> None:
        """Let the last of some axes run over lanes."""
        self.vector, self.width = "", 0
        if axes:
            variable, size = axes[-1]
            self.vector = variable
            self.width = lanes_for(size, self.vector_bytes // itemsize, spans)

    def nest(self, axes: Axes, body: Body, carries: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Loops over axes, with what they carry; the last values of that."""
        firsts = [first for _, first in carries]
        if not axes:
            return list(body(firsts))
        (variable, size), rest = axes[0], axes[1:]
        types = [type_ for type_, _ in carries]

        def inner(carried: Sequence[str]) -> list[str]:
            return self.nest(rest, body, list(zip(types, carried, strict=True)))
        if variable == self.vector:
            return self.strips(variable, size, inner, carries)
        return self.turns(variable, (0, size, 1), inner, carries)

    def turns(self, variable: str, span: tuple[int, int, int], inner: Body,
              carries: Sequence[tuple[str, str]]) -> list[str]:
        """One loop, or no loop where it has one turn."""
        start, end, step = span
        lanes = variable == self.vector
        if end - start == step:
            with self.writer.fixed(variable, start, lanes):
                return list(inner([first for _, first in carries]))
        with self.writer.loop(variable, span, carries, lanes) as turn:
            turn.following = inner(turn.carried)
        return turn.carried

    def strips(self, variable: str, size: int, inner: Body,
               carries: Sequence[tuple[str, str]]) -> list[str]:
        """The axis that runs over lanes: whole vectors, then the rest under a mask."""
        carried = [first for _, first in carries]
        main = size - size % self.width
        if main:
            carried = self.turns(variable, (0, main, self.width), inner, carries)
        if size > main:  # nothing is carried past the vectors but these values
            self.active = size - main
            with self.writer.fixed(variable, main, lanes=True):
                carried = list(inner(carried))
            self.active = 0
        return carried

    def fill(self, n: int, place: Place, axes: Axes, number: Any) -> None:
        """Write one number at all places of ``axes``."""
        dtype = self.known(n).dtype
        if not self.rows:
            self.over_lanes(axes, dtype.itemsize, WIDENED)
        value = Value(self.lanes(dtype, 0, False).constant(number), 0)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(n, place, value)
            return ()
        self.nest(axes, body)

    def fill_flat(self, n: int, number: Any) -> None:
        """Write one number everywhere."""
        dtype, axes = self.known(n).dtype, [("z", prod(self.known(n).shape))]
        axes = [a for a in axes if a[1] > 1]
        self.over_lanes(axes, dtype.itemsize, WIDENED)
        value = Value(self.lanes(dtype, 0, False).constant(number), 0)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(n, ((0, tuple([(v, 1) for v, _ in axes])),), value, (1,))
            return ()
        self.nest(axes, body)

    def seat(self, value: Value, dtype: Any) -> str:
        """A value as what is combined: a vector where there are lanes."""
        return (self.wide(value, dtype) if self.vector else value).text

    def fold(self, combine: str, text: str, dtype: Any) -> str:
        """One number of all lanes, unless the lanes are different results."""
        if not self.vector or self.vector in self.writer.variables:
            return text
        return self.lanes(dtype, self.writer.depth, True).folded(combine, text)
