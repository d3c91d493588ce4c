"""Sheet: the one record of a printed table, and its outputs.

A Sheet holds exact values beside the way they are printed (`cells`). `sheet_view` decides what of
it is seen; `sheet_text`, `sheet_markdown`, `sheet_html` and `sheet_latex` write that. CSV, dict and
JSON are always whole and exact.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from adjoint.errors import ArgumentError, ShapeError

from . import numbers
from .cells import Cell, Column, Row, clean
from .sheet_html import html
from .sheet_latex import latex
from .sheet_markdown import markdown
from .sheet_text import rich_text
from .sheet_view import Look, View, cell_of, view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

LEAST_WIDTH = 20
WIDTH = 100  # where no terminal is


class Sheet:
    r"""A table with one record and many outputs.

    Args:
        title: What stands above it.
        columns: `Column`s, or keys of columns of text.
        rows: `Row`s, mappings by key, or sequences of cells; a cell is a `Cell` or a plain value.
        notes: Lines under the table.
        footer: A row of totals.
        look: How it is printed unless an output is told otherwise.
        parallel: Whether the column groups are lists of their own that only stand beside each
            other, so that what is in one row does not belong together.

    The outputs share ``digits`` (significant digits, None for three decimals), ``whole`` (arrays in
    full) and ``rows`` (the most that are shown, the middle left out and said so; None for all).
    Raises ArgumentError for columns, cells or settings that do not fit, ShapeError for a row of a
    wrong length.

    >>> from adjoint.show.sheet import Column, Sheet
    >>> columns = [Column("step", kind="math"), Column("value", kind="number")]
    >>> sheet = Sheet("Forward: values", columns, [["v1", 2.0], ["v3", np.log(2.0)]])
    >>> print(sheet)
    Forward: values
    <BLANKLINE>
    step  value
    ───────────
    v1    2
    v3    0.693
    >>> print(sheet.csv(), end="")
    step,value
    v1,2.0
    v3,0.6931471805599453
    """

    def __init__(self, title: str, columns: Iterable[Column | str], rows: Iterable[Any],
                 notes: Sequence[str] | str = (), footer: Any = None, *, look: Look | None = None,
                 parallel: bool = False) -> None:
        self.title, self.look, self.parallel = title, look or Look(), parallel
        self.columns = tuple(c if isinstance(c, Column) else Column(c) for c in columns)
        keys = [c.key for c in self.columns]
        twice = sorted({k for k in keys if keys.count(k) > 1})
        if not keys or twice:
            raise ArgumentError(f"the columns have the key {twice[0]!r} twice; each needs its own"
                                if twice else "a Sheet needs columns: Sheet(title, ['step'], rows)")
        self.rows = tuple(self._row(r, k) for k, r in enumerate(rows))
        self.notes = (notes,) if isinstance(notes, str) else tuple(notes)
        self.footer = None if footer is None else self._row(footer, "footer")

    def _row(self, given: Any, where: int | str) -> Row:
        """A row that fits the columns."""
        row = given if isinstance(given, Row) else Row(given)
        keys = [c.key for c in self.columns]
        if isinstance(row.cells, Mapping):
            unknown = [k for k in row.cells if k not in keys]
            if unknown:
                raise ArgumentError(f"row {where} has a cell {unknown[0]!r}, but the columns are "
                                    + ", ".join(map(repr, keys)))
            return Row(dict(row.cells), row.group, row.role)
        if isinstance(row.cells, str) or not isinstance(row.cells, Iterable):
            raise ArgumentError(f"row {where} is {row.cells!r}; write a list of its "
                                f"{len(keys)} cells, or a dict by the columns' keys")
        cells = tuple(row.cells)
        if len(cells) != len(keys):
            raise ShapeError(f"row {where} has {len(cells)} cells for {len(keys)} columns; write "
                             "one cell for each column, None for an empty one")
        return Row(cells, row.group, row.role)

    def view(self, **look: Any) -> View:
        """What is printed, ready for a writer of your own: ``digits``, ``whole``, ``rows``.

        >>> from adjoint.show.sheet import Sheet
        >>> Sheet("", ["step"], [["v1"]]).view().lines[0].cells[0].text
        'v1'
        """
        chosen = replace(self.look, **look)
        return view(self.title, self.columns, self.rows, self.notes, self.footer, chosen,
                    parallel=self.parallel)

    def text(self, width: int | None = None, **look: Any) -> str:
        """Plain text without colours; ``width`` None takes the terminal's.

        Raises ArgumentError for a width under 20.

        >>> from adjoint.show.sheet import Sheet
        >>> "v1" in Sheet("", ["step"], [["v1"]]).text(width=40)
        True
        """
        return self._rich(width, look).plain

    def _rich(self, width: int | None, look: dict[str, Any]) -> Text:
        if width is None:
            width = max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        if isinstance(width, bool) or not isinstance(width, int) or width < LEAST_WIDTH:
            raise ArgumentError(f"width={width!r}: a table needs {LEAST_WIDTH} columns or more; "
                                "write width=80")
        return rich_text(self.view(**look), width)

    def markdown(self, **look: Any) -> str:
        r"""A pipe table as GitHub reads it.

        >>> from adjoint.show.sheet import Sheet
        >>> Sheet("", ["a|b"], [["c"]]).markdown().splitlines()[0]
        '| a\\|b |'
        """
        return markdown(self.view(**look))

    def html(self, *, collapsed: bool = False, **look: Any) -> str:
        """A fragment of HTML without scripts; ``collapsed`` folds the groups of rows.

        >>> from adjoint.show.sheet import Sheet
        >>> "&lt;script&gt;" in Sheet("", ["name"], [["<script>"]]).html()
        True
        """
        return html(self.view(**look), collapsed=collapsed)

    def latex(self, *, document: bool = False, **look: Any) -> str:
        r"""LaTeX without packages: a fragment, or a file that compiles with ``document``.

        >>> from adjoint.show.sheet import Sheet
        >>> r"a\_b" in Sheet("", ["name"], [["a_b"]]).latex()
        True
        """
        return latex(self.view(**look), document=document)

    def csv(self) -> str:
        """Every row with exact numbers, a column for the groups if there are any.

        >>> from adjoint.show.sheet import Sheet
        >>> Sheet("", ["step", "value"], [["v1", 0.1 + 0.2]]).csv().split()
        ['step,value', 'v1,0.30000000000000004']
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        grouped = any(r.group for r in self.rows)
        writer.writerow(["group"] * grouped + [clean(c.key) for c in self.columns])
        for row in [*self.rows, *([self.footer] if self.footer else [])]:
            cells = [written(v) for v in self._exact(row).values()]
            writer.writerow([clean(row.group)] * grouped + cells)
        return out.getvalue()

    def _exact(self, row: Row) -> dict[str, Any]:
        """A row's exact values by key."""
        return {c.key: exact(cell_of(row, c.key, k)) for k, c in enumerate(self.columns)}

    def dict(self) -> dict[str, Any]:
        """All of it as strict JSON holds it: exact numbers, arrays as lists, NaN as "NaN".

        >>> from adjoint.show.sheet import Sheet
        >>> Sheet("", ["step", "value"], [["v1", 0.1 + 0.2]]).dict()["rows"]
        [{'step': 'v1', 'value': 0.30000000000000004}]
        """
        return {"title": self.title, "columns": [
            {"key": c.key, "heading": c.heading or c.key, "kind": c.kind, "group": c.group}
            for c in self.columns],
            "rows": [self._exact(r) for r in self.rows], "groups": list(self._groups()),
            "footer": self._exact(self.footer) if self.footer else None,
            "notes": list(self.notes)}

    def _groups(self) -> Iterator[dict[str, Any]]:
        """The groups of rows: heading, first row, number of rows."""
        first = 0
        for heading, members in groupby(self.rows, lambda r: r.group):
            count = sum(1 for _ in members)
            if heading:
                yield {"heading": heading, "first": first, "count": count}
            first += count

    def json(self, indent: int | None = None) -> str:
        """`dict` as JSON.

        >>> from adjoint.show.sheet import Sheet
        >>> '"rows": [{"value": "NaN"}]' in Sheet("", ["value"], [[np.nan]]).json()
        True
        """
        return json.dumps(self.dict(), indent=indent, allow_nan=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Sheet {self.title!r}: {len(self.rows)} rows of {len(self.columns)} columns>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        text = self._rich(max(LEAST_WIDTH, options.max_width), {})
        text.end = "\n"  # what is printed next starts a line of its own
        yield text

    def _repr_html_(self) -> str:
        return self.html()


def exact(cell: Cell) -> Any:
    """What CSV and dict hold of a cell: its value, or else its text."""
    if cell.value is not None:
        return numbers.exact(cell.value)
    if cell.text is None or isinstance(cell.text, str):
        return cell.text
    return "".join(p.text for p in cell.text)


def written(value: Any) -> str:
    """An exact value in CSV: numbers as Python's `repr`, arrays as JSON, names made visible."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    return json.dumps(value) if isinstance(value, list) else repr(value)
