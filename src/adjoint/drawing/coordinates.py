"""Coordinates across the layers: long edges straight, items near the middle of their neighbours.

After Brandes and Koepf (2001), "Fast and simple horizontal coordinate assignment": four layouts,
each aligned with the medians of one side and packed to another, and then their mean. Where a line
meets its ends (the ports) shifts the alignment, so that it is the lines that are straight.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from .layering import Item, Layered


@dataclass
class Sides:
    """Neighbours of each item in one direction, in order, with the shift of a straight line."""

    near: list[list[tuple[int, float]]]
    place: list[int]


def clearance(one: Item, other: Item) -> float:
    """The least distance of the middles of two items that stand next to each other."""
    return (one.across + other.across) / 2 + (one.clear + other.clear) / 2


def across(graph: Layered, rows: list[list[int]], joints: list[tuple[int, int, float]]
           ) -> list[float]:
    """The place of every item; ``joints`` are (upper, lower, shift of a straight line)."""
    if not graph.items:
        return []
    place = [0] * len(graph.items)
    for row in rows:
        for k, i in enumerate(row):
            place[i] = k
    up: list[list[tuple[int, float]]] = [[] for _ in graph.items]
    down: list[list[tuple[int, float]]] = [[] for _ in graph.items]
    for u, v, shift in joints:
        up[v].append((u, shift))
        down[u].append((v, -shift))
    for near in (*up, *down):
        near.sort(key=lambda pair: place[pair[0]])
    bad = conflicts(graph, rows, up, place)
    layouts = [one_layout(graph.items, rows, Sides(near, place), bad, left, near is up)
               for near in (up, down) for left in (True, False)]
    return balanced(layouts, graph.items)


def conflicts(graph: Layered, rows: list[list[int]], up: list[list[tuple[int, float]]],
              place: list[int]) -> set[tuple[int, int]]:
    """Joints that cross a passing line, which goes first (the paper's conflicts of type 1)."""
    bad: set[tuple[int, int]] = set()
    for above, row in pairwise(rows):
        scanned, low = 0, 0
        for k, v in enumerate(row):
            inner = inner_end(graph, up[v], v)
            if inner is None and k < len(row) - 1:
                continue
            high = len(above) if inner is None else place[inner]
            for w in row[scanned:k + 1]:
                for u, _ in up[w]:
                    if (place[u] < low or place[u] > high) and not (
                            graph.items[u].dummy and graph.items[w].dummy):
                        bad.add((u, w))
            scanned, low = k + 1, high
    return bad


def inner_end(graph: Layered, near: list[tuple[int, float]], v: int) -> int | None:
    """The dummy above a dummy."""
    if graph.items[v].dummy and near and graph.items[near[0][0]].dummy:
        return near[0][0]
    return None


def one_layout(items: list[Item], rows: list[list[int]], sides: Sides,
               bad: set[tuple[int, int]], left: bool, downwards: bool) -> list[float]:
    """One of the four: neighbours on one side, packed to the left or (mirrored) to the right."""
    sign = 1 if left else -1
    turned = [row if left else row[::-1] for row in (rows if downwards else rows[::-1])]
    root, shift = align(turned, sides, bad, sign)
    where = packed(items, turned, root, shift)
    return [sign * x for x in where]


def align(rows: list[list[int]], sides: Sides, bad: set[tuple[int, int]], sign: int
          ) -> tuple[list[int], list[float]]:
    """Blocks of items in one straight line: each joins a median neighbour that is still free."""
    count = len(sides.place)
    root, below, shift = list(range(count)), list(range(count)), [0.0] * count
    for row in rows:
        barrier = -count - 1
        for v in row:
            near = sides.near[v] if sign > 0 else sides.near[v][::-1]
            if not near:
                continue
            for u, step in (near[(len(near) - 1) // 2], near[len(near) // 2]):
                at = sign * sides.place[u]
                if below[v] == v and at > barrier and (u, v) not in bad and (v, u) not in bad:
                    below[u], root[v] = v, root[u]
                    below[v] = root[v]
                    shift[v] = shift[u] + sign * step
                    barrier = at
    return root, shift


def packed(items: list[Item], rows: list[list[int]], root: list[int], shift: list[float]
           ) -> list[float]:
    """Blocks as far to the left as their neighbours let them, then back towards what follows."""
    after: dict[int, list[tuple[int, float]]] = {}
    waits = dict.fromkeys(root, 0)
    for row in rows:
        for a, b in pairwise(row):
            room = clearance(items[a], items[b]) + shift[a] - shift[b]
            after.setdefault(root[a], []).append((root[b], room))
            waits[root[b]] += 1
    where = dict.fromkeys(waits, 0.0)
    turn = [r for r, n in waits.items() if not n]
    for r in turn:
        for other, room in after.get(r, ()):
            where[other] = max(where[other], where[r] + room)
            waits[other] -= 1
            if not waits[other]:
                turn.append(other)  # the list is a queue
    for r in reversed(turn):
        if r in after:
            where[r] = max(where[r], min(where[o] - room for o, room in after[r]))
    return [where[r] + s for r, s in zip(root, shift, strict=True)]


def balanced(layouts: list[list[float]], items: list[Item]) -> list[float]:
    """The four brought to the borders of the narrowest, and the mean of the two in the middle."""
    ends = [(min(x - i.across / 2 for x, i in zip(xs, items, strict=True)),
             max(x + i.across / 2 for x, i in zip(xs, items, strict=True))) for xs in layouts]
    low, high = min(ends, key=lambda e: e[1] - e[0])
    moved = [[x + (low - e[0] if k % 2 == 0 else high - e[1]) for x in xs]
             for k, (xs, e) in enumerate(zip(layouts, ends, strict=True))]
    return [sum(sorted(four)[1:3]) / 2 for four in zip(*moved, strict=True)]
