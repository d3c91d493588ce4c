"""Statistics, sorting, scans, counts and series: NumPy's values, exact derivatives, errors."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.primitive import REGISTRY
from adjoint.errors import (
    AdjointError,
    ArgumentError,
    DTypeError,
    EscapeError,
    IndexingError,
    ShapeError,
    UnsupportedError,
)

nan, inf = np.nan, np.inf
rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4, 2))
HOLES = X.copy()
HOLES[0, 1, 0] = HOLES[2, :, 1] = HOLES[1, 3, 1] = nan
WHOLE = np.array([[3, 1, 2], [9, 5, 7]])
COMPLEX = X[..., 0] + 1j * X[..., 1]
AXES = (None, 0, 1, -1, (0, 2), (2, 0), (0, 1, 2))
OVER_AXES = ("var", "std", "median", "ptp", "nansum", "nanmean", "nanprod", "nanmax", "nanmin",
             "nanvar", "nanstd", "nanmedian", "count_nonzero")
ALONG = ("cumsum", "cumprod", "nancumsum", "nancumprod", "sort", "argsort")
SKIPPING = [name for name in (*OVER_AXES, *ALONG) if name.startswith("nan")]
METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "hazen", "weibull",
           "median_unbiased", "normal_unbiased", "interpolated_inverted_cdf")


@pytest.fixture(autouse=True)
def quiet():
    """NumPy warns of empty and all-NaN slices, of which some tests are made."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def plain(y):
    return y.detach().numpy() if isinstance(y, ad.Tensor) else np.asarray(y)


def same(got, expected):
    got, expected = (y if isinstance(y, tuple) else (y,) for y in (got, expected))
    for g, e in zip(map(plain, got), map(np.asarray, expected), strict=True):
        assert (g.shape, g.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(g, e, rtol=1e-11, atol=1e-13)


def like_numpy(name, x, *args, **params):
    """By our name on an array, and by NumPy's on a Tensor."""
    expected = getattr(np, name)(x, *args, **params)
    tracked = ad.tensor(x, requires_grad=np.asarray(x).dtype.kind in "fc")
    same(getattr(ad, name)(x, *args, **params), expected)
    same(getattr(np, name)(tracked, *args, **params), expected)


def slope(f, x, dx, h=1e-4):
    def central(h):
        return (f(x + h * dx) - f(x - h * dx)) / (2 * h)
    return (4 * central(h / 2) - central(h)) / 3


def exact(f, x, tolerance=1e-7):
    """Both modes against differences and each other, and the second derivatives."""
    local = np.random.default_rng(1)
    dx, w = local.normal(size=x.shape), local.normal(size=np.shape(f(x)))
    dy = ad.jvp(f, (x,), (dx,))[1]
    np.testing.assert_allclose(dy, slope(f, x, dx), rtol=tolerance, atol=tolerance)
    (g,) = ad.vjp(f, x)[1](w)
    np.testing.assert_allclose((g * dx).sum(), (w * dy).sum(), rtol=1e-9, atol=1e-11)

    def gradient(x):
        return ad.vjp(f, x)[1](w)[0]
    along = ad.jvp(gradient, (x,), (dx,))[1]
    np.testing.assert_allclose(along, slope(gradient, x, dx), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ad.grad(lambda x: (gradient(x) * dx).sum())(x), along,
                               rtol=1e-9, atol=1e-9)


# ---- values

@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", OVER_AXES)
def test_values_over_axes(name, axis):
    for keepdims in (False, True):
        like_numpy(name, X, axis=axis, keepdims=keepdims)
        like_numpy(name, HOLES, axis=axis, keepdims=keepdims)
    if name.endswith(("var", "std")):
        for ddof in (1, 0.5, 30):
            like_numpy(name, X, axis=axis, ddof=ddof)
        same(getattr(ad, name)(X, dim=axis, correction=1, keepdim=True),
             getattr(np, name)(X, axis=axis, ddof=1, keepdims=True))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ALONG)
def test_values_along_an_axis(name, axis):
    stably = {"kind": "stable"} if name == "argsort" else {}  # ours always is: NaN are ties
    like_numpy(name, X, axis=axis, **stably)
    like_numpy(name, HOLES, axis=axis, **stably)
    same(getattr(ad, name)(X, dim=axis) if axis is not None else getattr(ad, name)(X, axis=None),
         getattr(np, name)(X, axis=axis))


@pytest.mark.skipif(not hasattr(np, "cumulative_sum"), reason="NumPy 2.0 does not have them")
@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_names_of_the_array_api(name):
    for include in (False, True):
        like_numpy(name, X, axis=1, include_initial=include)
        like_numpy(name, WHOLE[0].astype(np.int8), include_initial=include)
    exact(lambda x: getattr(np, name)(x, axis=0, include_initial=True), X)
    with pytest.raises(ArgumentError, match=r"\(3, 4, 2\)"):
        getattr(ad, name)(X)


@pytest.mark.parametrize("dtype", [bool, np.int8, int, np.float32])
@pytest.mark.parametrize("name", [*OVER_AXES, *ALONG, "diff", "trapezoid", "cov", "unique"])
def test_dtypes(name, dtype):
    if name == "ptp" and dtype is bool:
        pytest.skip("NumPy has no difference of booleans")
    like_numpy_roughly(name, WHOLE.astype(dtype))


