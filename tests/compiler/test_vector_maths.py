"""The scalar functions on vectors: errors in ulp, special values, widths, processors."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

llvm = pytest.importorskip("llvmlite.binding", reason="vector maths is compiled by llvmlite")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tools/ is no installed package

from adjoint.compiler import polynomials as table
from adjoint.compiler.vector_maths import BINARY, FUNCTIONS, define, inline
from tools import exhaustive, polynomials
from tools.vectors import HOST, KINDS, SETTINGS, assembly, compiled, machine

UNARY = sorted(set(FUNCTIONS) - BINARY)
MEASURED = sorted(set(UNARY) & set(exhaustive.MPMATH))
LANES = {"host": 16, "avx2": 8, "sse2": 4}
CIRCULAR = {"sin", "cos", "tan"}
# 2^32 / STEP arguments: odd, so that all digits take part.
STEP = 40_009
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-30,
           -1e-30, 1e30, -1e30, 1e-45, -1e-45, 2.5, -2.5, 16777215.0, -16777215.0,
           4503599627370497.0, 9007199254740994.0]  # the last odd numbers, and one even beyond

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def settings():
    return [pytest.param(name, marks=pytest.mark.skipif(
        name == "avx2" and not HOST.get("avx2"), reason="this processor has no AVX2"))
        for name in SETTINGS]


def same(x, z):
    """Equal bit by bit, but for the digits of NaN."""
    return np.array_equal(x, z, equal_nan=True) and np.array_equal(
        np.signbit(x) & ~np.isnan(x), np.signbit(z) & ~np.isnan(z))


# ---- errors

@pytest.mark.parametrize("setting", settings())
@pytest.mark.parametrize("name", UNARY)
def test_float32_over_its_range(name, setting):
    worst, where, wrong = exhaustive.singles(name, setting, STEP)
    assert not wrong
    assert worst <= 1.0, where


@pytest.mark.parametrize("setting", settings())
@pytest.mark.parametrize("name", MEASURED)
def test_float64_at_hard_points(name, setting):
    worst, where, wrong = exhaustive.against_mpmath(name, setting, 1000)
    assert not wrong
    assert worst <= 1.0, where


@pytest.mark.parametrize("setting", settings())
@pytest.mark.parametrize("kind", KINDS)
def test_powers_against_mpmath(kind, setting):
    mp = pytest.importorskip("mpmath", reason="the reference of powers")
    rng, n = np.random.default_rng(3), 700
    x = np.concatenate([np.exp(rng.uniform(-30, 30, n)), rng.uniform(0.5, 2, n),
                        1 + rng.normal(size=n) * 1e-3]).astype(KINDS[kind])
    largest = {"f32": 85, "f64": 700}[kind]  # |y ln x|: the result stays normal
    with np.errstate(divide="ignore"):
        y = np.clip(rng.uniform(-1, 1, 3 * n) * largest / np.abs(np.log(x.astype(float))),
                    -1e30, 1e30).astype(KINDS[kind])
    z = compiled("power", kind, 8, setting)(x, y)
    digits = {"f32": 24, "f64": 53}[kind]
    for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True):
        with mp.workprec(160):
            exact = mp.mpf(a) ** mp.mpf(b)
            assert abs(mp.mpf(c) - exact) <= 2 * mp.ldexp(1, mp.frexp(exact)[1] - digits), (a, b)


def test_an_error_is_found():
    """The measurement itself: what it must not let pass."""
    for y, exact in ((np.nan, 1.0), (1.0, np.nan), (-0.0, 0.0), (0.0, -0.0)):
        found, reference = np.full(8, y, np.float32), np.full(8, exact)
        assert exhaustive.screen()(found, reference) == np.inf
        assert exhaustive.errors(found, reference)[1].all()
    one = np.full(8, 1.0, np.float32)
    for exact, ulp in ((1.0, 0.0), (1 + 2.0 ** -24, 0.5), (1 - 2.0 ** -23, 2.0)):
        assert exhaustive.screen()(one, np.full(8, exact)) == ulp
        assert exhaustive.errors(one, np.full(8, exact))[0][0] == ulp
    assert exhaustive.distance_in_ulp("exp", 0.0, 1.0 + 2.0 ** -52) == 1.0


# ---- special values

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNARY)
def test_special_values_are_those_of_numpy(name, kind):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, -1e30], KINDS[kind])
    y = compiled(name, kind, 4)(x)
    expected = np.asarray(exhaustive.NUMPY[name](x.astype(np.float64))).astype(KINDS[kind])
    special = ~np.isfinite(expected) | (expected == 0) | np.isin(expected, [1.0, -1.0])
    assert same(y[special], expected[special])


@pytest.mark.parametrize("setting", settings())
@pytest.mark.parametrize("kind", KINDS)
def test_special_powers_are_those_of_numpy(kind, setting):
    x, y = [v.ravel() for v in np.meshgrid(*2 * [np.array(SPECIAL, KINDS[kind])])]
    z, expected = compiled("power", kind, 4, setting)(x, y), np.power(x, y)
    special = ~np.isfinite(expected) | (expected == 0) | np.isin(expected, [1.0, -1.0])
    assert special.sum() > 300
    assert same(z[special], expected[special])
    np.testing.assert_allclose(z, expected, rtol=4 * np.finfo(KINDS[kind]).eps)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_propagates(kind):
    x = np.array([np.nan, 1.0, np.nan, -1.0], KINDS[kind])
    z = np.array([1.0, np.nan, np.nan, 2.0], KINDS[kind])
    assert compiled("maximum", kind, 4)(x, z).tolist()[3] == 2.0
    assert compiled("minimum", kind, 4)(x, z).tolist()[3] == -1.0
    for name in ("maximum", "minimum"):
        assert np.isnan(compiled(name, kind, 4)(x, z)[:3]).all()
    assert same(compiled("relu", kind, 4)(x), np.maximum(x, 0))
    for name in UNARY:
        assert np.isnan(compiled(name, kind, 4)(x)[[0, 2]]).all(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(CIRCULAR))
def test_angles_around_the_border_of_the_library(name, kind):
    """Vectors with lanes on both sides of 2^20, and with one far lane among near ones."""
    border = KINDS[kind](2.0 ** 20)
    x = np.concatenate([
        border + np.arange(-8, 8, dtype=KINDS[kind]) / 4, -border - np.arange(8) / 4,
        np.where(np.arange(8) == 5, 1e30, np.arange(8) + 0.5)]).astype(KINDS[kind])
    y, expected = compiled(name, kind, 8)(x), getattr(np, name)(x.astype(np.float64))
    np.testing.assert_allclose(y, expected, rtol=2 * np.finfo(KINDS[kind]).eps)


def test_multiples_of_half_pi():
    """The doubles nearest to multiples of pi/2, where reduction cancels all leading digits."""
    for name in sorted(CIRCULAR):
        x = exhaustive.around(np.pi / 2 * np.arange(1, 667_000, 20_101), 1)
        for setting in ("host", "sse2"):
            y = compiled(name, "f64", 8, setting)(x)
            assert max(exhaustive.distance_in_ulp(name, a, b)
                       for a, b in zip(x.tolist(), y.tolist(), strict=True)) <= 1.0


# ---- widths, processors, text

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_any_width_gives_the_same_bits(name, kind):
    rng = np.random.default_rng(1)
    xs = [(rng.normal(size=192) * 4).astype(KINDS[kind]) for _ in range(1 + (name in BINARY))]
    expected = compiled(name, kind, 4)(*xs)
    for lanes in (1, 2, 3, 8, 16, 64):
        assert same(compiled(name, kind, lanes)(*xs), expected), lanes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_only_far_angles_call_the_library(name, kind):
    """Nor does LLVM put a call in place of an instruction that the oldest processor lacks."""
    if llvm.get_process_triple().split("-", maxsplit=1)[0] != "x86_64":
        pytest.skip("reads x86-64 code")
    code = assembly(name, kind, 4, "sse2")
    named = set(re.findall(r"movabsq\s+\$([A-Za-z_]\w*)", code))  # the addresses that are called
    known = {f"{name}_{kind}_4"}
    if name in CIRCULAR:
        known |= {name, f"{name}_far_{kind}_4"}
    assert named == known
    declared = {d for d in define(name, kind, 4).declarations if "@llvm." not in d}
    assert declared == ({f"declare double @{name}(double)"} if name in CIRCULAR else set())


def test_inlined_functions_share_a_block():
    """Two functions in the text of one caller, the first with a branch."""
    first = inline("sin", "f32", 4, ["%x"], prefix="a")
    second = inline("exp", "f32", 4, [first.result], prefix="b", label=first.label)
    text = "\n".join([
        *dict.fromkeys([*first.declarations, *second.declarations]), *first.helpers.values(),
        "define void @f(ptr %p) {", "entry:", "  %x = load <4 x float>, ptr %p, align 4",
        *first.lines, *second.lines,
        f"  store <4 x float> {second.result}, ptr %p, align 4", "  ret void", "}"])
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine("host"))
    engine.finalize_object()
    import ctypes
    x = np.array([0.5, -1.0, 3e6, 2.0], np.float32)
    expected = np.exp(np.sin(x.astype(np.float64)))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("f"))(x.ctypes.data)
    np.testing.assert_allclose(x, expected, rtol=3e-7)


def test_the_table_of_polynomials_is_what_its_script_makes():
    text = Path(table.__file__).read_text(encoding="utf-8")
    for part in polynomials.constants():
        assert part in text
    assert polynomials.bounded("COS", *polynomials.PLAIN["COS"]) in text
