"""Where everything lies on the page: vertices, groups and edges in points, from the upper left.

Groups are laid out from the inside out. The inside of each is a net of its own with a border
item for every edge that enters or leaves; outside it is one box with those ports. `routing.plan`
does one net; the papers behind it are named in `layering`, `ordering` and `coordinates`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .diagram import DEPTH, Diagram, Vertex, in_order
from .grouping import Group, grouped
from .layering import Item, Link, Net
from .measure import BADGE, FINE, PAIR, Look, look_of, room_for, slot_of
from .routing import Path, Plan, Point, plan
from .text import width_of

INSIDE, HEADING = 11.0, 20.0  # the room inside the border of a group, and that of its name


@dataclass(frozen=True)
class Box:
    """A rectangle on the page."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Frame:
    """The box around a group; ``depth`` is 1 for the outermost."""

    name: str
    box: Box
    depth: int


@dataclass(frozen=True)
class Route:
    """An edge: the arrow, the arrow back (or nothing), and the point beside which its label lies.

    A path is a list of tuples of points: the start; then one point for each straight line and
    three for each cubic curve.
    """

    path: Path
    back: Path
    label: Point | None


@dataclass(frozen=True)
class Layout:
    """A diagram with places: boxes by key (circle, box and badges together), routes by edge."""

    width: float
    height: float
    boxes: dict[str, Box]
    looks: dict[str, Look]
    routes: tuple[Route, ...]
    frames: tuple[Frame, ...]


@dataclass
class Inside:
    """A group that is laid out: its plan, the numbers of its items, and its ports by edge."""

    group: Group
    plan: Plan
    items: dict[str | int, int]
    links: dict[int, int]
    size: Point  # along, across
    pads: Point  # from the border to the plan, along and across
    enters: dict[int, float] = field(default_factory=dict[int, float])
    leaves: dict[int, float] = field(default_factory=dict[int, float])


