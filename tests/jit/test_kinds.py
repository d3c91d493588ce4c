"""Compiled, a result has the kind that it has eagerly: an array, a tensor or a number."""

import numpy as np
import optree
import pytest

import adjoint as ad

X, W = np.array([1.0, 2.0]), ad.tensor([2.0, 3.0])
FUNCTIONS = {
    "ones": lambda x: (ad.ones(2) * x).sum(), "closed over": lambda x: (W * x).sum(),
    "squares": lambda x: (W * x * x).sum(), "zeros": lambda x: (ad.zeros(2) + x).sum(),
    "like": lambda x: (np.ones_like(x) * x + np.full_like(x, 2.0)).sum()}
WAYS = {
    "grad": ad.grad, "value_and_grad": ad.value_and_grad, "hessian": ad.hessian,
    "jacobian": ad.jacobian, "jvp": lambda f: lambda x: ad.jvp(f, (x,), (x,)),
    "vjp": lambda f: lambda x: ad.vjp(f, x)[1](1.0)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_constants_that_are_tensors_do_not_make_tensors_of_arrays(name, way):
    f = WAYS[way](FUNCTIONS[name])
    for x in (X, ad.tensor(X)):
        found, expected = ad.jit(f)(x), f(x)
        for got, want in zip(*[v if isinstance(v, tuple) else (v,) for v in (found, expected)],
                             strict=True):
            assert isinstance(got, ad.Tensor) == isinstance(want, ad.Tensor)
            np.testing.assert_allclose(np.asarray(got), np.asarray(want))


FIRST, SECOND = np.array([[1.0, np.nan], [np.inf, 0.0]]), np.array([[1.0 + 1e-9, np.nan],
                                                                    [np.inf, 1e-9]])
UNREAD = {
    "ones_like": lambda x, z: np.ones_like(x) * 2.0,
    "zeros_like": lambda x, z: np.zeros_like(x, dtype=int), "full_like": lambda x, z: np.full_like(
        x, 3.0), "result_type": lambda x, z: x.astype(np.result_type(x, np.float32)),
    "iscomplexobj": lambda x, z: x * np.iscomplexobj(x), "lower": lambda x, z: x[
        np.tril_indices_from(x)],
    "isclose": np.isclose, "isclose, NaN": lambda x, z: np.isclose(x, z, equal_nan=True),
    "isclose, bounds": lambda x, z: np.isclose(x, z, 1e-12, 0.0),
    "isclose, number": lambda x, z: np.isclose(1.0, x), "allclose": np.allclose,
    "allclose, NaN": lambda x, z: np.allclose(x, z, equal_nan=True),
    "array_equal": lambda x, z: np.array_equal(x, x),
    "array_equal, NaN": lambda x, z: np.array_equal(x, x, equal_nan=True),
    "array_equal, shapes": lambda x, z: np.array_equal(x, x[0])}


@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.filterwarnings("ignore")
def test_functions_that_need_no_value(name):
    f = UNREAD[name]
    for dtype in (np.float64, np.float32):
        x, z = FIRST.astype(dtype), SECOND.astype(dtype)
        found, expected = ad.jit(f)(x, z), f(x, z)
        np.testing.assert_array_equal(found, expected)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        batched = ad.vmap(f)(x[None], z[None])
        np.testing.assert_array_equal(batched[0] if np.ndim(batched) else batched, expected)


@pytest.mark.parametrize("decimals", [-1, 0, 1])
def test_integers_are_rounded_to_integers(decimals):
    n = np.arange(-20, 40, 7)
    for found in (ad.round(n, decimals), ad.jit(lambda n: np.round(n, decimals))(n)):
        np.testing.assert_array_equal(found, np.round(n, decimals))
        assert found.dtype == n.dtype


@pytest.mark.parametrize("f", [
    lambda x: np.copysign(x, -1), lambda x: np.copysign(x, 2.0), lambda x: ad.xlogy(x, 2),
    lambda x: ad.xlog1py(x, 2.0), lambda x: ad.xlogy(2.0, x)])
def test_slopes_beside_numbers_have_the_dtype_of_the_array(f):
    x = np.array([1.0, 3.0], np.float32)

    def slope(x):
        return ad.grad(lambda x: f(x).sum())(x)
    for found in (slope(x), ad.jit(slope)(x), ad.jvp(f, (x,), (x,))[1]):
        assert found.dtype == np.float32


def of_own(x):
    """A tensor that is changed, beside the array that it was made of."""
    y = x * 1.0
    t = ad.tensor(y)
    y += 1.0
    t *= 2.0
    return t, y


def slope_of_leaf(x):
    t = ad.tensor(x, requires_grad=True)
    (t * t * x).sum().backward()
    return t.grad


@pytest.mark.parametrize("f", [
    lambda x: ad.tensor(x) * 2, lambda x: ad.tensor(x, dtype=np.float32) * 2, of_own,
    slope_of_leaf])
def test_a_tensor_of_an_argument_is_made_as_it_is_eagerly(f):
    compiled = ad.jit(f)
    for x in (X, X.astype(np.float32), ad.tensor(X), X * 3.0, X):
        found, expected = compiled(x), f(x)
        for got, want in zip(*[v if isinstance(v, tuple) else (v,) for v in (found, expected)],
                             strict=True):
            assert (type(got), got.dtype) == (type(want), want.dtype)
            np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def test_a_tensor_of_a_number_is_no_number():
    found = ad.jit(lambda a: ad.tensor(a) * np.ones(2, np.float32))(2.0)
    assert found.dtype == (ad.tensor(2.0) * np.ones(2, np.float32)).dtype


def test_the_method_round_takes_decimals():
    x = np.array([0.125, 1.25])
    for found in (ad.tensor(x).round(1).numpy(), ad.jit(lambda x: x.round(1))(x)):
        np.testing.assert_array_equal(found, x.round(1))
    np.testing.assert_array_equal(ad.tensor(x).round().numpy(), x.round())


# ---- numbers that transformations and control flow give for numbers

def squares(y):
    return lambda s: (s * s * y).sum()


Y = np.array([1.0, 2.0, 3.0], np.float32)
NUMBERS = {
    "grad": lambda s, y: ad.grad(squares(y))(s), "vjp": lambda s, y: ad.vjp(squares(y), s)[1](1.0),
    "value_and_grad": lambda s, y: ad.value_and_grad(squares(y))(s),
    "jvp": lambda s, y: ad.jvp(squares(y), (s,), (1.0,)),
    "linearize": lambda s, y: ad.linearize(squares(y), s)[1](1.0),
    "jacobian": lambda s, y: ad.jacobian(squares(y))(s),
    "hessian": lambda s, y: ad.hessian(squares(y))(s),
    "hvp": lambda s, y: ad.hvp(squares(y), (s,), (s,)),
    "jit": lambda s, y: ad.jit(lambda s: s * 2.0)(s),
    "checkpoint": lambda s, y: ad.checkpoint(lambda s: s * 2.0)(s),
    "scan": lambda s, y: ad.scan(lambda c, x: (c + x, None), s, y)[0],
    "scan, integers": lambda s, y: ad.scan(lambda c, _: (c + 1, None), 1, y)[0],
    "an integer that adopts a dtype": lambda s, y: ad.scan(lambda c, x: (c + x, None), 1, y)[0],
    "cond": lambda s, y: ad.cond(y[0] > 0, lambda s: s * 2.0, lambda s: s, s),
    "one branch gives a number": lambda s, y: ad.cond(y[0] > 0, lambda: s, lambda: y[0] * 2) * 1,
    "while_loop": lambda s, y: ad.while_loop(lambda c: c < y[0] * 3, lambda c: c * 2.0, s),
    "fori_loop": lambda s, y: ad.fori_loop(0, (y[0] > 0) + np.int64(2), lambda i, c: c * 2.0, s)}


INTEGERS = {"jit", "checkpoint", "scan", "one branch gives a number"}


@pytest.mark.parametrize("given", ["argument", "constant", "integer"])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_stay_numbers(name, given):
    """As NumPy's float64 they made float64 of the float32 that they met."""
    f = NUMBERS[name]
    if given == "integer" and name not in INTEGERS:
        return

    def g(s, y):
        found = f(s if given != "constant" else 1.5, y)
        leaves = found if isinstance(found, tuple) else (found,)
        return [leaf for x in leaves for leaf in (x, x * y)]
    s = 2 if given == "integer" else 1.5
    compiled, expected = ad.jit(g), g(s, Y)
    for _ in range(3):
        for x, z in zip(compiled(s, Y), expected, strict=True):
            assert type(x) is type(z) and np.asarray(x).dtype == np.asarray(z).dtype
            np.testing.assert_allclose(x, z, rtol=1e-6)


BODIES = {
    "map": lambda s, y: ad.map(lambda x: (x, s), y),
    "scan": lambda s, y: ad.scan(lambda c, x: (c * x, s), s, y),
    "cond": lambda s, y: ad.cond(y[0] > 0, lambda: s, lambda: 2.0),
    "while_loop": lambda s, y: ad.while_loop(lambda c: c[0] < y[0] * 3.0,
                                             lambda c: (c[0] + s, s), (0.0, 1.0))}


@pytest.mark.parametrize("name", BODIES)
def test_a_number_from_outside_is_what_a_body_gives(name):
    f, y = BODIES[name], np.array([1.0, 2.0, 3.0])
    for g in (f, lambda s, y: ad.jvp(lambda y: f(s, y * y), (y,), (y,)),
              lambda s, y: ad.jvp(lambda s: f(s, y), (s,), (1.0,)),
              lambda s, y: ad.vmap(lambda y: f(s, y))(np.stack([y, y]))):
        found, expected = ad.jit(g)(1.5, y), g(1.5, y)
        for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b)
