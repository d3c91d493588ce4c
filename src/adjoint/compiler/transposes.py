"""A rule of transposes: what is turned as a whole is computed turned, where less is turned then.

``(a.T * v).T`` reads ``a`` across its rows and turns what comes of it; ``a * v[:, None]`` does
neither. A product turned is the product of its turned operands, exchanged. So a turned result is
followed down to what is read, and each thing that is read along its rows then, and was not before,
speaks for turning; what would be read across its rows speaks against it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from adjoint.core.node import aval

from .editor import rule
from .views import composed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.ops.loops import Index, Shape

    from .editor import Editor
    from .program import Program, Statement

POINTWISE = {"elementwise", "cast", "select"}
TREE = 64  # statements that are followed


@rule("view", says="(x.T * v).T = x * v.T, and (x.T @ z).T = z.T @ x: what is turned back")
def turned_back(e: Editor, s: Statement) -> int | None:
    """A permutation of the axes of what is computed for it alone."""
    (x,), (index, shape) = s.inputs, s.parameters
    order = order_of(index)
    if e.statements[x].name not in POINTWISE | {"dot"} or not is_permutation(index, shape, order):
        return None
    if e.uses.get(x, 0) > 1:
        return None
    turning = Turning(e, order)
    return turning.turned(x) if turning.gain(x) > 0 else None


def turned_views(program: Program, live: Sequence[int]) -> set[int]:
    """The views that the rule may be about."""
    found = set[int]()
    for n in live:
        s = program.statements[n]
        if s.name == "view" and program.statements[s.inputs[0]].name in POINTWISE | {"dot"}:
            index, shape = s.parameters
            if is_permutation(index, shape, order_of(index)):
                found.add(n)
    return found


def order_of(index: Index) -> Shape:
    """The axes of a view in the order in which they lie in its operand."""
    return tuple([d for _, terms in index for d, _ in terms])


def is_permutation(index: Index, shape: Shape, order: Shape) -> bool:
    """Whether a view reads all of its operand, in another order of axes that all are long."""
    straight = [*range(len(shape))]
    return sorted(order) == straight != [*order] and [*index] == [(0, ((d, 1),)) for d in order]


def straightness(order: Shape) -> int:
    """1 for axes that lie in memory in their order, 0 for others, and where that is no question."""
    return int(len(order) > 1 and order == tuple(sorted(order)))


class Turning:
    """One permutation: ``order[d]`` is the new place of axis d."""

    def __init__(self, e: Editor, order: Shape) -> None:
        self.e, self.order = e, order
        self.followed: set[int] = set()  # what is computed turned, rather than read turned
        self.made: dict[int, int] = {}
        n = len(order)
        self.last_two = n > 1 and order == (*range(n - 2), n - 1, n - 2)

    def gain(self, root: int) -> int:
        """How many arrays are read along their rows then, and were not; less those that were.

        What else is read nowhere but in the tree is followed, from results to operands.
        """
        e, total = self.e, 0
        inside, waiting = {root: e.uses.get(root, 0)}, [-root]
        while waiting:
            n = -heappop(waiting)
            s = e.statements[n]
            if n in e.numbers or s.name == "iota":
                continue
            if inside[n] < e.uses.get(n, 0) or not self.can_follow(s):
                total += self.read_turned(s)
                continue
            self.followed.add(n)
            total += s.name == "dot"
            # Of the new left side of a product single elements are read: either way will do.
            for i in s.inputs[:1] if s.name == "dot" else s.inputs:
                if i not in inside:
                    heappush(waiting, -i)
                inside[i] = inside.get(i, 0) + 1
        return total

    def can_follow(self, s: Statement) -> bool:
        """Whether a statement may be computed turned."""
        return len(self.followed) < TREE and (
            s.name in POINTWISE or (s.name == "dot" and self.last_two and len(s.inputs) == 2))

    def read_turned(self, s: Statement) -> int:
        """1 for what is read along its rows if it is turned, -1 for what was so before."""
        inner = s.parameters[0] if s.name == "view" else tuple(
            [(0, ((d, 1),)) for d, size in enumerate(s.known.shape) if size > 1])
        return straightness(order_of(composed(inner, self.index))) - straightness(order_of(inner))

    @property
    def index(self) -> Index:
        """The view that turns."""
        return tuple([(0, ((d, 1),)) for d in self.order])

    def turned(self, n: int) -> int:
        """The statement, turned."""
        if n not in self.made:
            self.made[n] = self.fresh(n)
        return self.made[n]

    def fresh(self, n: int) -> int:
        """The same, where it is not known yet."""
        e, s = self.e, self.e.statements[n]
        sizes = dict(zip(self.order, s.known.shape, strict=True))
        shape = tuple([sizes[d] for d in range(len(sizes))])
        if n not in self.followed:
            return e.view(n, self.index, shape)
        inputs = [self.turned(i) for i in s.inputs]
        if s.name == "dot":
            inputs.reverse()
        return e.made(s.name, tuple(inputs), s.parameters, aval(shape, s.known.dtype))
