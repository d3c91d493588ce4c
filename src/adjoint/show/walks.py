"""The orders in which a graph can be walked back, what each visits, and what is in the buffer.

Four programs that compute the same gradient. "dfs" is the recursive search of lectures: it pulls a
cotangent back to every input and goes there at once, so that a step is visited once for each path
that leads to it; an argument that asks for no gradient is visited too, and nothing is gathered
there. "topological" sorts first, by a depth-first search, and visits every step once;
"index" goes by the time at which steps were made, newest first, as this library's engine does; and
"list" reads a list of all operations backwards, those that the result does not need among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adjoint.errors import ArgumentError

from .cells import MUTED, Cell, Column
from .flows import pulled_back
from .numbers import shown
from .record import OPERATION, SKIPPED
from .sheet import Sheet
from .writing import BAR, formula, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .explanation import Explanation
    from .record import Record, Step

ORDERS = ("dfs", "topological", "index", "list")
LISTED = 100


@dataclass(frozen=True)
class Visit:
    """One visit: the step, the cotangent that it was visited with, and the buffer afterwards.

    ``given`` says what went back to each input: (input, amount). ``buffer`` maps names to
    cotangents: what is waiting or gathered in the order at hand.
    """

    step: Step
    cotangent: Any
    given: tuple[tuple[Step, Any], ...]
    buffer: dict[str, Any]


class Walk:
    """One way to walk back: ``count`` visits (exact), the first of them listed as ``visits``.

    ``gradient`` maps the names of the inputs to what the walk has gathered there.
    """

    def __init__(self, e: Explanation, order: str, visits: list[Visit], count: int,
                 gradient: dict[str, Any]) -> None:
        self.explanation, self.order = e, order
        self.visits, self.count, self.gradient = visits, count, gradient

    @property
    def names(self) -> list[str]:
        """The steps in the order in which they are visited, as far as listed."""
        return [v.step.name for v in self.visits]

    @property
    def steps(self) -> int:
        """How many steps there are to visit."""
        record = self.explanation.record
        skipped = [s for s in record.constants if s.kind == SKIPPED and s.users]
        return len(record.steps) + (len(skipped) if self.order == "dfs" else 0)

    def sheet(self, digits: int | None = None) -> Sheet:
        """The visits as a table: step, its cotangent, what goes back, the buffer."""
        columns = [Column("visit", kind="number", align="right"), Column("step", kind="math"),
                   Column("operation", kind="math"),
                   Column("adjoint", "cotangent there", kind="number", align="left"),
                   Column("back", "goes back", kind="math"), Column("buffer", kind="math")]
        rows: list[Any] = []
        for k, v in enumerate(self.visits, 1):
            back = "; ".join(f"{marked(s.name, BAR)} {sign(self.order, s, amount, v)} "
                             f"{shown(amount, digits)}" for s, amount in v.given)
            held = "; ".join(f"{marked(n, BAR)} = {shown(x, digits)}" for n, x in v.buffer.items())
            operation = formula(v.step) if v.step.inputs else Cell(None, "input", role=MUTED)
            nothing = "skipped: none is asked" if v.step.kind == SKIPPED else "not reached"
            rows.append([k, v.step.name, operation,
                         Cell(v.cotangent, None if v.cotangent is not None else nothing,
                              role="" if v.cotangent is not None else MUTED),
                         back, held])
        rest = self.count - len(self.visits)
        notes = [f"{self.count:,} visits of {self.steps:,} steps"
                 + (f"; {rest:,} more are not listed" if rest else "")]
        hooks = [s.name for s in self.explanation.record.steps if s.is_hook]
        if hooks and self.order == "dfs":
            notes.append(f"the hook on {hooks[0]} is asked once for each path: the gradient is "
                         "that of the other orders only if what it answers is a sum of parts")
        return Sheet(f"{self.explanation.record.title}: walking back, order {self.order!r}",
                     columns, rows, notes)

    def __str__(self) -> str:
        return str(self.sheet())

    def _repr_html_(self) -> str:
        return self.sheet().html()


def sign(order: str, source: Step, amount: Any, visit: Visit) -> str:
    """``=`` where the amount is all that the input has so far, ``+=`` where it was added.

    A search passes the amount on at once, so there only inputs add up.
    """
    if order == "dfs" and source.kind == OPERATION:
        return "="
    held = visit.buffer.get(source.name)
    return "=" if held is amount or held is None else "+="


def walk(e: Explanation, order: str = "index", limit: int = LISTED) -> Walk:
    """The walk of one order; ``limit`` visits are listed, all are counted."""
    if order not in ORDERS:
        raise ArgumentError(f"steps(order={order!r}): it is 'dfs' (each path), 'topological' "
                            "(sorted by a search), 'index' (newest first) or 'list' (the list of "
                            "all operations, backwards)")
    given: Any = limit
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ArgumentError(f"steps(limit={given!r}): write how many visits are listed at most, "
                            "such as limit=100")
    return searched(e, limit) if order == "dfs" else swept(e, order, limit)


# ---- every path

def searched(e: Explanation, limit: int) -> Walk:
    """The recursive search, without recursion; the gradient of what is not listed by sums."""
    visits: list[Visit] = []
    gathered: dict[str, Any] = {}
    stack: list[tuple[Step, Any]] = [(e.record.output, e.flows.reverse.seed)]
    while stack and len(visits) < limit:
        step, dy = stack.pop()
        given: list[tuple[Step, Any]] = []
        if step.kind == OPERATION:
            parts = pulled_back(e.record, step, dy, e.flows.reverse.lead)
            given = [(s, p) for s, p in zip(step.inputs, parts, strict=True)
                     if p is not None and s.differentiated]
            visited = [(s, p) for s, p in zip(step.inputs, parts, strict=True)
                       if s.kind == SKIPPED or (p is not None and s.differentiated)]
            stack += visited[::-1]
        elif step.kind != SKIPPED:
            before = gathered.get(step.name)
            gathered[step.name] = dy if before is None else before + dy
        visits.append(Visit(step, dy, tuple(given), dict(gathered)))
    if stack:  # too many to list: the sums over all paths are those of the sweep
        gathered = {}
    gradient = {s.name: gathered.get(s.name, e.flows.adjoint(s)) for s in e.record.inputs}
    return Walk(e, "dfs", visits, visits_by_path(e), gradient)


def visits_by_path(e: Explanation) -> int:
    """How many visits a search makes: the number of paths from the result to each step, summed."""
    ways: dict[Step, int] = {e.record.output: 1}
    given = {(c.user, c.position) for c in e.flows.reverse.contributions}
    visits = 0
    for step in reversed(e.record.behind([e.record.output])):
        here = ways.pop(step, 0)  # a number of thousands of digits is not kept
        visits += here
        for k, source in enumerate(step.inputs if here else ()):
            if (step, k) in given or source.kind == SKIPPED:
                ways[source] = ways.get(source, 0) + here
    return visits + sum(ways.values())


# ---- every step once

def swept(e: Explanation, order: str, limit: int) -> Walk:
    """A walk that visits every step once, with the buffer as that program keeps it."""
    lead, kept = e.flows.reverse.lead, order != "index"
    buffer: dict[Step, Any] = {e.record.output: e.flows.reverse.seed}
    visits: list[Visit] = []
    steps = list(ordered(e.record, order))
    for step in steps:
        dy = buffer.get(step) if kept or step.kind != OPERATION else buffer.pop(step, None)
        given: list[tuple[Step, Any]] = []
        if step.kind == OPERATION and dy is not None:
            for source, part in zip(step.inputs, pulled_back(e.record, step, dy, lead),
                                    strict=True):
                if part is not None and source.differentiated:
                    given.append((source, part))
                    before = buffer.get(source)
                    buffer[source] = part if before is None else before + part
        if len(visits) < limit:
            visits.append(Visit(step, dy, tuple(given), {s.name: x for s, x in buffer.items()}))
    gradient = {s.name: buffer[s] if s in buffer else e.flows.adjoint(s) for s in e.record.inputs}
    return Walk(e, order, visits, len(steps), gradient)


def ordered(record: Record, order: str) -> Iterator[Step]:
    """The steps in the order of a walk."""
    if order == "list":  # all operations, needed or not; inputs are no operations
        return reversed(record.operations)
    if order == "index":
        return reversed(record.behind([record.output]))
    return reversed(postorder(record.output))


def postorder(output: Step) -> list[Step]:
    """Every step after all that it is computed from: a depth-first search without recursion."""
    found: list[Step] = []
    seen: set[Step] = {output}
    stack: list[tuple[Step, int]] = [(output, 0)]
    while stack:
        step, k = stack.pop()
        if k == len(step.inputs):
            found.append(step)
            continue
        stack.append((step, k + 1))
        source = step.inputs[k]
        if source.differentiated and source not in seen:
            seen.add(source)
            stack.append((source, 0))
    return found


