"""What is painted, in the order of painting: shapes, lines and words with their colours.

`svg` and `png` paint the same scene, so both pictures look alike. Colours are those that the
colour-blind tell apart (blue and vermilion); without colour, gradients are the dashed lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .diagram import Diagram, Edge, Line, Vertex
from .layout import Box, Frame, Layout, Route, layout
from .measure import BADGE, FINE, FONT, PAIR, Look, badge_width, texts_of
from .routing import Path
from .text import LEADING, visible, width_of

INK, BLUE, GRADIENT, PALE, FAINT, PAPER = ("#1f2328", "#1f5fa8", "#b3400a", "#767d85", "#c4cad1",
                                           "#ffffff")
SKY, MIST, CREAM, YELLOW = "#e3eefa", "#f6f8fa", "#fdf3ec", "#fff1b8"
TINTS = ("#f3f6f9", "#e9eef3", "#dfe6ed", "#d5dee6")
MARGIN, TITLE = 16.0, 15.0
DASHED, DOTTED = (5.0, 3.0), (1.5, 3.0)


@dataclass(frozen=True)
class Shape:
    """A rectangle with round corners, or the ellipse in it; ``what`` says what it stands for."""

    box: Box
    radius: float
    fill: str
    stroke: str
    width: float = 1.2
    dash: tuple[float, float] | None = None
    ellipse: bool = False


@dataclass(frozen=True)
class Stroke:
    """A line; ``arrow`` puts a tip at its end."""

    path: Path
    colour: str
    width: float = 1.3
    dash: tuple[float, float] | None = None
    arrow: bool = True


@dataclass(frozen=True)
class Words:
    """A line of text: (x, y) is its baseline; ``anchor`` is "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    size: float
    colour: str = INK
    bold: bool = False
    anchor: str = "middle"


@dataclass
class Part:
    """Things that belong together, with the text that shows under the mouse."""

    things: list[Shape | Stroke | Words] = field(
        default_factory=list[Shape | Stroke | Words])
    tip: str = ""


@dataclass
class Scene:
    """Everything that is painted, on a page of ``width`` by ``height``."""

    width: float
    height: float
    title: str
    description: str
    parts: list[Part]


def scene(diagram: Diagram) -> Scene:
    """A diagram laid out and dressed."""
    places = layout(diagram)
    title = visible(diagram.title)
    head = 2 * TITLE if title else 0.0
    rows = legend_rows(diagram) if diagram.legend else []
    foot = 20.0 * len(rows) + 12 if rows else 0.0
    wide = max([places.width, width_of(title, TITLE, bold=True),
                *(sum(w for _, w in row) for row in rows)])
    page = Scene(wide + 2 * MARGIN, places.height + head + foot + 2 * MARGIN, title,
                 visible(diagram.about()), [])
    x, y = MARGIN + (wide - places.width) / 2, MARGIN + head
    if title:
        page.parts.append(Part([Words(MARGIN, MARGIN + TITLE, title, TITLE, INK, bold=True,
                                      anchor="start")]))
    moved = _moved(places, x, y)
    page.parts += [_frame(f) for f in moved.frames]
    edges = list(zip(tuple(diagram.edges), moved.routes, strict=True))
    page.parts += [_edge(e, r) for e, r in edges]
    page.parts += [_heading(f) for f in moved.frames]
    page.parts += [_vertex(v, moved, diagram.direction == "down") for v in diagram.vertices]
    page.parts += [_labels(e, r, diagram.direction == "down") for e, r in edges if r.label]
    page.parts += _legend(rows, y + places.height + 24)
    return page


def _moved(p: Layout, x: float, y: float) -> Layout:
    """The layout moved right and down."""
    def box(b: Box) -> Box:
        return Box(b.x + x, b.y + y, b.width, b.height)

    def path(steps: Path) -> Path:
        return [tuple((a + x, b + y) for a, b in step) for step in steps]
    return Layout(p.width, p.height, {k: box(b) for k, b in p.boxes.items()}, p.looks,
                  tuple(Route(path(r.path), path(r.back),
                              (r.label[0] + x, r.label[1] + y) if r.label else None)
                        for r in p.routes),
                  tuple(Frame(f.name, box(f.box), f.depth) for f in p.frames))


def _frame(f: Frame) -> Part:
    """The box of a group."""
    return Part([Shape(f.box, 8, tint_of(f), FAINT, 1.0)])


