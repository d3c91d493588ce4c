"""Rules of select: branches that cannot be taken, that agree, or that a zero decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .algebra import evaluated, is_zero
from .editor import rule, same_bits
from .facts import finite
from .finiteness import finite_where

if TYPE_CHECKING:
    from .editor import Editor
    from .program import Statement

DEPTH = 4  # statements between a select and one of the same condition inside it
TREE = 12  # statements of a branch that are evaluated


@rule("select", says="select(True, x, z) = x; select(c, x, x) = x")
def decided(e: Editor, s: Statement) -> int | None:
    """A choice that is made, or of two equal things."""
    c, x, z = s.inputs
    v = e.numbers.get(c)
    if v is not None:
        return x if v else z
    one, other = e.numbers.get(x), e.numbers.get(z)
    equal = x == z or (one is not None and other is not None and same_bits(one, other))
    return x if equal else None


@rule("select", says="select(not c, x, z) = select(c, z, x)")
def turned(e: Editor, s: Statement) -> int | None:
    """A negation that the order of the branches can take."""
    c, x, z = s.inputs
    return e.select(e.statements[c].inputs[0], z, x) if (
        e.function(c) == "logical_not" and e.known(e.statements[c].inputs[0]).dtype == np.bool_
        ) else None


@rule("select", says="select(c, True, False) = c")
def truth_itself(e: Editor, s: Statement) -> int | None:
    """A choice between True and False."""
    c, x, z = s.inputs
    if s.known.dtype != np.bool_ or x not in e.numbers or z not in e.numbers:
        return None
    return c if e.numbers[x] else e.map("logical_not", c)


@rule("select", says="select(c, x, f(select(c, y, z))) = select(c, x, f(z))")
def decided_above(e: Editor, s: Statement) -> int | None:
    """A choice inside a branch that the same condition has made already."""
    c, x, z = s.inputs
    first, second = under(e, x, c, True, DEPTH), under(e, z, c, False, DEPTH)
    return None if first == x and second == z else e.select(c, first, second)


def under(e: Editor, n: int, condition: int, holds: bool, depth: int) -> int:
    """A branch where the condition is known to hold, or not to."""
    s = e.statements[n]
    if n == condition or opposite(e, n) == condition:
        return e.splat(np.bool_(holds == (n == condition)), s.known.shape)
    if not depth or s.name not in {"elementwise", "cast", "select"}:
        return n
    if s.name == "select" and s.inputs[0] == condition:
        return under(e, s.inputs[1 if holds else 2], condition, holds, depth - 1)
    if not e.alone(n):
        return n
    inputs = tuple([under(e, i, condition, holds, depth - 1) for i in s.inputs])
    return n if inputs == s.inputs else e.made(s.name, inputs, s.parameters, s.known)


def opposite(e: Editor, n: int) -> int | None:
    """The condition of which this is the negation, if it is one."""
    s = e.statements[n]
    if e.function(n) == "logical_not":
        return s.inputs[0]
    if e.function(n) != "not_equal":
        return None
    return e.program.numbers.get(("elementwise", s.inputs, ("equal",)))


@rule("select", says="select(x == 0, x * 0.5, x / 2) = x / 2: at x = 0 both are the same")
def agree_where_taken(e: Editor, s: Statement) -> int | None:
    """A branch that is taken where x is one number only, where the other branch agrees."""
    c, taken, other = s.inputs
    if e.function(c) != "equal":
        return None
    x, k = e.statements[c].inputs
    if x in e.numbers:
        x, k = k, x
    if k not in e.numbers or x in e.numbers or e.known(x).dtype.kind != "f":
        return None
    at = e.numbers[k]
    for value in (at, -at) if at == 0 else (at,):
        one, two = Tree(e, x, value).value(taken), Tree(e, x, value).value(other)
        if one is None or two is None or not same_bits(one, two):
            return None
    return other


class Tree:
    """A few statements evaluated on one number in the place of one of them."""

    def __init__(self, e: Editor, x: int, value: Any) -> None:
        self.e, self.found, self.left = e, {x: value}, TREE

    def value(self, n: int) -> Any:
        """The number that a statement is there; None if it depends on anything else."""
        e = self.e
        if n in self.found:
            return self.found[n]
        if n in e.numbers:
            return e.numbers[n]
        s = e.statements[n]
        self.left -= 1
        if self.left < 0 or s.name not in {"elementwise", "cast", "select"}:
            return None
        inputs: list[Any] = []
        for i in s.inputs:
            inputs.append(self.value(i))
            if inputs[-1] is None:
                return None
        self.found[n] = np.asarray(evaluated(s, inputs), s.known.dtype)[()]
        return self.found[n]


@rule("select", says="select(x == 0 and not isfinite(z), 0, x * z): z is finite or not by x * z")
def annihilated(e: Editor, s: Statement) -> int | None:
    """The product in which a zero wins: that it did is seen in the product, which is NaN.

    Where x is 0, x z is NaN exactly if z is not finite. So z itself need not be looked at, which
    takes two statements fewer.
    """
    c, zero, product = s.inputs
    if not is_zero(e, zero) or e.function(product) != "multiply" or e.function(c) != "logical_and":
        return None
    at_zero, infinite = e.statements[c].inputs
    if through(e, at_zero)[0] == "logical_not":
        at_zero, infinite = infinite, at_zero
    f, (one, *zeros) = through(e, at_zero)
    g, (inner, *_) = through(e, infinite)
    h, (other, *_) = through(e, inner)
    if (f, g, h) != ("equal", "logical_not", "isfinite") or not is_zero(e, *zeros):
        return None
    factors = {unsigned(e, i) for i in e.statements[product].inputs}
    if factors != {unsigned(e, one), unsigned(e, other)}:
        return None
    lost = e.map("isnan", product)
    return e.select(e.map("logical_and", at_zero, lost), zero, product)


@rule("select", says="select(x == 0, 0 where x * (1 / z) is NaN, x / z) asks 1 / z, not x")
def annihilated_quotient(e: Editor, s: Statement) -> int | None:
    """The quotient in which a zero wins: 0 times 1 / z is NaN exactly if 1 / z is not finite.

    Where x is 0 and 1 / z finite, x / z is the same zero as the product. What is asked of 1 / z
    does not depend on x, and is asked once where z is one number for many.
    """
    c, taken, quotient = s.inputs
    x, *zeros = e.statements[c].inputs if e.function(c) == "equal" else (-1,)
    if not zeros or not is_zero(e, *zeros) or e.function(quotient) != "divide" or (
            e.statements[taken].name != "select"):
        return None
    lost, zero, product = e.statements[taken].inputs
    numerator, z = e.statements[quotient].inputs
    if numerator != x or not is_zero(e, zero) or e.function(product) != "multiply" or (
            e.function(lost) != "isnan" or e.statements[lost].inputs != (product,)):
        return None
    for one, inverse in (pair := e.statements[product].inputs, pair[::-1]):
        f, parts = through(e, inverse)
        if one == x and f == "divide" and parts[1] == z and e.numbers.get(parts[0]) == 1:
            finite_there = e.map("isfinite", inverse)
            lost = e.map("logical_and", c, e.map("logical_not", finite_there))
            return e.select(lost, zero, quotient)
    return None


@rule("logical_and", says="x == 0 and isnan(x * z) is False if z is finite, or wherever x is")
def never_lost(e: Editor, s: Statement) -> int | None:
    """Whether a zero meets what is not finite, of a factor that cannot be such."""
    for at_zero, lost in (s.inputs, s.inputs[::-1]):
        product = e.statements[lost].inputs[0] if e.function(lost) == "isnan" else lost
        if product == lost or e.function(product) != "multiply":
            continue
        f, (one, *zeros) = through(e, at_zero)
        factors = e.statements[product].inputs
        if f != "equal" or not is_zero(e, *zeros) or unsigned(e, one) not in {
                unsigned(e, i) for i in factors}:
            continue
        others = [i for i in factors if unsigned(e, i) != unsigned(e, one)]
        if all(finite(e, i) for i in others) or all(finite_where(e, i, one) for i in others):
            return e.splat(np.False_, s.known.shape)
    return None


@rule("reduce", says="a sum of x * z, but 0 where x is 0 and that is NaN: 0 wherever x is 0")
def annihilated_sum(e: Editor, s: Statement) -> int | None:
    """Where a zero wins and x is 0, the product is 0 or -0, which a sum does not tell apart.

    Not where somebody else reads the terms: then they are made anyway.
    """
    op, axes = s.parameters
    term = unsigned(e, s.inputs[0])
    choice = e.statements[term]
    if op != "add" or not (e.alone(term) and e.alone(s.inputs[0])) or (
            choice.name != "select" or not is_zero(e, choice.inputs[1])) or (
            e.function(choice.inputs[0]) != "logical_and"):
        return None
    c, zero, product = choice.inputs
    for at_zero, lost in (both := e.statements[c].inputs, both[::-1]):
        f, (one, *zeros) = through(e, at_zero)
        if f == "equal" and is_zero(e, *zeros) and e.function(lost) == "isnan" and (
                e.statements[lost].inputs == (product,)) and e.function(product) == "multiply" and (
                unsigned(e, one) in {unsigned(e, i) for i in e.statements[product].inputs}):
            x = e.select(at_zero, zero, product)
            return e.reduce(op, x if term == s.inputs[0] else e.map("negative", x), axes)
    return None


@rule("select", says="a product is 0 where it is NaN and one of two factors is 0: asked at once")
def annihilated_either_way(e: Editor, s: Statement) -> int | None:
    """``select(c, select(lost, 0, p), select(d and lost, 0, p))``: lost where c or d hold."""
    c, x, z = s.inputs
    one, other = e.statements[x], e.statements[z]
    if one.name != "select" or other.name != "select" or one.inputs[1:] != other.inputs[1:]:
        return None
    lost, both = one.inputs[0], e.statements[other.inputs[0]]
    if e.function(other.inputs[0]) != "logical_and" or lost not in both.inputs:
        return None
    d = both.inputs[0] if both.inputs[1] == lost else both.inputs[1]
    either = e.map("logical_and", e.map("logical_or", c, d), lost)
    return e.select(either, *one.inputs[1:])


def through(e: Editor, n: int) -> tuple[str, tuple[int, ...]]:
    """A scalar function and its operands, also where a view stands before them."""
    s = e.statements[n]
    if s.name != "view" or n in e.numbers:
        return e.function(n), s.inputs or (n,)
    index, shape = s.parameters
    inner = s.inputs[0]
    if not e.function(inner):  # its operands are of other shapes, which the view is not of
        return "", (n,)
    return e.function(inner), tuple([e.view(i, index, shape) for i in e.statements[inner].inputs])


def unsigned(e: Editor, n: int) -> int:
    """What is negated, where something is."""
    return e.statements[n].inputs[0] if e.function(n) == "negative" else n
