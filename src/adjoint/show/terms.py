"""The chain rule term by term: what a use adds to an adjoint, and an argument to a tangent.

A `Term` is text and LaTeX of the same formula: ``v̄4 · x2`` backward, ``v̇1 · x2`` forward. Between
arrays of one shape ``⊙`` is the product element by element; what broadcasting repeated is summed
again by ``unbroadcast``. Where a step is no elementwise function its Label says what goes back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import Node

from .complexes import has_partial, partial_template, takes_real_part, takes_real_part_back
from .numbers import shown
from .typesetting import FUNCTIONS, latex_formula, latex_text
from .writing import (
    BAR,
    DOT,
    bracketed,
    derivative_text,
    filled,
    filled_latex,
    marked,
    name_latex,
    operand,
    partial_latex,
    partial_text,
    plain,
    pullback_label,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .record import Record, Step

WORDS = "|".join(sorted(FUNCTIONS | {"sign"}))
CALL = re.compile(rf"\b({WORDS}) ([^\W\d]\w*(?:\.\d+)?)(?![\w(.\[])")
SUM = re.compile(r"^-|[^\s(\[]\s[+-]\s|(?<=[\d.])[+-](?=\d)(?<!e[+-])")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
INNER = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
TIMES, EACH = " · ", " ⊙ "


class Term(NamedTuple):
    """A formula, as text and in LaTeX."""

    text: str
    latex: str


def called(text: str) -> str:
    """``cos x2`` as ``cos(x2)``, the way it is typed."""
    return CALL.sub(r"\1(\2)", text)


def is_sum(text: str) -> bool:
    """Whether a text needs brackets as a factor: a sum, a difference or a negative number."""
    before = ""
    while before != text:
        before, text = text, INNER.sub("x", text)
    return bool(SUM.search(text))


def factor(term: Term) -> Term:
    """A formula as it stands in a product."""
    return Term(f"({term.text})", rf"\left({term.latex}\right)") if is_sum(term.text) else term


def product(left: Term, right: Term, sign: str = TIMES) -> Term:
    """Two factors."""
    left, right = factor(left), factor(right)
    dot = r" \odot " if sign == EACH else r" \cdot "
    return Term(left.text + sign + right.text, left.latex + dot + right.latex)


def adjoint_name(step: Step) -> Term:
    """The sign for the adjoint of a step: v with a bar."""
    return Term(marked(step.name, BAR), name_latex(step, "bar"))


def tangent_name(step: Step) -> Term:
    """The sign for the tangent of a step: v with a dot."""
    return Term(marked(step.name, DOT), name_latex(step, "dot"))


def partial(step: Step, position: int) -> Term:
    """The local partial of a step by one of its arguments."""
    return Term(called(partial_text(step, position)), partial_latex(step, position))


def derivative(step: Step, source: Step) -> Term:
    """The sign for a partial derivative."""
    return Term(derivative_text(step, source),  # in one line, as lines of a table are low
                rf"\partial {name_latex(step)}/\partial {name_latex(source)}")


def sign_for(step: Step, slope: Term) -> str:
    """The sign between a cotangent and a partial."""
    return TIMES if not step.shape or NUMBER.fullmatch(slope.text) else EACH


def is_pointwise(step: Step, position: int) -> bool:
    """Whether the partial is a number for each element of the result."""
    label = step.row.label
    told = label.partials or not label.pullbacks  # else only what goes back has a formula
    scalar = told and step.shape == step.inputs[position].shape == ()
    return bool(step.row.elementwise or scalar) and step.picked is None and (
        has_partial(step, position))


# ---- backward

def contribution(step: Step, position: int, lead: int) -> Term:
    """What the use of an input adds to its adjoint; ``lead`` axes of adjoints are a result's."""
    made = sent_back(step, position, lead)
    return real_part(made) if takes_real_part_back(step, position) else made


def sent_back(step: Step, position: int, lead: int) -> Term:
    """The same, complex where the step is."""
    source, dy = step.inputs[position], adjoint_name(step)
    if is_pointwise(step, position):
        slope = partial(step, position)
        made = product(dy, slope, sign_for(step, slope))
        if source.shape == step.shape:
            return made
        return unbroadcast(made)
    return (None if lead else pullback(step, position, dy)) or (
        product(dy, factor_told(step, position)) if has_partial(step, position) else
        Term(f"pullback({dy.text})", rf"\mathrm{{pullback}}({dy.latex})"))


def factor_told(step: Step, position: int) -> Term:
    """The partial that the Label writes with indices, its sign where that is a map or nothing.

    Of a row that tells a pullback the partial is a part of a product of matrices.
    """
    template, label = partial_template(step, position), step.row.label
    told = template not in {"", "1"} and r"\cdot" not in template and not label.pullbacks
    return partial(step, position) if told else derivative(step, step.inputs[position])


def real_part(term: Term) -> Term:
    """The real part of a term."""
    return Term(f"Re({term.text})", rf"\mathrm{{Re}}({term.latex})")


def pullback(step: Step, position: int, dy: Term) -> Term | None:
    """What the Label says goes back to an argument; None if it says nothing."""
    template = pullback_label(step, position)
    names = [operand(i) for i in step.inputs]
    text = filled(template, step, names, step.name, dy=dy.text)
    latex = filled_latex(template, step, dy=dy.latex)
    if not text or not latex:
        return None
    made = Term(called(plain(text)), latex)
    return unbroadcast(made) if is_spread(step, position, template) else made


