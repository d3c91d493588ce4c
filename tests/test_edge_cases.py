"""EDGE_CASES.md, row by row: one answer for each case, in reverse and in forward mode.

A case is a function of scalars or of one array, the point, and the gradient; where the table states
it, the second derivatives too. Both modes must give the same, NaN included.
"""

from __future__ import annotations

import operator
import warnings

import numpy as np
import pytest

import adjoint as ad

inf, nan = np.inf, np.nan


@pytest.fixture(autouse=True)
def quiet():
    """Infinities and 0/0 are the subject here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def forward(f, *xs):
    """The gradient by forward mode: the tangent of each single variable, the others constant."""
    parts = []
    for k, x in enumerate(xs):
        def one(z, k=k):
            return f(*xs[:k], z, *xs[k + 1:])
        if np.ndim(x) == 0:
            parts.append(ad.jvp(one, (x,), (1.0,))[1])
        else:
            parts.append(np.array([ad.jvp(lambda e, one=one, i=i, x=x: one(put(x, i, e)),
                                          (x[i],), (1.0,))[1] for i in np.ndindex(x.shape)]))
    return parts


def put(x, i, e):
    """``x`` with the one element ``e``: only it moves."""
    return ad.stack([e if j == i else np.float64(x[j]) for j in np.ndindex(x.shape)])


def check(f, xs, expected, modes="both"):
    xs = [np.asarray(x, float)[()] for x in xs]
    reverse = ad.grad(f, tuple(range(len(xs))))(*xs)
    leaves = [ad.tensor(x, requires_grad=True) for x in xs]
    f(*leaves).backward()
    for k, e in enumerate(expected):
        np.testing.assert_allclose(reverse[k], e, rtol=1e-12, err_msg="grad")
        grad = leaves[k].grad
        np.testing.assert_allclose(0.0 if grad is None else grad.numpy(), e, rtol=1e-12,
                                   err_msg="backward()")
    if modes == "both":
        for got, e in zip(forward(f, *xs), expected, strict=True):
            np.testing.assert_allclose(got, e, rtol=1e-12, err_msg="forward")


def second(f, x, expected):
    """The second derivative by every nesting of the two modes."""
    def push(g):
        return lambda z: ad.jvp(g, (z,), (1.0,))[1]
    x = float(x)
    for name, g in (("reverse over reverse", ad.grad(ad.grad(f))),
                    ("forward over reverse", push(ad.grad(f))),
                    ("reverse over forward", ad.grad(push(f))),
                    ("forward over forward", push(push(f)))):
        np.testing.assert_allclose(g(x), expected, rtol=1e-12, err_msg=name)


# ---- kinks

SCALARS = {
    "abs at 0": (abs, [0.0], [0.0]),
    "ad.abs at 0": (ad.abs, [0.0], [0.0]),
    "relu at 0": (ad.relu, [0.0], [0.0]),
    "maximum(x, 0) at 0": (lambda x: ad.maximum(x, 0.0), [0.0], [0.5]),
    "np.maximum(0, x) at 0": (lambda x: np.maximum(0.0, x), [0.0], [0.5]),
    "minimum(x, 0) at 0": (lambda x: ad.minimum(x, 0.0), [0.0], [0.5]),
    "maximum of two": (ad.maximum, [1.0, 1.0], [0.5, 0.5]),
    "clip at the lower bound": (lambda x: ad.clip(x, 0.0, 1.0), [0.0], [0.5]),
    "clip at the upper bound": (lambda x: np.clip(x, 0.0, 1.0), [1.0], [0.5]),
    "clamp_min": (lambda x: ad.clamp(x, min=0.0), [0.0], [0.5]),
    "stack.max at a tie": (lambda x: ad.stack([x, 0.0]).max(), [0.0], [0.5]),
    "stack.min at a tie": (lambda x, z: ad.stack([x, z]).min(), [2.0, 2.0], [0.5, 0.5]),
    "x**y at 0, 0": (operator.pow, [0.0, 0.0], [0.0, 0.0]),
    "x**0.0 at 0": (lambda x: x ** 0.0, [0.0], [0.0]),
    "0**y at 2": (lambda y: 0.0 ** y, [2.0], [0.0]),
    "0**y at 2, of two": (np.power, [0.0, 2.0], [0.0, 0.0]),
    "(-2)**y at 2": (lambda y: ad.power(-2.0, y), [2.0], [nan]),
    "x**2 at -2": (lambda x: x ** 2, [-2.0], [-4.0]),
    "x**0.5 at 0": (lambda x: x ** 0.5, [0.0], [inf]),
    "sqrt at 0": (np.sqrt, [0.0], [inf]),
    "cbrt at 0": (np.cbrt, [0.0], [inf]),
    "log at 0": (np.log, [0.0], [inf]),
    "1/x at 0": (lambda x: 1.0 / x, [0.0], [-inf]),
    "arctan2(0, 0)": (np.arctan2, [0.0, 0.0], [0.0, 0.0]),
    "x % 3 at 3": (np.remainder, [3.0, 3.0], [1.0, -1.0]),
    "x % 3": (lambda x: x % 3, [3.0], [1.0]),
    "log(exp(x)) at -1000": (lambda x: np.log(np.exp(x)), [-1000.0], [nan]),
    "(sqrt(x) - 2)**2 at 4": (lambda x: (np.sqrt(x) - 2.0) ** 2, [4.0], [0.0]),
    "logaddexp(-inf, -inf)": (np.logaddexp, [-inf, -inf], [0.0, 0.0]),
    "logaddexp(inf, 0)": (np.logaddexp, [inf, 0.0], [1.0, 0.0]),
    "log_sigmoid at -1000": (ad.log_sigmoid, [-1000.0], [1.0]),
    "log_sigmoid at 1000": (ad.log_sigmoid, [1000.0], [0.0]),
    "log(sigmoid(x)) at -1000": (lambda x: ad.log(ad.sigmoid(x)), [-1000.0], [nan]),
    "sigmoid at -1000": (ad.sigmoid, [-1000.0], [0.0]),
    "softplus at 1000": (ad.softplus, [1000.0], [1.0]),
    "where(x>0, sqrt(x), 0) at 0": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), [0.0], [0.0]),
    "where(x>0, log(x), 0) at 0": (lambda x: ad.where(x > 0, ad.log(x), 0.0), [0.0], [0.0]),
    "where(x>0, log(x), 0) at -1": (lambda x: ad.where(x > 0, ad.log(x), 0.0), [-1.0], [0.0]),
    "where(x>0, x, 0/0) at 1": (lambda x: np.where(x > 0, x, (x - 1.0) / (x - 1.0)), [1.0], [1.0]),
    "where(x>0, 1/x, 0) at 0": (lambda x: np.where(x > 0, 1.0 / x, 0.0), [0.0], [0.0]),
    "where(x>0, x**0.5, 0) at 0": (lambda x: np.where(x > 0, x ** 0.5, 0.0), [0.0], [0.0]),
    "where(x<1, arcsin(x), 0) at 1": (lambda x: np.where(x < 1, np.arcsin(x), 0.0), [1.0], [0.0]),
    "where(x<1, arctanh(x), 0) at 1": (
        lambda x: np.where(x < 1, np.arctanh(x), 0.0), [1.0], [0.0]),
    "argmax on the path": (lambda x: x * ad.argmax(ad.stack([x, x * 2.0])), [3.0], [1.0]),
    "a comparison on the path": (lambda x: x * (x > 1.0), [3.0], [1.0]),
    "rounding on the path": (lambda x: x + np.floor(x), [1.5], [1.0]),
    "sign": (lambda x: x * np.sign(x), [-2.0], [-1.0]),
    "fmax(x, 0) at 0": (lambda x: np.fmax(x, 0.0), [0.0], [0.5]),
    "fmin of two": (ad.fmin, [1.0, 1.0], [0.5, 0.5]),
    "fmax(nan, 1)": (np.fmax, [nan, 1.0], [0.0, 1.0]),
    "hypot(0, 0)": (np.hypot, [0.0, 0.0], [0.0, 0.0]),
    "xlogy(0, 0)": (ad.xlogy, [0.0, 0.0], [0.0, 0.0]),
    "xlog1py(0, -1)": (ad.xlog1py, [0.0, -1.0], [0.0, 0.0]),
    "sinc at 0": (np.sinc, [0.0], [0.0]),
    "np.fmod(3, 3)": (np.fmod, [3.0, 3.0], [1.0, -1.0]),
    "divmod(x, 3) at 3": (lambda x: sum(divmod(x, 3.0)), [3.0], [1.0]),
    "ad.mod(3, 3)": (ad.mod, [3.0, 3.0], [1.0, -1.0]),
    "logaddexp2(-inf, -inf)": (np.logaddexp2, [-inf, -inf], [0.0, 0.0]),
    "logaddexp2(inf, 0)": (np.logaddexp2, [inf, 0.0], [1.0, 0.0]),
    "nan_to_num at NaN": (np.nan_to_num, [nan], [0.0]),
    "where(x>0, gammaln(x), 0) at 0": (lambda x: np.where(x > 0, ad.gammaln(x), 0.0), [0.0], [0.0]),
    "where(x>0, logit(x), 0) at 0": (lambda x: np.where(x > 0, ad.logit(x), 0.0), [0.0], [0.0]),
    "where(y>0, xlogy(1, y), 0) at 0": (
        lambda y: np.where(y > 0, ad.xlogy(1.0, y), 0.0), [0.0], [0.0]),
    "relu6 at 0": (ad.relu6, [0.0], [0.0]), "relu6 at 6": (ad.relu6, [6.0], [0.0]),
    "leaky_relu at 0": (ad.leaky_relu, [0.0], [0.01]),
    "hardtanh at 1": (ad.hardtanh, [1.0], [0.0]), "hardtanh at -1": (ad.hardtanh, [-1.0], [0.0]),
    "hardsigmoid at 3": (ad.hardsigmoid, [3.0], [0.0]),
    "hardsigmoid at -3": (ad.hardsigmoid, [-3.0], [0.0]),
    "hardswish at 3": (ad.hardswish, [3.0], [1.5]),
    "hardswish at -3": (ad.hardswish, [-3.0], [-0.5]),
    "threshold at it": (lambda x: ad.threshold(x, 1.0, 0.0), [1.0], [0.0]),
    "softshrink at the bound": (ad.softshrink, [0.5], [0.0]),
    "hardshrink at the bound": (ad.hardshrink, [-0.5], [0.0]),
    "elu at 0": (ad.elu, [0.0], [1.0]), "elu at 1000": (ad.elu, [1000.0], [1.0]),
    "silu at -1000": (ad.silu, [-1000.0], [0.0]), "mish at -1000": (ad.mish, [-1000.0], [0.0]),
    "gelu at -1000": (ad.gelu, [-1000.0], [0.0]), "gelu at 1000": (ad.gelu, [1000.0], [1.0]),
    "gather twice": (lambda x: ad.gather(ad.stack([x, 2.0 * x]), 0, [1, 1]).sum(), [3.0], [4.0]),
}
ARRAYS = {
    "max of [1, 1, 0]": (np.max, [1, 1, 0], [0.5, 0.5, 0]),
    "amax along an axis": (lambda x: np.amax(x, axis=0), [1, 1, 0], [0.5, 0.5, 0]),
    "min of [0, 1, 0]": (lambda x: x.min(), [0, 1, 0], [0.5, 0, 0.5]),
    "logsumexp([-inf, -inf])": (ad.logsumexp, [-inf, -inf], [0, 0]),
    "logsumexp([inf, 0])": (ad.logsumexp, [inf, 0], [1, 0]),
    "logsumexp([-inf, 0])": (ad.logsumexp, [-inf, 0], [0, 1]),
    "prod of [2, 0, 3]": (np.prod, [2, 0, 3], [0, 6, 0]),
    "prod of [0, 0, 3]": (ad.prod, [0, 0, 3], [0, 0, 0]),
    "x[[0, 0]]": (lambda x: x[[0, 0]].sum(), [1, 2], [2, 0]),
    "y[0] = x": (lambda x: ad.setitem(x, 0, x[1] * 3.0).sum(), [1, 2, 5], [0, 4, 1]),
    "where over an array": (
        lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum(), [0, 4, -1], [0, 0.25, 0]),
    "mean of one": (np.mean, [4], [1]),
    "std of constants": (np.std, [0.1, 0.1, 0.1], [0, 0, 0]),
    "var of constants": (np.var, [0.1, 0.1, 0.1], [0, 0, 0]),
    "std of constants, ddof=1": (lambda x: ad.std(x, correction=1), [2, 2], [0, 0]),
    "nanstd of constants": (np.nanstd, [0.1, nan, 0.1, 0.1], [0, 0, 0, 0]),
    "std of one element, ddof=1": (lambda x: np.std(x, ddof=1), [4], [nan]),
    "var of one element, ddof=1": (lambda x: x.var(unbiased=True), [4], [nan]),
    "std of one element": (np.std, [4], [0]),
    "median of an even count": (np.median, [4, 1, 3, 2], [0, 0, 0.5, 0.5]),
    "median of an odd count": (lambda x: x.median(), [4, 1, 3], [0, 0, 1]),
    "quantile 0.5 of an even count": (
        lambda x: np.quantile(x, 0.5), [4, 1, 3, 2], [0, 0, 0.5, 0.5]),
    "sort with ties": (lambda x: (np.sort(x) * np.arange(3.0)).sum(), [2, 1, 1], [2, 0, 1]),
    "argsort on the path": (lambda x: (x * ad.argsort(x)).sum(), [3, 1, 2], [1, 2, 0]),
    "ptp of constants": (np.ptp, [2, 2, 2], [0, 0, 0]),
    "cumprod of [2, 0, 3], summed": (lambda x: np.cumprod(x).sum(), [2, 0, 3], [1, 8, 0]),
    "cumprod of two zeros, summed": (
        lambda x: ad.cumprod(x, axis=0).sum(), [2, 0, 0, 5], [1, 2, 0, 0]),
    "cummax with ties": (lambda x: np.maximum.accumulate(x).sum(), [1, 1, 0], [2, 1, 0]),
    "nansum([NaN, 1])": (np.nansum, [nan, 1], [0, 1]),
    "nanmean([NaN, 1, 2])": (np.nanmean, [nan, 1, 2], [0, 0.5, 0.5]),
    "nanprod([NaN, 0, 3])": (ad.nanprod, [nan, 0, 3], [0, 3, 0]),
    "nanmax with ties": (np.nanmax, [nan, 2, 2], [0, 0.5, 0.5]),
    "nanmedian of an even count": (np.nanmedian, [4, nan, 1], [0.5, 0, 0.5]),
}


@pytest.mark.parametrize("case", SCALARS)
def test_scalars(case):
    check(*SCALARS[case])


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(case):
    f, x, expected = ARRAYS[case]
    check(f, [x], [expected])


def test_norm_at_zero_is_nan_in_both_modes():
    """sqrt(sum(x**2)) at 0 is inf times 0, with the 0 upstream; all of x moves at once."""
    def norm(x):
        return np.sqrt((x ** 2).sum())
    x = np.zeros(3)
    assert np.isnan(ad.grad(norm)(x)).all()
    assert np.isnan(ad.jvp(norm, (x,), (np.ones(3),))[1])


@pytest.mark.parametrize("f, x, expected", [
    (lambda x: (np.sqrt(x) - 2.0) ** 2, 4.0, 0.125),
    (lambda x: (np.log(x) - np.log(4.0)) ** 2, 4.0, 0.125),
    (lambda x: (1.0 / x - 0.25) ** 2, 4.0, 2 / 256),
    (lambda x: (x ** 0.5 - 2.0) ** 2, 4.0, 0.125),
    (lambda x: np.square(np.cbrt(x) - 2.0), 8.0, 2 / 144),
    (lambda x: np.arctan2(x, 1.0) ** 2, 0.0, 2.0),
    (lambda x: x ** 1.0, 0.0, 0.0),
    (lambda x: x ** 2, 0.0, 2.0),
    (lambda x: x ** 2.0, -1.0, 2.0),
    (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
    (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, 0.0),
    (ad.relu, 0.0, 0.0),
    (ad.log_sigmoid, -1000.0, 0.0),
    (ad.sigmoid, -1000.0, 0.0),
    (np.sinc, 0.0, -np.pi ** 2 / 3),
    (np.sinc, 1e-9, -np.pi ** 2 / 3),
    (lambda x: ad.logaddexp2(x, 1.0), 1.0, np.log(2.0) / 4),
    (lambda x: x % 3.0, 3.0, 0.0),
    (lambda x: np.fmax(x, 0.0), 0.0, 0.0),
    (lambda x: (ad.xlogy(x, x) - 4.0 * np.log(4.0)) ** 2, 4.0, 2.0 * (np.log(4.0) + 1.0) ** 2),
    (lambda x: (ad.hypot(x, 3.0) - 5.0) ** 2, 4.0, 2.0 * 0.64),
    (lambda x: (ad.logit(x) - np.log(3.0)) ** 2, 0.75, 2.0 / 0.1875 ** 2),
    (lambda x: np.where(x > 0, ad.xlogy(x, x), 0.0), 0.0, 0.0),
    (ad.relu6, 0.0, 0.0),
    (ad.hardswish, 0.0, 1.0 / 3.0),
    (ad.elu, 0.0, 1.0),
    (ad.gelu, 0.0, np.sqrt(2.0 / np.pi)),
    (ad.silu, 0.0, 0.5),
])
def test_second_derivatives(f, x, expected):
    second(f, x, expected)


def test_prod_with_zeros_at_second_order():
    for x in ([2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0, 4.0, 0.0]):
        n = len(x)
        exact = np.array([[0.0 if i == j else np.prod([x[k] for k in range(n) if k not in (i, j)])
                           for j in range(n)] for i in range(n)])
        np.testing.assert_array_equal(ad.hessian(np.prod)(np.array(x)), exact)
        twice = ad.jacobian(ad.grad(np.prod), mode="reverse")
        np.testing.assert_array_equal(twice(np.array(x)), exact)


def test_prod_beside_an_infinity():
    np.testing.assert_array_equal(ad.grad(np.prod)(np.array([inf])), [1.0])
    np.testing.assert_array_equal(ad.grad(np.prod)(np.array([inf, 2.0, 3.0])), [6.0, inf, inf])


# ---- 0 * inf (DESIGN 6)

def test_zero_downstream_cancels_an_infinite_partial():
    assert ad.grad(lambda x: 0.0 * np.sqrt(x))(0.0) == 0.0
    _, pull = ad.vjp(np.sqrt, np.zeros(2))
    np.testing.assert_array_equal(pull(np.array([0.0, 1.0]))[0], [0.0, inf])


def test_zero_upstream_stays_nan():
    assert np.isnan(ad.grad(lambda x: np.sqrt(x * 0.0))(1.0))
    assert np.isnan(ad.jvp(lambda x: np.sqrt(x * 0.0), (1.0,), (1.0,))[1])


def test_zero_partial_cancels_an_infinite_tangent():
    """Forward mode: the tangent inf of sqrt at 0 meets the partial 0 of a square."""
    assert ad.jvp(lambda x: ad.annihilate(0.0, np.sqrt(x)), (0.0,), (1.0,))[1] == 0.0


@pytest.mark.parametrize("first, second, expected", [
    (0.0, inf, 0.0), (0.0, nan, 0.0), (inf, 0.0, nan), (nan, 0.0, nan), (2.0, 3.0, 6.0),
    (1.0, inf, inf)])
def test_annihilate_has_the_downstream_factor_first(first, second, expected):
    np.testing.assert_array_equal(ad.annihilate(first, second), expected)
    np.testing.assert_array_equal(ad.annihilate(np.array([first]), np.array([second])), [expected])


def test_hessian_at_a_perfect_fit():
    """Masking on the cotangent alone would give 0 here."""
    target = np.array([1.0, 2.0, 3.0])
    for link, slope in ((np.sqrt, lambda y: 0.5 / y), (np.log, lambda y: np.exp(-y))):
        x = target ** 2 if link is np.sqrt else np.exp(target)
        h = ad.hessian(lambda x, link=link: ((link(x) - target) ** 2).sum())(x)
        np.testing.assert_allclose(h, np.diag(2.0 * slope(target) ** 2), rtol=1e-12, atol=1e-15)


# ---- shapes and dtypes

def test_broadcast_of_size_one():
    g = ad.grad(lambda x, z: (x * z).sum(), (0, 1))(np.array([2.0]), np.array([1.0, 2.0, 3.0]))
    assert [v.shape for v in g] == [(1,), (3,)]
    g = ad.grad(lambda x, z: (x * z).sum(), (0, 1))(np.array(2.0), np.array([1.0, 2.0, 3.0]))
    assert [v.shape for v in g] == [(), (3,)]
    assert g[0] == 6.0


def test_empty_arrays():
    x = np.zeros((0, 3))
    assert ad.grad(lambda x: x.sum())(x).shape == (0, 3)
    assert ad.grad(ad.prod)(x).shape == (0, 3)
    assert ad.sum(x, axis=0).shape == ad.mean(x, axis=0).shape == ad.prod(x, axis=0).shape == (3,)
    assert ad.grad(lambda x: x.sum(0).sum())(x).shape == (0, 3)
    with pytest.raises(ad.errors.ShapeError, match=r"max: of nothing: shape \(0, 3\)"):
        ad.max(x)


@pytest.mark.parametrize("x", [
    np.arange(6.0)[::-1], np.arange(12.0)[::2], np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.broadcast_to(np.arange(3.0), (2, 3))], ids=["reversed", "strided", "fortran", "zero stride"])
def test_memory_layouts(x):
    np.testing.assert_array_equal(ad.grad(lambda x: (x * x).sum())(x), 2 * x)
    np.testing.assert_allclose(ad.grad(lambda x: np.sin(x).sum())(x), np.cos(x))


def test_each_gradient_has_the_dtype_of_its_primal():
    x, z = np.ones(3, np.float32), np.ones(3)
    dx, dz = ad.grad(lambda x, z: (x * z).sum(), (0, 1))(x, z)
    assert (dx.dtype, dz.dtype) == (np.float32, np.float64)
    dx, dz = (ad.jvp(f, (v,), (v,))[1] for f, v in ((lambda x: x * z, x), (lambda z: x * z, z)))
    assert dx.dtype == dz.dtype == np.float64


def test_integers_have_no_derivative():
    with pytest.raises(ad.errors.DTypeError, match=r"ad.grad\(f\)\(3.0\)"):
        ad.grad(lambda x: x * x)(3)


def test_division_by_pythons_zero():
    """Python's own 1.0 / 0.0 raises; a row gives an infinity."""
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    (x / 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [inf, inf])
    np.testing.assert_array_equal(ad.jvp(lambda x: x / -0.0, (1.0,), (1.0,))[1], -inf)


