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
