"""Loops made of repetitions: the body, what it is given, and what outside reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval

from .editor import Writer, compacted, retold, rewritten
from .periods import is_leaf
from .spreads import SUMS, Spread, moved, put

if TYPE_CHECKING:
    from .program import Program, Statement

    Where = dict[int, tuple[int, int, int]]  # statement -> (loop, turn, statement of the body)

class Source(NamedTuple):
    """Where an operand comes from. ``value``: a statement, or one of the body; see the table."""

    kind: str
    value: int = 0
    loop: int = 0
    first: int = 0
    step: int = 0
    moves: Any = None  # of a slice: first offsets, and their steps


class Plan(NamedTuple):
    """A loop to be: statements by turn; of each the sources of its operands and how it moves."""

    turns: list[list[int]]
    sources: list[list[Source]]
    moves: list[tuple[list[int], list[int]]]  # of views and pads: first offsets, and their steps
    chains: list[list[Spread]]

    def moving(self, j: int) -> bool:
        """Whether statement ``j`` of the body is a slice whose offset moves."""
        return any(self.moves[j][1])

    def absent(self) -> set[int]:
        """The statements that are not in the body: rows, and sums that are made outside."""
        outside = {j for chain in self.chains for s in chain for j in (s.pad, s.total)}
        return outside | {j for j in range(len(self.moves)) if self.moving(j)}


    Where = dict[int, tuple[int, int, int]]  # statement -> (loop, turn, statement of the body)



class Slots:
    """What a body is given: carries, rows, and values that all turns share."""

    def __init__(self) -> None:
        # What a statement of the body was one turn ago, two turns ago, ...: the statement, and its
        # values before the first turn, the oldest first.
        self.carries: dict[tuple[int, tuple[int, ...]], int] = {}
        self.rows: dict[Any, int] = {}
        self.shared: dict[int, int] = {}


class Outer:
    """The new Program around the loops."""

    def __init__(self, program: Program, plans: dict[int, Plan], where: Where) -> None:
        self.program, self.plans, self.where = program, plans, where
        self.writer = Writer()
        self.new: dict[int, int] = {}
        self.items: dict[tuple[int, int], int] = {}  # (loop, statement of the body) -> the item
        self.wanted = self.wanted_outside()

    def wanted_outside(self) -> dict[tuple[int, int], str]:
        """Which values of each body are read from outside: the ``last`` one, or ``all``."""
        wanted: dict[tuple[int, int], str] = {}
        statements, where = self.program.statements, self.where
        used = [(where.get(n, (-1,))[0], i)
                for n in self.program.live() for i in statements[n].inputs]
        used += [(-1, i) for i in self.program.outputs]
        for reader, i in used:
            r, t, j = where.get(i, (-1, 0, 0))
            if r < 0 or r == reader or self.plans[r].moving(j):
                continue
            if t < len(self.plans[r].turns) - 1:
                wanted[r, j] = "all"
            else:
                wanted.setdefault((r, j), "last")
        for r, plan in self.plans.items():
            for part in [spread.part for chain in plan.chains for spread in chain]:
                wanted[part.loop if part.kind == "kept" else r, part.value] = "all"
        return wanted

    def seen(self, n: int) -> int:
        """A statement of the old Program, as the new one has it outside of loops."""
        if n not in self.new:
            self.new[n] = self.found(n)
        return self.new[n]

    def found(self, n: int) -> int:
        """A leaf, or a value of a loop that is made already."""
        at = self.where.get(n)
        if at is None:
            if not is_leaf(self.program, n):
                raise KeyError(n)
            for i in self.program.statements[n].inputs:
                self.seen(i)
            return rewritten(self.writer, self.program, n, self.new)
        r, t, j = at
        s = self.program.statements[n]
        if self.plans[r].moving(j):
            return self.writer.view(self.seen(s.inputs[0]), *s.parameters)
        item = self.items[r, j]
        if self.wanted[r, j] == "last":
            return item
        return self.writer.view(item, ((t, ()), *straight(s.known.shape)), s.known.shape)

    def plain(self, n: int) -> None:
        """A statement outside of loops."""
        first = len(self.writer.statements)
        for i in self.program.statements[n].inputs:
            self.seen(i)
        self.new[n] = m = rewritten(self.writer, self.program, n, self.new)
        retold(self.program, n, self.writer.program,
               (m, *range(first, len(self.writer.statements))))

    def loop(self, r: int) -> None:
        """The loop of a plan, and its items."""
        body = Inner(self, r)
        first = len(self.writer.statements)
        w, turns, plan = self.writer, len(self.plans[r].turns), self.plans[r]
        given = [self.seen(before[0]) for _, before in body.slots.carries]
        for j in body.dummies:
            known = self.program.statements[plan.turns[0][j]].known
            given.append(w.splat(known.dtype.type(0), known.shape))
        carries = len(given)
        given += [self.rows(r, key) for key in body.slots.rows]
        given += [self.seen(n) for n in body.slots.shared]
        outs = body.writer.program.results()
        known = (*outs[:carries], *[stacked(k, turns) for k in outs[carries:]])
        shared = len(body.slots.shared)
        n = w.made("loop", tuple(given), (body.writer.program, turns, carries,
                                          *((shared,) if shared else ())), known)
        for j, k in body.places.items():
            self.items[r, j] = w.made("item", (n,), (k,), known[k])
        for chain in plan.chains:
            self.items[r, chain[-1].total] = self.sum(r, chain)
        lines = set[Any]().union(*[self.program.sites.get(m, ()) for t in plan.turns for m in t])
        for m in range(first, len(w.statements)):
            w.program.sites.setdefault(m, set()).update(lines)

    def rows(self, r: int, key: Any) -> int:
        """The array of whose rows each turn is given one."""
        turns = self.plans[r].turns
        if key[0] == "kept":
            _, value, other, first, step = key
            item = self.items[other, value]
            shape = self.writer.statements[item].known.shape
            index = ((first, ((0, step),)), *straight(shape[1:], 1))
            return self.writer.view(item, index, (len(turns), *shape[1:]))
        if key[0] == "numbers":
            _, j, k = key
            numbers = [number_of(self.program, self.program.statements[nodes[j]].inputs[k])
                       for nodes in turns]
            return self.writer.const(np.stack(numbers))
        _, base, terms, shape, first, steps = key
        slice_ = Slice(terms, shape)
        return self.writer.view(self.seen(base), moved(first, steps, slice_.placed),
                                (len(turns), *slice_.shape))

    def sum(self, r: int, chain: list[Spread]) -> int:
        """The sum of what all turns add to it, each elsewhere."""
        first = self.plans[r].turns[0]
        statements = self.program.statements
        total = self.seen(statements[first[chain[0].total]].inputs[chain[0].summed])
        for spread in chain:
            s, part = statements[first[spread.pad]], spread.part
            local = part.kind == "local"
            parts = self.items[r, part.value] if local else self.rows(r, tuple(part[:5]))
            of_sum = local and statements[first[part.value]].name in SUMS
            padded = put(self.writer, parts, spread.index, s, not of_sum)
            both = (total, padded) if spread.summed == 0 else (padded, total)
            total = self.writer.map("add", *both)
        return total


def stacked(known: Any, turns: int) -> Any:
    """The Aval of the values of all turns."""
    return aval((turns, *known.shape), known.dtype)


def straight(shape: Any, first: int = 0) -> tuple[Any, ...]:
    """An index that leaves axes as they are, counted from ``first`` in the result."""
    return tuple([(0, ((d + first, 1),)) for d in range(len(shape))])


def number_of(program: Program, n: int) -> Any:
    """The number that a leaf is throughout."""
    s = program.statements[n]
    if s.name == "view":
        s = program.statements[s.inputs[0]]
    return np.asarray(program.constants[s.parameters[0]])


class Slice:
    """A view in two steps: a slice with axes in the order of its operand, and a view of that.

    The slice is a row of what the loop is given; the body turns and repeats its axes.
    """

    def __init__(self, terms: Any, shape: Any) -> None:
        axes = [d for along in terms for d, _ in along]
        if len(axes) != len({*axes}) or any(len(along) > 1 for along in terms):
            self.placed, self.shape, self.index = terms, shape, straight(shape)
            return
        rank = iter(range(len(axes)))
        self.placed: Any = [tuple([(next(rank), k) for _, k in along]) for along in terms]
        self.shape = tuple([shape[d] for d in axes])
        self.index = tuple([(0, ((d, 1),)) for d in axes])


class Inner:
    """The body of one loop."""

    def __init__(self, outer: Outer, r: int) -> None:
        self.outer, self.program, self.plan, self.r = outer, outer.program, outer.plans[r], r
        self.writer = Writer()
        self.slots = Slots()
        self.copies: dict[int, int] = {}  # leaves of the old Program in the body
        self.made: list[int] = []
        self.absent = self.plan.absent()
        self.collect()
        wanted = sorted(j for other, j in outer.wanted if other == r and j not in self.absent)
        last = [j for j in wanted if outer.wanted[r, j] == "last"]
        held = {j for j, before in self.slots.carries if len(before) == 1}
        self.dummies = [j for j in last if j not in held]
        self.open()
        self.write()
        self.close([j for j in wanted if outer.wanted[r, j] == "all"], last)

    def key(self, j: int, k: int) -> Any:
        """What tells rows apart, if operand k of statement j is one."""
        source = self.plan.sources[j][k]
        if source.kind == "local":
            s = self.program.statements[self.plan.turns[0][source.value]]
            return self.slice_key(s, self.plan.moves[source.value])
        if source.kind == "slice":
            return self.slice_key(self.program.statements[source.value], source.moves)
        return (source.kind, j, k) if source.kind == "numbers" else tuple(source[:5])

    def before(self, j: int, k: int) -> tuple[int, ...]:
        """What a carried operand is in the first turns, in which it comes from outside."""
        turns = self.plan.turns[:self.plan.sources[j][k].step]
        return tuple([self.program.statements[nodes[j]].inputs[k] for nodes in turns])

    def slice_key(self, s: Statement, moves: tuple[list[int], list[int]]) -> Any:
        """What tells slices apart."""
        terms = tuple([t for _, t in s.parameters[0]])
        return ("slice", s.inputs[0], terms, s.known.shape, tuple(moves[0]), tuple(moves[1]))

    def is_row(self, source: Source) -> bool:
        """Whether an operand is a row of what the body is given."""
        return source.kind in {"kept", "numbers", "slice"} or (
            source.kind == "local" and self.plan.moving(source.value))

    def collect(self) -> None:
        """Find what the body needs from outside."""
        first = self.plan.turns[0]
        for j, sources in enumerate(self.plan.sources):
            if j in self.absent:
                continue
            for k, source in enumerate(sources):
                i = self.program.statements[first[j]].inputs[k]
                if source.kind == "carried":
                    before = self.before(j, k)
                    for age in range(len(before)):
                        self.slots.carries[source.value, before[age:]] = 0
                elif self.is_row(source):
                    self.slots.rows[self.key(j, k)] = 0
                elif source.kind == "same" and not is_leaf(self.program, i):
                    self.slots.shared[self.base(i)] = 0
                elif source.kind == "same" and self.program.statements[i].name == "input":
                    self.slots.shared[i] = 0

    def base(self, n: int) -> int:
        """What a view that all turns share looks at: the view itself is made in the body."""
        s = self.program.statements[n]
        return s.inputs[0] if s.name == "view" and n not in self.outer.where else n

    def known(self, n: int) -> Any:
        """The Aval of a statement of the old Program."""
        return self.program.statements[n].known

    def open(self) -> None:
        """The inputs of the body, in order."""
        first, w, slots = self.plan.turns[0], self.writer, self.slots
        for carry in slots.carries:
            slots.carries[carry] = w.input(self.known(first[carry[0]]))
        for j in self.dummies:
            w.input(self.known(first[j]))
        for key in slots.rows:
            slots.rows[key] = w.input(self.row_known(key))
        for n in slots.shared:
            slots.shared[n] = w.input(self.known(n))

    def row_known(self, key: Any) -> Any:
        """The Aval of one row."""
        first = self.plan.turns[0]
        if key[0] == "kept":
            return self.known(self.outer.plans[key[2]].turns[0][key[1]])
        if key[0] == "numbers":
            known = self.known(self.program.statements[first[key[1]]].inputs[key[2]])
            return aval((), known.dtype)
        _, base, terms, shape, _, _ = key
        return aval(Slice(terms, shape).shape, self.known(base).dtype)

    def write(self) -> None:
        """The statements of the first turn, on what the body is given."""
        for j, n in enumerate(self.plan.turns[0]):
            if j in self.absent:
                self.made.append(-1)
                continue
            s = self.program.statements[n]
            inputs = tuple([self.operand(j, k) for k in range(len(s.inputs))])
            if s.name == "view":
                m = self.writer.view(inputs[0], *s.parameters)
            else:
                m = self.writer.made(s.name, inputs, s.parameters, s.known)
            self.made.append(m)
            lines = self.writer.program.sites.setdefault(m, set())
            for nodes in self.plan.turns:
                lines.update(self.program.sites.get(nodes[j], ()))

    def operand(self, j: int, k: int) -> int:
        """An operand in the body."""
        source = self.plan.sources[j][k]
        i = self.program.statements[self.plan.turns[0][j]].inputs[k]
        if self.is_row(source):
            return self.seen_row(self.key(j, k), self.known(i).shape)
        if source.kind == "local":
            return self.made[source.value]
        if source.kind == "carried":
            return self.slots.carries[source.value, self.before(j, k)]
        if i in self.slots.shared:
            return self.slots.shared[i]
        if not is_leaf(self.program, i):
            return self.writer.view(self.slots.shared[self.base(i)],
                                    *self.program.statements[i].parameters)
        for inner in self.program.statements[i].inputs:
            self.copies[inner] = rewritten(self.writer, self.program, inner, self.copies)
        if i not in self.copies:
            self.copies[i] = rewritten(self.writer, self.program, i, self.copies)
        return self.copies[i]

    def seen_row(self, key: Any, shape: Any) -> int:
        """The row that a turn is given, as its readers see it."""
        row = self.slots.rows[key]
        if key[0] == "kept":
            return row
        return self.writer.view(row, Slice(key[2], shape).index if key[0] == "slice" else (), shape)

    def close(self, everything: list[int], last: list[int]) -> None:
        """The results of the body: the next carries, then what is stacked; and their places."""
        carries = self.slots.carries
        held = [j if len(before) == 1 else -1 for j, before in carries] + self.dummies
        self.places = {j: held.index(j) for j in last}
        self.places |= {j: len(held) + k for k, j in enumerate(everything)}
        following = [self.made[j] if len(before) == 1 else carries[j, before[1:]]
                     for j, before in carries]
        self.writer.program.outputs = [
            *following, *[self.made[j] for j in (*self.dummies, *everything)]]


def with_loops(program: Program, order: list[int], plans: dict[int, Plan], where: Where,
               ) -> Program:
    """The Program in which the planned stretches are loops."""
    outer = Outer(program, plans, where)
    for n in program.inputs:
        outer.new[n] = outer.writer.input(program.statements[n].known)
    done: set[int] = set()
    for n in order:
        r = where.get(n, (-1,))[0]
        if r < 0:
            outer.plain(n)
        elif r not in done:
            done.add(r)
            outer.loop(r)
    outer.writer.program.outputs = [outer.seen(n) for n in program.outputs]
    return compacted(outer.writer.program, program)
