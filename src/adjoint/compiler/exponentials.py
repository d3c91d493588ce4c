"""Exponentials of vectors, and functions made of them: tanh, sigmoid, erf.

Reduction as Cody and Waite describe it (Software Manual for the Elementary Functions, 1980):
``x = n ln 2 + r`` with ln 2 in two parts. Where one rounding more would exceed 1 ulp, a value is
carried as a pair of numbers, an unevaluated sum.
"""

from __future__ import annotations

from typing import NamedTuple

from . import intervals
from . import polynomials as table
from .lanes import (
    Pair,
    Value,
    at_least,
    at_most,
    exact_product,
    exact_sum,
    multiply_add,
    ordered_sum,
    polynomial,
    quotient,
    times_constant,
)

# Beyond these, e^x is 0 or infinite in the format; the scale below still represents e^LEAST.
LEAST, GREATEST = {"f32": -104.0, "f64": -746.0}, {"f32": 89.0, "f64": 710.0}
# tanh is 1 from here on, and e^-2x far below the rounding of 1.
SATURATED = {"f32": 10.0, "f64": 20.0}
# erf is 1 from here on.
FLAT = {"f32": 4.0, "f64": 6.0}
# erfc is 0 from here on.
VANISHED = {"f32": 10.1, "f64": 27.3}


class Reduced(NamedTuple):
    """``x = n ln 2 + r``: n is in the bits of ``shifted``, ``e^r = 1 + high + rest``."""

    shifted: Value
    high: Value
    rest: Value


def reduced(x: Value, more: Value | None = None) -> Reduced:
    """The exponential of ``x + more``, its argument cut to ``|r| <= ln(2)/2``."""
    shifted, a = cut(x)
    low = (shifted - x.format.shift) * table.LN2[x.kind][1]
    r = a - low
    low = (a - r) - low
    if more is not None:
        r, low = ordered_sum(r, low + more)
    square = r * r
    cubic = multiply_add(square * r, polynomial(r, table.EXP[x.kind][1:]), low)
    return Reduced(shifted, r, multiply_add(square, 0.5, cubic))


def cut(x: Value) -> Pair:
    """``n`` in the bits of the first, and ``x - n ln 2`` but for the last digits of ln 2."""
    shifted = multiply_add(x, table.INVERSE_LN2[x.kind][0], x.format.shift)
    return shifted, multiply_add(shifted - x.format.shift, -table.LN2[x.kind][0], x)


def exp_reduced(x: Value, digits: str = "") -> Pair:
    """``n`` in the bits of the first, and ``e^(x - n ln 2)``, rounded a little more than once.

    ``digits`` is the format that the polynomial is good for, if not that of x.
    """
    shifted, a = cut(x)
    r = multiply_add(shifted - x.format.shift, -table.LN2[x.kind][1], a)
    return shifted, (r + (r * r) * polynomial(r, table.EXP[digits or x.kind])) + 1.0


def power_of_two(shifted: Value, offset: int = 0) -> Value:
    """``2^(n + offset)`` where that is a normal number; n is in the low bits."""
    f = shifted.format
    return ((shifted.bits + (f.bias + offset)) << f.mantissa).number


def scaled(x: Value, shifted: Value) -> Value:
    """``x 2^n`` for any n, else in two steps: the result may be subnormal or infinite.

    The bits of the number that rounds to integers are 0 where the shift leaves them.
    """
    if x.block.tables:
        return x.block.masked("scalef", x, shifted - x.format.shift)
    f, n = x.format, shifted.bits
    half = n >> 1
    first, second = [((part + f.bias) << f.mantissa).number for part in (half, n - half)]
    return (x * first) * second


def exp(x: Value) -> Value:
    """``e^x``."""
    if x.block.tables:
        return intervals.exp(x)
    x = at_least(at_most(x, GREATEST[x.kind]), LEAST[x.kind])
    shifted, y = exp_reduced(x)
    return scaled(y, shifted)


def exp_of_pair(high: Value, low: Value) -> Value:
    """``e^(high + low)``; where it overflows or vanishes, the second term is left out."""
    inside = at_least(at_most(high, GREATEST[high.kind]), LEAST[high.kind])
    low = inside.compare("oeq", high).choose(low, 0.0)
    r = reduced(inside, low)
    one, left = ordered_sum(high.like(1.0), r.high)
    return scaled(one + (left + r.rest), r.shifted)


def exp2(x: Value) -> Value:
    """``2^x``."""
    f = x.format
    x = at_least(at_most(x, f.bias + 1.0), -(f.bias + f.mantissa + 4.0))
    shifted = x + f.shift
    part = x - (shifted - f.shift)
    high, low = ordered_sum(*times_constant(part, table.LN2[x.kind]))
    rest = (high * high) * polynomial(high, table.EXP[x.kind])
    return scaled((high + (rest + low)) + 1.0, shifted)


def exp_below(x: Value) -> Pair:
    """``e^x`` for ``x <= 0`` as a pair, the second term at most a rounding of the first."""
    r = reduced(at_least(x, LEAST[x.kind]))
    one, left = ordered_sum(x.like(1.0), r.high)
    y, error = ordered_sum(one, left + r.rest)
    return scaled(y, r.shifted), scaled(error, r.shifted)


