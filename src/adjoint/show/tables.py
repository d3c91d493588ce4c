"""Trace tables: what was computed, and how the adjoints flow back, a line for each step.

`read` makes a `Trace` of a tape; the two tables print one. The reverse sweep here keeps what the
engine's own sweep forgets: the adjoint of every step and each contribution to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Level
from adjoint.core.careful import factor, has_nan, released
from adjoint.core.node import MODES
from adjoint.core.primitive import CONSTANT
from adjoint.core.reverse import fit, order
from adjoint.errors import ArgumentError, GraphError

from .numbers import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from adjoint.core.node import Node
    from adjoint.tensors import Tensor

BAR = "\u0304"  # combining: v and this is v with a bar, the usual sign of an adjoint


@dataclass(frozen=True)
class Step:
    """A line of the forward trace: ``name = text = value``."""

    node: Node
    name: str
    text: str
    value: Any


@dataclass(frozen=True)
class Contribution:
    """A line of the reverse trace: what one use of ``target`` adds to its adjoint.

    ``amount`` is the adjoint of ``source`` times ``partial``, whose value is ``slope`` (None where
    it is no single number); ``total`` is the adjoint of ``target`` so far, and ``first`` says
    whether this is the first part of it.
    """

    target: Node
    source: Node
    partial: str
    slope: Any
    amount: Any
    total: Any
    first: bool


@dataclass(frozen=True)
class Trace:
    """A recorded computation: its steps in order, and the contributions of the sweep back."""

    steps: list[Step]
    names: dict[Node, str]
    contributions: list[Contribution]
    adjoints: dict[Node, Any]
    output: Node


def read(nodes: Sequence[Node], inputs: Mapping[str, Tensor], output: Tensor) -> Trace:
    """The trace of a tape (`ad.tape`): ``inputs`` are its leaves by name, ``output`` its result.

    Raises GraphError if the output or a step behind it was not recorded on the tape, or the graph
    is freed, and ArgumentError for a leaf that ``inputs`` do not name.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.tape() as nodes:
    ...     y = np.log(x) * x
    >>> trace = ad.show.read(nodes, {"x": x}, y)
    >>> [(step.name, step.text) for step in trace.steps]
    [('v1', 'x'), ('v2', 'ln(v1)'), ('v3', 'v2 * v1')]
    >>> round(float(trace.adjoints[x.node]), 3)
    1.693
    """
    if output.node is None:
        raise GraphError("the result was not recorded: no input requires a gradient, or it was "
                         "computed under no_grad()")
    used = order([output.node])
    reached = set(used)
    names: dict[Node, str] = {}
    steps: list[Step] = []
    for text, x in inputs.items():
        if x.node is not None and x.node not in names:
            names[x.node] = f"v{len(names) + 1}"
            steps.append(Step(x.node, names[x.node], text, x.value))
    for n in used[::-1]:
        if n.prim is CONSTANT:
            names[n] = shown(n.value)
        elif not n.inputs and n not in names:
            raise ArgumentError(f"show.read: a leaf of shape {n.aval.shape} has no name; write "
                                '{"x": x, ...} with all tensors that require gradients')
    for n in nodes:
        if n in reached:
            names[n] = f"v{len(steps) + 1}"
            steps.append(Step(n, names[n], written(n, n.prim.label.text, names), n.value))
    if missing := [n for n in used if n not in names]:
        raise GraphError(f"show.read: {missing[-1].prim} was computed before the tape began; write "
                         "all steps inside `with ad.tape() as nodes:`")
    contributions, adjoints = sweep_back(output.node, names)
    return Trace(steps, names, contributions, adjoints, output.node)


def sweep_back(output: Node, names: Mapping[Node, str]
               ) -> tuple[list[Contribution], dict[Node, Any]]:
    """The reverse sweep, newest step first, with every contribution written down."""
    adjoints: dict[Node, Any] = {output: np.ones(output.aval.shape, output.aval.dtype)[()]}
    lines: list[Contribution] = []
    for n in order([output]):
        if not n.inputs or n not in adjoints:
            continue
        needs = tuple([i.prim is not CONSTANT for i in n.inputs])
        xs = [i.aval if i.value is None else i.value for i in n.inputs]
        parts, slopes = pulled(n, adjoints[n], xs, needs), (None,) * len(xs)
        if all(getattr(a, "shape", None) == () for a in (n.aval, *[i.aval for i in n.inputs])):
            slopes = pulled(n, n.aval.dtype.type(1), xs, needs)
        for k, (source, part, slope) in enumerate(zip(n.inputs, parts, slopes, strict=True)):
            if part is None or source.prim is CONSTANT:
                continue
            amount, before = fit(part, source.aval, n.prim), adjoints.get(source)
            total = amount if before is None else before + amount
            adjoints[source] = total
            text = partial(n, k, names)
            lines.append(Contribution(source, n, text, slope, amount, total, before is None))
    return lines, adjoints


def pulled(n: Node, dy: Any, xs: Sequence[Any], needs: tuple[bool, ...]) -> tuple[Any, ...]:
    """The cotangents that one step gives back, as the engine's sweep has them.

    A zero downstream cancels what is not finite (`core/careful.py`).
    """
    def pull(dy: Any) -> Any:
        with np.errstate(all="ignore"):  # an infinite partial is meant
            return n.prim.vjp(dy, n.value, *xs, needs, **n.params)
    parts = pull(dy)
    if MODES.get().strict or n.prim.effects == "callback" or not any(map(has_nan, parts)):
        return parts
    with Level() as level:
        return tuple([released(part, level) for part in pull(factor(dy, level, downstream=True))])


# ---- text

def written(n: Node, text: str, names: Mapping[Node, str]) -> str:
    """A label with the names of the arguments filled in."""
    arguments = [names.get(i, "?") for i in n.inputs]
    if not text:
        return f"{n.prim}({', '.join(arguments)})"
    params = {k: indexed(v) if k == "key" else v for k, v in n.params.items()}
    return text.format(*arguments, y=names.get(n, "y"), **params)


def indexed(key: Any) -> str:
    """An index as one types it: ``1:, 0`` for ``(slice(1, None), 0)``."""
    if isinstance(key, tuple):
        return ", ".join(map(indexed, key))
    if isinstance(key, slice):
        parts = ["" if p is None else str(p) for p in (key.start, key.stop, key.step)]
        return ":".join(parts if parts[2] else parts[:2])
    return "..." if key is Ellipsis else "None" if key is None else shown(key)


def partial(n: Node, position: int, names: Mapping[Node, str]) -> str:
    """The partial derivative of a step by one argument, as plain text."""
    texts = n.prim.label.partials
    if position < len(texts) and texts[position]:
        return plain(written(n, texts[position], names))
    return f"\u2202{names[n]}/\u2202{names[n.inputs[position]]}"


GROUP = r"\{([^{}]*)\}"
WORD = r"-?(?:\d+(?:\.\d+)?|[A-Za-z]\w*(?:\([^()]*\))?)"
LATEX = (
    (r"\\(?:mathrm|operatorname)" + GROUP, r" \1 "), (r"\\sqrt" + GROUP, r"sqrt(\1)"),
    (r"\^" + GROUP, lambda m: f"^{enclosed(m[1])}"),
    (r"\\frac" + GROUP + GROUP, lambda m: f"{enclosed(m[1])}/{enclosed(m[2])}"))
SIGNS = {r"\sigma": "\u03c3", r"\ne": "\u2260", r"\le": "\u2264", r"\ge": "\u2265",
         r"\neg": "not ", r"\top": "T", r"\cdot": "\u00b7", r"\lfloor": "\u230a",
         r"\rfloor": "\u230b", r"\left": "", r"\right": ""}


def enclosed(text: str) -> str:
    """``text``, in brackets unless it is one word or one call."""
    return text if re.fullmatch(WORD, text) else f"({text})"


def plain(text: str) -> str:
    """LaTeX of a partial derivative as plain text."""
    before = ""
    while before != text:
        before = text
        for pattern, replacement in LATEX:
            text = re.sub(pattern, replacement, text)
    text = text.replace(r"\,", " ")
    for sign, replacement in SIGNS.items():
        text = re.sub(re.escape(sign) + r"(?![a-z])", replacement, text)
    text = re.sub(r"(?<=\w)\\", " ", text)  # y\ln x: two words
    return " ".join(re.sub(r"[\\{}]", "", text).split())


def barred(name: str) -> str:
    """v1 with a bar over the v."""
    return name[0] + BAR + name[1:]


# ---- the tables

def forward_table(trace: Trace) -> Table:
    """The forward trace as a `rich` table: each step with its formula and its value.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.tape() as nodes:
    ...     y = np.log(x) * x
    >>> ad.show.forward_table(ad.show.read(nodes, {"x": x}, y)).row_count
    3
    """
    table = _empty("Forward: values", ("step", "formula", "value"))
    for step in trace.steps:
        add(table, step.name, step.text, shown(step.value))
    return table


def reverse_table(trace: Trace) -> Table:
    """The reverse trace as a `rich` table: each contribution to an adjoint, by the chain rule.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> with ad.tape() as nodes:
    ...     y = np.log(x) * x
    >>> ad.show.reverse_table(ad.show.read(nodes, {"x": x}, y)).row_count
    4
    """
    table = _empty("Reverse: adjoints", ("step", "chain rule", "numbers", "value"))
    names = trace.names
    seed = shown(trace.adjoints[trace.output])
    add(table, barred(names[trace.output]), "the result itself", "", seed)
    for line in trace.contributions:
        name = barred(names[line.target])
        rule = f"{barred(names[line.source])} \u00b7 {enclosed(line.partial)}"
        numbers = ""
        if line.slope is not None:
            slope = shown(line.slope)
            numbers = f"{shown(trace.adjoints[line.source])} \u00b7 {enclosed(slope)}"
        if not line.first:
            rule = f"{name} + {rule}"
            numbers = numbers and f"{shown(line.total - line.amount)} + {numbers}"
        add(table, name, rule, numbers, shown(line.total))
    return table


def add(table: Table, *cells: str) -> None:
    """A row of text as it stands: brackets in it are not `rich` markup."""
    from rich.text import Text
    table.add_row(*map(Text, cells))


def _empty(title: str, columns: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=True)
    return table
