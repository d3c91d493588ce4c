"""Dynamic programming over the paths of an `Influence`: how many, their sum, the largest ones.

Everything is worked out once for each variable, from the target back to the source, so that the
number of paths (2^1000 in a chain of a thousand diamonds) never matters. A product is formed as
reverse mode forms it, from the result on: a zero downstream cancels what is not finite upstream.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .folding import times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .influence import Edge, Influence, Variable

    Choice = Edge | tuple[list[Edge], list[int]]  # the only edge, or for each way edge and number


@dataclass(frozen=True, slots=True)
class Sums:
    """Over all paths: how many, the sum of the products, the sum of their absolute values."""

    count: int
    total: Any
    absolute: float


def counted(graph: Influence, source: Variable, target: Variable) -> int:
    """The number of paths, exact however large."""
    ways: dict[Variable, int] = {target: 1}
    left: dict[Variable, int] = {}
    for v in reversed(graph.variables[source.number:target.number]):
        ways[v] = sum(ways.get(e.head, 0) for e in v.uses)
        for e in v.uses:  # a number of thousands of digits is not kept for longer than needed
            left[e.head] = left.get(e.head, len(e.head.sources)) - 1
            if not left[e.head] and e.head is not target:
                ways.pop(e.head, None)
    return ways.get(source, 0)


def summed(graph: Influence, source: Variable, target: Variable, seed: float) -> Sums:
    """The sums over all paths between numbers; ``seed`` is the cotangent of the target."""
    total, absolute = {target: seed}, {target: abs(seed)}
    for v in reversed(graph.variables[source.number:target.number]):
        both = absolutely = 0.0
        for e in v.uses:
            if e.head in total:
                number: Any = e.number
                both += times(total[e.head], number)
                absolutely += times(absolute[e.head], abs(number))
        total[v], absolute[v] = both, absolutely
    return Sums(counted(graph, source, target), total.get(source, 0.0), absolute.get(source, 0.0))


def rank(product: float) -> tuple[bool, float]:
    """What paths are ordered by: NaN before everything, then the absolute value."""
    return (True, 0.0) if product != product else (False, abs(product))


def largest(graph: Influence, source: Variable, target: Variable, seed: float, limit: int
            ) -> list[tuple[float, list[Edge]]]:
    """The ``limit`` paths with the largest products, largest first, each from source to target.

    A variable keeps as many of the ways to the target. None that is left out is needed: `times`
    never turns the order of two products around, NaN and infinities and zeros included.
    """
    products: dict[Variable, list[float]] = {target: [seed]}
    choices: dict[Variable, Choice] = {}
    for v in reversed(graph.variables[source.number:target.number]):
        edges: list[Any] = [e for e in v.uses if e.head in products]
        if len(edges) == 1:
            (e,) = edges
            products[v] = [times(p, e.number) for p in products[e.head]]
            choices[v] = e
        elif edges:
            merged = heapq.merge(*[scaled(e, products[e.head]) for e in edges],
                                 key=lambda found: rank(found[0]), reverse=True)
            best = list(islice(merged, limit))
            products[v] = [p for p, _, _ in best]
            choices[v] = [e for _, e, _ in best], [k for _, _, k in best]
    found = products.get(source, [])[:limit]
    return [(p, way(choices, source, k)) for k, p in enumerate(found)]


def scaled(e: Any, products: list[float]) -> Iterator[tuple[float, Edge, int]]:
    """The products that come by one edge, largest first."""
    for k, p in enumerate(products):
        yield times(p, e.number), e, k


def way(choices: dict[Variable, Choice], v: Variable, k: int) -> list[Edge]:
    """The edges of the path that is number ``k`` at ``v``."""
    found: list[Edge] = []
    while v in choices:
        choice = choices[v]
        if isinstance(choice, tuple):
            e, k = choice[0][k], choice[1][k]
        else:
            e = choice
        found.append(e)
        v = e.head
    return found


def largest_arrays(graph: Influence, source: Variable, target: Variable, seed: Any, limit: int
                   ) -> list[tuple[Any, list[Edge]]]:
    """The same between arrays, whose products are matrices: those of large Frobenius norm.

    A matrix may turn the order of two products around, so that this is exact only where no more
    than ``limit`` ways leave any variable.
    """
    waiting: dict[Variable, list[tuple[Any, list[Edge] | Link]]] = {target: [(seed, [])]}
    for v in reversed(graph.variables[source.number:target.number + 1]):
        best = waiting.pop(v, [])
        if len(best) > limit:
            best = heapq.nlargest(limit, best, key=lambda found: norm(found[0]))
        if v is source:
            ordered = sorted(best, key=lambda found: norm(found[0]), reverse=True)
            return [(p, linked(link)) for p, link in ordered]
        for rows, link in best if v.sources else ():
            for e, part in graph.back(v, rows).items():
                waiting.setdefault(e.tail, []).append((part, Link(e, link)))
    return []


@dataclass(frozen=True, slots=True)
class Link:
    """An edge and the way on from its head."""

    edge: Edge
    rest: Any


def linked(link: Any) -> list[Edge]:
    """The edges of a way."""
    found: list[Edge] = []
    while isinstance(link, Link):
        found.append(link.edge)
        link = link.rest
    return found


def norm(rows: Any) -> tuple[bool, float]:
    """What matrices are ordered by: those with NaN first, then the Frobenius norm."""
    size = float(np.linalg.norm(rows))
    return (True, 0.0) if size != size else (False, size)


def summed_arrays(graph: Influence, source: Variable, target: Variable, seed: Any) -> Any:
    """The sum over all paths between arrays: one sweep."""
    waiting = {target: seed}
    for v in reversed(graph.variables[source.number + 1:target.number + 1]):
        if v in waiting and v.sources:
            for e, part in graph.back(v, waiting.pop(v)).items():
                waiting[e.tail] = waiting[e.tail] + part if e.tail in waiting else part
    return waiting.get(source, np.zeros((len(seed), source.size)))
