"""What is to be drawn: vertices, edges and nested groups, as plain records.

Start with `Diagram`. Nothing here knows where anything lies on the page (`layout`) or how it is
written (`svg`, `png`, `markup`), and nothing in this package knows what a derivative is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adjoint.errors import ArgumentError, GraphError

KINDS = ("variable", "input", "output", "constant", "operation")
ROLES = ("name", "value", "adjoint", "hidden")
MARKS = {"accumulates": "the gradient accumulates here",
         "skipped": "no gradient is asked for",
         "reused": "used n times",
         "current": "the step that is looked at",
         "hidden": ""}
EDGE_KINDS = ("plain", "flow", "skipped", "hidden")
SHOWN = ("all", "forward", "none")
DIRECTIONS = ("right", "down")
DEPTH = 8  # groups nested deeper are drawn as if they ended here


@dataclass(frozen=True)
class Line:
    """A line of text in a vertex.

    ``role`` is "name" (bold), "value", "adjoint" (in the colour of gradients) or "hidden" (its
    room stays empty, so that the slides of one sequence do not jump).

    >>> from adjoint.drawing import Line
    >>> Line("x = 2").role
    'value'
    """

    text: str
    role: str = "value"


@dataclass(frozen=True)
class Vertex:
    """A vertex of the picture.

    Args:
        key: a string of its own, by which edges name it.
        kind: "variable" (a box), "input" (a box with a thick border), "output" (a double border),
            "constant" (small and pale) or "operation" (round).
        lines: the text: `Line` records; of plain strings the first is the name.
        sign: an operation that made it; a circle before the box, which the edges enter.
        marks: "accumulates" (a badge +=), "skipped" (pale, dashed), "reused" (a badge with
            ``uses``), "current" (emphasised), "hidden" (its room stays empty).
        group: names of the boxes around it, the outermost first, as ("net", "0: Linear").
        tip: a text that shows under the mouse.
        uses: how often it is used, for the mark "reused".

    >>> from adjoint.drawing import Vertex
    >>> [line.role for line in Vertex("x", lines=("x", "2.0")).text]
    ['name', 'value']
    """

    key: str
    kind: str = "variable"
    lines: tuple[str | Line, ...] = ()
    sign: str = ""
    marks: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    tip: str = ""
    uses: int = 0

    @property
    def text(self) -> tuple[Line, ...]:
        """The lines as records."""
        return tuple(line if isinstance(line, Line) else Line(line, "value" if k else "name")
                     for k, line in enumerate(self.lines))


@dataclass(frozen=True)
class Edge:
    """An arrow from ``tail`` to ``head``, keys of vertices.

    ``label`` is written on it, as a local partial derivative is; ``contribution`` is written in the
    colour of gradients. ``kind`` is "plain", "flow" (a dashed arrow runs back beside it: a gradient
    flows), "skipped" (pale and dotted: none does) or "hidden" (its room stays empty). ``shown`` is
    "all", "forward" (what flows back has its room, and is not painted) or "none".

    >>> from adjoint.drawing import Edge
    >>> Edge("x", "y", "1/x = 0.5", "flow").contribution
    ''
    """

    tail: str
    head: str
    label: str = ""
    kind: str = "plain"
    contribution: str = ""
    tip: str = ""
    shown: str = "all"


@dataclass(frozen=True)
class Diagram:
    """A directed graph without cycles, to be drawn.

    Args:
        vertices: `Vertex` records; where the layout is free it keeps their order.
        edges: `Edge` records; several may join the same two vertices.
        title: a heading, and the name of the picture for those who cannot see it.
        description: what it shows, in words; a sentence with counts if it is empty.
        legend: whether the signs that occur are explained below the picture.
        direction: "right" or "down".

    Raises:
        GraphError: an edge without its vertices, a cycle, a key that two vertices have.
        ArgumentError: a kind, role, mark or direction that does not exist.

    >>> from adjoint import drawing
    >>> d = drawing.Diagram([drawing.Vertex("x"), drawing.Vertex("y")], [drawing.Edge("x", "y")])
    >>> drawing.svg(d).startswith("<svg")
    True
    """

    vertices: Iterable[Vertex]
    edges: Iterable[Edge] = ()
    title: str = ""
    description: str = ""
    legend: bool = False
    direction: str = "right"

    def __post_init__(self) -> None:
        """Check everything at once: an error here is read before any picture is made."""
        object.__setattr__(self, "vertices", tuple(self.vertices))
        object.__setattr__(self, "edges", tuple(self.edges))
        one_of("direction", self.direction, DIRECTIONS)
        for v in self.vertices:
            _check_vertex(v)
        for e in self.edges:
            one_of(f"kind of the edge {e.tail!r} -> {e.head!r}", e.kind, EDGE_KINDS)
            one_of(f"part shown of the edge {e.tail!r} -> {e.head!r}", e.shown, SHOWN)
        _check_keys(self)
        in_order(self)

    def about(self) -> str:
        """The description, or a sentence that counts."""
        if self.description:
            return self.description
        kinds = Counter(v.kind for v in self.vertices)
        parts = [f"{kinds[k]} {k}{'s' if kinds[k] > 1 else ''}" for k in KINDS if kinds[k]]
        return f"A graph: {', '.join(parts) or 'nothing'}; {len(tuple(self.edges))} arrows."


def one_of(what: str, given: str, known: Iterable[str]) -> None:
    """An error that lists what is known."""
    if given not in known:
        raise ArgumentError(f"the {what} is {given!r}; write one of {', '.join(known)}")


def _check_vertex(v: Vertex) -> None:
    """Kinds, marks, roles and types of one vertex."""
    one_of(f"kind of the vertex {v.key!r}", v.kind, KINDS)
    for name in ("lines", "marks", "group"):
        if isinstance(getattr(v, name), str):
            raise ArgumentError(f"{name} of the vertex {v.key!r} is one string; write a tuple, "
                                f"({getattr(v, name)!r},)")
    for mark in v.marks:
        one_of(f"mark of the vertex {v.key!r}", mark, MARKS)
    for line in v.text:
        one_of(f"role of a line of the vertex {v.key!r}", line.role, ROLES)
        if not isinstance(line.text, str):
            raise ArgumentError(f"a line of the vertex {v.key!r} is a {type(line.text).__name__}; "
                                "write str(...) of it")


def _check_keys(diagram: Diagram) -> None:
    """Every key once, and every edge between vertices that exist."""
    counts = Counter(v.key for v in diagram.vertices)
    twice = [k for k, n in counts.items() if n > 1]
    if twice:
        raise GraphError(f"{len(twice)} keys stand for several vertices, the first is "
                         f"{twice[0]!r}; give each vertex a key of its own")
    for e in diagram.edges:
        for key in (e.tail, e.head):
            if key not in counts:
                raise GraphError(f"the edge {e.tail!r} -> {e.head!r} names the vertex {key!r}, "
                                 "which is not in the diagram; add Vertex(...) for it")


def in_order(diagram: Diagram) -> list[str]:
    """The keys, tails before heads; GraphError if there is a cycle."""
    heads: Mapping[str, list[str]] = {v.key: [] for v in diagram.vertices}
    waits = dict.fromkeys(heads, 0)
    for e in diagram.edges:
        heads[e.tail].append(e.head)
        waits[e.head] += 1
    ready = [k for k, n in waits.items() if not n]
    for k in ready:
        for h in heads[k]:
            waits[h] -= 1
            if not waits[h]:
                ready.append(h)  # the list is a queue
    if len(ready) < len(waits):
        left = [k for k, n in waits.items() if n]
        raise GraphError(f"{len(left)} vertices lie on cycles or behind them, {left[0]!r} among "
                         "them; a picture of a computation runs one way: draw the edge back as "
                         "kind='flow' of the edge forth")
    return ready
