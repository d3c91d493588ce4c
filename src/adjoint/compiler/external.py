"""A product by BLAS, as part of a kernel: the call, then what is made of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blas import SYMBOLS
from .schemes import Scheme
from .text import literal

if TYPE_CHECKING:
    from .blocks import Side
    from .tiles import Access


class External(Scheme):
    """One call for each pair of a matrix; the statement's own buffer is written where it is one.

    BLAS knows columns after columns, so it is asked for the transpose: the right side comes first.
    """

    def matrix(self) -> None:
        """One product."""
        with self.when(self.put(f"icmp ult i64 {self.span[0]}, {self.span[1]}")
                       if self.span else "true"):
            own = list(self.roots) == [self.n]
            to = (self.buffer(self.n, self.place((0, ()), (0, ()))) if own else
                  self.panel(self.plan.region, {}, {}))
            for j, (left, right) in enumerate(self.plan.pairs):
                self.call(left, right, self.plan.depths[j], to, first=j == 0)
            if not own:
                self.turns("row", (0, self.plan.shape.rows, 1), self.row)

    def call(self, left: Side, right: Side, depth: int, to: Access, *, first: bool) -> None:
        """``to = left right``, or added to it."""
        shape, symbol = self.plan.shape, SYMBOLS[self.dtype.name]
        with (self.writer.fixed("row", 0), self.writer.fixed("column", 0),
              self.writer.fixed("k", 0)):
            x, x_far, x_turned = self.matrix_at(left, True, shape.rows, depth)
            z, z_far, z_turned = self.matrix_at(right, False, shape.columns, depth)
            out = self.pointer(to, 0, shape.rows * shape.columns - 1)
            arguments = [self.letter(z_turned), self.letter(x_turned), self.whole(shape.columns),
                         self.whole(shape.rows), self.whole(depth), self.number(1), z,
                         self.whole(z_far), x, self.whole(x_far), self.number(0 if first else 1),
                         out, self.whole(shape.columns)]
            self.writer.module.declare(symbol, "void", *["ptr"] * len(arguments))
            self.writer.module.externals.add(symbol)
            given = ", ".join(f"ptr {a}" for a in arguments)
            self.writer.do(self.writer.depth, f"call void @{symbol}({given})")

    def matrix_at(self, side: Side, left: bool, size: int, depth: int) -> tuple[str, int, bool]:
        """A pointer to a side, the distance of its lines, and whether it is turned for BLAS."""
        at = self.direct(side, left)
        outer, inner = at.terms["row" if left else "column"], at.terms["k"]
        # In memory, lines of the left side along k and lines of the right side along its columns
        # are what BLAS expects of the transpose.
        turned, far = ((inner != 1) == left, outer if inner == 1 else inner)
        pointer = self.pointer(at, 0, (size - 1) * outer + (depth - 1) * inner)
        return pointer, far, turned

    def held(self, type_: str, value: str) -> str:
        """A pointer to a constant."""
        key, memo = ("constant", type_, value), self.writer.blocks[0].memo
        if key not in memo:
            memo[key] = self.writer.put(0, f"alloca {type_}")
            self.writer.do(0, f"store {type_} {value}, ptr {memo[key]}")
        return memo[key]

    def letter(self, turned: bool) -> str:
        """Whether an operand is transposed, as BLAS says it."""
        return self.held("i8", str(ord("T" if turned else "N")))

    def whole(self, n: int) -> str:
        """An integer."""
        return self.held("i32", str(n))

    def number(self, x: int) -> str:
        """A factor."""
        return self.held(self.one, literal(x, self.dtype))

    def row(self) -> None:
        """What is made of one row of the result."""
        p = self.plan
        at = self.panel(p.region, {"row": p.shape.columns, "column": 1}, {})

        def strip(width: int) -> None:
            place = self.place((0, (("row", 1),)), (0, (("column", 1),)))
            self.finish(place, self.load(at, 0, width % self.lanes), width)
        self.pieces("column", p.shape.columns, self.lanes, strip)
