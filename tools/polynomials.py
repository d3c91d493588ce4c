"""Write src/adjoint/compiler/polynomials.py: `python -m tools.polynomials` (needs mpmath).

Each polynomial is fitted with 200 bits by weighted least squares over Chebyshev nodes, weights
raised where the error is largest (Lawson's way to the least largest error), and then rounded to
the format. The bound beside it is the largest weighted error of the rounded polynomial on a grid.
"""

import struct
from pathlib import Path

import mpmath as mp

mp.mp.prec = 200
OUT = Path(__file__).parents[1] / "src" / "adjoint" / "compiler" / "polynomials.py"
NODES, ROUNDS, GRID = 48, 6, 1500
HEAD = '''"""The polynomials of the vector functions: made by `python -m tools.polynomials`.

A pair of numbers that stands for one constant is the constant rounded, and what that leaves.
"""

from __future__ import annotations


def numbers(text: str) -> tuple[float, ...]:
    """Hexadecimal numbers."""
    return tuple(map(float.fromhex, text.split()))


'''


def identity(x):
    return x


def value(c, x):
    """The polynomial with those coefficients, the constant first."""
    y = mp.mpf(0)
    for k in reversed(c):
        y = y * x + k
    return y


def rounded(x, kind):
    """The nearest number of the format, as a float."""
    if kind == "f64":
        return float(x)
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def short(x, bits):
    """x cut to so many binary digits: products with small integers are then exact."""
    e = mp.floor(mp.log(abs(x), 2)) + 1 - bits
    return float(mp.floor(mp.ldexp(x, -int(e))) * mp.mpf(2) ** e)


def shared(x, *digits):
    """x in parts: of so many binary digits each, and a last one of 53."""
    parts = []
    for bits in digits:
        parts.append(short(x, bits))
        x -= mp.mpf(parts[-1])
    return [*parts, float(x)]


def fit(f, weight, low, high, powers, argument, inverse):
    """The coefficients of those powers of argument(x), nearly minimax in weight(x) (p - f)."""
    t0, t1 = argument(mp.mpf(low)), argument(mp.mpf(high))
    xs = [inverse((t0 + t1) / 2 + (t1 - t0) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * NODES)))
          for i in range(NODES)]
    A = [[weight(x) * argument(x) ** k for k in powers] for x in xs]
    b = [weight(x) * f(x) for x in xs]
    share, best = [mp.mpf(1)] * NODES, None
    for _ in range(ROUNDS):
        roots = [mp.sqrt(s) for s in share]
        c = mp.lu_solve(mp.matrix([[s * a for a in row] for s, row in zip(roots, A, strict=True)]),
                        mp.matrix([s * v for s, v in zip(roots, b, strict=True)]))
        errors = [abs(mp.fsum(a * ck for a, ck in zip(row, c, strict=True)) - v)
                  for row, v in zip(A, b, strict=True)]
        if best is None or max(errors) < best[0]:
            best = max(errors), list(c)
        share = [s * (e / max(errors) + mp.mpf("1e-9")) for s, e in zip(share, errors, strict=True)]
        share = [s * NODES / sum(share) for s in share]
    return best[1]


def fit_rounded(f, weight, low, high, count, kind, argument, inverse):
    """Coefficients of the format: each is rounded, then the higher ones are fitted again."""
    done = []

    def rest(x):
        return f(x) - value(done, argument(x))
    for k in range(count):
        c = fit(rest, weight, low, high, range(k, count), argument, inverse)
        done.append(mp.mpf(rounded(c[0], kind)))
    return [float(c) for c in done]


def largest_error(f, weight, low, high, c, argument):
    low, high = mp.mpf(low), mp.mpf(high)
    return max(abs(weight(x) * (value(c, argument(x)) - f(x)))
               for x in (low + (high - low) * (i + mp.mpf("0.5")) / GRID for i in range(GRID)))


