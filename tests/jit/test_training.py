"""Training steps compiled: 200 steps of the same numbers as eagerly, whatever changes meanwhile."""

import copy

import numpy as np
import pytest

import adjoint as ad


def made(optimizer, dtype="float64"):
    ad.nn.manual_seed(0)
    with ad.default_dtype(dtype):
        net = ad.nn.Sequential(ad.nn.Linear(6, 8), ad.nn.Tanh(),
                               ad.nn.Dropout(0.25, ad.random.Generator(5)), ad.nn.Linear(8, 3))
    return net, optimizer(net.parameters())


OPTIMIZERS = {
    "sgd": lambda p: ad.optim.SGD(p, lr=0.1),
    "momentum": lambda p: ad.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: ad.optim.Adam(p, lr=1e-2),
    "adamw": lambda p: ad.optim.AdamW(p, lr=1e-2, weight_decay=1e-2)}


def losses(optimizer, compiled, order="usual", steps=200, resume_at=None):
    """The losses of a training with a schedule, evaluation in between, and a resumed checkpoint."""
    net, opt = made(optimizer)
    criterion = ad.nn.CrossEntropyLoss()

    def step(x, y):
        if order == "usual":
            opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        if order == "accumulated":
            (0.5 * criterion(net(0.5 * x), y)).backward()
        opt.step()
        if order != "usual":
            opt.zero_grad(set_to_none=order == "late")
        return loss

    def evaluate(x, y):
        with ad.no_grad():
            return criterion(net(x), y)
    if compiled:
        step, evaluate = ad.jit(step), ad.jit(evaluate)
    rng, found = np.random.default_rng(1), []
    for n in range(steps):
        x, y = rng.normal(size=(5, 6)), rng.integers(0, 3, 5)
        found.append(step(x, y).item())
        for group in opt.param_groups:
            group["lr"] *= 0.995
        if n % 20 == 7:
            net.eval()
            found.append(evaluate(x, y).item())
            net.train()
        if n == resume_at:
            weights = {k: v.numpy().copy() for k, v in net.state_dict().items()}
            settings = copy.deepcopy(opt.state_dict())
            for p in net.parameters():
                with ad.no_grad():
                    p *= 0.0
            net.load_state_dict(weights)
            opt.load_state_dict(settings)
    found += [p.detach().numpy().sum() for p in net.parameters()]
    return np.array(found), step


@pytest.mark.parametrize("order", ["usual", "late", "accumulated"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_the_same_compiled(name, order):
    steps = 200 if (name, order) == ("adam", "usual") else 25
    eager, _ = losses(OPTIMIZERS[name], False, order, steps, resume_at=steps // 2)
    compiled, step = losses(OPTIMIZERS[name], True, order, steps, resume_at=steps // 2)
    np.testing.assert_allclose(compiled, eager, rtol=1e-12, atol=1e-14)
    assert sum(map(len, step.plans.values())) <= 4


def test_dropout_draws_another_mask_at_each_call():
    layer = ad.nn.Dropout(0.5, ad.random.Generator(3))
    f = ad.jit(layer)
    other = ad.nn.Dropout(0.5, ad.random.Generator(3))
    x = np.ones(64)
    drawn = [f(x).numpy() for _ in range(5)]
    for y in drawn:
        np.testing.assert_array_equal(y, other(x).numpy())
    assert len({y.tobytes() for y in drawn}) == 5


def test_the_common_stream_goes_on_eager_and_compiled():
    ad.random.seed(7)
    expected = [ad.random.normal(3).numpy() for _ in range(4)]
    ad.random.seed(7)
    f = ad.jit(lambda: ad.random.normal(3))
    for k, want in enumerate(expected):
        got = f() if k % 2 else ad.random.normal(3)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-14)
