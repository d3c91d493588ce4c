"""Training steps as PyTorch users write them: compiled, each leaves everything as eagerly."""

import numpy as np
import pytest

import adjoint as ad

F = ad.nn.functional


def net_of(n=4, classes=3):
    ad.nn.manual_seed(0)
    with ad.default_dtype("float64"):
        return ad.nn.Sequential(ad.nn.Linear(n, 5), ad.nn.Tanh(), ad.nn.Linear(5, classes))


def held(x):
    """Everything that a step may change, as arrays: values, gradients, flags, states."""
    if isinstance(x, ad.Tensor):
        return [x.detach().numpy().copy(), x.requires_grad and x.is_leaf, held(x.grad)]
    if isinstance(x, ad.nn.Module):
        return held([*x.state_dict().values(), *x.parameters()])
    if isinstance(x, ad.optim.Optimizer):
        return held([x.state.get(p, {}) for p in x.parameters()])
    if isinstance(x, dict):
        return [(k, held(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple)):
        return [held(v) for v in x]
    return x.copy() if isinstance(x, np.ndarray) else x


def assert_same(a, b):
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, (np.ndarray, float)):
        assert type(a) is type(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-13)
    else:
        assert a == b


def same_compiled(program, steps=5):
    """``program()`` gives a step and what it changes; both are the same after each step."""
    told = []
    for kind in (lambda f: f, ad.jit):
        step, changed = program()
        step, rng = kind(step), np.random.default_rng(1)
        told.append([held([step(rng.normal(size=(6, 4)), rng.integers(0, 3, 6)), changed])
                     for _ in range(steps)])
    eager, compiled = told
    for a, b in zip(eager, compiled, strict=True):
        assert_same(a, b)
    return step


def test_data_is_assigned_to():
    def program():
        net = net_of()
        mean = ad.tensor(np.zeros(3))

        def step(x, y):
            h = net(x)
            loss = F.cross_entropy(h, y)
            loss.backward()
            for p in net.parameters():
                p.grad.data = np.clip(p.grad.data, -0.1, 0.1)
                p.data = p - 0.1 * p.grad  # tracked as it is
                p.grad = None
            mean.data = 0.9 * mean.data + 0.1 * h.detach().mean(0)
            return loss.detach()
        return step, [net, mean]
    same_compiled(program)


def test_a_step_may_be_the_first_to_ask_for_the_parameters():
    def program():
        net = net_of()

        def step(x, y):
            opt = ad.optim.SGD(net.parameters(), lr=0.1)
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            return loss.detach()
        return step, net
    same_compiled(program)


def test_a_layer_that_a_step_freezes_is_frozen_afterwards():
    def program():
        net = net_of()
        opt = ad.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        first, *_, last = net.parameters()
        last.requires_grad = False

        def step(x, y):
            first.requires_grad_(not first.requires_grad)
            last.requires_grad_(not last.requires_grad)
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            return loss.detach()
        return step, [net, opt]
    same_compiled(program)


@pytest.mark.parametrize("hook", [
    lambda scale, seen, g: scale["by"] * g,
    lambda scale, seen, g: seen.__setitem__("norm", (g * g).sum()),
    lambda scale, seen, g: [g.mul_(scale["by"]), None][1],
    lambda scale, seen, g: np.ones(g.shape, np.float32)],
    ids=["scales", "notes", "in place", "ones"])
def test_what_a_hook_reads_and_changes_belongs_to_the_step(hook):
    def program():
        net = net_of()
        opt = ad.optim.SGD(net.parameters(), lr=0.1)
        scale, seen = {"by": 0.5}, {}
        next(net.parameters()).register_hook(lambda g: hook(scale, seen, g))

        def step(x, y):
            scale["by"] = 1.25 * scale["by"]
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            return loss.detach()
        return step, [net, scale, seen]
    same_compiled(program)


def test_a_number_that_a_hook_reads_is_read_at_each_call():
    x, scale = ad.tensor([1.0, 2.0], requires_grad=True), {"by": 1.0}
    x.register_hook(lambda g: scale["by"] * g)

    @ad.jit
    def step():
        x.grad = None
        (x * x).sum().backward()
    step()
    scale["by"] = 10.0
    step()
    assert x.grad.tolist() == [20.0, 40.0]


def test_the_gradient_of_a_result_is_a_tensor():
    def program():
        net = net_of()
        first, tanh, last = net.children()

        def step(x, y):
            h = first(x)
            h.register_hook(lambda g: 2.0 * g)
            h.retain_grad()
            F.cross_entropy(last(tanh(h)), y).backward()
            return h.grad
        return step, net
    same_compiled(program)


def test_item_is_the_number_of_each_call():
    def program():
        net, history, told = net_of(), {"loss": []}, {"total": 0.0, "rate": ad.tensor(2)}
        opt = ad.optim.SGD(net.parameters(), lr=0.1)

        def step(x, y):
            opt.zero_grad()
            out = net(x)
            loss = F.cross_entropy(out, y)
            (loss * (1.0 / (1.0 + loss.item()))).backward()  # a constant, as eagerly
            norm = sum((p.grad ** 2).sum().item() for p in net.parameters()) ** 0.5
            for p in net.parameters():
                p.grad *= told["rate"].item() / (norm + 1e-6)
            opt.step()
            told["total"] += loss.item() * len(x)
            history["loss"].append(loss.item())
            hits = (out.argmax(1) == y).sum().item()
            return loss.item(), hits, divmod(hits, 2), hits > 2, (out > 0.0).any().item()
        return step, [net, history, told]
    same_compiled(program)


def test_item_is_no_value_to_branch_on_or_to_print():
    loss = ad.tensor(2.0)
    for f in (lambda x: (x * loss).sum().item() > 3.0 or x, lambda x: f"{x.sum().item():.3f}",
              lambda x: float(loss.item()), lambda x: int(x.sum().item())):
        with pytest.raises(ad.errors.EscapeError, match="does not exist yet"):
            ad.jit(f)(np.ones(2))


def test_item_in_float32_does_not_widen_what_it_meets():
    x = ad.tensor(np.float32([0.1, 0.2]))
    y, n = ad.jit(lambda x: (x * x.sum().item(), x.sum().item()))(x)
    assert y.dtype == np.float32 and type(n) is float
    assert n == x.sum().item()
