"""The product form of the chain rule: each derivative is one new factor times one known already.

`chain_of` walks from the result back to the inputs over the variables that the source names, as a
backward pass is written on slides, and a `Chain` holds a `Line` for every use of every variable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError

from .cells import ALREADY, NEW, Cell, Column, Piece
from .factors import ALREADY as MARK
from .factors import meanings, pullback_term
from .folding import times
from .hooks import bypassed
from .influence import Influence, Variable, influence_of
from .numbers import check_count, shown
from .record import INPUT, uncollected
from .sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .flows import Flows
    from .influence import Edge
    from .record import Record, Step

TERMS = 8  # uses in a formula
MANY = 200  # lines that a sheet shows
WIDEST = 48  # characters of what goes back that are written out
DOT, DOT_LATEX = " \u00b7 ", r" \cdot "


@dataclass(slots=True, eq=False)
class Line:
    """One use of a variable: ``dL/dv  = or +=  (∂head/∂v) dL/dhead``.

    ``edge`` leads from the variable to ``head``; its factor is what is new. ``already`` is the
    derivative by head, computed before; ``amount`` their product, ``total`` the derivative by the
    variable so far, and ``first`` says that this is its first part. Numbers and arrays have the
    shape of the adjoints.
    """

    edge: Edge
    already: Any
    amount: Any
    total: Any
    first: bool

    @property
    def variable(self) -> Variable:
        """What the derivative is by."""
        return self.edge.tail

    @property
    def name(self) -> str:
        """The name of that variable."""
        return self.edge.tail.name

    @property
    def head(self) -> str:
        """The name of what it is used for."""
        return self.edge.head.name

    @property
    def factor(self) -> Any:
        """What is new: a number, or a Jacobian matrix in numerator layout."""
        return self.edge.factor

    @property
    def formula(self) -> str:
        """The factor as a formula."""
        return self.edge.text


class Chain:
    """The derivatives of a result, line by line in backward order; made by `Explanation.chain`.

    ``lines`` are the `Line` records: first the variables in between, then the inputs. Indexing by
    a name gives the whole derivative by that variable, its adjoint if no hook has changed it.
    """

    def __init__(self, graph: Influence, sources: Sequence[Step], seed: Any,
                 lead: tuple[int, ...]) -> None:
        self.graph, self.lead = graph, lead
        self.target = graph.target[0]
        self.found: dict[Variable, Any] = {}
        wanted = {id(s) for s in sources}
        lines = list(self.walk(seed))
        last = [line for line in lines if id(line.variable.step) in wanted
                and not line.variable.sources]
        ends = set(map(id, last))
        self.lines = [line for line in lines if id(line) not in ends] + last
        self.adjoints = {v.name: self.shaped(v, a) for v, a in self.found.items()}

    def walk(self, seed: Any) -> Iterator[Line]:
        """Lines in the order in which a sweep makes them."""
        found = self.found
        found[self.target] = seed
        for head in reversed(self.graph.variables):
            if head not in found or not head.sources:
                continue
            already = self.shaped(head, found[head])
            for e, amount in self.parts(head):
                v = e.tail
                first = v not in found
                total = found[v] = amount if first else found[v] + amount
                part = self.shaped(v, amount)
                yield Line(e, already, part, part if first else self.shaped(v, total), first)

    def parts(self, head: Variable) -> Iterable[tuple[Edge, Any]]:
        """What each edge that leads to a variable carries back."""
        known = self.found[head]
        if not self.graph.numbers:
            return self.graph.back(head, known).items()
        return [(e, times(known, e.number or 0.0)) for e in head.sources]

    def shaped(self, v: Variable, rows: Any) -> Any:
        """A derivative in the shape of the adjoint."""
        return rows if self.graph.numbers and not self.lead and not v.step.shape else (
            np.reshape(rows, self.lead + v.step.shape)[()])

    def __getitem__(self, name: str) -> Any:
        if name not in self.adjoints:
            raise ArgumentError(f"chain: there is no derivative by {name!r} here; there is "
                                + ", ".join(list(self.adjoints)[:12]))
        return self.adjoints[name]

    def of(self, name: str) -> list[Line]:
        """The lines of one variable: one for each of its uses."""
        return [line for line in self.lines if line.name == name]

    def formula(self, name: str, *, latex: bool = False) -> str:
        """The derivative by one variable as one product, new factors first.

        It goes on to the result, or to where ways part; of a variable that is used several times it
        is the sum over its uses.

        >>> def f(x, w0, w1):
        ...     f0 = w0 * x
        ...     h1 = np.sin(f0)
        ...     f1 = w1 * h1
        ...     return f1
        >>> ad.explain(f, 1.0, 2.0, 3.0).chain().formula("w0")
        'df1/dw0 = ∂f0/∂w0 · ∂h1/∂f0 · ∂f1/∂h1'
        """
        v = self.graph.find(name)
        between = DOT_LATEX if latex else DOT
        left, factors = self.sign(v, latex=latex), list[str]()
        if len(v.uses) > 1:
            terms = [self.term(e, latex=latex) for e in v.uses[:TERMS]]
            rest = [r"\cdots" if latex else "\u2026"] * (len(v.uses) > TERMS)
            return f"{left} = {' + '.join([*terms, *rest])}"
        while len(v.uses) == 1:
            (e,) = v.uses
            factors.append(e.symbol_latex if latex else e.symbol)
            v = e.head
        if v is not self.target or not factors:
            factors.append(self.sign(v, latex=latex))
        return f"{left} = {between.join(factors)}"

    def term(self, e: Edge, *, latex: bool = False) -> str:
        """What one use adds: a new factor times what was computed already."""
        new = e.symbol_latex if latex else e.symbol
        return new if e.head is self.target else (
            new + (DOT_LATEX if latex else DOT) + self.sign(e.head, latex=latex))

    # ---- printing

    def sign(self, v: Variable, *, latex: bool = False) -> str:
        """The sign for the whole derivative by a variable, over all ways: ``dL/dv``."""
        return rf"\frac{{d {self.target.latex}}}{{d {v.latex}}}" if latex else (
            f"d{self.target.name}/d{v.name}")

    def sheet(self, limit: int | None = MANY) -> Sheet:
        """The lines as a table, the new factor and what was computed already marked."""
        check_count("limit", limit, MANY)
        lines, notes = self.lines, list[str]()
        if limit is not None and len(lines) > limit:
            half = max(1, limit // 2)
            lines = lines[:half] + lines[-half:]
            notes.append(f"{len(self.lines) - len(lines):,} of {len(self.lines):,} lines in the "
                         "middle are left out; sheet(limit=None) has all")
        notes += meanings(self.graph.record, (line.formula for line in lines))
        notes += bypassed(self.graph.flows, self.graph.members,
                          "these are derivatives, the adjoints are others")
        if not lines:
            alone = self.target.step.kind == INPUT
            notes.append(f"{self.target.name} is an input itself" if alone else
                         f"{self.target.name} depends on none of them")
        numbers = self.graph.numbers
        columns = [Column("derivative", kind="math"), Column("sign", " "),
                   Column("product", kind="math"),
                   *([Column("new factor", kind="math"), Column("already computed", kind="number")]
                     if numbers else [Column("already computed"), Column("shape")]),
                   Column("value", kind="number")]
        return Sheet(f"Chain rule from {self.target.name} back", columns,
                     [self.row(line) for line in lines], notes)

    def row(self, line: Line) -> dict[str, Any]:
        """The cells of one line."""
        v, e = line.variable, line.edge
        cells = {"derivative": Cell(None, self.sign(v), self.sign(v, latex=True)),
                 "sign": "=" if line.first else "+=", "product": self.product(line),
                 "value": line.total}
        if self.graph.numbers:
            known = e.text in {e.symbol, shown(e.number)}
            return cells | {
                "new factor": Cell(e.number, shown(e.number) if known else
                                   f"{e.text} = {shown(e.number)}",
                                   shown(e.number) if known else f"{e.latex} = {shown(e.number)}",
                                   NEW),
                "already computed": Cell(line.already, role=ALREADY)}
        return cells | {"already computed": Cell(None, str(np.shape(line.already)), role=ALREADY),
                        "shape": str(np.shape(line.total))}

    def product(self, line: Line) -> Cell:
        """The product in signs; between arrays what is multiplied in which order."""
        e, sign, latex = line.edge, self.sign(line.edge.head), self.sign(line.edge.head, latex=True)
        before = Piece(sign, latex, ALREADY)
        back = pullback_term(e) if not self.graph.numbers and not self.lead else None
        if back is None or len(back.text) > WIDEST:
            new = Piece(e.symbol, e.symbol_latex, NEW)
            pair = (new, before) if self.graph.numbers else (before, new)
            return Cell(None, [pair[0], Piece(DOT, DOT_LATEX), pair[1]])
        left, _, right = back.text.partition(MARK)
        left_latex, right_latex = divided(back.latex)
        if not is_balanced(left_latex):
            return Cell(None, [Piece(back.text.replace(MARK, sign),
                                     back.latex.replace(MARK, latex), NEW)])
        pieces = [Piece(left, left_latex, NEW), before, Piece(right, right_latex, NEW)]
        return Cell(None, [p for p in pieces if p.text])

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __str__(self) -> str:
        return str(self.sheet())

    def __repr__(self) -> str:
        return f"Chain of {len(self.lines):,} lines from {self.target.name} back"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Sheet]:
        yield self.sheet()

    def _repr_html_(self) -> str:
        return self.sheet().html()


def divided(latex: str) -> tuple[str, str]:
    """What stands before and behind the mark, groups of braces around it alone taken away."""
    left, _, right = latex.partition(MARK)
    while left.endswith("{") and right.startswith("}"):
        left, right = left[:-1], right[1:]
    return left, right


def is_balanced(latex: str) -> bool:
    r"""Whether a piece of a formula can stand alone: every brace and ``\left`` has its partner."""
    braces = latex.replace(r"\{", "").replace(r"\}", "")
    return braces.count("{") == braces.count("}") and (
        latex.count(r"\left") == latex.count(r"\right"))


@uncollected()
def chain_of(record: Record, flows: Flows, sources: Sequence[Step], *, group: Any = True) -> Chain:
    """The chain from the result to ``sources``, see `Explanation.chain`."""
    for s in sources:
        if not s.differentiated:
            raise ArgumentError(f"chain: {s.name} is a constant here: no derivative with respect "
                                "to it is asked. Give it as a float or an array of floats")
    graph = influence_of(record, flows, sources, record.output, group=group)
    seed = flows.seed
    lead = seed.shape[:seed.ndim - len(record.output.shape)]
    rows = float(np.reshape(seed, ())) if graph.numbers else np.reshape(
        seed, (math.prod(lead), record.output.size))
    return Chain(graph, sources, rows, lead)
