"""Small programs in PyTorch's manner, run line by line in both libraries: the same text, twice.

Each program is a function of the library (`ad` or `torch`) and returns what is compared. Where the
spelling differs, the program says so with `lib is torch`.
"""

import numpy as np
import pytest

import adjoint as ad

torch = pytest.importorskip("torch", reason="parity is against torch: python3 go.py parity")
RNG = np.random.default_rng(3)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2)


def leaf(lib, a):
    return lib.tensor(a, requires_grad=True)


def mlp_steps(lib):
    x, t = lib.tensor(X), lib.tensor(X[:, :2])
    w, b, v = leaf(lib, W), leaf(lib, B), leaf(lib, W[:2])
    losses = []
    for _ in range(3):
        h = lib.tanh(x @ w + b)
        loss = ((h @ v - t) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        with lib.no_grad():
            for p in (w, b, v):
                p -= 0.1 * p.grad
                p.grad = None
    return losses, w, b, v


def accumulation(lib):
    x = leaf(lib, B)
    (x * x).sum().backward()
    (3.0 * x).sum().backward()
    first = x.grad.clone()
    x.grad.zero_()
    x.exp().sum().backward()
    return first, x.grad


def broadcasting(lib):
    a, b, c = leaf(lib, X), leaf(lib, X[:1]), leaf(lib, np.float64(2.0))
    ((a * b + c) / (b * b + 1.0) - c).sum().backward()
    return a.grad, b.grad, c.grad


def indexing(lib):
    x = leaf(lib, X)
    y = x[1:, ::2].sum() + 2.0 * x[[0, 0, 3], 1].sum() + (x[x > 0] ** 2).sum() + x[-1, None].sum()
    y.backward()
    return y, x.grad


def writing(lib):
    x = leaf(lib, B)
    y = x * 2.0
    y[0] = x[1] * 5.0
    y += x
    (y * y).sum().backward()
    return y, x.grad


def overwritten_leaf_under_no_grad(lib):
    w = leaf(lib, B)
    with lib.no_grad():
        w.mul_(2.0)
        w += 1.0
        w[0] = 7.0
    (w ** 3).sum().backward()
    return w, w.grad, w.is_leaf, w.requires_grad


def retain_graph(lib):
    x = leaf(lib, B)
    y = (x ** 3).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def create_graph(lib):
    x = leaf(lib, B)
    y = (x.sin() * x).sum()
    y.backward(create_graph=True)
    g = x.grad
    x.grad = None
    (g * g).sum().backward()
    return g.detach(), x.grad


def cotangents(lib):
    x = leaf(lib, X)
    (x @ lib.tensor(W)).backward(lib.tensor(np.ones((4, 2)) * 0.5))
    return x.grad


def hooks(lib):
    x, seen = leaf(lib, B), []
    y = x * 2.0
    y.register_hook(lambda g: seen.append(g.clone()))
    handle = y.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: g + 1.0)
    (y * y).sum().backward(retain_graph=True)
    first = x.grad.clone()
    handle.remove()
    x.grad = None
    (y * y).sum().backward()
    return seen[0], seen[1], first, x.grad


def retained_gradients(lib):
    x = leaf(lib, B)
    y = x * 3.0
    y.retain_grad()
    (y ** 2).sum().backward()
    return y.grad, x.grad


def detached(lib):
    x = leaf(lib, B)
    y = x * x.detach() + (x * 2.0).detach()
    y.sum().backward()
    return x.grad, y.requires_grad, x.detach().requires_grad


def frozen(lib):
    x, w = lib.tensor(X), leaf(lib, W)
    y = (x @ w).sum()
    y.backward()
    return x.grad is None, x.requires_grad, y.requires_grad, w.grad


def flags(lib):
    x = leaf(lib, B)
    y = x * 2.0
    with lib.no_grad():
        z = x * 2.0
    return (x.is_leaf, x.requires_grad, x.grad is None, y.is_leaf, y.requires_grad,
            y.grad_fn is None, z.is_leaf, z.requires_grad, z.grad_fn is None)


def habits(lib):
    x = leaf(lib, X)
    y = x.view(2, 6).sum(dim=1, keepdim=True).unsqueeze(0).squeeze().mean()
    z = x.T.permute(1, 0).flatten().clone().reshape(-1, 2).max()
    (y + z + x.softmax(dim=1)[0, 0] + x.clamp(-0.5, 0.5).abs().sum()).backward()
    return y, z, x.grad, x.size(), x.size(0), x.dim(), x.numel()


def single_precision(lib):
    x = leaf(lib, X.astype(np.float32))
    w = leaf(lib, W.astype(np.float32))
    (x @ w).relu().sum().backward()
    return x.grad, w.grad


def mixed_precision(lib):
    x, w = leaf(lib, B.astype(np.float32)), leaf(lib, B)
    y = (x * w).sum()
    y.backward()
    return y, x.grad, w.grad


def control_flow(lib):
    x = leaf(lib, np.float64(1.5))
    y = x
    while y < 100.0:
        y = y * x if y < 10.0 else y + x * x
    y.backward()
    return y, x.grad


def diamond(lib):
    x = leaf(lib, B)
    a = x.exp()
    b, c = a * 2.0, a + a
    (b * c + a).sum().backward()
    return x.grad


def joined(lib):
    x, z = leaf(lib, X), leaf(lib, X[:2])
    y = lib.cat([x, z]) if lib is torch else lib.concatenate([x, z])
    s = lib.stack([x[0], z[1]])
    ((y ** 2).sum() + s.prod()).backward()
    return x.grad, z.grad


PROGRAMS = [mlp_steps, accumulation, broadcasting, indexing, writing,
            overwritten_leaf_under_no_grad, retain_graph, create_graph, cotangents, hooks,
            retained_gradients, detached, frozen, flags, habits, single_precision, mixed_precision,
            control_flow, diamond, joined]


def flat(result):
    """A result as a list of arrays and plain values."""
    if isinstance(result, (ad.Tensor, torch.Tensor)):
        return [result.detach().numpy()]
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_program(program):
    mine, other = flat(program(ad)), flat(program(torch))
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        if isinstance(b, np.ndarray):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, 1e-5 if b.dtype == np.float32 else 1e-12)
        else:
            assert a == pytest.approx(b, rel=1e-12)


def twice(lib):
    x = leaf(lib, B)
    y = (x * x).sum()
    y.backward()
    y.backward()


@pytest.mark.parametrize("misuse", [
    lambda lib: (leaf(lib, B) * 2.0).backward(),  # not a scalar
    lambda lib: lib.tensor(B).sum().backward(),  # nothing requires a gradient
    lambda lib: leaf(lib, np.arange(3)),  # integers
    lambda lib: leaf(lib, B).numpy(),  # out of the graph
    lambda lib: leaf(lib, B).__iadd__(1.0),  # a leaf in place
    twice,  # a freed graph
    lambda lib: leaf(lib, X) + leaf(lib, B),  # shapes
])
def test_both_refuse(misuse):
    for lib in (ad, torch):
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            misuse(lib)