# ---- linear algebra

def rebuilt_by_eigh(x):
    w, v = np.linalg.eigh(x)
    return (v * w) @ v.T


def rebuilt_by_svd(x):
    u, s, vh = np.linalg.svd(x)
    return (u * s) @ vh


MATRICES = {  # function, matrix, gradient; then whether forward mode gives it for every element
    "det at rank n-1": (np.linalg.det, np.diag([1.0, 2.0, 0.0]), np.diag([0.0, 0.0, 2.0]), True),
    "det at rank n-2": (np.linalg.det, np.diag([1.0, 0.0, 0.0]), np.zeros((3, 3)), True),
    "det of the 3x3 zero matrix": (np.linalg.det, np.zeros((3, 3)), np.zeros((3, 3)), True),
    "norm at 0": (np.linalg.norm, np.zeros((2, 2)), np.zeros((2, 2)), True),
    "Frobenius at 0": (
        lambda x: np.linalg.norm(x, "fro"), np.zeros((2, 2)), np.zeros((2, 2)), True),
    "1-norm at 0": (lambda x: np.linalg.norm(x, 1), np.zeros((2, 2)), np.zeros((2, 2)), True),
    "1-norm of a vector at 0": (
        lambda x: np.linalg.norm(x.ravel(), 1), np.zeros((2, 2)), np.zeros((2, 2)), True),
    "inf-norm of a vector shares": (
        lambda x: np.linalg.norm(x.ravel(), np.inf), np.ones((2, 2)), np.full((2, 2), 0.25), True),
    "sum of singular values of I": (
        lambda x: np.linalg.svdvals(x).sum(), np.eye(3), np.eye(3), True),
    "nuclear norm of I": (lambda x: np.linalg.norm(x, "nuc"), np.eye(3), np.eye(3), True),
    "sum of singular values of 0": (
        lambda x: np.linalg.svd(x, compute_uv=False).sum(), np.zeros((3, 3)), np.eye(3), True),
    "2-norm of I shares": (lambda x: np.linalg.norm(x, 2), np.eye(2), np.eye(2) / 2, True),
    "sum of eigenvalues of I": (
        lambda x: np.linalg.eigvalsh(x).sum(), np.eye(3), np.eye(3), True),
    "eigh of I rebuilt": (
        lambda x: rebuilt_by_eigh(x).sum(), np.eye(3), np.ones((3, 3)), False),
    "eigh with two equal rebuilt": (
        lambda x: rebuilt_by_eigh(x).sum(), np.diag([1.0, 1.0, 2.0]), np.ones((3, 3)), False),
    "svd of I rebuilt": (lambda x: rebuilt_by_svd(x).sum(), np.eye(3), np.ones((3, 3)), False),
}


