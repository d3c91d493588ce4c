"""Rules that keep the digits of log(sigmoid(x)), where sigmoid rounds to 0 or to 1.

Eagerly log(sigmoid(-1000)) is -inf and its slope NaN, as IEEE 754 has it, and the doctor names
`ad.log_sigmoid`. Compiled, the plain spelling gives -1000 and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .algebra import is_zero
from .editor import rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from .editor import Editor
    from .program import Statement

    Find = Callable[[int], int | None]  # what is left of a factor; None if it is another

DEPTH = 3  # products, one in the other, that are searched


@rule("log", says="log(sigmoid(x)) = log_sigmoid(x)", stabilises=True)
def logarithm_of_sigmoid(e: Editor, s: Statement) -> int | None:
    """The logarithm of what may have rounded to 0."""
    (y,) = s.inputs
    return e.map("log_sigmoid", *e.statements[y].inputs) if e.function(y) == "sigmoid" else None


@rule("multiply", says="(c / y) (y (1 - y) d) = c ((1 - y) d) where y = sigmoid(x)",
      stabilises=True)
def slope_of_logarithm(e: Editor, s: Statement) -> int | None:
    """The chain rule through log and sigmoid, in which y would be 0 / 0."""
    for quotient, product in (s.inputs, s.inputs[::-1]):
        y = sigmoid_below(e, quotient, DEPTH)
        if y is None:
            continue
        slope = without(e, product, lambda n, y=y: complement(e, n, y), DEPTH)
        if slope is not None:
            rest = without(e, quotient, lambda n, y=y: dividend(e, n, y), DEPTH)
            return None if rest is None else e.map("multiply", rest, slope)
    return None


def sigmoid_below(e: Editor, n: int, depth: int) -> int | None:
    """The sigmoid by which a factor of a product is divided."""
    s = e.statements[n]
    if e.function(n) == "divide":
        return s.inputs[1] if e.function(s.inputs[1]) == "sigmoid" else None
    if depth and (m := factors(e, n)) is not None:
        return next((y for i in m if (y := sigmoid_below(e, i, depth - 1)) is not None), None)
    return None


def complement(e: Editor, n: int, y: int) -> int | None:
    """``1 - y``, if the statement is ``y (1 - y)``."""
    if e.function(n) == "multiply":
        for a, b in (e.statements[n].inputs, e.statements[n].inputs[::-1]):
            s = e.statements[b]
            if a == y and e.function(b) == "subtract" and s.inputs[1] == y and (
                    e.numbers.get(s.inputs[0]) == 1):
                return b
    return None


def dividend(e: Editor, n: int, y: int) -> int | None:
    """``c``, if the statement is ``c / y``."""
    s = e.statements[n]
    return s.inputs[0] if e.function(n) == "divide" and s.inputs[1] == y else None


def factors(e: Editor, n: int) -> tuple[int, ...] | None:
    """The factors of a product; also of one in which a zero wins, which asks whether it is NaN."""
    s = e.statements[n]
    if s.name == "select" and is_zero(e, s.inputs[1]) and e.function(s.inputs[0]) == "logical_and":
        n = s.inputs[2]
        asked = [e.statements[i] for i in e.statements[s.inputs[0]].inputs]
        if not any(a.parameters == ("isnan",) and a.inputs == (n,) for a in asked):
            return None
    return e.statements[n].inputs if e.function(n) == "multiply" else None


def without(e: Editor, n: int, find: Find, depth: int) -> int | None:
    """A product without one of its factors, which ``find`` knows; None if it is not there."""
    if (rest := find(n)) is not None:
        return rest
    if depth and (m := factors(e, n)) is not None:
        for a, b in (m, m[::-1]):
            rest = without(e, a, find, depth - 1)
            if rest is not None:
                return e.map("multiply", rest, b)
    return None
