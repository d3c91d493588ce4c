"""Complex arguments: holomorphic rows, the parts, and the convention of the gradient.

With g = dL/dRe x + i dL/dIm x a real L changes by Re(conj(g) dx), so for every row
Re<w, J dx> = Re<J'w, dx> with <a, b> = sum conj(a) b, whether it is holomorphic or not.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import bind
from adjoint.core.primitive import REGISTRY
from adjoint.errors import DTypeError

# They need an order of their argument, which complex numbers do not have.
REAL_ONLY = {"arctan2", "cbrt", "logaddexp", "remainder", "relu", "maximum", "minimum", "max",
             "min", "sigmoid", "softplus", "log_sigmoid",
             "copysign", "fmax", "fmin", "fmod", "heaviside", "hypot", "ldexp", "logaddexp2",
             "logit", "xlogy", "xlog1py", "sinc", "sinc_derivative", "erf", "erfc", "gammaln",
             "digamma", "polygamma", "modified_bessel", "elu", "gelu", "hardshrink", "hardsigmoid",
             "hardswish", "hardtanh", "leaky_relu", "mish", "silu", "softshrink", "tanhshrink",
             "threshold", "special._leg", "special._turn", "special._share"}
# Vectors of a complex matrix have a free phase, which differences do not follow:
# test_spectral.py tests what does not depend on it.
FREE_PHASE = {"linalg._guard", "linalg.eig", "linalg.eigh", "linalg.svd"}
ROWS = sorted(row.name for row in REGISTRY.values() if row.cases is not None and not row.nondiff
              and row.name not in {*REAL_ONLY, *FREE_PHASE, "item", "cast", "imag"})


def turned(a):
    """A complex array with the layout of a real one."""
    a = np.asarray(a)
    return (a * (0.8 + 0.3j))[()] if a.dtype == np.float64 else a


def functions(row, rng):
    for case in row.cases(rng):
        if case.domain != "regular":
            continue
        args = [turned(a) for a in case.args]
        places = [k for k, a in enumerate(args) if np.asarray(a).dtype.kind == "c"]

        def f(*xs, args=args, places=places, params=case.params):
            full = list(args)
            for k, x in zip(places, xs, strict=True):
                full[k] = x
            return bind(row, full, params)
        if places:
            yield f, [args[k] for k in places]


def inner(a, b):
    return np.sum(np.conj(a) * b).real


@pytest.mark.parametrize("name", ROWS)
def test_both_modes(name):
    row, rng = REGISTRY[name], np.random.default_rng(zlib.crc32(name.encode()))
    count = 0
    for f, xs in functions(row, rng):
        def draw(like):
            z = rng.normal(size=np.shape(like)) + 1j * rng.normal(size=np.shape(like))
            return np.asarray(z if np.asarray(like).dtype.kind == "c" else z.real)[()]
        dxs = tuple(map(draw, xs))
        y, dy = ad.jvp(f, tuple(xs), dxs)
        h = 1e-5
        moved = [f(*[x + s * h * dx for x, dx in zip(xs, dxs, strict=True)]) for s in (1, -1)]
        np.testing.assert_allclose(dy, (moved[0] - moved[1]) / (2 * h), rtol=1e-5, atol=1e-6)
        w = draw(y)
        parts = ad.vjp(f, *xs)[1](w)
        total = sum(inner(g, dx) for g, dx in zip(parts, dxs, strict=True))
        np.testing.assert_allclose(total, inner(w, dy), rtol=1e-8, atol=1e-10)
        count += 1
    assert count


Z = np.array([1 + 2j, -0.5 + 0.3j, 2 - 1j])


@pytest.mark.parametrize("f, gradient", [
    (lambda z: ad.real(z ** 2).sum(), 2 * np.conj(Z)),  # 2-4j at 1+2j, as torch has it
    (lambda z: ad.imag(z).sum(), np.full(3, 1j)),
    (lambda z: ad.real(ad.conjugate(z) * z).sum(), 2 * Z),
    (lambda z: ad.abs(z).sum(), Z / np.abs(Z)),
    (lambda z: (np.absolute(z) ** 2).sum(), 2 * Z),
    (lambda z: ad.imag(ad.exp(z)).sum(), np.conj(-1j * np.exp(Z))),
    (lambda z: np.real(np.conj(z) * (1 + 1j)).sum(), np.full(3, 1 + 1j)),
    (lambda z: z.real.sum() * 2.0 - z.conj().imag.sum(), np.full(3, 2 + 1j))])
def test_gradients(f, gradient):
    np.testing.assert_allclose(ad.grad(f)(Z), gradient, rtol=1e-12)
    dz = np.array([0.3 - 1j, 2 + 0.1j, -1j])
    np.testing.assert_allclose(ad.jvp(f, (Z,), (dz,))[1], inner(gradient, dz), rtol=1e-12)
    h = 1e-6
    measured = (f(Z + h * dz) - f(Z - h * dz)) / (2 * h)
    np.testing.assert_allclose(measured, inner(gradient, dz), rtol=1e-7)
    z = ad.tensor(Z, requires_grad=True)
    f(z).backward()
    np.testing.assert_allclose(z.grad.numpy(), gradient, rtol=1e-12)


def test_abs_at_second_order():
    """|z| turns with z: its direction is no constant, as the sign of a real number is."""
    def along(z, dz):
        return ad.jvp(ad.abs, (z,), (dz,))[1]
    z, dz, h = 1 + 2j, 0.3 - 0.7j, 1e-5
    got = ad.jvp(lambda z: along(z, dz), (z,), (dz,))[1]
    measured = (along(z + h * dz, dz) - along(z - h * dz, dz)) / (2 * h)
    np.testing.assert_allclose(got, measured, rtol=1e-7)
    assert ad.grad(abs)(0j) == 0


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "log_sigmoid"])
def test_no_order(name):
    for x in (1 + 2j, Z, ad.tensor(Z)):
        with pytest.raises(DTypeError, match=rf"{name} is for real numbers, not complex128"):
            getattr(ad, name)(x if not isinstance(x, complex) else np.complex128(x))


def test_sign_of_a_complex_number_moves():
    def f(z):
        return ad.real(np.sign(z) * (1 - 2j)).sum()
    g = ad.grad(f)(Z)
    dz, h = np.array([0.3 - 1j, 2 + 0.1j, -1j]), 1e-6
    np.testing.assert_allclose(inner(g, dz), (f(Z + h * dz) - f(Z - h * dz)) / (2 * h), rtol=1e-7)
