"""Sums to which each turn of a loop adds a part somewhere else: made outside of the loop, at once.

The gradient of ``x[t]`` is an array of zeros with the part of turn t in row t, and the gradient of
x is the sum of these. With one such array for each turn the work would grow with the square of
their number. So the parts of all turns are stacked, and one statement puts them where they belong:
a pad if no two of them touch one element, a scatter_add if they overlap (windows that slide).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval

from .moves import apart
from .views import normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bodies import Plan, Source
    from .editor import Writer
    from .program import Program

SUMS = {"dot", "reduce", "scatter_add"}  # which start from 0 and are never -0


class Spread(NamedTuple):
    """A pad that moves and is added to a sum each turn: statements of the body, and an index.

    ``index`` is where the stacked parts go; ``summed`` which operand of ``total`` is the sum.
    """

    pad: int
    total: int
    part: Source
    summed: int
    index: Any


def moved(first: Any, steps: Any, placed: Any) -> Any:
    """An index with one more axis in front, the turns, along which the offsets move."""
    return tuple([(o, (*(((0, k),) if k else ()), *[(d + 1, i) for d, i in along]))
                  for o, k, along in zip(first, steps, placed, strict=True)])


def chained(program: Program, plan: Plan, readers: dict[int, list[int]],
            narrow: Callable[[Callable[[int], bool]], Any]) -> list[list[Spread]] | None:
    """The sums of a body to which pads that move are added; None if a pad has another use."""
    turns = plan.turns
    middle = turns[len(turns) // 2]
    found: dict[int, Spread] = {}
    for j, n in enumerate(middle):
        if program.statements[n].name == "pad" and plan.moving(j):
            spread = spread_of(program, plan, middle, readers, j)
            if spread is None or spread.total in found:
                return None
            found[spread.total] = spread
    chains: list[list[Spread]] = []
    for spread in found.values():
        if other_of(plan, spread).kind == "carried":
            chain = followed(plan, found, spread)
            if other_of(plan, spread)[:2] != ("carried", chain[-1].total) or (
                    other_of(plan, spread).step != 1):
                return None
            chains.append(chain)
    if sum(map(len, chains)) != len(found):
        return None
    for chain in chains:
        narrow(lambda t, chain=chain: read_in_turn(turns, readers, chain, t))
    return chains


def spread_of(program: Program, plan: Plan, middle: list[int], readers: dict[int, list[int]],
              j: int) -> Spread | None:
    """A pad that moves, if one statement of the turn reads it and adds it to something."""
    s, place = program.statements[middle[j]], {n: k for k, n in enumerate(middle)}
    index, _, fill = s.parameters
    (part,), reads = plan.sources[j], readers[middle[j]]
    if len(reads) != 1 or reads[0] not in place or s.known.dtype.kind != "f" or fill != 0:
        return None
    if part.kind != "kept" and (part.kind != "local" or plan.moving(part.value)):
        return None
    total = place[reads[0]]
    local = [(source.kind, source.value) == ("local", j) for source in plan.sources[total]]
    if program.statements[reads[0]].parameters != ("add",) or local.count(True) != 1:
        return None
    where = moved(*plan.moves[j], [t for _, t in index])
    shape = (len(plan.turns), *program.statements[s.inputs[0]].known.shape)
    if np.signbit(fill) and not apart(normal(where, shape), shape):
        return None  # scatter_add starts from 0
    return Spread(j, total, part, local.index(False), where)


def other_of(plan: Plan, spread: Spread) -> Source:
    """The sum to which a pad is added."""
    return plan.sources[spread.total][spread.summed]


def followed(plan: Plan, found: dict[int, Spread], spread: Spread) -> list[Spread]:
    """The pads that one turn adds, one after the other."""
    chain = [spread]
    while True:
        following = [s for s in found.values() if other_of(plan, s).kind == "local"
                     and other_of(plan, s).value == chain[-1].total]
        if len(following) != 1 or following[0] in chain:
            return chain
        chain += following


def read_in_turn(turns: list[list[int]], readers: dict[int, list[int]], chain: list[Spread],
                 t: int) -> bool:
    """Whether in one turn nobody but the sum itself reads the pads and the sum."""
    nodes = turns[t]
    follow = [nodes[s.total] for s in chain[1:]]
    follow += [turns[t + 1][chain[0].total]] if t + 1 < len(turns) else []
    return all(readers[nodes[s.pad]] == [nodes[s.total]] for s in chain) and all(
        readers[nodes[s.total]] == [n] for s, n in zip(chain, follow, strict=False))


def put(w: Writer, parts: int, index: Any, s: Any, raised: bool) -> int:
    """The parts of all turns where they belong, among zeros.

    ``raised``: a part may be -0, which is 0 after the zeros of the other turns are added to it.
    """
    known, (_, shape, fill) = w.statements[parts].known, s.parameters
    index = normal(index, known.shape)
    if apart(index, known.shape):
        if raised and not np.signbit(fill):
            parts = w.map("add", parts, w.like(parts, 0))
        return w.made("pad", (parts,), (index, shape, fill), aval(shape, known.dtype))
    place = np.dtype(np.int64)
    indices = [w.view(w.iota((n,), 0, place), (entry,), known.shape)
               for n, entry in zip(shape, index, strict=True)]
    return w.made("scatter_add", (parts, *indices), (shape,), aval(shape, known.dtype))