def of_square(f):
    """f(sqrt z), for functions of a square."""
    return lambda z: f(mp.sqrt(z))


def atanh_rest(s):
    return (2 * mp.atanh(s) - 2 * s) / s


S_HIGH = (3 - 2 * mp.sqrt(2)) ** 2 * (1 + mp.mpf("1e-6"))
QUARTER = (mp.pi / 4 * mp.mpf("1.0001")) ** 2
TINY = mp.mpf("1e-20")
# name: formula, f, weight, interval, {format: number of coefficients}, argument and its inverse
PLAIN = {
    "EXP": ("(e^r - 1 - r) / r^2, |r| <= ln(2)/2; error relative to e^r",
            lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2 / mp.exp(r), -0.34675, 0.34675,
            {"f32": 6, "f64": 11}),
    "EXP_SHORT": ("(e^-2s - 1 + 2s) / s^2, |s| <= ln(2)/4; error relative to e^-2s",
                  lambda s: (mp.expm1(-2 * s) + 2 * s) / s ** 2, lambda s: s ** 2 / mp.exp(-2 * s),
                  -0.17338, 0.17338, {"f32": 5}),
    "TANH": ("(tanh(x) - x) / x^3 in z = x^2, |x| <= 7/8; error relative to tanh x",
             of_square(lambda x: (mp.tanh(x) - x) / x ** 3),
             of_square(lambda x: x ** 3 / mp.tanh(x)), TINY, 0.765625, {"f32": 6}),
    "TANH_LONG": ("-2 / (1 + e), e = e^-2x < e^(-7/4); error relative to tanh x",
                  lambda e: -2 / (1 + e), lambda e: e * (1 + e) / (1 - e), 0, 0.17378, {"f32": 6}),
    "TANH_NEAR": ("((1 - e^-2s) / 2 - s) / s^2, |s| <= ln(2)/64; error relative to s",
                  lambda s: (-mp.expm1(-2 * s) / 2 - s) / s ** 2, identity, -0.010831, 0.010831,
                  {"f64": 6}),
    "LOG": ("(ln((1+s)/(1-s)) - 2s) / s^3 in z = s^2; error of s p, relative to the logarithm",
            of_square(lambda s: atanh_rest(s) / s ** 2), lambda z: z / 2, TINY, S_HIGH,
            {"f32": 4, "f64": 7}),
    "LOG_LONG": ("((ln((1+s)/(1-s)) - 2s) / s^3 - 2/3) / s^2 in z = s^2; error as above",
                 of_square(lambda s: (atanh_rest(s) / s ** 2 - mp.mpf(2) / 3) / s ** 2),
                 lambda z: z * z / 2, mp.mpf("1e-12"), S_HIGH, {"f64": 8}),
    "SIN": ("(sin r - r) / r^3 in z = r^2, |r| <= pi/4; error relative to sin r",
            of_square(lambda r: (mp.sin(r) - r) / r ** 3), identity, TINY, QUARTER,
            {"f32": 4, "f64": 6}),
    "SIN_WIDE": ("(sin r - r) / r^3 in z = r^2, |r| <= pi/2; error relative to sin r",
                 of_square(lambda r: (mp.sin(r) - r) / r ** 3),
                 of_square(lambda r: r ** 3 / mp.sin(r)), TINY, 4 * QUARTER, {"f32": 4}),
    "COS": ("(cos r - 1 + z/2) / z^2 in z = r^2, |r| <= pi/4; absolute error of cos r",
            of_square(lambda r: (mp.cos(r) - 1 + r * r / 2) / r ** 4), lambda z: z * z,
            TINY, QUARTER, {"f32": 3, "f64": 6}),
    "ERF_SMALL": ("erf(x) / x - 1 in z - 7/8, z = x^2, |x| <= 9/8; error relative to x",
                  of_square(lambda x: mp.erf(x) / x - 1), lambda z: mp.mpf(1), TINY, 1.265625,
                  {"f32": 9, "f64": 15}, lambda z: z - 0.75, lambda w: w + 0.75),
    "EXP_NEAR": ("(e^r - 1 - r) / r^2 for AVX-512, |r| <= ln(2)/2 (/32); error relative to e^r",
                  lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2 / mp.exp(r),
                  {"f32": -0.34675, "f64": -0.02168}, {"f32": 0.34675, "f64": 0.02168},
                  {"f32": 5, "f64": 5}),
}
CONSTANTS = {"LN2": mp.log(2), "INVERSE_LN2": 1 / mp.log(2), "INVERSE_LN10": 1 / mp.log(10),
             "LOG10_2": mp.log10(2), "TWO_THIRDS": mp.mpf(2) / 3}