def tint_of(f: Frame) -> str:
    """The deeper a group lies the darker it is."""
    return TINTS[min(f.depth, len(TINTS)) - 1]


def _heading(f: Frame) -> Part:
    """The name of a group, on a plate that covers the lines which pass there."""
    plate = Box(f.box.x + 7, f.box.y + 4, width_of(f.name, FINE, bold=True) + 6, 16)
    return Part([Shape(plate, 3, tint_of(f), tint_of(f), 0.5),
                 Words(f.box.x + 10, f.box.y + 16, f.name, FINE, bold=True, anchor="start")])


def _edge(e: Edge, r: Route) -> Part:
    """The arrow, and the arrow back."""
    if e.kind == "hidden" or e.shown == "none":
        return Part()
    tip = e.tip or " ".join(t for t in (f"{e.tail} → {e.head}", e.label, e.contribution) if t)
    if e.kind == "skipped":
        return Part([Stroke(r.path, PALE, 1.2, DOTTED)], visible(tip))
    things: list[Shape | Stroke | Words] = [Stroke(r.path, INK)]
    if r.back and e.shown == "all":
        things.append(Stroke(r.back, GRADIENT, 1.4, DASHED))
    return Part(things, visible(tip))


def _labels(e: Edge, r: Route, down: bool) -> Part:
    """The label on one side of the line, the contribution on the other."""
    if e.kind == "hidden" or e.shown == "none" or r.label is None:
        return Part()
    x, y = r.label
    label, back = texts_of(e)
    back = back if e.shown == "all" else ""
    off = PAIR / 2 if e.kind == "flow" else 0.0
    colour = PALE if e.kind == "skipped" else INK
    if down:
        height = y + FINE * 0.36
        words = [Words(x + off + 5, height, label, FINE, colour, anchor="start"),
                 Words(x - off - 5, height, back, FINE, GRADIENT, anchor="end")]
    else:
        words = [Words(x, y - off - 5, label, FINE, colour),
                 Words(x, y + off + FINE + 1, back, FINE, GRADIENT)]
    return Part([w for w in words if w.text])


def _vertex(v: Vertex, places: Layout, down: bool) -> Part:
    """Circle, box, lines and badges."""
    if "hidden" in v.marks:
        return Part()
    look, whole = places.looks[v.key], places.boxes[v.key]
    box, circle = spots(look, whole, down)
    things: list[Shape | Stroke | Words] = []
    pale = "skipped" in v.marks or v.kind == "constant"
    stroke = PALE if pale else BLUE if v.kind == "operation" else INK
    if circle:
        a = ((circle.x + circle.width / 2, circle.y + circle.height),
             (box.x + box.width / 2, box.y)) if down else (
            (circle.x + circle.width, circle.y + circle.height / 2),
            (box.x, box.y + box.height / 2))
        things += [Stroke([(a[0],), (a[1],)], PALE if pale else INK, arrow=False),
                   Shape(circle, min(circle.width, circle.height) / 2, SKY,
                         PALE if pale else BLUE, 1.4, ellipse=circle.width == circle.height),
                   Words(circle.x + circle.width / 2, circle.y + circle.height / 2 + FONT * 0.36,
                         look.sign, FONT, PALE if pale else INK)]
    things += _box(v, look, box, stroke, pale)
    things += _text(look, box, pale)
    things += _badges(look, box)
    return Part(things, visible(v.tip or " ".join(line.text for line in v.text
                                                  if line.role != "hidden")))


def spots(look: Look, whole: Box, down: bool) -> tuple[Box, Box | None]:
    """Where in the room of a vertex its box stands, and the circle before it."""
    middle = whole.x + whole.width / 2, whole.y + whole.height / 2
    if down:
        box = Box(middle[0] - look.width / 2, whole.y + whole.height - look.height, look.width,
                  look.height)
        circle = Box(middle[0] - look.sign_width / 2, whole.y, look.sign_width, look.sign_height)
    else:
        box = Box(whole.x + whole.width - look.width, middle[1] - look.height / 2, look.width,
                  look.height)
        circle = Box(whole.x, middle[1] - look.sign_height / 2, look.sign_width, look.sign_height)
    return box, circle if look.sign else None


