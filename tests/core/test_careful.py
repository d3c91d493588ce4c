"""DESIGN 6: a zero downstream cancels a non-finite number upstream, and never the reverse."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import aval
from adjoint.core.symbol import trace

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the values, as NumPy's
INF, NAN = np.inf, np.nan


def by_reverse(f, x):
    return ad.grad(lambda x: f(x).sum())(x)


def by_forward(f, x):
    """The diagonal of the Jacobian, from one tangent per element (all programs are elementwise,
    or sums of them, so that tangents of ones are not enough where rows mix)."""
    x = np.asarray(x)
    parts = []
    for k in np.ndindex(x.shape):
        dx = np.zeros(x.shape)
        dx[k] = 1.0
        parts.append(ad.jvp(lambda x: f(x).sum(), (x,), (dx,))[1])
    return np.reshape(parts, x.shape)


def by_backward(f, x):
    t = ad.tensor(x, requires_grad=True)
    f(t).sum().backward()
    return t.grad.numpy()


def by_linearize(f, x):
    x = np.asarray(x)
    _, push = ad.linearize(lambda x: f(x).sum(), x)
    return np.reshape([push(d.reshape(x.shape)) for d in np.eye(x.size)], x.shape)


def by_vmap(f, x):
    """Many at once: the others of the batch are regular points."""
    x = np.asarray(x)
    xs = np.stack([x, np.full(x.shape, 0.7)])
    return ad.vmap(ad.grad(lambda x: f(x).sum()))(xs)[0]


MODES = [by_reverse, by_forward, by_backward, by_linearize, by_vmap]
HUGE = np.array([[1.0, INF], [0.0, 2.0]])

CANCELS = {  # the factor downstream is zero: a select, a mask, a product with 0
    "where sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
    "where log": (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, 0.0),
    "where x log x": (lambda x: np.where(x > 0, x * np.log(x), 0.0), 0.0, 0.0),
    "where x log x, beyond": (lambda x: np.where(x > 0, x * np.log(x), 0.0), -1.0, 0.0),
    "where x / x": (lambda x: np.where(x > 0, x / x, 1.0), 0.0, 0.0),
    "where 1 / x": (lambda x: np.where(x > 0, 1.0 / x, x), 0.0, 1.0),
    "where power": (lambda x: np.where(x > 0, x ** 0.5, x), 0.0, 1.0),
    "where x, 0/0": (lambda x: np.where(x > 0, x, (x * 0) / (x * 0)), 1.0, 1.0),
    "x sqrt(x)": (lambda x: x * np.sqrt(x), 0.0, 0.0),
    "sqrt(x) x": (lambda x: np.sqrt(x) * x, 0.0, 0.0),
    "x^2 log x by products": (lambda x: x * (x * np.where(x > 0, np.log(x), 0.0)), 0.0, 0.0),
    "mask times sqrt": (lambda x: np.sqrt(x) * np.array([0.0, 1.0]), [0.0, 4.0], [0.0, 0.25]),
    "mask divided": (lambda x: 0.0 / np.array([1.0, 2.0]) * np.sqrt(x), [0.0, 4.0], [0.0, 0.0]),
    "einsum": (lambda x: np.einsum("i,i->", np.sqrt(x), np.array([0.0, 1.0])),
               [0.0, 4.0], [0.0, 0.25]),
    "dot": (lambda x: np.dot(np.sqrt(x), np.array([0.0, 1.0])), [0.0, 4.0], [0.0, 0.25]),
    "matmul": (lambda x: np.array([[0.0, 1.0], [0.0, 3.0]]) @ np.sqrt(x), [0.0, 4.0], [0.0, 1.0]),
    "matmul right": (lambda x: np.sqrt(x) @ np.array([[0.0, 0.0], [1.0, 3.0]]),
                     [0.0, 4.0], [0.0, 1.0]),
    "masked row of a product": (lambda x: (x @ HUGE) * np.array([1.0, 0.0]),
                                [1.0, 1.0], [1.0, 0.0]),
    "take": (lambda x: np.log(x)[[1, 1]], [0.0, 2.0], [0.0, 1.0]),
    "perfect fit away from it": (lambda x: (np.sqrt(x) - 2.0) ** 2, 4.0, 0.0),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CANCELS)
def test_a_zero_downstream_cancels(mode, name):
    f, x, wanted = CANCELS[name]
    np.testing.assert_allclose(mode(f, np.asarray(x, float)), wanted, atol=1e-15)


STAYS = {  # the zero stands upstream
    "log(exp)": (lambda x: np.log(np.exp(x)), -1000.0, NAN),
    "sqrt(x*x)": (lambda x: np.sqrt(x * x), 0.0, NAN),
    "sqrt(sum(x**2))": (lambda x: np.sqrt(np.sum(x ** 2)), [0.0, 0.0], NAN),
    "sqrt of a dot": (lambda x: np.sqrt(x @ x), [0.0, 0.0], NAN),
    "sqrt of an einsum": (lambda x: np.sqrt(np.einsum("i,i", x, x)), [0.0, 0.0], NAN),
    "sqrt": (np.sqrt, 0.0, INF),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STAYS)
def test_a_zero_upstream_does_not(mode, name):
    f, x, wanted = STAYS[name]
    x = np.asarray(x, float)
    np.testing.assert_array_equal(mode(f, x), np.broadcast_to(wanted, x.shape))


def test_a_zero_tangent_against_an_infinite_partial_stays_nan():
    """Reverse mode sums over the outputs, and has no such zero: here, and only here, they differ.
    """
    x = np.array([1.0, 1.0])
    np.testing.assert_array_equal(by_reverse(lambda x: x @ HUGE, x), [INF, 2.0])
    np.testing.assert_array_equal(by_forward(lambda x: x @ HUGE, x), [INF, NAN])


SECOND = {
    "perfect fit, sqrt": (lambda x: (np.sqrt(x) - 2.0) ** 2, 4.0, 0.125),
    "perfect fit, log": (lambda x: np.log(x) ** 2, 1.0, 2.0),
    "perfect fit, div": (lambda x: (1.0 / x - 1.0) ** 2, 1.0, 2.0),
    "perfect fit, pow": (lambda x: (x ** 1.5 - 1.0) ** 2, 1.0, 4.5),
    "where sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
    "where x log x": (lambda x: np.where(x > 0, x * np.log(x), 0.0), 0.0, 0.0),
    "where 1 / x": (lambda x: np.where(x > 0, 1.0 / x, x * x), 0.0, 2.0),
    "perfect fit beside a masked pole": (
        lambda x: (x - 1.0) ** 2 + np.where(x > 1, np.log(x - 1.0), 0.0), 1.0, 2.0),
}
SECOND["a partial that is NaN, in a branch not taken"] = (
    lambda x: np.where(np.isnan(y := np.sin(x) * NAN), 0.0, y), 0.5, 0.0)
ORDERS = {
    "grad of grad": lambda f: ad.grad(ad.grad(f)),
    "jvp of grad": lambda f: lambda x: ad.jvp(ad.grad(f), (x,), (1.0,))[1],
    "grad of jvp": lambda f: ad.grad(lambda x: ad.jvp(f, (x,), (1.0,))[1]),
    "jvp of jvp": lambda f: lambda x: ad.jvp(
        lambda x: ad.jvp(f, (x,), (1.0,))[1], (x,), (1.0,))[1],
    "hessian": ad.hessian,
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SECOND)
def test_second_order(order, name):
    f, x, wanted = SECOND[name]
    np.testing.assert_allclose(ORDERS[order](f)(x), wanted, atol=1e-13)


def test_create_graph():
    x = ad.tensor([0.0, 2.0], requires_grad=True)
    np.where(x > 0, x * np.log(x), 0.0).sum().backward(create_graph=True)
    first = x.grad
    np.testing.assert_allclose(first.detach().numpy(), [0.0, np.log(2.0) + 1.0])
    x.grad = None
    first.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 0.5])


def masked(x):
    return np.where(x > 0, x * np.log(x), 0.0).sum()


def test_hooks_run_once():
    x = ad.tensor([0.0, 1.0], requires_grad=True)
    y = x * 3.0
    seen = []
    y.register_hook(lambda g: seen.append(np.array(g.numpy())))
    y.retain_grad()
    masked(y).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 3.0 * (np.log(3.0) + 1.0)])
    np.testing.assert_allclose(seen, [[0.0, np.log(3.0) + 1.0]])
    np.testing.assert_allclose(y.grad.numpy(), seen[0])


def test_a_hook_downstream_of_the_nan_runs_once():
    x = ad.tensor([0.0, 1.0], requires_grad=True)
    logs = np.log(x)
    seen = []
    logs.register_hook(lambda g: seen.append(np.array(g.numpy())))
    np.where(x > 0, x * logs, 0.0).sum().backward()
    np.testing.assert_allclose(seen, [[0.0, 1.0]])
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 1.0])


def test_users_functions_see_tensors():
    class Double(ad.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            assert isinstance(g, ad.Tensor)
            return g * 2.0
    x = ad.tensor([0.0, 1.0], requires_grad=True)
    masked(Double.apply(x)).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 2.0 * (np.log(2.0) + 1.0)])


def test_checkpoint():
    found = ad.grad(ad.checkpoint(masked))(np.array([0.0, 1.0]))
    np.testing.assert_allclose(found, [0.0, 1.0])


def test_strict_restores_ieee():
    x = np.array([0.0, 1.0])
    with ad.strict():
        np.testing.assert_array_equal(ad.grad(masked)(x), [NAN, 1.0])
        assert np.isnan(ad.jvp(lambda x: x * np.sqrt(x), (0.0,), (1.0,))[1])
        t = ad.tensor(x, requires_grad=True)
        masked(t).backward()
        np.testing.assert_array_equal(t.grad.numpy(), [NAN, 1.0])
    np.testing.assert_array_equal(ad.grad(masked)(x), [0.0, 1.0])


def test_sums_of_products_with_several_non_finite_terms():
    """A term that is alive keeps its infinity beside one that is cancelled, with its sign."""
    w = np.array([[INF, -INF, INF, NAN, 1.0]])
    for mask, wanted in (([0, 0, 0, 0, 1.0], 1.0), ([1.0, 0, 0, 0, 0], INF),
                         ([0, 2.0, 0, 0, 1], -INF), ([1.0, 1.0, 0, 0, 0], NAN),
                         ([0, 0, 0, 1.0, 0], NAN), ([1.0, 0, 3.0, 0, 2.0], INF),
                         ([-1.0, 0, 0, 0, 2.0], -INF)):
        found = ad.grad(lambda x, mask=mask: np.sum((x @ w) * np.array(mask)))(np.array([1.0]))
        np.testing.assert_array_equal(found, [wanted])


def test_a_failed_sweep_leaves_the_graph():
    x = ad.tensor(2.0, requires_grad=True)
    y = x * x
    calls = []

    def refuse(g):
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("once")
    y.register_hook(refuse)
    z = y * 1.0
    with pytest.raises(KeyError):
        z.backward()
    z.backward()
    assert x.grad.item() == 4.0


# ---- sums of products against products and sums

def by_products(x, z):
    return (x[:, :, None] * z[None]).sum(1)


SUMS = {  # a row, and the same written in multiply and sum
    "matmul": (lambda x, z: x @ z, by_products),
    "stack of matrices": (lambda x, z: (np.stack([x, x]) @ z)[1], by_products),
    "matrix and vector": (lambda x, z: x @ z[0], lambda x, z: (x * z[0]).sum(1)),
    "vector and matrix": (lambda x, z: x[0] @ z, lambda x, z: (x[0][:, None] * z).sum(0)),
    "einsum": (lambda x, z: np.einsum("ij,jk->ik", x, z), by_products),
    "linear": (lambda x, z: ad.linear(x, z.T), by_products),
    "convolve": (lambda x, z: np.convolve(x[0], z[0])[1],
                 lambda x, z: x[0, 0] * z[0, 1] + x[0, 1] * z[0, 0]),
    "recurrence": (ad.linear_recurrence,
                   lambda x, z: np.stack([z[0], x[1] * z[0] + z[1]])),
    "cumprod": (lambda x, z: np.cumprod(x, axis=0) * z,
                lambda x, z: np.stack([x[0], x[1] * x[0]]) * z),
}
ALONG = np.array([[1.0, 0.0], [0.5, 0.0]])
WAYS = {
    "grad": lambda f, x, z: ad.grad(f, (0, 1))(x, z),
    "jvp": lambda f, x, z: ad.jvp(f, (x, z), (ALONG, ALONG.T))[1],
    "vmap of grad, left": lambda f, x, z: ad.vmap(lambda x: ad.grad(f, 1)(x, z))(
        np.stack([x, x + 1.0])),
    "vmap of grad, right": lambda f, x, z: ad.vmap(lambda z: ad.grad(f)(x, z))(
        np.stack([z, z + 1.0])),
    "vmap of jvp": lambda f, x, z: ad.vmap(lambda dx: ad.jvp(f, (x, z), (dx, ALONG))[1])(
        np.stack([ALONG, ALONG.T])),
    "jacobian of grad": lambda f, x, z: ad.jacobian(lambda x: ad.grad(f, 1)(x, z))(x),
    "jacobian of grad, forward": lambda f, x, z: ad.jacobian(
        lambda x: ad.grad(f, 1)(x, z), mode="forward")(x),
    "grad of grad": lambda f, x, z: ad.grad(
        lambda x: (ad.grad(f, 1)(x, z) * np.array([[1.0, 0.0], [2.0, 1.0]])).sum())(x),
    "grad of jvp": lambda f, x, z: ad.grad(
        lambda x: ad.jvp(lambda x: f(x, z), (x,), (ALONG,))[1])(x),
    "hvp": lambda f, x, z: ad.hvp(lambda x: f(x, z), (x,), (ALONG,)),
    "checkpoint": lambda f, x, z: ad.grad(ad.checkpoint(f), 1)(x, z),
}
REGULAR = np.array([[0.0, 1.0], [2.0, 0.5]])
PAIRS = [(REGULAR, np.array([[0.0, 0.0], [1.0, 0.0]])), (HUGE[::-1].T, REGULAR),
         (REGULAR, HUGE[::-1].T)]
INNER = {"x": lambda x: x, "sqrt": np.sqrt, "log": np.log}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_products_is_what_its_products_are(name, way):
    """At masked poles and infinite factors, at order 1 and 2, batched too.

    A recurrence carries tangents that are 0 on, where products have none: 0 times infinity is NaN.
    """
    met = 0
    for inner in INNER.values():
        for x, z in PAIRS:
            if name in ("recurrence", "cumprod") and not np.isfinite(inner(x)).all():
                continue
            for kept in ([False, True], [True, False], [True, True]):
                def program(op, x, z, inner=inner, kept=kept):
                    y = ad.reshape(op(inner(x), z), -1)
                    mask = np.resize(kept, y.shape)
                    return np.sum(np.where(mask, y, 0.0))
                one, other = [WAYS[way](lambda x, z, op=op: program(op, x, z), x, z)
                              for op in SUMS[name]]
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
                met += np.isfinite(one).all()
    assert met


def test_terms_that_count_are_not_lost_beside_those_that_do_not():
    """inf - inf, and inf times a zero upstream, stay NaN beside a zero that wins."""
    from adjoint.ops.multilinear import sum_of_products
    dy = np.array([[0.0, INF, 1.0, 2.0]])
    for upstream, wanted in (([INF, 1.0, -INF, 0.0], NAN), ([INF, 0.0, INF, 0.0], NAN),
                             ([NAN, 1.0, INF, 0.0], INF), ([NAN, 2.0, 3.0, 4.0], INF),
                             ([INF, -1.0, 1.0, 1.0], -INF)):
        y = sum_of_products(np.matmul, (True, False), (dy, np.array(upstream)), {})
        np.testing.assert_array_equal(y, [wanted])


def test_a_second_look_leaves_the_others_alone():
    """1 / z would overflow where x / z does not."""
    def f(x):
        return np.where(x == 1.0, 0.0, np.sqrt(1.0 - x)).sum() + (x / 1e-309 * 1e-300).sum()
    x = np.array([1.0, 0.5])
    with np.errstate(all="ignore"):
        found = ad.grad(f)(x)
    np.testing.assert_allclose(found, [1e9, 1e9], rtol=1e-6)


def test_a_users_function_is_called_once_and_sees_no_nan_of_the_first_look():
    seen = []

    class Same(ad.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            seen.append(dy.numpy().tolist())
            return dy

    def f(x):
        return Same.apply(np.where(x > 0, np.sqrt(Same.apply(x)), 0.0)).sum()
    np.testing.assert_array_equal(ad.grad(f)(np.array([0.0, 4.0])), [0.0, 0.25])
    assert seen == [[1.0, 1.0], [0.0, 0.25]]


def test_forward_mode_warns_of_values_only():
    """The product 0 * inf of the first look is nobody's business."""
    with np.errstate(all="raise"):
        y, dy = ad.jvp(lambda x: np.where(x > 0, x * np.sqrt(x), x), (0.0,), (1.0,))
        assert (y, dy) == (0.0, 1.0)
        with pytest.raises(FloatingPointError):
            ad.jvp(np.log, (0.0,), (1.0,))


def test_what_is_traced_is_done_with_care():
    """Nobody can look at a Symbol: the zero wins in every product, before there is a NaN."""
    graph, out = trace(ad.grad(masked), aval((2,), float))
    graph.outputs = [out.node]
    np.testing.assert_allclose(graph(np.array([0.0, 2.0]))[0], [0.0, np.log(2.0) + 1.0])
    graph, out = trace(lambda x: ad.jvp(lambda x: x * np.sqrt(x), (x,), (x + 1.0,))[1],
                       aval((), float))
    graph.outputs = [out.node]
    assert graph(np.float64(0.0))[0] == 0.0


def test_a_large_tangent_does_not_warn():
    """Whether it is finite is asked of its squares, which are not."""
    with np.errstate(all="raise"):
        dy = ad.jvp(lambda x: x * 2.0 + x, (np.ones(2),), (np.full(2, 1e200),))[1]
        assert dy.tolist() == [3e200, 3e200]
        x = ad.tensor(np.ones(2), requires_grad=True)
        (x * 2.0).backward(np.full(2, 1e200))
        assert x.grad.numpy().tolist() == [2e200, 2e200]
