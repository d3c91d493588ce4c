"""`e.graph`: the picture of an explanation, drawn from its Record by `adjoint.drawing`.

Each step is a box with its name, value and adjoint, behind a circle with the operation that made
it; each arrow carries the local partial, and what flows back along it in the colour of gradients.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint import drawing
from adjoint.drawing import Diagram, Edge, Line, Vertex
from adjoint.errors import ArgumentError

from .complexes import has_partial
from .numbers import SMALL, shown
from .record import CONSTANT, INPUT, OPERATION, SKIPPED
from .writing import BAR, formula, marked, partial_text

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .explanation import Explanation
    from .flows import Contribution
    from .record import Step

HIDES = ("adjoints", "values", "partials", "constants")
MOST, ENDS = 150, 20  # steps that are drawn; of more, so many at either end
LONG = 24  # characters of a partial on an arrow


@dataclass(frozen=True)
class Picture:
    """A picture: SVG in a notebook; ``write(path)`` saves .svg, .png, .pdf, .dot or .mmd."""

    diagram: Diagram

    def svg(self) -> str:
        """The picture as SVG: static, without scripts."""
        return drawing.svg(self.diagram)

    def png(self) -> bytes:
        """The picture as PNG, drawn by matplotlib. Raises MissingPackageError without it."""
        return drawing.png(self.diagram)

    def dot(self) -> str:
        """The graph as text for Graphviz."""
        return drawing.dot(self.diagram)

    def mermaid(self) -> str:
        """The graph as text for Mermaid."""
        return drawing.mermaid(self.diagram)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Save it; the ending says how. Raises FormatError for an ending that is not known."""
        drawing.write(self.diagram, path)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"Picture: {self.diagram.about()}"


def graph(e: Explanation, hide: str | Sequence[str] = (), until: str | Step | None = None,
          back: str | Step | None = None, collapse: int = 0,
          direction: str = "right", legend: bool = True, digits: int | None = None,
          most: int = MOST) -> Picture:
    """The picture of an explanation."""
    hidden = (hide,) if isinstance(hide, str) else tuple(hide)
    for name in hidden:
        if name not in HIDES:
            raise ArgumentError(f"graph(hide={name!r}): what can be hidden is {', '.join(HIDES)}")
    depth: Any = collapse
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ArgumentError(f"graph(collapse={depth!r}): write the depth of the layers that are "
                            "drawn as one vertex each, collapse=1 for the outermost, or 0 for none")
    drawn = Drawing(e, hidden, digits, None if until is None else e.step(until),
                    None if back is None else e.step(back), most)
    key = drawn.keys(depth)
    return Picture(Diagram(drawn.vertices(key), drawn.edges(key), title=e.record.title,
                           legend=legend, direction=direction))


