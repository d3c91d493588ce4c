"""Orders: how the items of each layer follow each other, with few crossings.

Sweeps of barycentres after Sugiyama, Tagawa and Toda (1981), and exchanges of neighbours where the
graph is small, after Gansner, Koutsofios, North and Vo (1993), "A technique for drawing directed
graphs".
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise

from .layering import Layered, Net

SWEEPS, PATIENCE = 16, 4
TINY, SMALL, LARGE = 150, 700, 5000  # up to so many items more is tried

Near = list[list[tuple[int, float]]]


def sides(graph: Layered, net: Net) -> tuple[Near, Near]:
    """For each item its neighbours before and after it, with the place of their port (-1 to 1)."""
    before: Near = [[] for _ in graph.items]
    after: Near = [[] for _ in graph.items]
    for link, chain in zip(net.links, graph.chains, strict=True):
        if chain is None:
            continue
        for k, (u, v) in enumerate(pairwise(chain)):
            out = link.tail_port if k == 0 else None
            into = link.head_port if k == len(chain) - 2 else None
            before[v].append((u, relative(graph, u, out)))
            after[u].append((v, relative(graph, v, into)))
    return before, after


def relative(graph: Layered, item: int, port: float | None) -> float:
    """A port as a part of an item's half, kept below a half so that neighbours do not mix."""
    return 0.0 if port is None else 0.98 * port / max(graph.items[item].across, 1e-9)


def order(graph: Layered, net: Net) -> list[list[int]]:
    """The items of each layer in order."""
    before, after = sides(graph, net)
    size = max(len(graph.items), net.whole)
    best: list[list[int]] = []
    fewest = -1
    for start, down_first in starts(size):
        rows = mixed(graph.rows(), start)
        idle = 0
        for turn in range(SWEEPS):
            sweep(rows, before if (turn % 2 == 0) == down_first else after,
                  (turn % 2 == 0) == down_first)
            if size <= SMALL:
                exchange(rows, before, after)
            crossings = count(rows, after)
            if fewest < 0 or crossings < fewest:
                best, fewest, idle = [list(r) for r in rows], crossings, 0
            else:
                idle += 1
            if not crossings or idle >= PATIENCE or turn * size > 8 * LARGE:
                break
        if not fewest:
            break
    return best or graph.rows()


def starts(count: int) -> list[tuple[int, bool]]:
    """How often to begin anew, and with which sweep: the smaller the graph, the more often."""
    times = 8 if count <= TINY else 2 if count <= SMALL else 1
    return [(k, down) for k in range(times) for down in (True, False)][:1 if count > LARGE else 16]


def mixed(rows: list[list[int]], start: int) -> list[list[int]]:
    """The first time in the given order, then reversed, then in orders of no meaning."""
    if start == 0:
        return rows
    if start == 1:
        return [row[::-1] for row in rows]
    return [sorted(row, key=lambda i: (i + 1) * 7919 * start % 10007) for row in rows]


def sweep(rows: list[list[int]], near: Near, down: bool) -> None:
    """Sort every layer by the mean place of the neighbours in the layer that was sorted before."""
    place = {i: float(k) for row in rows for k, i in enumerate(row)}
    for row in rows if down else reversed(rows):
        if len(row) == 1:
            continue
        wish = {i: sum([place[n] + p for n, p in near[i]]) / len(near[i])
                for i in row if near[i]}
        free = iter(sorted(wish, key=wish.__getitem__))  # equal ones keep their order
        row[:] = [next(free) if i in wish else i for i in row]  # without neighbours: it stays
        for k, i in enumerate(row):
            place[i] = float(k)


def count(rows: list[list[int]], after: Near) -> int:
    """How many pairs of links cross."""
    place = {i: float(k) for row in rows for k, i in enumerate(row)}
    total = 0
    for row in rows:
        seen: list[float] = []
        for i in row:
            ends = [place[n] + p for n, p in after[i]]
            for e in ends:
                total += len(seen) - bisect_right(seen, e)
            for e in ends:
                if seen and e < seen[-1]:
                    insort(seen, e)
                else:
                    seen.append(e)
    return total


def exchange(rows: list[list[int]], before: Near, after: Near) -> None:
    """Exchange neighbours as long as that takes crossings away."""
    place = {i: float(k) for row in rows for k, i in enumerate(row)}
    for row in rows:
        for _ in range(4):
            moved = False
            for k in range(len(row) - 1):
                a, b = row[k], row[k + 1]
                now = sum(pairs(near[a], near[b], place) for near in (before, after))
                then = sum(pairs(near[b], near[a], place) for near in (before, after))
                if then < now:
                    row[k], row[k + 1] = b, a
                    place[a], place[b] = float(k + 1), float(k)
                    moved = True
            if not moved:
                break


def pairs(one: list[tuple[int, float]], other: list[tuple[int, float]],
          place: dict[int, float]) -> int:
    """Crossings between the links of two items of which the first stands first."""
    ends = [place[n] + p for n, p in other]
    return sum(place[n] + p > e for n, p in one for e in ends)
