"""`Explanation.forward`: the forward-mode trace, values and tangents in one pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from adjoint.errors import ArgumentError

from . import terms
from .cells import Cell, Column, Piece
from .complexes import has_partial, is_complex, takes_real_part
from .hooks import hook_notes
from .numbers import shown
from .record import OPERATION
from .sheet_view import Look
from .trace_rows import FORWARD, Tracer
from .trace_sheet import TraceSheet, constant_notes, lazy
from .troubles import troubles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .cells import Row
    from .explanation import Explanation
    from .record import Step

MOST = 8  # inputs that have columns when none is named


class Moving:
    """The tangents of all steps by one of them, as a column and its numbers."""

    def __init__(self, e: Explanation, wrt: Step, tangent: Any) -> None:
        self.wrt, self.lead = wrt, () if tangent is not None else wrt.shape
        self.flows, self.tangent = e.flows, tangent
        e.flows.forward(wrt, tangent)  # raises before any line is written

    def of(self, step: Step) -> Any:
        """The tangent of a step; zeros if it does not depend on the input."""
        return self.flows.tangent(step, self.wrt, self.tangent)


class ForwardTracer(Tracer):
    """The rows of the forward-mode trace."""

    def __init__(self, e: Explanation, digits: int | None, source: str | None,
                 moving: Sequence[Moving], *, given: bool) -> None:
        super().__init__(e, digits, source, partials=False)
        self.moving, self.given = moving, given
        self.seeds = {m.wrt for m in moving}

    @property
    def columns(self) -> list[Column]:
        """Values, the rule, and for each input numbers and tangent."""
        found = [*self.forward_columns(FORWARD), Column("rule", "chain rule", kind="math",
                                                        group="tangents")]
        for m in self.moving:
            name = m.wrt.name
            group = "tangents" if len(self.moving) == 1 else f"by {name}"
            after = "" if len(self.moving) == 1 else f" {name}"
            if not m.lead:
                found.append(Column(f"numbers{after}", "numbers", kind="math", group=group))
            found.append(Column(f"tangent{after}", "tangent", kind="number", group=group))
        return found

    def rows(self) -> Iterator[Row]:
        """A line for each step."""
        for step in self.record.steps:
            yield lazy(partial(self.cells, step), self.group(step))

    def cells(self, step: Step) -> list[Any]:
        """A step with its tangents."""
        cells: list[Any] = [*self.forward_cells(step), self.rule(step)]
        for m in self.moving:
            cells += [] if m.lead else [Cell(None, self.numbers_by(step, m))]
            cells.append(Cell(m.of(step)))
        return cells

    def rule(self, step: Step) -> Cell:
        """``v̇4 = v̇1 · x2 + v̇2 · x1``; a seed where the pass begins."""
        name = terms.tangent_name(step)
        if step.kind != OPERATION or step in self.seeds:
            right = terms.Term("as given", r"\mbox{as given}") if self.given and (
                step in self.seeds) else self.seed(step)
        else:
            parts = terms.tangent_terms(self.record, step)
            right = terms.Term(" + ".join(p.text for p in parts),
                               " + ".join(p.latex for p in parts))
        return Cell(None, [Piece(f"{name.text} = ", f"{name.latex} = "), Piece(*right)])

    def seed(self, step: Step) -> terms.Term:
        """What a pass begins with: the derivative of an input by the input of the pass."""
        if len(self.moving) == 1:
            return terms.derivative(step, self.moving[0].wrt)
        return terms.Term("seed", r"\mbox{seed}")

    def numbers_by(self, step: Step, m: Moving) -> str:
        """The rule in numbers; none for arrays, whose tangents stand in the lines above."""
        plain = all(s.shape == () for s in (step, *step.inputs))
        if not plain or step.kind != OPERATION or step in self.seeds:
            return ""
        if step.is_hook:
            return shown(m.of(step.inputs[0]), self.digits)
        moving = [(k, s) for k, s in enumerate(step.inputs) if s.differentiated]
        if not all(has_partial(step, k) for k, _ in moving):
            return ""
        return terms.numbers([(m.of(s), self.local(step, k)) for k, s in moving], None,
                             self.digits, real=takes_real_part(step))

    def notes(self) -> list[str]:
        """What the table leaves open."""
        arrays = [m.wrt for m in self.moving if m.lead]
        jacobians = [f"{s.name} has shape {s.shape}, so each tangent by it is a Jacobian, made in "
                     f"{s.size} passes: its last axes are those of {s.name}." for s in arrays]
        along = [f"{m.wrt.name} is complex: these are the derivatives along its real axis; "
                 "tangent=1j gives those along the imaginary axis."
                 for m in self.moving if is_complex(m.wrt) and m.tangent is None]
        return [*self.lines.notes, *constant_notes(self.record), *jacobians, *along,
                *hook_notes(self.record), *troubles(self.e, backward=False)]


def chosen(e: Explanation, wrt: Any) -> list[Step]:
    """The steps that are named, all inputs if none is."""
    if wrt is None:
        if len(e.record.inputs) > MOST:
            few = ", ".join(repr(s.name) for s in e.record.inputs[:2])
            raise ArgumentError(f"forward: {len(e.record.inputs):,} inputs are too many columns; "
                                f"name some of them: forward(({few}))")
        return e.record.inputs
    names: Sequence[Any] = wrt if isinstance(wrt, (tuple, list)) else (wrt,)
    if not names:
        raise ArgumentError("forward: wrt is empty; name an input, as in "
                            f"forward({e.record.inputs[0].name!r})")
    return list(dict.fromkeys(e.step(n) for n in names))


def forward_of(e: Explanation, wrt: Any, tangent: Any, source: str | None, look: Look
               ) -> TraceSheet:
    """The forward-mode trace of an Explanation; see `Explanation.forward`."""
    steps = chosen(e, wrt)
    if tangent is not None and len(steps) > 1:
        raise ArgumentError("forward(tangent): a direction belongs to one input; name it: "
                            f"forward({steps[0].name!r}, tangent=...)")
    for s in steps:
        if not s.differentiated:
            raise ArgumentError(f"forward: {s.name} is a {s.kind}, and has no derivative by it")
    tracer = ForwardTracer(e, look.digits, source, [Moving(e, s, tangent) for s in steps],
                           given=tangent is not None)
    by = ", ".join(s.name for s in steps)
    return TraceSheet(f"{e.record.title}: values and tangents, forward mode by {by}",
                      tracer.columns, tracer.rows(), tracer.notes(), look=look)