def like_numpy_roughly(name, x):
    got, expected = getattr(ad, name)(x), getattr(np, name)(x)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["var", "std", "nanvar", "nanstd", "nanmean", "nansum", "cumsum",
                                  "cumprod", "sort", "argsort", "diff", "cov", "corrcoef",
                                  "average"])
def test_complex_values(name):
    like_numpy(name, COMPLEX)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "sort", "argsort", "diff", "nansum", "var",
                                  "std", "nanmean", "nanvar", "unique", "nonzero", "argwhere",
                                  "trapezoid", "ediff1d", "count_nonzero"])
def test_empty(name):
    like_numpy(name, np.zeros((0, 3)))


@pytest.mark.parametrize("name", ["var", "std", "median", "nanmedian", "cumsum", "cumprod",
                                  "nansum", "nanvar", "nanmean", "nanmax", "ptp", "unique"])
def test_without_axes(name):
    like_numpy(name, np.float64(2.5))


@pytest.mark.parametrize("x", [[inf, 1.0], [inf, inf], [-inf, inf, 0.0], [nan, 1.0], [nan, nan]],
                         ids=str)
@pytest.mark.parametrize("name", ["var", "std", "median", "sort", "cumsum", "cumprod", "ptp",
                                  "nanmax", "nanmin", "nanvar", "nanmedian", "nansum"])
def test_values_that_are_not_finite(name, x):
    like_numpy(name, np.array(x))


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_quantiles(axis):
    for q, keepdims in itertools.product((0, 1, 0.3, [0.2, 0.9], [[0.0, 0.5]]), (False, True)):
        like_numpy("quantile", X, q, axis=axis, keepdims=keepdims)
        like_numpy("quantile", HOLES, q, axis=axis, keepdims=keepdims)
        like_numpy("percentile", X, np.multiply(q, 100), axis=axis, keepdims=keepdims)
        if np.ndim(q) < 2:  # there NumPy puts the axes of q elsewhere than in quantile
            like_numpy("nanquantile", HOLES, q, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_quantiles(method):
    for q in np.linspace(0, 1, 21):
        like_numpy("quantile", np.arange(5.0), float(q), method=method)
        like_numpy("quantile", X, [q, 1 - q], axis=1, method=method)


@pytest.mark.parametrize("q", [0.3, np.float32(0.3), np.float64(0.3), [0.3]], ids=repr)
def test_dtypes_of_quantiles(q):
    x = X.astype(np.float32)
    for got, expected in ((ad.quantile(x, q), np.quantile(x, q)),
                          (ad.percentile(x, np.asarray(q) * 50), np.percentile(
                              x, np.asarray(q) * 50))):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_many_halves():
    """Counts, sums and ranks above 65504, the largest half, and above 2048, where they are even."""
    x = np.ones(70_001, np.float16)
    x[::2] = 2
    for name, expected in (("var", 0.25), ("std", 0.5), ("nanvar", 0.25), ("nanstd", 0.5),
                           ("nanmean", 1.5)):
        y = getattr(ad, name)(x)
        assert (y.dtype, float(y)) == (np.float16, expected)
        g = ad.grad(getattr(ad, name))(x)
        assert g.dtype == np.float16
        np.testing.assert_allclose(g[:2], ad.grad(getattr(ad, name))(x.astype(float))[:2],
                                   rtol=0.01)
    like_numpy("nanmean", x, dtype=np.float32)
    y = np.arange(70_000).astype(np.float16)
    for q in (0.01, 0.5, 0.613):
        expected = np.quantile(y.astype(float), q)
        for name in ("quantile", "nanquantile"):
            np.testing.assert_allclose(getattr(ad, name)(y, q), expected, rtol=1e-3)
    assert ad.quantile(np.arange(4097.0).astype(np.float32), 0.5) == 2048.0
    assert ad.std(np.array([300, -300], np.float16)) == 300.0


def test_quantiles_between_infinities():
    """NumPy gives NaN for most of these: it computes 0 * inf, and inf - inf."""
    assert ad.quantile([-inf, 0.0, inf], 0.5) == 0.0
    assert ad.quantile([inf, inf], 0.3) == inf
    assert ad.quantile([inf, 1.0], 0.7) == ad.median([inf, 1.0]) == inf
    assert ad.quantile([-inf, 1.0], 0.2) == -inf
    assert np.isnan(ad.quantile([-inf, inf], 0.5))
    np.testing.assert_array_equal(
        ad.grad(lambda x: ad.quantile(x, 0.25))(np.array([1.0, inf])), [0.75, 0.25])


@pytest.mark.parametrize("params", [
    {}, {"n": 2}, {"n": 0}, {"axis": 0}, {"prepend": 0.0}, {"append": X[:, :, :1]},
    {"axis": 0, "prepend": X[:2]}], ids=",".join)
def test_diff(params):
    like_numpy("diff", X, **params)


@pytest.mark.parametrize("params", [
    {}, {"axis": 0}, {"axis": 1, "weights": np.array([1.0, 2.0, 3.0, 4.0])},
    {"axis": (2, 0), "weights": np.arange(1.0, 7.0).reshape(2, 3)}, {"weights": X ** 2},
    {"axis": 1, "returned": True},
    {"axis": 0, "weights": [1, 2, 3], "returned": True, "keepdims": True}])
def test_average(params):
    like_numpy("average", X, **params)


@pytest.mark.parametrize("params", [
    {}, {"rowvar": False}, {"bias": True}, {"ddof": 0}, {"ddof": 9}, {"fweights": [1, 2, 3, 1]},
    {"aweights": [1.0, 2.0, 0.5, 1.0]},
    {"aweights": [1.0, 2.0, 0.5, 1.0], "fweights": [1, 2, 3, 1], "ddof": 2}],
    ids=",".join)
def test_cov(params):
    x = X[..., 0]
    params = {k: np.resize(v, 3) if "rowvar" in params and "weights" in k else v
              for k, v in params.items()}
    like_numpy("cov", x, **params)
    like_numpy("corrcoef", x, rowvar=params.get("rowvar", True))
    like_numpy("cov", x[0])
    like_numpy("cov", x[0], x[1])
    assert ad.corrcoef(x[0]) == 1.0


@pytest.mark.parametrize("n, m", list(itertools.product((1, 2, 3, 5), (1, 2, 4, 5))))
def test_convolve_and_correlate(n, m):
    local = np.random.default_rng(n + 10 * m)
    a, v = (local.normal(size=k) + 1j * local.normal(size=k) for k in (n, m))
    for mode in ("full", "same", "valid"):
        like_numpy("convolve", a, v, mode)
        like_numpy("correlate", a, v, mode)


def test_valid_convolution_computes_no_more_than_it_gives():
    """The whole convolution of these would be 4e10 products, in both directions."""
    x = np.random.default_rng(8).normal(size=200_000)
    np.testing.assert_allclose(ad.grad(lambda x: ad.correlate(x, x)[0])(x), 2 * x)
    np.testing.assert_allclose(ad.jvp(ad.correlate, (x, x), (x, x))[1], 2 * np.correlate(x, x))


@pytest.mark.parametrize("params", [
    {}, {"left": 7.0}, {"right": -2.0}, {"period": 5.0}, {"period": -3.0}], ids=str)
def test_interp(params):
    x = np.array([-1, 0, 0.5, 1, 2, 3, 3.5, 4, 5, nan, -7, 9])
    points = np.array([0.0, 1.0, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, 5.0])
    like_numpy("interp", x, *points, **params)
    same(ad.interp(x[:5], [1.0], [3.0]), np.interp(x[:5], [1.0], [3.0]))


@pytest.mark.parametrize("x, xp, fp", [
    (2.0, [1.0, 2.0, 2.0], [0.0, 1.0, 5.0]), ([1.0, 1.5, 2.0, 3.0], [1, 2, 2, 3], [0, 1, 5, 6]),
    ([1.0, 1.5, 2.0, 3.0], [1, 2, 3], [-inf, 0, inf]), ([1.5], [1, 2], [inf, inf]),
    ([0, -5.0, inf, -inf], [-inf, 0, inf], [1, 2, 3]), ([0.5, inf], [0, inf], [1, 2]),
    ([1e308], [-1.7e308, 1.7e308], [0, 1]), ([0.5, 1.0, 2.0], [0, 1, 2], [nan, 1.0, 3.0])], ids=str)
def test_interp_of_infinities_and_points_at_one_place(x, xp, fp):
    x, xp, fp = (np.asarray(v, float) for v in (x, xp, fp))
    same(ad.interp(x, xp, fp), np.interp(x, xp, fp))
    same(np.interp(ad.tensor(x, requires_grad=True), xp, fp), np.interp(x, xp, fp))
    same(ad.vmap(lambda x: ad.interp(x, xp, fp))(np.stack([x, x]))[1], np.interp(x, xp, fp))


def test_interp_at_two_points_of_one_place_has_the_last_of_them():
    g = ad.grad(lambda fp: np.interp(2.0, np.array([1.0, 2.0, 2.0]), fp))(np.array([0.0, 1.0, 5.0]))
    np.testing.assert_array_equal(g, [0.0, 0.0, 1.0])


def test_cov_without_a_degree_of_freedom_left_is_never_negative():
    x = np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 5.0]])
    for weights in ({}, {"fweights": [1, 2, 1]}, {"aweights": [1.0, 0.5, 2.0]}):
        like_numpy("cov", x, ddof=9, **weights)