class Drawing:
    """What one picture shows of an explanation."""

    def __init__(self, e: Explanation, hidden: tuple[str, ...], digits: int | None,
                 until: Step | None, back: Step | None, most: int) -> None:
        self.most = most
        self.e, self.hidden, self.digits, self.until, self.back = e, hidden, digits, until, back
        output = e.record.output
        self.needed = set(e.record.behind([output]))
        self.steps = [s for s in e.record.steps if s in self.needed or s.kind == INPUT]
        used = {i for s in self.steps for i in s.inputs}
        self.constants = [] if "constants" in hidden else [
            s for s in e.record.constants if s in used or s.kind == SKIPPED]
        self.parts: dict[tuple[Step, int], Contribution] = {} if "adjoints" in hidden else {
            (c.user, c.position): c for c in e.flows.reverse.contributions}

    # ---- which step is drawn as what

    def keys(self, depth: int) -> dict[Step, str]:
        """The key of the vertex that stands for each step."""
        key = {s: f"s{k}" for k, s in enumerate((*self.constants, *self.steps))}
        operations = [s for s in self.steps if s.kind == OPERATION]
        if depth or len(operations) > self.most:
            around = {s.group[:k] for s in operations for k in range(1, len(s.group))}
            for s in operations:
                collapses = len(s.group) >= max(depth, 1) or (s.group and s.group not in around)
                if collapses:
                    key[s] = "group " + " / ".join(s.group[:max(depth, 1)])
        left = list(dict.fromkeys(key[s] for s in operations))
        if len(left) > self.most:
            middle = set(left[ENDS:-ENDS])
            key |= {s: "middle" for s in operations if key[s] in middle}
        inputs = [s for s in (*self.constants, *self.steps) if s.kind != OPERATION]
        if len(inputs) > self.most:
            key |= dict.fromkeys(inputs[ENDS:-ENDS], "others")
        return key

    def shows(self, s: Step) -> bool:
        """Whether the forward pass has come to a step."""
        return self.until is None or s.number <= self.until.number

    def has_adjoint(self, s: Step) -> bool:
        """Whether the backward pass has come to a step."""
        return self.until is None and (self.back is None or s.number >= self.back.number)

    # ---- vertices

    def vertices(self, key: dict[Step, str]) -> list[Vertex]:
        """A vertex for each step, or for several that are drawn as one."""
        members: dict[str, list[Step]] = {}
        for s, k in key.items():
            members.setdefault(k, []).append(s)
        return [self.vertex(k, some[0]) if k.startswith("s") else self.merged(k, some)
                for k, some in members.items()]

    def merged(self, key: str, some: list[Step]) -> Vertex:
        """Several steps as one: a layer, or the middle of a long program."""
        rows = Counter(str(s.row) for s in some if s.kind == OPERATION)
        tip = ", ".join(f"{n} {row}" for row, n in rows.most_common(8))
        if not key.startswith("group "):
            what = "operations" if rows else "inputs"
            return Vertex(key, "operation", (f"... {len(some):,} {what} ...",), tip=tip)
        *around, name = key.removeprefix("group ").split(" / ")
        count = f"{len(some):,} operation{'s' * (len(some) > 1)}"
        result = self.e.record.output
        if result not in some:
            return Vertex(key, "operation", (name, count), group=tuple(around), tip=tip)
        told = f"{result.name} = {self.number(result.value)}"
        return Vertex(key, "output", (name, count, told), group=tuple(around), tip=tip)

    def vertex(self, key: str, s: Step) -> Vertex:
        """One step: its name, value and adjoint, and its marks."""
        marks: list[str] = []
        if not self.shows(s):
            marks.append("hidden")
        if s is self.until or s is self.back:
            marks.append("current")
        if s.kind == SKIPPED:
            marks.append("skipped")
        if s.kind == INPUT and s in self.needed and "adjoints" not in self.hidden:
            marks.append("accumulates")
        uses = sum(user in self.needed for user, _ in s.users)
        if uses > 1 and s.differentiated:
            marks.append("reused")
        kind = {INPUT: "input", SKIPPED: "input", CONSTANT: "constant"}.get(s.kind, "variable")
        if s is self.e.record.output and s.kind == OPERATION:
            kind = "output"
        return Vertex(key, kind, self.lines(s), sign=sign(s), marks=tuple(marks), group=s.group,
                      tip=self.tip(s), uses=uses)

    def lines(self, s: Step) -> tuple[Line, ...]:
        """The text of a box."""
        if s.kind == CONSTANT:
            return (Line(brief(s.name if s.named or not s.shape else shown(s.value)), "value"),)
        found = [Line(s.name, "name")]
        if "values" not in self.hidden:
            found.append(Line(self.number(s.value)))
        if "adjoints" not in self.hidden and s.differentiated:
            number = self.number(self.e.flows.adjoint(s))
            size = number.removeprefix("shape ")  # of an array: what is above it says "shape"
            text = f"{marked(s.name, BAR)}{' = ' if size == number else ': '}{size}"
            found.append(Line(text, "adjoint" if self.has_adjoint(s) else "hidden"))
        return tuple(found)

    def number(self, x: Any) -> str:
        """A number, a small array, the shape of others."""
        return box_number(x, self.digits)

    def tip(self, s: Step) -> str:
        """What shows under the mouse: the formula and its line."""
        if s.kind != OPERATION:
            return f"{s.name}: {s.kind}"
        place = s.place
        where = f", line {place.line}: {place.text}" if place.file else ""
        return f"{s.name} = {formula(s)}{where}"

    # ---- edges

    def edges(self, key: dict[Step, str]) -> list[Edge]:
        """An arrow for each use; between merged vertices one."""
        found: list[Edge] = []
        joined: set[tuple[str, str]] = set()
        for s in self.steps:
            for k, source in enumerate(s.inputs):
                pair = key.get(source, ""), key[s]
                if not pair[0] or pair[0] == pair[1]:
                    continue
                if pair[0].startswith("s") and pair[1].startswith("s"):
                    found.append(self.edge(*pair, s, k))
                elif pair not in joined:
                    joined.add(pair)
                    found.append(Edge(*pair, kind="flow" if source.differentiated else "plain"))
        return found

    def edge(self, tail: str, head: str, s: Step, position: int) -> Edge:
        """One use of a step, with the local partial and what flows back."""
        source = s.inputs[position]
        label = "" if "partials" in self.hidden else self.partial(s, position)
        part = self.parts.get((s, position))
        flow = "" if part is None else ("= " if part.first else "+= ") + self.number(part.amount)
        flow = flow if len(flow) <= LONG else ""
        shown_now = "none" if not self.shows(s) else "all" if self.has_adjoint(s) else "forward"
        if not source.differentiated:
            return Edge(tail, head, kind="skipped" if source.kind == SKIPPED else "plain",
                        shown=shown_now)
        return Edge(tail, head, label, "plain" if part is None else "flow", flow, shown=shown_now)

    def partial(self, s: Step, position: int) -> str:
        """A local partial: formula and number of numbers, else the formula."""
        if s.is_hook or not has_partial(s, position):
            return "hook" if s.is_hook else "not holomorphic"
        text = brief(partial_text(s, position))
        if s.shape or s.inputs[position].shape:
            return text
        number = shown(self.e.flows.local(s, position), self.digits)
        return number if text == number or text.strip("()") == number else f"{text} = {number}"


