"""The loops of a product around its tiles.

`Small` where the caches hold it, `Large` where k is cut, `Sweep` where one or two rows meet a
matrix that is read once, row by row.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .blocks import up
from .packing import Packing
from .text import Turn
from .tiles import PACK, Access

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .blocks import Plan, Side
    from .evaluator import Evaluator

SWEPT_TURNS = 8  # rows of the right side that are read at a time
TOGETHER = 4  # vectors of sums of which a long formula is made side by side
WORTH = 96  # rows or columns for which the other side may be packed again


def parts(plan: Plan) -> tuple[str, int]:
    """The axis whose pieces are the parts of the result, and their number."""
    found = [("column", -(-plan.shape.columns // plan.width)),
             ("row", -(-plan.shape.rows // (plan.block or plan.rows)))]
    if plan.scheme == "external":
        found = [("all", 1)]
    found += [(f"batch{d}", size) for d, size in enumerate(plan.shape.batch)
              if d not in plan.summed]
    return max(found, key=lambda axis: (max(axis[1] // fewest(plan, axis[0]), 1), axis[1]))


def fewest(plan: Plan, axis: str) -> int:
    """How many parts a thread should compute at once: it packs all of the other side for them."""
    sides = {"row": (1, plan.block or plan.rows), "column": (0, plan.width)}
    if plan.scheme == "sweep" or axis not in sides:
        return 1
    k, step = sides[axis]
    packed = any(pair[k].packed for pair in plan.pairs)
    return -(-WORTH // step) if packed else 1


class Scheme(Packing):
    """The loops over a batch."""

    def __init__(self, kernel: Evaluator, n: int, roots: Sequence[int], plan: Plan,
                 span: tuple[str, str] | None) -> None:
        super().__init__(kernel, n, roots, plan)
        self.span, self.axis = span, parts(plan)[0]

    def bounds(self, variable: str, step: int) -> tuple[str, str] | None:
        """From where to where an axis runs, where the span is one of it."""
        if self.span is None or variable != self.axis:
            return None
        first, last = [self.put(f"mul nuw nsw i64 {end}, {step}") for end in self.span]
        return first, last

    def write(self, axis: int = 0) -> None:
        """All matrices of the batch, from an axis on."""
        if axis == len(self.plan.shape.batch):
            self.matrix()
            return
        self.batch.append((0, ((f"batch{axis}", 1),)))
        self.pieces(f"batch{axis}", self.plan.shape.batch[axis], 1,
                    lambda _: self.write(axis + 1), self.bounds(f"batch{axis}", 1))
        self.batch.pop()

    @contextmanager
    def waiting(self, at: Access, places: Sequence[int], first: str) -> Generator[Turn]:
        """Sums from memory, or zeros at first, and back."""
        turn = Turn([self.put(f"select i1 {first}, {self.type} {self.zero}, "
                              f"{self.type} {self.load(at, place)}") for place in places])
        yield turn
        for place, text in zip(places, turn.following, strict=True):
            self.store(text, at, place)

    def panels(self, left: Side, deep: int) -> Access:
        """The left side in panels: of [row][k] where lanes run over k, else of [k][row]."""
        strides = {"k": 1, "row": deep} if left.along else {"k": self.plan.rows, "row": 1}
        return self.panel(left.region, {"row": deep, "k": strides["k"]}, strides)

    def direct(self, side: Side, left: bool) -> Access:
        """A side where it is stored."""
        return self.access(side.statement, self.side(
            left, (0, (("row" if left else "column", 1),)), (0, (("k", 1),))))

    def left(self, side: Side, depth: int) -> Access:
        """The left side: packed as a whole, or where it is stored."""
        if not side.packed:
            return self.direct(side, True)
        to = self.panels(side, up(depth, self.lanes))
        self.pieces("row", self.plan.shape.rows, self.plan.rows,
                    lambda rows: self.pack_left(side, to, depth, rows))
        return to

    def active(self, width: int) -> list[int]:
        """The lanes that count, of each vector of some columns."""
        return [min(self.lanes, width - q) for q in range(0, width, self.lanes)]

    def matrix(self) -> None:
        """One product."""
        raise NotImplementedError


class Small(Scheme):
    """Strips of columns, in them panels of rows, and for each tile all of k."""

    def matrix(self) -> None:
        """One product."""
        lefts = [self.left(side, depth) for (side, _), depth in
                 zip(self.plan.pairs, self.plan.depths, strict=True)]
        width = self.plan.width
        self.pieces("column", self.plan.shape.columns, width,
                    lambda width: self.strip(lefts, width), self.bounds("column", width))

    def right(self, side: Side, depth: int, width: int) -> Access:
        """The right side of a strip: packed, or where it is stored."""
        if not side.packed:
            return self.direct(side, False)
        strides = {"k": up(width, self.lanes)}
        to = self.panel(side.region, strides, strides)
        self.pack_right(side, to, depth, width)
        return to

    def strip(self, lefts: Sequence[Access], width: int) -> None:
        """Some columns, all rows."""
        p = self.plan
        rights = [self.right(side, depth, width) for (_, side), depth in
                  zip(p.pairs, p.depths, strict=True)]
        if p.block:
            self.pieces("block", p.shape.rows, p.block,
                        lambda rows: self.block(lefts, rights, rows, width),
                        self.bounds("row", p.block))
        else:
            self.pieces("row", p.shape.rows, p.rows,
                        lambda rows: self.tile(lefts, rights, rows, width),
                        self.bounds("row", p.rows))

    def tile(self, lefts: Sequence[Access], rights: Sequence[Access], rows: int,
             width: int) -> None:
        """Some rows and columns: all products, summed in registers, and what is made of them."""
        active = self.active(width)
        self.foresee(rows, width)
        sums = self.sums(lefts, rights, rows, active)
        if self.plan.shape.turned:
            self.turned_back(sums, rows, active)
            return
        for r in range(rows):
            for q, a in enumerate(active):
                place = self.place((r, (("row", 1),)), (q * self.lanes, (("column", 1),)))
                self.finish(place, sums[r * len(active) + q], a)

    def turned_back(self, sums: Sequence[str], rows: int, active: Sequence[int]) -> None:
        """What is made of a tile whose rows become lanes."""
        for q, columns in enumerate(active):
            texts = self.at().transposed(sums[q::len(active)], columns)
            for c, text in enumerate(texts, q * self.lanes):
                place = self.place((0, (("row", 1),)), (c, (("column", 1),)))
                self.finish(place, text, rows, "row")

    def sums(self, lefts: Sequence[Access], rights: Sequence[Access], rows: int,
             active: Sequence[int]) -> list[str]:
        """The products of some rows and columns, in registers."""
        sums = [self.zero] * (rows * len(active))
        for x, z, depth in zip(lefts, rights, self.plan.depths, strict=True):
            counted = [0 if z.buffer == PACK else a % self.lanes for a in active]
            sums = self.over_depth(depth, x, z, (rows, counted), sums)
        return sums

    # ---- where a long formula follows

    def block(self, lefts: Sequence[Access], rights: Sequence[Access], size: int,
              width: int) -> None:
        """Some rows, from the variable ``block`` on: their sums to memory, then what follows."""
        p, start = self.plan, self.writer.variables["block"].text
        to = self.panel(p.region, {"row": p.width, "block": -p.width}, {"row": p.width})
        main = size - size % p.rows
        for first, end, rows in ((0, main, p.rows), (main, size, size - main)):
            if first < end:
                self.turns("row", (self.after(start, first), self.after(start, end), rows),
                           lambda rows=rows: self.put_by(lefts, rights, rows, width, to))
        self.made_of(self.panel(p.region, {"r": p.width}, {"r": p.width}), size, width)

    def after(self, start: str, count: int) -> int | str:
        """So many rows further on."""
        return int(start) + count if start.isdigit() else self.put(f"add i64 {start}, {count}")

    def put_by(self, lefts: Sequence[Access], rights: Sequence[Access], rows: int, width: int,
               to: Access) -> None:
        """The sums of a tile, to memory."""
        active = self.active(width)
        for j, text in enumerate(self.sums(lefts, rights, rows, active)):
            r, q = divmod(j, len(active))
            self.store(text, to, to.steps(row=r) + q * self.lanes)

    def made_of(self, at: Access, size: int, width: int) -> None:
        """What is made of sums in memory: long formulas, a few at a time, in one place."""
        active = self.active(width)

        def some(rows: int) -> None:
            for r in range(rows):
                for q, a in enumerate(active):
                    place = self.place((r, (("block", 1), ("r", 1))),
                                       (q * self.lanes, (("column", 1),)))
                    self.finish(place, self.load(at, at.steps(r=r) + q * self.lanes), a)
        module = self.writer.module
        module.inlined = self.kernel.inlining
        self.pieces("r", size, max(TOGETHER // len(active), 1), some)
        module.inlined = False


class Large(Scheme):
    """Blocks of k, both sides packed; the sums wait in memory for the next block of k.

    All tiles are whole: what is packed beyond the last row and column is never read again.
    """

    def matrix(self) -> None:
        """All of k, a block after another, then what is made of the sums."""
        p = self.plan
        for j, depth in enumerate(p.depths):
            self.turns("deep", (0, depth, p.deep), lambda j=j: self.slab(j))
        self.over_rows(self.results)

    def counter(self, variable: str) -> str:
        """The value of the variable of an open loop."""
        return self.writer.variables[variable].text

    def over_rows(self, body: Callable[[], object]) -> None:
        """Panels of rows, of which the last may be shorter."""
        p = self.plan
        start, end = self.bounds("row", p.rows) or (0, p.shape.rows)
        with self.when(self.put(f"icmp ult i64 {start}, {end}")):
            self.turns("row", (start, end, p.rows), body)

    def slab(self, j: int) -> None:
        """Some turns of k of a pair."""
        p, (left, right), depth = self.plan, self.plan.pairs[j], self.plan.depths[j]
        deep = self.counter("deep")
        turns = deep, self.put(f"add i64 {deep}, {p.deep}")
        span = deep, self.smaller(turns[1], up(depth, p.turns)), p.turns
        x = self.panels(left, p.deep)
        x.terms["deep"] = -x.terms["k"]
        self.pieces("row", p.shape.rows, p.rows,
                    lambda rows: self.pack_left(left, x, depth, rows, turns),
                    self.bounds("row", p.rows))
        z = self.panel(right.region, {"k": p.width, "deep": -p.width}, {"k": p.width})
        first = self.put(f"icmp eq i64 {deep}, 0") if j == 0 else "false"

        def strip(width: int) -> None:
            self.pack_right(right, z, depth, width, turns)
            self.over_rows(lambda: self.add(x, z, span, first))
        self.pieces("column", p.shape.columns, p.width, strip, self.bounds("column", p.width))

    def sums(self, **terms: int) -> Access:
        """Where sums wait: tile by tile."""
        p = self.plan
        return self.panel(p.region, {"row": up(p.shape.columns, p.width), "column": p.rows,
                                     **terms}, {"row": p.width})

    def add(self, x: Access, z: Access, span: tuple[str, str, int], first: str) -> None:
        """Some turns of k for a tile, added to its sums so far."""
        p, at = self.plan, self.sums()
        places = [at.steps(row=r) + q * self.lanes for r in range(p.rows) for q in range(p.vectors)]
        with self.waiting(at, places, first) as turn:
            turn.following = self.summed(x, z, span, (p.rows, [0] * p.vectors), turn.carried)

    def results(self) -> None:
        """What is made of the sums of some rows."""
        p, at = self.plan, self.sums(r=self.plan.width)
        left = self.put(f"sub i64 {p.shape.rows}, {self.counter('row')}")

        def strip(width: int) -> None:
            for q in range(0, width, self.lanes):
                place = self.place((0, (("row", 1), ("r", 1))), (q, (("column", 1),)))
                self.finish(place, self.load(at, q), min(self.lanes, width - q))
        self.turns("r", (0, self.smaller(left, p.rows), 1), lambda: self.pieces(
            "column", p.shape.columns, p.width, strip, self.bounds("column", p.width)))


class Sweep(Scheme):
    """A few rows of the right side at a time, each once from end to end; the sums wait in memory.

    It is read in the order in which it lies in memory, so its rows arrive before they are asked
    for. All rows of the left side take part.
    """

    def matrix(self) -> None:
        """One product: the sums, then what is made of them."""
        p = self.plan
        for j, ((left, right), depth) in enumerate(zip(p.pairs, p.depths, strict=True)):
            x, z = self.left(left, depth), self.direct(right, False)
            self.pieces("k", depth, SWEPT_TURNS, lambda turns, j=j, x=x, z=z: self.over_columns(
                lambda width: self.add(x, z, turns, width, j)))
        self.over_columns(self.results)

    def over_columns(self, body: Callable[[int], object]) -> None:
        """Strips of columns."""
        width = self.plan.width
        self.pieces("column", self.plan.shape.columns, width, body, self.bounds("column", width))

    def sums(self) -> Access:
        """Where sums wait."""
        p = self.plan
        return self.panel(p.region, {"column": 1}, {"row": up(p.shape.columns, p.width)})

    def add(self, x: Access, z: Access, turns: int, width: int, j: int) -> None:
        """Some turns of k for some columns, added to their sums so far."""
        p, at, active = self.plan, self.sums(), self.active(width)
        places = [at.steps(row=r) + q * self.lanes for r in range(p.rows)
                  for q in range(len(active))]
        k = self.writer.variables["k"].text
        first = self.put(f"icmp eq i64 {k}, 0") if j == 0 else "false"
        tile = p.rows, [a % self.lanes for a in active]
        with self.waiting(at, places, first) as turn, self.writer.fixed("row", 0):
            turn.following = self.products(x, z, turns, tile, turn.carried)

    def results(self, width: int) -> None:
        """What is made of the sums of some columns."""
        p, at = self.plan, self.sums()
        for r in range(p.rows):
            for q, a in enumerate(self.active(width)):
                place = self.place((r, ()), (q * self.lanes, (("column", 1),)))
                self.finish(place, self.load(at, at.steps(row=r) + q * self.lanes), a)
