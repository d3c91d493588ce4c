"""What a product is made of: memory at affine places, sums in registers, and what follows them.

`Tiles` writes into a kernel (an Evaluator) that it is given. An `Access` is a place in memory that
is affine in the variables of open loops; ``summed`` is the innermost loop of a product, and
``finish`` hands its sums to the statements that are stored.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from .blocks import LINE, UNROLLED
from .evaluator import CHECKS, Address, Value
from .registers import INT32, INT64, Lanes
from .text import Block, constant, memory_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .blocks import Plan
    from .evaluator import Entry, Evaluator, Place

    Bound = int | str

MANY = 12  # sums of a tile from which on fewer turns of k are enough to hide those of the loop
FORESEEN = 1 << 18  # bytes of a result from which on its memory is fetched before it is written
PACK = -1  # stands for the scratch memory among the buffers of a kernel


class Access(NamedTuple):
    """The element ``start + sum(terms[v] v)`` of a buffer of so many elements.

    ``strides`` are the distances of its neighbours; a panel counts them from its own start.
    """

    buffer: int
    extent: int
    start: int
    terms: dict[str, int]
    strides: dict[str, int]

    def steps(self, **shifts: int) -> int:
        """The distance to a neighbour."""
        return sum([shift * self.strides.get(name, 0) for name, shift in shifts.items()])


class Tiles:
    """The parts of the kernel of a product."""

    def __init__(self, kernel: Evaluator, n: int, roots: Sequence[int], plan: Plan) -> None:
        self.kernel, self.n, self.roots, self.plan = kernel, n, roots, plan
        self.writer = kernel.writer
        self.known = kernel.known(n)
        self.dtype, self.lanes = self.known.dtype, plan.lanes
        self.one, self.type = memory_type(self.dtype), memory_type(self.dtype, self.lanes)
        self.batch: list[Entry] = []

    # ---- loops

    @contextmanager
    def when(self, condition: str) -> Generator[None]:
        """What runs only under a condition."""
        outer, label, out = (self.writer.blocks[-1], self.writer.name("when"),
                             self.writer.name("past"))
        inner = Block(label)
        self.writer.blocks.append(inner)
        yield
        self.writer.blocks.pop()
        outer.lines += [f"  br i1 {condition}, label %{label}, label %{out}", f"{label}:",
                        *inner.lines, f"  br label %{out}", f"{out}:"]
        outer.label = out

    def turns(self, variable: str, span: tuple[Bound, Bound, int],
              body: Callable[[], object]) -> None:
        """A loop, or no loop where it has one turn."""
        start, end, step = span
        if isinstance(start, int) and isinstance(end, int) and end - start <= step:
            with self.writer.fixed(variable, start):
                body()
            return
        with self.writer.loop(variable, span):
            body()

    def pieces(self, variable: str, size: int, step: int, body: Callable[[int], object],
               bounds: tuple[Bound, Bound] | None = None) -> None:
        """Whole pieces of an axis, then the rest; with bounds, which begin a piece, from-to."""
        main = size - size % step
        if bounds is None:
            if main:
                self.turns(variable, (0, main, step), lambda: body(step))
            if size > main:
                self.turns(variable, (main, size, step), lambda: body(size - main))
            return
        start, end = bounds
        if main:
            whole = self.smaller(end, main)
            with self.when(self.put(f"icmp ult i64 {start}, {whole}")):
                self.turns(variable, (start, whole, step), lambda: body(step))
        if size > main:
            with self.when(self.put(f"icmp ugt i64 {end}, {main}")):
                self.turns(variable, (main, size, step), lambda: body(size - main))

    def put(self, text: str) -> str:
        """A new value, here."""
        return self.writer.put(self.writer.depth, text)

    def smaller(self, a: Bound, b: Bound) -> str:
        """The smaller of two counts."""
        self.writer.module.declare("llvm.umin.i64", "i64", "i64", "i64")
        return self.put(f"call i64 @llvm.umin.i64(i64 {a}, i64 {b})")

    # ---- memory

    def access(self, x: int, place: Place) -> Access:
        """A statement at a place, a view of what is stored."""
        k = self.kernel
        while x not in k.stored:
            s = k.program.statements[x]
            place = k.seen(s.parameters[0], place)
            (x,) = s.inputs
        return self.buffer(x, place)

    def buffer(self, n: int, place: Place) -> Access:
        """What is stored, or will be, at a place."""
        start, terms = 0, dict[str, int]()
        for (offset, parts), stride in zip(place, self.kernel.placed(n), strict=True):
            start += offset * stride
            for name, step in parts:
                terms[name] = terms.get(name, 0) + step * stride
        terms = {v: s for v, s in terms.items() if s}
        return Access(n, self.kernel.extent(n), start, terms, terms)

    def pointer(self, at: Access, shift: int, last: int) -> str:
        """A pointer to an element; in a checked build only if it and ``last`` more are inside.

        The constant part comes last, so that it becomes part of an instruction's address.
        """
        w, start = self.writer, at.start + shift
        offset, depth = self.kernel.offset(at.terms, 0)
        if self.kernel.checked:
            self.check(at, offset, depth, start, last)
        base = self.kernel.buffer(at.buffer)
        if offset != "0":
            base = w.once(depth, f"getelementptr {self.one}, ptr {base}, i64 {offset}")
        return w.once(depth, f"getelementptr {self.one}, ptr {base}, i64 {start}")

    def check(self, at: Access, offset: str, depth: int, start: int, last: int) -> None:
        """Leave the function unless the elements are inside the buffer."""
        code = self.kernel.code(self.n if at.buffer == PACK else at.buffer, CHECKS)
        for end in {start, start + last}:
            place = self.writer.once(depth, f"add i64 {offset}, {end}")
            inside = self.writer.once(depth, f"icmp ult i64 {place}, {at.extent}")
            self.writer.demand(depth, inside, code)

    def load(self, at: Access, shift: int = 0, active: int = 0) -> str:
        """A vector; of ``active`` lanes, and zeros, where that is not 0."""
        pointer = self.pointer(at, shift, (active or self.lanes) - 1)
        if not active:
            return self.put(f"load {self.type}, ptr {pointer}, align {self.dtype.itemsize}")
        with self.masked(active) as k:
            return k.masked_load(self.type, pointer, self.here(), self.dtype.itemsize)

    def load_one(self, at: Access, shift: int = 0) -> str:
        """An element, in every lane."""
        pointer = self.pointer(at, shift, 0)
        one = self.put(f"load {self.one}, ptr {pointer}, align {self.dtype.itemsize}")
        return self.at().splat(one)

    def store(self, text: str, at: Access, shift: int = 0) -> None:
        """Write a whole vector."""
        pointer = self.pointer(at, shift, self.lanes - 1)
        self.writer.do(self.writer.depth,
                       f"store {self.type} {text}, ptr {pointer}, align {self.dtype.itemsize}")

    def here(self) -> Address:
        """An address of which only the loop that it is used in counts."""
        return Address("", self.writer.depth, 1, "")

    def at(self) -> Lanes:
        """Arithmetic on vectors, here."""
        return Lanes(self.writer, self.writer.depth, self.lanes, self.dtype)

    @property
    def zero(self) -> str:
        """A vector of zeros."""
        return constant(0, self.dtype, self.lanes)

    @contextmanager
    def masked(self, active: int, vector: str = "") -> Generator[Evaluator]:
        """The kernel, evaluating so many lanes (0: all) of a variable."""
        k = self.kernel
        before = k.vector, k.width, k.active
        k.vector, k.width = vector or k.vector, self.lanes
        k.active = 0 if active == self.lanes else active
        yield k
        k.vector, k.width, k.active = before

    # ---- sums

    def summed(self, left: Access, right: Access, span: tuple[Bound, Bound, int],
               tile: tuple[int, Sequence[int]], sums: Sequence[str]) -> list[str]:
        """``sums`` of rows and vectors, and the products over k of the two sides.

        ``tile`` is the number of rows, and of lanes that count in each vector (0: all).
        """
        start, end, step = span
        if start == end:
            return list(sums)
        types = [self.type] * len(sums)
        if isinstance(start, int) and isinstance(end, int) and end - start == step:
            with self.writer.fixed("k", start):
                return self.products(left, right, step, tile, sums)
        with self.writer.loop("k", span, list(zip(types, sums, strict=True))) as turn:
            turn.following = self.products(left, right, step, tile, turn.carried)
        return turn.carried

    def products(self, left: Access, right: Access, turns: int,
                 tile: tuple[int, Sequence[int]], sums: Sequence[str]) -> list[str]:
        """Some turns of k: each element of a column of the left side times a row of the right."""
        rows, active = tile
        sums, at = list(sums), self.at()
        for u in range(turns):
            row = [self.load(right, right.steps(k=u) + q * self.lanes, a)
                   for q, a in enumerate(active)]
            for r in range(rows):
                x = self.load_one(left, left.steps(k=u, row=r))
                for q, z in enumerate(row):
                    j = r * len(row) + q
                    sums[j] = at.accumulate(x, z, sums[j])
        return sums

    def over_depth(self, depth: int, left: Access, right: Access,
                   tile: tuple[int, Sequence[int]], sums: Sequence[str]) -> list[str]:
        """All of k: whole turns, then the rest."""
        step = UNROLLED if len(sums) < MANY else UNROLLED // 2
        main = depth - depth % step
        sums = self.summed(left, right, (0, main, step), tile, sums)
        return self.summed(left, right, (main, depth, depth - main), tile, sums)

    # ---- results

    def place(self, row: Entry, column: Entry) -> Place:
        """An index of the statement."""
        if self.plan.shape.swapped:
            row, column = column, row
        return (*self.batch, row, column)

    def foresee(self, rows: int, columns: int) -> None:
        """Fetch the memory of the roots at a tile, while its sums are computed."""
        self.writer.module.declare("llvm.prefetch.p0", "void", "ptr", "i32", "i32", "i32")
        for root in self.roots:
            size, shape = self.kernel.known(root).dtype.itemsize, self.kernel.known(root).shape
            if prod(shape) * size < FORESEEN or len(shape) < len(self.known.shape):
                continue
            at = self.buffer(root, self.place((0, (("row", 1),)), (0, (("column", 1),))))
            for r in range(rows):
                for c in range(0, columns, LINE // size):
                    pointer = self.pointer(at, at.steps(row=r, column=c), 0)
                    self.writer.do(self.writer.depth, f"call void @llvm.prefetch.p0(ptr {pointer}, "
                                                      "i32 1, i32 3, i32 1)")

    def finish(self, place: Place, text: str, active: int, vector: str = "column") -> None:
        """Store the roots at a place, where the product is known in lanes of a variable."""
        with self.masked(active, vector) as k:
            depth = self.writer.depth
            # Along an axis of one element what follows may read it at 0.
            forms = [(e,) if size > 1 else (e, (0, ())) for e, size in
                     zip(place, k.known(self.n).shape, strict=True)]
            for form in product(*forms):
                self.writer.blocks[-1].memo[self.n, form] = Value(text, depth, True)
            # A root may be written over what another one reads at this place.
            values: list[Value] = []
            for k.reader in self.roots:
                s = k.program.statements[k.reader]
                values.append(k.value(s.inputs[0] if s.name == "reduce" else k.reader, place))
            for k.reader, value in zip(self.roots, values, strict=True):
                if k.program.statements[k.reader].name == "reduce":
                    self.add_up(k.reader, place, value)
                else:
                    k.store(k.reader, place, value)
            k.reader = self.n

    def add_up(self, root: int, place: Place, value: Value) -> None:
        """A term of a sum over axes of the batch, added to what is in memory."""
        k, depth, dtype = self.kernel, self.writer.depth, self.kernel.known(root).dtype
        axes = k.program.statements[root].parameters[1]
        to = tuple([entry for d, entry in enumerate(place) if d not in axes])
        old = k.load(root, to, depth)
        old = old._replace(text=self.unless_first(axes, old, k.lanes(dtype, old.depth, old.wide)))
        (before, more), _, wide = k.joined([(old, dtype), (value, dtype)])
        at = k.lanes(dtype, depth, wide)
        k.store(root, to, Value(at.add(before, more), depth, wide))

    def unless_first(self, axes: Sequence[int], value: Value, at: Lanes) -> str:
        """The bits of a value, but 0 in the first turn of some axes of the batch."""
        w, dtype = self.writer, INT32 if at.dtype.itemsize == INT32.itemsize else INT64
        turns = [w.variables[f"batch{d}"] for d in axes]
        depth, some = max(v.depth for v in turns), "0"
        for v in turns:
            some = w.once(depth, f"or i64 {some}, {v.text}")
        later = w.once(depth, f"icmp ne i64 {some}, 0")
        mask = Value(w.once(depth, f"sext i1 {later} to {memory_type(dtype)}"), depth)
        bits = at.of(dtype)
        text = bits.put(f"bitcast {at.type} {value.text} to {bits.type}")
        keep = (self.kernel.wide(mask, dtype) if value.wide else mask).text
        return at.put(f"bitcast {bits.type} {bits.binary('and', text, keep)} to {at.type}")
