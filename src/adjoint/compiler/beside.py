"""Rows beside one another: short rows are computed one in each lane, several at a time.

A row of ten numbers fills no vectors, and each of its sums waits for the one before. So where the
inner axes of a group are short, its outer axis runs over lanes: sums over a row need no lanes to be
folded, and what is one number for each row is a vector. In memory that is the kernel's own, the
lanes of one element follow one another:

* temporaries have an axis more, the lanes;
* sums over the rows have a vector for each element, folded behind all loops;
* what is read row by row is copied first, the rows of a turn beside one another;
* what a pass stores row by row is turned back into rows behind it.

Rows and lanes are exchanged in registers, squares of vectors at a time.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from .evaluator import CHECKS, Value
from .loops import COMBINE, Loops, identity, start
from .text import Block, memory_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .evaluator import Place
    from .loops import Axes
    from .schedule import Group, Schedule

COPIED = 256  # elements of a row that is copied
PAIRS = 2  # elements of a row that needs no copy: its neighbours lie close


def own(shape: Sequence[int]) -> tuple[Axes, Place]:
    """Loops over a shape whose variables no other loops have, and the index in it."""
    axes = [(f"own{d}", size) for d, size in enumerate(shape) if size > 1]
    return axes, tuple([(0, ((f"own{d}", 1),)) if size > 1 else (0, ())
                        for d, size in enumerate(shape)])


class Beside(Loops):
    """Loops whose outer axis may run over lanes: ``rows`` are their number, 0 where it does not."""

    schedule: Schedule
    group: Group
    mine: set[int]
    floor: int

    def begin(self) -> None:
        """Nothing is summed, nothing copied yet."""
        self.rows = self.group.rows
        self.rooms: dict[int, str] = {}  # of sums over rows, and of copies
        self.copied: set[int] = set()
        self.stores: set[int] = set()  # what this pass stores in rooms
        self.turned: set[int] = set()  # what passes of this turn have stored so

    # ---- memory of its own

    def room(self, n: int, size: int) -> str:
        """The pointer to so many vectors on the stack."""
        if n not in self.rooms:
            self.rooms[n] = name = "%" + self.writer.name("room")
            type_ = memory_type(self.known(n).dtype)
            self.writer.blocks[0].lines.insert(
                0, f"  {name} = alloca [{size * self.rows} x {type_}], align 64")
        return self.rooms[n]

    def spot(self, n: int, shape: tuple[int, ...], place: Place) -> tuple[str, int]:
        """The pointer to the lanes of one element of a room, and where it is known."""
        base = self.room(n, prod(shape))
        at = self.address(place, tuple([k * self.rows for k in self.strides(shape)]))
        if self.checked:
            inside = self.writer.once(
                at.depth, f"icmp ult i64 {at.offset}, {prod(shape) * self.rows}")
            self.writer.demand(at.depth, inside, self.code(n, CHECKS))
        type_ = memory_type(self.known(n).dtype)
        pointer = f"getelementptr {type_}, ptr {base}, i64 {at.offset}"
        return self.writer.once(at.depth, pointer), at.depth

    def read(self, n: int, pointer: str, depth: int) -> str:
        """The lanes that a pointer shows."""
        dtype = self.known(n).dtype
        return self.writer.put(depth, f"load {memory_type(dtype, self.rows)}, ptr {pointer}, "
                               f"align {dtype.itemsize}")

    def write_lanes(self, n: int, pointer: str, text: str) -> None:
        """Write the lanes that a pointer shows."""
        dtype = self.known(n).dtype
        self.writer.do(self.writer.depth, f"store {memory_type(dtype, self.rows)} {text}, "
                       f"ptr {pointer}, align {dtype.itemsize}")

    # ---- temporaries

    @contextmanager
    def counted_from(self, n: int) -> Generator[None]:
        """Lanes of a temporary are counted from the turn's first, not from the first of all."""
        variables = self.writer.variables
        if not self.rows or n not in self.schedule.temporaries or self.vector not in variables:
            yield
            return
        before = variables[self.vector]
        variables[self.vector] = before._replace(text="0")
        yield
        variables[self.vector] = before

    def store(self, n: int, place: Place, value: Value,
              strides: tuple[int, ...] | None = None) -> None:
        """Write an element of a buffer, or one for each lane."""
        if self.rows and strides is None and self.is_row(n, place):
            self.stores.add(n)
            pointer, _ = self.spot(n, self.known(n).shape[1:], place[1:])
            self.write_lanes(n, pointer, self.wide(value, self.known(n).dtype).text)
            return
        with self.counted_from(n):
            super().store(n, place, value, strides)

    def load(self, n: int, place: Place, depth: int = 0,
             strides: tuple[int, ...] | None = None) -> Value:
        """An element of a buffer, or one for each lane."""
        if self.rows and strides is None and self.is_row(n, place) and (
                n not in self.mine or n in self.stores | self.turned):
            return self.from_room(n, place, depth)
        with self.counted_from(n):
            return super().load(n, place, depth, strides)

    # ---- copies of rows

    def is_row(self, n: int, place: Place) -> bool:
        """Whether lanes are rows of a buffer in memory, at one place in each."""
        shape, variables = self.known(n).shape, self.writer.variables
        return n not in self.schedule.temporaries and len(shape) > 1 and (
            PAIRS < prod(shape[1:]) <= COPIED and self.known(n).dtype.kind != "b"
            and place[0] == (0, ((self.vector, 1),)) and not any(
                variables[name].lanes for _, terms in place[1:] for name, _ in terms))

    def from_room(self, n: int, place: Place, depth: int) -> Value:
        """The lanes of an element: stored by this turn, or copied at its beginning."""
        if n not in self.mine:
            self.copied.add(n)
        pointer, known = self.spot(n, self.known(n).shape[1:], place[1:])
        depth = max(known, depth, self.floor)
        return Value(self.read(n, pointer, depth), depth, wide=True)

    @contextmanager
    def copying(self) -> Generator[None]:
        """What is copied of the rows of a turn, in front of all that the turn computes."""
        if not self.rows:
            yield
            return
        block = self.writer.blocks[-1]
        first, copies, go = len(block.lines), Block(block.label), self.writer.name("rows")
        block.lines += [f"  br label %{go}", f"{go}:"]
        block.label = go
        self.copied, self.turned = set(), set()
        yield
        self.writer.blocks[-1] = copies
        for n in sorted(self.copied):
            self.squares(n, self.copy)
        self.writer.blocks[-1] = block
        block.lines[first:first] = copies.lines

    def back_to_rows(self) -> None:
        """Write what a pass has stored in rooms, where it belongs."""
        for n in sorted(self.stores):
            self.squares(n, self.turn_back)
        self.turned |= self.stores
        self.stores = set()

    def squares(self, n: int, body: Callable[[int, int], None]) -> None:
        """Some elements of all rows of a turn, as many as there are rows, then the others."""
        size, self.reader = prod(self.known(n).shape[1:]), n
        main = size - size % self.rows

        def whole(carried: Sequence[str]) -> Sequence[str]:
            body(n, self.rows)
            return ()
        if main:
            self.turns("element", (0, main, self.rows), whole, ())
        if size > main:
            with self.writer.fixed("element", main):
                body(n, size - main)

    def copy(self, n: int, columns: int) -> None:
        """Put the lanes of each element of a square together."""
        at = self.lanes(self.known(n).dtype, self.writer.depth, wide=True)
        with self.along_rows(n, columns) as (places, strides):
            rows = [super(Beside, self).load(n, place, at.depth, strides).text for place in places]
        for c, text in enumerate(at.transposed(rows, columns)):
            self.write_lanes(n, self.element(n, c), text)

    def turn_back(self, n: int, columns: int) -> None:
        """Put the elements of each row of a square together."""
        at = self.lanes(self.known(n).dtype, self.writer.depth, wide=True)
        lanes = [self.read(n, self.element(n, c), at.depth) for c in range(columns)]
        with self.along_rows(n, columns) as (places, strides):
            for place, text in zip(places, at.transposed(lanes, len(places)), strict=True):
                super().store(n, place, Value(text, at.depth, wide=True), strides)

    def element(self, n: int, column: int) -> str:
        """The pointer to the lanes of an element of a square."""
        size = prod(self.known(n).shape[1:])
        return self.spot(n, (size,), ((column, (("element", 1),)),))[0]

    @contextmanager
    def along_rows(self, n: int, columns: int) -> Generator[tuple[list[Place], tuple[int, int]]]:
        """Lanes run over elements of a row; where the rows of this turn begin, and the strides."""
        row, variables, before = self.vector, self.writer.variables, self.active
        start = variables[row]
        variables[row] = start._replace(lanes=False)
        self.vector, self.active = "element", columns % self.rows
        yield ([((r, ((row, 1),)), (0, (("element", 1),))) for r in range(before or self.rows)],
               (prod(self.known(n).shape[1:]), 1))
        self.vector, self.active, variables[row] = row, before, start

    # ---- sums over rows

    def begin_sum(self, n: int) -> None:
        """What a sum over the rows begins with, in each lane."""
        op = self.program.statements[n].parameters[0]
        shape, dtype = self.known(n).shape, self.known(n).dtype
        self.vector, self.width = "", self.rows
        axes, place = own(shape)

        def body(carried: Sequence[str]) -> Sequence[str]:
            number = self.lanes(dtype, 0, wide=True).constant(start(op, dtype))
            self.write_lanes(n, self.spot(n, shape, place)[0], number)
            return ()
        self.nest(axes, body)

    def add_rows(self, n: int, to: Place, value: Value, op: str, dtype: Any) -> None:
        """Combine what each lane has summed with what this turn has, in the lanes that count."""
        at = self.lanes(dtype, self.writer.depth, wide=True)
        text = self.wide(value, dtype).text
        if self.active:
            text = at.select(self.mask(), text, at.constant(identity(op, dtype)))
        pointer, _ = self.spot(n, self.known(n).shape, to)
        before = self.read(n, pointer, self.writer.depth)
        self.write_lanes(n, pointer, getattr(at, COMBINE[op])(before, text))

    def end_sum(self, n: int) -> None:
        """The lanes of a sum over the rows, folded."""
        op = self.program.statements[n].parameters[0]
        shape, dtype = self.known(n).shape, self.known(n).dtype
        self.vector, self.width = "", self.rows
        axes, place = own(shape)

        def body(carried: Sequence[str]) -> Sequence[str]:
            depth = self.writer.depth
            text = self.read(n, self.spot(n, shape, place)[0], depth)
            text = self.lanes(dtype, depth, wide=True).folded(COMBINE[op], text)
            self.store(n, place, Value(text, depth))
            return ()
        self.nest(axes, body)
