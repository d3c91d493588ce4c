"""The rows of trace tables: each step, and each contribution to an adjoint.

An `Entry` is a line of the reverse trace: the seed, what one use of a step adds to its adjoint, or
an input that the result does not depend on. `trace_tables.py` makes Sheets of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import terms
from .cells import ACCUMULATES, MUTED, Cell, Column, Piece, Row
from .complexes import has_partial, takes_real_part_back
from .numbers import SMALL, shown
from .trace_sheet import (
    Lines,
    heading,
    is_layered,
    lazy,
    operation_cell,
    step_cell,
    text_cell,
)
from .writing import name_latex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .explanation import Explanation
    from .flows import Contribution
    from .record import Step

FORWARD, REVERSE = "forward: values", "reverse: adjoints"
ENTRIES = 10_000  # of a local Jacobian that is made for a table


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the reverse trace about the adjoint of ``target``.

    ``contribution`` is None for the seed, and for what is not reached; ``before`` is the adjoint so
    far, None at first.
    """

    target: Step
    contribution: Contribution | None = None
    before: Any = None


def entries(e: Explanation) -> list[Entry]:
    """The lines of the reverse trace, in the order of the sweep."""
    reverse, totals = e.flows.reverse, dict[Any, Any]()
    found = [Entry(e.record.output)]
    for c in reverse.contributions:
        found.append(Entry(c.target, c, None if c.first else totals[c.target]))
        totals[c.target] = c.total
    return found + [Entry(s) for s in e.record.steps if s not in reverse.adjoints]


