"""Optimisers side by side with torch, over random settings and several parameters."""

import numpy as np
import pytest

import adjoint as ad

torch = pytest.importorskip("torch", reason="parity needs torch")

CASES = [
    ("SGD", {"lr": 0.05}), ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.2}),
    ("Adam", {"lr": 0.01}), ("Adam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.7, 0.95)}),
    ("AdamW", {"lr": 0.01}), ("AdamW", {"lr": 0.01, "weight_decay": 0.3, "eps": 1e-4})]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_trajectories(name, settings, dtype):
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape).astype(dtype) for shape in ((3, 4), (4,), ())]
    ours = [ad.tensor(s, requires_grad=True) for s in starts]
    theirs = [torch.tensor(s, requires_grad=True) for s in starts]
    opt, other = getattr(ad.optim, name)(ours, **settings), getattr(torch.optim, name)(
        theirs, **settings)
    for _ in range(20):
        gradients = [rng.normal(size=s.shape).astype(dtype) for s in starts]
        for p, q, g in zip(ours, theirs, gradients, strict=True):
            p.grad, q.grad = ad.tensor(g), torch.tensor(g)
        opt.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(),
                                   rtol=2e-6 if dtype == "float32" else 1e-12, atol=1e-7)
