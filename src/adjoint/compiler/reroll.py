"""The stage after simplification: stretches that repeat become loops again.

A Python loop leaves one copy of its body in the trace for each turn. `periods.py` finds stretches
that recur; here every operand of the repeated statements is classified over all turns, from the
middle outwards, and turns at both ends that do not fit are peeled off:

==========  ====================================================================================
same        one value for all turns: a constant of the body, or an input given whole
local       a value of the same turn
carried     a value of the turn before, or of the one before that: a carry
kept        a value of turn ``first + step * t`` of an earlier loop: a row of its stacked result
numbers     a different number for each turn: rows of a constant
slice       a view of one value whose offset moves with the turn: rows of one view
==========  ====================================================================================

A sum to which each turn adds a part somewhere else is taken out of the loop (`spreads.py`).
`bodies.py` makes the loops, and `verify.py` unrolls the result and compares: a Program that is not
proved equal is dropped, and the old one stays. Start reading at `rerolled`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bodies import Plan, Source, with_loops
from .editor import uncollected
from .periods import (
    FEWEST,
    MOVE,
    SHORTEST,
    Run,
    is_leaf,
    ordered,
    readers_of,
    repeatedly_read,
    rotated,
    runs,
)
from .seeds import seeded
from .spreads import chained
from .verify import proved

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bodies import Where
    from .program import Program

ROUNDS = 4  # of peeling
OLDEST = 4  # turns that a carried value may be old
ENOUGH = 0.8  # of what stood in runs must do so after statements have moved
CHEAP = {"elementwise", "cast", "select", "view", "pick"}


def rerolled(program: Program) -> Program:
    """The Program with its repetitions as loops; itself if there are none, or none is proved.

    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.compiler.reroll import rerolled
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = y = b.input(aval_of(np.ones(3)))
    >>> for _ in range(40):
    ...     y = b.elementwise("sin", y)
    >>> b.program.outputs = [y.number]
    >>> [s.name for s in rerolled(b.program).statements]
    ['input', 'loop', 'item']
    """
    with uncollected():
        given, live = program, program.live()
        readers = readers_of(program, live)
        program = seeded(program, live, readers)
        if program is not given:
            live = program.live()
            readers = readers_of(program, live)
        order, signature = ordered(program, live, readers)
        found = runs([signature[n] for n in order])
        if not found:
            return given
        order, found = sunk(program, order, signature, begun_well(program, order, found), readers)
        stretches = [r.turns(order) for r in begun_well(program, order, found)]
        plans, where = classified(program, stretches, readers)
        if not plans:
            return given
        after = with_loops(program, order, plans, where)
        return after if proved(after, given) else given


def begun_well(program: Program, order: list[int], found: list[Run]) -> list[Run]:
    """Each run begun where the fewest bytes cross from turn to turn."""
    place = {n: k for k, n in enumerate(order)}
    return [rotated(program, order, place, run) for run in found]


# ---- statements that only prepare a loop

def sunk(program: Program, order: list[int], signature: dict[int, int], found: list[Run],
         readers: dict[int, list[int]]) -> tuple[list[int], list[Run]]:
    """What is cheap, carries nothing, and is first read in a loop, moved to where it is read.

    A gradient computes the partials of all turns first and multiplies by them later. In one loop
    they need not be stored.
    """
    fixed = recurrent(program, order, found)
    place = {n: k for k, n in enumerate(order)}
    anchor: dict[int, int] = {}
    for n in reversed(order):
        if n not in fixed and program.statements[n].name in CHEAP and readers[n][0] >= 0 and (
                not repeatedly_read(readers[n], signature)):
            first = min([anchor.get(u, place[u]) for u in readers[n]])
            if order[first] in fixed:
                anchor[n] = first
    if not anchor:
        return order, found
    moved = sorted(order, key=lambda n: (anchor.get(n, place[n]), n not in anchor, place[n]))
    again = runs([signature[n] for n in moved])
    return (moved, again) if covered(again) >= ENOUGH * covered(found) else (order, found)


def recurrent(program: Program, order: list[int], found: list[Run]) -> set[int]:
    """The statements of runs in which some value goes from turn to turn."""
    held: set[int] = set()
    for run in found:
        stretch = order[run.start:run.start + run.length]
        middle = run.length // run.period // 2 * run.period
        now, here = {*stretch[middle:middle + run.period]}, {*stretch}
        if any(i in here and i not in now for n in now for i in program.statements[n].inputs):
            held.update(stretch)
    return held


def covered(found: list[Run]) -> int:
    """How many statements stand in runs."""
    return sum(r.length // r.period * r.period for r in found)


# ---- what each operand is

def classified(program: Program, stretches: list[list[list[int]]], readers: dict[int, list[int]],
               ) -> tuple[dict[int, Plan], Where]:
    """Which stretches are loops, after peeling, and where their statements went."""
    where: Where = {}
    plans: dict[int, Plan] = {}
    for r, turns in enumerate(stretches):
        for _ in range(ROUNDS):
            if len(turns) < FEWEST or len(turns) * len(turns[0]) < SHORTEST:
                break
            for t, nodes in enumerate(turns):
                for j, n in enumerate(nodes):
                    where[n] = r, t, j
            plan, low, high = Classifier(program, turns, where, r, readers).plan()
            if plan is not None and (low, high) == (0, len(turns)):
                plans[r] = plan
                break
            for nodes in turns:
                for n in nodes:
                    del where[n]
            if plan is None:
                break
            turns = turns[low:high]
    return plans, where


class Classifier:
    """Looks at the operands of a stretch over all of its turns."""

    def __init__(self, program: Program, turns: list[list[int]], where: Where, r: int,
                 readers: dict[int, list[int]]) -> None:
        self.program, self.turns, self.where, self.r = program, turns, where, r
        self.readers = readers
        self.low, self.high = 0, len(turns)

    def plan(self) -> tuple[Plan | None, int, int]:
        """The plan if all operands can be told, and the turns for which it holds."""
        sources: list[list[Source]] = []
        moves: list[tuple[list[int], list[int]]] = []
        for j, n in enumerate(self.turns[len(self.turns) // 2]):
            s = self.program.statements[n]
            move = self.offsets(lambda t, j=j: self.turns[t][j]) if s.name in MOVE else ([], [])
            found: list[Source] = []
            for k in range(len(s.inputs)):
                source = self.source(j, k)
                if source is None:
                    return None, 0, 0
                found.append(source)
            if any(move[1]) and s.name == "view" and found[0].kind != "same":
                return None, 0, 0
            sources.append(found)
            moves.append(move)
        plan = Plan(self.turns, sources, moves, [])
        chains = chained(self.program, plan, self.readers, self.narrow)
        if chains is None:
            return None, 0, 0
        plan.chains.extend(chains)
        return plan, self.low, self.high

    def narrow(self, good: Callable[[int], bool]) -> int:
        """Keep the turns around the middle for which something holds; the first of them."""
        low = high = len(self.turns) // 2
        while low > self.low and good(low - 1):
            low -= 1
        while high < self.high and good(high):
            high += 1
        self.low, self.high = low, high
        return low

    def offsets(self, at: Callable[[int], int]) -> tuple[list[int], list[int]]:
        """The offsets of views at turn 0, and by how much they move each turn."""
        def offset(t: int) -> list[int]:
            return [o for o, _ in self.program.statements[at(t)].parameters[0]]
        m = len(self.turns) // 2
        middle, before = offset(m), offset(m - 1)
        steps = [b - a for a, b in zip(before, middle, strict=True)]
        first = [o - m * step for o, step in zip(middle, steps, strict=True)]
        self.narrow(lambda t: offset(t) == [o + t * k for o, k in zip(first, steps, strict=True)])
        return first, steps

    def slice(self, at: Callable[[int], int]) -> Source | None:
        """Views of one value that move, wherever they were made."""
        statements, m = self.program.statements, len(self.turns) // 2
        middle, before = statements[at(m)], statements[at(m - 1)]
        if middle.name != "view" or before.name != "view":
            return None
        terms = [t for _, t in middle.parameters[0]]
        base = middle.inputs[0]
        if base != before.inputs[0] or self.where.get(base, (-1,))[0] == self.r:
            return None

        def alike(t: int) -> bool:
            s = statements[at(t)]
            return s.name == "view" and s.inputs[0] == base and (
                [k for _, k in s.parameters[0]] == terms)
        if not alike(m - 1):
            return None
        self.narrow(alike)
        return Source("slice", at(m), moves=self.offsets(at))

    def source(self, j: int, k: int) -> Source | None:
        """What operand k of statement j is, from the middle outwards."""
        statements, turns, where, r = self.program.statements, self.turns, self.where, self.r

        def at(t: int) -> int:
            return statements[turns[t][j]].inputs[k]
        m = len(turns) // 2
        before, middle = at(m - 1), at(m)
        was, now = where.get(before), where.get(middle)
        if before == middle:
            made = now[1] if now is not None and now[0] == r else -1
            self.narrow(lambda t: at(t) == middle and t > made)
            return Source("same", middle) if made < m - 1 else None
        if (now is None or now[:2] != (r, m)) and (found := self.slice(at)) is not None:
            return found
        if was is None or now is None:
            return self.numbers(at, middle)
        other, turn, value = now
        if other == r:
            age = m - turn
            if not 0 <= age <= OLDEST:
                return None
            self.narrow(lambda t: where.get(at(t)) == (r, t - age, value) or (
                t < age and (at(t) not in where or where[at(t)][0] != r)))
            return Source("carried", value, step=age) if age else Source("local", value)
        step = turn - was[1]
        if (was[0], was[2]) != (other, value) or abs(step) != 1:
            return None
        first = turn - step * m
        self.narrow(lambda t: where.get(at(t)) == (other, first + step * t, value))
        return Source("kept", value, other, first, step)

    def numbers(self, at: Callable[[int], int], middle: int) -> Source | None:
        """Numbers that differ from turn to turn."""
        def number(t: int) -> Any:
            s = self.program.statements[at(t)]
            if s.name == "view":
                s = self.program.statements[s.inputs[0]]
            return s.known if s.name == "const" and not s.known.shape else None
        known = number(len(self.turns) // 2)
        if known is None or not is_leaf(self.program, middle):
            return None
        self.narrow(lambda t: number(t) == known)
        return Source("numbers")


