"""checkpoint: the same numbers at every order, closures too, with the memory of the arguments."""

import tracemalloc

import numpy as np
import optree
import pytest

import adjoint as ad

X = np.array([0.5, -1.0, 2.0])


def body(x):
    for _ in range(3):
        x = np.tanh(x * 1.5 + 0.1)
    return x


def test_gradient_hessian_and_forward_mode_agree():
    def plain(x):
        return (body(x) ** 2).sum()

    def kept(x):
        return (ad.checkpoint(body)(x) ** 2).sum()
    np.testing.assert_allclose(ad.grad(kept)(X), ad.grad(plain)(X))
    np.testing.assert_allclose(ad.hessian(kept)(X), ad.hessian(plain)(X))
    np.testing.assert_allclose(ad.jvp(kept, (X,), (X,)), ad.jvp(plain, (X,), (X,)))
    np.testing.assert_allclose(ad.linearize(kept, X)[1](X), ad.linearize(plain, X)[1](X))
    np.testing.assert_allclose(ad.grad(lambda x: ad.grad(kept)(x).sum())(X),
                               ad.grad(lambda x: ad.grad(plain)(x).sum())(X))
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(ad.jacobian(ad.checkpoint(body), mode=mode)(X),
                                   ad.jacobian(body, mode=mode)(X))


def test_tensors_closures_and_nesting():
    w = ad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = ad.tensor(X, requires_grad=True)
    inner = ad.checkpoint(lambda v: np.sin(v) * w)
    outer = ad.checkpoint(lambda v: inner(v) * v + w)
    outer(x).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), np.sin(X) * X + 1.0)
    np.testing.assert_allclose(x.grad.numpy(), [1, 2, 3] * (np.cos(X) * X + np.sin(X)))


def test_backward_twice_with_retain_graph_and_create_graph():
    x = ad.tensor(2.0, requires_grad=True)
    y = ad.checkpoint(lambda v: v ** 3)(x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 24.0
    x.grad = None
    ad.checkpoint(lambda v: v ** 3)(x).backward(create_graph=True)
    g, x.grad = x.grad, None
    g.backward()
    assert x.grad.item() == 12.0


def test_trees_results_not_tracked_and_arguments_not_differentiated():
    def f(p, n, name="f"):
        return {"y": p["x"] * n, "n": n, "name": name, "c": 3.0}
    out = ad.checkpoint(f)({"x": ad.tensor(2.0, requires_grad=True)}, 3, name="g")
    assert (out["n"], out["name"], out["c"]) == (3, "g", 3.0)
    assert out["y"].requires_grad
    assert ad.checkpoint(lambda x: 5.0)(2.0) == 5.0
    assert ad.grad(ad.checkpoint(lambda x, k: x[k] * 2.0))(X, 1).tolist() == [0.0, 2.0, 0.0]


def test_an_argument_or_a_result_used_twice():
    def f(x, z):
        return x * z, x * z, x
    g = ad.checkpoint(f)
    assert ad.grad(lambda x: sum(g(x, x)))(3.0) == 13.0


def test_inside_vmap_and_around_it():
    f = ad.checkpoint(lambda v: (np.sin(v) * v).sum())
    M = np.arange(6.0).reshape(2, 3)
    expected = np.sin(M) + M * np.cos(M)
    np.testing.assert_allclose(ad.vmap(f)(M), (np.sin(M) * M).sum(axis=1))
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(M), expected)
    np.testing.assert_allclose(ad.grad(lambda M: ad.vmap(f)(M).sum())(M), expected)
    np.testing.assert_allclose(
        ad.grad(ad.checkpoint(lambda M: ad.vmap(lambda v: (np.sin(v) * v).sum())(M).sum()))(M),
        expected)


def test_python_runs_the_function_once():
    calls = []
    f = ad.checkpoint(lambda x: calls.append(1) or x * x)
    x = ad.tensor(3.0, requires_grad=True)
    f(x).backward()
    assert (x.grad.item(), len(calls)) == (6.0, 1)


def test_branches_are_taken_as_they_went():
    f = ad.checkpoint(lambda x: x * x if x > 0 else -x)
    assert (ad.grad(f)(3.0), ad.grad(f)(-3.0)) == (6.0, -1.0)


def held(f, x):
    """Bytes that the graph of ``f(x)`` holds after the forward pass."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = f(x)
        return tracemalloc.get_traced_memory()[0] - before, y
    finally:
        tracemalloc.stop()


def test_memory_falls_to_that_of_the_arguments():
    x = ad.tensor(np.ones(20_000), requires_grad=True)
    size = x.detach().numpy().nbytes

    def deep(v):
        for _ in range(10):
            v = np.tanh(v)
        return v

    def layers(v, block):
        for _ in range(4):
            v = block(v)
        return v.sum()
    plain, y = held(lambda v: layers(v, deep), x)
    kept, z = held(lambda v: layers(v, ad.checkpoint(deep)), x)
    assert plain > 39 * size
    assert kept < 5 * size
    y.backward()
    first, x.grad = x.grad, None
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), first.numpy())


def test_an_exception_leaves_no_level_and_no_mode():
    from adjoint.core.box import live
    from adjoint.core.node import switch
    before = set(live)  # ad.teach has a level that never ends
    with pytest.raises(ZeroDivisionError):
        ad.checkpoint(lambda x: 1 / 0)(2.0)
    assert live == before
    assert switch.armed == 0


def test_results_without_a_derivative_have_the_kind_of_the_others():
    f = ad.checkpoint(lambda x: (x * 2.0, np.argmax(x), x.detach(), x > 1.5))
    for x, kind in [(ad.tensor([1.0, 2.0], requires_grad=True), ad.Tensor),
                    (ad.tensor([1.0, 2.0]), ad.Tensor), (np.array([1.0, 2.0]), np.ndarray)]:
        y, largest, copy, mask = f(x)
        assert isinstance(copy, kind) and isinstance(mask, kind) and isinstance(y, kind)
        assert isinstance(largest, (kind, np.integer)) and int(largest) == 1
        assert isinstance(largest, ad.Tensor) == isinstance(x, ad.Tensor)
        assert copy.tolist() == [1.0, 2.0] and mask.tolist() == [False, True]
        if kind is np.ndarray:
            copy[0] = 9.0
            assert x.tolist() == [1.0, 2.0]


def test_gradients_of_arrays_inside_are_arrays():
    """What nothing depends on came out as a tensor of zeros, where nobody had given a tensor."""
    w = np.array([0.5, -1.0])
    f = ad.checkpoint(lambda w: (ad.grad(lambda x: np.sum(w))(w), ad.jvp(
        lambda x: np.ones(2), (w,), (w,)), ad.vjp(lambda x: w, w)[1](w)))
    for leaf in optree.tree_leaves(f(w)):
        assert type(leaf) is np.ndarray
    for leaf in optree.tree_leaves(f(ad.tensor(w))):
        assert type(leaf) is ad.Tensor
    assert type(ad.checkpoint(lambda w: ad.tensor([1.0]))(w)) is ad.Tensor
