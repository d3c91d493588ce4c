"""The fusing stage: which statements are stored, and which loops compute them.

Everything between stored statements is computed where it is read. A stored statement (a *root*) is
put into a `Group`, the loops of one kernel: outer loops over leading axes, and inside them passes
one after another, each over the rest of its axes. A root joins an earlier group if each value that
it reads from it is complete at the same outer index; so a row of a layer norm and its softmax stay
in the first cache. Nothing here knows what a function computes, or that broadcasting exists: only
index expressions and costs.

Start reading at `fused`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .functions_ir import FORMULAS
from .gemm import suits
from .roots import LONG, POINTWISE, REPEATED, SHORT, Roots, read_again
from .schedule import Group, Pass, Schedule, straight
from .views import substituted

if TYPE_CHECKING:
    from collections.abc import Collection

    from adjoint.ops.loops import Axis, Index, Shape

    from .program import Program
    from .schedule import Reading

REUSED = 6         # what several passes of one kernel need is stored from this cost on
BEHIND = 6         # how many kernels back a root may join
SMALL = 32768      # bytes of the temporaries of one kernel
MOST = 256         # operations in a pass that strangers may join
VECTOR = 64        # bytes of the lanes that hold one number of each row
VAST = 1 << 15     # elements of a pass that stands by itself, so that threads can share it
NEVER = 1 << 30    # a pass that does not exist
DYNAMIC = (0, ((-1, 1),))  # an index that is loaded


def fused(program: Program, called: Collection[int] = (), *, apart: bool = False) -> Schedule:
    """The kernels of a Program.

    Args:
        program: what is computed.
        called: statements that Python runs.
        apart: whether each statement but views is stored, and has a kernel of its own.

    >>> from adjoint.compiler.fuse import fused
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = b.input(aval_of(np.ones((2, 3))))
    >>> b.program.outputs = [b.reduce("add", b.elementwise("exp", x), (1,)).number]
    >>> print(fused(b.program).show())
    kernel 0: nest over (2,) reads %0
        pass over (3,): %2 reduce stored
    """
    found = Fusing(program, called, apart)
    for n in found.live:  # what is not stored too: so that nothing recurs deeply
        if n in found.root:
            found.put(n)
        else:
            found.latest(n)
            found.leaves(n)
    if not apart:
        found.share()
        found.part()
    for k, group in enumerate(found.schedule.groups):
        found.finish(k, group)
    found.settle()
    return found.schedule


class Fusing(Roots):
    """The decisions, in the order of `fused`."""

    def __init__(self, program: Program, called: Collection[int], apart: bool) -> None:
        super().__init__(program, called, apart)
        self.schedule = Schedule(program)
        self.schedule.aliases = self.aliases
        self.last: dict[int, int] = {}   # the last group that something reads from
        self.some: dict[int, frozenset[int]] = {}  # a few of the buffers that it reads
        self.outside: set[int] = set()   # roots that something outside their own pass reads

    # ---- which kernel computes it

    def kind(self, n: int) -> str:
        """The kind of the group that a root begins."""
        name = self.statements[n].name
        if n in self.called:
            return "call"
        lonely = name == "dot" or self.alone(n) or not prod(self.schedule.space(n))
        return name if lonely else "nest"

    def depth(self, n: int) -> int:
        """How many outer loops a root would like: all but those that it sums over, and the last."""
        s, rank = self.statements[n], len(self.schedule.space(n))
        if s.name == "reduce" and 0 not in s.parameters[1]:
            return min(s.parameters[1], default=max(rank - 1, 0))
        return max(rank - 1, 0)

    def latest(self, i: int) -> int:
        """The last group that the value of an operand comes from."""
        if i in self.schedule.at:
            return self.schedule.at[i][0]
        if i not in self.last:
            s = self.statements[i]
            self.last[i] = max([self.latest(j) for j in s.inputs], default=-1)
        return self.last[i]

    def leaves(self, i: int) -> frozenset[int]:
        """A few of the buffers that a value is made of."""
        if i in self.sources or i in self.schedule.at:
            return frozenset((i,))
        if i not in self.some:
            parts = [self.leaves(j) for j in self.statements[i].inputs]
            self.some[i] = frozenset(sorted(frozenset[int]().union(*parts))[-4:])
        return self.some[i]

    def put(self, n: int) -> None:
        """Give a root its group and pass, or begin a group."""
        operands, kind = self.operands(n), self.kind(n)
        lowest = max([self.latest(i) for i in operands], default=-1)
        read = frozenset[int]().union(*[self.leaves(i) for i in operands])
        groups = self.schedule.groups
        if kind == "nest" and not self.apart:
            for k in range(max(lowest, len(groups) - BEHIND, 0), len(groups)):
                p = self.fits(k, n, lowest, read)
                if p is not None:
                    self.join(k, p, n, read)
                    return
        group = Group(kind, self.depth(n) if kind == "nest" else 0)
        groups.append(group)
        self.join(len(groups) - 1, 0, n, read)

    def join(self, k: int, p: int, n: int, read: frozenset[int]) -> None:
        """Put a root into the first pass from ``p`` on that has its space, or into a new one."""
        group, space = self.schedule.groups[k], self.schedule.space(n)
        while p < len(group.passes) and group.passes[p].space != space:
            p += 1
        if p == len(group.passes):
            group.passes.append(Pass(space))
        group.passes[p].roots.append(n)
        group.reads |= read
        group.work += sum(self.cost[i] for i in self.statements[n].inputs if i in self.cost) + 1
        self.schedule.at[n] = k, p
        for i in self.items.get(n, ()):
            self.schedule.at[i] = k, p

    def fits(self, k: int, n: int, lowest: int, read: frozenset[int]) -> int | None:
        """The first pass of a group that a root can be in, or None."""
        group, space = self.schedule.groups[k], self.schedule.space(n)
        mine = lowest == k
        if group.kind == "dot":
            whole = self.statements[n].name in POINTWISE or self.over_batch(group, n)
            return 0 if mine and whole and space == group.passes[0].space and (
                self.need(k, n) == 0) else None
        if group.kind != "nest" or not (mine or (read & group.reads and group.work < MOST)):
            return None
        depth = self.common(group, n, mine)
        if depth is None or space[:depth] != group.outer[:depth]:
            return None
        if depth != group.depth:  # fewer outer loops are always possible, but need more room
            room = sum(prod(p.space[depth:]) * 8 * len(p.roots) for p in group.passes)
            if room > SMALL:
                return None
        before, group.depth = group.depth, depth
        if depth != before:
            group.found.clear()
        p = self.need(k, n)
        if p >= NEVER:
            group.depth = before
            group.found.clear()
            return None
        return p

    def over_batch(self, group: Group, n: int) -> bool:
        """Whether it is a sum of floats over axes of a batch of matrices, which tiles compute."""
        s = self.statements[n]
        return s.name == "reduce" and s.parameters[0] == "add" and s.known.dtype.kind == "f" and (
            suits(self.program, group.roots[0])
            and s.known.dtype == self.statements[s.inputs[0]].known.dtype
            and 0 < len(s.parameters[1]) <= max(s.parameters[1]) + 1 <= (
                len(self.schedule.space(n)) - 2))

    def common(self, group: Group, n: int, mine: bool) -> int | None:
        """The outer loops that a group would have with a root in it."""
        rank, mine_too = len(self.schedule.space(n)), self.depth(n)
        if rank == 1 and group.depth == 1:  # a number for each turn of the outer loop
            return 1 if mine and not self.in_lanes(group, n) else None
        if (group.depth == 0) != (mine_too == 0):
            return None
        return min(group.depth, mine_too)

    def in_lanes(self, group: Group, n: int) -> bool:
        """Whether a long formula for each row waits for all of them, which are read again."""
        longest, turns = max(prod(p.space[1:]) for p in group.passes), prod(group.outer)
        return self.statements[n].name in POINTWISE and self.cost[n] >= LONG and (
            read_again(turns, longest))

    # ---- whether all that a root reads is complete

    def need(self, k: int, n: int) -> int:
        """The first pass of group ``k`` in which all that a root reads is complete, or `NEVER`."""
        space = self.schedule.space(n)
        index = straight(space)
        return max([self.needed(k, (i, at, space)) for i, at in self.below(n, index)
                    if self.latest(i) >= k], default=0)

    def needed(self, k: int, start: Reading) -> int:
        """The same for one value at an index; without recursion."""
        found, waiting = self.schedule.groups[k].found, [start]
        while waiting:
            n, index, space = reading = waiting[-1]
            if reading in found:
                waiting.pop()
            elif n in self.schedule.at:
                found[reading] = self.complete(k, n, index, space)
            elif n in self.aliases:  # of this group, in another shape
                found[reading] = NEVER
            else:
                below = [(i, ix, space) for i, ix in self.below(n, index) if self.latest(i) >= k]
                missing = [r for r in below if r not in found]
                waiting += missing
                if not missing:
                    found[reading] = max([found[r] for r in below], default=0)
        return found[start]

    def below(self, n: int, index: Index) -> list[tuple[int, Index]]:
        """What the value of a statement at an index is made of."""
        s = self.statements[n]
        if s.name == "view":
            return [(s.inputs[0], tuple([substituted(e, index) for e in s.parameters[0]]))]
        if s.name == "pick":
            x, *rest = s.inputs
            return [(x, tuple([self.entry(i, index) for i in rest])), *[(i, index) for i in rest]]
        if s.name == "pad":
            return [(s.inputs[0], self.reached(n, index))]
        return [(i, index) for i in s.inputs]

    def reached(self, n: int, index: Index) -> Index:
        """The index at which a pad reads its operand, as far as it is known."""
        s = self.statements[n]
        sizes = self.statements[s.inputs[0]].known.shape
        found: list[Axis] = [(0, ())] * len(sizes)
        for (_, terms), entry, total in zip(s.parameters[0], index, s.known.shape, strict=True):
            for axis, _ in terms:
                found[axis] = entry if sizes[axis] == total else DYNAMIC
        return tuple(found)

    def entry(self, n: int, index: Index) -> Axis:
        """The index that a statement is, at an index."""
        s = self.statements[n]
        return index[s.parameters[1]] if s.name == "iota" else DYNAMIC

    def complete(self, k: int, n: int, index: Index, space: Shape) -> int:
        """The first pass of group ``k`` that may read a stored statement at an index."""
        group = self.schedule.groups[k]
        at, p = self.schedule.at[n]
        if at < k:
            return 0
        mine = self.schedule.space(n)
        same = self.statements[n].name != "reduce" and mine == space and index == straight(space)
        if group.kind == "dot":
            return 0 if same else NEVER
        if group.kind != "nest" or self.schedule.carried(n):
            return NEVER
        for d in range(group.depth):
            if mine[d] > 1 and index[d] != (0, ((d, 1),)):
                return NEVER
        return p if same else p + 1

    # ---- what several passes need

    def share(self) -> None:
        """Store what costs much and is needed by several passes, in the first of them."""
        uses: dict[int, dict[tuple[int, int], bool]] = {}
        for n in reversed(self.live):
            s = self.statements[n]
            if n in self.sources:
                continue
            if n in self.root:
                here = {self.schedule.at[n]: n not in self.called}
            else:
                here = uses.pop(n, None)
                if here is None:
                    continue
                first = self.made_with_product(n, here)
                if len(here) > 1 and (first is not None or self.worth(n, here)):
                    first = first or min(here)
                    self.store(n, first)
                    here = {first: True}
            straight_too = s.name not in {"view", "dot", "pad"}
            for j, i in enumerate(s.inputs):
                if i in self.root or i in self.sources:
                    continue
                below = uses.setdefault(i, {})
                same = straight_too and not (s.name == "pick" and j == 0)
                for where, identity in sorted(here.items())[:2 * BEHIND]:  # the first counts
                    below[where] = below.get(where, False) or (identity and same)

    def worth(self, n: int, here: dict[tuple[int, int], bool]) -> bool:
        """Whether something that several passes need is stored by the first of them."""
        first = min(here)
        group = self.schedule.groups[first[0]]
        kernels = len({k for k, _ in here})
        shape = self.statements[n].known.shape
        if group.kind not in {"nest", "dot"} or not here[first] or (
                group.passes[first[1]].space != shape):
            return False
        if not prod(shape[group.depth:]) > 1 and kernels == 1:
            return False  # it is in a register anyway
        return self.cost[n] >= (REUSED if kernels == 1 else REPEATED)

    def made_with_product(self, n: int,
                          here: dict[tuple[int, int], bool]) -> tuple[int, int] | None:
        """The kernel of a product of which a long formula that several kernels need is made."""
        k = self.latest(n)
        if k < 0 or self.schedule.groups[k].kind != "dot" or self.cost[n] < LONG or (
                self.statements[n].name not in POINTWISE or len({j for j, _ in here} - {k}) < 2):
            return None
        straightly = self.schedule.space(n) == self.schedule.groups[k].passes[0].space
        return (k, 0) if straightly and self.need(k, n) == 0 else None

    def store(self, n: int, where: tuple[int, int]) -> None:
        """Make a root of it."""
        self.root.add(n)
        self.schedule.at[n] = where
        self.schedule.groups[where[0]].passes[where[1]].roots.append(n)

    def part(self) -> None:
        """Give long passes without outer loops kernels of their own: no cache holds what they read.

        One that needs all of another could not be cut into chunks in the same kernel.
        """
        sch, groups = self.schedule, list[Group]()
        for group in sch.groups:
            long = group.kind == "nest" and not group.depth and any(
                prod(p.space) >= VAST for p in group.passes)
            for pass_ in group.passes[:-1] if long else ():
                groups.append(Group("nest"))
                groups[-1].passes.append(pass_)
            group.passes = group.passes[-1:] if long else group.passes
            groups.append(group)
        if len(groups) > len(sch.groups):
            sch.groups = groups
            moved = {r: (k, p) for k, group in enumerate(groups)
                     for p, pass_ in enumerate(group.passes) for r in pass_.roots}
            for n in [*moved]:
                moved.update(dict.fromkeys(self.items.get(n, ()), moved[n]))
            sch.at = moved

    # ---- what is read, and where it is kept

    def finish(self, k: int, group: Group) -> None:
        """What a group reads, now that all roots are known; flat memory where that is the same."""
        group.reads = set()
        group.found.clear()
        for p, pass_ in enumerate(group.passes):
            lead = group.kind != "nest"  # the dot that the kernel begins with stays the first
            pass_.roots[lead:] = sorted(pass_.roots[lead:])
            read, plain = self.walk(pass_, prod(group.outer))
            for i in read:
                self.schedule.readers.setdefault(i, set()).add(k)
                owner = i
                while owner in self.aliases:  # what it aliases is read, too
                    owner = self.aliases[owner][0]
                    self.schedule.readers.setdefault(owner, set()).add(k)
                    self.outside.add(owner)
                if self.schedule.at.get(i, (-1, 0))[0] != k:
                    group.reads.add(i)
                if self.schedule.at.get(i) != (k, p):
                    self.outside.add(i)
            rank = len(pass_.space)
            if plain and group.kind == "nest" and group.depth and len(group.passes) == 1 and all(
                    self.whole(r, rank) for r in pass_.roots):
                group.flat, group.depth = True, 0
                pass_.space = (prod(pass_.space),)

    def whole(self, n: int, rank: int) -> bool:
        """Whether a root is computed element by element, or reduces all axes."""
        s = self.statements[n]
        return s.name in POINTWISE or (s.name == "reduce" and len(s.parameters[1]) == rank)

    def walk(self, pass_: Pass, turns: int) -> tuple[set[int], bool]:
        """The stored statements that a pass reads, and whether all are read straight.

        What has more elements than there are outer turns is counted as work of the pass.
        """
        read, seen, plain = set[int](), {*pass_.roots}, True
        waiting = [*pass_.roots]
        while waiting:
            n = waiting.pop()
            s = self.statements[n]
            own = n in pass_.roots
            if not own and (n in self.root or n in self.sources):
                read.add(n)
                continue
            if not isinstance(s.known, tuple) and (
                    prod(s.known.shape) > turns or prod(pass_.space) == turns):
                self.count(pass_, n)
            plain &= own or self.plain(n)
            below = self.operands(n) if own else s.inputs
            read.update(i for i in below if i in pass_.roots)
            waiting += [i for i in below if i not in seen]
            seen.update(below)
        return read, plain

    def count(self, pass_: Pass, n: int) -> None:
        """Count the work of a statement in a pass."""
        s = self.statements[n]
        pass_.operations += s.name in POINTWISE
        pass_.curves += s.name == "elementwise" and s.parameters[0] in FORMULAS
        kind, size = s.known.dtype.kind == "f", s.known.dtype.itemsize
        pass_.itemsize = max(pass_.itemsize, (kind, size))

    def plain(self, n: int) -> bool:
        """Whether a statement is computed at one place of flat memory from the same place."""
        s = self.statements[n]
        return s.name in POINTWISE | {"const"} or (
            s.name == "view" and not self.statements[s.inputs[0]].known.shape)

    def settle(self) -> None:
        """Where each root is kept: in memory, for one outer index, or in a register."""
        sch, outputs = self.schedule, {*self.program.outputs}
        sch.stored = self.sources | self.root
        for n in self.root:
            k = sch.at[n][0]
            group = sch.groups[k]
            if n in outputs or group.kind not in {"nest", "dot"} or self.apart or (
                    sch.readers.get(n, set()) - {k}) or sch.carried(n):
                continue
            nest, shape = group.kind == "nest", self.statements[n].known.shape
            if n not in self.outside or (nest and prod(shape[group.depth:]) == 1):
                sch.registers.add(n)
            elif nest and group.depth:
                sch.temporaries.add(n)
        sch.stored -= sch.registers
        for group in sch.groups:
            group.rows = 0 if self.apart else self.beside(group)

    def beside(self, group: Group) -> int:
        """How many rows a group computes at once, one in each lane; 0 if rows fill vectors."""
        inner = [p.space[1:] for p in group.passes]
        if group.kind != "nest" or group.depth != 1 or not any(map(prod, inner)):
            return 0
        sch, sums = self.schedule, [n for n in group.roots if self.statements[n].name == "reduce"]
        kept = [n for n in group.roots if n in sch.temporaries or sch.carried(n)]
        room = sum([prod(self.statements[n].known.shape[n in sch.temporaries:]) for n in kept])
        lanes = VECTOR // max(p.itemsize[1] for p in group.passes)
        short = all(not space or space[-1] <= SHORT for space in inner)
        folded = any({*self.statements[n].parameters[1]} - {0} for n in sums)
        floats = all(self.statements[n].known.dtype.kind == "f" for n in (*sums, *kept))
        return lanes if short and folded and floats and group.outer[0] >= 2 * lanes and (
            room * VECTOR <= SMALL) else 0

