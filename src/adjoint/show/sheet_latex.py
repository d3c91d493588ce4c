"""A Sheet as LaTeX that needs no package: ``tabular``, cut into parts where a page ends."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from .cells import ALREADY, BAD, NEW
from .formulas import latex_text
from .sheet_view import Gap, Line

if TYPE_CHECKING:
    from .cells import Piece
    from .sheet_view import Heading, Seen, View

PAGE = 36  # lines of a table that fit a page
MARKS = {NEW: r"\fbox{%s}", ALREADY: r"\underline{%s}", BAD: r"\textbf{%s}"}
SIDES = {"left": "l", "center": "c", "right": "r"}
# A table of so many characters across is set in this size, columns so far apart.
SIZES = ((75, "", "6pt"), (95, r"\small", "5pt"), (120, r"\footnotesize", "4pt"),
         (150, r"\scriptsize", "3pt"), (10**9, r"\tiny", "2pt"))
BEGIN = r"""\documentclass{article}
\setlength{\textwidth}{17cm}
\setlength{\oddsidemargin}{-0.6cm}
\setlength{\textheight}{24cm}
\setlength{\topmargin}{-1.8cm}
\begin{document}
"""
END = "\\end{document}\n"


def cell(seen: Seen) -> str:
    """A cell with its marks."""
    parts: list[str] = []
    for role, group in groupby(seen.pieces, lambda p: p.role):
        text = merged([p for p in group if p.latex])
        parts.append(MARKS[role] % text if role in MARKS and text else text)
    said = "".join(parts)
    return said + (rf"\phantom{{${seen.pad}$}}" if seen.pad else "")


def merged(pieces: list[Piece]) -> str:
    """Neighbouring formulas as one, so that their spacing is a formula's."""
    text = "".join(p.latex or "" for p in pieces)
    if pieces and all((p.latex or "").startswith("$") for p in pieces):
        return "$" + " ".join((p.latex or "")[1:-1] for p in pieces) + "$"
    return text


def row(line: Line) -> str:
    """A row of the table."""
    return " & ".join(map(cell, line.cells)) + r" \\"


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


def pages(view: View) -> list[list[str]]:
    """The lines of the table, cut into parts that fit a page."""
    parts: list[list[str]] = [[]]
    for line in view.lines:
        if len(parts[-1]) >= PAGE:
            parts.append([])
        parts[-1].append(row(line) if isinstance(line, Line) else across(view, line))
    if view.footer:
        parts[-1] += [r"\hline", row(view.footer)]
    return parts


def size(view: View) -> tuple[str, str]:
    """The size of type and the distance of columns with which the table should fit."""
    printed = [line for line in [*view.lines, view.footer] if isinstance(line, Line)]
    wide = sum(max([len(c.title), *(len(line.cells[k].text) for line in printed)]) + 2
               for k, c in enumerate(view.columns))
    return next((name, gap) for limit, name, gap in SIZES if wide <= limit)


def latex(view: View, *, document: bool = False) -> str:
    r"""The Sheet as LaTeX: a fragment, or with ``document`` a file that compiles as it stands.

    >>> from adjoint.show.sheet import Sheet
    >>> Sheet("", ["step", "value"], [["v1", 0.25]]).latex().count(r"\begin{tabular}")
    1
    """
    name, gap = size(view)
    sides = "".join(("|" if k in view.starts else "") + SIDES[c.side]
                    for k, c in enumerate(view.columns))
    title = rf"\textbf{{{latex_text(view.title)}}}" if view.title else ""
    lines: list[str] = [rf"\begingroup{name}\setlength{{\tabcolsep}}{{{gap}}}"]
    for k, part in enumerate(pages(view)):
        again = title and " (continued)" if k else ""
        lines += [rf"\noindent {title}{again}\par\nopagebreak\smallskip"] if title else []
        lines += [rf"\noindent\begin{{tabular}}{{{sides}}}", *heads(view), *part, r"\hline",
                  r"\end{tabular}\par\medskip"]
    lines += [rf"\noindent {legend}\par" for legend in [", ".join(
        MARKS[r] % r for r in view.legend if r in MARKS)] if legend]
    lines += [rf"\noindent {latex_text(note)}\par" for note in view.notes]
    text = "\n".join([*lines, r"\endgroup"]) + "\n"
    return BEGIN + text + END if document else text
