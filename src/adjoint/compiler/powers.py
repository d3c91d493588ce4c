"""Powers of vectors: ``x^y = e^(y ln x)`` with ln x as a pair of about 70 digits.

``ln(1 + f) = 2s + s z (2/3 + z P(z))`` for ``s = f / (2 + f)`` and ``z = s^2``, every term that
matters as a pair. float32 is computed in float64, whose ordinary logarithm is enough.
"""

from __future__ import annotations

from math import inf, log, nan

from . import polynomials as table
from .exponentials import exp_of_pair, exp_reduced, power_of_two
from .lanes import (
    Pair,
    Value,
    at_least,
    at_most,
    exact_product,
    multiply_add,
    ordered_sum,
    polynomial,
)
from .logarithms import exponent, terms

# |y| above which x^y is 0, 1 or infinite for every x, with room for products.
HUGE = 2.0 ** 100


def long_log(m: Value) -> Pair:
    """``ln m`` for m from sqrt(1/2) to sqrt 2, as a pair with an error below 2^-66 of it."""
    f = m - 1.0
    below, rest = ordered_sum(f.like(2.0), f)
    inverse = 1.0 / below
    s = f * inverse
    product, error = exact_product(s, below)
    s_low = (((f - product) - error) - s * rest) * inverse
    z, z_low = exact_product(s, s)
    z_low = multiply_add(s * 2.0, s_low, z_low)
    third, third_low = table.TWO_THIRDS[m.kind]
    c, c_low = ordered_sum(f.like(third), z * polynomial(z, table.LOG_LONG[m.kind]))
    t, t_low = exact_product(z, c)
    t_low = t_low + (z * (c_low + third_low) + z_low * c)
    v, v_low = exact_product(s, t)
    v_low = v_low + (s * t_low + s_low * t)
    y, low = ordered_sum(s * 2.0, v)
    return y, low + (s_low * 2.0 + v_low)


def log_of_positive(a: Value) -> Pair:
    """``ln a`` of a positive finite number, as a pair."""
    k, m, _ = exponent(a)
    high, low = long_log(m)
    first, second = table.LN2[a.kind]
    y, error = ordered_sum(k * first, high)
    return ordered_sum(y, error + multiply_add(k, second, low))


def parity(y: Value) -> tuple[Value, Value]:
    """Whether y is an integer, and whether it is an odd one."""
    f = y.format
    whole = 2.0 ** f.mantissa
    a = at_most(abs(y), 2.0 * whole)
    below = a < whole
    moved = below.choose(a + whole, a)
    integer = below.choose(moved - whole, a).compare("oeq", a)
    return integer, integer & (moved.bits & 1).compare("ne", 0)


def power(x: Value, y: Value) -> Value:
    """``x^y``, with the special values of C99."""
    if x.kind == "f32":
        x, y = x.convert("fpext", "f64"), y.convert("fpext", "f64")
        return completed(x, y, short_power(abs(x), y)).convert("fptrunc", "f32")
    high, low = log_of_positive(abs(x))
    z = not_huge(y)
    product, error = exact_product(z, high)
    return completed(x, y, exp_of_pair(product, multiply_add(z, low, error)))


def not_huge(y: Value) -> Value:
    """``y``, no larger than matters: products with it neither overflow nor give NaN."""
    return at_least(at_most(y, HUGE), -HUGE)


def short_power(a: Value, y: Value) -> Value:
    """``a^y`` for a float32 ``a > 0``, to 30 digits; far beyond the format it stops."""
    k, m, _ = exponent(a, subnormal=False)
    t = terms(m - 1.0)
    product = not_huge(y) * multiply_add(k, log(2.0), t.f - (t.half - t.tail))
    shifted, power_ = exp_reduced(at_least(at_most(product, 200.0), -200.0), "f32")
    return power_ * power_of_two(shifted)


def completed(x: Value, y: Value, result: Value) -> Value:
    """``x^y`` from the power of abs x: its sign, and special values."""
    a = abs(x)
    # 0 and infinity have no logarithm here: their powers are one another, or themselves.
    zero, infinite = a.compare("oeq", 0.0), a.compare("oeq", inf)
    extreme = (zero ^ (y < 0.0)).choose(x.like(0.0), inf)
    result = (zero | infinite).choose(extreme, result)
    integer, odd = parity(y)
    result = odd.choose(x.block.intrinsic("copysign", result, x), result)
    # A negative number has only integer powers; -inf has all.
    wrong = integer.choose(integer.like(0), (x < 0.0) & (x > -inf))
    result = (wrong | x.compare("uno", y)).choose(x.like(nan), result)
    return (x.compare("oeq", 1.0) | y.compare("oeq", 0.0)).choose(x.like(1.0), result)
