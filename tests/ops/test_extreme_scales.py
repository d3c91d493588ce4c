"""Derivatives at sizes whose squares and products leave the range, against mpmath.

Each derivative here fits into a float64; what stands between does not.
"""

import numpy as np
import pytest

import adjoint as ad

mpmath = pytest.importorskip("mpmath", reason="the references have more digits than a float")
DIGITS = 1500  # the elements of one matrix may differ by 1e600

# ---- det


def exact(x):
    return mpmath.matrix([[mpmath.mpf(float(v)) for v in row] for row in x])


def cofactors(x):
    """The gradient of det: of the exact matrix, minor by minor."""
    n = x.rows
    y = mpmath.matrix(n, n)
    for i in range(n):
        for j in range(n):
            y[i, j] = (-1) ** (i + j) * mpmath.det(mpmath.matrix(
                [[x[a, b] for b in range(n) if b != j] for a in range(n) if a != i]))
    return y


def floats(x):
    return np.array([[float(v) for v in row] for row in x.tolist()])


RANDOM = np.random.default_rng(0).normal(size=(4, 4))
ROWS, COLUMNS = np.array([1e-200, 1e-200, 1e300]), np.array([1e-100, 1e-50, 1e-180])
MATRICES = {
    "diagonal": np.diag([1e-200, 1e-200, 1e300]), "the other way": np.diag([1e150, 1e-300, 1e100]),
    "singular": np.diag([0.0, 1e-200, 1e300]), "subnormal": np.diag([1e-320, 1e-200, 1e300]),
    "rows": RANDOM[:3, :3] * ROWS[:, None], "columns": RANDOM[:3, :3] * ROWS,
    "both": RANDOM[:3, :3] * COLUMNS * ROWS[[2, 1, 0], None], "small": RANDOM[:3, :3] * 1e-150,
    "two": np.array([[1e-10, 1e-200], [1e200, 1e-10]]), "four small": RANDOM * 1e-90,
    "four": RANDOM * np.array([1e-150, 1e200, 1e-90, 1.0]),
    "four, singular": np.diag([1e-200, 0.0, 1e300, 1e-200]),
    "four, rank 3": np.vstack([RANDOM[:3], RANDOM[:1] * 2.0]) * np.array([1e-150, 1.0, 1e90, 1.0])}