def test_unwrap_of_values_that_are_not_finite():
    for x in ([0.0, 3.0, inf, 1.0], [nan, 3.0, -3.0], [0.0, 2.0, 4.0, 2.0]):
        like_numpy("unwrap", np.array(x))
        like_numpy("unwrap", np.array(x, np.float32), period=4)


# ---- constants

@pytest.mark.parametrize("name", ["nonzero", "argwhere", "flatnonzero", "count_nonzero",
                                  "histogram", "unique"])
def test_places_and_counts(name):
    x = np.round(X)
    like_numpy(name, x)
    like_numpy(name, WHOLE)


def test_searchsorted_and_digitize():
    a, v = np.array([1.0, 2.0, 2.0, 3.0]), np.array([[0.0, 2.0], [5.0, 1.5]])
    for side in ("left", "right"):
        like_numpy("searchsorted", a, v, side)
        same(ad.searchsorted(a[::-1], v, side, sorter=[3, 2, 1, 0]), np.searchsorted(a, v, side))
    for bins, right in itertools.product(([0.0, 1.0, 2.0], [2.0, 1.0, 0.0]), (False, True)):
        like_numpy("digitize", np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), np.array(bins), right)


def test_constants_are_not_tracked():
    x = ad.tensor(X[0], requires_grad=True)
    for y in (np.argsort(x), x.argsort(0), np.count_nonzero(x), np.searchsorted(X[0, :, 0], x),
              np.digitize(x, [0.0, 1.0])):
        assert not y.requires_grad
    assert np.asarray(x.nonzero()[0]).dtype == np.intp
    assert ad.grad(lambda x: (x * np.count_nonzero(x)).sum())(np.array([2.0, 0.0]))[0] == 1.0


