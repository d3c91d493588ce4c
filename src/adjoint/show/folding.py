"""Leaving variables out of an `Influence`: the ways through them become edges.

A variable with edges in and edges out is taken away by an edge for each pair of them, their
factors multiplied; edges that join the same two are added. That is the elimination of a vertex in
an accumulation of Jacobians (Griewank and Walther, Evaluating Derivatives, chapter 9), and as
there the cheapest one goes first.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from adjoint.errors import ArgumentError

from .factors import FORMULA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .influence import Edge, Variable

WORK = 3_000_000  # products of edges, before a hang


def times(downstream: float, upstream: float) -> float:
    """A product of two factors; a zero downstream cancels what is not finite upstream."""
    return downstream if downstream == 0 else downstream * upstream


def fold(variables: Sequence[Variable]) -> list[Variable]:
    """The variables that are ``kept``, with one edge between two of them at most."""
    if all(v.kept and len({e.tail for e in v.sources}) == len(v.sources) for v in variables):
        for v in variables:
            v.uses = []
        for v in variables:
            for e in v.sources:
                e.tail.uses.append(e)
            v.sources.sort(key=lambda e: e.tail.number)
        return list(variables)
    into: dict[Variable, dict[Variable, Edge]] = {v: {} for v in variables}
    out: dict[Variable, dict[Variable, Edge]] = {v: {} for v in variables}
    for v in variables:
        for e in v.sources:
            join(into, out, e)
    queue = [(len(into[v]) * len(out[v]), -v.number) for v in variables if not v.kept]
    heapq.heapify(queue)
    work = 0
    while queue:
        cost, number = heapq.heappop(queue)
        v = variables[-number]
        now = len(into[v]) * len(out[v])
        if now > cost:
            heapq.heappush(queue, (now, number))
            continue
        work += now
        if work > WORK:
            raise ArgumentError(
                f"group: the steps that are left out would make more than {WORK:,} edges; keep "
                "more of them, group=('a', 'b', ...), or leave group= away")
        eliminate(v, into, out)
    kept = [v for v in variables if v.kept]
    for number, v in enumerate(kept):
        v.number, v.uses = number, list(out[v].values())
        v.sources = sorted(into[v].values(), key=lambda e: e.tail.number)
    return kept


def eliminate(v: Variable, into: dict[Variable, dict[Variable, Edge]],
              out: dict[Variable, dict[Variable, Edge]]) -> None:
    """Take ``v`` away."""
    before, after = into.pop(v), out.pop(v)
    for up in before.values():
        del out[up.tail][v]
    for down in after.values():
        del into[down.head][v]
        for up in before.values():
            terms = min(up.terms + down.terms, FORMULA + 1)
            number = None if up.number is None or down.number is None else (
                times(down.number, up.number))
            join(into, out, type(up)(
                up.tail, down.head, number,
                parts=(down, up) if terms <= FORMULA else (), terms=terms, within=up.within))


def join(into: dict[Variable, dict[Variable, Edge]], out: dict[Variable, dict[Variable, Edge]],
         e: Edge) -> None:
    """Enter an edge, added to the one that joins the same two."""
    there = out[e.tail].get(e.head)
    if there is not None:
        number = None if there.number is None or e.number is None else there.number + e.number
        terms = min(there.terms + e.terms, FORMULA + 1)
        e = type(e)(e.tail, e.head, number, parts=(there, e) if terms <= FORMULA else (),
                    added=True, terms=terms, within=e.within)
    out[e.tail][e.head] = into[e.head][e.tail] = e
