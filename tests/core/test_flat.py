"""The flat path of recording equals the general one, `interpret`, in all that can be seen."""

from collections.abc import Iterator

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import MODES, Mode, constant, switch
from adjoint.core.primitive import REGISTRY
from adjoint.core.reverse import order

V, M = np.array([0.5, 1.5]), np.array([[1.0, 2.0], [3.0, 4.0]])
F32 = np.array([0.5, 1.5], np.float32)


def leaf(value):
    return ad.tensor(value, requires_grad=True)


OPERANDS = [2.0, 3, np.float64(1.5), np.float32(1.5), V, F32, np.array([1, 2]), [1.0, 2.0], True,
            np.array(2.0), M, lambda: leaf(V), lambda: ad.tensor(V), lambda: leaf(F32),
            lambda: leaf(2.0), lambda: leaf(M), lambda: ad.tensor([1, 2])]
BINARY = {
    "add": lambda x, z: x + z, "radd": lambda x, z: z + x, "sub": lambda x, z: x - z,
    "rsub": lambda x, z: z - x, "mul": lambda x, z: x * z, "rmul": lambda x, z: z * x,
    "div": lambda x, z: x / z, "rdiv": lambda x, z: z / x, "pow": lambda x, z: x ** z,
    "rpow": lambda x, z: z ** x, "maximum": np.maximum,
    "ad.multiply": ad.multiply, "rad": lambda x, z: ad.multiply(z, x),
    "floordiv": lambda x, z: x // z, "mod": lambda x, z: x % z, "less": lambda x, z: x < z,
    "arctan2": lambda x, z: ad.arctan2(x, z) if "arctan2" in REGISTRY else x + z}
UNARY = {
    "exp": np.exp, "neg": lambda x: -x, "sin": ad.sin, "abs": abs, "sum": lambda x: x.sum(),
    "sum0": lambda x: x.sum(axis=0, keepdims=True), "T": lambda x: x.T, "item": lambda x: x[0],
    "reshape": lambda x: x.reshape(-1), "matmul": lambda x: x @ V, "rmatmul": lambda x: V @ x,
    "rint": np.rint, "sqrt": np.sqrt, "square": np.square, "mean": np.mean}


def steps(n):
    """A Node and all behind it, nested: shared constants have indices of their own age."""
    value = None if n.value is None else (np.asarray(n.value).tolist(), np.asarray(n.value).dtype)
    return n.prim.name, n.aval, repr(n.params), value, [steps(i) for i in n.inputs]


def story(y):
    """All that can be seen of a result and its graph."""
    if not isinstance(y, ad.Tensor):
        return type(y), np.asarray(y).tolist()
    assert y.aval.dtype == np.asarray(y.value).dtype
    head = (y.tolist(), y.aval, y.level, y.requires_grad)
    return head if y.node is None else (head, steps(y.node))


def general():
    """A block that sends every operation the general way, without changing what is recorded."""
    return Mode(lambda m: m._replace(site=lambda: None))


def outcome(f, *args):
    args = [a() if callable(a) else a for a in args]
    with np.errstate(all="ignore"):
        try:
            y = f(*args)
        except (ad.errors.AdjointError, TypeError, ValueError) as e:
            return type(e), str(e).split("\n")[0]
        told = story(y)
        if isinstance(y, ad.Tensor) and y.requires_grad:
            y.backward(np.ones(y.shape, y.dtype))
    return told, [None if not isinstance(a, ad.Tensor) or a.grad is None else
                  (a.grad.tolist(), a.grad.dtype) for a in args]


def both(f, *args):
    flat = outcome(f, *args)
    with general():
        assert switch.armed == 1
        slow = outcome(f, *args)
    assert repr(flat) == repr(slow)
    return flat


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("first", [lambda: leaf(V), lambda: leaf(2.0), lambda: ad.tensor(V),
                                   lambda: leaf(F32), lambda: leaf(M), lambda: ad.tensor([1, 2])])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_arguments(name, first):
    for second in OPERANDS:
        both(BINARY[name], first, second)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", [lambda: leaf(V), lambda: leaf(2.0), lambda: leaf(M),
                               lambda: leaf(F32), lambda: ad.tensor(V), lambda: ad.tensor([1, 2])])
def test_one_argument(name, x):
    both(UNARY[name], x)


def test_one_tensor_twice():
    for f in BINARY.values():
        both(lambda x, f=f: f(x, x), lambda: leaf(V))


def test_no_grad_and_tape_go_the_same_way():
    with ad.no_grad():
        assert story(leaf(V) * 2.0) == story(ad.tensor(V) * 2.0)
    with ad.tape() as nodes:
        y = np.exp(leaf(V) * 2.0).sum()
    assert [n.prim.name for n in nodes] == ["multiply", "exp", "sum"]
    assert all(n.value is not None for n in nodes)
    assert order([y.node])[0] is nodes[-1]


def test_other_levels_and_mixed_ones():
    def f(x):
        t = leaf(V)
        return (np.sin(x * t) + t * 2.0 + x).sum()
    plain = ad.grad(f)(V)
    with general():
        slow = ad.grad(f)(V)
    np.testing.assert_array_equal(plain.detach().numpy(), slow.detach().numpy())


def test_the_modes_are_read_only_when_armed():
    assert switch.armed == 0
    token = MODES.set(MODES.get()._replace(paused=10))
    try:
        assert (leaf(V) * 2.0).requires_grad  # nobody armed the switch, so nobody looks
    finally:
        MODES.reset(token)


def test_constants_of_the_flat_path_are_private():
    assert constant(V).value is not V
    assert isinstance(iter([leaf(V)]), Iterator)