def test_unique_in_every_form():
    like_numpy("unique", WHOLE % 4, True, True, True)
    like_numpy("unique", np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]]), axis=0)
    g = ad.grad(lambda x: (np.unique(x) * np.array([1.0, 2.0])).sum())(np.array([5.0, 3.0, 5.0]))
    np.testing.assert_array_equal(g, [2.0, 1.0, 0.0])


def test_weights_that_are_counted_have_a_gradient():
    places = [1, 1, 4]
    like_numpy("bincount", np.array(places), minlength=7)
    same(ad.bincount(places, np.arange(3.0), 7), np.bincount(places, np.arange(3.0), 7))
    exact(lambda w: ad.bincount(places, weights=w) ** 2, np.array([1.0, 2.0, 3.0]))
    x = np.array([0.0, 0.5, 1.7, 2.0, 2.5, 9.0])
    for density in (None, True):
        given = (x, 3, (0.0, 2.0), density, np.arange(1.0, 7.0))
        same(ad.histogram(*given), np.histogram(*given))
        exact(lambda w, d=density: ad.histogram(x, 3, (0.0, 2.0), d, w)[0] ** 2,
              np.arange(1.0, 7.0))


def test_weights_keep_their_dtype():
    x, w = np.array([1.0, 2.0, 2.0, 5.0]), np.array([1, 2, 3, 4])
    for weights in (w, w.astype(np.float32), w * 1.5, w * 1j):
        for density in (None, True):
            same(ad.histogram(x, 3, weights=weights, density=density),
                 np.histogram(x, 3, weights=weights, density=density))
    same(ad.bincount([True, False, True]), np.bincount([True, False, True]))


@pytest.mark.parametrize("options", [{}, {"bins": 3}, {"bins": "sqrt"}, {"density": True}], ids=str)
def test_edges_that_x_sets_move_with_it(options):
    x = np.array([0.5, 2.07, 1.31, 3.0, 2.6])
    like_numpy("histogram", x, **options)
    for part in (0, 1) if "density" in options else (1,):
        exact(lambda x, part=part: np.histogram(x, **options)[part], x)
    assert not isinstance(ad.histogram(x)[1], ad.Tensor)
    tracked = ad.tensor(x, requires_grad=True)
    for given in ({"bins": [0.0, 1.0, 4.0]}, {"range": (0.0, 4.0)}):
        assert isinstance(np.histogram(tracked, **given)[1], np.ndarray)
    assert isinstance(np.histogram(tracked.detach())[1], np.ndarray)
    same(np.histogram(ad.tensor([2.0, 2.0], requires_grad=True), 4), np.histogram([2.0, 2.0], 4))


# ---- derivatives

@pytest.mark.parametrize("axis", [None, 1, (0, 2)], ids=str)
@pytest.mark.parametrize("name", ["var", "std", "median", "ptp"])
def test_derivatives_over_axes(name, axis):
    exact(lambda x: getattr(ad, name)(x, axis=axis, keepdims=True), X)


@pytest.mark.parametrize("axis", [None, 1, (0, 2)], ids=str)
@pytest.mark.parametrize("name", [n for n in OVER_AXES if n.startswith("nan")])
def test_derivatives_skip_nan(name, axis):
    x = HOLES.copy()
    x[2, 0, 1] = 0.3  # no slice is NaN throughout
    weights = np.where(np.isnan(x), nan, 1.0)

    def f(x):
        return getattr(ad, name)(x, axis=axis)
    dx = np.random.default_rng(2).normal(size=x.shape)
    dy = ad.jvp(f, (x,), (dx,))[1]
    np.testing.assert_allclose(dy, slope(f, x, dx), rtol=1e-6, atol=1e-6)
    w = np.random.default_rng(3).normal(size=np.shape(dy))
    (g,) = ad.vjp(f, x)[1](w)
    np.testing.assert_array_equal(g[np.isnan(weights)], 0.0)
    np.testing.assert_allclose((g * dx).sum(), (w * dy).sum(), rtol=1e-9)


@pytest.mark.parametrize("f", [
    lambda x: ad.var(x, axis=0, ddof=1), lambda x: ad.std(x, axis=(0, 1), ddof=1.5),
    lambda x: ad.quantile(x, [0.1, 0.35, 0.8], axis=1),
    lambda x: ad.percentile(x, 40.0, method="hazen"),
    lambda x: ad.cumsum(x ** 2, axis=1), lambda x: ad.cumprod(x, axis=1),
    ad.cumprod, lambda x: ad.cummax(x ** 2, axis=0), lambda x: ad.cummin(x, axis=1),
    lambda x: ad.sort(x ** 2, axis=1), lambda x: ad.sort(x, axis=None, descending=True) ** 2,
    lambda x: ad.topk(x ** 2, 2, dim=1)[0], lambda x: ad.partition(x ** 3, 1, axis=0),
    lambda x: ad.diff(x ** 2, 2, axis=1), lambda x: np.ediff1d(x ** 2, 1.0),
    lambda x: np.trapezoid(x ** 2, axis=1),
    lambda x: np.trapezoid(x[0] ** 2, x[1], axis=0), lambda x: ad.trapezoid(x ** 2, dx=x[0, 0, 0]),
    lambda x: ad.cumulative_trapezoid(x ** 2, axis=1, initial=0),
    lambda x: ad.linear_recurrence(x[0], x[1], axis=0),
    lambda x: ad.linear_recurrence(x, x ** 2, axis=1, reverse=True),
    lambda x: np.average(x ** 2, axis=1, weights=x[0, :, 0] ** 2),
    lambda x: np.cov(x[..., 0]), lambda x: ad.cov(x[0], x[1], rowvar=False),
    lambda x: ad.cov(x[..., 0], aweights=x[0, :, 1] ** 2), lambda x: np.corrcoef(x[..., 1]),
    lambda x: np.convolve(x[0, :, 0], x[1, :3, 1], "same"),
    lambda x: np.correlate(x[0, :, 0], x[1, :3, 1]),
    lambda x: np.interp(x[..., 0], np.array([-1.0, 0.1, 1.0]), x[0, :3, 1]),
    lambda x: np.interp(0.3, np.sort(x[0, :, 0]), x[0, :, 1] ** 2),
    lambda x: np.unique(x ** 2),
])
def test_derivatives(f):
    exact(f, X)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "std", "var", "median", "nanstd"])
