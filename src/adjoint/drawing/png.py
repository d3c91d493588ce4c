"""A scene as PNG or PDF, drawn by matplotlib from the same places as the SVG."""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache
from io import BytesIO
from math import atan2, cos, sin, sqrt
from typing import Any

from adjoint.errors import MissingPackageError

from .diagram import Diagram
from .layout import Box
from .scene import FAINT, PAPER, Scene, Shape, Stroke, Words, scene
from .text import FONTS, SMALL, runs_of, width_of

REGULAR, RESORT = 400, "Last Resort"  # a usual weight; a font of boxes for every letter
SIDE, AREA = 16000, 6e7  # the largest picture: pixels of a side, and in all
SETTINGS: dict[Any, Any] = {  # not what a user's matplotlibrc says
    "font.family": list(FONTS[:1]), "text.usetex": False, "text.parse_math": False,
    "text.hinting": "none", "path.sketch": None, "path.effects": [], "savefig.bbox": None,
    "savefig.transparent": False, "pdf.fonttype": 42}


def need_matplotlib() -> None:
    """MissingPackageError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPackageError("A picture as PNG or PDF is drawn by matplotlib (SVG, DOT and "
                                  "Mermaid need nothing)", "matplotlib")


def png(diagram: Diagram, scale: float = 2.0) -> bytes:
    """A diagram as the bytes of a PNG file, ``scale`` pixels for a point.

    Very large pictures get fewer pixels for a point. Raises MissingPackageError without matplotlib.

    >>> from adjoint import drawing
    >>> drawing.png(drawing.Diagram([drawing.Vertex("x", lines=("x",))]))[1:4]
    b'PNG'
    """
    return _rendered(scene(diagram), "png", scale)


def pdf(diagram: Diagram) -> bytes:
    """A diagram as the bytes of a PDF file. Raises MissingPackageError without matplotlib.

    >>> from adjoint import drawing
    >>> drawing.pdf(drawing.Diagram([drawing.Vertex("x", lines=("x",))]))[:4]
    b'%PDF'
    """
    return _rendered(scene(diagram), "pdf", 1.0)


def _rendered(page: Scene, kind: str, scale: float) -> bytes:
    """The bytes of a file of that kind; no date in it, so that the same picture is the same."""
    need_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure
    scale = min(scale, SIDE / max(page.width, page.height), sqrt(AREA / page.width / page.height))
    out = BytesIO()
    said = [t.text for part in page.parts for t in part.things if isinstance(t, Words)]
    settings = dict(SETTINGS)
    settings["font.family"] = _families("".join(sorted(set("".join(said)))))
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told by _families, and once
        figure = Figure(figsize=(page.width / 72, page.height / 72), dpi=72 * scale,
                        facecolor=PAPER)
        painter = _Painter(figure, page.height)
        painter.shape(Shape(_card(page), 6, PAPER, FAINT, 1.0))
        for part in page.parts:
            for thing in part.things:
                painter.paint(thing)
        meta = {"CreationDate": None} if kind == "pdf" else {"Software": None}
        figure.savefig(out, format=kind, metadata=meta)
    return out.getvalue()


@lru_cache(64)
def _families(letters: str) -> list[str]:
    """The font, and others for the letters that it lacks; warns of those that none here has."""
    from matplotlib import font_manager
    manager = font_manager.fontManager
    own = font_manager.findfont(FONTS[0])
    missing = {ord(c) for c in letters if c.isprintable()} - _letters(own)
    found = [FONTS[0]]
    for font in sorted(manager.ttflist, key=lambda f: (f.style, f.weight != REGULAR, f.name)):
        if not missing:
            break
        if font.name not in found and not font.name.startswith(RESORT) and (
                missing & _letters(font.fname)):
            missing -= _letters(font.fname)
            found.append(font.name)
    if missing:
        warnings.warn(f"no font here has the letters {''.join(sorted(map(chr, missing)))}: they "
                      "are boxes in PNG and PDF. Install a font that has them (Debian: "
                      "fonts-noto-cjk), or save the picture as SVG", stacklevel=2)
    return found


@lru_cache(None)
def _letters(path: str) -> frozenset[int]:
    """The letters that a font has, by number."""
    from matplotlib.ft2font import FT2Font
    try:
        return frozenset(FT2Font(path).get_charmap())
    except RuntimeError:  # no font that it can read
        return frozenset()


def _card(page: Scene) -> Box:
    """The white card under everything."""
    return Box(0.5, 0.5, page.width - 1, page.height - 1)


class _Painter:
    """Puts the things of a scene on a figure whose unit is the point, from the upper left."""

    def __init__(self, figure: Any, height: float) -> None:
        from matplotlib.transforms import Affine2D
        self.figure = figure
        self.page = Affine2D().scale(1, -1).translate(0, height).scale(1 / 72)
        self.page += figure.dpi_scale_trans
        self.order = 0

    def paint(self, thing: Shape | Stroke | Words) -> None:
        """One thing, above all before it."""
        if isinstance(thing, Shape):
            self.shape(thing)
        elif isinstance(thing, Stroke):
            self.stroke(thing)
        else:
            self.words(thing)

    def add(self, artist: Any) -> None:
        """An artist in the units of the page."""
        self.order += 1
        artist.set(transform=self.page, zorder=self.order, clip_on=False)
        self.figure.add_artist(artist)

    def shape(self, s: Shape) -> None:
        """A rectangle or an ellipse."""
        from matplotlib.patches import Ellipse, FancyBboxPatch
        b = s.box
        style: dict[str, Any] = {"facecolor": s.fill, "edgecolor": s.stroke, "linewidth": s.width}
        if s.dash:
            style["linestyle"] = (0, _dash(s.dash, s.width))
        if s.ellipse:
            self.add(Ellipse((b.x + b.width / 2, b.y + b.height / 2), b.width, b.height, **style))
            return
        round_ = f"round,pad=0,rounding_size={max(s.radius, 0.01)}"
        self.add(FancyBboxPatch((b.x, b.y), b.width, b.height, boxstyle=round_, mutation_aspect=1,
                                **style))

    def stroke(self, s: Stroke) -> None:
        """A line, and the tip at its end."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path
        points, codes = list(s.path[0]), [Path.MOVETO]
        for step in s.path[1:]:
            points += step
            codes += [Path.LINETO] if len(step) == 1 else [Path.CURVE4] * 3
        style = (0, _dash(s.dash, s.width)) if s.dash else "solid"
        (x, y), (a, b) = points[-1], points[-2]
        turn = atan2(y - b, x - a)
        c, d = cos(turn), sin(turn)
        if s.arrow:
            points[-1] = x - 6 * c, y - 6 * d
        self.add(PathPatch(Path(points, codes), facecolor="none", edgecolor=s.colour,
                           linewidth=s.width, linestyle=style, capstyle="butt"))
        if s.arrow:
            tip = [(0.5, 0), (-9.5, -4), (-7, 0), (-9.5, 4)]
            self.add(Polygon([(x + p * c - q * d, y + p * d + q * c) for p, q in tip],
                             facecolor=s.colour, edgecolor="none"))

    def words(self, w: Words) -> None:
        """A line of text, piece by piece."""
        from matplotlib.text import Text
        wide = width_of(w.text, w.size, w.bold)
        x = w.x - {"start": 0.0, "middle": wide / 2, "end": wide}[w.anchor]
        for run in runs_of(w.text):
            size = w.size * (SMALL if run.level else 1)
            y = w.y + w.size * {1: -0.36, 0: 0.0, -1: 0.2}[run.level]
            text = Text(x, y, run.text, fontsize=size, color=w.colour, va="baseline", ha="left",
                        fontweight="bold" if w.bold else "normal", parse_math=False)
            self.add(text)
            x += width_of(run.text, size, w.bold)


def _dash(dash: tuple[float, float], width: float) -> tuple[float, float]:
    """Lengths in points: matplotlib counts them in line widths."""
    return dash[0] / width, dash[1] / width