class Composer:
    """Lays a diagram out, group by group."""

    def __init__(self, diagram: Diagram) -> None:
        self.vertices: dict[str, Vertex] = {v.key: v for v in diagram.vertices}
        self.edges = tuple(diagram.edges)
        self.down = diagram.direction == "down"
        into: dict[str, list[str]] = {k: [] for k in self.vertices}
        out: dict[str, list[str]] = {k: [] for k in self.vertices}
        for e in self.edges:
            into[e.head].append(e.kind)
            out[e.tail].append(e.kind)
        self.looks = {k: look_of(v, self.down, room_for(into[k]), room_for(out[k]))
                      for k, v in self.vertices.items()}
        self.groups = grouped({k: v.group[:DEPTH] for k, v in self.vertices.items()},
                              [(e.tail, e.head) for e in self.edges], in_order(diagram))
        self.home = {k: g.number for g in self.groups for k in g.keys}
        self.insides: dict[int, Inside] = {}
        self.inner = self._edges_by_group()

    def _edges_by_group(self) -> list[list[tuple[int, str | int | None, str | int | None]]]:
        """For each group the pieces of edges inside it: edge, and its ends there (None: border)."""
        pieces: list[list[tuple[int, str | int | None, str | int | None]]] = [
            [] for _ in self.groups]
        for n, e in enumerate(self.edges):
            tails, heads = self._homes(e.tail), self._homes(e.head)
            both = next(g for g in tails if g in heads)
            one, other = (self._below(e.tail, tails, both), self._below(e.head, heads, both))
            pieces[both].append((n, one[-1], other[-1]))
            for k, g in enumerate(tails[:tails.index(both)]):
                pieces[g].append((n, one[k], None))
            for k, g in enumerate(heads[:heads.index(both)]):
                pieces[g].append((n, None, other[k]))
        return pieces

    def _homes(self, key: str) -> list[int]:
        """The groups around a vertex, the innermost first."""
        homes = [self.home[key]]
        while (outer := self.groups[homes[-1]].outer) is not None:
            homes.append(outer)
        return homes

    @staticmethod
    def _below(key: str, homes: list[int], top: int) -> list[str | int]:
        """What stands for a vertex in each of its groups up to ``top``: itself, then its groups."""
        return [key, *homes[:homes.index(top)]]

    def compose(self) -> None:
        """Every group, the innermost first."""
        for group in sorted(self.groups, key=lambda g: -g.depth):
            self._inside(group)

    def _inside(self, group: Group) -> None:
        net = Net(whole=len(self.vertices) + len(self.edges))
        members = [*group.keys, *group.inner]
        number: dict[str | int, int] = {m: k for k, m in enumerate(members)}
        net.items += [self._item(m) for m in members]
        links: dict[int, int] = {}
        borders: list[tuple[int, bool, int]] = []
        for n, tail, head in self.inner[group.number]:
            width = PAIR if self.edges[n].kind == "flow" else 0.0
            start, end = (number[m] if m is not None else len(net.items) for m in (tail, head))
            if tail is None or head is None:
                borders.append((n, tail is None, len(net.items)))
                net.items.append(Item(0.0, 3.0 + width, "first" if tail is None else "last",
                                      clear=9.0, dummy=True))
            whole = tail is not None and head is not None
            links[n] = len(net.links)
            net.links.append(Link(start, end,
                                  slot_of(self.edges[n], self.down) if whole else None,
                                  self.insides[tail].leaves[n] if isinstance(tail, int) else None,
                                  self.insides[head].enters[n] if isinstance(head, int) else None,
                                  width))
        p = plan(net, -1 if self.down else 1)
        self.insides[group.number] = self._framed(group, p, number, links, borders)

    def _framed(self, group: Group, p: Plan, number: dict[str | int, int], links: dict[int, int],
                borders: list[tuple[int, bool, int]]) -> Inside:
        """The border around a plan, with the ports where edges pass it."""
        first, last = ((INSIDE, INSIDE) if group.depth else (0.0, 0.0))
        top = HEADING if group.depth else 0.0
        along, across = p.length + first + last, p.breadth + first + last
        name = width_of(group.name, FINE, bold=True) + 2 * INSIDE if group.depth else 0.0
        pads = (first, first)
        if self.down:
            along, pads = along + top, (first + top, first)
            grow = max(0.0, name - across)
            across, pads = across + grow, (pads[0], pads[1] + grow / 2)
        else:
            across, pads = across + top, (first, first + top)
            grow = max(0.0, name - along)
            along, pads = along + grow, (pads[0] + grow / 2, pads[1])
        inside = Inside(group, p, number, links, (along, across), pads)
        for n, enters, item in borders:
            port = p.middles[item] + pads[1] - across / 2
            (inside.enters if enters else inside.leaves)[n] = port
        return inside

    def _item(self, member: str | int) -> Item:
        """A vertex or an inner group as a box to be placed."""
        if isinstance(member, int):
            along, across = self.insides[member].size
            return Item(along, across, clear=20.0, entry=(across / 2, 0.0), exit=(across / 2, 0.0))
        look = self.looks[member]
        along, across = self._page(*look.whole)
        box = (look.width if self.down else look.height) / 2
        sign = (look.sign_width if self.down else look.sign_height) / 2
        exit = (box, look.radius)
        entry = (sign, min(look.sign_width, look.sign_height) / 2) if look.sign else exit
        lead = BADGE if self.down and look.badges and not look.sign else 0.0
        return Item(along, across, entry=entry, exit=exit, lead=lead)

    def gather(self) -> Layout:
        """Everything in coordinates of the page."""
        boxes: dict[str, Box] = {}
        frames: list[Frame] = []
        pieces: dict[int, list[Route]] = {}
        origins: dict[int, Point] = {0: (0.0, 0.0)}
        for group in sorted(self.groups, key=lambda g: g.depth):
            inside = self.insides[group.number]
            a, b = origins[group.number]
            if group.depth:
                frames.append(Frame(group.name, self._box((a, b), inside.size), group.depth))
            at = (a + inside.pads[0], b + inside.pads[1])
            for member, k in inside.items.items():
                along, across = self._extent(member)
                start = (at[0] + inside.plan.starts[k], at[1] + inside.plan.middles[k] - across / 2)
                if isinstance(member, int):
                    origins[member] = start
                else:
                    boxes[member] = self._box(start, (along, across))
            for n, k in inside.links.items():
                pieces.setdefault(n, []).append(self._piece(inside, n, k, at))
        routes = tuple(self._joined(pieces[n]) for n in range(len(self.edges)))
        length, breadth = self.insides[0].size
        size = (breadth, length) if self.down else (length, breadth)
        return Layout(*size, {k: boxes[k] for k in self.vertices}, self.looks, routes,
                      tuple(frames))

    def _extent(self, member: str | int) -> Point:
        """Along and across of a member."""
        if isinstance(member, int):
            return self.insides[member].size
        return self._page(*self.looks[member].whole)

    def _piece(self, inside: Inside, n: int, k: int, at: Point) -> Route:
        """The part of an edge inside one group, out to the border where it passes that."""
        slot = inside.plan.slots[k]
        path, back = inside.plan.routes[k], inside.plan.backs[k]
        low, high = -inside.pads[0], inside.size[0] - inside.pads[0]
        if n in inside.enters:
            path = [((low, path[0][0][1]),), *[(p,) for p in path[0]], *path[1:]]
            back = [*back, ((low, back[-1][-1][1]),)] if back else back
        elif n in inside.leaves:
            path = [*path, ((high, path[-1][-1][1]),)]
            back = [((high, back[0][0][1]),), *back] if back else back
        return Route(self._moved(path, at), self._moved(back, at),
                     self._page(at[0] + slot[0], at[1] + slot[1]) if slot else None)

    def _moved(self, path: Path, by: Point) -> Path:
        return [tuple(self._page(a + by[0], b + by[1]) for a, b in piece) for piece in path]

    def _page(self, along: float, across: float) -> Point:
        return (across, along) if self.down else (along, across)

    def _box(self, start: Point, size: Point) -> Box:
        return Box(*self._page(*start), *self._page(*size))

    def _joined(self, pieces: list[Route]) -> Route:
        """The pieces of one edge in a row."""
        axis = 1 if self.down else 0
        pieces = sorted(pieces, key=lambda p: p.path[0][0][axis])
        path = [pieces[0].path[0], *(step for p in pieces for step in p.path[1:])]
        backs = [p.back for p in reversed(pieces) if p.back]
        back = [backs[0][0], *(step for b in backs for step in b[1:])] if backs else []
        return Route(path, back, next((p.label for p in pieces if p.label), None))


def layout(diagram: Diagram) -> Layout:
    """The places of everything in a diagram.

    Boxes never overlap, and no edge runs through a box that is not one of its ends.

    >>> from adjoint.drawing import Diagram, Edge, Vertex
    >>> from adjoint.drawing.layout import layout
    >>> places = layout(Diagram([Vertex("x", lines=("x",)), Vertex("y")], [Edge("x", "y")])).boxes
    >>> places["x"].x + places["x"].width < places["y"].x
    True
    """
    composer = Composer(diagram)
    composer.compose()
    return composer.gather()
