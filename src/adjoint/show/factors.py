"""The factors of the chain rule as formulas, with the names of elements and of steps left out.

`factor_formula` is the partial derivative on an edge of an `Influence`, `pulled_back` what goes
back along it, with a mark where the part that was computed before stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .writing import INDEXED, filled, name_latex, operand, partial_latex, partial_text, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .influence import Edge, Variable
    from .record import Step

FORMULA = 8  # factors in a formula; the sign of the derivative stands for a longer one
ALREADY = "\ue000"  # stands for what was computed before
SIMPLE = re.compile(r"\w+(\([^()]*\))?|\w+\[[\d, ]*\]|\u2202[^ ]*|[\d.]+")
SIMPLE_LATEX = re.compile(r"\\frac\{[^+]*|[\w{}.]+|\\\w+\s*[\w{}]+")


def derivative(y: str, x: str) -> str:
    """The sign for a partial derivative in LaTeX."""
    return rf"\frac{{\partial {y}}}{{\partial {x}}}"


def factor_formula(edge: Edge, *, latex: bool = False) -> str:
    """The partial derivative on an edge, or its sign where there is no short formula."""
    if edge.position >= 0:
        return direct_formula(edge, latex=latex)
    if edge.number is None or not edge.parts or edge.terms > FORMULA:
        return edge.symbol_latex if latex else edge.symbol
    if not edge.added:
        return product([factor_formula(e, latex=latex) for e in multiplied(edge)], latex=latex)
    return " + ".join(factor_formula(e, latex=latex) for e in edge.parts).replace("+ -", "- ")


def multiplied(edge: Edge) -> list[Edge]:
    """The edges that an edge is the product of, from its head on: direct ones and sums."""
    if edge.added or not edge.parts:
        return [edge]
    return [e for part in edge.parts for e in multiplied(part)]


def direct_formula(edge: Edge, *, latex: bool) -> str:
    """The partial derivative of a step by an argument, elements named."""
    step, position = edge.head.step, edge.position
    if edge.head.index is None and edge.tail.index is None:
        return partial_latex(step, position) if latex else partial_text(step, position)
    templates = step.row.label.partials
    template = templates[position] if position < len(templates) else ""
    found = ""
    if template and step.row.elementwise:
        found = element_formula(edge.head, template, latex=latex)
    elif "{" not in template.replace("{{", ""):  # the same for every element
        found = template.format() if latex else plain(template.format())
    if found:
        return found
    return edge.symbol_latex if latex else edge.symbol


def element_formula(head: Variable, template: str, *, latex: bool) -> str:
    """A label filled in with the names of the elements that one element is computed from."""
    arguments = [element_name(head, s, latex=latex) for s in head.step.inputs]
    y = head.latex if latex else head.name
    if latex and INDEXED.search(template):
        arguments, y = [f"{{{a}}}" for a in arguments], f"{{{y}}}"
    found = filled(template, head.step, arguments, y)
    return found if latex else plain(found)


def element_name(head: Variable, source: Step, *, latex: bool) -> str:
    """The name of the element of ``source`` that meets the element ``head`` of the result."""
    if source.size == 1:
        return name_latex(source) if latex else operand(source)
    where = np.broadcast_to(np.arange(source.size).reshape(source.shape), head.step.shape)
    index = np.unravel_index(int(where[head.index or ()]), source.shape)
    v = type(head)(source, tuple(map(int, index)), head.first)
    return v.latex if latex else v.name


def product(texts: Sequence[str], *, latex: bool = False) -> str:
    """A product of formulas: ones left away, brackets where they are needed."""
    factors = [t for t in texts if t != "1"]
    if not factors:
        return "1"
    if len(factors) == 1:
        return factors[0]
    simple = SIMPLE_LATEX if latex else SIMPLE
    done = [t if simple.fullmatch(t.removeprefix("-") if not k else t) else
            rf"\left({t}\right)" if latex else f"({t})" for k, t in enumerate(factors)]
    return (r" \cdot " if latex else " \u00b7 ").join(done)


def pulled_back(edge: Edge, *, latex: bool = False) -> str:
    """What goes back along an edge between arrays; `ALREADY` stands for the cotangent of its head.

    Empty where there is no short formula.
    """
    text = ALREADY
    for part in along(edge):
        step, k = part.head.step, part.position
        source = step.inputs[k]
        labels = step.row.label.pullbacks
        found = pullback(step, labels[k], text, latex=latex) if k < len(labels) else ""
        if not found:
            if not step.row.elementwise:
                return ""
            factor = factor_formula(part, latex=latex)
            found = text if factor == "1" else scaled(text, factor, step, latex=latex)
            if source.shape != step.shape:
                found = rf"\mathrm{{sum}}({found})" if latex else f"sum({found})"
        text = found
    return text


def pullback(step: Step, template: str, dy: str, *, latex: bool) -> str:
    """A pullback's label filled in."""
    if not template:
        return ""
    names = [name_latex(s) if latex else operand(s) for s in step.inputs]
    y = name_latex(step) if latex else step.name
    if INDEXED.search(template):
        names, y, dy = [f"{{{n}}}" for n in names], f"{{{y}}}", f"{{{dy}}}"
    found = filled(template, step, names, y, dy=dy)
    return found if latex else plain(found)


def scaled(dy: str, factor: str, step: Step, *, latex: bool) -> str:
    """A cotangent times a partial derivative, element by element."""
    if factor == "-1":
        return f"-{dy}"
    factor = f"({factor})" if re.search(r"[+\-/ ]", factor) and not factor.startswith(
        ("\\", "\u2202")) else factor
    sign = (r" \odot " if latex else " \u2299 ") if step.shape else (
        r" \cdot " if latex else " \u00b7 ")
    return f"{dy}{sign}{factor}"


def along(edge: Edge) -> list[Edge]:
    """The direct edges that an edge is the product of, from its head on; none if it is a sum."""
    if edge.position >= 0:
        return [edge]
    if edge.added or not edge.parts or edge.terms > FORMULA:
        return []
    found: list[Edge] = []
    for part in edge.parts:
        inner = along(part)
        if not inner:
            return []
        found += inner
    return found
