"""What is stored: the roots of a program's kernels, chosen by what computing them again would cost.

A statement is stored if it must be (an output, a reduction, an operand of a product), or if it
costs something and would be computed several times: through a broadcast over an outer axis, at
several indices, or in another order of its axes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from .functions_ir import CURVED
from .loops import COMBINE
from .program import CONTROL

if TYPE_CHECKING:
    from collections.abc import Collection

    from .program import Program

POINTWISE = {"elementwise", "cast", "select"}
INLINE = POINTWISE | {"view", "pick", "const", "iota"}
# Statements whose loops nothing joins.
ALONE = {"scan", "pad", "scatter_add", *CONTROL, "call", "copy"}
COSTS = {**dict.fromkeys(CURVED, 8), **dict.fromkeys(("divide", "reciprocal", "sqrt"), 3)}
COSTLY = 1000      # no cost is counted beyond it
REPEATED = 3       # what is computed several times is stored from this cost on
LONG = 8           # what costs so much is computed in lanes, if there are so many of it
SHORT = 16         # elements of rows that are computed beside one another
AGAIN = 256        # elements of a row that is read again rather than wait for a long formula
NEAR = 65536       # elements that are near enough to be read again
FREE = 8           # it costs nothing where it is used so many times


def is_simple(program: Program, n: int) -> bool:
    """Whether a pad puts its operand at a place as it is: without gaps, each axis along one."""
    s = program.statements[n]
    if s.name != "pad" or not prod(program.statements[s.inputs[0]].known.shape):
        return False
    terms = [t for _, t in s.parameters[0]]
    axes = [axis for t in terms for axis, _ in t]
    return all(len(t) <= 1 and all(step == 1 for _, step in t) for t in terms) and (
        len(axes) == len({*axes}))


def read_again(turns: int, longest: int) -> bool:
    """Whether a long formula for each row takes longer than reading the row again.

    In a kernel of its own its rows fill vectors. Those of short rows do so anyway.
    """
    return turns >= LONG and SHORT < longest <= AGAIN and longest * turns <= NEAR


class Rows(NamedTuple):
    """What a loop gives to its turns: row ``start + step * t`` of a stored statement."""

    base: int
    start: int
    step: int


def rows_of(program: Program, n: int, k: int) -> Rows:
    """Where the rows of input ``k`` of a loop are: in what a view looks at, if they are rows there.

    What is given whole, and carries, have step 0.
    """
    s = program.statements[n]
    _, _, carries, *shared = s.parameters
    i = s.inputs[k]
    if not carries <= k < len(s.inputs) - sum(shared):
        return Rows(i, 0, 0)
    inner = program.statements[i]
    if inner.name == "view" and inner.parameters[0]:
        (x,) = inner.inputs
        (start, terms), *rest = [*inner.parameters[0], (0, ())]
        shape, straight = program.statements[x].known.shape, inner.known.shape
        whole = tuple([(0, ((d, 1),)) if m > 1 else (0, ()) for d, m in enumerate(shape)][1:])
        if shape[1:] == straight[1:] and tuple(rest[:-1]) == whole and (
                [d for d, _ in terms] in ([], [0])):
            return Rows(x, start, terms[0][1] if terms else 0)
    return Rows(i, 0, 1)


def block_of(program: Program, n: int) -> int:
    """Where the elements of a view begin in its operand, if they are whole rows of it; else -1."""
    s = program.statements[n]
    shape, index = program.statements[s.inputs[0]].known.shape, s.parameters[0]
    if len(shape) < 2 or not prod(s.known.shape):
        return -1
    (start, terms), *rest = index
    first = 1 if terms == ((0, 1),) or (len(s.known.shape) == len(shape) and not terms) else 0
    if (terms and not first) or s.known.shape[first:] != shape[1:]:
        return -1
    if any(entry != ((0, ((d + first, 1),)) if m > 1 else (0, ()))
           for d, (entry, m) in enumerate(zip(rest, shape[1:], strict=True))):
        return -1
    if first and not terms and s.known.shape[0] != 1:
        return -1  # one row many times
    return start * prod(shape[1:])


class Roots:
    """The choice for one program; ``apart`` stores each statement but views."""

    def __init__(self, program: Program, called: Collection[int], apart: bool) -> None:
        self.program, self.called, self.apart = program, called, apart
        self.statements = program.statements
        self.live = program.live()
        self.root: set[int] = set()
        self.sources: set[int] = set()   # in memory before anything is computed
        self.cost: dict[int, int] = {}
        self.lone: set[int] = set()      # one number for many elements, where these fill vectors
        self.items: dict[int, list[int]] = {}  # the results of statements that have several
        # What is another stored statement in another shape, from one of its elements on.
        self.aliases: dict[int, tuple[int, int]] = {}
        self.outputs = {*program.outputs}
        self.choose()

    def base(self, n: int) -> int:
        """What a view looks at."""
        return self.statements[n].inputs[0] if self.statements[n].name == "view" else n

    def operands(self, n: int) -> list[int]:
        """What a statement reads, and what must be in memory until it has, if Python or a loop.

        These read a view where its operand lies, even if the view is stored, too.
        """
        s = self.statements[n]
        if n in self.called:
            return [*map(self.base, s.inputs)]
        if s.name == "loop":
            return [rows_of(self.program, n, k).base for k in range(len(s.inputs))]
        return [*s.inputs]

    def choose(self) -> None:
        """The roots, by one sweep from operands to results."""
        needed = {*self.program.outputs}
        volume, turned = self.readings(needed)
        alone = {self.base(i) for n in self.live if self.alone(n)
                 for i in self.statements[n].inputs}
        # What is computed from a sum, and is at hand where the sum is; how many rows, how long.
        summed: dict[int, tuple[int, int]] = {}
        for n in self.live:
            s = self.statements[n]
            if s.name == "item" and n not in self.called:
                self.items.setdefault(s.inputs[0], []).append(n)
            if self.is_source(n):
                self.sources.add(n)
            elif (offset := self.alias(n)) >= 0:
                self.sources.add(n)
                self.aliases[n] = s.inputs[0], offset
            elif self.must(n, needed):
                self.root.add(n)
            self.cost[n] = cost = self.priced(n)
            size = prod(s.known.shape) if s.name in POINTWISE | {"pick"} else 0
            rows = next((summed[i] for i in s.inputs if i in summed), (0, 0))
            if s.name in {"reduce", "dot"}:
                rows = self.rows_of_sum(n)
            if size and cost > 1 and (n in turned or (
                    cost >= REPEATED and (n in alone or 2 * volume.get(n, 0) >= 3 * size)) or (
                    cost >= LONG and size >= LONG and n in self.lone and (
                        not rows[0] or read_again(*rows)))):
                self.root.add(n)
            if rows[0] and not (n in self.root and s.name in POINTWISE):
                summed[n] = rows

    def rows_of_sum(self, n: int) -> tuple[int, int]:
        """How many sums a statement makes, and of how many elements each."""
        s = self.statements[n]
        count = max(prod(s.known.shape), 1)
        return count, prod(self.statements[s.inputs[0]].known.shape) // count if (
            s.name == "reduce") else 1

    def is_source(self, n: int) -> bool:
        """Whether a statement is in memory before anything is computed, or is a part of one."""
        s = self.statements[n]
        return n not in self.called and (
            s.name in {"input", "item"} or (s.name == "const" and bool(s.known.shape)))

    def alias(self, n: int) -> int:
        """The first element of what is stored already, under another shape; -1 if it is not."""
        s = self.statements[n]
        if s.name not in {"copy", "view"} or n in self.called or self.apart or (
                n in self.outputs or (s.inputs[0] not in self.root
                                      and s.inputs[0] not in self.sources)):
            return -1
        return 0 if s.name == "copy" else block_of(self.program, n)

    def must(self, n: int, needed: set[int]) -> bool:
        """Whether a statement is stored whatever it costs."""
        name = self.statements[n].name
        if n in self.called or not (name in INLINE or is_simple(self.program, n)):
            return True
        return name != "const" and (n in needed or (self.apart and name != "view"))

    def readings(self, needed: set[int]) -> tuple[dict[int, int], set[int]]:
        """How many elements of each statement are computed if it is not stored.

        And what is read with its axes in another order; ``needed`` grows by what must be in memory.
        """
        volume, turned, straightly = dict[int, int](), set[int](), set[int]()
        for n in self.live:
            s = self.statements[n]
            if n in self.called or s.name in CONTROL:
                needed.update(self.operands(n))
            elif s.name == "dot":
                needed.update(map(self.base, s.inputs))
            elif s.name == "copy":
                needed.update([i for i in s.inputs if self.statements[i].name in POINTWISE])
            elif s.name == "view":
                (x,) = s.inputs
                axes = [d for _, terms in s.parameters[0] for d, _ in terms]
                computed = prod(s.known.shape[:max(axes, default=-1) + 1])
                if FREE * computed > prod(s.known.shape):
                    volume[x] = volume.get(x, 0) + computed
                if axes != sorted(axes):
                    turned.add(x)
                if s.known.shape[-1:] > (LONG,) and len(s.known.shape) - 1 not in axes:
                    self.lone.add(x)
            elif s.name == "pick" or is_simple(self.program, n):
                x = s.inputs[0]
                volume[x] = volume.get(x, 0) + prod(s.known.shape)
                straightly.update(s.inputs[1:])
            else:
                straightly.update(s.inputs)
        for n in straightly:
            known = self.statements[n].known
            volume[n] = volume.get(n, 0) + (0 if isinstance(known, tuple) else prod(known.shape))
        return volume, turned

    def priced(self, n: int) -> int:
        """What one element of a statement costs where it is read."""
        s = self.statements[n]
        if s.name not in POINTWISE | {"view", "pick", "pad"}:
            return 0
        below = sum([self.cost[i] for i in {*s.inputs}
                     if i not in self.root and i not in self.sources])
        own = 0 if s.name == "view" else COSTS.get(s.parameters[0], 1) if (
            s.name == "elementwise") else 1
        return min(own + below, COSTLY)

    def alone(self, n: int) -> bool:
        """Whether nothing joins the loops of a statement."""
        s = self.statements[n]
        return (s.name in ALONE and not is_simple(self.program, n)) or (
            s.name == "reduce" and s.parameters[0] not in COMBINE)
