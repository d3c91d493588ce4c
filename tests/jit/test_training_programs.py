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
    if callable(x):
        return held(x())
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


class Slotted:
    __slots__ = ("h",)


SHARED = None


@pytest.mark.parametrize("kind", ["nonlocal", "global", "slot", "tuple", "in a dict", "at first"])
def test_a_state_that_is_carried_by_assignment(kind):
    """The hidden state of truncated backpropagation through time, wherever it stands."""
    def program():
        global SHARED  # noqa: PLW0603 - what is tested
        SHARED = ad.tensor(np.zeros(3))
        net, h, pair, none = net_of(7), ad.tensor(np.zeros(3)), (ad.tensor(np.zeros(3)), 1.0), None
        held_by, slotted, fast = {"pair": (h, ad.tensor(np.zeros(3)))}, Slotted(), True
        slotted.h = h
        opt = ad.optim.SGD(net.parameters(), lr=0.1)

        def step(x, y):
            nonlocal h, pair, none, fast
            global SHARED  # noqa: PLW0603
            before = {"nonlocal": h, "global": SHARED, "slot": slotted.h, "tuple": pair[0],
                      "in a dict": held_by["pair"][0],
                      "at first": ad.zeros_like(h) if none is None else none}[kind]
            after = net(ad.concatenate([x, before.detach() + 0.0 * x[:, :3]], 1))
            loss = F.cross_entropy(after, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            new = after.detach().mean(0)
            if kind == "nonlocal":
                h, fast = new, not fast
            elif kind == "global":
                SHARED = new
            elif kind == "slot":
                slotted.h = new
            elif kind == "tuple":
                pair = new, pair[1] + 1.0
            elif kind == "in a dict":
                held_by["pair"] = new, 2.0 * new
            else:
                none = new
            return loss.detach()
        return step, (lambda: [net, h, pair, none, held_by, slotted.h, SHARED, fast])
    step = same_compiled(program, steps=6)
    assert sum(map(len, step.plans.values())) <= 3


def test_a_step_switches_to_training_and_to_evaluation():
    def program():
        net = net_of()
        parts = [*net.children(), ad.nn.Dropout(0.5, ad.random.Generator(1))]
        net = ad.nn.Sequential(*parts)
        opt = ad.optim.SGD(net.parameters(), lr=0.1)

        def step(x, y):
            net.train()
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            net.eval()
            with ad.no_grad():
                return loss.detach(), F.cross_entropy(net(x), y)
        return step, [net, lambda: [m.training for m in net.modules()]]
    same_compiled(program)


def test_a_step_copies_weights_by_load_state_dict():
    def program():
        net, target = net_of(), net_of()
        opt = ad.optim.SGD(net.parameters(), lr=0.1)

        def step(x, y):
            opt.zero_grad()
            loss = ((net(x) - target(x).detach() - 1.0) ** 2).mean()
            loss.backward()
            opt.step()
            target.load_state_dict(net.state_dict())
            return loss.detach()
        return step, [net, target]
    same_compiled(program)


class Lazy(ad.nn.Module):
    """A parameter that is made at the first call, and is known by another name too."""

    def __init__(self):
        self.weight = self.same = self.unused = None

    def forward(self, x):
        if self.weight is None:
            self.unused = ad.tensor(np.ones(2), requires_grad=True)
            self.weight = ad.tensor(np.linspace(0.0, 1.0, 12).reshape(4, 3), requires_grad=True)
        self.same = self.weight
        return x @ self.weight


def test_a_parameter_that_a_compiled_function_makes_is_one():
    def program():
        net = Lazy()
        optimizers = []
        forward = ad.jit(net) if compiled else net
        compiled.append(1)

        def step(x, y):
            optimizers[0].zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizers[0].step()
            return loss.detach()
        forward(np.ones((2, 4)))
        optimizers.append(ad.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
        return step, [net, optimizers[0], lambda: net.same is net.weight]
    compiled = []
    same_compiled(program)


def test_a_tensor_under_two_names_stays_one():
    def program():
        net = Lazy()
        net(np.ones((1, 4)))
        net.same = None
        opt = ad.optim.SGD(net.parameters(), lr=0.1)
        held_by = {"best": None}

        def step(x, y):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            held_by["best"] = net.weight
            return loss.detach()
        return step, [net, lambda: (net.same is net.weight, held_by["best"] is net.weight)]
    same_compiled(program)


def test_a_gradient_that_would_be_lost_is_an_error():
    kept = []

    @ad.jit
    def step(x):
        kept.append(ad.tensor(np.ones(2), requires_grad=True))
        (x * kept[0]).sum().backward()
    with pytest.raises(ad.errors.GraphError, match="its gradient would be lost"):
        step(np.ones(2))
    assert kept == []
