"""Errors of vector_maths: `python -m tools.exhaustive [functions] [--setting sse2] [--doubles N]`.

Every float32 (all 2^32) against NumPy's float64, or, with --doubles N, N hard float64 points and
all edges against mpmath. Prints the largest error in ulp and where it is; exits with 1 if it is
more than allowed, or if a special value or the sign of a zero differs.
"""

import argparse
import ctypes
import sys
import time
from functools import cache

import llvmlite.binding as llvm
import mpmath as mp
import numpy as np

from adjoint.compiler.lanes import Block, Value
from adjoint.compiler.vector_maths import FUNCTIONS
from tools.vectors import compiled, machine

LIMIT = {"power": 2.0}
CHUNK = 1 << 14  # three arrays of it stay in the second cache


def logistic(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, np.where(np.isnan(x), x, 1.0)) / (1 + small)


def ramp(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erf(x):
    from scipy import special
    return special.erf(x)


def erfc(x):
    from scipy import special
    return special.erfc(x)


NUMPY = {name: getattr(np, name) for name in (
    "exp", "exp2", "expm1", "tanh", "log", "log2", "log10", "log1p", "sin", "cos", "tan")} | {
    "sigmoid": logistic, "softplus": ramp, "log_sigmoid": lambda x: 0.0 - ramp(-x), "erf": erf,
    "erfc": erfc, "relu": lambda x: np.maximum(x, 0)}
MPMATH = {name: getattr(mp, name) for name in (
    "exp", "expm1", "tanh", "log", "log10", "log1p", "sin", "cos", "tan", "erf", "erfc")} | {
    "exp2": lambda x: mp.mpf(2) ** x, "log2": lambda x: mp.log(x, 2),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "softplus": lambda x: mp.log1p(mp.exp(x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x))}


def errors(y, reference):
    """float32 results beside float64 ones: their distances in ulp, and what must not differ."""
    top = 2.0 ** 128  # infinity, where a finite number would be as near
    exact = np.clip(reference, -top, top)
    found = np.clip(y.astype(np.float64), -top, top)
    power = np.clip(exact.view(np.int64) & (0x7FF << 52), (1023 - 126) << 52, (1023 + 127) << 52)
    inverse = (((2046 << 52) - power).view(np.float64)) * 2.0 ** 23
    distance = np.abs(found - exact) * inverse
    wrong = np.isnan(distance) & ~(np.isnan(y) & np.isnan(reference))
    wrong |= (reference == 0) & (np.signbit(y) != np.signbit(reference))
    return distance, wrong


SCREEN = """
{declarations}
define void @screen(ptr %ys, ptr %rs, ptr %out, i64 %n) nounwind {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  %most = phi <8 x double> [zeroinitializer, %entry], [{most}, %head]
  %py = getelementptr float, ptr %ys, i64 %i
  %pr = getelementptr double, ptr %rs, i64 %i
  %y = load <8 x float>, ptr %py, align 4
  %r = load <8 x double>, ptr %pr, align 8
{lines}
  %next = add i64 %i, 8
  %more = icmp ult i64 %next, %n
  br i1 %more, label %head, label %done
done:
  store <8 x double> {most}, ptr %out, align 8
  ret void
}}
"""


@cache
def screen():
    """`errors`, compiled: the largest distance of arrays; what is wrong is infinitely far."""
    block = Block(8, fused=False)
    y, r = Value(block, "f32", "%y").convert("fpext", "f64"), Value(block, "f64", "%r")
    most, top = Value(block, "f64", "%most"), 2.0 ** 128

    def clamped(x):
        x = (x > top).choose(x.like(top), x)
        return (x < -top).choose(x.like(-top), x)
    exact = clamped(r)
    power = exact.bits & (0x7FF << 52)
    for code, bound in (("slt", (1023 - 126) << 52), ("sgt", (1023 + 127) << 52)):
        power = power.compare(code, bound).choose(power.like(bound), power)
    inverse = (power.like(2046 << 52) - power).number * 2.0 ** 23
    distance = abs(clamped(y) - exact) * inverse
    both = y.compare("uno", y) & r.compare("uno", r)
    distance = distance.compare("uno", 0.0).choose(distance.like(np.inf), distance)
    sign = ((y.bits ^ r.bits) & (1 << 63)).compare("ne", 0)
    distance = (r.compare("oeq", 0.0) & sign).choose(distance.like(np.inf), distance)
    distance = both.choose(distance.like(0.0), distance)
    most = (distance > most).choose(distance, most)
    module = llvm.parse_assembly(SCREEN.format(
        declarations="\n".join(block.declarations), lines="\n".join(block.lines), most=most.name))
    engine = llvm.create_mcjit_compiler(module, machine("host"))
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(
        engine.get_function_address("screen"))
    out = np.empty(8)

    def largest(y, reference):
        call(y.ctypes.data, reference.ctypes.data, out.ctypes.data, len(y))
        return float(out.max())
    largest.engine = engine
    return largest


def singles(name, setting, step=1):
    """The largest error over all float32 (or every ``step``-th), where, and what is wrong."""
    f, reference, largest = compiled(name, "f32", 16, setting), NUMPY[name], screen()
    worst, where, wrong = 0.0, 0.0, []
    first = np.arange(0, CHUNK * step, step, dtype=np.uint64)
    for start in range(0, 1 << 32, CHUNK * step):
        x = (first + np.uint64(start)).astype(np.uint32).view(np.float32)
        y, exact = f(x), reference(x.astype(np.float64))
        if largest(y, exact) <= worst:
            continue
        distance, bad = errors(y, exact)
        distance[bad] = 0.0
        high = np.nanmax(distance, initial=0.0)
        if high > worst:
            worst, where = float(high), float(x[np.nanargmax(distance)])
        if bad.any():
            wrong += x[bad][:3].tolist()
    return worst, where, wrong


def around(points, steps=3):
    """Points, and the next few numbers on both sides."""
    points = np.asarray(points, np.float64)
    bits = points.view(np.int64)
    with np.errstate(all="ignore"):
        return np.concatenate([(bits + i).view(np.float64) for i in range(-steps, steps + 1)])


EDGES = np.concatenate([
    [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1.7976931348623157e308],
    around(2.0 ** np.arange(-1074, 1024, 7)), -around(2.0 ** np.arange(-1022, 1024, 7)),
    around([1.0, 0.5, 2.0, 9 / 8, 6.0, 0.7071067811865476, 1.4142135623730951, 2.0 ** 20,
            709.782712893384, 88.72283905206835, 20.0, 37.0, 100.0]),
    -around([1.0, 0.5, 9 / 8, 6.0, 0.2928932188134525, 708.3964185322641, 745.1332191019412,
             2.0 ** 20, 20.0, 37.0, 100.0, 1022.0, 1074.0, 1075.0])])


def doubles(name, count, rng):
    """Hard arguments: where reductions change, near zeros, over all exponents, in usual ranges."""
    usual = {"exp": 745, "expm1": 710, "exp2": 1074, "tanh": 20, "sigmoid": 740, "softplus": 740,
             "log_sigmoid": 740, "erf": 6, "erfc": 27}.get(name, 30)
    n = count // 5
    bits = rng.integers(0, 1 << 64, n, dtype=np.uint64, endpoint=False).view(np.float64)
    reduction = around(np.pi / 2 * rng.integers(1, 667_544, n // 7) if name in {"sin", "cos", "tan"}
                       else (rng.integers(-2100, 2100, n // 7) / 2) * np.log(2))
    near_one = 1 + rng.normal(size=n) * 2.0 ** -rng.integers(1, 50, n)
    if name == "log1p":
        near_one -= 1
    log = name.startswith("log") and name != "log_sigmoid"
    spread = np.exp(rng.uniform(-40, 40, n)) if log else rng.uniform(-usual, usual, n)
    small = rng.uniform(-2, 2, n)
    if name in {"sin", "cos", "tan"}:
        small = rng.uniform(-2.0 ** 20, 2.0 ** 20, n)
    return np.concatenate([EDGES, bits, reduction, near_one, spread, small])


def against_mpmath(name, setting, count, seed=0):
    """The largest error over hard float64 arguments, where, and what is wrong."""
    x = doubles(name, count, np.random.default_rng(seed))
    y = compiled(name, "f64", 8, setting)(x)
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x)
    wrong = x[np.isnan(y) != np.isnan(expected)].tolist()
    wrong += x[(expected == 0) & (x == 0) & (np.signbit(y) != np.signbit(expected))].tolist()
    wrong += x[~np.isfinite(x) & (y != expected) & ~np.isnan(y)].tolist()
    worst, where = 0.0, 0.0
    for a, b in zip(x[np.isfinite(x) & ~np.isnan(y)].tolist(),
                    y[np.isfinite(x) & ~np.isnan(y)].tolist(), strict=True):
        error = float(distance_in_ulp(name, a, b))
        if error > worst:
            worst, where = error, a
    return worst, where, wrong


def distance_in_ulp(name, a, b):
    if a == {"log": 0, "log2": 0, "log10": 0, "log1p": -1}.get(name):
        return 0.0 if b == -np.inf else np.inf
    if abs(a) > 1e6 and name not in {"sin", "cos", "tan"} and not name.startswith("log"):
        a = np.copysign(1e6, a)  # 0, 1 or infinite; mpmath would make huge numbers
    if name == "log_sigmoid" and abs(a) > 1e6:
        return abs(b - min(a, 0.0))
    if name == "softplus" and a > 1e5:
        return 0.0
    with mp.workprec(1200 if name in {"sigmoid", "softplus", "log_sigmoid"} and abs(a) > 40
                     else 160):
        exact = MPMATH[name](mp.mpf(a))
        top = mp.mpf(2) ** 1024
        exact = max(min(exact, top), -top)
        found = mp.mpf(b) if np.isfinite(b) else mp.sign(b) * top
        e = max(mp.frexp(exact)[1] - 53, -1074) if exact else -1074
        return mp.ldexp(abs(found - exact), -min(e, 971))


def main():
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("functions", nargs="*", default=sorted(set(NUMPY) & set(FUNCTIONS)))
    reader.add_argument("--setting", default="host", choices=("host", "avx2", "sse2"))
    reader.add_argument("--doubles", type=int, default=0, metavar="N")
    reader.add_argument("--step", type=int, default=1, help="only every so many-th float32")
    options = reader.parse_args()
    failed = False
    np.seterr(all="ignore")
    for name in options.functions:
        if options.doubles and name not in MPMATH:
            continue
        start = time.perf_counter()
        worst, where, wrong = (against_mpmath(name, options.setting, options.doubles)
                               if options.doubles else
                               singles(name, options.setting, options.step))
        bad = worst > LIMIT.get(name, 1.0) or bool(wrong)
        failed |= bad
        print(f"{name:12} {'f64' if options.doubles else 'f32'} {options.setting:5} "
              f"{worst:.3f} ulp at {where!r} {'WRONG ' + str(wrong[:6]) if wrong else ''}"
              f"  {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
