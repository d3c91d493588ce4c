"""How large a vertex and the labels of an edge are, from their text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .diagram import Edge, Line, Vertex
from .text import LEADING, shortened, visible, width_of

FONT, FINE = 13.0, 11.0  # font sizes: in vertices, and on edges
PAD, BADGE = 9.0, 12.0  # BADGE: so far badges rise over the border of a box
SIGN, STALK = 27.0, 7.0  # diameter of the circle of an operation, and the line from it to its box
CROWD, LEAST = 220.0, 16.0  # the longest side that many lines ask for, and the least side
PAIR = 7.0  # distance of an arrow and the way back beside it


@dataclass(frozen=True)
class Look:
    """A vertex as it will be drawn.

    ``lines`` are ready to print; the box is ``width`` by ``height`` with corners of ``radius``;
    the circle of the operation before it ``sign`` by ``tall``; ``badges`` stand on its upper
    border. ``whole`` is the size of everything (width, height).
    """

    lines: tuple[Line, ...]
    size: float
    width: float
    height: float
    radius: float
    sign: str
    sign_width: float
    sign_height: float
    badges: tuple[str, ...]
    whole: tuple[float, float]


def look_of(v: Vertex, down: bool, room: float, exits: float) -> Look:
    """Measure a vertex; lines that come in want so much ``room``, those that go out ``exits``."""
    size = FINE if v.kind == "constant" else FONT
    lines = tuple(Line(shortened(visible(line.text)), line.role) for line in v.text)
    wide = max((width_of(line.text, size, line.role == "name") for line in lines), default=0.0)
    high = len(lines) * size * LEADING
    badges = badges_of(v)
    alone = v.kind == "operation" and len(lines) <= 1
    pad = 0.55 * PAD if v.kind == "constant" else PAD
    room, exits = min(room, CROWD), min(exits, CROWD / 2)
    height = max(high + (pad + 2 if alone else pad) + (3 if v.kind == "output" else 0), LEAST)
    width = max(wide + 2 * pad, sum(map(badge_width, badges)) + 14, height if alone else LEAST)
    side = exits if v.sign else max(room, exits)
    width, height = (max(width, side), height) if down else (width, max(height, side))
    radius = (min(width, height) / 2 if alone else 12.0 if v.kind == "operation" else
              height / 2 if v.kind == "constant" else 4.0)
    sign = shortened(visible(v.sign), 14)
    sign_width = max(SIGN, width_of(sign, FONT) + 13) if sign else 0.0
    sign_height = SIGN if sign else 0.0
    if sign:
        grown = max(SIGN, room)
        sign_width, sign_height = ((max(sign_width, grown), SIGN) if down else
                                   (sign_width, grown))
    return Look(lines, size, width, height, min(radius, height / 2, width / 2), sign, sign_width,
                sign_height, badges, _whole((width, height), (sign_width, sign_height), down,
                                            bool(badges)))


def room_for(kinds: Sequence[str]) -> float:
    """The room for lines of these kinds beside each other."""
    return sum(9.0 + (PAIR if kind == "flow" else 0.0) for kind in kinds) + 4


def _whole(box: tuple[float, float], sign: tuple[float, float], down: bool, badges: bool
           ) -> tuple[float, float]:
    """Box, circle and badges together; badges reach over the border of the box."""
    stalk = STALK if sign[0] else 0.0
    top = BADGE if badges else 0.0
    if down:
        return max(box[0], sign[0]), box[1] + sign[1] + max(stalk, top + 3 if stalk else top)
    return box[0] + sign[0] + stalk, max(box[1] + 2 * top, sign[1])


def badges_of(v: Vertex) -> tuple[str, ...]:
    """The words of the small signs on the border of a vertex."""
    out: list[str] = []
    if "accumulates" in v.marks:
        out.append("+=")
    if "reused" in v.marks:
        out.append(f"×{v.uses}" if v.uses else "×n")
    return tuple(out)


def badge_width(badge: str) -> float:
    """The width of a badge."""
    return width_of(badge, FINE - 1, bold=True) + 9


def slot_of(e: Edge, down: bool) -> tuple[float, float, float] | None:
    """The room of the labels of an edge: along, across, and where in it the line passes."""
    label, back = texts_of(e)
    if not label and not back:
        return None
    high = FINE * LEADING
    wide = [width_of(t, FINE) + 6 if t else 0.0 for t in (label, back)]
    pair = PAIR if e.kind == "flow" else 0.0
    if down:
        before, after = wide[1] + pair / 2 + 3, wide[0] + pair / 2 + 3
        return high + 2, before + after, (before - after) / 2
    before = (high if label else 3.0) + pair / 2
    after = (high if back else 3.0) + pair / 2
    return max(wide) + 4, before + after, (before - after) / 2


def texts_of(e: Edge) -> tuple[str, str]:
    """The label and the contribution, ready to print."""
    return shortened(visible(e.label), 36), shortened(visible(e.contribution), 36)