def agree(got, expected, tolerance):
    """Each column has its own size, and in it an element as much as it may be off."""
    unit = np.abs(expected).max(0)
    unit = np.where(unit > 0, unit, 1.0)
    np.testing.assert_allclose(got / unit, expected / unit, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", MATRICES)
def test_gradient_of_det(case):
    x = MATRICES[case]
    with mpmath.workdps(DIGITS):
        expected = floats(cofactors(exact(x)))
    agree(ad.grad(ad.linalg.det)(x), expected, 1e-12)


@pytest.mark.parametrize("case", MATRICES)
def test_second_derivative_of_det(case):
    x = MATRICES[case]
    n = len(x)
    d = np.random.default_rng(1).normal(size=(n, n)) * np.abs(x)
    with mpmath.workdps(DIGITS):
        h = mpmath.mpf(10) ** -600
        up, down = (cofactors(exact(x) + s * exact(d)) for s in (h, -h))
        slopes = floats((up - down) / (2 * h))
    got = ad.jvp(ad.grad(ad.linalg.det), (x,), (d,))[1]
    agree(got, slopes, 1e-11)
    back = ad.vjp(ad.grad(ad.linalg.det), x)[1](d)  # the Hessian is symmetric
    agree(back[0] if isinstance(back, tuple) else back, slopes, 1e-11)


def test_det_of_many_rows():
    """A product of 400 singular values leaves the range on its way."""
    x = np.diag(np.where(np.arange(400) % 2, 1e-3, 1e3)[np.argsort(np.arange(400) % 2)])
    x[0, 0] = 0.0
    expected = np.zeros((400, 400))
    expected[0, 0] = 1e-3
    np.testing.assert_allclose(ad.grad(ad.linalg.det)(x), expected, atol=1e-15)


# ---- hypot

LEGS = [(1e-160, 1e-200), (1e-200, 1e-200), (1e200, 1e150), (1e-160, -2e-161), (1e300, -1e300),
        (1.0, 1e-10), (1e-10, -1.0), (3.0, 4.0), (0.0, 1e-200)]


@pytest.mark.parametrize("x, z", LEGS)
def test_second_derivatives_of_hypot(x, z):
    with mpmath.workdps(50):
        a, b = mpmath.mpf(x), mpmath.mpf(z)
        r = mpmath.sqrt(a * a + b * b)
        expected = [[float(b * b / r ** 3), float(-a * b / r ** 3)],
                    [float(-a * b / r ** 3), float(a * a / r ** 3)]]

    def length(p):
        return ad.hypot(p[0], p[1])
    p = np.array([x, z])
    for second in (ad.hessian(length), ad.jacobian(ad.grad(length))):
        np.testing.assert_allclose(second(p), expected, rtol=1e-14)


def test_third_derivative_of_hypot():
    f = ad.grad(ad.grad(ad.grad(lambda x: ad.hypot(x, 1e-10))))
    with mpmath.workdps(50):
        expected = float(mpmath.diff(lambda x: mpmath.sqrt(x * x + mpmath.mpf(1e-10) ** 2), 1, 3))
    assert f(1.0) == pytest.approx(expected, rel=1e-12)


# ---- reciprocal

@pytest.mark.parametrize("x, d", [(1e200, 1e250), (1e-200, 1e-250), (np.float32(1e25), 1e25)])
def test_reciprocal_where_its_slope_leaves_the_range(x, d):
    expected = -d / float(x) / float(x)
    d = x.dtype.type(d) if isinstance(x, np.float32) else d
    rtol = 1e-6 if isinstance(x, np.float32) else 1e-14
    assert ad.jvp(ad.reciprocal, (x,), (d,))[1] == pytest.approx(expected, rel=rtol)
    assert ad.grad(lambda x: ad.reciprocal(x) * d)(x) == pytest.approx(expected, rel=rtol)


# ---- nanstd

@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-155, 1.0, 1e153, 1e170, 1e300])
@pytest.mark.parametrize("ddof", [0, 1])
def test_nanstd(size, ddof):
    x = np.array([[1.0, 2.0, np.nan, 4.5], [-1.0, np.nan, np.nan, 0.3]])
    y = ad.nanstd(x * size, axis=1, ddof=ddof)
    np.testing.assert_allclose(y, np.nanstd(x, axis=1, ddof=ddof) * size, rtol=1e-14)

    def f(x):
        return ad.nanstd(x, axis=1, ddof=ddof) @ np.array([1.0, 2.0])
    slopes = ad.grad(f)(x)
    np.testing.assert_allclose(ad.grad(f)(x * size), slopes, rtol=1e-13)
    e = np.where(np.isnan(x), 0.0, 1.0) * np.arange(8.0).reshape(2, 4)
    np.testing.assert_allclose(
        ad.jvp(ad.grad(f), (x * size,), (e * size,))[1], ad.jvp(ad.grad(f), (x,), (e,))[1],
        rtol=1e-12, atol=1e-15)


def test_nanstd_of_rows_of_different_size():
    x = np.array([[1e-200, 3e-200, np.nan], [1e200, np.nan, 3e200], [1.0, 3.0, np.nan],
                  [5e-200, np.nan, 5e-200]])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ad.nanstd(x, 1), [1e-200, 1e200, 1.0, 0.0], rtol=1e-14)
        slopes = ad.jacobian(lambda x: ad.nanstd(x, 1))(x).sum(0)
    np.testing.assert_allclose(slopes, [[-0.5, 0.5, 0], [-0.5, 0, 0.5], [-0.5, 0.5, 0], [0, 0, 0]],
                               rtol=1e-14)


# ---- f(s x) = s^k f(x): a power of two scales exactly, and so must derivatives

