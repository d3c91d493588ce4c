"""Hooks of tensors that a compiled function reaches: those that are there when it is called."""

import numpy as np

import adjoint as ad


def test_hooks_come_and_go():
    w = ad.tensor([1.0, 2.0], requires_grad=True)

    def step(x):
        loss = (w * w * x).sum()
        loss.backward()
        return loss
    compiled, x = ad.jit(step), np.array([3.0, 4.0])

    def slope():
        w.grad = None
        compiled(x)
        return w.grad.numpy() / np.array([6.0, 16.0])
    for _ in range(3):
        np.testing.assert_array_equal(slope(), 1.0)
    first = w.register_hook(lambda gradient: 10.0 * gradient)
    for _ in range(3):
        np.testing.assert_array_equal(slope(), 10.0)
    second = w.register_hook(lambda gradient: gradient + 1.0)
    np.testing.assert_array_equal(slope(), 10.0 + 1.0 / np.array([6.0, 16.0]))
    first.remove()
    np.testing.assert_array_equal(slope(), 1.0 + 1.0 / np.array([6.0, 16.0]))
    second.remove()
    for _ in range(3):
        np.testing.assert_array_equal(slope(), 1.0)


def test_numbers_in_lists_stay_numbers():
    rates = [1.0, 2.0, 3.0]

    def f(x):
        rates.append(rates.pop(0))
        return x * rates[0]
    compiled, x = ad.jit(f), np.ones(2, np.float32)
    for expected in (2.0, 3.0, 1.0, 2.0):
        found = compiled(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
        assert {type(r) for r in rates} == {float}
