"""Pictures of a graph of Values, drawn without a program from outside: SVG, and DOT text.

The layout is layered: a node stands one column right of the last of its parents, and within a
column near the mean of its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from adjoint.core.primitive import CONSTANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLUMN, ROW, HEIGHT, LETTER, MARGIN = 70, 44, 26, 7, 12
SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**",
         "negative": "-", "leaf": "", "constant": ""}


def words_of(n: Any) -> list[str]:
    """What stands in the box of a node: label, data and gradient; of a plain number its value."""
    if n.prim is CONSTANT:
        return [f"{n.data:.4g}"]
    label = "".join(sign for sign in n.label if sign.isprintable())
    return [*([label] if label else []), f"data {n.data:.4g}", f"grad {n.grad:.4g}"]


def text_of(n: Any) -> str:
    """The words of a node in one line."""
    return " | ".join(words_of(n))


def sign_of(n: Any) -> str:
    """The operation that made a node; empty if nothing did."""
    name: str = n.prim.name
    return SIGNS.get(name, name)


def columns_of(nodes: Sequence[Any]) -> list[list[Any]]:
    """The layers, left to right: parents stand before what is made from them."""
    depth: dict[Any, int] = {}
    for n in nodes:  # oldest first
        depth[n] = 1 + max((depth[i] for i in n.inputs), default=-1)
    first_use: dict[Any, int] = {}
    for n in nodes:
        for i in n.inputs:
            first_use[i] = min(first_use.get(i, depth[n]), depth[n])
    columns: list[list[Any]] = [[] for _ in range(1 + max(depth.values()))]
    for n in nodes:  # an input stands just before its first use
        at = first_use.get(n, 1) - 1 if not n.inputs else depth[n]
        columns[max(at, 0)].append(n)
    return [c for c in columns if c]


def arranged(columns: list[list[Any]]) -> dict[Any, float]:
    """The height of each node: turns of pulling nodes towards the mean of their neighbours."""
    height = {n: float(k) for c in columns for k, n in enumerate(c)}
    near: dict[Any, list[Any]] = {n: list(n.inputs) for c in columns for n in c}
    for c in columns:
        for n in c:
            for i in n.inputs:
                near[i].append(n)
    for turn in range(6):
        for c in columns if turn % 2 else columns[::-1]:
            wish = {n: sum(height[m] for m in near[n]) / len(near[n]) if near[n] else height[n]
                    for n in c}
            c.sort(key=lambda n: (wish[n], n.index))
            shift = sum(wish.values()) / len(c) - (len(c) - 1) / 2
            for k, n in enumerate(c):
                height[n] = k + shift
    lowest = min(height.values())
    return {n: h - lowest for n, h in height.items()}


def svg(nodes: Sequence[Any]) -> str:
    """The graph as SVG text; ``nodes`` come oldest first."""
    columns, place, x = columns_of(nodes), {}, float(MARGIN)
    height = arranged(columns)
    for c in columns:
        width = max(LETTER * len(text_of(n)) + 2 * MARGIN for n in c)
        for n in c:
            place[n] = (x, MARGIN + ROW * height[n], width)
        x += width + COLUMN
    total = x - COLUMN + MARGIN, ROW * max(height.values()) + HEIGHT + 2 * MARGIN
    body = [*(arrow(place[i], place[n], sign_of(n)) for n in nodes for i in n.inputs),
            *(box(place[n], n) for n in nodes)]
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{total[0]:.0f}" '
            f'height="{total[1]:.0f}" viewBox="0 0 {total[0]:.0f} {total[1]:.0f}" '
            'font-family="monospace" font-size="11">')
    marker = ('<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
              'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>')
    white = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, marker, white, *body, "</svg>"])


def arrow(start: Any, end: Any, sign: str) -> str:
    """The line from an input into the circle of an operation."""
    (x, y, width), (to, down, _) = start, end
    into, half = to - 34 if sign else to, HEIGHT / 2
    return (f'<path d="M{x + width:.1f} {y + half:.1f} L{into:.1f} {down + half:.1f}" fill="none" '
            'stroke="black" marker-end="url(#tip)"/>')


def box(at: Any, n: Any) -> str:
    """A node: its box, and before it the circle of the operation that made it."""
    (x, y, width), middle = at, at[1] + HEIGHT / 2
    drawn = (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="4" '
             'fill="white" stroke="black"/>'
             f'<text x="{x + width / 2:.1f}" y="{middle + 4:.1f}" text-anchor="middle">'
             f'{escape(text_of(n))}</text>')
    if sign := sign_of(n):
        drawn += (f'<ellipse cx="{x - 20:.1f}" cy="{middle:.1f}" rx="14" ry="11" fill="#eef" '
                  'stroke="black"/>'
                  f'<text x="{x - 20:.1f}" y="{middle + 3:.1f}" text-anchor="middle" '
                  f'font-size="9">{escape(sign[:5])}</text>'
                  f'<path d="M{x - 6:.1f} {middle:.1f} L{x:.1f} {middle:.1f}" stroke="black"/>')
    return drawn


def dot(nodes: Iterable[Any]) -> str:
    """The graph as text for Graphviz."""
    lines = ["digraph {", "  rankdir=LR; node [shape=record];"]
    for n in nodes:
        parts = map(quoted, words_of(n))
        lines.append(f'  n{n.index} [label="{{ {" | ".join(parts)} }}"];')
        if sign := sign_of(n):
            lines.append(f'  o{n.index} [label="{quoted(sign)}", shape=circle];')
            lines.append(f"  o{n.index} -> n{n.index};")
            lines += [f"  n{i.index} -> o{n.index};" for i in n.inputs]
    return "\n".join([*lines, "}"])


def quoted(text: str) -> str:
    """``text`` inside a record label of DOT."""
    for sign in '\\"{}|<>':
        text = text.replace(sign, "\\" + sign)
    return text
