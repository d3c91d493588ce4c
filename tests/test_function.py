"""ad.Function: a user's own operation, in every mode, and the errors that teach."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, GraphError, RuleError, ShapeError


class Scale(ad.Function):
    """y = c x^2, with c a plain number."""

    @staticmethod
    def forward(ctx, x, c):
        ctx.c = c
        ctx.save_for_backward(x)
        return c * x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2.0 * ctx.c * x * dy, None


class Exp(ad.Function):
    @staticmethod
    def forward(ctx, x):
        y = np.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return dy * y


class Both(ad.Function):
    """The product and the sum."""

    @staticmethod
    def forward(ctx, x, z):
        ctx.save_for_backward(x, z)
        return x * z, x + z

    @staticmethod
    def backward(ctx, dp, ds):
        x, z = ctx.saved_tensors
        return dp * z + ds, dp * x + ds


class Hidden(ad.Function):
    """x^3, with an intermediate value saved."""

    @staticmethod
    def forward(ctx, x):
        square = x * x
        ctx.save_for_backward(square)
        return square * x

    @staticmethod
    def backward(ctx, dy):
        (square,) = ctx.saved_tensors
        return 3.0 * dy * square


def leaf(*values):
    return ad.tensor(list(values), requires_grad=True)


def test_forward_gets_untracked_tensors_and_the_result_is_recorded():
    seen = []

    class Look(ad.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(x)
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            seen.append(dy)
            return dy
    x = leaf(1.0, 2.0)
    y = Look.apply(x)
    y.sum().backward()
    assert y.grad_fn.name == "Look"
    assert all(isinstance(v, ad.Tensor) and not v.requires_grad for v in seen)
    assert x.grad.tolist() == [1.0, 1.0]


def test_none_gradients_and_plain_arguments():
    x = leaf(1.0, 2.0)
    Scale.apply(x, 3.0).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    c = ad.tensor(3.0, requires_grad=True)
    Scale.apply(x.detach(), c).sum().backward()
    assert c.grad is None


def test_keyword_parameters():
    class Power(ad.Function):
        @staticmethod
        def forward(ctx, x, *, n=2):
            ctx.n = n
            ctx.save_for_backward(x)
            return x ** n

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy * ctx.n * x ** (ctx.n - 1)
    assert ad.grad(lambda x: Power.apply(x, n=3))(2.0) == 12.0
    assert ad.grad(Power.apply)(2.0) == 4.0


def test_several_outputs():
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    p, s = Both.apply(x, z)
    (p * s).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [2 * 1 * 3 + 9.0, 2 * 2 * 4 + 16.0])
    x.grad = None
    Both.apply(x, z)[1].sum().backward()  # the other output: a cotangent of zeros
    assert x.grad.tolist() == [1.0, 1.0]


def test_materialize_grads():
    class Pair(ad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2.0, x * 3.0

        @staticmethod
        def backward(ctx, first, second):
            assert second is None
            return first * 2.0
    x = leaf(1.0)
    Pair.apply(x)[0].backward()
    assert x.grad.tolist() == [2.0]


def test_mark_non_differentiable():
    class Top(ad.Function):
        @staticmethod
        def forward(ctx, x):
            value, at = x.max(), x.argmax()
            ctx.at = at.item()
            ctx.shape = x.shape
            ctx.mark_non_differentiable(at)
            return value, at

        @staticmethod
        def backward(ctx, dy, _):
            return ad.setitem(np.zeros(ctx.shape), ctx.at, dy)
    x = leaf(1.0, 3.0, 2.0)
    value, at = Top.apply(x)
    assert not at.requires_grad
    assert at.item() == 1
    value.backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_needs_input_grad():
    seen = []

    class Product(ad.Function):
        @staticmethod
        def forward(ctx, x, z):
            ctx.save_for_backward(x, z)
            return x * z

        @staticmethod
        def backward(ctx, dy):
            seen.append(ctx.needs_input_grad)
            x, z = ctx.saved_tensors
            return dy * z, dy * x
    Product.apply(leaf(1.0), np.array([2.0])).backward()
    Product.apply(ad.tensor([1.0]), leaf(2.0)).backward()
    assert seen == [(True, False), (False, True)]


@pytest.mark.parametrize("f, second, third", [
    (lambda x: Scale.apply(x, 3.0), 6.0, 0.0), (Exp.apply, np.exp(2.0), np.exp(2.0)),
    (lambda x: Both.apply(x, x * x)[0], 12.0, 6.0)])
def test_higher_orders_and_mixed_modes(f, second, third):
    def push(g):
        return lambda x: ad.jvp(g, (x,), (1.0,))[1]
    for outer in (ad.grad, push):
        for inner in (ad.grad, push):
            np.testing.assert_allclose(outer(inner(f))(2.0), second)
            np.testing.assert_allclose(ad.grad(outer(inner(f)))(2.0), third, atol=1e-12)
    x = ad.tensor(2.0, requires_grad=True)
    f(x).backward(create_graph=True)
    g, x.grad = x.grad, None
    g.backward()
    np.testing.assert_allclose(x.grad.item(), second)


def test_saved_intermediates_work_once_and_say_why_not_twice():
    assert ad.grad(Hidden.apply)(2.0) == 12.0
    with pytest.raises(GraphError, match="saved value number 0 is neither an input nor an output"):
        ad.grad(ad.grad(Hidden.apply))(2.0)
    x = ad.tensor(2.0, requires_grad=True)
    with pytest.raises(GraphError, match="Save inputs and outputs only"):
        Hidden.apply(x).backward(create_graph=True)


def test_wrong_number_and_shape_of_gradients():
    class Many(ad.Function):
        @staticmethod
        def forward(ctx, x, z):
            return x * z.sum()

        @staticmethod
        def backward(ctx, dy):
            return dy, dy, dy
    with pytest.raises(RuleError, match=r"Many\.backward returned 3 gradients; forward took 2"):
        Many.apply(leaf(1.0), leaf(2.0)).backward()

    class Wide(ad.Function):
        @staticmethod
        def forward(ctx, x, z):
            return x * z

        @staticmethod
        def backward(ctx, dy):
            return dy, dy
    with pytest.raises(ShapeError, match=r"gradient 1 has shape \(3,\), its argument \(1,\); "
                                         "undo broadcasting with ad.unbroadcast"):
        Wide.apply(leaf(1.0, 2.0, 3.0), leaf(1.0)).sum().backward()


def test_missing_methods():
    class Empty(ad.Function):
        @staticmethod
        def forward(ctx, x):
            return x
    with pytest.raises(ArgumentError, match=r"Empty needs a static method backward\(ctx, ...\)"):
        Empty.apply(1.0)


def test_jacobian_hessian_and_vmap():
    x = np.array([1.0, 2.0, 3.0])
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(ad.jacobian(Exp.apply, mode=mode)(x), np.diag(np.exp(x)))
    np.testing.assert_allclose(ad.hessian(lambda x: Exp.apply(x).sum())(x), np.diag(np.exp(x)))
    np.testing.assert_allclose(ad.vmap(Exp.apply)(x), np.exp(x))
    np.testing.assert_allclose(ad.vmap(ad.grad(Exp.apply))(x), np.exp(x))
    np.testing.assert_allclose(ad.grad(lambda x: ad.vmap(Exp.apply)(x).sum())(x), np.exp(x))
    p, s = ad.vmap(Both.apply)(x, x)
    np.testing.assert_allclose(p, x * x)
    np.testing.assert_allclose(s, x + x)


def test_vmap_of_saved_intermediates_never_uses_those_of_another_element():
    x = np.array([1.0, 2.0, 3.0])
    for call in (lambda: ad.vmap(ad.grad(Hidden.apply))(x),
                 lambda: ad.grad(lambda x: ad.vmap(Hidden.apply)(x).sum())(x)):
        with pytest.raises(GraphError, match="Save inputs and outputs only"):
            call()

    class Masked(ad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mask = x > 1.5
            return np.where(ctx.mask, x, 0.0)

        @staticmethod
        def backward(ctx, dy):
            return np.where(ctx.mask, dy, 0.0)
    assert ad.grad(Masked.apply)(2.0) == 1.0
    with pytest.raises(GraphError, match=r"ctx\.mask was computed from other values"):
        ad.vmap(ad.grad(Masked.apply))(x)


def test_function_inside_checkpoint():
    f = ad.checkpoint(lambda x: Exp.apply(x) * x)
    np.testing.assert_allclose(ad.grad(f)(1.0), 2 * np.e)
    assert ad.grad(ad.checkpoint(Hidden.apply))(2.0) == 12.0


def test_a_gradient_does_not_alias_what_was_saved():
    class Linear(ad.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(w)
            return (x * w).sum()

        @staticmethod
        def backward(ctx, dy):
            (w,) = ctx.saved_tensors
            return w, None
    w = np.array([3.0, 4.0])
    _, pullback = ad.vjp(lambda x: Linear.apply(x, w), np.ones(2))
    (dx,) = pullback(1.0)
    dx[:] = 0.0
    assert pullback(1.0)[0].tolist() == [3.0, 4.0]
    x = leaf(1.0, 1.0)
    Linear.apply(x, w).backward()
    x.grad *= 0.0
    assert w.tolist() == [3.0, 4.0]


def test_exceptions_pass_and_the_function_can_be_used_again():
    class Fragile(ad.Function):
        broken = True

        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @classmethod
        def backward(cls, ctx, dy):
            if cls.broken:
                raise KeyboardInterrupt
            return dy
    x = leaf(1.0)
    with pytest.raises(KeyboardInterrupt):
        Fragile.apply(x).backward()
    Fragile.broken = False
    Fragile.apply(x).backward()
    assert x.grad.tolist() == [1.0]


def test_python_numbers_and_arrays():
    assert ad.grad(Exp.apply)(0.0) == 1.0
    assert isinstance(ad.grad(Exp.apply)(0.0), float)
    np.testing.assert_allclose(np.asarray(Exp.apply(np.zeros(2))), [1.0, 1.0])