L, draw = ad.linalg, np.random.default_rng(3)
VECTOR, SQUARE = draw.normal(size=5) + 0.3, draw.normal(size=(3, 3))
SYMMETRIC, TALL = SQUARE @ SQUARE.T + np.eye(3), draw.normal(size=(4, 3))
FOUR, WITH_NAN = draw.normal(size=(4, 4)), np.where(np.arange(5) == 2, np.nan, VECTOR)


def mixed(y):
    return ad.sum(y * np.random.default_rng(9).normal(size=y.shape))


HOMOGENEOUS = {  # f, x, k
    **{f"norm {p}": (lambda x, p=p: L.norm(x, p), VECTOR, 1) for p in (1, 2, 3, 0.5, -2, np.inf)},
    **{f"matrix norm {p}": (lambda x, p=p: L.norm(x, p), SQUARE, 1) for p in ("fro", "nuc", 1, 2)},
    "std": (ad.std, VECTOR, 1), "var": (ad.var, VECTOR, 2), "nanstd": (ad.nanstd, WITH_NAN, 1),
    "median": (ad.median, VECTOR, 1), "quantile": (lambda x: ad.quantile(x, 0.3), VECTOR, 1),
    "det": (L.det, SQUARE, 3), "det of 4 rows": (L.det, FOUR, 4),
    "slogdet": (lambda x: L.slogdet(x)[1], SQUARE, 0),
    "inv": (lambda x: mixed(L.inv(x)), SQUARE, -1), "pinv": (lambda x: mixed(L.pinv(x)), TALL, -1),
    "pinv, wide": (lambda x: mixed(L.pinv(x)), TALL.T, -1),
    "solve": (lambda x: mixed(L.solve(x, VECTOR[:3])), SQUARE, -1),
    "lstsq": (lambda x: mixed(L.lstsq(x, VECTOR[:4])[0]), TALL, -1),
    "svdvals": (lambda x: mixed(L.svdvals(x)), TALL, 1),
    "eigvalsh": (lambda x: mixed(L.eigvalsh(x)), SYMMETRIC, 1),
    "eigh": (lambda x: mixed(L.eigh(x)[1] ** 2), SYMMETRIC, 0),
    "svd": (lambda x: mixed(L.svd(x, full_matrices=False)[0] ** 2), TALL, 0),
    "qr": (lambda x: mixed(L.qr(x)[1]), TALL, 1),
    "cholesky": (lambda x: mixed(L.cholesky(x)), SYMMETRIC, 0.5),
    "sqrtm": (lambda x: mixed(L.sqrtm(x)), SYMMETRIC, 0.5),
    "cond": (L.cond, SQUARE, 0), "corrcoef": (lambda x: mixed(ad.corrcoef(x)), TALL, 0),
    "arctan2": (lambda x: ad.arctan2(x[0], x[1]), VECTOR, 0),
    "absolute of complex": (lambda x: ad.abs(x[0] + 1j * x[1]), VECTOR, 1)}


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("power", [-500, -300, 300, 500])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_functions_that_scale(name, power):
    f, x, k = HOMOGENEOUS[name]
    for order, derive in ((1, ad.grad(f)), (2, ad.hessian(f))):
        expected = np.ldexp(derive(x), int(power * (k - order)))
        got = derive(np.ldexp(x, power))
        unit = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        if 1e-290 < unit < 1e300 and np.isfinite(expected).all():
            np.testing.assert_allclose(got / unit, expected / unit, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [1e-300, 1e-10, 1e10, 1e100, 1e200])
@pytest.mark.parametrize("f", [L.expm, L.sqrtm, L.logm], ids=["expm", "sqrtm", "logm"])
def test_a_cotangent_of_any_size(f, size):
    """The derivative of a matrix function is a block beside the matrix, and took its digits."""
    x = SQUARE * 0.3 + 2.0 * np.eye(3)
    for derive in (ad.grad, ad.hessian) if f is not L.logm else (ad.grad,):
        expected = derive(lambda x: mixed(f(x)))(x)
        np.testing.assert_allclose(derive(lambda x: mixed(f(x)) * size)(x) / size, expected,
                                   rtol=0, atol=1e-12 * np.abs(expected).max())