def test_derivatives_of_long_series(name):
    """More elements than a block of anything; the recurrence is run twice as long backwards."""
    x = 1.0 + 0.01 * np.random.default_rng(5).normal(size=301)
    def f(x):
        return getattr(ad, name)(x)
    dx = np.random.default_rng(6).normal(size=x.shape)
    dy = ad.jvp(f, (x,), (dx,))[1]
    np.testing.assert_allclose(dy, slope(f, x, dx, 1e-5), rtol=1e-5, atol=1e-7)
    w = np.random.default_rng(7).normal(size=np.shape(dy))
    np.testing.assert_allclose((ad.vjp(f, x)[1](w)[0] * dx).sum(), (w * dy).sum(), rtol=1e-9)


@pytest.mark.parametrize("x", [[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 0.0, 4.0, 0.0, 5.0]],
                         ids=str)
def test_cumprod_is_exact_at_zeros(x):
    x = np.array(x)
    n = len(x)
    jacobian = np.array([[np.prod([x[k] for k in range(i + 1) if k != j]) if j <= i else 0.0
                          for j in range(n)] for i in range(n)])
    np.testing.assert_array_equal(ad.jacobian(np.cumprod, mode="reverse")(x), jacobian)
    np.testing.assert_array_equal(ad.jacobian(np.cumprod, mode="forward")(x), jacobian)
    second = np.array([[sum(np.prod([x[k] for k in range(i + 1) if k not in (j, m)])
                            for i in range(max(j, m), n)) if j != m else 0.0
                        for m in range(n)] for j in range(n)])
    np.testing.assert_array_equal(ad.hessian(lambda x: np.cumprod(x).sum())(x), second)
    np.testing.assert_array_equal(
        ad.jacobian(ad.grad(lambda x: np.cumprod(x).sum()), mode="reverse")(x), second)


@pytest.mark.parametrize("bad", [inf, nan])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_zero_downstream_cancels_in_a_recurrence(place, bad):
    """What is not used has no part in the gradient, whatever it is: in both modes."""
    x = np.array([2.0, 3.0, 5.0])
    x[place] = bad
    for f in (np.cumprod, lambda x: ad.linear_recurrence(x, x),
              lambda x: ad.linear_recurrence(x, x, reverse=True), np.cumsum, ad.cummax,
              lambda x: np.convolve(x, x), np.std, np.cov, lambda x: np.quantile(x, [0.3])):
        def unused(x, f=f):
            return np.where(False, f(x), 0.0).sum()
        np.testing.assert_array_equal(ad.grad(unused)(x), np.zeros(3))
        np.testing.assert_array_equal(ad.grad(lambda x, u=unused: u(x) + x[0])(x), [1.0, 0.0, 0.0])
        assert ad.jvp(unused, (x,), (np.ones(3),))[1] == 0.0
    np.testing.assert_array_equal(ad.grad(lambda x: np.cumprod(x)[0])(x), [1.0, 0.0, 0.0])
    assert [ad.jvp(lambda x: np.cumprod(x)[0], (x,), (e,))[1] for e in np.eye(3)] == [1.0, 0.0, 0.0]


def test_cumulative_extremes_share_ties():
    """Each result is a maximum of what came before, and has its gradient."""
    x = np.array([1.0, 1.0, 0.0, 1.0, 3.0, 3.0, 2.0])
    for f, g, sign in ((ad.cummax, np.max, 1), (ad.cummin, np.min, -1)):
        expected = np.array([np.pad(ad.grad(g)(sign * x[:i + 1]), (0, len(x) - i - 1))
                             for i in range(len(x))])
        for mode in ("forward", "reverse"):
            np.testing.assert_allclose(ad.jacobian(f, mode=mode)(sign * x), expected)


def test_spread_of_equal_numbers_is_exactly_none():
    """The mean of three 0.1 is not 0.1: the deviations must be 0 all the same."""
    for x in (np.full(3, 0.1), np.full((2, 3), 1e8 + 0.1), np.full(7, 0.1 + 0.3j)):
        for name in ("var", "std", "nanvar", "nanstd"):
            f = getattr(ad, name)
            assert f(x) == 0.0
            if x.dtype.kind == "f":
                np.testing.assert_array_equal(ad.grad(f)(x), np.zeros(x.shape))
                assert ad.jvp(f, (x,), (np.arange(x.size).reshape(x.shape) * 1.0,))[1] == 0.0
    assert ad.grad(np.nanstd)(np.array([0.1, nan, 0.1, 0.1])).tolist() == [0.0] * 4
    np.testing.assert_array_equal(ad.hessian(np.std)(np.full(3, 0.1)), np.zeros((3, 3)))