def unbroadcast(term: Term) -> Term:
    """Summed over what broadcasting repeated."""
    return Term(f"unbroadcast({term.text})", rf"\mathrm{{unbroadcast}}({term.latex})")


def is_spread(step: Step, position: int, template: str) -> bool:
    """Whether a product of matrices repeats this argument for each of a stack of others."""
    stacks = [s.shape[:-2] for s in step.inputs]
    return r"\top" in template and len(stacks) > 1 and (
        stacks[position] != np.broadcast_shapes(*stacks))


# ---- forward

def tangent_terms(record: Record, step: Step) -> list[Term]:
    """The terms whose sum is the tangent of a step, one for each argument that can move."""
    moving = [k for k, s in enumerate(step.inputs) if s.differentiated]
    if takes_real_part(step):
        parts = [tangent_term(record, step, k) for k in moving]
        return [real_part(Term(" + ".join(p.text for p in parts),
                               " + ".join(p.latex for p in parts)))]
    if step.is_hook:  # tangents pass it by
        return [tangent_name(step.inputs[0])]
    if set(step.row.label.partials) == {"1"} and not step.row.elementwise and (
            step.picked is None):
        found = replaced(step, moving)  # a linear map moves numbers: its tangent is itself
        return [found] if found else generic(step, moving)
    return [tangent_term(record, step, k) for k in moving]


def tangent_term(record: Record, step: Step, position: int) -> Term:
    """What the tangent of one argument adds."""
    source = step.inputs[position]
    if is_pointwise(step, position):
        slope = partial(step, position)
        return product(tangent_name(source), slope, sign_for(step, slope))
    found = replaced(step, [position]) if is_linear(record, step, position) else None
    if not found and not has_partial(step, position):
        dx = tangent_name(source)
        return Term(f"pushforward({dx.text})", rf"\mathrm{{pushforward}}({dx.latex})")
    return found or generic(step, [position])[0]


def generic(step: Step, positions: Sequence[int]) -> list[Term]:
    """Jacobians times tangents."""
    return [product(derivative(step, step.inputs[k]), tangent_name(step.inputs[k]))
            for k in positions]


def replaced(step: Step, positions: Sequence[int]) -> Term | None:
    """The formula of a step with the tangents of some arguments in their places."""
    dots = {k: tangent_name(step.inputs[k]) for k in positions}
    others = step.row.zero_wins is not None  # in a product the other factors stay
    kept = [others or s.dtype.kind not in "fc" for s in step.inputs]  # an index is no summand
    texts = [dots[k].text if k in dots else operand(s) if kept[k] else "0"
             for k, s in enumerate(step.inputs)]
    codes = [dots[k].latex if k in dots else bracketed(s) if kept[k] else "0"
             for k, s in enumerate(step.inputs)]
    label = step.row.label
    text, latex = filled(label.text, step, texts, step.name), filled_latex(label.latex, step, codes)
    return Term(text, latex) if text and latex else None


def is_linear(record: Record, step: Step, position: int) -> bool:
    """Whether a product is linear in an argument: the rule gives what the row itself gives.

    Of complex arguments a conjugate is so too, where a number is to be multiplied with nothing.
    """
    multiplies = step.row.zero_wins is not None or (
        step.row.elementwise and not has_partial(step, position))
    if not multiplies or not isinstance(step.node, Node) or step.picked is not None:
        return False
    source = step.inputs[position]
    tangent = np.cos(np.arange(1.0, source.size + 1.0)).reshape(source.shape).astype(source.dtype)
    pushed = record.rules.push(step, [tangent if k == position else None
                                      for k in range(len(step.inputs))])
    xs = [tangent if k == position else s.value for k, s in enumerate(step.inputs)]
    with np.errstate(all="ignore"):
        return bool(np.allclose(pushed, step.row.impl(*xs, **step.params), equal_nan=True))


# ---- numbers

def number(value: Any, digits: int | None) -> str:
    """A number as a factor."""
    text = shown(value, digits)
    return f"({text})" if is_sum(text) else text


def numbers(pairs: Sequence[tuple[Any, Any]], before: Any, digits: int | None, *,
            real: bool = False) -> str:
    """``5 + 1 · 0.5``: a sum of products of numbers, behind what was there before.

    With ``real`` it is the real part of the products.
    """
    parts = [number(a, digits) + TIMES + number(b, digits) for a, b in pairs]
    parts = [f"Re({' + '.join(parts)})"] if real and parts else parts
    return " + ".join([shown(before, digits), *parts] if before is not None else parts)


def hooked(dy: Any, answer: Any, digits: int | None) -> Term:
    """``hook(2) = 20``: what the user's function was given, and its answer."""
    text = f"hook({shown(np.conj(dy), digits)})"  # it sees the gradient, the conjugate
    latex = rf"\mathrm{{hook}}({latex_formula(shown(np.conj(dy), digits))})"
    if np.iscomplexobj(dy):
        text, latex = f"conj({text})", rf"\overline{{{latex}}}"
    if np.array_equal(dy, answer, equal_nan=True):
        return Term(text, latex)
    found = shown(answer, digits)
    return Term(f"{text} = {found}", f"{latex} = {latex_formula(found)}")


def named(left: Term, value: Any, digits: int | None) -> Term:
    """``∂v4/∂x1 = 5``."""
    text = shown(value, digits)
    latex = text if NUMBER.fullmatch(text) and "e" not in text else rf"\mbox{{{latex_text(text)}}}"
    return Term(f"{left.text} = {text}", f"{left.latex} = {latex}")
