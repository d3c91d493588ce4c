"""Layers and losses side by side with torch: values, and gradients by every input."""

import itertools

import numpy as np
import pytest

import adjoint as ad

torch = pytest.importorskip("torch", reason="parity needs torch")
F, G = ad.nn.functional, torch.nn.functional
rng = np.random.default_rng(0)


def compare(ours, theirs, *arrays):
    xs = [ad.tensor(a, requires_grad=True) for a in arrays]
    zs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*xs), theirs(*zs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12)
    dy = rng.normal(size=y.shape)
    y.backward(dy)
    z.backward(torch.tensor(dy))
    for x, w in zip(xs, zs, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), w.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("shape", [(5, 4), (4,), (3, 4, 2), (2, 4, 3, 2)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy(shape, reduction, weighted, smoothing):
    x = rng.normal(size=shape)
    labels = rng.integers(0, 4, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    ignored = labels.copy()
    if labels.size > 2:
        ignored.reshape(-1)[1] = -100
    probabilities = np.exp(rng.normal(size=shape))
    w = np.array([0.5, 1.0, 2.0, 0.0]) if weighted else None
    tw = torch.tensor(w) if weighted else None
    for target in (labels, ignored, probabilities):
        compare(lambda a, t=target: F.cross_entropy(a, t, w, reduction=reduction,
                                                    label_smoothing=smoothing),
                lambda a, t=target: G.cross_entropy(a, torch.tensor(t), tw, reduction=reduction,
                                                    label_smoothing=smoothing), x)
    if not smoothing:
        compare(lambda a: F.nll_loss(a, ignored, w, reduction=reduction),
                lambda a: G.nll_loss(a, torch.tensor(ignored), tw, reduction=reduction), x)


@pytest.mark.parametrize(("reduction", "shape"), list(itertools.product(
    ["mean", "sum", "none"], [(), (3,), (2, 3)])))
def test_losses_by_element(reduction, shape):
    x, t = rng.normal(size=shape), rng.random(shape)
    compare(lambda a, b: F.mse_loss(a, b, reduction),
            lambda a, b: G.mse_loss(a, b, reduction=reduction), x, t)
    compare(lambda a: F.binary_cross_entropy_with_logits(a, t, 2.0, 3.0, reduction),
            lambda a: G.binary_cross_entropy_with_logits(
                a, torch.tensor(t), torch.tensor(2.0), pos_weight=torch.tensor(3.0),
                reduction=reduction), x * 10.0)


def test_a_network_from_the_same_parameters():
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3),
                                 torch.nn.LogSoftmax(dim=1))
    ours = ad.nn.Sequential(ad.nn.Linear(6, 5), ad.nn.Tanh(), ad.nn.Linear(5, 3),
                            ad.nn.LogSoftmax(dim=1))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, labels = rng.normal(size=(7, 6)).astype(np.float32), rng.integers(0, 3, 7)
    F.nll_loss(ours(x), labels).backward()
    G.nll_loss(theirs(torch.tensor(x)), torch.tensor(labels)).backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-6)
