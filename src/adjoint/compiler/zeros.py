"""Rules for values whose zeros may have either sign, because nobody who reads them can tell.

A sum starts from 0, so its terms may be -0 or 0: ``0 + -0 = 0 + 0``. What only sums read, through
products, other sums and choices, need not be computed to the sign of its zeros. In a product in
which a zero wins, what has to be asked is then whether a factor is 0, and not what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .algebra import is_zero
from .branches import through, unsigned
from .editor import rule
from .facts import number_behind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .editor import Editor
    from .program import Program, Statement

DEPTH = 8  # statements between a factor and its product
# Functions of which no result depends on the sign of a zero,
BLIND = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf",
         "isfinite", "abs", "square", "exp", "exp2", "cos", "cosh", "logical_and", "logical_or",
         "logical_not", "logical_xor"}
# and of which only the sign of a zero does.
FAITHFUL = {"add", "subtract", "multiply", "negative", "positive", "maximum", "minimum", "sqrt",
            "sin", "tan", "tanh", "sinh", "arctan", "arcsin", "arcsinh", "expm1", "log1p", "erf"}
MOVED = {"view", "copy", "pad", "pick", "select"}
FROM_ZERO = {"dot", "scatter_add"}


def unsigned_zeros(program: Program, live: Sequence[int]) -> set[int]:
    """The statements that the rules here may change: those whose zeros may have either sign."""
    needed, found = {*program.outputs}, set[int]()
    for n in reversed(live):
        s = program.statements[n]
        matters = n in needed
        needed.update([i for j, i in enumerate(s.inputs)
                       if i not in needed and tells(program, s, j, matters)])
        if not matters and may_change(program, s):
            found.add(n)
    return found


def may_change(program: Program, s: Statement) -> bool:
    """Whether a statement looks like one of those that the rules are about."""
    if s.name == "select":
        return number_behind(program, s.inputs[1]) == 0 and s.known.dtype.kind == "f"
    return s.name == "elementwise" and s.parameters == ("add",) and s.known.dtype.kind == "f" and (
        any(number_behind(program, i) == 0 for i in s.inputs))


def tells(program: Program, s: Statement, j: int, matters: bool) -> bool:
    """Whether a statement tells 0 from -0 in its operand ``j``, if its own zeros matter or not."""
    if s.name in MOVED:
        return matters
    if s.name in FROM_ZERO or (s.name == "reduce" and s.parameters[0] == "add"):
        return False
    if s.name == "reduce":
        return matters or s.parameters[0] not in {"maximum", "minimum", "multiply"}
    if s.name == "cast":
        return s.known.dtype.kind == "c" or (matters and s.known.dtype.kind == "f")
    if s.name != "elementwise":
        return True
    (f,) = s.parameters
    if f == "add" and starts_from_zero(program, s.inputs[1 - j]):
        return False
    return f not in BLIND and (matters or not (f in FAITHFUL or (f == "divide" and j == 0)))


def starts_from_zero(program: Program, n: int) -> bool:
    """Whether a statement is a sum, which is never -0: so nothing that is added to it matters."""
    s = program.statements[n]
    return s.name in FROM_ZERO or (s.name == "reduce" and s.parameters[0] == "add")


@rule("unsigned", says="x + 0 = x, where -0 is as good as 0")
def zero_added(e: Editor, s: Statement) -> int | None:
    """The 0 that is added so that nothing is -0."""
    if s.parameters == ("add",):
        for x, z in (s.inputs, s.inputs[::-1]):
            if is_zero(e, z):
                return x
    return None


@rule("unsigned", says="select(x == 0 and isnan(x * z), 0, x * z) = select(x == 0, 0, x * z), too")
def zero_wins(e: Editor, s: Statement) -> int | None:
    """A product in which a zero wins: where a factor is 0 it is a zero anyway, or NaN."""
    c, zero, product = s.inputs if s.name == "select" else (-1, -1, -1)
    if not is_zero(e, zero) or e.function(c) != "logical_and":
        return None
    for at, lost in (both := e.statements[c].inputs, both[::-1]):
        if e.function(lost) == "isnan" and vanishes(e, at, product) and (
                unsigned(e, e.statements[lost].inputs[0]) == unsigned(e, product)):
            return e.select(at, zero, product)
    return None


def vanishes(e: Editor, condition: int, n: int, depth: int = DEPTH) -> bool:
    """Whether a value is certainly 0, -0 or NaN where a condition holds."""
    f, inputs = through(e, condition)
    if f in {"logical_or", "logical_and"} and depth:
        found = [vanishes(e, i, n, depth - 1) for i in inputs]
        return all(found) if f == "logical_or" else any(found)
    if f != "equal":
        return False
    return any(is_zero(e, z) and has_factor(e, n, x, DEPTH) for x, z in (inputs, inputs[::-1]))


def has_factor(e: Editor, n: int, x: int, depth: int) -> bool:
    """Whether a value is certainly 0, -0 or NaN where ``x`` is 0 or -0."""
    s, f = e.statements[n], e.function(n)
    if unsigned(e, n) == unsigned(e, x) or is_zero(e, n):
        return True
    if not depth or not (s.name == "select" or f in {"multiply", "divide", "negative", "add",
                                                     "subtract"}):
        return False
    if f == "divide":
        return has_factor(e, s.inputs[0], x, depth - 1)
    found = (has_factor(e, i, x, depth - 1) for i in s.inputs[s.name == "select":])
    return any(found) if f == "multiply" else all(found)
