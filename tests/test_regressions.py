"""Faults that a review found, each with the smallest program that showed it."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import DTypeError

Z = 2.0 + 3.0j


@pytest.mark.parametrize(("part", "expected"), [
    (ad.real, 1.0), (ad.imag, 1.0j), (ad.abs, Z / abs(Z))])
def test_real_parts_of_complex_values_are_real(part, expected):
    """Their Aval said complex, so that the imaginary part of a cotangent went back to z."""
    def f(z):
        return ad.real(part(z) * (1.0 + 1.0j))
    z = ad.tensor(Z, requires_grad=True)
    y = part(z)
    assert y.dtype == y.detach().numpy().dtype == np.float64
    f(z).backward()
    np.testing.assert_allclose(z.grad.item(), expected)
    np.testing.assert_allclose(ad.grad(f)(Z), expected)
    zs = ad.tensor(np.array([Z, Z], np.complex64), requires_grad=True)
    f(zs).sum().backward()
    np.testing.assert_allclose(zs.grad.numpy(), np.full(2, expected), rtol=1e-6)
    assert (part(zs).dtype, zs.grad.dtype) == (np.float32, np.complex64)


@pytest.mark.parametrize("x", [np.float32(0.5), np.full(2, 0.5, np.float32)])
@pytest.mark.parametrize("f", [
    lambda x: 2.0 ** x, lambda x: 2 ** x, lambda x: ad.power(np.int8(2), x),
    lambda x: x / np.int8(2), lambda x: ad.divide(np.int8(2), x)])
def test_cotangents_of_float32_are_float32(f, x):
    """2.0 ** x has the dtype of x, so the sweep casts nothing: the rule gave float64."""
    leaf, inner, seen = ad.tensor(x, requires_grad=True), ad.tensor(x, requires_grad=True), []
    between = inner * 1.0
    between.register_hook(lambda dy: seen.append(dy.dtype))
    f(leaf).sum().backward()
    f(between).sum().backward()
    assert (leaf.grad.dtype, seen) == (np.float32, [np.float32])
    expected = ad.grad(lambda x: f(x).sum())(np.float64(x) if np.ndim(x) == 0 else x.astype(float))
    np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=1e-6)


def test_power_with_a_complex_exponent():
    """NumPy's own float64 ** complex is a Python number, which no rule can read."""
    x = ad.tensor(2.0, requires_grad=True)
    y = x ** 1j
    ad.real(y).backward()
    np.testing.assert_allclose(y.item(), 2.0 ** 1j)
    np.testing.assert_allclose(x.grad.item(), (1j * 2.0 ** (1j - 1.0)).real)


def test_mean_of_halves_does_not_overflow():
    """The sum of 100,000 ones is beyond float16; NumPy sums in float32."""
    x = ad.tensor(np.ones(100_000, np.float16), requires_grad=True)
    y = x.mean()
    y.backward()
    assert (y.item(), y.dtype, x.grad.dtype) == (1.0, np.float16, np.float16)
    assert x.grad[0].item() == np.float16(1e-5)


def test_a_complex_value_does_not_lose_its_imaginary_part_in_a_real_array():
    """It did, with NumPy's warning at most, and so did its gradient."""
    v = ad.tensor(Z, requires_grad=True)
    with pytest.raises(DTypeError, match="imaginary part"):
        ad.setitem(np.zeros(2), 0, v)
    x = ad.tensor(np.zeros(2), requires_grad=True) * 1.0
    with pytest.raises(DTypeError, match="imaginary part"):
        x[0] = v


def test_relu_discards_an_infinite_tangent_as_it_discards_a_cotangent():
    """0 * inf was NaN forward and 0 in reverse: a zero partial stands downstream of the tangent."""
    def f(x):
        return ad.relu(-np.sqrt(x))
    assert ad.jvp(f, (0.0,), (1.0,)) == (0.0, 0.0)
    assert ad.grad(f)(0.0) == 0.0
