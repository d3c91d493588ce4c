"""Groups of vertices as a tree in which no two groups wait for each other.

A group that is left and entered again (a layer that is used twice) would have to stand both before
and after what lies between; such a group is drawn as several boxes of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .text import shortened, visible

Pairs = Sequence[tuple[str, str]]


@dataclass
class Group:
    """A box around vertices (``keys``) and other groups (``inner``); number 0 is the whole page."""

    number: int
    name: str
    depth: int
    outer: int | None
    keys: list[str] = field(default_factory=list[str])
    inner: list[int] = field(default_factory=list[int])


def grouped(paths: Mapping[str, tuple[str, ...]], edges: Pairs, turn: Sequence[str]
            ) -> list[Group]:
    """The tree of groups; ``turn`` has the vertices with tails before heads."""
    groups = [Group(0, "", 0, None)]
    work = [(groups[0], list(paths), edges, turn)]
    while work:
        group, keys, edges, turn = work.pop()
        inside = set(keys)
        edges = [(u, v) for u, v in edges if u in inside and v in inside]
        turn = [k for k in turn if k in inside]
        part = _parts(keys, paths, group.depth, edges, turn)
        made: dict[tuple[str, int], list[str]] = {}
        for k in keys:
            if part[k] is None:
                group.keys.append(k)
            else:
                made.setdefault(part[k] or ("", 0), []).append(k)
        for (name, _), members in made.items():
            one = Group(len(groups), shortened(visible(name)), group.depth + 1, group.number)
            groups.append(one)
            group.inner.append(one.number)
            work.append((one, members, edges, turn))
    return groups


def _parts(keys: list[str], paths: Mapping[str, tuple[str, ...]], depth: int, edges: Pairs,
           turn: Sequence[str]) -> dict[str, tuple[str, int] | None]:
    """The box of each vertex at one depth: its name and which of that name; None: in no box."""
    name = {k: paths[k][depth] if len(paths[k]) > depth else None for k in keys}
    if not any(n is not None for n in name.values()):
        return dict.fromkeys(keys)
    stuck = _stuck({k: n if n is not None else (k,) for k, n in name.items()}, edges)
    level = _levels(name, edges, turn)
    return {k: None if n is None else (n, level[k] if n in stuck else 0)
            for k, n in name.items()}


def _stuck(unit: Mapping[str, object], edges: Pairs) -> set[object]:
    """The units that lie on a cycle of units, or between two."""
    arrows = {(unit[u], unit[v]) for u, v in edges if unit[u] != unit[v]}
    left = set(unit.values())
    for forth in (True, False):  # what is not behind a cycle; then what is not before one
        near: dict[object, list[object]] = {}
        waits = dict.fromkeys(left, 0)
        for u, v in arrows:
            if u in left and v in left:
                a, b = (u, v) if forth else (v, u)
                near.setdefault(a, []).append(b)
                waits[b] += 1
        ready = [u for u, n in waits.items() if not n]
        for u in ready:
            for v in near.get(u, ()):
                waits[v] -= 1
                if not waits[v]:
                    ready.append(v)  # the list is a queue
        left -= set(ready)
    return left


def _levels(name: Mapping[str, str | None], edges: Pairs, turn: Sequence[str]) -> dict[str, int]:
    """How often the border of a group was passed on the way to a vertex, at most.

    Along an edge it never falls, and it rises from one group to another, so boxes of one name and
    one level cannot wait for each other. What has no tails belongs where it is first used.
    """
    into: dict[str, list[str]] = {k: [] for k in name}
    out: dict[str, list[str]] = {k: [] for k in name}
    for u, v in edges:
        into[v].append(u)
        out[u].append(v)
    def step(u: str, v: str) -> int:
        return int(name[u] is None or name[u] != name[v])
    level: dict[str, int] = {}
    for k in turn:
        level[k] = max((level[u] + step(u, k) for u in into[k]), default=0)
    for k in reversed(turn):
        if not into[k] and out[k]:
            level[k] = min(level[v] - step(k, v) for v in out[k])
    return level
