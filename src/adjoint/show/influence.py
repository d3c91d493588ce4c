"""Who influences whom: the graph that sums over paths, chains and influence diagrams walk on.

Start with `Influence`: its Variables are the steps between some sources and a target, or the
elements of these steps, or only some of them, and its Edges carry the partial derivatives.
`structure.py` says which element reads which, `folding.py` leaves variables out, `paths.py` and
`chain.py` add up what flows along the edges.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError

from .cells import Cell, Column
from .factors import derivative, factor_formula, meanings
from .flows import ENTRIES, cotangent_of_ones, fitted, pulled_back
from .folding import fold
from .graph import Picture, influence_picture
from .numbers import check_count
from .record import INPUT, OPERATION, Step, uncollected
from .sheet import Sheet
from .structure import dependence
from .writing import name_latex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .flows import Flows
    from .record import Record

LIMIT = 1_000  # elements that are expanded
RECURRING = re.compile(r"(?:\[[^\[\]]*\])?(?:\.\d+)?$")
MANY = 200  # edges that a sheet shows


def no_edges() -> list[Edge]:
    """An empty list; to call ``list[Edge]`` takes five times as long."""
    return []


@dataclass(slots=True, eq=False)
class Variable:
    """A vertex: a step, or the element ``index`` of one; ``number`` is its place in the order.

    ``sources`` are the edges that come in, ``uses`` those that go out. ``first`` is the number of
    the first element: 0 as in Python (``x[0]``), 1 as on slides (``x1``).
    """

    step: Step
    index: tuple[int, ...] | None = None
    first: int = 0
    number: int = 0
    kept: bool = True
    sources: list[Edge] = field(default_factory=no_edges)
    uses: list[Edge] = field(default_factory=no_edges)

    @property
    def name(self) -> str:
        """The name of the step, and which element it is: ``x[0]``, ``W[0, 1]``."""
        if self.index is None:
            return self.step.name
        if not self.first:
            return f"{self.step.name}[{', '.join(map(str, self.index))}]"
        between = "_" if self.step.name[-1:].isdigit() else ""
        return self.step.name + between + ",".join(str(i + self.first) for i in self.index)

    @property
    def latex(self) -> str:
        """The name in LaTeX."""
        base = name_latex(self.step)
        if self.index is None:
            return base
        base = f"{{{base}}}" if "_" in base or "^" in base else base
        return f"{base}_{{{','.join(str(i + self.first) for i in self.index)}}}"

    @property
    def value(self) -> Any:
        """Its value."""
        return self.step.value if self.index is None else np.asarray(self.step.value)[self.index]

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.step.size if self.index is None else 1

    @property
    def offset(self) -> int:
        """The place of an element in its step, counted row by row."""
        return 0 if self.index is None else int(np.ravel_multi_index(self.index, self.step.shape))

    def __repr__(self) -> str:
        return f"Variable {self.name}"


@dataclass(slots=True, eq=False)
class Edge:
    """``tail`` stands among what ``head`` is computed from.

    ``factor`` is the partial derivative of head by tail: a number, or between arrays a matrix in
    numerator layout, (elements of head, elements of tail), None where it would have more than a
    million entries. ``position`` is the argument's in the step of head; where steps between were
    left out it is -1, ``parts`` are the edges that were multiplied or added, and ``terms`` is how
    many they are in all.
    """

    tail: Variable
    head: Variable
    number: float | None = None
    position: int = -1
    parts: tuple[Edge, ...] = ()
    added: bool = False
    terms: int = 1
    within: Influence | None = None

    @property
    def factor(self) -> Any:
        """The partial derivative as a number or a matrix."""
        return self.within.matrix(self) if self.number is None and self.within else self.number

    @property
    def symbol(self) -> str:
        """The sign for the partial derivative: ``∂y/∂x``."""
        return f"\u2202{self.head.name}/\u2202{self.tail.name}"

    @property
    def symbol_latex(self) -> str:
        """The sign for the partial derivative in LaTeX."""
        return derivative(self.head.latex, self.tail.latex)

    @property
    def text(self) -> str:
        """The partial derivative as a formula, its sign where there is no short one."""
        return factor_formula(self)

    @property
    def latex(self) -> str:
        """The same in LaTeX."""
        return factor_formula(self, latex=True)

    def __repr__(self) -> str:
        return f"Edge {self.tail.name} -> {self.head.name}"


class Influence:
    """Variables in topological order and the edges between them, from sources to one target.

    ``numbers`` says that every variable is a single number, and so is every factor.
    """

    def __init__(self, record: Record, flows: Flows, variables: Sequence[Variable],
                 target: Sequence[Variable], *, numbers: bool) -> None:
        self.record, self.flows, self.numbers = record, flows, numbers
        self.variables, self.target = list(variables), list(target)
        self.grouped = False
        self.members = {v.step for v in self.variables}
        for number, v in enumerate(self.variables):
            v.number = number

    @property
    def edges(self) -> list[Edge]:
        """The edges, in the order of what they lead to."""
        return [e for v in self.variables for e in v.sources]

    def find(self, name: str) -> Variable:
        """The variable of this name; raises ArgumentError if there is none."""
        for v in self.variables:
            if v.name == name:
                return v
        names = ", ".join(v.name for v in self.variables[:8])
        raise ArgumentError(f"there is no variable {name!r} here; there is {names}")

    def matrix(self, edge: Edge) -> Any:
        """The Jacobian behind an edge between arrays; None if it is too large."""
        step, source = edge.head.step, edge.tail.step
        if step.size * source.size > ENTRIES:
            return None
        if edge.position >= 0:
            return self.flows.entries(step, edge.position)
        return self.back(edge.head, np.eye(step.size, dtype=step.dtype))[edge]

    def back(self, head: Variable, rows: Any) -> dict[Edge, Any]:
        """Cotangents of ``head``, row by row and flat, pulled back along each edge to it.

        Steps that were left out are walked through once, the latest first, as in any sweep.
        """
        by_position = {e.position: e for e in head.sources}
        by_source = {} if not self.grouped else {e.tail.step: e for e in head.sources}
        found: dict[Edge, Any] = {}
        waiting: dict[Step, Any] = {head.step: rows}
        queue = [(-head.step.number, head.step)]
        while queue:
            step = heapq.heappop(queue)[1]
            for k, part in enumerate(pulled(self.record, step, waiting.pop(step))):
                source = step.inputs[k]
                if part is None or source not in self.members:
                    continue
                edge = by_source.get(source) if self.grouped else by_position.get(k)
                if edge is not None:
                    found[edge] = found[edge] + part if edge in found else part
                elif source in waiting:
                    waiting[source] = waiting[source] + part
                else:
                    waiting[source] = part
                    heapq.heappush(queue, (-source.number, source))
        return {e: found[e] if e in found else np.zeros((len(rows), e.tail.size))
                for e in head.sources}

    def sheet(self, limit: int | None = MANY) -> Sheet:
        """The edges as a table: from, to, the factor as a formula and as a number."""
        check_count("limit", limit, MANY)
        edges = self.edges
        seen = edges if limit is None else edges[:limit]
        rows = [[Cell(e.tail.name, latex=e.tail.latex), Cell(e.head.name, latex=e.head.latex),
                 Cell(None, f"{e.symbol} = {e.text}" if e.text != e.symbol else e.symbol,
                      f"{e.symbol_latex} = {e.latex}" if e.text != e.symbol else e.symbol_latex),
                 e.factor] for e in seen]
        notes = [f"{len(self.variables):,} variables, {len(edges):,} edges"]
        if len(seen) < len(edges):
            notes.append(f"{len(edges) - len(seen):,} edges are left out; sheet(limit=None) has "
                         "all")
        notes += meanings(self.record, (e.text for e in seen))
        return Sheet(f"Influences on {', '.join(v.name for v in self.target[:4])}", [
            Column("from", kind="math"), Column("to", kind="math"),
            Column("partial derivative", kind="math"), Column("factor", kind="number")],
            rows, notes)

    def __str__(self) -> str:
        return str(self.sheet())

    def __repr__(self) -> str:
        return f"Influence of {len(self.variables):,} variables and {len(self.edges):,} edges"

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield self.sheet()

    def graph(self, direction: str = "right") -> Picture:
        """The picture: variables with their values, the partial derivative on each arrow."""
        return influence_picture(self, direction)

    def _repr_html_(self) -> str:
        return self.sheet().html()


def pulled(record: Record, step: Step, rows: Any) -> list[Any]:
    """Flat cotangents of a step pulled back to its inputs: (rows, elements) each, None is zero.

    They pass by hooks, which are no part of the derivative.
    """
    if step.is_hook:
        return [rows]
    count = len(rows)
    parts = pulled_back(record, step, rows.reshape(step.shape)[()], 0) if count == 1 else (
        pulled_back(record, step, rows.reshape(count, *step.shape), 1))
    return [None if part is None else np.reshape(part, (count, source.size))
            for part, source in zip(parts, step.inputs, strict=True)]


# ---- making one

@uncollected()
def influence_of(record: Record, flows: Flows, sources: Sequence[Step], target: Step, *,
                 elements: bool = False, group: Any = False, first: int = 0) -> Influence:
    """The graph between ``sources`` and ``target``, see `Explanation.influence`.

    Without a way between them there are no edges. Raises ArgumentError for more than a thousand
    elements, for complex steps, and for names in ``group`` that are unknown.
    """
    if first not in {0, 1}:
        raise ArgumentError(f"first={first!r}: the first element is x[0] with first=0, or x1 with "
                            "first=1")
    steps = between(record, sources, target)
    for s in steps:
        if s.dtype.kind == "c":
            raise ArgumentError(
                f"paths: {s.name} is complex, and a derivative with conjugates is no product of "
                "complex factors; e.table('reverse') has what goes back at each step. Or write the "
                "program in real and imaginary parts")
    if elements:
        check_size(steps)
    kept = keeper(record, group, {*sources, target}) if group is not False else None
    variables = {s: [Variable(s, i, first) for i in indices(s)] if elements else [Variable(s)]
                 for s in steps}
    flat = [v for vs in variables.values() for v in vs]
    numbers = elements or all(s.size == 1 for s in steps)
    found = Influence(record, flows, flat, variables[target], numbers=numbers)
    with np.errstate(all="ignore"):
        connect(found, variables, elements=elements)
    if kept is not None:
        for v in flat:
            v.kept = kept(v.step)
        found.variables, found.grouped = fold(flat), True
    return found


def between(record: Record, sources: Sequence[Step], target: Step) -> list[Step]:
    """The steps on a way from a source to the target, both ends included, in order."""
    reached, needed = set(sources), {target}
    for s in record.steps:
        if not reached.isdisjoint(s.inputs):
            reached.add(s)
    for s in reversed(record.steps):
        if s in needed:
            needed.update(s.inputs)
    ends = {*sources, target}
    return [s for s in record.steps if s in ends or (s in needed and s in reached)]


def check_size(steps: Sequence[Step]) -> None:
    """Raises ArgumentError if there are too many elements."""
    count = sum(s.size for s in steps)
    if count > LIMIT:
        largest = sorted(steps, key=lambda s: -s.size)[:3]
        raise ArgumentError(
            f"elements=True: the {len(steps):,} steps on the way have {count:,} elements, at most "
            f"{LIMIT:,} are expanded; the largest are "
            + ", ".join(f"{s.name} {s.shape}" for s in largest)
            + ". Explain the program on smaller arrays (fewer rows of data, fewer units), take a "
            "nearer target, or leave elements= away: then the factors are Jacobian matrices")


def indices(step: Step) -> list[tuple[int, ...] | None]:
    """The places of the elements of a step; of a single number None."""
    return [None] if step.size == 1 else [tuple(map(int, i)) for i in np.ndindex(step.shape)]


def keeper(record: Record, group: Any, ends: set[Step]) -> Callable[[Step], bool]:
    """Which steps stay: those with names, or those of a list of names."""
    if group is True:
        return lambda s: s.named or s.kind == INPUT or s in ends
    names: list[Any] = [group] if isinstance(group, (str, Step)) else list(group)
    known = {short(s.name) for s in record.steps} | {s.name for s in record.steps}
    for name in names:
        if name not in known:
            record.find(name)
    chosen = set(names)
    return lambda s: s in ends or s in chosen or s.name in chosen or short(s.name) in chosen


def short(name: str) -> str:
    """The name without its number: ``h`` of ``h.2``, ``y`` of ``y[0]``."""
    return RECURRING.sub("", name)


def connect(graph: Influence, variables: dict[Step, list[Variable]], *, elements: bool) -> None:
    """An edge for each argument of each step, or for each element that reads one."""
    rules, single = graph.record.rules, graph.numbers and not elements
    for step, heads in variables.items():
        if step.kind != OPERATION:
            continue
        if single and step.size == 1:
            one = cotangent_of_ones(step)
            parts = [one] if step.is_hook else rules.quietly(step, one)
        else:
            parts = [None] * len(step.inputs)
        for k, source in enumerate(step.inputs):
            tails = variables.get(source)
            if not tails or not heads:  # not on the way, or empty
                continue
            if elements:
                connect_elements(graph, heads, tails, k)
                continue
            number = as_number(parts[k], source, step) if graph.numbers else None
            add(Edge(tails[0], heads[0], number, k, within=graph))


def connect_elements(graph: Influence, heads: Sequence[Variable], tails: Sequence[Variable],
                     position: int) -> None:
    """The edges between the elements of a step and those of one of its arguments."""
    step = heads[0].step
    jacobian = np.asarray(graph.flows.entries(step, position))
    for i, j in np.argwhere(dependence(graph.record, step, position, jacobian)):
        add(Edge(tails[j], heads[i], float(jacobian[i, j]), position, within=graph))


def add(e: Edge) -> None:
    """Enter an edge at both ends."""
    e.tail.uses.append(e)
    e.head.sources.append(e)


def as_number(part: Any, source: Step, step: Step) -> float:
    """The partial derivative between two numbers."""
    if part is None:
        return 0.0
    return float(part) if isinstance(part, float) else float(
        np.reshape(fitted(part, source, step), ()))
