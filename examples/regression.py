"""Fit a curve twice: with an optimiser and `backward()`, and with `ad.grad` and SciPy.

    python examples/regression.py
"""

import numpy as np
from scipy.optimize import minimize

import adjoint as ad
from adjoint import nn, optim

rng = np.random.default_rng(0)
x = np.linspace(-3.0, 3.0, 200)
y = np.sin(2.0 * x) * np.exp(-0.2 * x) + 0.05 * rng.normal(size=x.size)

# A network that knows nothing of the curve. `x[:, None]`: one example in each row.
with ad.default_dtype("float64"):
    net = nn.Sequential(nn.Linear(1, 32, rng=rng), nn.Tanh(), nn.Linear(32, 32, rng=rng),
                        nn.Tanh(), nn.Linear(32, 1, rng=rng))
optimizer = optim.Adam(net.parameters(), lr=0.01)
for _ in range(500):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x[:, None]), y[:, None])
    loss.backward()
    optimizer.step()
print(f"network: mean squared error {loss.item():.5f}")


# The formula with unknown numbers: a function of an array, and SciPy with its exact gradient.
def error(p):
    frequency, decay = p
    return nn.functional.mse_loss(np.sin(frequency * x) * np.exp(-decay * x), y)


found = minimize(error, np.array([1.8, 0.1]), jac=ad.grad(error))
print(f"formula: mean squared error {found.fun:.5f}, frequency {found.x[0]:.4f}, decay "
      f"{found.x[1]:.4f}")
