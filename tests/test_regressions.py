"""Faults that a review found, each with the smallest program that showed it."""

import numpy as np
import pytest
import scipy.special

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


# ---- what the first new user found

def test_ties_of_finite_numbers_have_curvature():
    second = ad.grad(ad.grad(lambda x: np.logaddexp(0.0, x)))
    assert abs(second(0.0) - 0.25) < 1e-15
    hessian = ad.hessian(ad.logsumexp)(np.array([40.0, 0.0]))
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    assert hessian[1, 1] > 0


@pytest.mark.parametrize("write", [
    lambda p: p.data.zero_(), lambda p: p.data.__setitem__(0, 9.0), lambda p: p.data.add_(1.0),
    lambda p: p.detach().copy_(np.ones(2)), lambda p: p.detach().mul_(2.0)])
def test_writing_through_data_is_refused_where_it_would_be_lost(write):
    p = ad.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ad.errors.MutationError, match="clone"):
        write(p)
    assert p.tolist() == [1.0, 2.0]


def test_data_of_a_tensor_that_is_gone_can_be_written():
    d = ad.tensor([1.0, 2.0]).detach()
    d[0] = 9.0
    assert d.tolist() == [9.0, 2.0]


@pytest.mark.parametrize("base", ["AutogradValue", "ForwardValue"])
def test_an_operation_of_teach_without_derivative_is_an_error(base):
    from adjoint import teach
    with pytest.raises(ad.errors.ArgumentError, match="sq has func and no derivative"):
        type("sq", (getattr(teach, base),), {"func": lambda self, x: x * x})


def test_faces_do_not_mix_silently():
    from adjoint.teach import Value
    with pytest.raises(TypeError):
        ad.tensor(1.0, requires_grad=True) + Value(1.0)
    with pytest.raises(TypeError):
        Value(1.0) + ad.tensor(1.0, requires_grad=True)


@pytest.mark.parametrize("transform", [
    ad.grad, ad.vjp, ad.vmap, ad.jacobian, ad.hessian, ad.checkpoint, ad.value_and_grad])
def test_what_cannot_be_called_is_refused_at_once(transform):
    with pytest.raises(ad.errors.ArgumentError, match="must be a function"):
        transform(3.0)
    y = ad.tensor(1.0, requires_grad=True) * 2.0
    with pytest.raises(ad.errors.ArgumentError, match=r"write y\.backward"):
        transform(y)


def test_lists_of_tracked_values_and_names_of_scipy():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    ad.sum([x[0], x[1] * 3.0]).backward()
    assert x.grad.tolist() == [1.0, 3.0]
    assert abs(ad.grad(scipy.special.expit)(0.0) - 0.25) < 1e-15
    assert np.round(x).tolist() == ad.round(x).tolist() == [1.0, 2.0]
    assert ad.round(np.array([1.26]), 1)[0] == 1.3
    with pytest.raises(ad.errors.UnsupportedError, match=r"np\.roots has no row"):
        np.roots(x)


def test_relu_discards_an_infinite_tangent_as_it_discards_a_cotangent():
    """0 * inf was NaN forward and 0 in reverse: a zero partial stands downstream of the tangent."""
    def f(x):
        return ad.relu(-np.sqrt(x))
    assert ad.jvp(f, (0.0,), (1.0,)) == (0.0, 0.0)
    assert ad.grad(f)(0.0) == 0.0


# ---- what the second review found

