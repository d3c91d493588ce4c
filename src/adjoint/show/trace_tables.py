"""`Explanation.table`: the forward evaluation trace beside the reverse trace of adjoints.

The rows come from `trace_rows.py`; here they become Sheets with columns, title and notes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError

from .cells import Column
from .complexes import complex_notes
from .hooks import hook_notes
from .record import uncollected
from .sheet_view import Look
from .trace_rows import FORWARD, REVERSE, Tracer
from .trace_sheet import TraceSheet, constant_notes, reading_notes
from .troubles import troubles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .cells import Row
    from .explanation import Explanation

PARTS = (None, "forward", "reverse", "nodes")
ORDERS = (None, "time", "step")
SMALL = 25  # elements of an adjoint that is written in full if it is a Jacobian
SOURCES = (None, "line", "text")


def check(what: str, given: Any, known: Sequence[Any]) -> None:
    """Raises ArgumentError for a word that is not known."""
    if given not in known:
        raise ArgumentError(f"table({what}={given!r}): write one of "
                            + ", ".join(repr(k) for k in known))


@uncollected()
def table_of(e: Explanation, part: str | None, order: str | None, source: str | None, *,
             digits: int | None, whole: bool | None, rows: int | None, partials: bool
             ) -> TraceSheet:
    """The trace table of an Explanation; see `Explanation.table`."""
    asked = Look(digits, False if whole is None else whole, rows)  # raises for what cannot be
    for what, given, known in (("part", part, PARTS), ("order", order, ORDERS),
                               ("source", source, SOURCES)):
        check(what, given, known)
    tracer = Tracer(e, digits, source, partials=partials)
    if part == "forward":
        return forward_table(tracer, asked)
    tracer.lead = e.flows.reverse.lead
    look = asked if whole is not None else replace(asked, whole=small_jacobians(e))
    if part == "reverse":
        return sheet(tracer, "adjoints, from the result back to the inputs",
                     tracer.reverse_columns(), tracer.reverse_rows(), look)
    if part == "nodes":
        return node_table(tracer, look)
    beside = order == "time" or (order is None and not tracer.layered)
    columns = [*tracer.forward_columns(FORWARD), *tracer.reverse_columns(REVERSE)]
    title = "values forward, adjoints backward"
    if beside:
        return sheet(tracer, title, columns, tracer.beside(), look, parallel=True)
    return sheet(tracer, title, columns, tracer.by_step(), look,
                 notes=["Read the left side from the top down, the right side from the bottom up."])


def small_jacobians(e: Explanation) -> bool:
    """Whether the adjoints are Jacobians that all fit into a table."""
    reverse = e.flows.reverse
    return bool(reverse.lead) and all(np.size(a) <= SMALL for a in reverse.adjoints.values())


def forward_table(tracer: Tracer, look: Look) -> TraceSheet:
    """The forward part alone: no sweep is made for it."""
    notes = [*tracer.lines.notes, *constant_notes(tracer.record),
             *troubles(tracer.e, backward=False)]
    return TraceSheet(f"{tracer.record.title}: values, from the inputs to the result",
                      tracer.forward_columns(partials=tracer.partials), tracer.forward_rows(),
                      notes, look=look)


def node_table(tracer: Tracer, look: Look) -> TraceSheet:
    """What each node holds."""
    columns = [Column("step", kind="math"), Column("operation", kind="math"),
               *tracer.lines.columns, Column("parents", kind="math"), Column("args"),
               Column("value", kind="number"), Column("grad", kind="number")]
    return sheet(tracer, "the nodes of the graph", columns, tracer.node_rows(), look)


def sheet(tracer: Tracer, title: str, columns: Iterable[Column], rows: Iterable[Row], look: Look,
          notes: Sequence[str] = (), *, parallel: bool = False) -> TraceSheet:
    """A Sheet with the notes that every table of adjoints has."""
    record = tracer.record
    lined = tracer.lines.notes if any(c.key == "line" for c in columns) else []
    said = [*notes, *lined, *constant_notes(record),
            *reading_notes(tracer.lead, record, record.output.shape), *hook_notes(record),
            *complex_notes(record, given=tracer.e.flows.cotangent is not None),
            *troubles(tracer.e)]
    return TraceSheet(f"{record.title}: {title}", columns, rows, said, look=look,
                      parallel=parallel)
