"""A Sheet made ready for printing: which rows are seen, each cell as pieces of text and LaTeX.

Every writer (`sheet_text`, `sheet_html`, `sheet_latex`, `sheet_markdown`) reads a `View` and
nothing else, so that all of them show the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError

from . import numbers
from .cells import BAD, ROLES, Cell, Column, Piece, Row, clean
from .typesetting import latex_formula, latex_text

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Look:
    """How a reader wants to see it: digits, arrays in full, and at most how many rows."""

    digits: int | None = None
    whole: bool = False
    rows: int | None = 60

    def __post_init__(self) -> None:
        """Raises ArgumentError for a setting that no table can be printed with."""
        numbers.check_digits(self.digits)
        numbers.check_count("rows", self.rows, 60)
        if self.whole not in (True, False):
            raise ArgumentError(f"whole={self.whole!r}: arrays are printed in full with "
                                "whole=True, in short with whole=False")


@dataclass(frozen=True, slots=True)
class Seen:
    """A cell as pieces; ``pad`` fills a number up so that points stand under each other."""

    pieces: tuple[Piece, ...]
    exact: str = ""
    pad: str = ""

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "".join(p.text for p in self.pieces)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of cells."""

    cells: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a group of rows."""

    text: str
    count: int
    continued: bool = False

    def __str__(self) -> str:
        return self.text + (" (continued)" if self.continued else "")

    @property
    def size(self) -> str:
        """How many rows the group has."""
        return "1 row" if self.count == 1 else f"{self.count:,} rows"


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that are not shown."""

    first: int
    last: int

    def __str__(self) -> str:
        count = self.last - self.first + 1
        which = f"rows {self.first:,} to {self.last:,}" if count > 1 else f"row {self.first:,}"
        return f"… {count:,} row{'s' if count > 1 else ''} left out ({which}) …"


@dataclass(frozen=True, slots=True)
class View:
    """What is printed: title, columns, lines (footer apart), notes, and the roles that occur."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line | Heading | Gap, ...]
    footer: Line | None
    notes: tuple[str, ...]
    legend: tuple[str, ...]
    parallel: bool = False

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The headings over the columns, each with how many it covers; none if none is named."""
        spans = [(clean(g), len(list(cs))) for g, cs in groupby(self.columns, lambda c: c.group)]
        return spans if any(g for g, _ in spans) else []

    @property
    def starts(self) -> set[int]:
        """The columns at which a new column group starts, the first column apart."""
        ends = np.cumsum([n for _, n in self.spans]).tolist()
        return set(ends[:-1])


def view(title: str, columns: tuple[Column, ...], rows: Sequence[Row], notes: Sequence[str],
         footer: Row | None, look: Look, *, parallel: bool = False) -> View:
    """The View of a Sheet's parts."""
    lines = list(chosen(columns, rows, look))
    plain = tuple(replace(c, kind="text") if c.kind == "math" else c for c in columns)
    last = seen_row(plain, footer, look) if footer else None
    printed = [line for line in [*lines, last] if isinstance(line, Line)]
    padded = iter(aligned(columns, printed))
    lines = [next(padded) if isinstance(line, Line) else line for line in lines]
    last = next(padded) if last else None
    used = {p.role for line in printed for cell in line.cells for p in cell.pieces}
    legend = tuple(r for r in ROLES[:3] if r in used)
    return View(clean(title), columns, tuple(lines), last, tuple(map(clean, notes)), legend,
                parallel)


def chosen(columns: tuple[Column, ...], rows: Sequence[Row], look: Look) -> Any:
    """The lines that are shown, with headings of groups and the gap between."""
    count = len(rows)
    limit = count if look.rows is None else min(look.rows, count)
    head, tail = (limit + 1) // 2, count - limit // 2
    sizes: list[int] = []
    shown = range(count) if limit == count else [*range(head), *range(tail, count)]
    previous: int | None = None
    for k in shown:
        after_gap = k and k - 1 != previous
        if after_gap:
            yield Gap(head + 1, tail)
        row = rows[k]
        starts = not k or rows[k - 1].group != row.group
        if row.group and (starts or after_gap):
            sizes = sizes or group_sizes(rows)
            yield Heading(clean(row.group), sizes[k], continued=not starts)
        yield seen_row(columns, row, look)
        previous = k
    if shown and previous != count - 1:
        yield Gap(head + 1, count)


def group_sizes(rows: Sequence[Row]) -> list[int]:
    """For each row the number of rows in its group."""
    sizes: list[int] = []
    for _, members in groupby(rows, lambda r: r.group):
        n = sum(1 for _ in members)
        sizes += [n] * n
    return sizes


def cell_of(row: Row, key: str, position: int) -> Cell:
    """The cell of a row under a column."""
    cells: Any = row.cells
    found = cells.get(key) if isinstance(cells, dict) else cells[position]
    return found if isinstance(found, Cell) else Cell(found)


def seen_row(columns: tuple[Column, ...], row: Row, look: Look) -> Line:
    """A row as it is printed."""
    return Line(tuple(seen(cell_of(row, c.key, k), c.kind, row.role, look)
                      for k, c in enumerate(columns)))