class Exponential(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.y = np.exp(x)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.y


def test_arrays_left_on_ctx_have_no_second_derivative():
    assert abs(ad.grad(Exponential.apply)(1.0) - np.e) < 1e-15
    with pytest.raises(ad.errors.GraphError, match=r"backward\(\) would read ctx.y"):
        ad.grad(ad.grad(Exponential.apply))(1.0)
    with pytest.raises(ad.errors.GraphError, match=r"ctx.y"):
        ad.hessian(Exponential.apply)(1.0)


class Square(ad.Function):
    """With PyTorch's convention for complex numbers."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx, dy):
        (z,) = ctx.saved_tensors
        return dy * 2.0 * z.conj()


@pytest.mark.parametrize("square", [
    lambda z: z * z, Square.apply, ad.checkpoint(lambda z: z * z)])
def test_complex_gradients_keep_one_convention(square):
    assert ad.grad(lambda z: ad.real(square(z)))(1 + 2j) == 2 - 4j
    z = np.array([1 + 2j, 3 - 1j])
    assert ad.jvp(square, (z,), (z,))[1].tolist() == (2 * z * z).tolist()
    for mode in ("reverse", "forward"):
        assert ad.jacobian(square, mode=mode)(z).tolist() == np.diag(2 * z).tolist()


def test_bits_of_integers():
    assert (ad.tensor([6]) & 3).tolist() == [2]
    assert (ad.tensor([6]) | 3).tolist() == [7]
    assert (ad.tensor([6]) ^ 3).tolist() == [5]
    assert (~ad.tensor([5])).tolist() == [-6]
    x = ad.tensor([1.0, -1.0])
    assert (~(x > 0) | (x > 0)).tolist() == [True, True]


def test_hooks_of_an_argument_run_inside_a_transformation():
    def f(x):
        x.register_hook(lambda g: 10.0 * g)
        return x * x
    assert ad.grad(f)(3.0) == 60.0


def test_backward_inside_a_transformation_is_an_error():
    w = ad.tensor(2.0, requires_grad=True)

    def g(x):
        (w * x).backward()
        return x
    with pytest.raises(ad.errors.GraphError, match="inside their function"):
        ad.grad(g)(1.0)


def test_gradients_are_tensors_of_the_leafs_dtype():
    x = ad.tensor(3.0, requires_grad=True)
    Square.apply(x).backward(create_graph=True)
    assert isinstance(x.grad, ad.Tensor)
    y = ad.tensor([1.0], dtype="float32", requires_grad=True)
    y.grad = np.zeros(1)
    assert y.grad.dtype == np.float32
    z = ad.tensor(0.0, requires_grad=True)
    np.sqrt(z).backward(create_graph=True)  # no warning
    assert z.grad.item() == np.inf


def test_python_numbers_stay_weak_in_checkpoint_and_function():
    x = ad.tensor(np.ones(2, np.float32), requires_grad=True)
    assert ad.checkpoint(lambda x, c: x * c)(x, 2.0).dtype == np.float32
    assert ad.checkpoint(lambda x: x * x)(3.0) == 9.0

    class Times(ad.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.factor, None
    y = Times.apply(x, 2.0)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_habits_of_dim_and_keepdim():
    x = ad.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x.sum(0, True).shape == (1, 3)
    assert x.mean(1, True).tolist() == [[1.0], [4.0]]
    assert x.argmax(dim=1, keepdim=True).tolist() == [[2], [2]]
    assert (x > 2.5).any(dim=1, keepdim=True).tolist() == [[False], [True]]
    assert ad.stack([x, x], dim=1).shape == (2, 2, 3)
    assert ad.cat([x, x], dim=1).shape == (2, 6)
    assert ad.zeros_like(x).tolist() == [[0.0] * 3] * 2
    assert ad.ones_like(np.zeros(2, np.float32)).dtype == np.float32


def test_float_power_is_of_floats():
    assert np.float_power(ad.tensor([2, 4]), -1).tolist() == [0.5, 0.25]
    x = ad.tensor(np.array([2.0], np.float32), requires_grad=True)
    y = np.float_power(x, 3)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.tolist() == [12.0]


@pytest.mark.parametrize("f", [ad.sigmoid, ad.log_sigmoid, ad.softplus])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.bool_])
def test_unsigned_integers_do_not_wrap_in_logistic_functions(f, dtype):
    x = np.array([0, 1], dtype)
    np.testing.assert_allclose(f(x), f(x.astype(float)), rtol=2e-3)
    assert f(x).dtype == np.exp(x).dtype
