"""The chain rule as a sum over paths: each path from one variable to another, and what it carries.

`paths_of` walks the graph of `influence.py` with the dynamic programs of `path_sums.py`; a `Paths`
holds what was found and prints it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError, IndexingError

from .cells import Cell, Column
from .factors import meanings, product
from .hooks import bypassed
from .influence import Influence, Variable, influence_of
from .numbers import shown
from .path_sums import counted, largest, largest_arrays, summed, summed_arrays
from .record import Step, uncollected
from .sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .flows import Flows
    from .influence import Edge
    from .record import Record

LISTED = 10  # paths
HELD = 20_000_000  # products in memory
WIDTH = 256  # ways between arrays that are compared at each step
PULLS = 100_000  # cotangents that are pulled back for it
ENDS = 4  # variables at each end of a long path that are printed
FACTORS = 8  # in a printed product
CANCELLED = 1.0 + 1e-9
ELEMENT = re.compile(r"(.+)\[(-?\d+(?:\s*,\s*-?\d+)*)\]", re.DOTALL)
COUNTED = re.compile(r"(.*?[^\W\d])(\d+(?:,\d+)*)|(.*\d)_(\d+(?:,\d+)*)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Path:
    """One way from source to target, and the product of the partial derivatives along it.

    ``edges`` run from source to target; ``factors``, ``formulas`` and ``symbols`` stand in the
    order of the chain rule, the one of the target first, so that between arrays ``product`` is
    their matrix product (in numerator layout; ``product`` itself has the shape of the adjoint).
    ``share`` is the part of the total, negative where the path works against it; between arrays
    the part along the direction of the total, <product, total> / <total, total>. The shares of all
    paths add up to 1. It is None where the total is zero or not finite.

    >>> path = ad.explain(lambda x: np.sin(x) * x, 2.0).paths("x")[1]
    >>> path.names, path.formulas
    (('x', 'v2', 'v3'), ['x', 'cos(x)'])
    >>> round(float(path.product), 3), round(float(path.share), 3)
    (-0.832, -10.808)
    """

    edges: tuple[Edge, ...]
    variables: tuple[Variable, ...]
    product: Any
    share: float | None

    @property
    def names(self) -> tuple[str, ...]:
        """The variables on the way, source first."""
        return tuple(v.name for v in self.variables)

    @property
    def factors(self) -> list[Any]:
        """The partial derivatives: numbers, or Jacobian matrices (None if too large)."""
        return [e.factor for e in reversed(self.edges)]

    @property
    def formulas(self) -> list[str]:
        """The partial derivatives as formulas."""
        return [e.text for e in reversed(self.edges)]

    @property
    def symbols(self) -> list[str]:
        """The partial derivatives as signs: ``∂y/∂x``."""
        return [e.symbol for e in reversed(self.edges)]

    @property
    def text(self) -> str:
        """The names with arrows between, the middle of a long path left out."""
        return joined(self.variables, lambda v: v.name, " \u2192 ", "steps")

    @property
    def latex(self) -> str:
        """The same in LaTeX."""
        return joined(self.variables, lambda v: v.latex, r" \to ", r"\mbox{ steps}")

    @property
    def norm(self) -> float:
        """The absolute value of the product, its Frobenius norm between arrays."""
        return float(np.linalg.norm(np.ravel(self.product)))

    def __len__(self) -> int:
        return len(self.edges)

    def __repr__(self) -> str:
        return f"Path {self.text}: {shown(self.product)}"


def joined(parts: Sequence[Any], name: Callable[[Any], str], sign: str, what: str) -> str:
    """Names with a sign between them, the middle of many left out."""
    if len(parts) <= 2 * ENDS + 2:
        return sign.join(map(name, parts))
    between = f"\u2026 {len(parts) - 2 * ENDS:,} {what} \u2026" if "\\" not in what else (
        rf"\cdots {len(parts) - 2 * ENDS}{what} \cdots")
    return sign.join([*map(name, parts[:ENDS]), between, *map(name, parts[-ENDS:])])


class Paths:
    """The paths from a source to a target; made by `Explanation.paths`.

    ``count`` is how many there are (exact), ``total`` the sum of all their products (the adjoint,
    if the target is the result and no hook of the user's has changed what goes back), ``listed``
    the largest of them, ``rest`` the sum of the others.
    Indexing and iterating give the `Path` records that are listed.
    """

    def __init__(self, graph: Influence, source: Variable, target: Variable, seed: Any,
                 lead: tuple[int, ...], limit: int) -> None:
        self.graph, self.source, self.target, self.seed = graph, source, target, seed
        self.absolute: float | None = None  # the sum of the absolute products; None of arrays
        shape = lead + (() if source.index is not None else source.step.shape)
        exact = True
        if graph.numbers:
            sums = summed(graph, source, target, float(np.reshape(seed, ())))
            self.count, self.absolute = sums.count, sums.absolute
            self.total: Any = np.full(shape, sums.total)[()]
            check_limit(limit, self.count, len(graph.variables))
            best = largest(graph, source, target, float(np.reshape(seed, ())), limit)
        else:
            self.count = counted(graph, source, target)
            self.total = summed_arrays(graph, source, target, seed).reshape(shape)[()]
            wide = max(1, min(WIDTH, PULLS // (len(graph.variables) * max(1, len(seed)))))
            best = largest_arrays(graph, source, target, seed, wide)[:limit]
            exact = self.count <= wide
        self.exact = exact  # whether these are surely the largest
        self.listed = [Path(tuple(edges), (source, *[e.head for e in edges]),
                            np.reshape(p, shape)[()], share_of(p, self.total))
                       for p, edges in best]

    @cached_property
    def rest(self) -> Any:
        """The sum of the products of the paths that are not listed."""
        if self.count == len(self.listed):
            return np.zeros(np.shape(self.total))[()]
        products = [p.product for p in self.listed]
        with np.errstate(invalid="ignore"):
            return self.total - (math.fsum(products) if np.ndim(self.total) == 0 and all(
                map(np.isfinite, products)) else sum(products))

    @property
    def cancels(self) -> bool:
        """Whether products of both signs occur, so that shares exceed 100 %."""
        if self.absolute is not None:
            return self.absolute > abs(float(np.ravel(self.total)[0])) * CANCELLED
        return any(p.share is not None and not -1e-9 <= p.share <= CANCELLED for p in self.listed)

    @property
    def symbol(self) -> str:
        """The sign for the total: ``dL/dx``."""
        return f"d{self.target.name}/d{self.source.name}"

    def formula(self, *, latex: bool = False) -> str:
        """The chain rule in signs, a product for each path that is listed, largest first.

        >>> def f(x, w):
        ...     z = x * w
        ...     return x**2 + x * np.sin(z)
        >>> ad.explain(f, 1.5, 0.5).paths("x", group=("z",)).formula()
        'dv7/dx = ∂v7/∂x + ∂v7/∂z · ∂z/∂x'
        """
        between, steps = (r" \, ", r"\mbox{ factors}") if latex else (" \u00b7 ", "factors")
        texts = [joined(p.edges[::-1], lambda e: e.symbol_latex if latex else e.symbol, between,
                        steps) or "1" for p in self.listed]
        if len(texts) < self.count:
            texts.append(r"\cdots" if latex else "\u2026")
        left = rf"\frac{{d {self.target.latex}}}{{d {self.source.latex}}}" if latex else self.symbol
        return f"{left} = {' + '.join(texts) or '0'}"

    # ---- printing

    @property
    def notes(self) -> list[str]:
        """What is to be known about the list: counts, cancellation, the order."""
        many = "1 path" if self.count == 1 else f"{shown(self.count)} paths"
        found = [f"{many} from {self.source.name} to {self.target.name}"]
        if not self.count:
            return [f"no path: {self.target.name} does not depend on {self.source.name}"]
        left = self.count - len(self.listed)
        if left:
            found[0] += (f"; the {len(self.listed)} largest are listed, the other {shown(left)} "
                         "add up to the rest")
        if not self.exact:
            found.append("between arrays these are large ones, not surely the largest: a matrix "
                         "may turn the order of two products around")
        if self.target.step is self.graph.record.output:
            found += bypassed(self.graph.flows, self.graph.members,
                              f"{self.symbol} is the derivative, the adjoint another number")
        if np.any(self.seed_number() != 1):
            found.append(f"each product begins with the cotangent {shown(self.seed_number())}")
        return found + self.note_on_shares()

    def note_on_shares(self) -> list[str]:
        """What the shares say."""
        if not np.all(np.isfinite(self.total)):
            return ["the total is not finite, so there are no shares"]
        if not np.any(self.total):
            zero = self.absolute == 0 or not any(p.norm for p in self.listed)
            return ["the total is 0: " + ("every path carries 0" if zero else
                                          "the paths cancel each other") + "; there are no shares"]
        if self.cancels:
            size = "" if self.absolute is None else (
                f": without signs they are {shown(self.absolute)}")
            found = f"paths of opposite sign cancel, so shares are negative or exceed 100 %{size}"
            return [found]
        return []

    def seed_number(self) -> Any:
        """The cotangent where it is not the identity that everything begins with."""
        seed = np.asarray(self.seed)
        return np.ones(()) if seed.ndim == 2 and len(seed) > 1 else np.squeeze(seed)

    def sheet(self) -> Sheet:
        """The paths as a table: the path, its factors as formulas and numbers, product, share."""
        columns = [Column("path", kind="math"), Column("factors", kind="math"),
                   Column("numbers", kind="math"), Column("product", kind="number"),
                   *([Column("norm", kind="number")] if np.ndim(self.total) else []),
                   Column("share", kind="number")]
        rows = [self.row(p) for p in self.listed]
        if self.count > len(self.listed):
            rows.append({"path": Cell(None, f"the other {shown(self.count - len(self.listed))}",
                                      rf"\mbox{{the other {shown(self.count - len(self.listed))}}}",
                                      "muted"),
                         "product": self.rest, "share": percent(share_of(self.rest, self.total))})
        share = share_of(self.total, self.total)
        footer = {"path": Cell(None, self.symbol, self.formula(latex=True).partition(" = ")[0]),
                  "product": self.total, "share": percent(share)}
        seen = [t for p in self.listed if len(p) <= FACTORS for t in (*p.names, *p.formulas)]
        return Sheet(f"Paths from {self.source.name} to {self.target.name}", columns, rows,
                     self.notes + meanings(self.graph.record, seen), footer)

    def row(self, p: Path) -> dict[str, Any]:
        """The cells of one path."""
        cells = {"path": Cell(None, p.text, p.latex),
                 "factors": formulas(p), "numbers": numbers(p), "product": p.product,
                 "share": percent(p.share)}
        return cells | ({"norm": p.norm} if np.ndim(self.total) else {})

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.listed)

    def __getitem__(self, k: int) -> Path:
        return self.listed[k]

    def __str__(self) -> str:
        return str(self.sheet())

    def __repr__(self) -> str:
        return (f"Paths from {self.source.name} to {self.target.name}: {shown(self.count)}, total "
                f"{shown(self.total)}")

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Sheet]:
        yield self.sheet()

    def _repr_html_(self) -> str:
        return self.sheet().html()


def formulas(p: Path) -> Cell:
    """The factors of a path as formulas."""
    if not p.edges:
        return Cell(None, "1", "1")
    if len(p.edges) > FACTORS:
        return Cell(None, f"{len(p.edges):,} factors", rf"\mbox{{{len(p.edges)} factors}}")
    if p.edges[0].number is None:  # matrices: their order stays, ones are identities
        return Cell(None, " \u00b7 ".join(bracketed(t) for t in p.formulas),
                    r" \cdot ".join(e.latex for e in reversed(p.edges)))
    return Cell(None, product(p.formulas),
                product([e.latex for e in reversed(p.edges)], latex=True))


def bracketed(text: str) -> str:
    """A factor in brackets where it has a sign of its own."""
    return f"({text})" if text.startswith("-") or " " in text else text


def numbers(p: Path) -> Cell:
    """The factors of a path as numbers, as shapes between arrays."""
    if not p.edges or len(p.edges) > FACTORS:
        return Cell(None, "" if p.edges else "1")
    if p.edges[0].number is None:
        return Cell(None, " \u00b7 ".join(f"{e.head.size}\u00d7{e.tail.size}"
                                          for e in reversed(p.edges)))
    return Cell(None, " \u00b7 ".join(bracketed(shown(f)) for f in p.factors))


def share_of(part: Any, total: Any) -> float | None:
    """The part of the total along its direction; None where there is none."""
    p, t = np.ravel(part), np.ravel(total)
    largest_entry = np.max(np.abs(t), initial=0.0)
    if largest_entry == 0 or not np.all(np.isfinite(t)) or not np.all(np.isfinite(p)):
        return None
    p, t = p / largest_entry, t / largest_entry  # squares neither overflow nor vanish
    return float(p @ t / (t @ t))


def percent(share: float | None) -> Cell:
    """A share as it is printed."""
    if share is None:
        return Cell(None, "\u2013")
    text = f"{100 * share:.1f} %" if abs(share) < 100 and (
        abs(share) >= 5e-4 or not share) else f"{100 * share:.1e} %"
    return Cell(share, text)


# ---- making one

@uncollected()
def paths_of(record: Record, flows: Flows, source: Any, target: Any = None, *, limit: int = LISTED,
             of: Any = None, elements: bool = False, group: Any = False, first: int = 0) -> Paths:
    """The paths from ``source`` to ``target``, see `Explanation.paths`."""
    start, start_index = resolved(record, source, first)
    end, end_index = (record.output, None) if target is None else resolved(record, target, first)
    check(start, end, limit)
    if of is not None:
        end_index = element_of(end, of)
    elements = elements or start_index is not None or (end_index is not None and end.size > 1
                                                       and of is None)
    graph = influence_of(record, flows, [start], end, elements=elements, group=group, first=first)
    tail = chosen(graph, start, start_index, "paths({0!r})")
    if elements:
        head = chosen(graph, end, end_index, f"paths({start.name!r}, {{0!r}})")
        number = 1.0 if end_index is not None or not is_seeded(flows, record, end) else (
            float(np.reshape(flows.cotangent, ())))
        return Paths(graph, tail, head, number, (), limit)
    head = graph.target[0]
    seed, lead = rows_of(record, flows, end, end_index)
    return Paths(graph, tail, head, seed, lead, limit)


def is_seeded(flows: Flows, record: Record, end: Step) -> bool:
    """Whether the target is the result and has a cotangent."""
    return end is record.output and flows.cotangent is not None


def rows_of(record: Record, flows: Flows, end: Step, index: tuple[int, ...] | None
            ) -> tuple[Any, tuple[int, ...]]:
    """What the products begin with, as rows, and the axes that come before those of the source."""
    if index is not None:
        row = np.zeros(end.shape, end.dtype)
        row[index] = 1
        return row.reshape(1, -1), ()
    if is_seeded(flows, record, end):
        return np.reshape(flows.seed, (1, -1)), ()
    return np.eye(end.size, dtype=end.dtype), end.shape


def check(start: Step, end: Step, limit: Any) -> None:
    """Raises ArgumentError for what cannot be asked."""
    for s in (start, end):
        if not s.differentiated:
            raise ArgumentError(f"paths: {s.name} is a constant here: no derivative with respect "
                                "to it is asked. Give it as a float or an array of floats")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ArgumentError(f"paths: limit={limit!r} is how many paths are listed at most, such "
                            "as limit=20")


def check_limit(limit: int, count: int, variables: int) -> None:
    """Raises ArgumentError where the list would not fit into memory."""
    if min(limit, count) * variables > HELD:
        raise ArgumentError(f"paths: to find the {min(limit, count):,} largest paths over "
                            f"{variables:,} variables takes too much memory; limit="
                            f"{max(1, HELD // variables):,} is possible")


def resolved(record: Record, name: Any, first: int) -> tuple[Step, tuple[int, ...] | None]:
    """The step, and the element of it, that a name stands for."""
    if isinstance(name, Variable):
        return name.step, name.index
    if isinstance(name, Step) or name in record.by_name:
        return record.find(name), None
    found = ELEMENT.fullmatch(str(name))
    if found and found[1] in record.by_name:
        return with_index(record.by_name[found[1]], [int(k) for k in found[2].split(",")], name)
    found = COUNTED.fullmatch(str(name)) if first else None
    base, places = (found[1] or found[3], found[2] or found[4]) if found else ("", "")
    if base in record.by_name:
        return with_index(record.by_name[base], [int(k) - first for k in places.split(",")], name)
    return record.find(name), None


def with_index(step: Step, index: list[int], name: str) -> tuple[Step, tuple[int, ...] | None]:
    """An element that exists; raises IndexingError otherwise."""
    fits = len(index) == len(step.shape) and all(
        -n <= i < n for i, n in zip(index, step.shape, strict=True))
    if not fits:
        raise IndexingError(f"there is no element {name!r}: {step.name} has shape {step.shape}")
    return step, tuple(i % n for i, n in zip(index, step.shape, strict=True))


def element_of(end: Step, of: Any) -> tuple[int, ...]:
    """The index that ``of`` stands for."""
    index = list(of) if isinstance(of, tuple) else [of]
    if not all(isinstance(i, (int, np.integer)) for i in index):
        raise ArgumentError(f"of={of!r} is the index of an element of {end.name}, such as of=0 or "
                            "of=(0, 1)")
    return with_index(end, [int(i) for i in index], f"{end.name}{index}")[1] or ()


def chosen(graph: Influence, step: Step, index: tuple[int, ...] | None, call: str) -> Variable:
    """The variable of a step, or of an element of it."""
    found = [v for v in graph.variables if v.step is step]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ArgumentError(f"elements=True: {step.name} is empty, of shape {step.shape}: there "
                            "is no element that a path could begin or end at")
    if index is None:
        raise ArgumentError(f"elements=True: {step.name} has {len(found)} elements; name one of "
                            f"them, as in e.{call.format(found[0].name)}, elements=True)".replace(
                                "), elements", ", elements"))
    return next(v for v in found if v.index == index)