def box_number(x: Any, digits: int | None) -> str:
    """A number, a small array, the shape of others."""
    return shown(x, digits) if np.size(x) <= SMALL else (
        "shape " + " x ".join(map(str, np.shape(x))))


def sign(s: Step) -> str:
    """The sign of an operation: its label without arguments, ``+``, ``ln``, ``@``."""
    if s.kind != OPERATION:
        return ""
    text = re.sub(r"\{[^{}]*\}", "", s.row.label.text)
    word = re.match(r"\s*([A-Za-z_]\w*)", text)
    if word:
        return word[1]
    signs = re.match(r"\s*([^\s\w(),]+)", text)
    return signs[1] if signs else s.row.name


def brief(text: str) -> str:
    """A text that fits on an arrow."""
    return text if len(text) <= LONG else text[:LONG - 3] + "..."


def influence_picture(influence: Any, direction: str = "right") -> Picture:
    """The picture of an influence diagram: its variables, and the partial on each arrow."""
    key = {v: f"v{k}" for k, v in enumerate(influence.variables)}
    vertices = [Vertex(k, "input" if not v.sources else "variable" if v.uses else "output",
                       (v.name, box_number(v.value, None))) for v, k in key.items()]
    edges = [Edge(key[edge.tail], key[edge.head], box_number(edge.factor, None),
                  tip=f"{edge.symbol} = {edge.text}") for edge in influence.edges]
    return Picture(Diagram(vertices, edges, title=f"{influence.record.title}: who acts on whom",
                           direction=direction))
