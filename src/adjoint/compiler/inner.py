"""Products of few rows with a right side that lies along k: each result is the sum of a vector.

Lanes run over k, so nothing is packed and nothing transposed; what the lanes of one tile add up to
is gathered by a tree of shuffles, whose order is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registers import Lanes
from .schemes import Scheme
from .tiles import Access

if TYPE_CHECKING:
    from collections.abc import Sequence

SUMS = 8  # sums that must be under way for one not to wait for the other


class Inner(Scheme):
    """Strips of one vector of columns, in them rows, and for each few columns all of k."""

    def matrix(self) -> None:
        """One product."""
        p = self.plan
        lefts = [self.left(side, depth) for (side, _), depth in
                 zip(p.pairs, p.depths, strict=True)]
        rights = [self.access(side.statement, self.side(
            False, (0, (("column", 1), ("part", 1))), (0, (("k", 1),)))) for _, side in p.pairs]
        self.pieces("column", p.shape.columns, self.lanes, lambda width: self.pieces(
            "row", p.shape.rows, p.rows, lambda rows: self.rows(lefts, rights, rows, width),
            self.bounds("row", p.rows)), self.bounds("column", self.lanes))

    def rows(self, lefts: Sequence[Access], rights: Sequence[Access], rows: int,
             width: int) -> None:
        """Some rows of a strip: their sums by way of scratch memory, then what is made of them."""
        few = 1 << (max(self.lanes // rows, 1).bit_length() - 1)
        to = self.panel(self.plan.region, {"part": 1}, {"row": self.lanes})

        def group(columns: int) -> None:
            sums = self.tile(lefts, rights, rows, columns)
            for r in range(rows):
                text, lanes = self.gathered(sums[r * columns:(r + 1) * columns], few)
                pointer = self.pointer(to, to.steps(row=r), lanes.width - 1)
                self.writer.do(self.writer.depth, f"store {lanes.type} {text}, ptr {pointer}, "
                               f"align {self.dtype.itemsize}")
        self.pieces("part", width, few, group)
        for r in range(rows):
            place = self.place((r, (("row", 1),)), (0, (("column", 1),)))
            self.finish(place, self.load(to._replace(terms={}), to.steps(row=r)), width)

    def tile(self, lefts: Sequence[Access], rights: Sequence[Access], rows: int,
             columns: int) -> list[str]:
        """The sums of some rows and columns, in lanes; short ones are cut into several."""
        ways = max(SUMS // (rows * columns), 1)
        sums = [self.zero] * (rows * columns * ways)
        step = ways * self.lanes
        for x, z, depth in zip(lefts, rights, self.plan.depths, strict=True):
            main = depth - depth % step
            sums = self.turned(x, z, (0, main, step), (rows, columns), sums)
            for start in range(main, depth, self.lanes):
                rest = min(depth - start, self.lanes)
                sums = self.turned(x, z, (start, start + rest, rest), (rows, columns), sums)
        while ways > 1:
            ways //= 2
            half = rows * columns * ways
            sums = [self.at().add(a, b) for a, b in zip(sums[:half], sums[half:], strict=True)]
        return sums

    def turned(self, x: Access, z: Access, span: tuple[int, int, int], tile: tuple[int, int],
               sums: Sequence[str]) -> list[str]:
        """Some vectors of k, or a part of one, added to the sums."""
        start, end, step = span
        if start == end:
            return list(sums)
        if end - start == step:
            with self.writer.fixed("k", start):
                return self.dots(x, z, step, tile, sums)
        with self.writer.loop("k", span, [(self.type, s) for s in sums]) as turn:
            turn.following = self.dots(x, z, step, tile, turn.carried)
        return turn.carried

    def dots(self, x: Access, z: Access, turns: int, tile: tuple[int, int],
             sums: Sequence[str]) -> list[str]:
        """Rows of both sides, multiplied lane by lane; the lanes beyond ``turns`` are 0."""
        rows, columns = tile
        sums, at, active = list(sums), self.at(), turns % self.lanes
        for u in range(0, turns, self.lanes):
            left = [self.load(x, x.steps(row=r, k=u), active) for r in range(rows)]
            for c in range(columns):
                right = self.load(z, z.steps(column=c, k=u), active)
                for r, text in enumerate(left):
                    j = ((u // self.lanes) * rows + r) * columns + c
                    sums[j] = at.accumulate(text, right, sums[j])
        return sums

    def gathered(self, sums: Sequence[str], few: int) -> tuple[str, Lanes]:
        """The sum of the lanes of each vector, as lanes of one: halves are added again and again.

        Before each step a vector holds segments of ``size`` lanes, each of one sum.
        """
        texts = [*sums, *[self.zero] * (few - len(sums))]
        size, at = self.lanes, self.at()
        while size > 1:
            size //= 2
            alone = len(texts) == 1
            pairs = [(texts[0], texts[0])] if alone else zip(texts[::2], texts[1::2], strict=True)
            count = at.width // 2 if alone else at.width
            at, before = Lanes(self.writer, self.writer.depth, count, self.dtype), at
            low = [k + 2 * size * s for s in range(count // size) for k in range(size)]
            high = [k + size for k in low]
            texts = [at.add(*[before.chosen(a, b, order) for order in (low, high)])
                     for a, b in pairs]
        return texts[0], at
