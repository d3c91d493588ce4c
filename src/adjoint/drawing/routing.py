"""One net laid out: places along and across the flow, and the curves of its links.

A line runs straight through the layers and turns only in the gaps between them, so it meets no box
but those at its ends. Start with `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import atan2, sqrt, tan

from .coordinates import across
from .layering import Layered, Net, layered
from .ordering import order

GAP, STEEP, WIDEST = 34.0, 0.3, 160.0  # the least gap of two layers, its growth, the most
NARROW = 22.0  # the least gap before a layer of labels only
PORT = 9.0  # distance of two lines at one box
LANE = 17.0  # distance of two lanes, so that a label fits in
CORNER = 7.0
ARRIVE = 8.0  # the straight piece before a tip

Point = tuple[float, float]
Path = list[tuple[Point, ...]]  # a point to start; then one point (a line) or three (a cubic)


@dataclass
class Plan:
    """Where everything of one net lies, in (along, across) from 0.

    ``starts`` are where the items begin along, ``middles`` their middles across. ``routes`` and
    ``backs`` are the lines of the links, ``slots`` the places of their labels.
    """

    length: float = 0.0
    breadth: float = 0.0
    starts: list[float] = field(default_factory=list[float])
    middles: list[float] = field(default_factory=list[float])
    routes: list[Path] = field(default_factory=list[Path])
    backs: list[Path] = field(default_factory=list[Path])
    slots: list[Point | None] = field(default_factory=list[Point | None])
    entries: list[float] = field(default_factory=list[float])


@dataclass
class Router:
    """What the lines of a net need to know while they are drawn."""

    net: Net
    graph: Layered
    rows: list[list[int]]
    side: int  # 1 if the way back runs after the way forth (across), -1 if before it
    out_ports: list[float] = field(default_factory=list[float])
    in_ports: list[float] = field(default_factory=list[float])
    middles: list[float] = field(default_factory=list[float])
    bands: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    lanes: dict[int, float] = field(default_factory=dict[int, float])
    leaves: set[int] = field(default_factory=set[int])

    def height(self, k: int, n: int) -> float:
        """Where link k lies across at the n-th item of its chain."""
        chain = self.graph.chains[k] or [self.net.links[k].tail, self.net.links[k].head]
        i = chain[n]
        if n == 0:
            return self.middles[i] + self.out_ports[k]
        if n == len(chain) - 1:
            return self.middles[i] + self.in_ports[k]
        return self.middles[i] + self.graph.items[i].through

    def start(self, i: int) -> float:
        """Where an item begins along: in the middle of its layer.

        Beside a long box (a group) what nothing enters stands at the end, near its use.
        """
        low, high = self.bands[self.graph.layer[i]]
        along = self.graph.items[i].along
        if i in self.leaves and high - low > 2.5 * along > 0:
            return high - along
        return (low + high - along) / 2


def plan(net: Net, side: int = 1) -> Plan:
    """The layout of a net."""
    if not net.items:
        return Plan()
    graph = layered(net)
    rows = order(graph, net)
    r = Router(net, graph, rows, side)
    r.leaves = set(range(len(net.items))) - {e.head for e in net.links}
    _spread_ports(r)
    joints = [(u, v, _offset(r, k, n) - _offset(r, k, n + 1))
              for k, chain in enumerate(graph.chains) if chain
              for n, (u, v) in enumerate(pairwise(chain))]
    r.middles = across(graph, rows, joints)
    _set_lanes(r)
    _set_bands(r)
    return _gathered(r)


def _gathered(r: Router) -> Plan:
    """Everything moved so that it begins at 0."""
    count = len(r.net.items)
    half = [i.across / 2 for i in r.graph.items]
    low = min(m - h for m, h in zip(r.middles, half, strict=True))
    low = min([low, *(y - LANE / 2 for y in r.lanes.values())])
    r.middles = [m - low for m in r.middles]
    r.lanes = {k: y - low for k, y in r.lanes.items()}
    links = range(len(r.net.links))
    return Plan(
        r.bands[-1][1], max(m + h for m, h in zip(r.middles, half, strict=True)),
        [r.start(i) for i in range(count)], r.middles[:count],
        [_drawn(r, k, -r.net.links[k].width / 2 * r.side) for k in links],
        [_reverse(_drawn(r, k, r.net.links[k].width / 2 * r.side)) if r.net.links[k].width else []
         for k in links],
        [_slot(r, k) for k in links])


def _offset(r: Router, k: int, n: int) -> float:
    """Where link k meets the n-th item of its chain, from the item's middle."""
    chain = r.graph.chains[k] or []
    if n == 0:
        return r.out_ports[k]
    return r.in_ports[k] if n == len(chain) - 1 else r.graph.items[chain[n]].through


