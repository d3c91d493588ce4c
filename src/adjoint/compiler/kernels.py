"""The loops of one stored statement: a function that reads its operands and writes its buffer.

A kernel has one parameter for each buffer that it touches, in the order of first use, and returns 0
or a failure code. Its innermost axis runs over lanes; a tail is the same code with a mask, so that
an element's value does not depend on where it stands.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .evaluator import Evaluator, Value
from .functions_ir import CURVED
from .registers import BOOL, INT64
from .text import register_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .evaluator import Place
    from .program import Program
    from .text import Module

    Axes = list[tuple[str, int]]
    Body = Callable[[list[str]], Sequence[str]]

# What combines two numbers of a reduction. On truth values + is or, and * is and.
COMBINE = {"add": "add", "multiply": "multiply", "maximum": "maximum", "minimum": "minimum",
           "logical_and": "multiply", "logical_or": "add"}
SEARCH = {"argmax": ("greater", "maximum"), "argmin": ("less", "minimum")}
UNROLLED, CURVED_UNROLLED, MOST = 4, 1, 64  # native vectors that one value spans; lanes


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


def straight(rank: int) -> Place:
    """The index of the variables ``i0, i1, ...``."""
    return tuple([(0, ((f"i{d}", 1),)) for d in range(rank)])


class Kernel(Evaluator):
    """The function that computes one stored statement."""

    def __init__(self, program: Program, stored: set[int], module: Module, n: int, *,
                 vector_bytes: int, checked: bool = False) -> None:
        super().__init__(program, stored - {n}, module, width=0, checked=checked)
        self.n, self.vector_bytes = n, vector_bytes
        self.statement = program.statements[n]
        inlined = self.inlined(n)
        self.widest = max([self.known(i).dtype.itemsize for i in inlined])
        self.curved = any(self.program.statements[i].parameters[0] in CURVED for i in inlined
                          if self.program.statements[i].name == "elementwise")
        if prod(self.known(n).shape):
            getattr(self, "write_" + self.statement.name, self.write_map)()

    def name(self) -> str:
        """The name of the function, which is made unless an equal one exists."""
        head = ", ".join(f"ptr %b{k}" for k in range(len(self.buffers)))
        return self.writer.module.kernel(head, self.writer.body())

    # ---- what is evaluated

    def inlined(self, n: int) -> list[int]:
        """The statements whose values this kernel makes, and the buffers that it reads."""
        seen, waiting = {n}, [*self.program.statements[n].inputs]
        while waiting:
            i = waiting.pop()
            if i not in seen:
                seen.add(i)
                if i not in self.stored:
                    waiting += self.program.statements[i].inputs
        return sorted(seen)

    def flattens(self, n: int) -> bool:
        """Whether a value is the same over flat memory: all that it reads is read straight."""
        waiting, seen = [n], set[int]()
        while waiting:
            i = waiting.pop()
            if i in self.stored or i in seen:
                continue
            seen.add(i)
            s = self.program.statements[i]
            if s.name == "view":
                if self.known(s.inputs[0]).shape:
                    return False
            elif s.name not in {"elementwise", "cast", "select", "const"}:
                return False
            waiting += s.inputs
        return True

    # ---- loops

    def over_lanes(self, variable: str, size: int) -> None:
        """Let a variable run over lanes, if its axis is longer than 1."""
        span = CURVED_UNROLLED if self.curved else UNROLLED
        width = min(max(2, self.vector_bytes // self.widest * span), MOST)
        while width > 2 and width // 2 >= size:
            width //= 2
        self.vector, self.width = (variable, width) if size > 1 else ("", 0)

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

    def fill(self, number: Any) -> None:
        """Write one number everywhere."""
        size = prod(self.statement.known.shape)
        self.over_lanes("z", size)
        value = Value(self.lanes(self.statement.known.dtype, 0, False).constant(number), 0)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(self.n, ((0, (("z", 1),)),), value, (1,))
            return ()
        self.nest([("z", size)], body)

    def axes(self, shape: Sequence[int]) -> Axes:
        """The variables of a shape."""
        return [(f"i{d}", size) for d, size in enumerate(shape)]

    def lanes_last(self, axes: Axes) -> None:
        """Let the last axis that is longer than 1 run over lanes."""
        self.vector, self.width = "", 0
        for variable, size in axes:
            if size > 1:
                self.over_lanes(variable, size)

    def seat(self, value: Value) -> str:
        """A value as what this kernel combines: a vector where it has lanes."""
        return (self.wide(value, self.dtype) if self.vector else value).text

    # ---- statements

    def write_map(self) -> None:
        """Element by element."""
        self.flat = self.flattens(self.n)
        shape = self.shape(self.n)
        axes, place = self.axes(shape), straight(len(shape))
        self.lanes_last(axes)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(self.n, place, self.value(self.n, place))
            return ()
        self.nest(axes, body)

    def write_copy(self) -> None:
        """The elements of the operand in C order."""
        (x,) = self.statement.inputs
        self.moved(x, lambda place: place, self.known(x).shape, self.flattens(x))

    def write_pad(self) -> None:
        """The fill value everywhere, then the operand at its places."""
        (x,) = self.statement.inputs
        index, _, number = self.statement.parameters
        self.fill(number)
        if prod(self.known(x).shape):
            self.moved(x, lambda place: self.seen(index, place), self.statement.known.shape, False)

    def moved(self, x: int, place_of: Callable[[Place], Place], shape: tuple[int, ...],
              flat: bool) -> None:
        """Write each element of ``x`` at a place of a buffer read as ``shape``."""
        self.flat = flat and bool(shape)
        to = (prod(shape),) if self.flat else shape
        axes = self.axes(self.shape(x))
        place = straight(len(axes))
        self.lanes_last(axes)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(self.n, place_of(place), self.value(x, place), self.strides(to))
            return ()
        self.nest(axes, body)

    @property
    def dtype(self) -> Any:
        """The dtype of what is combined."""
        return self.known(self.statement.inputs[0]).dtype

    def write_reduce(self) -> None:
        """Kept axes outside, reduced axes inside, with what is accumulated in registers."""
        op, reduced = self.statement.parameters
        (x,) = self.statement.inputs
        if not prod(self.known(x).shape):
            self.fill(identity(op, self.dtype) if self.dtype.kind != "f" else abs(
                identity(op, self.dtype)))
            return
        rank = len(self.known(x).shape)
        if len(reduced) == rank and op in COMBINE and self.flattens(x):
            self.flat, reduced = True, (0,) if rank else ()
        axes, place = self.axes(self.shape(x)), straight(len(self.shape(x)))
        kept = [a for d, a in enumerate(axes) if d not in reduced]
        self.lanes_last(kept if op in SEARCH else axes)
        inner = [a for d, a in enumerate(axes) if d in reduced]
        to = tuple([p for d, p in enumerate(place) if d not in reduced])
        combine = self.searched if op in SEARCH else self.combined

        def body(carried: Sequence[str]) -> Sequence[str]:
            text = combine(op, x, place, inner)
            wide = bool(self.vector) and self.vector in self.writer.variables
            self.store(self.n, to, Value(text, self.writer.depth, wide),
                       self.strides(self.statement.known.shape))
            return ()
        self.nest(kept, body)

    def combined(self, op: str, x: int, place: Place, inner: Axes) -> str:
        """The reduction of ``x`` over the inner axes."""
        neutral = identity(op, self.dtype)
        type_ = register_type(self.dtype, self.width)

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, self.writer.depth, bool(self.vector))
            text = self.seat(self.value(x, place))
            if self.active:
                text = at.select(self.mask(), text, at.constant(neutral))
            return [getattr(at, COMBINE[op])(*carried, text)]
        first = self.lanes(self.dtype, 0, bool(self.vector)).constant(neutral)
        (text,) = self.nest(inner, body, [(type_, first)])
        return self.fold(COMBINE[op], text)

    def fold(self, combine: str, text: str) -> str:
        """One number of all lanes, unless the lanes are different results."""
        if not self.vector or self.vector in self.writer.variables:
            return text
        return self.lanes(self.dtype, self.writer.depth, True).folded(combine, text)

    def searched(self, op: str, x: int, place: Place, inner: Axes) -> str:
        """The first place of the extreme, or of the first NaN."""
        name, extreme = SEARCH[op]
        ((variable, _),) = inner
        wide = bool(self.vector)

        def body(carried: Sequence[str]) -> Sequence[str]:
            best, where = carried
            at = self.lanes(self.dtype, self.writer.depth, wide)
            truth, whole = at.of(BOOL), at.of(INT64)
            text = self.seat(self.value(x, place))
            better = at.compare(name, text, best)
            if at.floating:
                known = truth.invert(at.unordered(best))
                better = truth.binary("or", better, truth.binary("and", at.unordered(text), known))
            index = self.position((0, ((variable, 1),)))
            spot = (self.wide(index, INT64) if wide else index).text
            return [at.select(better, text, best), whole.select(better, spot, where)]
        at = self.lanes(self.dtype, 0, wide)
        firsts = at.constant(identity(extreme, self.dtype)), at.of(INT64).constant(0)
        types = at.type, at.of(INT64).type
        return self.nest(inner, body, list(zip(types, firsts, strict=True)))[1]

    def write_scan(self) -> None:
        """The other axes outside, the accumulated one inside, each step stored."""
        op, axis = self.statement.parameters
        (x,) = self.statement.inputs
        axes, place = self.axes(self.shape(x)), straight(len(self.shape(x)))
        others = [a for d, a in enumerate(axes) if d != axis]
        self.lanes_last(others[-1:] if axis != len(axes) - 1 else [])

        def step(carried: Sequence[str]) -> Sequence[str]:
            depth, wide = self.writer.depth, bool(self.vector)
            text = getattr(self.lanes(self.dtype, depth, wide), COMBINE[op])(
                *carried, self.seat(self.value(x, place)))
            self.store(self.n, place, Value(text, depth, wide))
            return [text]

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, 0, bool(self.vector))
            self.nest([axes[axis]], step, [(at.type, at.constant(identity(op, self.dtype)))])
            return ()
        self.nest(others, body)

    def write_dot(self) -> None:
        """Rows, columns over lanes, and the products summed in registers; a column sums lanes."""
        shape = self.statement.known.shape
        axes, place = self.axes(shape), straight(len(shape))
        self.lanes_last(axes[-1:])
        if shape[-1] == 1:
            self.over_lanes("k", self.known(self.statement.inputs[0]).shape[-1])

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, 0, bool(self.vector))
            total = at.constant(0)
            for x, z in zip(self.statement.inputs[::2], self.statement.inputs[1::2], strict=True):
                total = self.product(x, z, place, total)
            wide = bool(self.vector) and self.vector in self.writer.variables
            value = Value(self.fold("add", total), self.writer.depth, wide)
            self.store(self.n, place, value)
            return ()
        self.nest(axes, body)

    def product(self, x: int, z: int, place: Place, total: str) -> str:
        """``total`` and the sum over k of x[..., i, k] z[..., k, j]."""
        *batch, row, column = place
        k = (0, (("k", 1),))

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, self.writer.depth, bool(self.vector))
            a = self.seat(self.value(x, (*batch, row, k)))
            b = self.seat(self.value(z, (*batch, k, column)))
            more = at.accumulate(a, b, *carried)
            if self.active and self.vector == "k":
                more = at.select(self.mask(), more, *carried)
            return [more]
        size = self.known(x).shape[-1]
        if not size:
            return total
        type_ = register_type(self.dtype, self.width)
        return self.nest([("k", size)], body, [(type_, total)])[0]

    def write_scatter_add(self) -> None:
        """Zeros, then one element after another."""
        x, *indices = self.statement.inputs
        self.fill(0)
        self.vector, self.width = "", 0
        axes = self.axes(self.known(x).shape)
        place = straight(len(axes))

        def body(carried: Sequence[str]) -> Sequence[str]:
            to = tuple([self.dynamic(self.value(i, place), self.known(i).dtype, size, self.n)
                        for i, size in zip(indices, self.statement.known.shape, strict=True)])
            value, depth = self.value(x, place), self.writer.depth
            old = self.load(self.n, to, here=True)
            at = self.lanes(self.dtype, depth, False)
            self.store(self.n, to, Value(at.add(old.text, value.text), depth))
            return ()
        if prod(self.known(x).shape):
            self.nest(axes, body)