# ---- second derivatives whose factors leave the range, or whose digits cancel

def logistic(x):
    return 1 / (1 + mpmath.exp(-x))


def power_hessian(x, z):
    y, log = x ** z, mpmath.log(x)
    return z * (z - 1) * y / x ** 2, y / x * (1 + z * log), y * log ** 2


def angle_hessian(x, z):
    h = (x * x + z * z) ** 2
    return -2 * x * z / h, (x * x - z * z) / h, 2 * x * z / h


def share_hessian(x, z):
    y = logistic(x - z) * logistic(z - x)
    return y, -y, y


SLOPES = {  # f'', and points
    "arctan": (ad.arctan, lambda x: -2 * x / (1 + x * x) ** 2,
               [1e100, -1e102, 1e80, 3.0, 1e-8, -1e-300]),
    "softplus": (ad.softplus, lambda x: logistic(x) * logistic(-x),
                 [700.0, 40.0, -700.0, 17.0, 0.5]),
    "log_sigmoid": (ad.log_sigmoid, lambda x: -logistic(x) * logistic(-x),
                    [-700.0, -40.0, 700.0, -17.0, 0.5]),
    "sinc": (ad.sinc, lambda x: -mpmath.pi * mpmath.sinpi(x) / x - 2 * mpmath.cospi(x) / x ** 2
             + 2 * mpmath.sinpi(x) / (mpmath.pi * x ** 3), [1e5, 1e10, 1e10 + 0.5, -3.0, 7.25]),
    "reciprocal": (ad.reciprocal, lambda x: 2 / x ** 3, [1e100, -1e-100, 1e102, 3.0]),
    "of a number": (lambda z: 1e300 / z, lambda x: 2 * mpmath.mpf(1e300) / x ** 3,
                    [1e160, -1e160, 1e200, 1e20, 3.0]),
    "cbrt": (ad.cbrt, lambda x: -mpmath.cbrt(x) / x ** 2 * 2 / 9, [1e-180, 1e150, 1e-8])}
HESSIANS = {  # (xx, xz, zz), and points
    "divide": (ad.divide, lambda x, z: (mpmath.mpf(0), -1 / z ** 2, 2 * x / z ** 3), [
        (1e300, 1e160), (1e-308, 1e-155), (1e-200, 1e-155), (1e-300, 1e-200), (1e308, 1e200),
        (1e-300, -1e-180), (3.0, 7.0), (1e100, 1e-50)]),
    "power": (ad.power, power_hessian, [
        (1e-300, 2.0), (1e-155, 1e-300), (1e-200, 1e-300), (1e-160, 1e-160), (1e-155, 1e-8),
        (1e-290, 1e-30), (1e200, 1.5), (1e-100, 3.0), (0.5, 1015.0), (3.0, 2.5)]),
    "arctan2": (ad.arctan2, angle_hessian, [
        (1e-160, 1e-300), (1e-300, 1e-155), (1e-155, 1e-200), (1e-200, -1e-160), (3.0, 4.0),
        (1e150, 1e155), (-1e-103, 1e-103), (1e-150, 2.0)]),
    "logaddexp": (ad.logaddexp, share_hessian, [
        (0.0, -40.0), (300.0, 0.5), (700.0, 10.0), (-20.0, 18.0), (1.0, 1.0)]),
    "logaddexp2": (ad.logaddexp2, lambda x, z: [
        v * mpmath.log(2) for v in share_hessian(x * mpmath.log(2), z * mpmath.log(2))], [
        (0.0, -300.0), (700.0, -300.0), (1.0, 2.0)])}


