"""Functions by intervals, for a processor that looks their coefficients up in its registers.

AVX-512 finds 32 float32 numbers, or 16 float64 ones, by the low bits of an index in one
instruction. So the leading digits of an argument choose a point near which few terms are enough,
and at which the function is known to more digits than the format has: the point is chosen so that
the function there is very nearly a number of the format (Gal and Bachelis, 1991, "An accurate
elementary mathematical library"). Exponents and powers of two are instructions of their own, which
know subnormal numbers, infinities and NaN.
"""

from __future__ import annotations

from math import inf

from . import polynomials as table
from .lanes import (
    Value,
    at_least,
    at_most,
    by_pairs,
    exact_sum,
    multiply_add,
    ordered_sum,
    quotient,
)

# tanh is 1 from here on; below ``NEAR`` it is x (1 + x^2 P(x^2)).
SATURATED, NEAR, FIRST = 9.1, 5 / 64, 1 / 16
SATURATED_LONG = 20.0
# The digits after the leading ones that choose an interval, and what getmant is asked for: a number
# from 3/4 to 3/2, NaN of what is negative.
INTERVALS = {"f32": 18, "f64": 48}
MANTISSA = "11"
# Beyond these, e^x is 0 or infinite in the format.
LEAST, GREATEST = {"f32": -104.0, "f64": -746.0}, {"f32": 89.0, "f64": 710.0}


def tanh(x: Value) -> Value:
    """``tanh a + d (c + ...)`` for d = abs x - a; below 5/64, a is 0, and abs x for tanh a."""
    block = x.block
    a = at_most(abs(x), SATURATED)
    index = at_least(a, FIRST).bits >> 21
    centre, start, *c = [block.looked_up(index, row) for row in table.TANH_ROWS[x.kind]]
    d = a - centre
    return block.intrinsic("copysign", multiply_add(
        by_pairs(d, d * d, tuple(c)), d, start + at_most(a, NEAR)), x)


def long_tanh(x: Value) -> Value:
    """``N / (1 - N)`` for ``N = (1 - e^-2a) / 2``, a = abs x, in float64.

    ``e^-2a = S (1 - 2 q)``, S = 2^n to sixteenths, so that ``N = (1 - S) / 2 + S q``, in pairs.
    """
    block = x.block
    a = at_most(abs(x), SATURATED_LONG)
    shift = x.format.shift / 16.0
    shifted = multiply_add(a, -2.0 * table.INVERSE_LN2[x.kind][0], shift)
    n = shifted - shift
    first, second = table.LN2[x.kind]
    near, low = multiply_add(n, first / 2.0, a), n * (second / 2.0)
    r = near + low
    z = r * r
    rest = multiply_add(z, by_pairs(r, z, table.TANH_NEAR[x.kind]), low)
    q, q_low = ordered_sum(near, rest)
    root, error = [block.looked_up(shifted.bits, row) for row in table.TANH_POWERS[x.kind]]
    power = block.masked("scalef", root, n)
    base = multiply_add(power, -0.5, 0.5)
    left = multiply_add(power, -0.5, 0.5 - base)
    high = multiply_add(power, q, base)
    low = multiply_add(power, q, base - high) + multiply_add(power, q_low + error, left)
    below, lost = ordered_sum(x.like(1.0), -high)
    return block.intrinsic("copysign", quotient((high, low), (below, lost - low)), x)


def logarithm(x: Value, base: str, inverse: tuple[float, ...] = (),
              correction: Value | None = None) -> Value:
    """``log x`` by ``x = 2^k m`` and ``r = m c - 1``: ``(k log 2 + -log c) + log(1 + r)``.

    The first sum is exact. ``inverse`` is 1 / ln b in two parts, if b is not e. ``correction`` is
    what x lacks; only float32 and base e have one.
    """
    block, kind = x.block, x.kind
    m = block.masked("getmant", x, options=MANTISSA)
    k = block.masked("getexp", x) - block.masked("getexp", m)
    rows, index = getattr(table, f"{base}_ROWS")[kind], m.bits >> INTERVALS[kind]
    c, start, *low = [block.looked_up(index, row) for row in rows]
    high_of_2, low_of_2 = getattr(table, f"{base}_OF_2")[kind]
    r = multiply_add(m, c, -1.0)
    z = r * r
    rest = x.like(0.0)
    if low:
        rest = multiply_add(k, low_of_2, low[0]) if low_of_2 else low[0]
    elif low_of_2:
        rest = k * low_of_2
    if correction is not None:
        shrunk = block.masked("scalef", correction, -k) * c
        rest = multiply_add(shrunk, 1.0 - r, rest)
    if inverse:
        rest = multiply_add(r, inverse[1], rest)
    rest = multiply_add(z, by_pairs(r, z, getattr(table, f"{base}_NEAR")[kind]), rest)
    first = multiply_add(k, high_of_2, start)
    if kind == "f32":
        return first + (multiply_add(r, inverse[0], rest) if inverse else r + rest)
    # Here r has lost a digit where it is large, so that nothing else may be lost.
    near = r * inverse[0] if inverse else r
    if inverse:
        rest = rest + multiply_add(r, inverse[0], -near)
    y, left = ordered_sum(first, near)
    return (abs(k) < inf).choose(y + (left + rest), k)


def log(x: Value) -> Value:
    """``ln x``."""
    return logarithm(x, "LOG")


def log2(x: Value) -> Value:
    """``log2 x``: exact at powers of two."""
    return logarithm(x, "LOG2", table.INVERSE_LN2[x.kind])


def log10(x: Value) -> Value:
    """``log10 x``."""
    return logarithm(x, "LOG10", table.INVERSE_LN10[x.kind])


def log1p(x: Value) -> tuple[Value, Value]:
    """``1 + x``, and ``ln(1 + x)`` where that is positive and finite."""
    u, error = exact_sum(x.like(1.0), x)
    y = logarithm(u, "LOG", correction=error)
    return u, x.block.intrinsic("copysign", y, x)


def exp(x: Value) -> Value:
    """``e^x = 2^n e^r``; of float64 ``2^n 2^(i/16) e^r``."""
    x = at_least(at_most(x, GREATEST[x.kind]), LEAST[x.kind])
    first, second = table.LN2[x.kind]
    shift = x.format.shift / (16.0 if x.kind == "f64" else 1.0)
    shifted = multiply_add(x, table.INVERSE_LN2[x.kind][0], shift)
    n = shifted - shift
    near = multiply_add(n, -first, x)
    low = n * second
    r = near - low
    z = r * r
    rest = multiply_add(z, by_pairs(r, z, table.EXP_NEAR[x.kind]), -low)
    if x.kind == "f32":
        return x.block.masked("scalef", (near + rest) + 1.0, n)
    root, error = [x.block.looked_up(shifted.bits, row) for row in table.EXP_ROWS[x.kind]]
    return x.block.masked("scalef", root + multiply_add(root, near + rest, error), n)