def test_one_element_has_no_sample_spread():
    for f in (lambda x: np.std(x, ddof=1), lambda x: x.var(correction=1),
              lambda x: ad.std(x, unbiased=True)):
        assert np.isnan(ad.grad(f)(np.array([4.0]))).all()
        assert np.isnan(ad.jvp(f, (np.array([4.0]),), (np.ones(1),))[1])


def test_medians_and_ties():
    np.testing.assert_array_equal(ad.grad(np.median)(np.array([4.0, 1.0, 3.0, 2.0])),
                                  [0.0, 0.0, 0.5, 0.5])
    np.testing.assert_array_equal(ad.grad(np.median)(np.array([4.0, 1.0, 3.0])), [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(
        ad.grad(lambda x: (np.sort(x) * np.arange(3.0)).sum())(np.array([2.0, 1.0, 1.0])),
        [2.0, 0.0, 1.0])
    np.testing.assert_array_equal(
        ad.grad(lambda x: (ad.sort(x, descending=True) * np.arange(3.0)).sum())(
            np.array([1.0, 2.0, 2.0])), [2.0, 0.0, 1.0])


def test_complex_spread_ascends_steepest():
    z = COMPLEX.ravel()
    d = z - z.mean()
    np.testing.assert_allclose(ad.grad(np.var)(z), 2 * d / z.size, rtol=1e-12)
    np.testing.assert_allclose(ad.grad(np.std)(z), d / (z.size * np.std(z)), rtol=1e-12)
    np.testing.assert_allclose(ad.grad(np.nanvar)(z), 2 * d / z.size, rtol=1e-12)
    dz = np.exp(1j * np.arange(z.size))
    for f in (np.var, np.std):
        np.testing.assert_allclose(ad.jvp(f, (z,), (dz,))[1], slope(f, z, dz), rtol=1e-8)
    np.testing.assert_allclose(ad.grad(lambda z: ad.abs(np.cumprod(z)[-1]) ** 2)(z[:3]),
                               2 * abs(z[:3].prod()) ** 2 / z[:3].conj(), rtol=1e-12)


@pytest.mark.parametrize("name", ["var", "std", "median", "cumsum", "cumprod", "sort", "nanvar",
                                  "cov"])
def test_gradients_have_the_dtype_of_the_primal(name):
    x = X[0].astype(np.float32)
    g = ad.grad(lambda x: getattr(np, name)(x).sum())(x)
    assert (g.dtype, g.shape) == (np.float32, x.shape)


# ---- spellings

def test_numpys_integers_are_axes():
    for name in ("var", "median", "nansum", "max", "average", "cumsum", "sort"):
        like_numpy(name, X, axis=np.int64(1))
    like_numpy("average", X, axis=np.int64(-1), weights=[1.0, 2.0])


def test_methods():
    x = ad.tensor(X, requires_grad=True)
    for got, expected in (
            (x.var(0), X.var(0)), (x.std(dim=1, unbiased=True), X.std(1, ddof=1)),
            (x.var(1, True), X.var(1, ddof=1)), (x.median(1), np.median(X, 1)),
            (x.cumsum(1), X.cumsum(1)), (x.cumprod(dim=0), X.cumprod(0)),
            (x.diff(dim=0), np.diff(X, axis=0)), (ad.sort(x, 1), np.sort(X, 1)),
            (ad.sort(x, 1, True), np.sort(X, 1)[:, ::-1]), (x.argsort(0), X.argsort(0)),
            (x.quantile(0.3, 1), np.quantile(X, 0.3, 1)), (x.ptp(), np.ptp(X))):
        same(got, expected)


def test_ufunc_methods_take_the_first_axis():
    """As NumPy's do, and unlike its functions sum and cumsum."""
    x = ad.tensor(HOLES, requires_grad=True)
    for f in (np.add, np.multiply, np.maximum, np.minimum):
        same(f.reduce(x), f.reduce(HOLES))
        same(f.reduce(x, axis=None), f.reduce(HOLES, axis=None))
        same(f.reduce(x, 1, keepdims=True), f.reduce(HOLES, 1, keepdims=True))
        same(f.accumulate(x), f.accumulate(HOLES))
        same(f.accumulate(x, axis=-1), f.accumulate(HOLES, axis=-1))
    same(np.fmax.reduce(x), np.fmax.reduce(HOLES))
    same(np.logical_and.reduce(x > 0), np.logical_and.reduce(HOLES > 0))


def test_topk():
    values, places = ad.topk(ad.tensor([[3.0, 1.0, 3.0], [0.0, 5.0, 2.0]]), 2)
    same(values, np.array([[3.0, 3.0], [5.0, 2.0]]))
    same(places, np.array([[0, 2], [1, 2]]))
    same(ad.topk(X, 2, 1, largest=False)[0], np.sort(X, 1)[:, :2])


# ---- kinks

@pytest.mark.parametrize("name, x, params, expected", [
    ("max", [1.0, 1.0, 0.0], {"axis": None, "keepdims": False}, [True, True, False]),
    ("max", [1.0, 2.0, 0.0], {"axis": None, "keepdims": False}, [False] * 3),
    ("min", [1.0, 0.0, 0.0], {"axis": (0,), "keepdims": True}, [False, True, True]),
    ("nanmax", [nan, 2.0, 2.0], {"axis": None, "keepdims": False}, [False, True, True]),
    ("sort", [1.0, 2.0, 1.0], {"axis": 0, "descending": False}, [True, False, True]),
    ("order_statistics", [1.0, 1.0, 3.0, 4.0], {"ranks": (2, 3)}, [False] * 4),
    ("order_statistics", [1.0, 3.0, 3.0, 4.0], {"ranks": (1, 2)}, [False, True, True, False]),
    ("cummax", [1.0, 1.0, 0.0, 2.0], {"axis": 0}, [False, True, True, False]),
    ("std", [0.1, 0.1], {"axis": None, "ddof": 0, "keepdims": False}, [True, True]),
    ("std", [0.1, 0.2], {"axis": None, "ddof": 0, "keepdims": False}, [False, False]),
])
def test_kinks(name, x, params, expected):
    mask = REGISTRY[name].kink(np.array(x), **params)
    assert np.asarray(mask).tolist() == expected


# ---- what is refused

T = ad.tensor(WHOLE, dtype=float, requires_grad=True)
REFUSED = {
    "var, axis": (lambda: np.var(T, axis=2), ShapeError, "axis 2 does not exist"),
    "var, ddof": (lambda: np.var(T, ddof="a"), ArgumentError, "finite number, not 'a'"),
    "std, ddof nan": (lambda: ad.std(T, ddof=nan), ArgumentError, "not nan"),
    "var, where": (lambda: np.var(T, where=WHOLE > 1), UnsupportedError, "where"),
    "std, dim": (lambda: T.std(dim=4), ShapeError, "axis 4"),
    "median, empty": (lambda: ad.median(np.zeros((0, 3)), axis=0), ShapeError, r"\(0, 3\)"),
    "median, twice": (lambda: np.median(T, axis=(0, 0)), ShapeError, "twice"),
    "quantile, q": (lambda: np.quantile(T, 1.5), ArgumentError, "from 0 to 1, not 1.5"),
    "quantile, q nan": (lambda: ad.quantile(T, nan), ArgumentError, "from 0 to 1, not nan"),
    "quantile, q text": (lambda: ad.quantile(T, "a"), ArgumentError, "not 'a'"),
    "quantile, q tensor": (lambda: ad.quantile(T, ad.tensor(0.5)), ArgumentError, "constant"),
    "quantile, method": (lambda: np.quantile(T, 0.5, method="inverted_cdf"), ArgumentError,
                         "no method 'inverted_cdf'"),
    "quantile, complex": (lambda: ad.quantile(T * 1j, 0.5), DTypeError, "complex"),
    "quantile, empty": (lambda: ad.quantile([], 0.5), ShapeError, "of nothing"),
    "percentile, q": (lambda: np.percentile(T, 101), ArgumentError, "from 0 to 100, not 101"),
    "nanmedian, empty": (lambda: ad.nanmedian([]), ShapeError, "nanmedian: of nothing"),
    "nanmax, empty": (lambda: ad.nanmax([]), ShapeError, "nanmax: of nothing"),
    "ptp, empty": (lambda: ad.ptp([]), ShapeError, "ptp: of nothing"),
    "cumsum, axis": (lambda: np.cumsum(T, axis=5), ShapeError, "axis 5"),
    "cumprod, axis": (lambda: ad.cumprod(T, axis="a"), ArgumentError, "integer, not 'a'"),
    "cummax, axis": (lambda: np.maximum.accumulate(T, axis=3), ShapeError, "axis 3"),
    "sort, axis": (lambda: np.sort(T, axis=1.0), ArgumentError, "integer, not 1.0"),
    "argsort, 0-d": (lambda: ad.argsort(1.0), ShapeError, "axis -1"),
    "partition": (lambda: np.partition(T, 7), ShapeError, "no rank 7 along an axis of size 3"),
    "topk": (lambda: ad.topk(T, 5), ShapeError, "from 0 to 3"),
    "order statistics": (lambda: ad.order_statistics(T, [3]), ShapeError, "no rank 3"),
    "diff, n": (lambda: np.diff(T, -1), ArgumentError, "0 or more, not -1"),
    "diff, axis": (lambda: np.diff(T, axis=2), ShapeError, "axis 2"),
    "diff, prepend": (lambda: np.diff(T, prepend=[1.0, 2.0]), ShapeError, r"\(2, 3\).*\(2,\)"),
    "trapezoid": (lambda: np.trapezoid(T, x=[1.0, 2.0]), ShapeError, "3 values along axis 1"),
    "recurrence": (lambda: ad.linear_recurrence(np.ones(2), np.ones(3)), ShapeError, "broadcast"),
    "average, shape": (lambda: np.average(T, weights=[1.0, 2.0]), ShapeError, r"\(2,\) fit"),
    "average, zero": (lambda: np.average(T, weights=np.zeros((2, 3))), ArgumentError, "sum to 0"),
    "cov, axes": (lambda: ad.cov(np.ones((2, 2, 2))), ShapeError, r"\(2, 2, 2\)"),
    "cov, y": (lambda: ad.cov(T, [1.0, 2.0]), ShapeError, "3 observations"),
    "cov, fweights": (lambda: np.cov(T, fweights=[1, 2]), ShapeError, "fweights"),
    "cov, fweights of floats": (lambda: ad.cov(T, fweights=[1.5, 1, 1]), DTypeError,
                                "integers, not float64; give aweights"),
    "cov, negative": (lambda: np.cov(T, aweights=[-1.0, 1, 1]), ArgumentError,
                      "aweights may not be negative"),
    "ediff1d": (lambda: ad.ediff1d([1, 2], to_end=T[0, 0]), DTypeError, "would be cut off"),
    "ediff1d, float": (lambda: ad.ediff1d([1, 2], to_begin=0.5), DTypeError, r"astype\(float64\)"),
    "convolve, axes": (lambda: np.convolve(T, [1.0]), ShapeError, r"\(2, 3\) and \(1,\)"),
    "convolve, empty": (lambda: ad.convolve([], [1.0]), ShapeError, r"\(0,\)"),
    "convolve, mode": (lambda: ad.convolve([1.0], [2.0], "all"), ArgumentError, "'all'"),
    "interp, order": (lambda: np.interp(T, [2.0, 1.0], [1.0, 2.0]), ArgumentError, "increase"),
    "interp, shapes": (lambda: ad.interp(T, [1.0, 2.0], [1.0]), ShapeError, r"\(2,\) and \(1,\)"),
    "interp, period": (lambda: ad.interp(T, [1.0, 2.0], [1.0, 2.0], period=0), ArgumentError, "0"),
    "interp, complex": (lambda: ad.interp(1j, [1.0, 2.0], [1.0, 2.0]), DTypeError, "complex"),
    "searchsorted": (lambda: np.searchsorted(WHOLE, T), ShapeError, r"\(2, 3\)"),
    "searchsorted, side": (lambda: ad.searchsorted([1.0], T, "up"), ArgumentError, "'up'"),
    "searchsorted, sorter": (lambda: ad.searchsorted([1.0, 2.0], 1.0, sorter=[0, 5]),
                             IndexingError, "5"),
    "digitize": (lambda: np.digitize(T, [1.0, 3.0, 2.0]), ArgumentError, "increase or decrease"),
    "bincount, floats": (lambda: ad.bincount(T[0]), DTypeError, "integers, not float64"),
    "bincount, negative": (lambda: ad.bincount([-1]), ArgumentError, "-1"),
    "bincount, weights": (lambda: ad.bincount([1, 2], weights=T[0]), ShapeError, r"\(3,\)"),
    "bincount, length": (lambda: ad.bincount([1], minlength=-1), ArgumentError, "not -1"),
    "histogram, bins": (lambda: np.histogram(T, bins=[3.0, 1.0]), ArgumentError, "increase"),
    "histogram, weights": (lambda: ad.histogram(T, weights=[1.0]), ShapeError, r"\(1,\)"),
    "histogram, range": (lambda: np.histogram(T, range=(T[0, 0], 9.0)), EscapeError,
                         "range is tracked"),
    "histogram, edges": (lambda: ad.histogram([1.0], bins=[0.0, T[0, 0]]), EscapeError,
                         "bins is tracked"),
    "bincount, complex": (lambda: ad.bincount([1], weights=[1j]), DTypeError, "real numbers"),
    "var, dtype": (lambda: ad.var(T, dtype=int), DTypeError, "float, not int64"),
    "nanquantile, complex": (lambda: ad.nanquantile(T * 1j, 0.5), DTypeError, "complex"),
    "nanmedian, complex": (lambda: ad.nanmedian(T * 1j), DTypeError, "complex"),
    "average, zero tensor": (lambda: ad.average(T[0], weights=T[0] * 0), ArgumentError, "sum to 0"),
    "nonzero, 0-d": (lambda: ad.nonzero(1.0), ShapeError, "0-d"),
    "unique, axis": (lambda: ad.unique(T, axis=4), ShapeError, "axis 4"),
    "unique in vmap": (lambda: ad.vmap(ad.unique)(WHOLE), EscapeError, "vmap"),
    "integers": (lambda: ad.grad(ad.var)(np.array([1, 2])), DTypeError, "int64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, AdjointError)


def test_extremes_of_nothing_name_the_row():
    x = np.zeros((0, 3))
    for name in ("max", "min", "nanmax", "nanmin", "median", "ptp", "argmax", "quantile"):
        more = (0.5,) if name == "quantile" else ()
        with pytest.raises(ShapeError, match=rf"{name}: of nothing: shape \(0, 3\)"):
            getattr(ad, name)(x, *more)
        assert np.shape(getattr(ad, name)(x, *more, axis=1)) == (0,)


@pytest.mark.parametrize("scale", [1e-300, 1e-165, 1.0, 1e160, 1e300])
def test_std_keeps_its_gradient_where_squares_leave_the_range(scale):
    x = np.array([[3.0, 4.0, 8.0], [5.0, 5.0, 5.0]]) * scale
    usual = x / scale
    np.testing.assert_allclose(ad.std(x, axis=1) / scale, np.std(usual, axis=1), rtol=1e-14)
    for f in (lambda x: ad.std(x, axis=1, ddof=1).sum(), lambda x: np.std(x[0])):
        np.testing.assert_allclose(ad.grad(f)(x), ad.grad(f)(usual), rtol=1e-13)
        np.testing.assert_allclose(ad.jvp(f, (x,), (usual,))[1], ad.jvp(f, (usual,), (usual,))[1],
                                   rtol=1e-13)
    small = np.array([3e-30, 4e-30], np.float32)
    np.testing.assert_allclose(ad.grad(np.std)(small), [-0.5, 0.5], rtol=1e-6)
