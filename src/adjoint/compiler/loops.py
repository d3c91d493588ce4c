"""Loops over axes, around an Evaluator: what every kernel is made of.

One axis runs over lanes; its tail is the same code with a mask, so that an element's value does
not depend on where it stands. Loops carry values from turn to turn in registers.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .evaluator import Evaluator, Value
from .interleave import interleaved
from .text import Block

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
    native = 2  # lanes of a native vector
    abreast = False  # whether the native vectors of a turn are computed side by side

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
            self.native = max(2, self.vector_bytes // itemsize)
            self.width = lanes_for(size, self.native, spans)

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
        write = self.abreast_of(inner, carries) if lanes else inner
        if end - start == step:
            with self.writer.fixed(variable, start, lanes):
                return list(write([first for _, first in carries]))
        with self.writer.loop(variable, span, carries, lanes) as turn:
            turn.following = write(turn.carried)
        return turn.carried

    def abreast_of(self, inner: Body, carries: Sequence[tuple[str, str]]) -> Body:
        """What writes a turn of the axis that runs over lanes."""
        types = [type_ for type_, _ in carries]
        return lambda carried: self.side_by_side(inner, carried, types)

    def side_by_side(self, inner: Body, carried: list[str], types: Sequence[str]) -> list[str]:
        """One turn of the axis that runs over lanes: by native vectors, if formulas are long.

        Code with jumps in it is not taken apart, except that a checked build asks at each vector.
        """
        w, width, many = self.writer, self.width, self.width // self.native
        if not self.abreast or many < 2:
            return list(inner(carried))
        whole, counter = w.blocks[-1], w.variables[self.vector]
        given = [self.cut_up(type_, text, many) for type_, text in zip(types, carried, strict=True)]
        parts, after, label = list[list[str]](), list[list[str]](), whole.label
        self.width //= many
        for k in range(many):
            at = counter._replace(text=self.shifted(counter.text, k * self.width))
            w.blocks[-1], w.variables[self.vector] = (part := Block(label)), at
            after.append(list(inner([pieces[k] for pieces in given])))
            w.blocks[-1] = whole
            parts.append(part.lines)
            if part.label != label and not self.checked:
                break
            label = part.label
        w.variables[self.vector], self.width = counter, width
        if len(parts) < many:
            return list(inner(carried))
        if label == whole.label and len({len(part) for part in parts}) == 1:
            whole.lines += interleaved(w.module, parts)
        else:
            whole.lines += [line for part in parts for line in part]
            whole.label = label
        return [self.put_together(type_, pieces)
                for type_, *pieces in zip(types, *after, strict=True)]

    def shifted(self, counter: str, lanes: int) -> str:
        """A counter that is so many lanes ahead."""
        if counter.isdigit() or not lanes:
            return str(int(counter) + lanes) if lanes else counter
        return self.writer.put(self.writer.depth, f"add nuw nsw i64 {counter}, {lanes}")

    def cut_up(self, type_: str, text: str, many: int) -> list[str]:
        """The native vectors that a wide one consists of."""
        lanes = [", ".join(f"i32 {k * self.native + j}" for j in range(self.native))
                 for k in range(many)]
        return [self.writer.put(self.writer.depth, f"shufflevector {type_} {text}, {type_} poison, "
                                f"<{self.native} x i32> <{order}>") for order in lanes]

    def put_together(self, type_: str, parts: list[str]) -> str:
        """The wide vector that consists of native ones."""
        one, size = type_.rpartition(" x ")[2], self.native
        while len(parts) > 1:
            order = ", ".join(f"i32 {k}" for k in range(2 * size))
            type_ = f"<{size} x {one}"
            parts = [self.writer.put(self.writer.depth, f"shufflevector {type_} {a}, {type_} {b}, "
                                     f"<{2 * size} x i32> <{order}>")
                     for a, b in zip(parts[::2], parts[1::2], strict=True)]
            size *= 2
        return parts[0]

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