def _spread_ports(r: Router) -> None:
    """Where each link meets its ends: in the order of the other ends, evenly spread."""
    place = {i: k for row in r.rows for k, i in enumerate(row)}
    ends: dict[tuple[int, bool], list[tuple[float, float, int]]] = {}
    for k, link in enumerate(r.net.links):
        chain = r.graph.chains[k]
        after = place[chain[1]] if chain else -1
        before = place[chain[-2]] if chain else -1
        ends.setdefault((link.tail, True), []).append((after, link.head_port or 0.0, k))
        ends.setdefault((link.head, False), []).append((before, link.tail_port or 0.0, k))
    r.out_ports = [link.tail_port or 0.0 for link in r.net.links]
    r.in_ports = [link.head_port or 0.0 for link in r.net.links]
    for (i, out), found in ends.items():
        half, radius = r.net.items[i].exit if out else r.net.items[i].entry
        free = [k for _, _, k in sorted(found)
                if (r.net.links[k].tail_port if out else r.net.links[k].head_port) is None]
        wide = max((r.net.links[k].width for k in free), default=0.0)
        usable = max(0.0, 2 * half - 0.7 * radius - wide - 2)
        step = min(PORT + wide, usable / max(1, len(free) - 1))
        for n, k in enumerate(free):
            (r.out_ports if out else r.in_ports)[k] = step * (n - (len(free) - 1) / 2)


def _set_lanes(r: Router) -> None:
    """Lanes beside everything else for the links that would cross too many layers."""
    top = min(m - i.across / 2 for m, i in zip(r.middles, r.graph.items, strict=True))
    ends: list[int] = []
    waiting = [k for k, chain in enumerate(r.graph.chains) if chain is None]
    layer = r.graph.layer
    for k in sorted(waiting, key=lambda k: layer[r.net.links[k].tail]):
        link = r.net.links[k]
        lane = next((n for n, end in enumerate(ends) if end < layer[link.tail]), len(ends))
        if lane == len(ends):
            ends.append(0)
        ends[lane] = layer[link.head]
        r.lanes[k] = top - LANE * (lane + 1)


def _set_bands(r: Router) -> None:
    """Where each layer begins and ends along: steep lines get wide gaps."""
    rise = [0.0] * len(r.rows)
    for k, chain in enumerate(r.graph.chains):
        for n in range(len(chain or ()) - 1):
            at = r.graph.layer[(chain or [])[n]]
            rise[at] = max(rise[at], abs(r.height(k, n + 1) - r.height(k, n)))
    at = 0.0
    items = r.graph.items
    labels = [all(items[i].dummy for i in row) for row in r.rows]
    for n, row in enumerate(r.rows):
        long = max((items[i].along for i in row), default=0.0)
        r.bands.append((at, at + long))
        slim = labels[n] or (n + 1 < len(labels) and labels[n + 1])
        at += long + min(WIDEST, max(NARROW if slim else GAP, STEEP * rise[n] + 10))


def inset(side: tuple[float, float], offset: float) -> float:
    """How far a border with round corners lies behind its outermost line, at an offset."""
    half, radius = side
    over = min(radius, max(0.0, abs(offset) - (half - radius)))
    return radius - sqrt(radius * radius - over * over)


