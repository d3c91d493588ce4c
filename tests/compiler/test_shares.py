"""Logarithms of softmax spelled out: compiled they are those of log_softmax, and so the slopes."""

import numpy as np
import pytest
from compilations import quiet

import adjoint as ad

X = np.array([[-1000.0, 0.0, 3.0, 1.0], [1000.0, 1.0, 2.0, 3.0], [-800.0, -900.0, -700.0, -702.0],
              [0.1, 0.2, 0.3, 0.4]])
D = np.random.default_rng(0).normal(size=X.shape)
LABELS = np.array([0, 2, 1, -1])
ROWS = np.arange(4)
PAIRS = np.arange(2)[:, None]


def two_steps(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1)[:, None]


# A spelling of the shares, and the axis along which they add up to 1.
SHARES = {
    "spelled out": (lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), 1),
    "softmax": (lambda x: ad.softmax(x, axis=1), 1),
    "shifted": (two_steps, 1),
    "along columns": (lambda x: np.exp(x) / np.exp(x).sum(0), 0),
    "of all": (lambda x: np.exp(x) / np.exp(x).sum(), None)}
# What is taken of them, before or after the logarithm.
TAKEN = {
    "all": lambda p: p, "labels": lambda p: p[ROWS, LABELS],
    "given labels": lambda p: p[np.arange(4), np.arange(4)], "rows": lambda p: p[1:3, 0],
    "turned": lambda p: p.T[::-1], "given places": lambda p: np.take(p, 4 * ROWS + LABELS),
    "turned labels": lambda p: p.T[LABELS, ROWS], "flipped": lambda p: np.flip(p, 1)[ROWS, LABELS],
    "reshaped": lambda p: p.reshape(2, 2, 4)[PAIRS, ROWS[:2], LABELS.reshape(2, 2)],
    "flat": lambda p: p.ravel()[2:11:3], "one of a reshape": lambda p: p.reshape(2, 2, 4)[1, :, 2],
    "turned pairs": lambda p: p.reshape(2, 2, 4).transpose(1, 0, 2).reshape(4, 4)[ROWS, LABELS],
    "one of turned pairs": lambda p: p.reshape(2, 2, 4).transpose(1, 2, 0)[0, 1:, 1],
    "along the rows": lambda p: np.take_along_axis(p, LABELS[:, None] % 4, 1).squeeze(1),
    "masked": lambda p: p[X > 0.5], "repeated": lambda p: np.tile(p, (2, 1))[3:6, 1],
    "row by row": lambda p: ad.vmap(lambda row, label: row[label])(p, LABELS)}
WAYS = {"value": lambda f: f, "grad": lambda f: ad.grad(lambda x: (f(x) ** 2).sum()),
        "jvp": lambda f: lambda x: ad.jvp(f, (x,), (D,))[1],
        "mean": lambda f: ad.value_and_grad(lambda x: -f(x).mean())}


def logarithms(x, axis):
    return ad.log_softmax(x.ravel(), axis=0).reshape(x.shape) if axis is None else (
        ad.log_softmax(x, axis=axis))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("shares", SHARES)
@quiet
def test_as_log_softmax(shares, taken, way):
    (spelled, axis), take = SHARES[shares], TAKEN[taken]
    with np.errstate(all="ignore"):
        expected = WAYS[way](lambda x: take(logarithms(x, axis)))(X)
        for f in (lambda x: take(np.log(spelled(x))), lambda x: np.log(take(spelled(x)))):
            found = ad.jit(WAYS[way](f))(X)
            for got, want in zip(*[v if way == "mean" else (v,) for v in (found, expected)],
                                 strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


TOGETHER = {
    "one by one": lambda p, log: sum(log(p[i, i % 4]) * (i + 1) for i in range(12)),
    "beside each other": lambda p, log: log(p.T)[1].sum() + log(p.ravel())[3] - log(p[1:, 0]).sum(),
    "chosen": lambda p, log: np.where(X > 0.5, log(p), 0.0).sum(),
    "of a compiled function": lambda p, log: ad.jit(
        lambda p: log(np.take_along_axis(p, ROWS[:, None], 1).squeeze(1)).sum())(p)}


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("shares", SHARES)
@quiet
def test_several_logarithms(shares, name):
    """Each gives its own cotangent to the same shares."""
    (spelled, axis), f = SHARES[shares], TOGETHER[name]
    x = X[:, :] if name != "one by one" else np.tile(X, (3, 1))
    with np.errstate(all="ignore"):
        expected = ad.grad(lambda x: f(logarithms(x, axis), lambda y: y))(x)
        found = ad.jit(ad.grad(lambda x: f(spelled(x), np.log)))(x)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shares", SHARES)
@quiet
def test_hidden_entries_and_infinite_ones(shares):
    """Where a mask has put -inf there is no gradient; values are infinite or NaN as before."""
    spelled, axis = SHARES[shares]
    hidden, labels = np.array([[0.5, -np.inf, 800.0], [-np.inf, 3.0, -np.inf]]), np.array([0, 1])
    if shares == "along columns":
        hidden = hidden.T
        labels = labels, np.arange(2)
    else:
        labels = np.arange(2), labels
    with np.errstate(all="ignore"):
        for f in (lambda x: np.log(spelled(x))[labels].sum(),
                  lambda x: np.log(spelled(x)[labels]).sum()):
            expected = ad.value_and_grad(lambda x: logarithms(x, axis)[labels].sum())(hidden)
            for got, want in zip(ad.jit(ad.value_and_grad(f))(hidden), expected, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-300)
        for rare in (np.inf, np.nan, -np.inf):
            x = np.array([[rare, 1.0], [rare, rare], [1.0, 2.0]])
            before, after = np.log(spelled(x)), ad.jit(lambda x: np.log(spelled(x)))(x)
            np.testing.assert_allclose(after, before, rtol=1e-15)


OTHERS = {
    "entropy": lambda p, w: -(p * np.log(p)).sum(),
    "divergence": lambda p, w: (w * np.log(p / w)).sum(),
    "quotient": lambda p, w: (w / p).sum() + p[0].sum(),
    "chosen": lambda p, w: np.where(w > 0.5, w * np.log(p), 0.0).sum(),
    "other powers": lambda p, w: (np.log(p) * p * p * np.exp(w)).sum(),
    "products": lambda p, w: (np.log(p.T) @ p).sum() * p[0, 0],
    "nearly": lambda p, w: (np.log(p + 1e-9) * w / p).sum()}
ORDERS = {"value": lambda f: f, "grad": ad.grad, "hessian": ad.hessian,
          "jvp": lambda f: lambda x: ad.jvp(f, (x,), (D,))[1],
          "hvp": lambda f: lambda x: ad.jvp(ad.grad(f), (x,), (D,))[1]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_of_shares_stay_what_they_are(name, order):
    rng, f = np.random.default_rng(1), OTHERS[name]
    x, w = rng.normal(size=(4, 4)), rng.random((4, 4)) + 0.1
    for spelled, _ in SHARES.values():
        way = ORDERS[order](lambda x, spelled=spelled: f(spelled(x), w))
        np.testing.assert_allclose(ad.jit(way)(x), way(x), rtol=1e-10, atol=1e-10)


def test_shares_alone_are_not_shifted():
    """Whoever wants no logarithm pays for no maximum, and has the digits of NumPy."""
    x = np.random.default_rng(2).normal(size=(4, 4)) * 9
    f = ad.jit(lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True))
    assert "maximum" not in f.show(x, stage="program")