def _box(v: Vertex, look: Look, box: Box, stroke: str, pale: bool) -> list[Shape]:
    """The outline, which tells the kind of a vertex."""
    fill = {"operation": SKY, "constant": MIST, "input": PAPER}.get(v.kind, PAPER)
    if "skipped" in v.marks:
        fill = MIST
    width = 2.2 if v.kind == "input" else 1.4 if v.kind == "operation" else 1.1
    if "current" in v.marks:
        fill, width = YELLOW, 2.6
    dash = DASHED if "skipped" in v.marks else None
    colour = FAINT if v.kind == "constant" and not dash else stroke
    outer = Shape(box, look.radius, fill, colour, width, dash)
    if v.kind != "output":
        return [outer]
    inner = Box(box.x + 3, box.y + 3, box.width - 6, box.height - 6)
    return [outer, Shape(inner, 2.0, fill, colour, 1.0, dash)]


def _text(look: Look, box: Box, pale: bool) -> list[Words]:
    """The lines, in the middle of the box."""
    step = look.size * LEADING
    top = box.y + box.height / 2 - step * len(look.lines) / 2
    return [_line(line, box.x + box.width / 2, top + step * k + step / 2 + look.size * 0.36,
                  look.size, pale)
            for k, line in enumerate(look.lines) if line.role != "hidden" and line.text]


def _line(line: Line, x: float, y: float, size: float, pale: bool) -> Words:
    colour = GRADIENT if line.role == "adjoint" else PALE if pale else INK
    return Words(x, y, line.text, size, colour, bold=line.role == "name" and not pale)


def _badges(look: Look, box: Box) -> list[Shape | Words]:
    """Small signs across the upper border, from its right end."""
    out: list[Shape | Words] = []
    x = box.x + box.width - 4
    for badge in look.badges:
        wide = badge_width(badge)
        x -= wide
        colour = GRADIENT if badge == "+=" else INK
        out += [Shape(Box(x, box.y - BADGE, wide, 15.0), 7.5,
                      CREAM if badge == "+=" else PAPER, colour, 1.1, ellipse=True),
                Words(x + wide / 2, box.y - BADGE + 7.5 + (FINE - 1) * 0.36, badge, FINE - 1,
                      colour, bold=True)]
        x -= 2
    return out


def legend_rows(diagram: Diagram) -> list[list[tuple[tuple[str, str], float]]]:
    """What occurs and needs a word, four in a row: ((sign, words), width)."""
    edges, vertices = tuple(diagram.edges), tuple(diagram.vertices)
    entries = [
        ("arrow", "value, with its local partial" if any(e.label for e in edges) else "value",
         bool(edges)),
        ("back", "gradient flows back", any(e.kind == "flow" for e in edges)),
        ("dotted", "no gradient flows", any(e.kind == "skipped" for e in edges)),
        ("circle", "operation", any(v.sign or v.kind == "operation" for v in vertices)),
        ("+=", "gradient accumulates", any("accumulates" in v.marks for v in vertices)),
        ("×n", "used n times", any("reused" in v.marks for v in vertices)),
        ("dashed", "no gradient asked", any("skipped" in v.marks for v in vertices)),
    ]
    found = [((sign, words), 40 + width_of(words, FINE) + 16) for sign, words, is_there in entries
             if is_there]
    return [found[k:k + 4] for k in range(0, len(found), 4)]


def _legend(rows: list[list[tuple[tuple[str, str], float]]], y: float) -> list[Part]:
    """The signs and their meaning, below the picture."""
    parts: list[Part] = []
    for row in rows:
        x = MARGIN
        for (sign, words), wide in row:
            parts.append(Part([*_example(sign, x, y),
                               Words(x + 40, y + FINE * 0.36, words, FINE, anchor="start")]))
            x += wide
        y += 20
    return parts


def _example(sign: str, x: float, y: float) -> list[Shape | Stroke | Words]:
    """One sign of the legend, 34 wide, with its middle at y."""
    ends = [((x, y),), ((x + 34, y),)]
    if sign == "arrow":
        return [Stroke(ends, INK)]
    if sign == "back":
        return [Stroke(ends[::-1], GRADIENT, 1.4, DASHED)]
    if sign == "dotted":
        return [Stroke(ends, PALE, 1.2, DOTTED)]
    if sign == "circle":
        return [Shape(Box(x + 9, y - 8, 16, 16), 8, SKY, BLUE, 1.4, ellipse=True)]
    if sign == "dashed":
        return [Shape(Box(x + 3, y - 7, 28, 14), 4, MIST, PALE, 1.1, DASHED)]
    look = Look((), FINE, 0, 0, 0, "", 0, 0, (sign,), (0, 0))
    return list(_badges(look, Box(x + 6, y + BADGE - 7.5, badge_width(sign) + 4, 0)))