def compare(got, expected):
    """Elements whose true value is a normal number have its digits."""
    for value, true in zip(got, expected, strict=True):
        if true == 0 or np.finfo(float).tiny < abs(true) < np.finfo(float).max:
            assert value == pytest.approx(float(true), rel=1e-11, abs=0)


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("name", SLOPES)
def test_second_derivatives(name):
    f, exact_second, points = SLOPES[name]
    with mpmath.workdps(DIGITS):
        expected = [exact_second(mpmath.mpf(p)) for p in points]
    x = np.array(points)
    slope = ad.grad(lambda x: ad.sum(f(x)))
    one = np.ones(len(x))

    def rate(x):
        return ad.jvp(f, (x,), (np.ones(x.shape),))[1]
    compare(ad.grad(lambda x: ad.sum(slope(x)))(x), expected)
    compare(ad.jvp(slope, (x,), (one,))[1], expected)
    compare(ad.jvp(rate, (x,), (one,))[1], expected)
    compare([ad.grad(ad.grad(f))(p) for p in points], expected)
    compare([ad.grad(ad.grad(f))(np.float64(p)) for p in points], expected)


def second_ways(f, x, z):
    """The (xx, xz, zz) of each way: reverse over each mode, and forward over each."""
    one = np.ones(x.shape)[()]

    def slopes(i):
        return ad.grad(lambda x, z: ad.sum(f(x, z)), i)

    def rates(i):  # of one argument: a tangent 0 would meet partials that are infinite
        return lambda x, z: ad.jvp(lambda v: f(*((v, z), (x, v))[i]), ((x, z)[i],), (one,))[1]
    for of in (slopes, rates):
        def total(i, j, of=of):
            return ad.grad(lambda x, z: ad.sum(of(i)(x, z)), j)(x, z)

        def rate(i, j, of=of):
            return ad.jvp(lambda v: of(i)(*((v, z), (x, v))[j]), ((x, z)[j],), (one,))[1]
        for way in (total, rate):
            yield way(0, 0), way(0, 1), way(1, 1)
            yield way(0, 0), way(1, 0), way(1, 1)


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("name", HESSIANS)
def test_second_derivatives_of_two_arguments(name):
    f, exact_second, points = HESSIANS[name]
    with mpmath.workdps(DIGITS):
        expected = [exact_second(*map(mpmath.mpf, p)) for p in points]
    for way in second_ways(f, *np.array(points).T):  # all in one array: each its own way
        for got, true in zip(np.transpose(way), expected, strict=True):
            compare(got, true)
    for p, true in zip(points, expected, strict=True):
        for way in second_ways(f, *map(np.float64, p)):
            compare(way, true)


@pytest.mark.parametrize("f, x, z, d, expected", [
    (ad.divide, 1e-300, 1e-200, 1e120, -1e220), (ad.divide, 1e200, 1e200, 1e-150, -1e-350),
    (ad.divide, 1e250, 1e200, 1e-150, -1e-300), (ad.power, -0.9, 1e-200, 1e-300, -0.9e80)])
def test_a_cotangent_that_leaves_the_range_on_its_way(f, x, z, d, expected):
    g = f if f is ad.divide else lambda z, x: ad.power(x, z)
    for a in (np.float64, lambda v: np.array([v, 2.0])):
        slope = ad.grad(lambda z, a=a: ad.sum(g(a(x), z) * a(d)))(a(z))
        assert np.ravel(slope)[0] == pytest.approx(expected, rel=1e-12, abs=0)


def test_single_precision_leaves_its_own_range():
    x, z = np.float32([1e30, 2.0]), np.float32([1e20, 4.0])
    second = ad.grad(lambda z: ad.sum(ad.grad(lambda z: ad.sum(x / z))(z)))(z)
    assert second.dtype == np.float32
    np.testing.assert_allclose(second, [2e-30, 0.0625], rtol=1e-5)


def test_what_leaves_the_range_elsewhere_changes_no_digit():
    """Another order of a product may round otherwise, by a unit in the last place."""
    x, z = np.array([1.1, 1e300]), np.array([0.7, 1e160])
    second = ad.grad(lambda z: ad.sum(ad.grad(lambda z: ad.sum(x / z))(z)))
    alone = ad.grad(ad.grad(lambda z: 1.1 / z))(0.7)
    assert second(z)[0] == pytest.approx(alone, rel=1e-15)
