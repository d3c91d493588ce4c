"""Sums that grow turn by turn get the 0 that they begin with, so that their first turn is no other.

Python's ``total = 0.0`` is simplified away, and the sum of a gradient begins with its first term.
The first turn of a loop would then be another than the rest, and stay outside. Where the term is
never -0, ``0 + term`` is the term.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from .editor import Writer, compacted, retold, rewritten
from .facts import never_minus_zero
from .periods import FEWEST, MOVE, is_leaf

if TYPE_CHECKING:
    from .program import Program

FAR = 1000  # statements among which the turn before is looked for
Chain = tuple[int, int]  # the first sum of a chain, and which of its operands grows


def seeded(program: Program, live: list[int], readers: dict[int, list[int]]) -> Program:
    """The Program in which every chain of sums begins with 0; itself if there is none.

    >>> from adjoint.compiler.periods import readers_of
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.compiler.seeds import seeded
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x, *rest = [b.reduce("add", b.input(aval_of(np.ones(3))), (0,)) for _ in range(6)]
    >>> for y in rest:
    ...     x = b.elementwise("add", x, y)
    >>> b.program.outputs = [x.number]
    >>> live = b.program.live()
    >>> len(seeded(b.program, live, readers_of(b.program, live)).live()) - len(live)
    2
    """
    first = beginnings(program, live, readers)
    if not first:
        return program
    w, new = Writer(), dict[int, int]()
    grown: dict[Chain, int] = {}  # the first terms, with 0 added
    early: dict[int, list[Chain]] = {}  # statements before which that is done
    late: dict[int, list[Chain]] = {}  # statements behind which that is done
    nodes = [n for n in live if not is_leaf(program, n)]
    for n, k in first:
        term, at = program.statements[n].inputs[k], turn_before(program, nodes, n)
        if program.statements[n].inputs[1 - k] == term and at > term:
            early.setdefault(at, []).append((n, k))
        else:
            late.setdefault(term, []).append((n, k))

    def grow(chains: list[Chain]) -> None:
        for n, k in chains:
            s = program.statements[n]
            xs = [w.splat(s.known.dtype.type(0), s.known.shape)] * 2
            xs[k ^ 1] = new[s.inputs[k]]
            grown[n, k] = w.made(s.name, tuple(xs), s.parameters, s.known)
            retold(program, n, w.program, (grown[n, k],))
    for n in program.inputs:
        new[n] = w.input(program.statements[n].known)
    for n in live:
        grow(early.get(n, []))
        s = program.statements[n]
        for k in (0, 1):
            if (n, k) in first:
                xs = [new[i] for i in s.inputs]
                xs[k] = grown[n, k]
                new[n] = w.made(s.name, tuple(xs), s.parameters, s.known)
        if n not in new:
            new[n] = rewritten(w, program, n, new)
        retold(program, n, w.program, (new[n],))
        grow(late.get(n, []))
    w.program.outputs = [new[n] for n in program.outputs]
    return compacted(w.program, program)


def turn_before(program: Program, nodes: list[int], n: int) -> int:
    """Where the last stretch begins that does what the one behind ``n`` does; -1 if none does."""
    place = bisect_left(nodes, n)
    behind = nodes[place + 1:place + 3]  # further on, other sums are missing there
    for p in range(place - len(behind), max(place - FAR, -1), -1):
        if all(alike(program, m, k) for m, k in zip(nodes[p:p + 2], behind, strict=False)):
            return nodes[p]
    return -1


def beginnings(program: Program, live: list[int], readers: dict[int, list[int]]) -> set[Chain]:
    """The first sums of chains whose terms are alike, and never -0."""
    statements = program.statements
    chains: dict[Chain, tuple[int, int]] = {}  # where a sum's chain began, and its length
    for n in live:
        s = statements[n]
        if s.name != "elementwise" or s.parameters != ("add",) or s.known.dtype.kind != "f":
            continue
        for k in (0, 1):
            i = s.inputs[k]
            start, length = chains.get((i, k), (n, 0))
            if length and (readers[i] != [n] or not alike(
                    program, s.inputs[1 - k], statements[i].inputs[1 - k])):
                start, length = n, 0
            chains[n, k] = start, length + 1
    judged = judge(program)
    found = {(start, k) for (_, k), (start, length) in chains.items() if length >= FEWEST}
    return {(n, k) for n, k in found if is_first(program, judged, readers, n, k)}


def is_first(program: Program, judged: Any, readers: dict[int, list[int]], n: int, k: int) -> bool:
    """Whether a sum adds the second term of a chain to the first."""
    xs = program.statements[n].inputs
    return not is_leaf(program, xs[k]) and alike(program, xs[0], xs[1]) and (
        {*readers[xs[k]]} == {n} or xs[0] == xs[1]) and never_minus_zero(judged, xs[k])


def alike(program: Program, x: int, z: int) -> bool:
    """Whether two statements do the same, perhaps on other operands."""
    a, b = program.statements[x], program.statements[z]
    if a.name != b.name or a.known != b.known:
        return False
    if a.name in MOVE:
        return a.parameters[1:] == b.parameters[1:] and (
            [t for _, t in a.parameters[0]] == [t for _, t in b.parameters[0]])
    return a.parameters == b.parameters


def judge(program: Program) -> Any:
    """A Program as those see it who ask for facts."""
    w: Any = Writer()
    w.statements, w.program, w.memo = program.statements, program, {}
    w.numbers = {n: program.constants[s.parameters[0]] for n, s in enumerate(program.statements)
                 if s.name == "const" and not s.known.shape}
    return w
