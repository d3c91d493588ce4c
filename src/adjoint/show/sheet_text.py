"""A Sheet in a terminal: `rich` text that wraps where the window is narrow.

The layout is made here and not by `rich.table`, which knows no heading over several columns and
none over a group of rows. Under the width in which the columns fit at all, each row is a block of
lines ``heading: cell``.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from .cells import ACCUMULATES, ALREADY, BAD, MUTED, NEW
from .sheet_view import Gap, Heading, Line, halves

if TYPE_CHECKING:
    from rich.text import Text

    from .cells import Column
    from .sheet_view import Seen, View

STYLES = {NEW: "bold yellow", ALREADY: "cyan", ACCUMULATES: "green", MUTED: "dim", BAD: "bold red"}
MARKS = {NEW: "«»", ALREADY: "{}"}  # what a colour says must be seen without colours too
BETWEEN, DIVIDER = "  ", " │ "
NARROW = 12  # the width under which a column of text is not squeezed
MATRIX = 32  # the same for a matrix


def words(text: str, style: str = "") -> Text:
    """Text as it stands: brackets in it are no markup."""
    from rich.text import Text
    return Text(text, style=style, end="")


def body(cell: Seen) -> Text:
    """A cell with its marks and colours."""
    text = words("")
    for role, pieces in groupby(cell.pieces, lambda p: p.role):
        said = "".join(p.text for p in pieces)
        left, right = MARKS.get(role, ("", ""))
        inner = said.strip()
        start = said.index(inner) if inner else 0
        text.append(said[:start])
        if inner:
            text.append(left + inner + right, STYLES.get(role))
        text.append(said[start + len(inner):])
    text.append(" " * len(cell.pad))
    return text


def least(column: Column, texts: list[Text]) -> int:
    """The width under which a column cannot go: numbers are never broken, words seldom."""
    from rich.cells import cell_len
    if column.kind == "number":
        return max([cell_len(line) for t in texts[1:] for line in t.plain.split("\n")] + [1])
    longest = max((cell_len(w) for t in texts for w in t.plain.split()), default=1)
    matrix = max((cell_len(line) for t in texts if "\n" in t.plain
                  for line in t.plain.split("\n")), default=1)
    return max(1, min(longest, NARROW), min(matrix, MATRIX))


def widths(view: View, cells: list[list[Text]], total: int) -> list[int] | None:
    """The width of each column, the widest squeezed first; None if they do not fit."""
    from rich.cells import cell_len
    columns = [[row[k] for row in cells] for k in range(len(view.columns))]
    wide = [max([cell_len(line) for t in column for line in t.plain.split("\n")] + [1])
            for column in columns]
    low = [min(w, least(c, column))
           for w, c, column in zip(wide, view.columns, columns, strict=True)]
    room = total - sum(len(separator(view, k)) for k in range(1, len(wide)))
    if sum(low) > room:
        return None
    while sum(wide) > room:
        loose = [k for k, w in enumerate(wide) if w > low[k]]
        widest = max(wide[k] for k in loose)
        second = max([wide[k] for k in loose if wide[k] < widest], default=0)
        tops = [k for k in loose if wide[k] == widest]
        for k in tops:
            fair = widest - max(1, (sum(wide) - room) // len(tops))
            wide[k] = max(low[k], second, fair) if second < widest else max(low[k], fair)
            if sum(wide) <= room:
                break
    return wide


def separator(view: View, k: int) -> str:
    """What stands before column ``k``."""
    return "" if k == 0 else DIVIDER if k in view.starts else BETWEEN


def laid(view: View, cells: list[Text], wide: list[int], style: str = "") -> list[Text]:
    """A row of cells as lines of text."""
    from rich.cells import cell_len
    blocks = [wrapped(c, w) for c, w in zip(cells, wide, strict=True)]
    lines: list[Text] = []
    for n in range(max(map(len, blocks))):
        line = words("", style)
        for k, block in enumerate(blocks):
            part = block[n] if n < len(block) else words("")
            free = wide[k] - cell_len(part.plain)
            side = view.columns[k].side
            room = free
            if "\n" in cells[k].plain:  # the rows of a matrix move together
                room = wide[k] - max(cell_len(p.plain) for p in block)
            before = room if side == "right" else room // 2 if side == "center" else 0
            line.append(separator(view, k), "dim")
            line.append(" " * before).append_text(part).append(" " * (free - before))
        line.rstrip()
        lines.append(line)
    return lines


def wrapped(text: Text, width: int) -> list[Text]:
    """A cell in lines of at most ``width``."""
    from rich.cells import cell_len
    lines = list(text.split("\n", allow_blank=True))
    if all(cell_len(line.plain) <= width for line in lines):
        return lines
    from rich.console import Console  # made only where a line wraps
    lines = list(text.wrap(Console(width=width), width, overflow="fold", no_wrap=False))
    for line in lines:
        line.rstrip()
    return lines


def spans(view: View, wide: list[int]) -> list[Text]:
    """The headings over the columns, a line under each."""
    from rich.cells import cell_len, set_cell_size
    names, rules = words(""), words("")
    k = 0
    for name, count in view.spans:
        inner = sum(wide[k:k + count]) + len(BETWEEN) * (count - 1)
        shown = name if cell_len(name) <= inner else set_cell_size(name, inner - 1) + "…"
        free = inner - cell_len(shown)
        for line in (names, rules):
            line.append(separator(view, k), "dim")
        names.append(" " * (free // 2)).append(shown, "bold").append(" " * (free - free // 2))
        rules.append(("─" if name else " ") * inner, "dim")
        k += count
    for line in (names, rules):
        line.rstrip()
    return [names, rules] if names.plain.strip() else []


def fitted(view: View, width: int) -> list[Text]:
    """The table; where it is too wide, its column groups under each other; or else blocks."""
    if len(view.spans) > 1 and natural(view) > width:
        lines: list[Text] = []
        for part in halves(view):
            lines += [words("")] * bool(lines) + (table(part, width) or blocks(part, width))
        return lines
    return table(view, width) or blocks(view, width)


def natural(view: View) -> int:
    """The width in which nothing wraps."""
    from rich.cells import cell_len
    return max(cell_len(line.plain) for line in table(view, 10**6))


def table(view: View, width: int) -> list[Text]:
    """The lines of the table; none if its columns do not fit."""
    heads = [words(c.title) for c in view.columns]
    printed = [line for line in [*view.lines, view.footer] if isinstance(line, Line)]
    cells = [[body(c) for c in line.cells] for line in printed]
    wide = widths(view, [heads, *cells], width)
    if wide is None:
        return []
    rest = iter(cells)
    total = sum(wide) + sum(len(separator(view, k)) for k in range(1, len(wide)))
    rule = words("─" * total, "dim")
    lines = [*spans(view, wide), *laid(view, heads, wide, "bold"), rule]
    for line in view.lines:
        lines += laid(view, next(rest), wide) if isinstance(line, Line) else between(line, width)
    if view.footer:
        lines += [rule, *laid(view, next(rest), wide)]
    return lines


def between(line: Heading | Gap, width: int) -> list[Text]:
    """A line across the whole table."""
    if isinstance(line, Gap):
        return folded(str(line), width, "dim")
    return folded(f"▾ {line} · {line.size}", width, "bold")


def folded(text: str, width: int, style: str = "") -> list[Text]:
    """A text over several lines if need be."""
    return wrapped(words(text, style), width)


def blocks(view: View, width: int) -> list[Text]:
    """Each row as lines ``heading: cell``, for windows in which no table fits."""
    lines: list[Text] = []
    for line in [*view.lines, *([view.footer] if view.footer else [])]:
        if not isinstance(line, Line):
            lines += between(line, width)
            continue
        lines.append(words("─" * width, "dim"))
        for column, cell in zip(view.columns, line.cells, strict=True):
            if cell.text:
                said = words("").append(f"{column.title}: ", "dim").append_text(body(cell))
                said.rstrip()
                lines += wrapped(said, width)
    return lines


def rich_text(view: View, width: int) -> Text:
    """The whole Sheet as `rich` text of at most ``width`` columns.

    >>> from adjoint.show.sheet import Sheet
    >>> from adjoint.show.sheet_text import rich_text
    >>> print(rich_text(Sheet("A value", ["step", "value"], [["v1", 0.25]]).view(), 40))
    A value
    <BLANKLINE>
    step  value
    ───────────
    v1    0.25
    """
    lines = folded(view.title, width, "bold") + [words("")] if view.title else []
    lines += fitted(view, width)
    marked = [r for r in view.legend if r in MARKS]
    if marked or view.notes:
        lines.append(words(""))
    if marked:
        said = words("")
        for k, role in enumerate(marked):
            said.append(", " if k else "").append(role.join(MARKS[role]), STYLES[role])
        lines += wrapped(said, width)
    for note in view.notes:
        lines += folded(note, width)
    from rich.text import Text
    return Text("\n", end="").join(lines)