@pytest.mark.parametrize("case", MATRICES)
def test_matrices(case):
    f, x, expected, both = MATRICES[case]
    np.testing.assert_allclose(ad.grad(f)(x), expected, atol=1e-12)
    leaf = ad.tensor(x, requires_grad=True)
    f(leaf).backward()
    np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=1e-12)

    def moved(i):
        e = np.zeros_like(x)
        e[i] = 1.0
        return ad.jvp(f, (x,), (e,))[1]
    if both:
        np.testing.assert_allclose([[moved((i, j)) for j in range(len(x))] for i in range(len(x))],
                                   expected, atol=1e-12)
    else:  # a direction that splits equal values is an error, never a wrong tangent
        with pytest.raises(ad.errors.MatrixError, match="splits"):
            moved((0, 1))


def test_matrices_that_have_no_derivative():
    one, eye = np.ones((2, 2)), np.eye(2)
    for f, x in ((lambda x: np.linalg.slogdet(x)[1], one),
                 (lambda x: np.linalg.eigh(x)[1][0, 0], eye),
                 (lambda x: np.linalg.svd(x)[0][0, 0], eye)):
        with pytest.raises(ad.errors.MatrixError, match=r"singular|equal"):
            ad.grad(f)(x)
        with pytest.raises(ad.errors.MatrixError, match=r"singular|equal"):
            ad.jvp(f, (x,), (np.array([[1.0, 2.0], [2.0, 5.0]]),))


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_ignores_a_triangle(upper):
    g = ad.grad(lambda x: np.linalg.cholesky(x, upper=upper).sum())(np.array([[2.0, 1], [1, 3]]))
    assert g[(1, 0) if upper else (0, 1)] == 0 != g[(0, 1) if upper else (1, 0)]