def seen(cell: Cell, kind: str, role: str, look: Look) -> Seen:
    """A cell as it is printed."""
    own = cell.role or ("" if numbers.finite(cell.value) else BAD) or role
    if cell.text is None:
        value = numbers.unboxed(cell.value)
        if isinstance(value, str):
            parts = [Piece(value, cell.latex)]
        else:
            return seen_value(value, cell.latex, own, look)
    else:
        parts = [Piece(cell.text, cell.latex)] if isinstance(cell.text, str) else cell.text
    pieces = tuple(spelled(replace(p, text=clean(p.text), role=p.role or own), kind)
                   for p in parts)
    return Seen(pieces)


def spelled(piece: Piece, kind: str) -> Piece:
    """A piece with its LaTeX, in dollars where it is math."""
    if piece.latex is not None:
        return replace(piece, latex=f"${piece.latex}$" if piece.latex else "")
    if kind == "code":
        return replace(piece, latex=rf"\texttt{{{latex_text(piece.text)}}}")
    if kind == "math" and piece.text.strip():
        before = "{} " if piece.text[0] == " " else ""  # room on both sides of an operator
        after = " {}" if piece.text[-1] == " " else ""
        return replace(piece, latex=f"${before}{latex_formula(piece.text.strip())}{after}$")
    return replace(piece, latex=latex_text(piece.text))


def seen_value(value: Any, latex: str | None, role: str, look: Look) -> Seen:
    """A value as it is printed; text inside an array is cleaned, its line breaks are ours."""
    raw = numbers.shown(value, look.digits, whole=look.whole, lines=True)
    lines = raw.split("\n") if isinstance(value, np.ndarray) else [raw]
    text = "\n".join(map(clean, lines))
    if latex is None:
        latex = latex_value(value, text, look)
    number = isinstance(value, (float, np.floating)) and np.isfinite(value)
    precise = str(numbers.exact(value)) if number else ""
    return Seen((Piece(text, latex and f"${latex}$", role),), "" if precise == text else precise)


def latex_value(value: Any, text: str, look: Look) -> str:
    """A value in math mode: a small array as a matrix."""
    if not text:
        return ""
    if isinstance(value, np.ndarray) and 0 < value.ndim <= 2 and numbers.in_full(
            value, whole=look.whole):
        table = value.reshape(1, -1) if value.ndim == 1 else value
        body = r" \\ ".join(" & ".join(latex_number(numbers.number(x, look.digits)) for x in line)
                            for line in table.tolist())
        return rf"\left[\begin{{array}}{{{'r' * table.shape[1]}}}{body}\end{{array}}\right]"
    if isinstance(value, np.ndarray) and value.ndim:
        return rf"\mbox{{{latex_text(' '.join(text.split()))}}}"
    return latex_number(text)


def latex_number(text: str) -> str:
    """A printed number in math mode."""
    if text in ("nan", "True", "False"):
        return rf"\mathrm{{{text}}}"
    if text in ("inf", "-inf"):
        return text.replace("inf", r"\infty")
    return latex_formula(text)


def aligned(columns: tuple[Column, ...], lines: list[Line]) -> list[Line]:
    """The lines with numbers filled up, so that their points stand under each other."""
    widths = [""] * len(columns)
    for line in lines:
        for k, cell in enumerate(line.cells):
            tail = decimals(columns[k], cell)
            if tail is not None and len(tail) > len(widths[k]):
                widths[k] = tail
    full = ["." + "0" * (len(w) - 1) if w else "" for w in widths]
    return [Line(tuple(cell if (tail := decimals(columns[k], cell)) is None
                       else replace(cell, pad=full[k][len(tail):])
                       for k, cell in enumerate(line.cells))) for line in lines]


def decimals(column: Column, cell: Seen) -> str | None:
    """The point and what follows it in a number of a right-aligned column; None for others."""
    if column.kind != "number" or column.side != "right":
        return None
    found = numbers.DECIMAL.fullmatch(cell.text)
    return (found[1] or "") if found else None


def halves(view: View) -> list[View]:
    """A table for each column group, the first column in each of them, to be read one by one.

    Groups that are lists of their own (``parallel``) have no first column in common.
    """
    parts: list[View] = []
    k = 0
    for name, count in view.spans:
        kept = [*([0] if k and not view.parallel else []), *range(k, k + count)]
        columns = tuple(replace(view.columns[n], group=name) for n in kept)
        lines = tuple(line for line in (picked(line, kept) for line in view.lines)
                      if not (view.parallel and is_empty(line)))
        footer = view.footer and picked(view.footer, kept)
        parts.append(replace(view, columns=columns, lines=lines, footer=footer))
        k += count
    return parts


def picked(line: Any, kept: list[int]) -> Any:
    """A row with some of its cells; another line as it is."""
    return Line(tuple(line.cells[n] for n in kept)) if isinstance(line, Line) else line


def is_empty(line: Any) -> bool:
    """Whether a line is a row in which nothing stands."""
    return isinstance(line, Line) and not any(cell.text for cell in line.cells)
