"""Layers: which column (or row) each item stands in, with a place held for every long edge.

The first step of the method of Sugiyama, Tagawa and Toda (1981), "Methods for visual understanding
of hierarchical system structures". Start with `Net`, what is to be laid out, and `Layered`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DUMMY = 3.0  # the room of a line that passes through a layer
BUDGET = 5000  # so many places for passing lines, and five for each item, before edges take lanes


@dataclass
class Item:
    """A box to be placed: its length along the direction of flow, and across it.

    ``pin`` is "first" or "last" for items that stand for the border of a group; ``through`` is
    where a line passes, measured from the middle, ``clear`` the room asked for around it.
    ``entry`` and ``exit`` are the sides where lines come in and go out: half their breadth, and the
    radius of their corners; ``lead`` is how far the side of entry lies behind the beginning.
    """

    along: float
    across: float
    pin: str = ""
    through: float = 0.0
    clear: float = 18.0
    dummy: bool = False
    entry: tuple[float, float] = (0.0, 0.0)
    exit: tuple[float, float] = (0.0, 0.0)
    lead: float = 0.0


@dataclass
class Link:
    """An edge between two items.

    ``slot`` is the room of its labels (along, across, through) or None; the ports say where it
    meets its ends, across and from the middle, or None where that is free; ``width`` is the room
    of the line itself (more than 0 for two lines side by side).
    """

    tail: int
    head: int
    slot: tuple[float, float, float] | None = None
    tail_port: float | None = None
    head_port: float | None = None
    width: float = 0.0


@dataclass
class Net:
    """Items and the links between them; the links' tails and heads are numbers of items.

    ``whole`` is how large the whole diagram is of which this is a part: the larger, the less is
    tried to avoid crossings.
    """

    items: list[Item] = field(default_factory=list[Item])
    links: list[Link] = field(default_factory=list[Link])
    whole: int = 0


@dataclass
class Layered:
    """A net in layers: ``chains`` has for each link the items it runs through, ends included.

    ``items`` are those of the net and after them the dummies; the chain of a link that takes a
    lane instead is None.
    """

    items: list[Item]
    layer: list[int]
    chains: list[list[int] | None]

    def rows(self) -> list[list[int]]:
        """The items of each layer."""
        rows: list[list[int]] = [[] for _ in range(1 + max(self.layer, default=-1))]
        for i, at in enumerate(self.layer):
            rows[at].append(i)
        return rows


def sorted_items(net: Net) -> list[int]:
    """The items, tails before heads."""
    waits, out = [0] * len(net.items), neighbours(net)[1]
    for link in net.links:
        waits[link.head] += 1
    ready = [i for i, n in enumerate(waits) if not n]
    for i in ready:
        for link in out[i]:
            waits[link.head] -= 1
            if not waits[link.head]:
                ready.append(link.head)  # the list is a queue
    return ready


def neighbours(net: Net) -> tuple[list[list[Link]], list[list[Link]]]:
    """For each item the links that end there, and those that start there."""
    into: list[list[Link]] = [[] for _ in net.items]
    out: list[list[Link]] = [[] for _ in net.items]
    for link in net.links:
        into[link.head].append(link)
        out[link.tail].append(link)
    return into, out


def assign(net: Net) -> list[int]:
    """The layer of each item: longest paths, then whole branches move to where they are used.

    Moving an item right shortens the links that leave it and lengthens those that come in, but for
    ancestors that nothing else uses, which move along: that is what `cost` counts.
    """
    into, out = neighbours(net)
    turn = sorted_items(net)
    # A label takes a layer of its own; what goes into one item comes from one layer then.
    least = [2 if any(e.slot for e in links) else 1 for links in into]
    layer = [0] * len(net.items)
    for i in turn:
        layer[i] = max((layer[e.tail] + least[i] for e in into[i]), default=0)
    last = max(layer, default=0)
    for i, item in enumerate(net.items):
        if item.pin == "last":
            layer[i] = last
    cost = [0] * len(net.items)
    for i in turn:
        for e in into[i]:
            alone = len(out[e.tail]) == 1 and not net.items[e.tail].pin
            cost[i] += min(1, cost[e.tail]) if alone else 1
    for i in reversed(turn):
        if len(out[i]) > cost[i] and not net.items[i].pin:
            layer[i] = min(layer[e.head] - least[e.head] for e in out[i])
    return layer


def layered(net: Net) -> Layered:
    """Layers, and a dummy wherever a link crosses one."""
    layer = assign(net)
    items, chains = list(net.items), list[list[int] | None]()
    span = [layer[e.head] - layer[e.tail] for e in net.links]
    left = BUDGET + 5 * len(net.items)
    lanes: set[int] = set()
    for k in sorted(range(len(span)), key=lambda k: span[k]):
        left -= span[k] - 1
        if left < 0:
            lanes.add(k)
    for k, link in enumerate(net.links):
        if k in lanes:
            chains.append(None)
            continue
        chain = [link.tail]
        for at in range(layer[link.tail] + 1, layer[link.head]):
            chain.append(len(items))
            items.append(passing(link, at == layer[link.head] - 1))
            layer.append(at)
        chains.append([*chain, link.head])
    return Layered(items, layer, chains)


def passing(link: Link, last: bool) -> Item:
    """The place of a link in a layer that it crosses; the last one holds its label."""
    if last and link.slot:
        along, across, through = link.slot
        return Item(along, across, through=through, clear=8.0, dummy=True)
    return Item(0.0, DUMMY + link.width, clear=9.0, dummy=True)
