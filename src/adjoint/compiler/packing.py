"""Operands of a product, copied so that its innermost loop reads them one after another.

`Packing` evaluates an operand with lanes along the axis that is contiguous in memory, whether it
is stored, a view or an expression, and writes panels. Where the lanes would lie across a panel,
a square of vectors is transposed in registers first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tiles import PACK, Access, Tiles

if TYPE_CHECKING:
    from .blocks import Side
    from .evaluator import Entry, Place


class Packing(Tiles):
    """Tiles that can pack their operands first."""

    def side(self, left: bool, outer: Entry, k: Entry) -> Place:
        """An index of the left or of the right operand: ``outer`` is its row or its column."""
        first = left != self.plan.shape.swapped
        return (*self.batch, outer, k) if first else (*self.batch, k, outer)

    def packed(self, side: Side, terms: dict[str, int]) -> Access:
        """The panels of a side in scratch memory."""
        return Access(PACK, self.plan.elements, side.region, terms)

    # ---- the right operand: [k][column], a panel at a time

    def pack_right(self, side: Side, depth: int, width: int) -> Access:
        """Copy ``width`` columns from the variable ``column`` on; columns beyond are 0."""
        wide = -(-width // self.lanes) * self.lanes
        to = self.packed(side, {"k": wide})
        if side.along:
            self.pieces("k", depth, self.lanes,
                        lambda turns: self.across(side, to, turns, width))
            return to

        def row(turns: int) -> None:
            for q in range(0, width, self.lanes):
                place = self.side(False, (q, (("column", 1),)), (0, (("k", 1),)))
                self.store(self.vector(side, place, width - q, "column"), to, q)
        self.turns("k", (0, depth, 1), lambda: row(1))
        return to

    def vector(self, side: Side, place: Place, active: int, variable: str) -> str:
        """The operand in lanes, as many as count; the others are whatever they are."""
        with self.masked(min(active, self.lanes), variable) as k:
            return k.wide(k.value(side.statement, place), self.dtype).text

    def across(self, side: Side, to: Access, turns: int, width: int) -> None:
        """Some turns of k, for all columns of a panel: squares of lanes, transposed."""
        def square(columns: int) -> None:
            rows: list[str] = []
            for c in range(self.lanes):
                outer: Entry = (c, (("column", 1), ("part", 1)))
                rows.append(self.vector(side, self.side(False, outer, (0, (("k", 1),))), turns, "k")
                            if c < columns else self.zero)
            target = to._replace(terms={**to.terms, "part": 1})
            for u, text in enumerate(self.transposed(rows)[:turns]):
                self.store(text, target, target.steps(k=u))
        self.pieces("part", width, self.lanes, square)

    def transposed(self, rows: list[str]) -> list[str]:
        """Vectors as a square matrix, transposed: halves of blocks are exchanged, size by size."""
        n, size = self.lanes, 1
        while size < n:
            done = list(rows)
            for i in range(n):
                if not i & size:
                    a, b = rows[i], rows[i | size]
                    done[i] = self.shuffled(a, b, [n + (k ^ size) if k & size else k
                                                   for k in range(n)])
                    done[i | size] = self.shuffled(a, b, [n + k if k & size else k | size
                                                          for k in range(n)])
            rows, size = done, 2 * size
        return rows

    def shuffled(self, a: str, b: str, order: list[int]) -> str:
        """Lanes of two vectors."""
        where = ", ".join(f"i32 {k}" for k in order)
        return self.put(f"shufflevector {self.type} {a}, {self.type} {b}, "
                        f"<{self.lanes} x i32> <{where}>")

    # ---- the left operand, all of it: contiguous along k or along the rows, as it was

    def pack_left(self, side: Side, depth: int) -> Access:
        """Copy the whole operand."""
        rows = self.plan.shape.rows
        along, across = ("k", depth), ("row", rows)
        if not side.along:
            along, across = across, along
        stride = -(-along[1] // self.lanes) * self.lanes
        to = self.packed(side, {along[0]: 1, across[0]: stride})
        place = self.side(True, (0, (("row", 1),)), (0, (("k", 1),)))

        def piece(active: int) -> None:
            self.store(self.vector(side, place, active, along[0]), to)
        self.turns(across[0], (0, across[1], 1),
                   lambda: self.pieces(along[0], along[1], self.lanes, piece))
        return to