def _drawn(r: Router, k: int, shift: float) -> Path:
    """The line of link k, moved across by ``shift``."""
    link, chain = r.net.links[k], r.graph.chains[k]
    tail, head = r.net.items[link.tail], r.net.items[link.head]
    first = r.start(link.tail) + tail.along - inset(tail.exit, r.out_ports[k] + shift)
    last = r.start(link.head) + head.lead + inset(head.entry, r.in_ports[k] + shift)
    if chain is None:
        return _lane(r, k, shift, (first, last))
    heights = [r.height(k, n) + shift for n in range(len(chain))]
    spans = [r.bands[r.graph.layer[i]] for i in chain]
    leave = ARRIVE if link.width else ARRIVE / 2
    spans[0], spans[-1] = (first, spans[0][1] + leave), (spans[-1][0] - ARRIVE, last)
    path: Path = [((first, heights[0]),)]
    for n, ((_, end), (begin, _)) in enumerate(pairwise(spans)):
        _add_line(path, (end, heights[n]))
        _add_turn(path, (end, heights[n]), (begin, heights[n + 1]), shift)
    _add_line(path, (last, heights[-1]))
    return path


def _add_line(path: Path, to: Point) -> None:
    """A straight piece; it lengthens the one before if that runs the same way."""
    a, y = path[-1][-1]
    if abs(to[0] - a) < 1e-6 and abs(to[1] - y) < 1e-6:
        return
    if len(path) > 1 and len(path[-1]) == 1 and len(path[-2]) and path[-2][-1][1] == y == to[1]:
        path.pop()
    path.append((to,))


def _add_turn(path: Path, start: Point, end: Point, shift: float) -> None:
    """A curve that leaves and arrives straight; beside another at the same distance everywhere."""
    (a, y), (b, z) = start, end
    if abs(z - y) < 0.05:
        _add_line(path, (b, y))
        if z != y:
            path[-1] = ((b, z),)
        return
    gap = b - a
    move = -shift * tan(atan2(2 * (z - y), gap) / 2) / 0.75
    move = max(-gap * 0.45, min(gap * 0.45, move))
    path.append(((a + gap / 2 + move, y), (b - gap / 2 + move, z), (b, z)))


def _lane(r: Router, k: int, shift: float, ends: Point) -> Path:
    """A line that leaves the layers, runs beside them and comes back: with round corners."""
    link, layer = r.net.links[k], r.graph.layer
    y, z, lane = (r.height(k, 0) + shift, r.height(k, 1) + shift, r.lanes[k] + shift)
    up = r.bands[layer[link.tail]][1] + CORNER + 4 + (k % 3) * 3 + shift
    down = r.bands[layer[link.head]][0] - CORNER - 9 - (k % 3) * 3 - shift
    corners = [(ends[0], y), (up, y), (up, lane), (down, lane), (down, z), (ends[1], z)]
    path: Path = [(corners[0],)]
    for before, at, after in zip(corners, corners[1:], corners[2:], strict=False):
        one, other = _towards(at, before), _towards(at, after)
        path += [(one,), (at, at, other)]
    return [*path, (corners[-1],)]


def _towards(at: Point, other: Point) -> Point:
    """The point from which a corner is rounded."""
    (a, y), (b, z) = at, other
    far = abs(b - a) + abs(z - y)
    part = min(CORNER, far / 2) / far if far else 0.0
    return a + (b - a) * part, y + (z - y) * part


def _reverse(path: Path) -> Path:
    """The same line drawn from its end."""
    points = [p for piece in path for p in piece]
    out: Path = [(points.pop(),)]
    for piece in path[:0:-1]:
        turned = [points.pop() for _ in piece]
        out.append(tuple(turned))
    return out


def _slot(r: Router, k: int) -> Point | None:
    """The point of the line beside which the label stands: the middle of the room kept for it."""
    link, chain = r.net.links[k], r.graph.chains[k]
    if not link.slot:
        return None
    if chain is None:
        low, high = r.bands[r.graph.layer[link.tail]][1], r.bands[r.graph.layer[link.head]][0]
        return (low + high) / 2, r.lanes[k]
    low, high = r.bands[r.graph.layer[chain[-2]]]
    return (low + high) / 2, r.height(k, len(chain) - 2)