DIGITS = {"f32": 15, "f64": 40}  # so that a product with an exponent is exact


def hexadecimal(x):
    digits, power = x.hex().split("p")
    return digits.rstrip("0").rstrip(".") + "p" + power


def statement(kind, numbers):
    lines, line = [], f'    "{kind}": numbers("'
    for x in numbers:
        word = hexadecimal(x) + " "
        if len(line) + len(word) > 96:
            lines, line = [*lines, line + '"'], " " * 8 + '"'
        line += word
    return "\n".join([*lines, line.rstrip() + '"),'])


def table(name, remark, rows):
    return f"# {remark}\n{name} = {{\n" + "\n".join(rows) + "\n}\n"


def bounded(name, formula, f, weight, low, high, counts, argument=identity, inverse=identity):
    rows, bounds = [], []
    for kind, n in counts.items():
        top = high[kind] if isinstance(high, dict) else high
        bottom = low[kind] if isinstance(low, dict) else low
        format = "f64" if name in {"SIN", "SIN_WIDE", "COS"} else kind
        c = fit_rounded(f, weight, bottom, top, n, format, argument, inverse)
        error = largest_error(f, weight, bottom, top, [mp.mpf(x) for x in c], argument)
        bounds.append(f"{kind} 2^{float(mp.log(error, 2)):.1f}")
        rows.append(statement(kind, c))
    return table(name, f"{formula}:\n# {', '.join(bounds)}.", rows)


def constants():
    for name, value in CONSTANTS.items():
        rows = []
        for kind in ("f32", "f64"):
            high = (short(value, DIGITS[kind]) if name in {"LN2", "LOG10_2"}
                    else rounded(value, kind))
            rows.append(statement(kind, [high, rounded(value - mp.mpf(high), kind)]))
        yield table(name, name.lower().replace("_", " ") + ", in two parts.", rows)
    yield table("HALF_PI", "pi/2 in parts of 32 digits and a last one of 53.",
                [statement("f64", shared(mp.pi / 2, 32, 32, 32))])
    yield table("HALF_PI_FUSED", "pi/2 in parts of 53, 33 and 53 digits.",
                [statement("f64", shared(mp.pi / 2, 53, 33))])
    yield table("PI", "pi in a part of 32 digits and one of 53.",
                [statement("f64", shared(mp.pi, 32))])


# ---- tables by intervals, for a processor that looks coefficients up in its registers

def many(name, remark, kinds):
    """Several rows of numbers for each format."""
    lines = []
    for kind, rows in kinds.items():
        lines.append(f'    "{kind}": (')
        for row in rows:
            line = '        numbers("'
            for x in row:
                word = hexadecimal(x) + " "
                if len(line) + len(word) > 96:
                    lines, line = [*lines, line + '"'], " " * 12 + '"'
                line += word
            lines.append(line.rstrip() + '"),')
        lines.append("    ),")
    return table(name, remark, lines)


