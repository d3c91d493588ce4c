"""Levels: every mixture of modes to order three, and no perturbation confusion."""

from itertools import product

import numpy as np
import pytest

import adjoint as ad


def reverse(f):
    return ad.grad(f)


def pulled(f):
    return lambda x: ad.vjp(f, x)[1](1.0)[0]


def forward(f):
    return lambda x: ad.jvp(f, (x,), (1.0,))[1]


def linearized(f):
    return lambda x: ad.linearize(f, x)[1](1.0)


def backward(f):
    """The Tensor's face as a transformation."""
    def derivative(x):
        t = ad.tensor(x, requires_grad=True)
        f(t).backward()
        return t.grad.item()
    return derivative


SPELLINGS = [(reverse, forward), (pulled, linearized)]
MIXES = [(n, mix) for n, pair in enumerate(SPELLINGS) for mix in product(pair, repeat=3)]


def name(mix):
    return "-".join(t.__name__ for t in mix)


@pytest.mark.parametrize("spelling, mix", MIXES, ids=[f"{n}-{name(m)}" for n, m in MIXES])
@pytest.mark.parametrize("f, third", [
    (lambda x: x * x * x * x, lambda x: 24.0 * x), (np.sin, lambda x: -np.cos(x)),
    (lambda x: np.exp(2.0 * x) / x, None), (lambda x: x ** 5 * np.tanh(x), None),
    (lambda x: ad.array([x, x * x, 1.0])[1] * x[None].sum(), lambda x: 6.0)])
def test_order_three(spelling, mix, f, third):
    a, b, c = mix
    x = 0.7
    got = a(b(c(f)))(x)
    if third is None:
        one = ad.grad(ad.grad(ad.grad(f)))(x)
        h = 1e-4
        two = ad.grad(ad.grad(f))
        np.testing.assert_allclose(one, (two(x + h) - two(x - h)) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(got, one, rtol=1e-12)
    else:
        np.testing.assert_allclose(got, third(x), rtol=1e-12)


@pytest.mark.parametrize("inner", [reverse, forward, pulled, linearized])
@pytest.mark.parametrize("outer", [reverse, forward, pulled, linearized, backward])
class TestConfusion:
    """d/dx of x * (d/dy of something that holds x): each perturbation keeps to its level."""

    def test_product(self, outer, inner):
        assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0

    def test_product_at_the_outer_variable(self, outer, inner):
        assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0) == 6.0

    def test_inner_does_not_depend_on_its_variable(self, outer, inner):
        assert outer(lambda x: inner(lambda y: x * x)(2.0) + x)(3.0) == 1.0

    def test_inner_function_returns_the_outer_variable(self, outer, inner):
        assert outer(lambda x: x * inner(lambda y: x)(2.0) + x)(3.0) == 1.0

    def test_integer_constants(self, outer, inner):
        # the int 1 in a partial is not a value that equals 1
        assert outer(lambda x: inner(lambda y: (1 * x) ** 2 * y * 1)(1.0))(3.0) == 6.0
        assert outer(lambda x: x * inner(lambda y: 1 + x - y)(1.0))(1.0) == -1.0
        assert outer(lambda x: inner(lambda y: y ** 2 * x)(1.0))(1.0) == 2.0
        assert outer(lambda x: inner(lambda y: 2 * y * x ** 1)(1.0))(1.0) == 2.0

    def test_value_one(self, outer, inner):
        assert outer(lambda x: inner(lambda y: x * y)(x))(1.0) == 1.0
        assert outer(lambda x: inner(lambda y: x * y * y)(x))(1.0) == 4.0

    def test_state_leaks_into_the_outer_level_only(self, outer, inner):
        def f(x):
            seen = []
            inner(lambda y: seen.append(x * x) or y * 1.0)(2.0)
            return seen[0]
        assert outer(f)(3.0) == 6.0


def test_backward_inside_transformations_holds_outer_variables():
    def f(x):
        t = ad.tensor(2.0, requires_grad=True)
        return t * t * x
    t = f(3.0)
    t.backward()
    assert ad.grad(lambda x: x * x)(3.0) == 6.0


def test_mixed_with_vmap():
    x = np.array([0.5, 1.0, 2.0])

    def f(v):
        return np.sin(v) * v
    expected = np.array([ad.grad(f)(float(v)) for v in x])
    second = np.array([ad.grad(ad.grad(f))(float(v)) for v in x])
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(x), expected)
    np.testing.assert_allclose(ad.grad(lambda v: ad.vmap(f)(v).sum())(x), expected)
    np.testing.assert_allclose(ad.vmap(forward(f))(x), expected)
    np.testing.assert_allclose(ad.vmap(ad.grad(ad.grad(f)))(x), second)
    np.testing.assert_allclose(ad.vmap(ad.grad(forward(f)))(x), second)
    np.testing.assert_allclose(
        ad.jvp(ad.vmap(ad.grad(f)), (x,), (np.ones(3),))[1], second)
    np.testing.assert_allclose(
        ad.grad(lambda v: ad.vmap(ad.grad(f))(v).sum())(x), second)


def test_vmap_confusion():
    x = np.array([1.0, 2.0, 3.0])
    got = ad.vmap(lambda v: ad.vmap(lambda w: v * w)(x))(x)
    np.testing.assert_allclose(got, np.outer(x, x))
    got = ad.vmap(lambda v: ad.grad(lambda w: v * w * w)(v))(x)
    np.testing.assert_allclose(got, 2 * x * x)


def test_values_of_an_ended_level_raise():
    leaked = []
    for transform, x in ((ad.grad, 2.0), (ad.hessian, 2.0), (ad.vmap, np.ones(2)),
                         (forward, 2.0), (ad.jacobian, 2.0)):
        leaked.clear()
        transform(lambda x: leaked.append(x * 1.0) or x * x)(x)
        for use in (lambda v: v + 1.0, np.sin, lambda v: v.sum(), lambda v: v * v, float,
                    lambda v: ad.grad(lambda y: y * v)(1.0), bool, lambda v: v.item()):
            with pytest.raises((ad.errors.LevelError, ad.errors.EscapeError)):
                use(leaked[0])


def test_a_leaked_value_used_at_a_later_level_raises():
    leaked = []
    ad.grad(lambda x: leaked.append(x * 1.0) or x * x)(2.0)
    with pytest.raises(ad.errors.LevelError, match="used after that call has ended"):
        ad.grad(lambda x: x * leaked[0])(3.0)
    with pytest.raises(ad.errors.LevelError, match="has_aux=True"):
        ad.tensor(1.0, requires_grad=True) * leaked[0]