def expm1_halved(x: Value, below: bool) -> Pair:
    """``(e^x - 1) / 2`` as a pair; 2^n is halved, lest it overflow where e^x does not.

    ``below`` says that ``x <= 0``.
    """
    r = reduced(x)
    power = power_of_two(r.shifted, -1)
    minus = x.like(-0.5)
    base, rest = ordered_sum(minus, power) if below else exact_sum(minus, power)
    high, low = ordered_sum(base, power * r.high)
    return ordered_sum(high, low + (rest + power * r.rest))


def small_as_is(x: Value, y: Value) -> Value:
    """``y``, but x itself where it is so small that f(x) rounds to it; signs of zero stay."""
    return (abs(x) < 2.0 ** -(x.format.mantissa + 2)).choose(x, y)


def expm1(x: Value) -> Value:
    """``e^x - 1``."""
    clamped = at_least(at_most(x, GREATEST[x.kind]), -2.0 * x.format.mantissa)
    high, _ = expm1_halved(clamped, below=False)
    return small_as_is(x, high + high)


def tanh(x: Value) -> Value:
    """``-(e^-2a - 1) / (e^-2a + 1)`` for a = abs x, with the sign of x."""
    if x.block.tables:
        return intervals.tanh(x) if x.kind == "f32" else intervals.long_tanh(x)
    if x.kind == "f32" and x.block.fused:
        return short_tanh(x)
    a = at_most(abs(x), SATURATED[x.kind])
    high, low = expm1_halved(a * -2.0, below=True)
    below, error = ordered_sum(x.like(1.0), high)
    y = quotient((high, low), (below, error + low))
    return small_as_is(x, x.block.intrinsic("copysign", y, x))


def short_tanh(x: Value) -> Value:
    """``a + a^3 P(a^2)`` below 7/8, and ``1 + e Q(e)`` from there on.

    ``e = e^-2a = 2^n e^-2s``; n goes into the exponent as an integer.

    Within 1 ulp with fused multiplications and few digits only; half the work of `tanh`.
    """
    a = at_most(abs(x), SATURATED[x.kind])
    z = a * a
    near = multiply_add(a * z, polynomial(z, table.TANH[x.kind]), a)
    shifted = multiply_add(a, -2.0 * table.INVERSE_LN2[x.kind][0], x.format.shift)
    n = shifted - x.format.shift
    s = a
    for part in table.LN2[x.kind]:
        s = multiply_add(n, part / 2.0, s)
    e = multiply_add(s, multiply_add(s, polynomial(s, table.EXP_SHORT[x.kind]), -2.0), 1.0)
    e = (e.bits + (shifted.bits << x.format.mantissa)).number
    far = multiply_add(e, polynomial(e, table.TANH_LONG[x.kind]), 1.0)
    return x.block.intrinsic("copysign", (a > 0.875).choose(far, near), x)  # near keeps NaN


def sigmoid(x: Value) -> Value:
    """``1 / (1 + e^-a)`` for a = abs x, and ``e^-a / (1 + e^-a)`` below 0."""
    high, low = exp_below(-abs(x))
    below, error = ordered_sum(x.like(1.0), high)
    negative = x < 0.0
    upper = negative.choose(high, 1.0), negative.choose(low, 0.0)
    return quotient(upper, (below, error + low))


def erfc(x: Value) -> Value:
    """``1 - erf x`` below 1/2; from there on ``e^(-x^2) (5/4 + H) / (1 + 2 x)``, in pairs."""
    a = at_most(abs(x), VANISHED[x.kind])
    z, low = exact_product(a, a)
    r = reduced(-z, -low)
    one, left = ordered_sum(x.like(1.0), r.high)
    e, e_low = ordered_sum(one, left + r.rest)
    t = quotient(exact_sum(a, x.like(-3.0)), exact_sum(a, x.like(3.0)))
    part = polynomial(t, table.ERFC_LONG[x.kind])
    h, h_low = ordered_sum(x.like(1.25), part)
    upper, error = exact_product(e, h)
    tail = quotient((upper, error + multiply_add(e, h_low, e_low * h)),
                    exact_sum(a + a, x.like(1.0)))
    tail = scaled(tail, r.shifted)
    near, error = ordered_sum(x.like(1.0), -x)
    near = near + (error - x * polynomial(x * x - 0.75, table.ERF_SMALL[x.kind]))
    return (a < 0.5).choose(near, (x < 0.0).choose(2.0 - tail, tail))


def near_zero(a: Value, w: Value, c: tuple[float, ...]) -> Value:
    """``a + a P(w)``; without fused multiplication the last step of P is a pair."""
    rest = polynomial(w, c[1:])
    if a.block.fused:
        return multiply_add(a, multiply_add(w, rest, c[0]), a)
    product, error = exact_product(w, rest)
    p, left = exact_sum(a.like(c[0]), product)
    return a + (a * p + a * (left + error))


def erf(x: Value) -> Value:
    """``a + a P(a^2)`` for a = abs x < 9/8, and ``1 - e^(-a^2) G((a-2)/(a+2))`` from there on."""
    a = at_most(abs(x), FLAT[x.kind])
    z = a * a
    near = near_zero(a, z - 0.75, table.ERF_SMALL[x.kind])
    shifted, tail = exp_reduced(-z)
    tail = tail * power_of_two(shifted)
    far = multiply_add(tail, -polynomial((a - 2.0) / (a + 2.0), table.ERFC[x.kind]), 1.0)
    return x.block.intrinsic("copysign", (a < 1.125).choose(near, far), x)