def singles(x, count):
    """The float32 numbers nearest to x, alternately below and above it."""
    bits = struct.unpack("i", struct.pack("f", float(x)))[0]
    for i in range(count):
        yield struct.unpack("f", struct.pack("i", bits + (i // 2) * (-1) ** i))[0]


def tanh_rows(terms=5, last="9.1", first=5 / 64):
    """Four intervals for each power of two from 1/16 on: a centre, and coefficients about it.

    At the centre tanh is very nearly a float32. What stands for it is less by ``first``, which is
    added again: below ``first`` the argument itself is added instead.
    """
    columns, last = [[0.0] * (terms + 2) for _ in range(32)], mp.mpf(last)
    for i in range(32):
        bits = ((123 << 2) + i) << 21
        low, high = [mp.mpf(struct.unpack("f", struct.pack("I", b))[0])
                     for b in (bits, bits + (1 << 21))]
        if low >= last:
            continue
        if i == 0:
            c = fit(of_square(lambda x: mp.tanh(x) / x - 1), lambda z: mp.mpf(1), TINY,
                    high ** 2, (1, 2), identity, identity)
            columns[bits >> 21 & 31][4:7:2] = [rounded(x, "f32") for x in c]
            continue
        high = min(high, last)
        centre = min(singles((low + high) / 2, 4000), key=lambda a: abs(
            mp.tanh(a) - rounded(mp.tanh(a), "f32")) / mp.tanh(a))
        done = [mp.mpf(rounded(mp.tanh(centre), "f32"))]
        for k in range(1, terms + 1):
            c = fit(lambda d, centre=centre, done=done: mp.tanh(centre + d) - value(done, d),
                    lambda d: mp.mpf(1),
                    low - centre, high - centre, range(k, terms + 1), identity, identity)
            done.append(mp.mpf(rounded(c[0], "f32")))
        columns[bits >> 21 & 31] = [centre, float(done[0] - first), *map(float, done[1:])]
    return list(map(list, zip(*columns, strict=True)))


def log_intervals(count):
    """By the leading digits of m, 3/4 <= m < 3/2: the interval of m, from 1 to 3/2 first."""
    half = count // 2
    for i in range(count):
        start, step = (1, mp.mpf(1) / count) if i < half else (mp.mpf(1) / 2, mp.mpf(1) / 2 / count)
        yield start + i * step, start + (i + 1) * step


def log_rows_single(inverse, grid):
    """Reciprocals c with -log c very nearly a multiple of ``grid``, and those multiples.

    Added to a multiple of log 2 up to 2^7, or of log2 2 up to 2^8, they leave no rounding error.
    """
    columns = []
    for i, (low, high) in enumerate(log_intervals(32)):
        if i in {0, 1, 30, 31}:
            columns.append([1.0, 0.0])
            continue
        first = int(mp.nint(-mp.log(2 / (low + high)) * inverse / grid))
        near = []
        for j in range(first - 1200, first + 1200):
            c = rounded(mp.exp(-mp.mpf(j) * grid / inverse), "f32")
            if max(abs(low * c - 1), abs(high * c - 1)) < mp.mpf(1.2) / 64:
                near.append((abs(-mp.log(c) * inverse - j * mp.mpf(grid)), c, j * grid))
        columns.append(list(min(near)[1:]))
    return list(map(list, zip(*columns, strict=True)))


def log_rows_double(inverse, grid=2.0 ** -42):
    """Reciprocals of 6 digits, and their logarithms in two parts."""
    columns = []
    for i, (low, high) in enumerate(log_intervals(16)):
        c = 1.0 if i in {0, 15} else float(mp.nint(128 / (low + high)) / 64)
        exact = -mp.log(c) * inverse
        start = float(mp.nint(exact / grid) * grid)
        columns.append([c, start, rounded(exact - start, "f64")])
    return list(map(list, zip(*columns, strict=True)))


def rows_of_logarithms():
    for name, base in (("LOG", mp.e), ("LOG2", mp.mpf(2)), ("LOG10", mp.mpf(10))):
        yield from rows_of_logarithm(name, 1 / mp.log(base))


def rows_of_logarithm(name, inverse):
    def near(r):
        return (mp.log1p(r) - r) / r ** 2 * inverse

    def weight(r):
        return abs(r) / inverse
    yield many(f"{name}_ROWS", f"c, nearly 1 / m, and -{name.lower()} c (f64: in two parts), "
               "by the leading digits of m:\n# from 1 to 3/2, then from 3/4 to 1.",
               {"f32": log_rows_single(inverse, 2.0 ** (-16 if name == "LOG2" else -17)),
                "f64": log_rows_double(inverse)})
    hexes = []
    for kind, grid in (("f32", 2.0 ** -17), ("f64", 2.0 ** -42)):
        high = float(mp.floor(mp.log(2) * inverse / grid) * grid)
        hexes.append(statement(kind, [high, rounded(mp.log(2) * inverse - high, kind)]))
    remark = f"{name.lower()} 2, in two parts, the second never negative."
    yield table(f"{name}_OF_2", remark, hexes)
    bounds, rows = [], []
    for kind, low, high, n in (("f32", -1 / 32, 1 / 16, 4), ("f64", -0.033, 0.0626, 10)):
        c = fit_rounded(near, weight, low, high, n, kind, identity, identity)
        error = largest_error(near, weight, low, high, c, identity)
        bounds.append(f"{kind} 2^{float(mp.log(error, 2)):.1f}")
        rows.append(statement(kind, c))
    yield table(f"{name}_NEAR", f"({name.lower()}(1 + r) - r / ln b) / r^2; error of r^2 p / r:"
                f"\n# {', '.join(bounds)}.", rows)


def exp_rows():
    """2^(i/16) in two parts."""
    exact = [mp.mpf(2) ** (mp.mpf(i) / 16) for i in range(16)]
    return [[float(x) for x in exact], [rounded(x - float(x), "f64") for x in exact]]


def tanh_powers():
    """2^(i/16), and what that leaves of it, divided by -2 of it."""
    powers, rest = exp_rows()
    return [powers, [rounded(mp.mpf(x) / mp.mpf(p) / -2, "f64")
                     for p, x in zip(powers, rest, strict=True)]]


def main():
    texts = list(constants())
    texts += [bounded(name, *fitted) for name, fitted in PLAIN.items()]
    texts.append(bounded(
        "ERFC", "e^(a^2) erfc(a) in t = (a-2)/(a+2), 9/8 <= a <= 6 (4); absolute error of erf a",
        lambda a: mp.erfc(a) * mp.exp(a * a), lambda a: mp.exp(-a * a), 1.125, {"f32": 4, "f64": 6},
        {"f32": 7, "f64": 13}, lambda a: (a - 2) / (a + 2), lambda t: 2 * (1 + t) / (1 - t)))
    texts.append(bounded(
        "ERFC_LONG", "(1 + 2a) e^(a^2) erfc(a) - 5/4 in t = (a-3)/(a+3), 1/2 <= a <= 27.3 (10.1); "
        "relative error",
        lambda a: (1 + 2 * a) * mp.erfc(a) * mp.exp(a * a) - 1.25,
        lambda a: mp.exp(-a * a) / mp.erfc(a) / (1 + 2 * a), 0.5, {"f32": 10.1, "f64": 27.3},
        {"f32": 13, "f64": 25}, lambda a: (a - 3) / (a + 3), lambda t: 3 * (1 + t) / (1 - t)))
    texts.append(many("TANH_ROWS", "A centre a, tanh a less 5/64, and coefficients about a, by the "
                      "leading digits\n# of the argument. Below 5/64: of tanh(x) / x - 1.",
                      {"f32": tanh_rows()}))
    texts += list(rows_of_logarithms())
    texts.append(many("EXP_ROWS", "2^(i/16), in two parts.", {"f64": exp_rows()}))
    texts.append(many("TANH_POWERS", "2^(i/16), and how much of half of it that leaves.",
                      {"f64": tanh_powers()}))
    OUT.write_text(HEAD + "\n".join(texts))


if __name__ == "__main__":
    main()
