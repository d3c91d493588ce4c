"""A Sheet as LaTeX that needs no package: ``tabular``, cut into parts where a page ends."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from .cells import ALREADY, BAD, NEW
from .sheet_view import Gap, Line, halves
from .typesetting import latex_text

if TYPE_CHECKING:
    from .cells import Column, Piece
    from .sheet_view import Heading, Seen, View

LINES = 36  # of a table that fit a page
LONG = 40  # characters of text that stay in one line
LINE = r"0.25\textwidth"
ACROSS = 150  # a wider table is cut at its column groups
MARKS = {NEW: r"\fbox{%s}", ALREADY: r"\underline{%s}", BAD: r"{\bfseries\boldmath %s}"}
SIDES = {"left": "l", "center": "c", "right": "r"}
# A table of so many characters across is set in this size, columns so far apart.
SIZES = ((75, "", "6pt"), (95, r"\small", "5pt"), (112, r"\footnotesize", "4pt"),
         (132, r"\scriptsize", "3pt"), (10**9, r"\tiny", "2pt"))
PAGE = r"""\setlength{\textwidth}{17cm}
\setlength{\oddsidemargin}{-0.6cm}
\setlength{\textheight}{24cm}
\setlength{\topmargin}{-1.8cm}
"""
BEGIN = "\\documentclass{article}\n" + PAGE + "\\begin{document}\n"
END = "\\end{document}\n"


def cell(seen: Seen, *, wrap: bool = False) -> str:
    """A cell with its marks."""
    parts: list[str] = []
    for role, group in groupby(seen.pieces, lambda p: p.role):
        text = merged([p for p in group if p.latex])
        parts.append(MARKS[role] % text if role in MARKS and text else text)
    said = "".join(parts)
    if wrap:
        return rf"\parbox[t]{{{LINE}}}{{\raggedright {said}\strut}}" if said else ""
    return said + (rf"\phantom{{${seen.pad}$}}" if seen.pad else "")


def merged(pieces: list[Piece]) -> str:
    """Neighbouring formulas as one, so that their spacing is a formula's."""
    text = "".join(p.latex or "" for p in pieces)
    if pieces and all((p.latex or "").startswith("$") for p in pieces):
        return "$" + " ".join((p.latex or "")[1:-1] for p in pieces) + "$"
    return text


def row(view: View, line: Line, wide: list[int]) -> str:
    """A row of the table."""
    cells = zip(view.columns, line.cells, wide, strict=True)
    said = " & ".join(cell(seen, wrap=folds(c, w)) for c, seen, w in cells)
    return said + (r" \\[3pt]" if r"\end{array}" in said else r" \\")


def folds(column: Column, width: int) -> bool:
    """Whether a column has text so long that it goes over several lines."""
    return column.kind == "text" and column.side == "left" and width > LONG


def widths(view: View) -> list[int]:
    """About how many characters each column is wide."""
    printed = [line for line in [*view.lines, view.footer] if isinstance(line, Line)]
    return [max([len(c.title), *(len(part) for line in printed
                                 for part in line.cells[k].text.split("\n"))])
            for k, c in enumerate(view.columns)]


def across(view: View, line: Heading | Gap) -> str:
    """A line over all columns."""
    count = len(view.columns)
    if isinstance(line, Gap):
        return rf"\multicolumn{{{count}}}{{c}}{{\textit{{{latex_text(str(line))}}}}} \\"
    said = rf"\textbf{{{latex_text(str(line))}}}, {line.size}"
    return rf"\multicolumn{{{count}}}{{l}}{{{said}}} \\"


def heads(view: View) -> list[str]:
    """The headings."""
    lines = [r"\hline"]
    if view.spans:
        parts, rules, k = [], [], 1
        for name, count in view.spans:
            bar = "|" if k > 1 else ""
            parts.append(rf"\multicolumn{{{count}}}{{{bar}c}}{{{latex_text(name)}}}")
            rules += [rf"\cline{{{k}-{k + count - 1}}}"] if name else []
            k += count
        lines += [" & ".join(parts) + r" \\", "".join(rules)]
    titles = [rf"\textbf{{{latex_text(c.title)}}}" for c in view.columns]
    return [*lines, " & ".join(titles) + r" \\", r"\hline"]


def pages(view: View, wide: list[int]) -> list[list[str]]:
    """The lines of the table, cut into parts that fit a page."""
    parts: list[list[str]] = [[]]
    for line in view.lines:
        if len(parts[-1]) >= LINES:
            parts.append([])
        parts[-1].append(row(view, line, wide) if isinstance(line, Line) else across(view, line))
    if view.footer:
        parts[-1] += [r"\hline", row(view, view.footer, wide)]
    return parts


def size(view: View) -> tuple[str, str]:
    """The size of type and the distance of columns with which the table should fit."""
    wide = total(view, widths(view))
    return next((name, gap) for limit, name, gap in SIZES if wide <= limit)


def total(view: View, wide: list[int]) -> int:
    """About how many characters the table is wide."""
    return sum((LONG if folds(c, w) else w) + 2 for c, w in zip(view.columns, wide, strict=True))


def tabular(view: View) -> list[str]:
    """The table in parts, each with its headings."""
    wide = widths(view)
    sides = "".join(("|" if k in view.starts else "")
                    + SIDES[c.side] for k, c in enumerate(view.columns))
    title = rf"\textbf{{{latex_text(view.title)}}}" if view.title else ""
    lines: list[str] = []
    for k, part in enumerate(pages(view, wide)):
        again = title and " (continued)" if k else ""
        lines += [rf"\noindent {title}{again}\par\nopagebreak\smallskip"] if title else []
        lines += [rf"\noindent\begin{{tabular}}{{{sides}}}", *heads(view), *part, r"\hline",
                  r"\end{tabular}\par\medskip"]
    return lines


def latex(view: View, *, document: bool = False) -> str:
    r"""The Sheet as LaTeX: a fragment, or with ``document`` a file that compiles as it stands.

    >>> from adjoint.show.sheet import Sheet
    >>> Sheet("", ["step", "value"], [["v1", 0.25]]).latex().count(r"\begin{tabular}")
    1
    """
    wide = total(view, widths(view)) > ACROSS and len(view.spans) > 1
    views = halves(view) if wide else [view]
    sizes = [size(v) for v in views]
    name, gap = max(sizes, key=[(n, g) for _, n, g in SIZES].index)
    lines = [rf"\begingroup{name}\setlength{{\tabcolsep}}{{{gap}}}\setlength{{\fboxsep}}{{1.5pt}}",
             r"\setlength{\arraycolsep}{2pt}"]
    for v in views:
        lines += tabular(v)
    lines += [rf"\noindent {legend}\par" for legend in [", ".join(
        MARKS[r] % r for r in view.legend if r in MARKS)] if legend]
    lines += [rf"\noindent {latex_text(note)}\par" for note in view.notes]
    text = "\n".join([*lines, r"\medskip\endgroup"]) + "\n"
    return BEGIN + text + END if document else text
