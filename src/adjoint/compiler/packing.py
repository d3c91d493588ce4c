"""Operands of a product, copied so that its innermost loop reads them one after another.

`Packing` evaluates an operand with lanes along the axis that is contiguous in memory, whether it
is stored, a view or an expression, and writes panels. Where they would lie across a panel, a
square of vectors is transposed in registers first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import up
from .tiles import PACK, Access, Tiles

if TYPE_CHECKING:
    from .blocks import Side
    from .evaluator import Entry, Place

    Bounds = tuple[int | str, int | str]


class Packing(Tiles):
    """Tiles that can pack their operands first."""

    def side(self, left: bool, outer: Entry, k: Entry) -> Place:
        """An index of the left or of the right operand: ``outer`` is its row or its column."""
        first = left != self.plan.shape.swapped
        return (*self.batch, outer, k) if first else (*self.batch, k, outer)

    def panel(self, region: int, terms: dict[str, int], strides: dict[str, int]) -> Access:
        """A part of the scratch memory."""
        return Access(PACK, self.plan.elements, region, terms, strides)

    def vector(self, side: Side, place: Place, active: int, variable: str) -> str:
        """The operand in lanes, of which so many count; along k the others are 0."""
        with self.masked(min(active, self.lanes), variable) as k:
            text = k.wide(k.value(side.statement, place), self.dtype).text
            if k.active and variable == "k":  # of an expression, they are not yet
                text = self.at().select(k.mask(), text, self.zero)
        return text

    # ---- the right operand: panels of [k][column]

    def pack_right(self, side: Side, to: Access, depth: int, width: int,
                   bounds: Bounds | None = None) -> None:
        """Copy ``width`` columns from the variable ``column`` on, all of k or from-to."""
        if side.along:
            self.pieces("k", depth, self.lanes,
                        lambda turns: self.across(side, to, turns, width), bounds)
            return

        def row(_: int) -> None:
            for q in range(0, width, self.lanes):
                place = self.side(False, (q, (("column", 1),)), (0, (("k", 1),)))
                self.store(self.vector(side, place, width - q, "column"), to, q)
        self.pieces("k", depth, 1, row, bounds)
        self.padded(to, depth, -(-width // self.lanes), bounds)

    def padded(self, to: Access, depth: int, vectors: int, bounds: Bounds | None) -> None:
        """Zeros for the turns of k beyond the last, where k is cut into blocks."""
        missing = -depth % self.plan.turns
        if bounds is not None and missing:
            with (self.when(self.put(f"icmp uge i64 {bounds[1]}, {depth}")),
                  self.writer.fixed("k", depth)):
                for u in range(missing):
                    for q in range(vectors):
                        self.store(self.zero, to, to.steps(k=u) + q * self.lanes)

    def across(self, side: Side, to: Access, turns: int, width: int) -> None:
        """Some turns of k, for all columns of a panel: squares of lanes, transposed."""
        whole = up(turns, self.plan.turns) if self.plan.scheme == "large" else turns

        def square(columns: int) -> None:
            rows: list[str] = []
            for c in range(self.lanes):
                outer: Entry = (c, (("column", 1), ("part", 1)))
                rows.append(self.vector(side, self.side(False, outer, (0, (("k", 1),))), turns, "k")
                            if c < columns else self.zero)
            target = to._replace(terms={**to.terms, "part": 1})
            for u, text in enumerate(self.at().transposed(rows, whole)):
                self.store(text, target, target.steps(k=u))
        self.pieces("part", width, self.lanes, square)

    # ---- the left operand: contiguous along k or along the rows, as it was

    def pack_left(self, side: Side, to: Access, depth: int, rows: int,
                  bounds: Bounds | None = None) -> None:
        """Copy ``rows`` rows from the variable ``row`` on, all of k or from-to."""
        to = to._replace(terms={**to.terms, "r": to.strides["row"]})
        place = self.side(True, (0, (("row", 1), ("r", 1))), (0, (("k", 1),)))

        def piece(active: int, variable: str) -> None:
            self.store(self.vector(side, place, active, variable), to)
        if side.along:
            self.turns("r", (0, rows, 1), lambda: self.pieces(
                "k", depth, self.lanes, lambda active: piece(active, "k"), bounds))
            return
        self.pieces("k", depth, 1, lambda _: self.pieces(
            "r", rows, self.lanes, lambda active: piece(active, "r")), bounds)
        self.padded(to._replace(terms={v: s for v, s in to.terms.items() if v != "r"}), depth,
                    -(-rows // self.lanes), bounds)
