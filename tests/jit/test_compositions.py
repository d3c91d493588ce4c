"""Compiled functions under transformations, and transformations of loops in compiled functions."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder
from adjoint.core.node import aval_of

W = np.array([0.5, -1.5, 2.0])


class Half(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return np.sin(x) * 0.5

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * np.cos(x) * 0.5


# ---- a transformation of some of the arguments, the others being tensors

def scaled(x, s):
    return x * x * s


OF_ONE = {
    "grad": lambda f: lambda x, s: ad.grad(lambda x: np.sum(f(x, s)))(x),
    "jvp": lambda f: lambda x, s: ad.jvp(lambda x: f(x, s), (x,), (x,))[1],
    "linearize": lambda f: lambda x, s: ad.linearize(lambda x: f(x, s), x)[1](x),
    "vmap": lambda f: ad.vmap(f, in_axes=(0, None)),
    "jacobian": lambda f: lambda x, s: ad.jacobian(lambda x: f(x, s))(x),
    "hessian": lambda f: lambda x, s: ad.hessian(lambda x: np.sum(f(x, s)))(x)}


def slope(y, s):
    """What backward() of a result leaves in a tensor."""
    s.grad = None
    y.sum().backward(retain_graph=True)
    return s.grad


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", OF_ONE)
def test_other_arguments_are_tensors(name, requires_grad):
    """The derivative was 0, silently: the result came out as a tensor that nobody recorded."""
    x, s = ad.tensor(W), ad.tensor(2.0, requires_grad=requires_grad)
    expected = OF_ONE[name](scaled)(x, s)
    for f in (OF_ONE[name](ad.jit(scaled)), ad.jit(OF_ONE[name](ad.jit(scaled)))):
        for _ in range(2):
            found = f(x, s)
            assert type(found) is ad.Tensor and found.level == expected.level == 0
            np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-14)
            if requires_grad:
                np.testing.assert_allclose(slope(found, s), slope(expected, s), rtol=1e-14)


def test_a_tensor_of_an_outer_transformation_is_a_result():
    f, x, s = ad.jit(lambda x, s: (x * s, s)), ad.tensor(W), ad.tensor(2.0)
    found = ad.grad(lambda x: ad.grad(lambda s: (f(x, s)[0] * f(x, s)[1]).sum())(s))(x)
    np.testing.assert_allclose(found.numpy(), np.full(3, 4.0))


# ---- arguments that nothing depends on

@pytest.mark.parametrize("unused", [1.0, 2, 1j, np.float64(1.0), np.ones(2)], ids=repr)
def test_unused_numbers_inside_of_transformations(unused):
    f = ad.jit(lambda unused, w: np.sin(w) * 2.0)
    np.testing.assert_allclose(ad.grad(lambda w: f(unused, w).sum())(W), np.cos(W) * 2.0)
    np.testing.assert_allclose(ad.vmap(lambda w: f(unused, w))(W), np.sin(W) * 2.0)


# ---- what has no lowering, in what is lowered by others

def test_a_function_of_the_users_in_a_checkpoint():
    def f(w):
        return np.sum(ad.checkpoint(lambda w: Half.apply(w) * w)(w))
    for g in (f, ad.grad(f)):
        np.testing.assert_allclose(ad.jit(g)(W), g(W), rtol=1e-14)


# ---- without machine code

LOOPS = {
    "scan": lambda w, s: ad.scan(lambda c, _: (np.tanh(c * s), None), w, None, length=3)[0],
    "while_loop": lambda w, s: ad.while_loop(
        lambda c: np.sum(c * c) > s, lambda c: c * 0.5 * s, w),
    "cond": lambda w, s: ad.cond(w[0] > s, lambda w: w * s, lambda w: w - s, w)}


@pytest.mark.parametrize("name", LOOPS)
def test_python_numbers_closed_over_by_bodies_that_numpy_runs(name, monkeypatch):
    monkeypatch.setenv("ADJOINT_JIT", "off")
    f = LOOPS[name]
    np.testing.assert_allclose(ad.jit(f)(W, 0.7), f(W, 0.7), rtol=1e-14)


# ---- results that are values of a transformation around the call, as they came

def scanned(w):
    return ad.scan(lambda c, _: ad.jit(lambda x: (x * 2.0, (c, w)))(c), w, None, length=2)


AS_THEY_CAME = {
    "grad": ad.grad(lambda w: np.sum(ad.jit(lambda x: w)(w) * w)),
    "jvp": lambda w: ad.jvp(lambda w: ad.jit(lambda x: (w, w * x))(2.0), (w,), (w,)),
    "vmap": ad.vmap(lambda w: ad.jit(lambda x: {"w": w, "x": x * 2.0})(w)),
    "jit": lambda w: ad.jit(lambda x: (w, x))(np.ones(3)),
    "scan": scanned,
    "vmap of scan": lambda w: ad.vmap(scanned)(np.stack([w, w * 2.0])),
    "grad of scan": ad.grad(lambda w: np.sum(scanned(w)[1][1] * w))}


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("name", AS_THEY_CAME)
def test_values_of_outer_transformations_are_results(name, tensor, monkeypatch):
    f, w = AS_THEY_CAME[name], ad.tensor(W) if tensor else W
    found = [f(w), ad.jit(f)(w)]
    monkeypatch.setattr(ad, "jit", lambda f: f)
    for y in found:
        same(y, f(w))


def same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, (tuple, dict)):
        assert len(found) == len(expected)
        for key in expected if isinstance(expected, dict) else range(len(expected)):
            same(found[key], expected[key])
        return
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_value_that_is_reached_and_given_back_is_read_at_each_call():
    held = {"w": W}
    f = ad.jit(lambda x: held["w"] * 1.0 if x is None else held["w"])

    def g(w):
        held["w"] = w
        try:
            return np.sum(f(2.0))
        finally:
            held["w"] = W
    for k in range(3):
        np.testing.assert_array_equal(ad.grad(g)(W * k), np.ones(3))
        np.testing.assert_array_equal(ad.vmap(g)(W * k), W * k)
        np.testing.assert_array_equal(f(2.0), W)


# ---- results of Python's that are what it was given

def test_no_turns_give_back_the_cotangents_they_got():
    """The call gave back memory of the workspace, which others were written over."""
    def f(x):
        return np.sum(ad.while_loop(lambda c: c[1] < 0, lambda c: (np.sin(c[0]), c[1] + 1),
                                    (np.cos(x) * x, 0))[0] ** 2)

    def g(x):
        return ad.grad(lambda x: np.sum(ad.grad(f)(x) ** 2))(x)
    x = np.linspace(0.0, 1.0, 5)
    for _ in range(2):
        np.testing.assert_allclose(ad.jit(g)(x), g(x), rtol=1e-13)


@pytest.mark.parametrize("view", [np.asarray, np.transpose, lambda x: (x, x[::-1])])
def test_a_call_that_gives_its_operand_or_a_view_of_it(view):
    b = ProgramBuilder()
    known = aval_of(np.ones(64))
    x = b.input(known)
    several = isinstance(view(np.ones(2)), tuple)
    y = b.call(view, [b.elementwise("exp", x)], (known, known) if several else known)
    z = b.elementwise("add", b.item(y, 0), b.item(y, 1)) if several else y
    total = b.reduce("add", b.elementwise("sin", b.scan("add", x, 0)), (0,))
    total = b.reduce("add", b.scan("add", b.elementwise(
        "multiply", x, b.view(total, (), (64,))), 0), (0,))
    b.program.outputs = [b.elementwise("multiply", z, b.view(total, (), (64,))).number]
    value = np.linspace(0.0, 1.0, 64)
    code = Compiled(b.program)
    for _ in range(2):
        np.testing.assert_allclose(code(value)[0], b.program(value)[0], rtol=1e-13)
