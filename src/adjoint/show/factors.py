"""The factors of the chain rule as formulas, with the names of elements and of steps left out.

`factor_formula` is the partial derivative on an edge of an `Influence`, `pullback_term` what goes
back along it, with a mark where the part that was computed before stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .record import OPERATION
from .terms import TIMES, Term, called, is_pointwise, partial, pullback, sign_for, unbroadcast
from .terms import factor as scaled_by
from .terms import product as times
from .writing import INDEXED, filled, formula, lowered, name_latex, operand, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .influence import Edge, Variable
    from .record import Record, Step

MEANINGS = 8  # names of steps that are explained under a table
FORMULA = 8  # factors in a formula; the sign of the derivative stands for a longer one
ALREADY = "\ue000"  # stands for what was computed before
NAME = re.compile(r"[^\W\d]\w*(?:\.\d+)?")
SIMPLE = re.compile(r"\w+(\([^()]*\))?|\w+(\[[\d, ]*\])+|\u2202.*/\u2202.*|[\d.]+|"
                    r"\[[^\[\]]*(\[[^\[\]]*\][^\[\]]*)*\]|diag\(.*\)")
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
    parts = edge.parts if edge.added else multiplied(edge)
    texts = [factor_formula(e, latex=latex) for e in parts]
    if any(t in {e.symbol, e.symbol_latex} for t, e in zip(texts, parts, strict=True)):
        return edge.symbol_latex if latex else edge.symbol  # rather than those of steps left out
    return " + ".join(texts).replace("+ -", "- ") if edge.added else product(texts, latex=latex)


def multiplied(edge: Edge) -> list[Edge]:
    """The edges that an edge is the product of, from its head on: direct ones and sums."""
    if edge.added or not edge.parts:
        return [edge]
    return [e for part in edge.parts for e in multiplied(part)]


def direct_formula(edge: Edge, *, latex: bool) -> str:
    """The partial derivative of a step by an argument, elements named."""
    step, position = edge.head.step, edge.position
    if edge.number is None:
        return matrix_formula(edge, latex=latex)
    if step.is_hook or (edge.head.index is None and edge.tail.index is None):
        term = partial(step, position)
        return term.latex if latex else term.text
    templates = step.row.label.partials
    template = templates[position] if position < len(templates) else ""
    found = ""
    if template and step.row.elementwise:
        found = element_formula(edge.head, template, latex=latex)
    elif "{" not in template.replace("{{", "") and r"\cdot" not in template:
        found = template.format() if latex else plain(template.format())  # the same for each
        found = found if not found.isdigit() or float(found) == edge.number else ""
    if found:
        return found
    return edge.symbol_latex if latex else edge.symbol


def matrix_formula(edge: Edge, *, latex: bool) -> str:
    """The Jacobian of an array by an array, as a matrix in numerator layout."""
    step, source = edge.head.step, edge.tail.step
    sign, term = edge.symbol_latex if latex else edge.symbol, partial(step, edge.position)
    text = term.latex if latex else term.text
    if text == sign or step.size == source.size == 1:
        return text
    if step.row.elementwise or step.is_hook:
        return spread_formula(step, source, term, latex=latex)
    if term.text == "1":  # a sum, or numbers that move
        found = edge.factor
        return sign if found is None else I if is_identity(found) else (
            ones(latex) if np.all(found == 1) else sign)
    operand = next((s for s in step.inputs if s.name == term.text and len(s.shape) == 2), None)
    if operand is not None:  # a product of matrices: which side it stands on decides
        return side(edge.factor, operand, text, latex=latex) or sign
    return sign if len(source.shape) > 1 else text  # no matrix: an array of three axes


I = "I"


def ones(latex: bool) -> str:
    """The sign of a matrix of ones."""
    return r"\mathbf{1}" if latex else "ones"


def is_identity(matrix: Any) -> bool:
    """Whether a matrix is square, with ones on its diagonal and zeros beside it."""
    return matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix)))


def side(matrix: Any, operand: Step, text: str, *, latex: bool) -> str:
    """The Jacobian of a product, if it is the operand or its transpose; empty otherwise."""
    value = np.asarray(operand.value)
    if matrix is None or np.array_equal(matrix, value, equal_nan=True):
        return text if matrix is not None else ""
    turned = np.array_equal(matrix, value.T, equal_nan=True)
    return "" if not turned else rf"{text}^\top" if latex else f"{text}^T"


def spread_formula(step: Step, source: Step, term: Term, *, latex: bool) -> str:
    """The Jacobian of an elementwise step: its partials on a diagonal, or a column of them.

    What broadcasting repeats is repeated by a matrix of zeros and ones, ``broadcast``.
    """
    text, dot = term.latex if latex else term.text, r" \cdot " if latex else TIMES
    alone = is_number(step, term)
    if source.size == 1 and not alone:  # a column
        return text
    base = I if source.size == step.size else ones(latex) if source.size == 1 else (
        r"\mathrm{broadcast}" if latex else "broadcast")
    if term.text in {"1", "-1"}:
        return base if term.text == "1" else f"-{base}"
    factor = scaled_by(term) if alone else term
    text = factor.latex if latex else factor.text
    if alone:
        return text + dot + base
    diagonal = rf"\mathrm{{diag}}\left({text}\right)" if latex else f"diag({text})"
    return diagonal if base == I else diagonal + dot + base


def is_number(step: Step, term: Term) -> bool:
    """Whether the partials of an elementwise step are one number: no array stands in them."""
    arrays = [s.name for s in (step, *step.inputs) if s.size > 1]
    return "[" not in term.text and not any(name in term.text for name in arrays)


def element_formula(head: Variable, template: str, *, latex: bool) -> str:
    """A label filled in with the names of the elements that one element is computed from."""
    arguments = [element_name(head, s, latex=latex) for s in head.step.inputs]
    y = head.latex if latex else head.name
    if latex and INDEXED.search(template):
        arguments, y = [f"{{{a}}}" for a in arguments], f"{{{y}}}"
    found = filled(template, head.step, arguments, y)
    return lowered(found if latex else called(plain(found)))


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


def pullback_term(edge: Edge) -> Term | None:
    """What goes back along an edge between arrays; `ALREADY` stands for the cotangent of its head.

    None where there is no short formula: ways that are added, and rows whose Label says nothing.
    """
    found = Term(ALREADY, ALREADY)
    parts = multiplied(edge)
    if len(parts) != edge.terms:  # its parts were too many to be kept
        return None
    for part in parts:
        made = pulled_through(part.head.step, part.position, found) if part.position >= 0 else None
        if made is None:
            return None
        found = made
    return found


def pulled_through(step: Step, position: int, dy: Term) -> Term | None:
    """What one step sends back of a cotangent."""
    if not step.is_hook and not is_pointwise(step, position):
        labels = step.row.label.pullbacks
        alone = position < len(labels) and labels[position] == "{dy}"
        return pullback(step, position, dy if alone or len(dy.text) == 1 else Term(
            f"({dy.text})", f"({dy.latex})"))
    if step.is_hook:
        return dy
    slope = partial(step, position)
    made = dy if slope.text == "1" else Term(f"-{dy.text}", f"-{dy.latex}") if (
        slope.text == "-1") else times(dy, slope, sign_for(step, slope))
    if step.inputs[position].shape == step.shape:
        return made
    return unbroadcast(made)


def meanings(record: Record, texts: Iterable[str]) -> list[str]:
    """What the names stand for that the program did not give: ``v22 = f3 - y``."""
    found: dict[str, str] = {}
    for text in texts:
        for name in NAME.findall(text):
            step = record.by_name.get(name) or record.by_name.get(name.rpartition("_")[0])
            if step is not None and step.kind == OPERATION and not step.named:
                found.setdefault(step.name, f"{step.name} = {formula(step)}")
                if len(found) == MEANINGS:
                    return [f"{', '.join(found.values())}, \u2026"]
    return [", ".join(found.values())] if found else []
