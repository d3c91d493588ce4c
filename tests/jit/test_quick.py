"""From the third call on a compiled function goes the quick way; it must be the same way."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import adjoint as ad
from adjoint import errors
from adjoint.compiler.jitted import Jitted

X = np.linspace(0.1, 1.3, 6).reshape(2, 3)
NATIVE = type(len)


def warmed(f, *args, times=4):
    for _ in range(times):
        y = f(*args)
    return y


def is_quick(f):
    return bool(f.ways)


def test_arrays_and_numbers_go_through_a_builtin():
    f = ad.jit(lambda x, y: x * y + 1.0)
    np.testing.assert_array_equal(warmed(f, X, X), X * X + 1.0)
    assert isinstance(f.ways[-1], NATIVE) or not is_quick(f)
    assert f(2.0, 3.0) == 7.0
    assert type(f(2.0, 3.0)) is float
    np.testing.assert_array_equal(f(X.astype(np.float32), X), X.astype(np.float32) * X + 1.0)
    np.testing.assert_array_equal(f(X[:, ::-1], X), X[:, ::-1] * X + 1.0)
    np.testing.assert_array_equal(f(X, y=X), X * X + 1.0)
    with pytest.raises(errors.ShapeError):
        f(X, X.T)
    with pytest.raises(TypeError):
        f(X)


def test_kinds_are_told_apart():
    f = ad.jit(lambda x: x * 2.0)
    for value in (1.5, np.float64(1.5), np.float32(1.5), np.array(1.5), ad.tensor(1.5)) * 4:
        y = f(value)
        plain = 2.0 * value
        assert type(y) is type(ad.grad(lambda v: v * v)(value)) or type(y) is type(plain), value
        assert float(y) == 3.0
    single = X.astype(np.float32)
    g = ad.jit(lambda x, s: x * s)
    assert warmed(g, single, 2.0).dtype == np.float32
    assert warmed(g, single, np.float64(2.0)).dtype == np.float64
    assert warmed(g, single, 2.0).dtype == np.float32


def test_results_do_not_share_memory():
    f = ad.jit(lambda x: (x + 1.0, x + 1.0, x))
    kept = [f(X) for _ in range(6)]
    for a, b, c in kept:
        np.testing.assert_array_equal(a, X + 1.0)
        assert not np.may_share_memory(a, b)
        assert not np.may_share_memory(c, X)
    first = kept[0][0]
    first += 1.0
    np.testing.assert_array_equal(kept[1][0], X + 1.0)
    view = f(X)[0][:1]
    for _ in range(5):
        f(2.0 * X)
    np.testing.assert_array_equal(view, X[:1] + 1.0)


def test_trees_tensors_and_constants():
    f = ad.jit(lambda p: {"a": p["x"] * 2.0, "b": [p["y"][0], 3.0, None, np.arange(2)]})
    p = {"x": X, "y": (ad.tensor(X),)}
    y = warmed(f, p)
    np.testing.assert_array_equal(y["a"], 2 * X)
    assert isinstance(y["b"][0], ad.Tensor)
    assert y["b"][1:3] == [3.0, None]
    np.testing.assert_array_equal(f({"y": (ad.tensor(2 * X),), "x": X})["b"][0].numpy(), 2 * X)
    with pytest.raises(KeyError):
        f({"x": X, "z": (ad.tensor(X),)})


def test_modes_reach_it():
    w = ad.tensor(X, requires_grad=True)
    f = ad.jit(lambda x: (x * w).sum())
    assert warmed(f, X).requires_grad
    with ad.no_grad():
        assert not warmed(f, X).requires_grad
    assert f(X).requires_grad
    g = ad.jit(np.log)
    warmed(g, ad.tensor(X))
    with ad.doctor(), pytest.raises(errors.NonFiniteError, match="log"):
        g(ad.tensor([[0.0, 1.0, 2.0]] * 2))
    with ad.default_dtype("float64"):
        h = ad.jit(ad.nn.Linear(3, 2, rng=0))
        assert h(X).dtype == np.float64


def test_guards_hold_on_the_quick_way():
    setting = {"mode": "double"}
    f = ad.jit(lambda x: x * 2.0 if setting["mode"] == "double" else x * 3.0)
    warmed(f, X)
    setting["mode"] = "triple"
    np.testing.assert_allclose(warmed(f, X), 3.0 * X)
    setting["mode"] = "double"
    np.testing.assert_allclose(warmed(f, X), 2.0 * X)


SCALE = 2.0


def test_a_global_is_read_on_the_quick_way():
    f = ad.jit(lambda x: x * SCALE)
    warmed(f, X)
    try:
        for k in (5.0, 7.0, np.float64(3.0)):
            globals()["SCALE"] = k
            np.testing.assert_allclose(warmed(f, X), k * X)
        globals()["SCALE"] = X
        np.testing.assert_allclose(warmed(f, X), X * X)
    finally:
        globals()["SCALE"] = 2.0


# ---- state in place

def stepper():
    w = ad.tensor(X, requires_grad=True)

    @ad.jit
    def step(x):
        nonlocal w
        loss = (w * x).sum()
        loss.backward()
        with ad.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
        return loss
    return w, step


def expected(n):
    return X - 0.1 * n * X


def test_a_step_writes_in_place_what_nobody_else_holds():
    w, step = stepper()
    for n in range(1, 8):
        step(X)
        np.testing.assert_allclose(w.detach().numpy(), expected(n), rtol=1e-13)
    before = w.detach().numpy().ctypes.data
    gc.collect()
    step(X)
    step(X)
    np.testing.assert_allclose(w.detach().numpy(), expected(9), rtol=1e-13)
    assert isinstance(before, int)


def test_what_the_user_holds_is_not_written_over():
    w, step = stepper()
    warmed(step, X)
    seen = w.detach().numpy()
    copy = seen.copy()
    detached = w.detach()
    for n in range(5, 9):
        step(X)
        np.testing.assert_array_equal(seen, copy)
        np.testing.assert_array_equal(detached.numpy(), copy)
        np.testing.assert_allclose(w.detach().numpy(), expected(n), rtol=1e-13)


def test_a_graph_outside_keeps_the_value_it_used():
    w, step = stepper()
    warmed(step, X)
    used = w.detach().numpy().copy()
    outside = (w * w).sum()
    step(X)
    step(X)
    outside.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2.0 * used, rtol=1e-13)


def test_assigning_from_outside_is_seen():
    w, step = stepper()
    warmed(step, X)
    w.data = 5.0 * X
    step(X)
    np.testing.assert_allclose(w.detach().numpy(), 5.0 * X - 0.1 * X, rtol=1e-13)
    w.grad = ad.tensor(X)
    step(X)
    np.testing.assert_allclose(w.detach().numpy(), 4.9 * X - 0.1 * 2 * X, rtol=1e-13)


# ---- life

def test_nothing_leaks_and_a_function_can_die():
    f = ad.jit(lambda x: (x * 2.0, x.sum()))
    x = X.copy()
    warmed(f, x, times=10)
    count = sys.getrefcount(x)
    warmed(f, x, times=1000)
    assert sys.getrefcount(x) == count
    ref = weakref.ref(f)
    del f
    gc.collect()
    assert ref() is None


def test_threads_call_one_function():
    f = ad.jit(lambda x: np.tanh(x @ x.T) + 1.0)
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).normal(size=(8, 8))
        for _ in range(200):
            if not np.allclose(f(x), np.tanh(x @ x.T) + 1.0, rtol=1e-12):
                wrong.append(seed)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_deterministic_products_are_the_librarys_own(monkeypatch):
    from adjoint.compiler import blas
    asked = []
    monkeypatch.setattr(blas, "limit", lambda *a, f=blas.limit: asked.append(f(*a)) or f(*a))
    f = ad.jit(lambda x: x @ x)
    warmed(f, X @ X.T)
    with ad.deterministic():
        before = len(asked)
        np.testing.assert_allclose(warmed(f, X @ X.T), (X @ X.T) @ (X @ X.T))
    assert len(f.plans) == 1
    (plan,) = [p for plans in f.plans.values() for p in plans]
    assert plan.graph.cached["deterministic"] is not plan.graph.cached["executable"]
    assert all(limit == blas.NEVER for limit in asked[before:])


class Holder:
    """An object with an attribute."""


def in_dict():
    state = {"b": np.zeros(3)}

    def f(x):
        state["b"] = state["b"] * 0.5 + x
    return f, lambda: state["b"]


def in_attribute():
    holder = Holder()
    holder.b = np.zeros(3)

    def f(x):
        holder.b = holder.b * 0.5 + x
    return f, lambda: holder.b


def in_optimizer():
    p = ad.tensor(np.ones(3), requires_grad=True)
    opt = ad.optim.SGD([p], lr=0.1, momentum=0.5)

    def f(x):
        opt.zero_grad()
        (p * x).sum().backward()
        opt.step()
    return f, lambda: opt.state[p]["momentum_buffer"]


@pytest.mark.parametrize("made", [in_dict, in_attribute, in_optimizer])
def test_an_array_that_is_assigned_is_written_over_if_nobody_else_has_it(made, monkeypatch):
    """One more reference is the call's own, to what it looks up: each call went the slow way."""
    if not isinstance(warmed_builtin(), NATIVE):
        pytest.skip("there is no builtin on this machine")
    slow, general = [], Jitted.general
    monkeypatch.setattr(Jitted, "general", lambda self, *args, **kwargs: (
        slow.append(args), general(self, *args, **kwargs))[1])
    (f, state), (plain, expected) = made(), made()
    compiled, x = ad.jit(f), np.arange(3.0)
    for _ in range(4):
        compiled(x), plain(x)
    slow.clear()
    for _ in range(5):
        compiled(x), plain(x)
    assert not slow
    np.testing.assert_allclose(state(), expected(), rtol=1e-14)
    held, before = state(), state().copy()
    compiled(x), plain(x)
    assert len(slow) == 1
    np.testing.assert_array_equal(held, before)
    np.testing.assert_allclose(state(), expected(), rtol=1e-14)
    part, before = state()[1:], state()[1:].copy()
    compiled(x), plain(x)
    np.testing.assert_array_equal(part, before)
    np.testing.assert_allclose(state(), expected(), rtol=1e-14)


def warmed_builtin():
    """What a compiled function calls from the third call on."""
    f = ad.jit(lambda x: x + 1.0)
    warmed(f, X)
    return f.ways[-1] if f.ways else None