class Tracer:
    """The columns and cells of the tables of one Explanation."""

    def __init__(self, e: Explanation, digits: int | None, source: str | None, *,
                 partials: bool) -> None:
        self.e, self.record, self.digits = e, e.record, digits
        self.partials, self.lines = partials, Lines(e.record, source)
        self.layered, self.lead = is_layered(e.record), 0

    # ---- forward

    def forward_columns(self, group: str = "", *, partials: bool = False) -> list[Column]:
        """The columns of the forward trace."""
        columns = [Column("step", kind="math"), Column("operation", kind="math"),
                   *self.lines.columns, Column("value", kind="number")]
        columns += [Column("partials", "local partials", kind="math")] if partials else []
        return [Column(c.key, c.heading, c.align, c.kind, group) for c in columns]

    def forward_cells(self, step: Step, *, partials: bool = False) -> list[Any]:
        """A step of the forward trace."""
        cells = [step_cell(step), operation_cell(step), *self.lines.cells(step), Cell(step.value)]
        return [*cells, self.partials_cell(step)] if partials else cells

    def partials_cell(self, step: Step) -> Cell:
        """All partials of a step, as formulas and numbers."""
        pieces: list[Piece] = []
        values: list[Any] = []
        for k, source in enumerate(step.inputs):
            if source.differentiated:
                value = self.local(step, k)
                pieces += [Piece(",  ", r",\quad ")] if pieces else []
                pieces.append(Piece(*self.slope(step, k, value)))
                values.append(value)
        return Cell(tuple(values) or None, pieces) if pieces else Cell()

    def slope(self, step: Step, position: int, value: Any) -> terms.Term:
        """``∂v4/∂x1 = x2 = 5``."""
        left = terms.derivative(step, step.inputs[position])
        if terms.is_pointwise(step, position):
            rule = terms.partial(step, position)
            if value is not None and rule.text in (shown(value, self.digits), left.text):
                return terms.named(left, value, self.digits)
            left = terms.Term(f"{left.text} = {rule.text}", f"{left.latex} = {rule.latex}")
        return self.told(left, step, position, value)

    def told(self, left: terms.Term, step: Step, position: int, value: Any) -> terms.Term:
        """A derivative and its value; of a Jacobian that is not small the shape."""
        if step.is_hook:
            return terms.Term("a hook", r"\mbox{a hook}")
        if not has_partial(step, position):
            return terms.Term(f"{left.text}: not holomorphic",
                              rf"{left.latex}\colon \mbox{{not holomorphic}}")
        source = step.inputs[position]
        if value is None or (np.size(value) > SMALL and not terms.is_pointwise(step, position)):
            shape = step.shape + source.shape
            return terms.Term(f"{left.text}: {shape}", rf"{left.latex}\colon {shape}")
        return terms.named(left, value, self.digits)

    def local(self, step: Step, position: int) -> Any:
        """The local partial; None if it is a Jacobian that no table shows."""
        size = step.size * step.inputs[position].size
        if not has_partial(step, position):
            return None
        if not step.row.elementwise and size > ENTRIES:
            return None
        return self.e.flows.local(step, position)

    # ---- reverse

    def reverse_columns(self, group: str = "") -> list[Column]:
        """The columns of the reverse trace."""
        columns = [Column("rule", "chain rule", kind="math"),
                   *([Column("partial", "local partial", kind="math")] if self.partials else []),
                   Column("contribution", "numbers", kind="math"),
                   Column("adjoint", kind="number")]
        return [Column(c.key, c.heading, c.align, c.kind, group) for c in columns]

    def reverse_cells(self, entry: Entry) -> list[Any]:
        """A line of the reverse trace."""
        c = entry.contribution
        if c is None:
            return self.ends(entry.target)
        name, made = terms.adjoint_name(entry.target), terms.contribution(
            c.user, c.position, self.lead)
        first = c.first
        how = Piece(f"{name.text} = ", f"{name.latex} = ") if first else Piece(
            f"{name.text} += ", rf"{name.latex} \mathrel{{+{{=}}}}\; ", ACCUMULATES)
        cells: list[Any] = [Cell(None, [how, Piece(*made)])]
        if self.partials:
            value = self.local(c.user, c.position)
            left = terms.derivative(c.user, c.target)
            cells.append(Cell(value, [Piece(*self.told(left, c.user, c.position, value))]))
        return [*cells, self.numbers(entry, c), Cell(c.total)]

    def numbers(self, entry: Entry, c: Contribution) -> Cell:
        """The chain rule in numbers; of arrays only what is added."""
        if c.user.shape == c.target.shape == () and not self.lead:
            slope, dy = self.local(c.user, c.position), self.e.flows.adjoint(c.user)
            if c.user.is_hook:
                return Cell(c.amount, *terms.hooked(dy, c.amount, self.digits))
            if not has_partial(c.user, c.position):
                return self.added(c)
            real = takes_real_part_back(c.user, c.position)
            return Cell(c.amount, terms.numbers([(dy, slope)], entry.before, self.digits,
                                                real=real))
        return self.added(c)

    def added(self, c: Contribution) -> Cell:
        """What is added to an adjoint, where it is no product of numbers."""
        if c.first:
            return Cell(c.amount, "")
        text = f"+ {shown(c.amount, self.digits)}"
        return Cell(c.amount, text, latex=text_cell(text).latex)

    def ends(self, step: Step) -> list[Any]:
        """The seed, or an input that is not reached."""
        name = terms.adjoint_name(step)
        empty = [Cell()] * self.partials
        if step is not self.record.output:
            return [Cell(None, [Piece(f"{name.text} = 0", f"{name.latex} = 0")]), *empty,
                    text_cell("not reached"), Cell(self.e.flows.adjoint(step))]
        seed = terms.derivative(step, step)
        given = self.e.flows.cotangent is not None
        right = Piece("as given", r"\mbox{as given}") if given else Piece(*seed)
        return [Cell(None, [Piece(f"{name.text} = ", f"{name.latex} = "), right]), *empty, Cell(),
                Cell(self.e.flows.adjoint(step))]

    def role(self, entry: Entry) -> str:
        """Pale, where nothing flows."""
        ends = entry.contribution is None and entry.target is not self.record.output
        return MUTED if ends else ""

    # ---- rows

    def beside(self) -> Iterator[Row]:
        """Both traces in the order in which things happen, beside each other."""
        steps, lines = self.record.steps, entries(self.e)
        left = [Cell()] * len(self.forward_columns())
        right = [Cell()] * len(self.reverse_columns())

        def made(k: int) -> list[Any]:
            return [*(self.forward_cells(steps[k]) if k < len(steps) else left),
                    *(self.muted(lines[k]) if k < len(lines) else right)]
        for k in range(max(len(steps), len(lines))):
            yield lazy(partial(made, k))

    def muted(self, entry: Entry) -> list[Any]:
        """The cells of a line, pale if nothing flows."""
        role = self.role(entry)
        return [Cell(c.value, c.text, c.latex, c.role or role) for c in self.reverse_cells(entry)]

    def by_step(self) -> Iterator[Row]:
        """Each step with the lines of its adjoint, in the order of the steps."""
        lines: dict[Step, list[Entry]] = {}
        for entry in entries(self.e):
            lines.setdefault(entry.target, []).append(entry)
        empty = [Cell()] * len(self.forward_columns())

        def made(step: Step, k: int) -> list[Any]:
            return [*(empty if k else self.forward_cells(step)), *self.muted(lines[step][k])]
        for step in self.record.steps:
            for k in range(len(lines[step])):
                yield lazy(partial(made, step, k), self.group(step))

    def group(self, step: Step) -> str:
        """The heading over a step."""
        return heading(self.record, step) if self.layered else ""

    def forward_rows(self) -> Iterator[Row]:
        """The forward trace alone, with the local partials of each step."""
        for step in self.record.steps:
            yield lazy(partial(self.forward_cells, step, partials=self.partials), self.group(step))

    def reverse_rows(self) -> Iterator[Row]:
        """The reverse trace alone; a line stands in the group of the step that it comes from."""
        for entry in entries(self.e):
            step = entry.contribution.user if entry.contribution else entry.target
            yield lazy(partial(self.muted, entry), self.group(step))

    def node_rows(self) -> Iterator[Row]:
        """What each node of the graph holds."""
        for step in self.record.steps:
            yield lazy(partial(self.node_cells, step), self.group(step))

    def node_cells(self, step: Step) -> list[Any]:
        """A node: what it is computed from, the values of these, its own, and its gradient."""
        parents = ", ".join(i.name for i in step.inputs)
        codes = ", ".join(name_latex(i) for i in step.inputs)
        args = tuple(i.value for i in step.inputs)
        shown_args = ", ".join(shown(a, self.digits) for a in args)
        return [step_cell(step), operation_cell(step), *self.lines.cells(step),
                Cell(parents, latex=codes), Cell(args or None, shown_args), Cell(step.value),
                Cell(self.e.flows.adjoint(step))]
