"""The counts of examples/counting.py, against what the mathematics says they are."""

import numpy as np
import pytest
from shared import example

import adjoint as ad
from adjoint import nn, optim


@pytest.fixture(scope="module")
def c():
    return example("counting")


@pytest.mark.parametrize("n", [2, 3, 7, 30])
def test_multiplications_of_a_product(c, n):
    theta = np.linspace(0.5, 1.5, n)
    exact = np.prod(theta) / theta
    naive, from_one = c.naive_product_gradient(theta)
    other, from_first = c.naive_product_gradient(theta, from_one=False)
    gradient, forward, backward = c.reverse_product_gradient(theta)
    for found in (naive, other, gradient):
        np.testing.assert_allclose(found, exact, rtol=1e-13)
    assert (from_one, from_first) == (n * (n - 1), n * (n - 2))
    assert (forward, backward) == (n - 1, 2 * (n - 1))


@pytest.mark.parametrize("n", [1, 5, 40])
def test_passes(c, n):
    f, w = c.logistic_loss(n)
    (slopes, many), (gradient, once) = c.forward_gradient(f, w), c.reverse_gradient(f, w)
    assert (many, once) == (n, 1)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-10, atol=1e-14)


def test_backward_is_three_products_and_a_threshold(c):
    batch, inputs, hidden, outputs = 6, 5, 4, 3
    forward, backward = c.taped(c.two_layer_network(batch, inputs, hidden, outputs))
    assert c.operations(forward)["matmul"] == 2
    assert c.operations(forward)["relu"] == 1
    assert c.operations(backward)["matmul"] == 3
    products = [c.flops(n) for n in backward if n.prim.name == "matmul"]
    assert sorted(products) == sorted([
        2 * batch * hidden * outputs, 2 * batch * hidden * outputs, 2 * batch * inputs * hidden])
    thresholds = [n for n in backward if n.prim.name == "multiply"
                  and n.aval.shape == (batch, hidden)]
    assert len(thresholds) == 1


@pytest.mark.parametrize("n", [1, 10, 25])
def test_memory_grows_by_one_array_a_step(c, n):
    x = ad.tensor(np.linspace(0, 1, 1000), requires_grad=True)
    assert c.kept_bytes(c.chain(n, x)) == (n + 1) * 8000  # a result for each step, and x


def test_a_checkpoint_keeps_the_arguments_of_its_parts(c):
    x = ad.tensor(np.linspace(0, 1, 1000), requires_grad=True)
    assert c.kept_bytes(c.checkpointed_chain(100, 10, x)) == 10 * 8000
    c.chain(100, x).sum().backward()
    whole, x.grad = x.grad.numpy().copy(), None
    c.checkpointed_chain(100, 10, x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), whole, rtol=1e-14)


def test_peak_of_checkpointing_is_less(c):
    x = ad.tensor(np.linspace(0, 1, 10_000), requires_grad=True)
    whole = c.peak_bytes(lambda: c.chain(100, x).sum().backward())
    less = c.peak_bytes(lambda: c.checkpointed_chain(100, 10, x).sum().backward())
    assert whole > 100 * 80_000
    assert less < 0.35 * whole


def test_routes_to_the_derivative_by_a_matrix(c):
    rng = np.random.default_rng(0)
    x, w, dy = rng.normal(size=(7, 5)), rng.normal(size=5), rng.normal(size=7)
    formed, bytes_formed = c.jacobian_route(x, w, dy)
    direct, bytes_direct = c.product_route(x, w, dy)
    np.testing.assert_allclose(formed, np.outer(dy, w), rtol=1e-14)
    np.testing.assert_allclose(direct, np.outer(dy, w), rtol=1e-14)
    assert (bytes_formed, bytes_direct) == (8 * 7 * 7 * 5, 8 * 7 * 5)


def test_bytes_of_training_are_those_of_a_real_network(c):
    net = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.Adam(net.parameters())
    x = np.ones((5, 12), np.float32)
    nn.functional.mse_loss(net(x), np.zeros((5, 3), np.float32)).backward()
    optimizer.step()
    told = c.training_bytes((12, 8, 3), batch=5)
    parameters = list(net.parameters())
    assert told["parameters"] == sum(p.detach().numpy().nbytes for p in parameters)
    assert told["gradients"] == sum(p.grad.numpy().nbytes for p in parameters)
    held = sum(v.nbytes for s in optimizer.state.values() for v in s.values()
               if isinstance(v, np.ndarray) and v.ndim)
    assert told["optimiser"] == held
    assert told["activations"] == 4 * 5 * (12 + 8)


def test_times_are_medians(c, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(c.time, "perf_counter", lambda: clock[0])
    lasting = iter([9.0, 1.0, 5.0, 2.0])  # the first run is not counted

    def program():
        clock[0] += next(lasting)
    assert c.times(program, rounds=3) == [2.0]


def test_the_machine_is_named(c):
    assert np.__version__ in c.machine()
    assert "cores" in c.machine()
