"""A scene as SVG: text without scripts, whole in itself, on a white card of its own."""

from __future__ import annotations

from hashlib import sha256
from html import escape

from .diagram import Diagram
from .routing import Path
from .scene import FAINT, GRADIENT, INK, PALE, PAPER, Part, Scene, Shape, Stroke, Words, scene
from .text import FONTS, SMALL, runs_of

TIPS = {INK: "ink", GRADIENT: "back", PALE: "pale"}


def svg(diagram: Diagram) -> str:
    r"""A diagram as SVG text.

    It has a title and a description for those who cannot see it, and its ids are its own, so that
    several pictures stand in one page.

    >>> from adjoint import drawing
    >>> text = drawing.svg(drawing.Diagram([drawing.Vertex("x", lines=("<x>",))]))
    >>> "&lt;x&gt;" in text and "role=\"img\"" in text
    True
    """
    return painted(scene(diagram))


def painted(page: Scene) -> str:
    """A scene as SVG text."""
    body = [text for part in page.parts if part.things for text in _part(part)]
    mark = "p" + sha256("".join([page.title, page.description, *body]).encode()).hexdigest()[:10]
    wide, high = f"{page.width:.0f}", f"{page.height:.0f}"
    title = page.title or "Graph"
    head = [(f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
            f'viewBox="0 0 {wide} {high}" role="img" aria-labelledby="{mark}-title {mark}-about" '
            f'style="max-width:100%;height:auto" font-family="{escape(", ".join(FONTS))}">'),
            f'<title id="{mark}-title">{escape(title)}</title>',
            f'<desc id="{mark}-about">{escape(page.description)}</desc>', _tips(mark),
            (f'<rect x="0.5" y="0.5" width="{page.width - 1:.0f}" height="{page.height - 1:.0f}" '
            f'rx="6" fill="{PAPER}" stroke="{FAINT}"/>')]
    return "\n".join([*head, *(line.replace("url(#", f"url(#{mark}-") for line in body), "</svg>"])


def _tips(mark: str) -> str:
    """The tips of arrows, one for each colour."""
    return "<defs>" + "".join(
        f'<marker id="{mark}-{name}" viewBox="0 0 10 8" refX="9.5" refY="4" markerWidth="10" '
        f'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0L10 4L0 8L2.5 4z" fill="{colour}"/></marker>'
        for colour, name in TIPS.items()) + "</defs>"


def _part(part: Part) -> list[str]:
    """Things in a group with its tooltip."""
    lines = [_thing(t) for t in part.things]
    if part.tip:
        return ["<g>", f"<title>{escape(part.tip)}</title>", *lines, "</g>"]
    return lines


def _thing(t: Shape | Stroke | Words) -> str:
    if isinstance(t, Shape):
        return _shape(t)
    return _stroke(t) if isinstance(t, Stroke) else _words(t)


def _shape(s: Shape) -> str:
    b = s.box
    dash = f' stroke-dasharray="{s.dash[0]:g} {s.dash[1]:g}"' if s.dash else ""
    style = f'fill="{s.fill}" stroke="{s.stroke}" stroke-width="{s.width:g}"{dash}/>'
    if s.ellipse:
        return (f'<ellipse cx="{b.x + b.width / 2:.1f}" cy="{b.y + b.height / 2:.1f}" '
                f'rx="{b.width / 2:.1f}" ry="{b.height / 2:.1f}" {style}')
    return (f'<rect x="{b.x:.1f}" y="{b.y:.1f}" width="{b.width:.1f}" height="{b.height:.1f}" '
            f'rx="{s.radius:.1f}" {style}')


def _stroke(s: Stroke) -> str:
    dash = f' stroke-dasharray="{s.dash[0]:g} {s.dash[1]:g}"' if s.dash else ""
    tip = f' marker-end="url(#{TIPS[s.colour]})"' if s.arrow else ""
    return (f'<path d="{drawn(s.path)}" fill="none" stroke="{s.colour}" '
            f'stroke-width="{s.width:g}"{dash}{tip}/>')


def drawn(path: Path) -> str:
    """A path in the words of SVG."""
    words = [f"M{path[0][0][0]:.1f} {path[0][0][1]:.1f}"]
    for step in path[1:]:
        words += ["LC"[len(step) > 1] + " ".join(f"{x:.1f} {y:.1f}" for x, y in step)]
    return " ".join(words)


def _words(w: Words) -> str:
    bold = ' font-weight="bold"' if w.bold else ""
    return (f'<text x="{w.x:.1f}" y="{w.y:.1f}" text-anchor="{w.anchor}" font-size="{w.size:g}"'
            f'{bold} fill="{w.colour}" xml:space="preserve">{_runs(w)}</text>')


def _runs(w: Words) -> str:
    """Text with lowered and raised pieces; every step down is taken back by the next piece."""
    out: list[str] = []
    level = 0
    for run in runs_of(w.text):
        size = f' font-size="{w.size * SMALL:.2f}"' if run.level else ""
        move = {1: -0.36, 0: 0.0, -1: 0.2}
        step = (move[run.level] - move[level]) * w.size
        out.append(f'<tspan dy="{step:.2f}"{size}>{escape(run.text)}</tspan>'
                   if step or size else escape(run.text))
        level = run.level
    return "".join(out)
