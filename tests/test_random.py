"""Random tensors: the published stream, the right distributions, gradients of their parameters."""

import numpy as np
import pytest
from scipy import stats

import adjoint as ad
from adjoint import errors
from adjoint.ops import random as rows


@pytest.mark.parametrize(("key", "counter", "words"), [
    (0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8))])
def test_philox_gives_the_published_words(key, counter, words):
    found = rows.philox(rows.OfArrays(), np.uint64(key), np.uint64(counter))
    assert tuple(map(int, found)) == words



@pytest.mark.parametrize(("name", "law"), [
    ("uniform", stats.uniform()), ("normal", stats.norm()), ("exponential", stats.expon()),
    ("gumbel", stats.gumbel_r()), ("laplace", stats.laplace())])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distributions(name, law, dtype):
    x = getattr(ad.random.Generator(11), name)((20_000,), dtype=dtype).numpy()
    assert x.dtype == dtype
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


def test_bernoulli_and_permutation():
    g = ad.random.Generator(2)
    assert abs(g.bernoulli(0.3, 20_000).numpy().mean() - 0.3) < 0.02
    p = g.permutation(50).numpy()
    assert sorted(p) == list(range(50))
    assert list(p) != list(range(50))


def test_the_stream_does_not_repeat_and_can_be_saved():
    g = ad.random.Generator(4)
    first = g.uniform((5,)).numpy()
    saved = g.state.numpy().copy()
    second = g.uniform((5,)).numpy()
    assert not set(first) & set(second)
    g.state[...] = saved
    np.testing.assert_array_equal(g.uniform((5,)).numpy(), second)


def test_parameters_keep_their_gradients():
    loc = ad.tensor([1.0, 2.0], requires_grad=True)
    scale = ad.tensor(0.5, requires_grad=True)
    x = ad.random.Generator(0).normal((2,), loc, scale)
    x.sum().backward()
    np.testing.assert_array_equal(loc.grad.numpy(), [1.0, 1.0])
    z = (x.detach() - loc.detach()) / 0.5
    np.testing.assert_allclose(scale.grad.item(), z.sum().item())


def test_bad_input():
    for seed in (-1, 1.5, "x", True):
        with pytest.raises(errors.ArgumentError, match="seed"):
            ad.random.Generator(seed)
    with pytest.raises(errors.ArgumentError, match="shape"):
        ad.random.uniform((2, -1))
    with pytest.raises(errors.DTypeError, match="float"):
        ad.random.uniform(2, dtype=int)
    for p in (1.0, -0.1, 2.0):
        with pytest.raises(errors.ArgumentError, match="dropout"):
            ad.nn.Dropout(p)


def test_dropout_scales_and_backward_masks():
    layer = ad.nn.Dropout(0.25, ad.random.Generator(9))
    x = ad.tensor(np.ones(10_000), requires_grad=True)
    y = layer(x)
    kept = y.detach().numpy() != 0.0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(y.detach().numpy()[kept], 1 / 0.75)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), kept / 0.75)
    layer.eval()
    assert layer(x) is x
