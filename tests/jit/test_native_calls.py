"""Compiled functions as builtins: what machine code asks and makes itself, and what it must not."""

import sys

import numpy as np
import pytest

import adjoint as ad
from adjoint import nn, optim
from adjoint.compiler import abi

pytestmark = pytest.mark.skipif(abi.abi() is None, reason="there are no trampolines here")
SETTING = {"scale": 2.0, "mode": "train"}


def called(f, *args, times=3):
    """A compiled function after some calls, each against the function itself."""
    j = ad.jit(f)
    for _ in range(times):
        found = j(*args)
    return j, found


def is_builtin(j):
    return type(j.quick) is type(len)


def network():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    for p in net.parameters():
        p.data = rng.normal(size=p.shape).astype(p.dtype)
    return net, optim.SGD(net.parameters(), lr=0.1)


def training(net, opt):
    def step(x, y):
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss
    return step


def data():
    rng = np.random.default_rng(1)
    return (ad.tensor(rng.normal(size=(5, 3)).astype(np.float32)),
            ad.tensor(rng.normal(size=(5, 1)).astype(np.float32)))


def test_a_training_step_is_a_builtin_and_trains_as_it_does_eagerly():
    (eager, a), (compiled, b), (x, y) = network(), network(), data()
    step, j = training(eager, a), ad.jit(training(compiled, b))
    for _ in range(20):
        want, found = step(x, y), j(x, y)
        assert type(found) is ad.Tensor and found.node is None
        np.testing.assert_allclose(found.value, want.value, rtol=1e-5)
    assert is_builtin(j)
    for p, q in zip(eager.parameters(), compiled.parameters(), strict=True):
        np.testing.assert_allclose(q.value, p.value, rtol=1e-5)
        assert q.requires_grad and q.grad is None


def test_a_graph_recorded_before_a_step_keeps_its_weights():
    (net, opt), (x, y) = network(), data()
    j = ad.jit(training(net, opt))
    for _ in range(3):
        j(x, y)
    first = next(iter(net.parameters()))
    before = [p.value.copy() for p in net.parameters()]
    out = (net(x) ** 2).sum()
    j(x, y)
    out.backward()
    found = first.grad.value.copy()
    other, _ = network()
    for p, value in zip(other.parameters(), before, strict=True):
        p.data = value
    (other(x) ** 2).sum().backward()
    np.testing.assert_allclose(found, next(iter(other.parameters())).grad.value, rtol=1e-5)


def test_weights_that_somebody_else_holds_are_not_written():
    (net, opt), (x, y) = network(), data()
    j = ad.jit(training(net, opt))
    for _ in range(3):
        j(x, y)
    kept = [p.value for p in net.parameters()]
    copies = [v.copy() for v in kept]
    j(x, y)
    for value, copy, p in zip(kept, copies, net.parameters(), strict=True):
        np.testing.assert_array_equal(value, copy)
        assert np.abs(p.value - copy).max() > 0


def test_nested_arguments_and_results():
    def f(parts, t):
        (a, b), c = parts
        return {"sum": a + b, "rest": [c * t, (t.sum(),)]}
    x, t = np.ones(3), ad.tensor([1.0, 2.0, 3.0])
    j, found = called(f, [(x, x * 2), x * 3], t)
    assert is_builtin(j)
    np.testing.assert_array_equal(found["sum"], x * 3)
    assert type(found["rest"]) is list and type(found["rest"][1]) is tuple
    want = f([(x, x * 2), x * 3], t)
    assert type(found["rest"][0]) is type(want["rest"][0])
    assert type(found["rest"][1][0]) is type(want["rest"][1][0])
    np.testing.assert_array_equal(np.asarray(found["rest"][0].value), [3.0, 6.0, 9.0])
    again = j([(x, x), x], t)
    np.testing.assert_array_equal(again["sum"], x * 2)
    assert j(((x, x), x), t)["rest"][1][0].item() == 6.0  # a tuple instead of a list


def test_a_change_of_what_is_reached_is_seen():
    def f(x):
        return x * SETTING["scale"] if SETTING["mode"] == "train" else -x
    x = np.ones(3)
    j, found = called(f, x)
    assert is_builtin(j) and found[0] == 2
    SETTING["scale"] = 5.0
    assert j(x)[0] == 5
    SETTING["mode"] = "eval"
    assert j(x)[0] == -1
    SETTING["mode"] = str(np.str_("train"))  # equal, and another object
    assert j(x)[0] == 5
    SETTING["scale"] = 2.0


def test_value_and_gradient_of_numbers_are_floats():
    j, found = called(ad.value_and_grad(lambda a, b: np.log(a) + a * b - np.sin(b), (0, 1)),
                      2.0, 5.0)
    assert is_builtin(j)
    value, (first, second) = found
    assert [type(v) for v in (value, first, second)] == [float] * 3
    assert first == 5.5 and sys.getrefcount(j) < 10


def test_an_open_block_goes_the_general_way():
    x = np.ones(3)
    j, _ = called(lambda v: np.sin(v) * 2, x)
    assert is_builtin(j)
    with ad.no_grad():
        np.testing.assert_allclose(j(x), np.sin(x) * 2)
    g = ad.grad(lambda v: j(v).sum())
    np.testing.assert_allclose(g(x), np.cos(x) * 2)
    np.testing.assert_allclose(j(ad.tensor(x, requires_grad=True)).value, np.sin(x) * 2)


# ---- truth values, which NumPy tells apart by identity

def test_truths_of_compiled_functions_are_true():
    """A NumPy bool that is neither np.True_ nor np.False_ counts as false, whatever it holds."""
    below = ad.jit(lambda x: x[0] < 5.0)
    both = ad.jit(lambda x: (x[0] < 5.0, {"above": x[0] > 1.0, "x": x * 2.0}))
    for _ in range(5):
        for x in (np.array([0.5, 2.0]), np.array([7.0, 2.0])):
            assert below(x) is (np.True_ if x[0] < 5.0 else np.False_)
            first, rest = both(x)
            assert first is np.bool_(x[0] < 5.0) and rest["above"] is np.bool_(x[0] > 1.0)
    tensor = ad.tensor([0.5, 2.0])
    for _ in range(5):
        assert bool(below(tensor))


def test_python_branches_on_what_compiled_functions_give():
    below = ad.jit(lambda x: np.sum(x) < 40.0)
    turns, x = 0, np.ones(3)
    while below(x):
        turns, x = turns + 1, x * 1.5
    assert turns == 7
    assert ad.while_loop(lambda c: below(c[0]), lambda c: (c[0] * 1.5, c[1] + 1),
                         (np.ones(3), 0))[1] == 7
