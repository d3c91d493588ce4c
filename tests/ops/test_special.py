"""Special points of elementwise functions: exact values near 0, kinks of the relu family, SciPy."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.special

import adjoint as ad
from adjoint.core.primitive import REGISTRY
from adjoint.errors import ArgumentError, DTypeError, KinkError, ShapeError, UnsupportedError

inf, nan = np.inf, np.nan


def derivative(f, order):
    for _ in range(order):
        f = ad.grad(f)
    return f


def forward(f, order):
    def push(f):
        return lambda x: ad.jvp(f, (x,), (1.0,))[1]
    for _ in range(order):
        f = push(f)
    return f


@pytest.mark.parametrize("f, args, expected", [
    (ad.hypot, ([3.0], [4.0]), [5.0]), (ad.xlogy, ([0.0, 1.0], [0.0, 1.0]), [0.0, 0.0]),
    (ad.logit, ([0.5],), [0.0]), (ad.sinc, ([0.0, 1],), [1.0, 0.0]), (ad.erf, ([0],), [0.0]),
    (ad.fmax, ([1.0], [2.0]), [2.0]), (ad.copysign, ([1.0], [-2.0]), [-1.0]),
    (ad.heaviside, ([0.0], [0.5]), [0.5]), (ad.relu6, ([7, 1],), [6.0, 1.0]),
    (ad.gammaln, ([1, 2],), [0.0, 0.0]), (ad.ldexp, ([1.0], [3]), [8.0])])
def test_lists_are_arrays(f, args, expected):
    np.testing.assert_allclose(f(*args), expected, atol=1e-15)
    x = ad.tensor(args[0], requires_grad=True) if type(args[0][0]) is float else None
    if x is not None:
        np.testing.assert_allclose(f(x, *args[1:]).detach().numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("f", [ad.xlogy, ad.xlog1py, ad.power, ad.hypot, ad.fmax, ad.copysign])
def test_python_numbers_are_weak_on_either_side(f):
    for dtype in (np.float16, np.float32):
        x = np.array([0.5, 1.5], dtype)
        for args in ((2.0, x), (x, 2.0), (2, x), (x, 2), (2.0, x[0])):
            assert f(*args).dtype == dtype
            y = f(*[ad.tensor(a) if a is x else a for a in args])
            assert y.dtype == np.asarray(y).dtype == dtype
    assert f(2, np.array([3], np.int8)).dtype == f(np.array([2], np.int8), 3).dtype


@pytest.mark.parametrize("name", ["erf", "erfc", "gammaln", "digamma", "logit", "i0", "i1", "sinc"])
@np.errstate(all="ignore")
def test_integers_and_halves(name):
    """Integers count as float64; halves stay halves, in the array as well as in its Aval."""
    f = getattr(ad, name)
    for whole in (np.array([1, 2], np.int8), np.array([1, 2], np.uint8), np.array([True, True])):
        np.testing.assert_array_equal(f(whole), f(whole.astype(float)))
        assert f(whole).dtype == f(ad.tensor(whole)).dtype == np.float64
    x = ad.tensor(np.array([0.25, 0.5], np.float16), requires_grad=True)
    y = f(x)
    y.sum().backward()
    assert y.dtype == y.detach().numpy().dtype == x.grad.numpy().dtype == np.float16
    np.testing.assert_allclose(y.detach().numpy(), f(np.array([0.25, 0.5])), rtol=2e-3, atol=1e-3)


def test_logit_is_exact_beside_one_half():
    """2 arctanh(2h) = 4h + 16h^3 / 3 + ... for x = 1/2 + h."""
    for h in (1e-12, -3e-9, 2.0 ** -20, 1e-4):
        x = 0.5 + h
        h = x - 0.5
        assert ad.logit(x) == pytest.approx(4 * h + 16 * h ** 3 / 3, rel=1e-15)
        assert ad.logit(ad.tensor(x)).item() == ad.logit(x)
    x = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(ad.logit(x), scipy.special.logit(x), rtol=1e-14, atol=1e-16)


# ---- sinc

def sinc_series(x, order):
    """The derivative of sinc by its power series, in exact fractions but for pi itself."""
    u, total = Fraction(math.pi) * Fraction(x), Fraction(0)
    for k in range((order + 1) // 2, 60):
        power = 2 * k - order
        total += Fraction((-1) ** k, (2 * k + 1) * math.factorial(power)) * u ** power
    return float(total * Fraction(math.pi) ** order)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("x", [0.0, 1e-300, -1e-12, 1e-5, 3e-3, 0.1, 0.3183, 0.3184, -0.7, 2.5])
def test_sinc_and_its_derivatives_near_zero(x, order):
    expected = sinc_series(x, order)
    for f in (derivative(np.sinc, order), forward(ad.sinc, order)):
        assert f(x) == pytest.approx(expected, rel=2e-13, abs=2e-13 * math.pi ** order)
    if order % 2 and 0 < abs(x) < 1e-2:  # relatively exact, however small
        assert derivative(ad.sinc, order)(x) == pytest.approx(expected, rel=1e-13)


def test_sinc_far_out():
    x = np.array([10.25, -200.75])
    y = ad.grad(lambda x: ad.sinc(x).sum())(x)
    np.testing.assert_allclose(y, (np.cos(np.pi * x) - np.sinc(x)) / x, rtol=1e-12)


# ---- two arguments

def test_xlogy_is_entropy_without_nan():
    p = np.array([0.0, 0.25, 0.75])
    g = ad.grad(lambda p: -ad.xlogy(p, p).sum())(p)
    np.testing.assert_allclose(g, [0.0, *(-np.log(p[1:]) - 1.0)])
    np.testing.assert_array_equal(ad.xlogy(0.0, [0.0, inf, nan, -1.0]), [0.0, 0.0, nan, 0.0])
    for f in (ad.xlogy, scipy.special.xlogy, np.vectorize(scipy.special.xlogy)):
        np.testing.assert_allclose(f(np.array([0.0, 2.0]), np.array([0.0, 3.0])),
                                   [0.0, 2 * np.log(3.0)])


def test_logarithms_beside_the_edge_are_exact():
    dx, dz = ad.grad(ad.xlogy, (0, 1))(2.0, 1e-300)
    assert (dx, dz) == pytest.approx((np.log(1e-300), 2e300))
    assert ad.grad(ad.xlog1py, (0, 1))(2.0, 1e-20) == (1e-20, 2.0)
    assert ad.grad(ad.xlogy, (0, 1))(0.0, 2.0) == (np.log(2.0), 0.0)


def test_logaddexp2_has_the_curvature_of_a_tie():
    assert derivative(lambda x: ad.logaddexp2(x, 1.0), 2)(1.0) == pytest.approx(np.log(2) / 4)
    assert ad.grad(ad.logaddexp2, (0, 1))(-inf, -inf) == (0.0, 0.0)
    assert ad.grad(ad.logaddexp2, (0, 1))(inf, 0.0) == (1.0, 0.0)


def test_hypot_scales_without_overflow():
    assert ad.grad(ad.hypot, (0, 1))(3e200, 4e200) == pytest.approx((0.6, 0.8))
    assert ad.grad(ad.hypot, (0, 1))(3e-320, 4e-320) == pytest.approx((0.6, 0.8), rel=1e-3)
    assert ad.grad(ad.hypot, (0, 1))(0.0, -2.0) == (0.0, -1.0)


@pytest.mark.parametrize("x, z, dz", [(7.0, 2.0, -3.0), (-7.0, 2.0, 3.0), (7.0, -2.0, 3.0),
                                      (6.0, 3.0, -2.0), (0.0, 3.0, 0.0), (0.3, 0.1, -2.0)])
def test_fmod_counts_what_was_taken_away(x, z, dz):
    assert ad.grad(np.fmod, (0, 1))(x, z) == (1.0, dz)
    assert ad.jvp(np.fmod, (x, z), (1.0, 1.0))[1] == 1.0 + dz


@pytest.mark.parametrize("f, x, z, expected", [
    (np.fmax, 1.0, 1.0, (0.5, 0.5)), (np.fmax, nan, 1.0, (0.0, 1.0)),
    (np.fmax, 1.0, nan, (1.0, 0.0)),
    (np.fmax, nan, nan, (0.5, 0.5)), (np.fmax, 2.0, 1.0, (1.0, 0.0)),
    (np.fmin, 1.0, 1.0, (0.5, 0.5)), (np.fmin, nan, 1.0, (0.0, 1.0)),
    (np.fmin, 1.0, nan, (1.0, 0.0)),
    (np.fmin, 2.0, 1.0, (0.0, 1.0)), (np.fmin, -inf, 1.0, (1.0, 0.0)),
    (np.copysign, -2.0, 3.0, (-1.0, 0.0)), (np.copysign, 2.0, -0.0, (-1.0, 0.0)),
    (np.copysign, 0.0, 3.0, (0.0, 0.0)), (np.heaviside, 0.0, 0.5, (0.0, 1.0)),
    (np.heaviside, 2.0, 0.5, (0.0, 0.0)), (np.heaviside, -2.0, 0.5, (0.0, 0.0))])
def test_choices_of_two(f, x, z, expected):
    assert ad.grad(f, (0, 1))(x, z) == expected
    assert tuple(ad.jvp(f, (x, z), e)[1] for e in ((1.0, 0.0), (0.0, 1.0))) == expected


def test_nan_to_num_has_no_gradient_where_it_replaced():
    x = np.array([nan, inf, -inf, 2.0])
    f, g = np.nan_to_num, lambda x: (np.nan_to_num(x, nan=3.0, posinf=4.0, neginf=-4.0) * 2.0).sum()
    np.testing.assert_array_equal(ad.grad(g)(x), [0.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(ad.jvp(g, (x,), (np.ones(4),))[1], 2.0)
    leaf = ad.tensor(x.astype(np.float32), requires_grad=True)
    np.testing.assert_array_equal(f(leaf).detach().numpy(), f(x.astype(np.float32)))
    a = ad.grad(lambda a: np.nan_to_num(leaf.detach(), nan=a).sum() * 1.0)(3.0)
    assert a == 1.0


# ---- parts of numbers

def test_parts_of_numbers():
    x = np.array([6.5, -0.3, 1e-320, 0.0, 1e300])
    for ours, theirs in ((ad.frexp(x), np.frexp(x)), (ad.modf(x), np.modf(x))):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert ad.grad(lambda x: ad.frexp(x)[0])(6.5) == 0.125
    assert ad.jvp(lambda x: np.modf(x)[0] * np.modf(x)[1], (6.5,), (1.0,)) == (3.0, 6.0)
    assert ad.grad(lambda x: np.ldexp(x, 3) ** 2)(1.5) == 192.0
    assert ad.modf(inf) == (0.0, inf)


def test_ldexp_refuses_what_is_no_exponent():
    with pytest.raises(DTypeError, match=r"an integer, not float64; write x \* 2\.0 \*\* i"):
        ad.ldexp(1.5, 2.5)


def test_neighbours_have_no_row():
    x = ad.tensor(1.0, requires_grad=True)
    for f in (lambda: np.nextafter(x, 2.0), lambda: np.spacing(x)):
        with pytest.raises(UnsupportedError, match="has no row"):
            f()


def test_unwrap_moves_with_the_phases():
    x = np.array([[0.0, 3.0, -3.0, 2.5], [1.0, 5.0, 9.0, 1.0]])
    for options in ({}, {"axis": 0}, {"period": 4.0}, {"discont": 4.0}):
        f = lambda x, o=options: np.unwrap(x, **o)
        np.testing.assert_allclose(f(ad.tensor(x, requires_grad=True)).detach().numpy(), f(x),
                                   rtol=1e-15, atol=1e-15)
        np.testing.assert_allclose(ad.grad(lambda x, f=f: (f(x) ** 2).sum())(x), 2 * f(x))
    np.testing.assert_allclose(ad.vmap(np.unwrap)(x), np.unwrap(x))
    with pytest.raises(ShapeError, match="axis 2"):
        ad.unwrap(x, axis=2)


# ---- SciPy

def test_scipys_functions_take_tensors():
    x = ad.tensor([0.3, 0.7], requires_grad=True)
    for name, slope in (("erf", lambda v: 2 / np.sqrt(np.pi) * np.exp(-v * v)),
                        ("erfc", lambda v: -2 / np.sqrt(np.pi) * np.exp(-v * v)),
                        ("gammaln", scipy.special.digamma),
                        ("digamma", lambda v: scipy.special.polygamma(1, v)),
                        ("logit", lambda v: 1 / (v * (1 - v))), ("i0", scipy.special.i1),
                        ("i1", lambda v: scipy.special.ivp(1, v)),
                        ("expit", lambda v: scipy.special.expit(v) * scipy.special.expit(-v))):
        x.grad, f = None, getattr(scipy.special, name)
        y = f(x)
        np.testing.assert_allclose(y.detach().numpy(), f(np.array([0.3, 0.7])), rtol=1e-13)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), slope(np.array([0.3, 0.7])), rtol=1e-12)


@pytest.mark.parametrize("x", [0.0, 1e-8, 0.5, 3.0])
def test_bessel_functions_at_every_order(x):
    for order in (1, 2, 3):
        assert derivative(ad.i0, order)(x) == pytest.approx(scipy.special.ivp(0, x, order))
        assert forward(ad.i1, order)(x) == pytest.approx(scipy.special.ivp(1, x, order))


def test_polygamma_at_every_order():
    for n in range(4):
        assert ad.polygamma(n, 1.5) == pytest.approx(scipy.special.polygamma(n, 1.5))
        assert derivative(ad.gammaln, n + 1)(1.5) == pytest.approx(scipy.special.polygamma(n, 1.5))
    for order in (-1, 0.5, True):
        with pytest.raises(ArgumentError, match="0, 1, 2"):
            ad.polygamma(order, 1.5)


def test_scipy_is_imported_on_first_use_only():
    code = ("import sys, adjoint as ad; assert 'scipy' not in sys.modules; ad.gelu; ad.relu6(1.0); "
            "ad.sinc(0.5); assert 'scipy' not in sys.modules; ad.erf(0.5); "
            "assert 'scipy.special' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("f", [
    ad.erf, ad.gammaln, ad.sinc, ad.logit, ad.i0, ad.gelu, ad.relu6, ad.nan_to_num, ad.modf,
    ad.frexp, lambda z: ad.xlogy(z, z), ad.unwrap, lambda z: ad.ldexp(z, 1)])
def test_complex_numbers_are_refused(f):
    with pytest.raises(DTypeError, match="real numbers"):
        f(np.array([1 + 2j]))


# ---- the relu family

# (function, point, slope there): as in PyTorch
KINKS = {
    "relu6 at 0": (ad.relu6, 0.0, 0.0), "relu6 at 6": (ad.relu6, 6.0, 0.0),
    "leaky_relu": (ad.leaky_relu, 0.0, 0.01), "hardtanh at -1": (ad.hardtanh, -1.0, 0.0),
    "hardtanh at 1": (ad.hardtanh, 1.0, 0.0), "hardsigmoid at -3": (ad.hardsigmoid, -3.0, 0.0),
    "hardsigmoid at 3": (ad.hardsigmoid, 3.0, 0.0), "hardswish at -3": (ad.hardswish, -3.0, 0.0),
    "hardswish at 3": (ad.hardswish, 3.0, 1.0),
    "threshold": (lambda x: ad.threshold(x, 1.0, -2.0), 1.0, 0.0),
    "softshrink at 0.5": (ad.softshrink, 0.5, 0.0), "softshrink at -0.5": (
        ad.softshrink, -0.5, 0.0), "hardshrink at 0.5": (ad.hardshrink, 0.5, 0.0),
    "hardshrink at -0.5": (ad.hardshrink, -0.5, 0.0),
    "elu": (lambda x: ad.elu(x, 0.5), 0.0, 0.5),
    "selu": (ad.selu, 0.0, 1.0507009873554805 * 1.6732632423543772), "celu": (
        lambda x: ad.celu(x, 2.0), 0.0, 1.0), "gelu": (ad.gelu, 0.0, 0.5),
    "gelu by tanh": (lambda x: ad.gelu(x, "tanh"), 0.0, 0.5), "silu": (ad.silu, 0.0, 0.5),
    "mish": (ad.mish, 0.0, 0.6), "tanhshrink": (ad.tanhshrink, 0.0, 0.0)}
FAMILY = {
    "relu6": lambda x: np.clip(x, 0, 6), "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "hardtanh": lambda x: np.clip(x, -1, 1), "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "hardshrink": lambda x: x * (np.abs(x) > 0.5), "tanhshrink": lambda x: x - np.tanh(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * scipy.special.ndtr(x), "silu": lambda x: x * scipy.special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x))}


@pytest.mark.parametrize("name", KINKS)
def test_slope_at_the_kink(name):
    f, x, expected = KINKS[name]
    assert ad.grad(f)(x) == pytest.approx(expected, rel=1e-14)
    assert ad.jvp(f, (x,), (1.0,))[1] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", FAMILY)
def test_values_of_the_family(name):
    x = np.concatenate([np.linspace(-8, 8, 65), [-1e4, 1e4, nan]])
    got = getattr(ad, name)(x)
    with np.errstate(invalid="ignore"):
        expected = FAMILY[name](x)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)
    assert getattr(ad, name)(x.astype(np.float32)).dtype == np.float32
    assert getattr(ad, name)([1, -2]).dtype == np.float64
    g = ad.grad(lambda x: getattr(ad, name)(x).sum())(x[:-1])
    assert np.isfinite(g).all()
    assert g[-1] in (0.0, 1.0, 1.0507009873554805)


@pytest.mark.parametrize("name", FAMILY)
def test_halves_stay_halves(name):
    x = ad.tensor(np.array([-2.0, 0.75, 3.5], np.float16), requires_grad=True)
    y = getattr(ad, name)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float16
    np.testing.assert_allclose(y.detach().numpy(), FAMILY[name](np.array([-2.0, 0.75, 3.5])),
                               rtol=2e-3)


@pytest.mark.parametrize("name", ["relu6", "leaky_relu", "hardtanh", "hardsigmoid", "hardswish",
                                  "softshrink", "hardshrink", "elu", "selu", "celu"])
def test_infinities_pass_quietly(name):
    x = np.array([-inf, inf])
    with np.errstate(all="raise"):
        y, pull = ad.vjp(getattr(ad, name), x)
        (slope,) = pull(np.ones(2))
    assert not np.isnan(y).any()
    assert np.isfinite(slope).all()


def test_gelu_by_tanh_is_near_gelu_and_its_tail_exact():
    x = np.linspace(-4, 4, 33)
    np.testing.assert_allclose(ad.gelu(x, "tanh"), ad.gelu(x), atol=2e-3)
    assert ad.gelu(-20.0) == pytest.approx(-20.0 * scipy.special.ndtr(-20.0), rel=1e-13)
    with pytest.raises(ArgumentError, match="'erf'"):
        ad.gelu(x, "erf")


def test_gelu_by_tanh_keeps_its_tail():
    """x (1 + tanh u) / 2 = x / (1 + e^(-2u)): not 0 where tanh u is all but -1."""
    x = -6.5
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)
    assert ad.gelu(x, "tanh") == pytest.approx(x / (1 + math.exp(-2 * u)), rel=1e-13)
    assert ad.gelu(x, "tanh") < 0
    assert ad.grad(lambda x: ad.gelu(x, "tanh"))(x) < 0


@pytest.mark.parametrize("x", [1e-8, -1e-3, 0.01, -0.1])
def test_tanhshrink_near_zero(x):
    """x^3 / 3 - 2 x^5 / 15 + ...; 1 - 1e-16 would be all that is left of x - tanh x."""
    series = (1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075,
              929569 / 638512875)
    expected = sum(c * x ** (2 * k + 3) for k, c in enumerate(series))
    assert ad.tanhshrink(x) == pytest.approx(expected, rel=4e-15)
    assert ad.tanhshrink(ad.tensor(x)).item() == ad.tanhshrink(x)


def test_threshold_passes_nan_on():
    assert np.isnan(ad.threshold(nan, 1.0, -2.0))
    assert ad.grad(lambda x: ad.threshold(x, 1.0, -2.0))(nan) == 1.0
    np.testing.assert_array_equal(ad.threshold([0.5, 1.0, 2.0], 1.0, -2.0), [-2.0, -2.0, 2.0])


def test_arguments_of_the_family():
    with pytest.raises(ArgumentError, match=r"min_val 2\.0 lies above max_val 1\.0"):
        ad.hardtanh(0.0, 2.0, 1.0)
    for f in (ad.softshrink, ad.hardshrink):
        with pytest.raises(ArgumentError, match="from 0 on, not -1"):
            f(0.0, -1)
    with pytest.raises(ArgumentError, match="alpha may not be 0"):
        ad.celu(0.0, 0.0)


# ---- where the kinks are

@pytest.mark.parametrize("name, args, params, expected", [
    ("maximum", ([1.0, 2.0], 1.0), {}, [True, False]),
    ("fmax", (1.0, [1.0, nan]), {}, [True, False]),
    ("relu", ([0.0, 1.0],), {}, [True, False]),
    ("floor", ([1.0, 0.5, inf],), {}, [True, False, False]),
    ("trunc", ([0.0, -1.0, 0.5],), {}, [False, True, False]),
    ("rint", ([0.5, 1.0, -2.5, 0.25],), {}, [True, False, True, False]),
    ("hypot", ([0.0, 1.0], 0.0), {}, [True, False]), ("fmod", ([6.0, 0.0, 1.0], 3.0), {},
                                                     [True, False, False]),
    ("copysign", ([0.0, 1.0], 1.0), {}, [True, False]), ("heaviside", ([0.0, 1.0], 0.5), {},
                                                         [True, False]),
    ("hardtanh", ([-1.0, 0.0, 2.0],), {"low": -1.0, "high": 2.0}, [True, False, True]),
    ("hardswish", ([-3.0, 0.0, 3.0],), {}, [True, False, True]),
    ("elu", ([0.0, 1.0],), {"alpha": 0.5, "scale": 1.0, "rate": 1.0}, [True, False]),
    ("elu", ([0.0, 1.0],), {"alpha": 1.0, "scale": 1.0, "rate": 1.0}, [False, False]),
    ("softshrink", ([-0.5, 0.0, 0.5],), {"width": 0.5}, [True, False, True]),
    ("leaky_relu", ([0.0, 1.0],), {"slope": 0.01}, [True, False]),
    ("threshold", ([0.0, 1.0],), {"limit": 1.0, "value": 0.0}, [False, True])])
def test_kinks_are_named(name, args, params, expected):
    mask = REGISTRY[name].kink(*map(np.asarray, args), **params)
    assert np.asarray(mask).tolist() == expected


@pytest.mark.parametrize("f, x", [
    (ad.relu6, 6.0), (ad.hardtanh, 1.0), (lambda x: ad.fmax(x, 0.0), 0.0), (np.floor, 2.0),
    (lambda x: ad.clip(x, 0, 1), 1.0), (lambda x: ad.frexp(x)[0], 4.0), (ad.softshrink, 0.5)])
def test_kinks_are_reported(f, x):
    with ad.kinks("raise"):
        with pytest.raises(KinkError, match="on a kink"):
            ad.grad(f)(x)
        for smooth in (ad.silu, ad.gelu, ad.celu, ad.mish, ad.sinc, ad.elu, ad.tanhshrink):
            derivative(smooth, 2)(0.0)


def test_comparisons_are_no_kinks():
    assert all(REGISTRY[n].kink is None for n in ("less", "equal", "where", "greater_equal"))
