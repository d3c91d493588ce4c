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
