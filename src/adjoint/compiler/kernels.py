"""The loops of one statement that has a kernel for itself: searches, scans, scatters, products.

A kernel has one parameter for each buffer that it touches, in the order of first use, and returns 0
or a failure code. What a group of statements needs together is written by ``nests.py``.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from .evaluator import RANGES, Value
from .functions_ir import CURVED
from .gemm import suits, write
from .loops import COMBINE, WIDENED, Loops, identity, straight
from .registers import BOOL, INT64, Lanes
from .text import register_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .loops import Axes, Place
    from .schedule import Group, Schedule
    from .text import Module

LONG = 32  # elements from which a search is in lanes
SEARCH = {"argmax": ("greater", "maximum"), "argmin": ("less", "minimum")}


class Kernel(Loops):
    """The function that computes the one statement of a group, or a dot and what it becomes."""

    span: tuple[str, str] | None = None  # of a product, where a part of it is computed

    def __init__(self, schedule: Schedule, group: Group, module: Module, *,
                 vector_bytes: int, checked: bool = False) -> None:
        self.roots = group.roots
        self.n = self.roots[0]
        super().__init__(schedule.program, schedule.stored - {*self.roots}, module, width=0,
                         checked=checked)
        self.vector_bytes, self.reader = vector_bytes, self.n
        self.registers = schedule.registers
        self.statement = self.program.statements[self.n]
        inlined = self.inlined(self.n)
        self.widest = max([self.known(i).dtype.itemsize for i in inlined])
        curved = any(self.program.statements[i].parameters[0] in CURVED for i in inlined
                     if self.program.statements[i].name == "elementwise")
        self.spans = 1 if curved else WIDENED
        if prod(self.known(self.n).shape):
            getattr(self, "write_" + self.statement.name)()

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

    def spread_lanes(self, axes: Axes) -> None:
        """Let the last of some axes run over lanes."""
        self.over_lanes(axes, self.widest, self.spans)

    @property
    def dtype(self) -> Any:
        """The dtype of what is combined."""
        return self.known(self.statement.inputs[0]).dtype

    # ---- statements

    def write_copy(self) -> None:
        """The elements of the operand in C order."""
        (x,) = self.statement.inputs
        self.moved(x, lambda place: place, self.known(x).shape)

    def write_pad(self) -> None:
        """The fill value everywhere, then the operand at its places."""
        (x,) = self.statement.inputs
        index, _, number = self.statement.parameters
        self.fill_flat(self.n, number)
        if prod(self.known(x).shape):
            self.moved(x, lambda place: self.seen(index, place), self.statement.known.shape)

    def moved(self, x: int, place_of: Callable[[Place], Place], shape: tuple[int, ...]) -> None:
        """Write each element of ``x`` at a place of a buffer read as ``shape``."""
        axes, place = self.axes(self.known(x).shape), straight(self.known(x).shape)
        self.spread_lanes(axes)

        def body(carried: Sequence[str]) -> Sequence[str]:
            self.store(self.n, place_of(place), self.value(x, place), self.strides(shape))
            return ()
        self.nest(axes, body)

    def write_reduce(self) -> None:
        """The first place of the extreme along an axis; of nothing, what combines to nothing."""
        op, reduced = self.statement.parameters
        (x,) = self.statement.inputs
        shape = self.known(x).shape
        if not prod(shape):
            number = identity(op, self.dtype)
            self.fill_flat(self.n, number if self.dtype.kind != "f" else abs(number))
            return
        kept = [a for a in self.axes(shape) if a[0] != f"i{reduced[0]}"]
        along = reduced[0] == len(shape) - 1 and shape[-1] >= LONG
        self.spread_lanes([("j", shape[-1])] if along else kept)
        place = list(straight(shape))
        place[reduced[0]] = (0, (("j", 1),))
        to = tuple([p for d, p in enumerate(place) if d not in reduced])

        def body(carried: Sequence[str]) -> Sequence[str]:
            text = self.searched(op, x, tuple(place), shape[reduced[0]])
            wide = bool(self.vector) and not along
            self.store(self.n, to, Value(text, self.writer.depth, wide))
            return ()
        self.nest(kept, body)

    def searched(self, op: str, x: int, place: Place, size: int) -> str:
        """The first place of the extreme, or of the first NaN, along the variable ``j``."""
        extreme, wide = SEARCH[op][1], bool(self.vector)

        def body(carried: Sequence[str]) -> Sequence[str]:
            best, where = carried
            at = self.lanes(self.dtype, self.writer.depth, wide)
            text = self.seat(self.value(x, place), self.dtype)
            better = self.better(op, at, text, best)
            if self.active:
                better = at.of(BOOL).binary("and", better, self.mask())
            spot = self.seat(self.position((0, (("j", 1),))), INT64)
            return [at.select(better, text, best), at.of(INT64).select(better, spot, where)]
        at = self.lanes(self.dtype, 0, wide)
        firsts = at.constant(identity(extreme, self.dtype)), at.of(INT64).constant(0)
        types = at.type, at.of(INT64).type
        best, where = self.nest([("j", size)], body, list(zip(types, firsts, strict=True)))
        return self.first(op, best, where) if self.vector == "j" else where

    def better(self, op: str, at: Lanes, text: str, best: str) -> str:
        """Whether a number takes the place of the best one: NaN does, but not of another NaN."""
        better = at.compare(SEARCH[op][0], text, best)
        if not at.floating:
            return better
        truth = at.of(BOOL)
        known = truth.invert(at.unordered(best))
        return truth.binary("or", better, truth.binary("and", at.unordered(text), known))

    def first(self, op: str, best: str, where: str) -> str:
        """The place of the best lane; of equal ones the lowest."""
        depth, width = self.writer.depth, self.width
        while width > 1:
            whole, half = Lanes(self.writer, depth, width, self.dtype), width // 2
            pairs = [(whole.shuffled(best, part), whole.of(INT64).shuffled(where, part))
                     for part in (range(half), range(half, width))]
            at = Lanes(self.writer, depth, half, self.dtype)
            (a, i), (b, j) = pairs
            truth, order = at.of(BOOL), at.of(INT64)
            lower = truth.binary("and", order.compare("less", j, i),
                                 truth.invert(self.better(op, at, a, b)))
            chosen = truth.binary("or", self.better(op, at, b, a), lower)
            best, where, width = at.select(chosen, b, a), order.select(chosen, j, i), half
        return Lanes(self.writer, depth, 0, INT64).put(f"extractelement <1 x i64> {where}, i64 0")

    def write_scan(self) -> None:
        """The other axes outside, the accumulated one inside, each step stored."""
        op, axis = self.statement.parameters
        (x,) = self.statement.inputs
        shape = self.known(x).shape
        place = list(straight(shape))
        place[axis] = (0, (("j", 1),))
        others = [a for a in self.axes(shape) if a[0] != f"i{axis}"]
        self.spread_lanes(others if axis != len(shape) - 1 else [])

        def step(carried: Sequence[str]) -> Sequence[str]:
            depth, wide = self.writer.depth, bool(self.vector)
            text = getattr(self.lanes(self.dtype, depth, wide), COMBINE[op])(
                *carried, self.seat(self.value(x, tuple(place)), self.dtype))
            self.store(self.n, tuple(place), Value(text, depth, wide))
            return [text]

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, 0, bool(self.vector))
            self.nest([("j", shape[axis])], step,
                      [(at.type, at.constant(identity(op, self.dtype)))])
            return ()
        self.nest(others, body)

    def write_dot(self) -> None:
        """Products of floats by tiles; of others rows, and columns over lanes.

        The products of one element are summed in registers; a column sums lanes.
        """
        shape = self.statement.known.shape
        if suits(self.program, self.n):
            roots = [r for r in self.roots if r not in self.registers]
            write(self, self.n, roots, self.vector_bytes, self.span)
            return
        axes, place = self.axes(shape), straight(shape)
        deep = [("k", n) for n in self.known(self.statement.inputs[0]).shape[-1:] if n > 1]
        self.spread_lanes(axes if shape[-1] > 1 else deep)

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, 0, bool(self.vector))
            total = at.constant(0)
            for x, z in zip(self.statement.inputs[::2], self.statement.inputs[1::2], strict=True):
                total = self.product(x, z, place, total)
            wide = bool(self.vector) and self.vector in self.writer.variables
            text = self.fold("add", total, self.dtype)
            self.made(place, Value(text, self.writer.depth, wide))
            return ()
        self.nest(axes, body)

    def made(self, place: Place, value: Value) -> None:
        """Store what becomes of the dot, whose value at a place is known."""
        self.kept(self.n, place, value)
        values: list[tuple[int, Value]] = []
        for r in self.roots:
            self.reader = r
            if r not in self.registers:
                values.append((r, self.value(r, place)))
        for r, known in values:  # one may be written over what another is made of
            self.reader = r
            self.store(r, place, known)

    def product(self, x: int, z: int, place: Place, total: str) -> str:
        """``total`` and the sum over k of x[..., i, k] z[..., k, j]."""
        *batch, row, column = place
        size = self.known(x).shape[-1]
        if not size:
            return total
        k = (0, (("k", 1),)) if size > 1 else (0, ())

        def body(carried: Sequence[str]) -> Sequence[str]:
            at = self.lanes(self.dtype, self.writer.depth, bool(self.vector))
            a = self.seat(self.value(x, (*batch, row, k)), self.dtype)
            b = self.seat(self.value(z, (*batch, k, column)), self.dtype)
            more = at.accumulate(a, b, *carried)
            if self.active and self.vector == "k":
                more = at.select(self.mask(), more, *carried)
            return [more]
        type_ = register_type(self.dtype, self.width)
        # Where another pair's k runs over lanes, one product counts in one lane only.
        axes = [("k", size)] if size > 1 or self.vector == "k" else []
        return self.nest(axes, body, [(type_, total)])[0]

    def write_scatter_add(self) -> None:
        """Zeros, then one element after another."""
        x, *indices = self.statement.inputs
        self.fill_flat(self.n, 0)
        self.vector, self.width = "", 0
        axes, place = self.axes(self.known(x).shape), straight(self.known(x).shape)
        code = self.code(self.n, RANGES)

        def body(carried: Sequence[str]) -> Sequence[str]:
            to = tuple([self.dynamic(self.value(i, place), self.known(i).dtype, size, code)
                        for i, size in zip(indices, self.statement.known.shape, strict=True)])
            value, depth = self.value(x, place), self.writer.depth
            old = self.load(self.n, to, depth)
            at = self.lanes(self.dtype, depth, False)
            self.store(self.n, to, Value(at.add(old.text, value.text), depth))
            return ()
        if prod(self.known(x).shape):
            self.nest(axes, body)
