"""What all traces are printed with: a Sheet whose rows are made when they are looked at.

A program may have a hundred thousand steps, of which a table shows the first and the last: only
their cells are made. CSV and dict make all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import Cell, Column, Row
from .numbers import shown
from .places import located
from .record import INPUT, OPERATION, SKIPPED, Place
from .sheet import Sheet
from .typesetting import latex_name, latex_text
from .writing import formula, formula_latex, name_latex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .record import Record, Step

LISTED = 8  # constants that a note names
MANY = 1_000  # groups that are told apart by their headings


class Cells(Sequence[Any]):
    """The cells of a row, made once somebody looks."""

    __slots__ = ("made", "make")

    def __init__(self, make: Callable[[], Sequence[Any]]) -> None:
        self.make = make
        self.made: Sequence[Any] | None = None

    def __getitem__(self, k: Any) -> Any:
        if self.made is None:
            self.made = self.make()
        return self.made[k]

    def __len__(self) -> int:
        return len(self[:])


class TraceSheet(Sheet):
    """A Sheet of rows that are made when they are looked at."""

    def _row(self, given: Any, where: int | str) -> Row:
        """A row as it is given."""
        return given if isinstance(given, Row) else super()._row(given, where)


def lazy(make: Callable[[], Sequence[Any]], group: str = "", role: str = "") -> Row:
    """A row whose cells are made when they are looked at."""
    return Row(Cells(make), group, role)


# ---- cells

def step_cell(step: Step) -> Cell:
    """The name of a step."""
    return Cell(step.name, latex=name_latex(step))


def operation_cell(step: Step) -> Cell:
    """How a step is computed."""
    if step.kind != OPERATION:
        if step.kind == INPUT and step.given not in {"", step.name}:  # names="v": v1 = x1
            return Cell(step.given, latex=latex_name(step.given))
        return Cell("input", latex=r"\mbox{input}")
    return Cell(formula(step), latex=formula_latex(step))


def text_cell(text: str) -> Cell:
    """Words in a column of formulas."""
    return Cell(text, latex=rf"\mbox{{{latex_text(text)}}}")


class Lines:
    """Source lines: numbers, with the file where the program is in several."""

    def __init__(self, record: Record, how: str | None) -> None:
        sites = {s.site for s in record.steps if s.kind == OPERATION and s.site is not None}
        self.files = sorted({located(site)[0] for site in sites if how} - {""})
        self.text = how == "text" and bool(sites)

    @property
    def columns(self) -> list[Column]:
        """The column of lines, if there are any."""
        number = [Column("line", align="right")] * bool(self.files)
        return [*number, Column("source", kind="code")] if self.text else number

    def cells(self, step: Step) -> list[Cell]:
        """The line of a step."""
        if not self.columns:
            return []
        place = step.place
        number = Cell()
        if place.line:
            number = Cell(place.line) if len(self.files) == 1 else Cell(
                f"{Path(place.file).name}:{place.line}")
        return [number] * bool(self.files) + [Cell(place.text)] * self.text

    @property
    def notes(self) -> list[str]:
        """Which file the lines are of."""
        if len(self.files) != 1:
            return []
        return [f"Lines are those of {Place(self.files[0], 0, '').source}."]


# ---- groups and notes

def heading(record: Record, step: Step) -> str:
    """The group of a step: the way down the layers, or the program itself."""
    if step.kind == INPUT:
        return "inputs"
    return " › ".join(step.group) or record.title


def is_layered(record: Record) -> bool:
    """Whether the program has layers."""
    return any(s.group for s in record.steps)


def constant_notes(record: Record) -> list[str]:
    """The constants that have a name, and the arguments that no gradient is asked of."""
    notes: list[str] = []
    for kind, what in ((None, "Constants: {}."), (SKIPPED, "No gradient is asked of {}.")):
        found = {s.name: s for s in record.constants
                 if (s.kind == SKIPPED) == (kind == SKIPPED) and (s.named or s.kind == SKIPPED)}
        if found:
            more = len(found) - LISTED
            said = ", ".join(brief(s) for s in list(found.values())[:LISTED])
            notes.append(what.format(said + (f" and {more:,} more" if more > 0 else "")))
    return notes + record.remarks


def brief(step: Step) -> str:
    """A constant in a note: its value if it is a number, else its shape."""
    value = np.asarray(step.value)
    return f"{step.name} = {shown(step.value)}" if not value.ndim else (
        f"{step.name} of shape {value.shape}")


def reading_notes(lead: int, record: Record, shape: Iterable[int]) -> list[str]:
    """How to read adjoints that are Jacobians."""
    if not lead:
        return []
    name = record.output.name
    said = (f"{name} has shape {tuple(shape)}, so each adjoint is a Jacobian: its first axes are "
            f"those of {name}, the others those of the step.")
    return [said]
