"""Rules of the scalar functions and casts: what arithmetic keeps exactly, special values too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval

from .editor import SMALL, rule
from .facts import between, finite, never_minus_zero, wider
from .maths import MATHS
from .program import uniform

if TYPE_CHECKING:
    from .editor import Editor
    from .program import Statement

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
ROUNDED_ONCE = {"add", "subtract", "multiply", "divide", "sqrt"}
KEPT_APART = {"negative", "abs", "maximum", "minimum"}  # exact in any format
ORDERED = {"less": (0, 1), "less_equal": (0, 0), "greater": (1, 1), "greater_equal": (1, 0)}
LOGIC = {"logical_and": True, "logical_or": False}


# ---- all scalar functions, casts and selects

def evaluated(s: Statement, values: list[Any]) -> Any:
    """A scalar function, cast or select of NumPy values."""
    with np.errstate(all="ignore"):
        if s.name == "cast":
            value = values[0].real if s.parameters[0].kind != "c" else values[0]
            return np.asarray(value).astype(s.parameters[0])
        if s.name == "select":
            return np.where(*values)
        return MATHS[s.parameters[0]].numpy(*values)


@rule("elementwise", says="f(2.0) is a number")
def fold_numbers(e: Editor, s: Statement) -> int | None:
    """A function of numbers is a number, and of small constants a constant."""
    values: list[Any] = []
    for i in s.inputs:
        value = e.numbers.get(i)
        if value is None:
            return fold_arrays(e, s)
        values.append(value)
    found = np.asarray(evaluated(s, values), s.known.dtype)[()]
    return e.splat(found, s.known.shape)


def fold_arrays(e: Editor, s: Statement) -> int | None:
    """A function of small constant arrays is a constant array."""
    if s.known.size > SMALL:
        return None
    values: list[Any] = []
    for i in s.inputs:
        if e.statements[i].name not in {"const", "view"} or (value := e.array(i)) is None:
            return None
        values.append(value)
    return const_array(e, np.asarray(evaluated(s, values), s.known.dtype))


def const_array(e: Editor, value: Any) -> int:
    """A constant array: a number throughout and a ramp are known as what they are."""
    if value.size and value.dtype.kind in "biuf":
        if uniform(value):
            return e.splat(value.flat[0], value.shape)
        if value.ndim == 1 and value.dtype.kind in "iu" and (
                np.array_equal(value, np.arange(value.size))):
            return e.iota(value.shape, 0, value.dtype)
    return e.const(value)


@rule("elementwise", says="f(broadcast(x)) = broadcast(f(x))")
def behind_the_view(e: Editor, s: Statement) -> int | None:
    """A function of operands seen through one view is computed before the view, if on less."""
    first: Any = None
    for i in s.inputs:
        if i in e.numbers:
            continue
        v = e.statements[i]
        if v.name != "view":
            return None
        base = e.statements[v.inputs[0]].known
        if first is None:
            first = v.parameters[0], base.shape
            if base.size > s.known.size:
                return None
        elif first[0] != v.parameters[0] or first[1] != base.shape:
            return None
    if first is None:
        return None
    index, shape = first
    inner = [e.splat(e.numbers[i], shape) if i in e.numbers else e.statements[i].inputs[0]
             for i in s.inputs]
    known = aval(shape, s.known.dtype)
    return e.view(e.made(s.name, tuple(inner), s.parameters, known), index, s.known.shape)


@rule("elementwise", says="f(select(c, 1.0, 2.0), 3.0) = select(c, f(1.0, 3.0), f(2.0, 3.0))")
def into_the_branches(e: Editor, s: Statement) -> int | None:
    """A function of a choice between two numbers is a choice between its two values."""
    if s.name == "select":
        return None
    choice = -1
    for i in s.inputs:
        if i not in e.numbers and i != choice:
            if choice >= 0:
                return None
            choice = i
    if choice < 0:
        return None
    c = e.statements[choice]
    if c.name != "select" or c.inputs[1] not in e.numbers or c.inputs[2] not in e.numbers:
        return None
    both = [np.asarray(evaluated(s, [e.numbers[i] if i in e.numbers else e.numbers[branch]
                                     for i in s.inputs]), s.known.dtype)[()]
            for branch in c.inputs[1:]]
    return e.select(c.inputs[0], *[e.splat(v, s.known.shape) for v in both])


# ---- arithmetic

def is_zero(e: Editor, n: int) -> bool:
    """Whether it is 0 of either sign, or no float at all and 0."""
    v = e.numbers.get(n)
    return v is not None and bool(v == 0)


@rule("add", says="x + (-0.0) = x; x + 0 = x where x is never -0")
def add_nothing(e: Editor, s: Statement) -> int | None:
    """A sum with zero."""
    if e.varies(s):
        return None
    for x, z in (s.inputs, s.inputs[::-1]):
        if is_zero(e, z) and (
                not never_minus_zero(e, z) or never_minus_zero(e, x)) and s.known.dtype.kind != "c":
            return x
    return None


@rule("add", says="x + (-z) = x - z")
def add_negated(e: Editor, s: Statement) -> int | None:
    """A sum with what is negated."""
    for x, z in (s.inputs, s.inputs[::-1]):
        if e.function(z) == "negative":
            return e.map("subtract", x, e.statements[z].inputs[0])
    return None


@rule("subtract", says="x - 0.0 = x; -0.0 - x = -x; x - (-z) = x + z")
def subtract_nothing(e: Editor, s: Statement) -> int | None:
    """A difference with zero, or with what is negated."""
    x, z = s.inputs
    if e.varies(s):
        return None
    if is_zero(e, z) and s.known.dtype.kind != "c" and (
            s.known.dtype.kind != "f" or never_minus_zero(e, z)):
        return x
    if s.known.dtype.kind == "f" and is_zero(e, x) and not never_minus_zero(e, x):
        return e.map("negative", z)
    return e.map("add", x, e.statements[z].inputs[0]) if e.function(z) == "negative" else None


@rule("multiply", says="x * 1 = x; x * -1 = -x; (-x) * (-z) = x * z; (-x) * 2.0 = x * -2.0")
def multiply_by_one(e: Editor, s: Statement) -> int | None:
    """A product whose factor only changes the sign, or whose signs can be gathered."""
    if s.known.dtype.kind not in "iuf" or e.varies(s):
        return None
    for x, z in (s.inputs, s.inputs[::-1]):
        v = e.numbers.get(z)
        if v is not None and v == 1:
            return x
        if v is not None and s.known.dtype.kind == "f" and v == -1:
            return e.map("negative", x)
        if e.function(x) == "negative" and (v is not None or e.function(z) == "negative"):
            inner = e.statements[x].inputs[0]
            return e.map("multiply", inner, e.map("negative", z))
    return None


@rule("divide", says="x / 1 = x; x / 8.0 = x * 0.125")
def divide_by_power_of_two(e: Editor, s: Statement) -> int | None:
    """A quotient whose divisor has an exact reciprocal."""
    x, z = s.inputs
    v = e.numbers.get(z)
    if v is None or s.known.dtype.kind != "f" or e.known(x).dtype != s.known.dtype or e.varies(s):
        return None
    fraction, _ = np.frexp(v)
    with np.errstate(all="ignore"):
        inverse = s.known.dtype.type(1) / v
    if abs(fraction) != 0.5 or not np.isfinite(inverse) or (
            abs(inverse) < np.finfo(s.known.dtype).tiny):
        return None
    return e.map("multiply", x, e.like(x, inverse))


@rule("power", says="x ** 2 = x * x; likewise 0, 1, 3, 4, 0.5, -1 and -2")
def power_of_number(e: Editor, s: Statement) -> int | None:
    """A power with an exponent that NumPy treats apart too, or that two products can do."""
    x, z = s.inputs
    v = e.numbers.get(z)
    if v is None or s.known.dtype.kind not in "iuf":
        return None
    if v == 0:
        return e.like(x, 1)
    if v == 1:
        return x
    if v in {2, 3, 4}:
        square = e.map("multiply", x, x)
        return square if v == 2 else e.map("multiply", square, x if v == 3 else square)
    if s.known.dtype.kind != "f":
        return None
    if v == 0.5:
        return e.map("sqrt", x)
    if v in {-1, -2}:
        below = x if v == -1 else e.map("multiply", x, x)
        return e.map("divide", e.like(x, 1), below)
    return None


@rule("negative", says="-(-x) = x; -(x * 2.0) = x * -2.0")
def negate_twice(e: Editor, s: Statement) -> int | None:
    """A sign that is undone, or that a number can take."""
    inner = e.statements[s.inputs[0]]
    f = inner.parameters[0] if inner.name == "elementwise" else ""
    if f == "negative":
        return inner.inputs[0]
    if f == "multiply" and s.known.dtype.kind == "f" and e.alone(s.inputs[0]):
        for x, z in (inner.inputs, inner.inputs[::-1]):
            if z in e.numbers:
                return e.map("multiply", x, e.map("negative", z))
    return None


@rule("positive", "real", "conjugate", says="+x = x, and a real number is its own real part")
def real_already(e: Editor, s: Statement) -> int | None:
    """Functions that change complex numbers only."""
    return s.inputs[0] if e.known(s.inputs[0]).dtype.kind in "iuf" else None


@rule("abs", "isfinite", "isnan", "isinf", says="|-x| = |x|; isnan(-x) = isnan(x)")
def sign_is_lost(e: Editor, s: Statement) -> int | None:
    """What does not depend on the sign."""
    if e.known(s.inputs[0]).dtype.kind == "f" and e.function(s.inputs[0]) in {"negative", "abs"}:
        return e.map(s.parameters[0], e.statements[s.inputs[0]].inputs[0])
    return None


@rule("maximum", "minimum", "logical_and", "logical_or", says="max(x, x) = x")
def same_twice(e: Editor, s: Statement) -> int | None:
    """The larger of a value and itself."""
    return s.inputs[0] if s.inputs[0] == s.inputs[1] and (
        e.known(s.inputs[0]).dtype == s.known.dtype) else None


# ---- truth

@rule("isfinite", "isnan", "isinf", says="isfinite(x) = True where x is certainly finite")
def certainly_finite(e: Editor, s: Statement) -> int | None:
    """A question whose answer is known: of constants, of integers."""
    if e.known(s.inputs[0]).dtype.kind != "c" and finite(e, s.inputs[0]):
        return e.splat(np.bool_(s.parameters[0] == "isfinite"), s.known.shape)
    return None


@rule("less", "less_equal", "greater", "greater_equal", says="i < 0 is False for an index i >= 0")
def certainly_ordered(e: Editor, s: Statement) -> int | None:
    """A comparison of integers whose ranges do not meet."""
    x, z = [between(e, i) for i in s.inputs]
    if x is None or z is None:
        return None
    side, strict = ORDERED[s.parameters[0]]
    low, high = (x, z) if side == 0 else (z, x)  # low < high, or low <= high
    if low[1] < high[0] or (low[1] == high[0] and not strict):
        return e.splat(np.True_, s.known.shape)
    if low[0] > high[1] or (low[0] == high[1] and strict):
        return e.splat(np.False_, s.known.shape)
    return None


@rule("logical_not", says="not not c = c; not (x == z) = (x != z)")
def negated_truth(e: Editor, s: Statement) -> int | None:
    """A negation that is undone, or that a comparison can take."""
    f, inner = e.function(s.inputs[0]), e.statements[s.inputs[0]].inputs
    if f == "logical_not" and e.known(inner[0]).dtype == np.bool_:
        return inner[0]
    other = {"equal": "not_equal", "not_equal": "equal"}.get(f)
    return e.map(other, *inner) if other and e.alone(s.inputs[0]) else None


@rule("logical_and", "logical_or", says="c and True = c; c and False = False")
def decided_truth(e: Editor, s: Statement) -> int | None:
    """A conjunction with what is known."""
    if e.known(s.inputs[0]).dtype != np.bool_ or e.known(s.inputs[1]).dtype != np.bool_:
        return None
    for c, other in (s.inputs, s.inputs[::-1]):
        v = e.numbers.get(other)
        if v is not None:
            return c if bool(v) == LOGIC[s.parameters[0]] else other
    return None


# ---- casts

@rule("cast", says="a cast to the same dtype is nothing; one that loses nothing can be skipped")
def needless_cast(e: Editor, s: Statement) -> int | None:
    """A cast of what has the dtype, or of a cast that lost nothing."""
    (x,), (dtype,) = s.inputs, s.parameters
    if x in e.numbers:
        return None  # it becomes an array's number, not a Python number's
    if e.known(x).dtype == dtype:
        return x
    inner = e.statements[x]
    if inner.name != "cast":
        return None
    first = e.known(inner.inputs[0]).dtype
    to_int = dtype.kind != "f" and first.kind == "f"  # what NaN gives depends on the way
    if "c" in first.kind + dtype.kind or to_int or not wider(first, inner.parameters[0]):
        return inner.inputs[0] if first == dtype and wider(first, inner.parameters[0]) else None
    return e.cast(inner.inputs[0], dtype)


@rule("cast", says="float32(float64(x) / float64(z)) = x / z: the second rounding changes nothing")
def narrower(e: Editor, s: Statement) -> int | None:
    """Arithmetic on singles in doubles, rounded to singles, is arithmetic on singles.

    Doubles have more than twice as many digits and two, so that of sums, products, quotients and
    square roots the first rounding is harmless (Figueroa, 1995, "When is double rounding
    innocuous?").
    """
    if s.parameters[0] != FLOAT32 or e.known(s.inputs[0]).dtype != FLOAT64:
        return None
    return rounded_to_single(e, s.inputs[0])


def exact_in_single(e: Editor, n: int) -> int | None:
    """The single that a double is, exactly."""
    s = e.statements[n]
    if n in e.numbers:
        with np.errstate(all="ignore"):
            single = np.float32(e.numbers[n])
        return e.splat(single, s.known.shape) if single == e.numbers[n] else None
    if s.name == "cast":
        inner = e.known(s.inputs[0]).dtype
        return s.inputs[0] if inner == FLOAT32 else None
    if e.function(n) in KEPT_APART:
        return in_single(e, s)
    return None


def rounded_to_single(e: Editor, n: int, depth: int = 3) -> int | None:
    """A double rounded to a single, computed in singles; None if that is not the same."""
    s = e.statements[n]
    if (found := exact_in_single(e, n)) is not None:
        return found
    if n in e.numbers:
        return e.splat(np.float32(e.numbers[n]), s.known.shape)
    if s.name == "select" and depth:
        x, z = [rounded_to_single(e, i, depth - 1) for i in s.inputs[1:]]
        return None if x is None or z is None else e.select(s.inputs[0], x, z)
    return in_single(e, s) if e.function(n) in ROUNDED_ONCE else None


def in_single(e: Editor, s: Statement) -> int | None:
    """A scalar function on singles, if its operands are such, exactly."""
    inner: list[int] = []
    for i in s.inputs:
        single = exact_in_single(e, i)
        if single is None:
            return None
        inner.append(single)
    return e.map(s.parameters[0], *inner)
