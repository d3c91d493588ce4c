"""Train a network on the handwritten digits, written out: `adjoint train digits` does the same.

    python examples/digits.py
"""

import numpy as np

import adjoint as ad
from adjoint import data, nn, optim

rng = np.random.default_rng(0)
x, labels = data.digits()
(train, y), (validation, y_validation), (test, y_test) = data.split(x, labels, seed=0)
train, validation, test, _ = data.standardise(train, validation, test, common=True)

net = nn.Sequential(
    nn.Linear(64, 64, rng=rng), nn.ReLU(),
    nn.Linear(64, 64, rng=rng), nn.ReLU(),
    nn.Linear(64, 10, rng=rng))
loss_of = nn.CrossEntropyLoss()
optimizer = optim.Adam(net.parameters(), lr=1e-3)
print(net)

for epoch in range(1, 31):
    for x_batch, y_batch in data.batches(train, y, 16, rng):
        loss = loss_of(net(x_batch), y_batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        with ad.no_grad():
            logits = net(validation)
            print(f"epoch {epoch}: validation loss {loss_of(logits, y_validation):.4f}, accuracy "
                  f"{nn.functional.accuracy(logits, y_validation):.2%}")

with ad.no_grad():
    print(f"test accuracy {nn.functional.accuracy(net(test), y_test):.2%}")
