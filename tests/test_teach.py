"""The teaching face: the four systems of the courses, on the engine's Node, Dual and sweep."""

import doctest
import gc
import importlib
import math
import re
import subprocess
import sys
import xml.dom.minidom

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import Node
from adjoint.core.primitive import REGISTRY, Primitive
from adjoint.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    MutationError,
    RuleError,
    ShapeError,
)
from adjoint.teach import (
    MLP,
    Autograd,
    AutogradValue,
    ForwardValue,
    Layer,
    Neuron,
    Value,
    _add,
    _div,
    _exp,
    _log,
    _mul,
    _neg,
    _square,
    _sub,
    add_backward,
    backward_of,
    div_backward,
    exp_backward,
    matmul_backward,
    mul_backward,
    scalar,
    sub_backward,
    tanh_backward,
)

BOTH = [AutogradValue, ForwardValue]


# ---- AutogradValue

def test_node_table_of_the_quartic():
    x = AutogradValue(2)
    a = x ** 2
    b = 5 * a
    c = a * b
    L = -c
    assert [v.grad for v in (x, a, b, c, L)] == [0.0] * 5
    assert x.parents == [2] and x.args == [2]
    assert a.parents == [x] and a.args == [2] and a.value == 4
    assert b.parents == [5, a] and b.args == [5, 4]
    assert c.parents == [a, b] and c.args == [4, 20]
    L.backward()
    assert [v.grad for v in (L, c, b, a, x)] == [1.0, -1.0, -4.0, -40.0, -160.0]


def test_operators_make_the_named_operations():
    x, y = AutogradValue(2.0), AutogradValue(3.0)
    made = {_add: x + y, _sub: x - y, _neg: -x, _mul: x * y, _div: x / y, _exp: np.exp(x),
            _log: np.log(x), _square: x ** 2}
    for cls, value in made.items():
        assert isinstance(value, cls) and isinstance(value, AutogradValue)
    assert not isinstance(x * x, _square)


def test_an_autograd_value_is_a_node_and_its_operation_one_row():
    x = AutogradValue(2.0)
    a, b = x ** 2, (x + 1.0) ** 2
    assert isinstance(a, Node) and isinstance(a.prim, Primitive)
    assert a.prim is b.prim is _square.row
    assert a.inputs == (x,)


@pytest.mark.parametrize("base", BOTH)
def test_a_users_subclass_works_at_once(base):
    class _cube(base):
        def func(self, x):
            return x ** 3

        def grads(self, x):
            return (3 * x ** 2,)
    x = base(2.0)
    y = 5.0 * _cube(x) + x
    assert y.value == 42.0
    assert derivative(y, x) == 61.0
    assert _cube.row.name == "cube"


@pytest.mark.parametrize("base", BOTH)
def test_grads_may_read_the_value_itself(base):
    class _root(base):
        def func(self, x):
            return math.sqrt(x)

        def grads(self, x):
            return (0.5 / self.value,)
    x = base(4.0)
    assert derivative(_root(x), x) == 0.25


def derivative(y, x):
    if isinstance(y, ForwardValue):
        return y.forward_grads[x]
    y.backward()
    return x.grad


@pytest.mark.parametrize("base", BOTH)
@pytest.mark.parametrize(("f", "exact"), [
    (lambda x: 3 + x, 1.0), (lambda x: x - 1, 1.0), (lambda x: 1 - x, -1.0), (lambda x: 2 * x, 2.0),
    (lambda x: x / 4, 0.25), (lambda x: 4 / x, -1.0), (lambda x: x ** 3, 12.0), (lambda x: +x, 1.0),
    (lambda x: x ** 0, 0.0), (lambda x: x ** 0.5, 0.5 / math.sqrt(2)),
    (lambda x: 2 ** x, 4 * math.log(2)),
    (lambda x: x ** x, 4 * (1 + math.log(2))), (np.exp, math.exp(2)), (np.log, 0.5),
    (np.tanh, 1 - math.tanh(2) ** 2), (np.sin, math.cos(2)), (np.cos, -math.sin(2)),
    (lambda x: x.relu(), 1.0), (lambda x: (-x).relu(), 0.0), (np.square, 4.0),
    (lambda x: np.float64(3.0) * x, 3.0), (lambda x: x * np.float64(3.0), 3.0),
    (lambda x: np.power(x, 3), 12.0), (lambda x: x * x * x, 12.0)])
@pytest.mark.parametrize("kind", [int, float])
def test_every_operator_with_plain_numbers_and_integers(base, f, exact, kind):
    x = base(kind(2))
    assert derivative(f(x), x) == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("cls", [AutogradValue, ForwardValue, Value])
def test_identity_hash_and_equality(cls):
    x, y = cls(2.0), cls(2.0)
    assert x != y and x == x and hash(x) != hash(y)
    assert {x: "x", y: "y"}[y] == "y"


def test_plain_numbers_have_no_grad():
    x = AutogradValue(2.0)
    y = 5.0 * x
    y.backward()
    number, parent = y.parents
    assert parent.grad == 5.0
    with pytest.raises(AttributeError, match="grad"):
        number.grad


def test_backward_accumulates_and_visits_shared_values_once():
    x = AutogradValue(3.0)
    a = x * x
    y = a * a + a
    y.backward()
    assert (a.grad, x.grad) == (19.0, 114.0)
    y.backward()
    assert (y.grad, a.grad, x.grad) == (2.0, 38.0, 228.0)


def test_each_backward_function_runs_once_per_node():
    calls = []

    class _counted(AutogradValue):
        def func(self, x):
            return x + x

        def grads(self, x):
            calls.append(self)
            return (2.0,)
    x = y = AutogradValue(1.0)
    for _ in range(10):
        y = _counted(y)
    z = y + y
    z.backward()
    assert len(calls) == 10 and calls == sorted(calls, key=lambda v: -v.index)
    assert x.grad == 2048.0


@pytest.mark.parametrize("base", BOTH)
def test_inside_numpy_object_arrays(base):
    x = np.array([base(1.0), base(2.0), base(3.0)])
    w = np.array([4.0, 5.0, 6.0])
    assert x.dtype == object
    y = np.dot(x, w) + np.dot(x, x) + np.sum(np.exp(x)) + (x * x[0]).sum()
    assert y.value == pytest.approx(32 + 14 + sum(map(math.exp, (1, 2, 3))) + 6, rel=1e-14)
    v = np.array([1.0, 2.0, 3.0])
    expected = w + 2 * v + np.exp(v) + np.array([7.0, 1.0, 1.0])
    if base is AutogradValue:
        y.backward()
        found = [v.grad for v in x]
    else:
        found = [y.forward_grads[v] for v in x]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert (np.array([1.0, 2.0]) * x[0]).dtype == object


def test_vectorised_variant_overrides_vjp():
    seen = []

    class _softplus(AutogradValue):
        def func(self, x):
            return np.log1p(np.exp(x))

        def vjp(self, grad, x):
            seen.append(grad)
            return (grad / (1.0 + np.exp(-x)),)
    W = AutogradValue(np.arange(6.0).reshape(2, 3) / 6)
    x, b = AutogradValue(np.array([1.0, -1.0, 2.0])), AutogradValue(0.5)
    y = _softplus(W @ x + b)
    y.backward(np.array([1.0, 2.0]))
    dW, dx, db = ad.vjp(lambda W, x, b: np.log1p(np.exp(W @ x + b)), W.value, x.value, 0.5)[1](
        np.array([1.0, 2.0]))
    np.testing.assert_allclose(W.grad, dW, rtol=1e-14)
    np.testing.assert_allclose(x.grad, dx, rtol=1e-14)
    assert b.grad == pytest.approx(db, rel=1e-14)
    assert len(seen) == 1 and seen[0].shape == (2,)


def test_arrays_broadcast_and_integers_get_float_gradients():
    a, b = AutogradValue(np.array([[1, 2], [3, 4], [5, 6]])), AutogradValue(np.array([-1.0, 1.0]))
    c = np.ones((3, 2)) * (a + b) * 0.5
    c.backward(np.ones((3, 2)))
    assert b.grad.tolist() == [1.5, 1.5] and a.grad.tolist() == [[0.5, 0.5]] * 3


def test_inputs_are_owned():
    array = np.array([1.0, 2.0])
    x = AutogradValue(array)
    y = x * x
    array[:] = 100.0
    y.backward(np.ones(2))
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_partial_that_is_one_number_holds_for_every_element():
    class _mean(AutogradValue):
        def func(self, x):
            return x.mean()

        def grads(self, x):
            return (1.0 / x.size,)
    x = AutogradValue(np.array([1.0, 2.0, 3.0, 4.0]))
    y = _mean(x * x)
    y.backward()
    assert x.grad.tolist() == [0.5, 1.0, 1.5, 2.0]


def test_what_autograd_values_refuse():
    class _short(AutogradValue):
        def func(self, x, y):
            return x * y

        def grads(self, x, y):
            return (y,)

    class _outer(AutogradValue):
        def func(self, x, y):
            return np.outer(x, y)

        def vjp(self, grad, x, y):
            return grad, grad
    x = AutogradValue(np.array([1.0, 2.0]))
    with pytest.raises(RuleError, match=r"_short\.grads returned 1 values for 2 arguments"):
        _short(AutogradValue(1.0), 2.0).backward()
    with pytest.raises(RuleError, match=r"outer gave shape \(2, 2\) .* of shape \(2,\)"):
        _outer(x, x).backward(np.ones((2, 2)))
    with pytest.raises(GraphError, match=r"shape \(2,\) needs the cotangent"):
        (x * x).backward()
    with pytest.raises(ShapeError, match=r"shape \(3,\), the value \(2,\)"):
        (x * x).backward(np.ones(3))
    with pytest.raises(ArgumentError, match="an input holds one value"):
        AutogradValue(1.0, 2.0)


def test_a_long_chain_of_autograd_values_is_swept_and_freed_without_recursion():
    x = y = AutogradValue(1.0)
    for _ in range(50_000):
        y = y + 1.0
    y.backward()
    assert (x.grad, y.value) == (1.0, 50_001.0)
    del y


# ---- ForwardValue

def test_forward_value_is_its_own_input():
    x = ForwardValue(2.0)
    assert x.forward_grads == {x: 1} and x.parent_values == [2.0] and x.value == 2.0


def test_forward_values_merge_the_dictionaries_of_their_parents():
    x, w = ForwardValue(2.0), ForwardValue(0.5)
    a = x ** 2
    b = w * a
    assert b.parent_values == [0.5, 4.0]
    assert b.forward_grads == {x: 2.0, w: 4.0}
    shared = b * a + 3.0
    assert shared.forward_grads == {x: 2.0 * 4.0 + 2.0 * 4.0, w: 16.0}


def test_forward_pass_is_called_with_the_arguments_and_parent_values_is_there():
    seen = []

    class _double(ForwardValue):
        def forward_pass(self, args):
            seen.append((self.parent_values, args))
            return super().forward_pass(args)

        def func(self, x):
            return 2 * x

        def grads(self, x):
            return (2,)
    x = ForwardValue(3)
    y = _double(x)
    assert seen == [([3], (x,))]
    assert y.value == 6 and y.forward_grads == {x: 2}


def test_forward_values_keep_nothing_earlier():
    x = ForwardValue(1.0)
    kept = y = x * 2.0
    for _ in range(100):
        y = y * 1.0
    assert kept not in gc.get_referents(y) and set(y.forward_grads) == {x}
    assert all(not isinstance(v, ForwardValue) for v in y.parent_values)


def test_forward_rules_must_return_one_derivative_for_each_argument():
    class _short(ForwardValue):
        def func(self, x, y):
            return x * y

        def grads(self, x, y):
            return (y,)
    with pytest.raises(RuleError, match="1 values for 2 arguments"):
        _short(ForwardValue(1.0), 2.0)


def test_operations_of_plain_numbers_have_no_derivatives():
    assert ForwardValue.operations["add"](1.0, 2.0).forward_grads == {}


# ---- Autograd with a list of operations

def test_operation_list_of_the_tanh_layer():
    rng = np.random.default_rng(0)
    W, x, b = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=4)
    dW, db = np.zeros((4, 3)), np.zeros(4)
    engine = Autograd()
    p = W @ x
    engine.add_operation([W, x], p, [dW, None], matmul_backward)
    z = p + b
    engine.add_operation([p, b], z, [None, db], add_backward)
    y = np.tanh(z)
    engine.add_operation([z], y, [None], tanh_backward)
    u = rng.normal(size=4)
    engine.backward(u)
    exact = ad.vjp(lambda W, x, b: np.tanh(W @ x + b), W, x, b)[1](u)
    np.testing.assert_allclose(dW, exact[0], rtol=1e-14)
    np.testing.assert_allclose(engine.gradient_buffer.get_param(x), exact[1], rtol=1e-14)
    np.testing.assert_allclose(db, exact[2], rtol=1e-14)
    np.testing.assert_allclose(engine.gradient_buffer.get_param(z), exact[2], rtol=1e-14)
    assert [repr(o) for o in engine.operation_list] == [
        "Operation(matmul_backward: (4, 3), (3,) -> (4,))",
        "Operation(add_backward: (4,), (4,) -> (4,))", "Operation(tanh_backward: (4,) -> (4,))"]


def test_the_list_is_walked_in_reverse_and_gradients_accumulate():
    calls = []

    def traced(name, rule):
        def backward_operation(grad_output, *inputs):
            calls.append(name)
            return rule(grad_output, *inputs)
        return backward_operation
    x, w = np.array([2.0, 3.0]), np.array([5.0, 7.0])
    dw = np.zeros(2)
    engine = Autograd()
    a = x * w
    engine.add_operation([x, w], a, [None, dw], traced("first", mul_backward))
    b = a * w
    engine.add_operation([a, w], b, [None, dw], traced("second", mul_backward))
    c = b + a
    engine.add_operation([b, a], c, [None, None], traced("third", add_backward))
    engine.backward(np.ones(2))
    assert calls == ["third", "second", "first"]
    np.testing.assert_array_equal(dw, 2 * x * w + x)
    np.testing.assert_array_equal(engine.gradient_buffer.get_param(x), w * w + w)
    np.testing.assert_array_equal(engine.gradient_buffer.get_param(a), w + 1)
    engine.backward(np.ones(2))
    np.testing.assert_array_equal(dw, 2 * (2 * x * w + x))
    engine.zero_grad()
    assert engine.operation_list == [] and not engine.gradient_buffer.is_in_memory(x)
    np.testing.assert_array_equal(dw, 2 * (2 * x * w + x))


def test_equal_arrays_are_told_apart():
    x, z = np.array(2.0), np.array(2.0)
    engine = Autograd()
    y = np.asarray(x * z)
    engine.add_operation([x, z], y, [None, None], lambda dy, x, z: (10 * dy, 20 * dy))
    engine.backward(1.0)
    assert engine.gradient_buffer.get_param(x) == 10.0
    assert engine.gradient_buffer.get_param(z) == 20.0


def test_a_change_after_the_step_does_not_reach_its_gradient():
    x, w = np.array([2.0]), np.array([3.0])
    engine = Autograd()
    engine.add_operation([x, w], x * w, [None, None], mul_backward)
    w[:] = 100.0
    engine.backward(np.ones(1))
    assert engine.gradient_buffer.get_param(x).tolist() == [3.0]


@pytest.mark.parametrize(("name", "xs"), [
    ("add", (1.5, 2.0)), ("subtract", (1.5, 2.0)), ("multiply", (1.5, 2.0)), ("divide", (1.5, 2.0)),
    ("exp", (0.5,)), ("log", (0.5,)), ("tanh", (0.5,)), ("sigmoid", (0.5,)), ("relu", (0.5,))])
def test_ready_made_backward_operations_agree_with_grad_and_undo_broadcasting(name, xs):
    f = getattr(ad, name)
    args = [np.full((3, 2) if k == 0 else (2,), x) for k, x in enumerate(xs)]
    dy = np.arange(6.0).reshape(3, 2)
    exact = ad.vjp(f, *args)[1](dy)
    for got, dx in zip(backward_of(name)(dy, *args), exact, strict=True):
        np.testing.assert_allclose(got, dx, rtol=1e-14)
        assert got.shape == dx.shape


def test_the_backward_operations_have_names():
    names = [f.__name__ for f in (sub_backward, div_backward)]
    assert names == ["subtract_backward", "divide_backward"]


def test_what_the_operation_list_refuses():
    engine, x, y = Autograd(), np.ones(2), np.ones(2)
    with pytest.raises(ArgumentError, match="1 inputs, 2 gradients_to_update"):
        engine.add_operation([x], y, [None, None], add_backward)
    with pytest.raises(ArgumentError, match="not a NumPy array"):
        engine.add_operation([2.0, x], y, [None, None], mul_backward)
    with pytest.raises(ArgumentError, match=r"not float64\[3\] for float64\[2\]"):
        engine.add_operation([x], y, [np.zeros(3)], tanh_backward)
    with pytest.raises(ArgumentError, match="in place would overwrite"):
        engine.add_operation([x], x, [None], tanh_backward)
    with pytest.raises(GraphError, match="list of operations is empty"):
        engine.backward(np.ones(2))
    engine.add_operation([x], y, [None], lambda dy, x: (dy, dy))
    with pytest.raises(ShapeError, match=r"shape \(3,\), but the last output has shape \(2,\)"):
        engine.backward(np.ones(3))
    with pytest.raises(RuleError, match="2 gradients for 1 inputs"):
        engine.backward(np.ones(2))
    with pytest.raises(GraphError, match="not an input of any operation"):
        engine.gradient_buffer.get_param(x.copy())
    engine.zero_grad()
    engine.add_operation([x], y, [None], lambda dy, x: dy.sum())
    with pytest.raises(ShapeError, match=r"a gradient of shape \(\) for an input of shape \(2,\)"):
        engine.backward(np.ones(2))


# ---- Value

@pytest.mark.parametrize(("f", "exact"), [
    (lambda x: 3 + x, 1.0), (lambda x: x - 1, 1.0), (lambda x: 1 - x, -1.0), (lambda x: 2 * x, 2.0),
    (lambda x: x / 4, 0.25), (lambda x: 4 / x, -1.0), (lambda x: x ** 3, 12.0),
    (lambda x: -x, -1.0),
    (lambda x: x ** 0, 0.0), (lambda x: x ** 0.5, 0.5 / math.sqrt(2)),
    (lambda x: 2 ** x, 4 * math.log(2)),
    (lambda x: x ** x, 4 * (1 + math.log(2))), (lambda x: x.exp(), math.exp(2)),
    (lambda x: x.log(), 0.5), (lambda x: x.tanh(), 1 - math.tanh(2) ** 2),
    (lambda x: x.relu(), 1.0),
    (lambda x: (-x).relu(), 0.0), (lambda x: x.sin(), math.cos(2)), (lambda x: x * x * x, 12.0),
    (lambda x: np.float64(3.0) * x, 3.0), (lambda x: x * np.float64(3.0), 3.0),
    (lambda x: x / x, 0.0), (lambda x: x - x, 0.0), (lambda x: (0.0 * x + 0.0) ** 0, 0.0)])
@pytest.mark.parametrize("kind", [int, float])
def test_operators_of_value(f, exact, kind):
    x = Value(kind(2))
    y = f(x)
    y.backward()
    assert x.grad == pytest.approx(exact, rel=1e-14)
    assert type(x.grad) is float and type(y.data) in (int, float)


ROWS = {k: v for k, v in vars(scalar).items() if isinstance(v, Primitive) and k.isupper()
        and k not in ("LEAF", "CONSTANT")}


@pytest.mark.parametrize("name", ROWS)
def test_every_rule_of_value_is_that_of_its_row(name):
    rng, row = np.random.default_rng(0), ROWS[name]
    known = REGISTRY[row.name]
    arity = 2 if known.vjp.__code__.co_argcount == 5 else 1
    for _ in range(20):
        sign = 1.0 if row.name in ("log", "power") else rng.choice([-1.0, 1.0])
        xs = [float(sign * rng.uniform(0.5, 2.0)) for _ in range(arity)]
        y, dy = float(known.impl(*map(np.float64, xs))), float(rng.normal())
        for needs in [(True,)] if arity == 1 else [(True, True), (True, False), (False, True)]:
            cells, cell = [[x, 0.0, -1] for x in xs], [y, 0.25, 1]
            parts = row.vjp(dy, cell, *cells, needs)
            exact = known.vjp(np.float64(dy), np.float64(y), *map(np.float64, xs), needs)
            assert cell == [y, 0.25 + dy, 1]
            for part, dx, need in zip(parts, exact, needs, strict=True):
                assert (part is None) == (not need)
                assert part is None or part == pytest.approx(float(dx), rel=1e-15)


def test_infinite_slopes_of_values_and_zeros_downstream():
    x, z = Value(1e-160), Value(0.0)
    (x ** -1.9).backward()
    (z ** 0.5).backward()
    assert (x.grad, z.grad) == (-math.inf, math.inf)
    for value, power in [(1e-160, -1.9), (0.0, 0.5), (math.inf, 2.0)]:
        x = Value(value)
        (0.0 * x ** power).backward()  # zero downstream cancels an infinite slope
        assert x.grad == 0.0


def test_every_row_of_value_is_tested():
    assert {row.name for row in ROWS.values()} == {
        "add", "subtract", "multiply", "divide", "power", "negative", "relu", "tanh", "exp", "log",
        "sin"}


def test_value_fills_intermediates_accumulates_and_clears():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = a * b
    d = c + a
    d.backward()
    assert (a.grad, b.grad, c.grad, d.grad) == (-2.0, 2.0, 1.0, 1.0)
    d.backward()
    assert (a.grad, b.grad, c.grad, d.grad) == (-4.0, 4.0, 2.0, 2.0)
    d.zero_grad()
    assert (a.grad, b.grad, c.grad, d.grad) == (0.0,) * 4
    d.backward()
    assert (a.grad, b.grad, c.grad) == (-2.0, 2.0, 1.0)


def test_value_prints_its_data_and_grad():
    x = Value(2)
    assert repr(x) == "Value(data=2, grad=0.0)"
    y = x * 1.5
    y.backward()
    assert [repr(x), repr(y)] == ["Value(data=2, grad=1.5)", "Value(data=3.0, grad=1.0)"]


def test_value_is_a_node_of_the_engine():
    x = Value(2.0)
    y = x * x
    assert isinstance(y, Node) and y.prim.name == "multiply" and y.inputs == (x, x)


def test_a_million_chained_values_are_built_swept_and_freed():
    x = y = Value(1.0)
    for _ in range(1_000_000):
        y = y + 1e-6
    y.backward()
    assert x.grad == 1.0 and y.data == pytest.approx(2.0, rel=1e-9)
    del y


def test_values_leave_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = Value(2.0)
        y = (x * x + 1.0).tanh()
        y.backward()
        z = AutogradValue(2.0)
        w = z * z + 1.0
        w.backward()
        del x, y, z, w
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_changing_data_after_use_is_an_error_and_before_the_next_program_is_training():
    w, x = Value(1.0), Value(3.0)
    loss = (w * x - 6.0) ** 2
    loss.backward()
    w.data -= 0.05 * w.grad
    again = (w * x - 6.0) ** 2
    again.backward()
    assert again.data < loss.data
    with pytest.raises(GraphError, match="multiply was given other data after it was used"):
        loss.backward()
    partly = w * x
    x.data = 5.0
    with pytest.raises(GraphError, match="multiply was given other data"):
        (partly * x).backward()
    for late in (lambda v: 2.0 / v, lambda v: v ** 2, lambda v: v.log(), lambda v: v.sin()):
        v = Value(2.0)
        y = late(v)
        v.data = 3.0
        with pytest.raises(GraphError, match="given other data"):
            y.backward()


def test_where_a_rule_reads_no_operand_a_change_does_no_harm():
    v = Value(0.5)
    ys = [v + 1.0, v - 1.0, v / 4.0, v.tanh(), v.exp(), v.relu()]
    exact = [1.0, 1.0, 0.25, 1.0 - math.tanh(0.5) ** 2, math.exp(0.5), 1.0]
    v.data = -3.0
    for y, dv in zip(ys, exact, strict=True):
        v.grad = 0.0
        y.backward()
        assert v.grad == pytest.approx(dv, rel=1e-15)


def test_what_value_refuses():
    with pytest.raises(ArgumentError, match=r"a Value holds one number, not list.*ad\.tensor"):
        Value([1.0, 2.0])
    with pytest.raises(ArgumentError, match="not ndarray"):
        Value(np.ones(2))
    with pytest.raises(MutationError, match="result of multiply"):
        (Value(1.0) * 2.0).data = 3.0
    with pytest.raises(TypeError):
        Value(1.0) + "text"
    with pytest.raises(TypeError):
        math.sin(Value(1.0))
    with pytest.raises(ZeroDivisionError):
        1.0 / Value(0.0)
    x = Value(1.0)
    for wrong in (Value(2.0), np.ones(2), None):
        with pytest.raises(ArgumentError, match="data is one number"):
            x.data = wrong
        with pytest.raises(ArgumentError, match=r"grad is one number.*zero_grad"):
            x.grad = wrong
    assert (x.data, x.grad) == (1.0, 0.0)


def test_values_are_compared_as_their_numbers():
    for x, small, large in [(Value(1.0), 0.5, 2), (AutogradValue(1.0), 0.5, 2)]:
        assert small < x <= large and large >= x > small and x >= 1.0 and x <= 1.0
        assert not (x < 1.0 or x > 1.0)
        assert x <= type(x)(1.0) and x >= type(x)(1.0)
    assert np.float64(0.5) < AutogradValue(1.0)


def test_a_users_subclass_of_value_computes():
    class Named(Value):
        pass
    x, z = Named(2.0), Named(3.0)
    y = x * z - z / x + x ** z
    y.backward()
    assert y.data == 12.5 and x.grad == 3.0 + 0.75 + 12.0


# x, y, x**y, dx, dy: the conventions of EDGE_CASES
POWERS = [(2.0, 3.0, 8.0, 12.0, 8.0 * math.log(2.0)), (-3.0, 2.0, 9.0, -6.0, math.nan),
          (0.0, 0.0, 1.0, 0.0, 0.0), (0.0, 2.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1.0, 0.0),
          (0.0, 0.5, 0.0, math.inf, 0.0), (2, 3, 8, 12.0, 8.0 * math.log(2.0))]


@pytest.mark.parametrize("x, z, y, dx, dz", POWERS)
@pytest.mark.parametrize("kind", [Value, AutogradValue, ForwardValue])
def test_powers_of_two_values_with_the_conventions_at_zero(kind, x, z, y, dx, dz):
    def rates(f, *inputs):
        result = f(*inputs)
        if kind is ForwardValue:
            return result.value, [result.forward_grads[v] for v in inputs]
        result.backward()
        return result.data if kind is Value else result.value, [v.grad for v in inputs]
    for f, inputs, exact in [
            (lambda a, b: a ** b, (x, z), (dx, dz)), (lambda a: a ** z, (x,), (dx,)),
            (lambda b: x ** b, (z,), (dz,))]:
        value, slopes = rates(f, *map(kind, inputs))
        assert value == y
        assert slopes == pytest.approx(list(exact), rel=1e-14, nan_ok=True)


def test_powers_of_a_negative_number_are_real_or_an_error():
    for kind in (Value, AutogradValue, ForwardValue):
        with pytest.raises(ValueError, match="math domain error"):
            kind(-8.0) ** (1.0 / 3.0)


def test_powers_with_an_array_of_exponents():
    x = AutogradValue(np.array([3.0, 2.0]))
    (x ** np.array([2.0, 3.0])).backward(np.ones(2))
    assert x.grad.tolist() == [6.0, 12.0]


def test_a_zero_downstream_cancels_in_both_classes():
    x, z = AutogradValue(0.0), AutogradValue(np.array([0.0, 4.0]))
    (0.0 * x ** 0.5).backward()
    (np.array([0.0, 1.0]) * z ** 0.5).backward(np.ones(2))
    assert x.grad == 0.0 and z.grad.tolist() == [0.0, 0.25]
    w = ForwardValue(0.0)
    assert (0.0 * w ** 0.5).forward_grads[w] == 0.0


def test_rules_with_side_effects_are_asked_once_where_a_nan_comes_out():
    x = Value(-3.0)
    y = x ** Value(2.0)
    z = AutogradValue(-3.0)
    w = z * math.nan
    for result, middle in [(y * 1.0, y), (w * 1.0, w)]:
        result.backward()
        assert middle.grad == 1.0
    assert math.isnan(z.grad)
    engine, target, calls = Autograd(), np.zeros(2), []
    a = np.ones(2)
    b = a * np.nan

    def backward(dy, *_):
        calls.append(dy)
        return dy * np.nan, dy
    engine.add_operation([a, np.full(2, np.nan)], b, [None, target], backward)
    engine.backward(np.ones(2))
    assert len(calls) == 1 and target.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", [AutogradValue, ForwardValue])
def test_values_of_two_worlds_do_not_mix(kind):
    other = ForwardValue if kind is AutogradValue else AutogradValue
    for foreign in (ad.tensor(2.0), ad.tensor(2.0, requires_grad=True), other(2.0), Value(2.0)):
        with pytest.raises(DTypeError, match="do not mix"):
            kind(1.0) * foreign
        with pytest.raises(DTypeError, match="do not mix"):
            kind(foreign)
    for wrong in ("text", None, 1j, np.ones(2) * 1j):
        with pytest.raises(ArgumentError, match="computes with real numbers"):
            kind(wrong)


def test_forward_values_have_no_matrix_product():
    with pytest.raises(TypeError, match="unsupported operand"):
        ForwardValue(np.ones(2)) @ ForwardValue(np.ones(2))
    assert ForwardValue([1.0, 2.0]).value.tolist() == [1.0, 2.0]


def test_a_given_array_for_an_intermediate_does_not_end_the_way_back():
    engine = Autograd()
    x, w, dh = np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.zeros(2)
    h = x * w
    engine.add_operation([x, w], h, [None, None], mul_backward)
    y = np.exp(h)
    engine.add_operation([h], y, [dh], exp_backward)
    engine.backward(np.ones(2))
    np.testing.assert_allclose(dh, y)
    np.testing.assert_allclose(engine.gradient_buffer.get_param(x), y * w)
    np.testing.assert_allclose(engine.gradient_buffer.get_param(w), y * x)
    with pytest.raises(ArgumentError, match="floating point arrays"):
        engine.add_operation([y], y + 1.0, [np.zeros(2, int)], exp_backward)


def test_backward_of_an_unknown_operation():
    with pytest.raises(ArgumentError, match="no operation 'mutliply'; did you mean multiply"):
        backward_of("mutliply")


def test_values_inside_numpy_object_arrays():
    x = np.array([Value(1.0), Value(2.0)])
    y = x @ np.array([3.0, 4.0]) + np.dot(x, x) + (np.array([1.0, 2.0]) * x[0]).sum()
    y.backward()
    assert [v.grad for v in x] == [8.0, 8.0]


def test_picture_is_svg_with_label_data_and_grad_in_each_node():
    a, b = Value(2.0, label='a<b & "c"'), Value(-3.0, label="b\x00\n")
    c = a * b
    c.label = "c"
    y = (c + 10).tanh()
    y.backward()
    document = xml.dom.minidom.parseString(y.picture())
    texts = [t.firstChild.data for t in document.getElementsByTagName("text")]
    assert f'a<b & "c" | data 2 | grad {a.grad:.4g}' in texts
    assert f"b | data -3 | grad {b.grad:.4g}" in texts
    assert f"c | data -6 | grad {c.grad:.4g}" in texts
    assert {"*", "+", "tanh", "10"} <= set(texts)
    arrows = [p for p in document.getElementsByTagName("path") if p.getAttribute("marker-end")]
    assert len(arrows) == 5


def test_picture_overlaps_nothing_and_runs_left_to_right():
    net = MLP(2, [3, 1])
    loss = (net([1.0, -1.0]) - 1.0) ** 2
    loss.backward()
    document = xml.dom.minidom.parseString(loss.picture())
    boxes = [tuple(float(r.getAttribute(k)) for k in ("x", "y", "width", "height"))
             for r in document.getElementsByTagName("rect")[1:]]
    assert len(boxes) > 30
    for k, (x, y, w, h) in enumerate(boxes):
        for x2, y2, w2, h2 in boxes[k + 1:]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    for path in document.getElementsByTagName("path"):
        if path.getAttribute("marker-end"):
            numbers = re.findall(r"[-\d.]+", path.getAttribute("d"))
            start, end = float(numbers[0]), float(numbers[-2])
            assert start < end
    svg = document.documentElement
    assert all(x >= 0 and y >= 0 and x + w <= float(svg.getAttribute("width")) + 1
               and y + h <= float(svg.getAttribute("height")) + 1 for x, y, w, h in boxes)


def test_dot_text():
    a = Value(2.0, label='a "1" {|}')
    y = a ** 2
    y.backward()
    text = y.dot()
    assert text.startswith("digraph {") and text.endswith("}")
    assert r'label="{ a \"1\" \{\|\} | data 2 | grad 4 }"' in text
    assert 'label="**"' in text and text.count("->") == 3


def test_picture_of_a_long_chain_does_not_recurse():
    y = Value(1.0)
    for _ in range(3000):
        y = y + 1.0
    assert y.picture().count("<rect") > 3000


def test_neuron_layer_and_network():
    neuron = Neuron(3, rng=1)
    x = [1.0, -2.0, 0.5]
    expected = math.tanh(sum(w.data * v for w, v in zip(neuron.w, x, strict=True)) + neuron.b.data)
    assert neuron(x).data == pytest.approx(expected, rel=1e-14)
    assert [w.label for w in neuron.w] == ["w0", "w1", "w2"]
    assert len(Layer(3, 2)(x)) == 2
    net = MLP(3, [4, 4, 1], activation="relu")
    assert len(net.parameters()) == 41
    assert repr(net).startswith("MLP of [Layer of [ReluNeuron(3), ")
    assert repr(net).endswith("Layer of [LinearNeuron(4)]]")
    with pytest.raises(ArgumentError, match="3 weights and was given 2 inputs"):
        neuron([1.0, 2.0])
    with pytest.raises(ArgumentError, match="activation is"):
        Neuron(2, activation="step")


def test_the_network_equals_the_same_in_arrays():
    net = MLP(2, [3, 2, 1], rng=3)
    loss = (net([0.5, -1.5]) - 1.0) ** 2
    loss.backward()
    shapes = [(np.array([[w.data for w in n.w] for n in layer.neurons]),
               np.array([n.b.data for n in layer.neurons])) for layer in net.layers]

    def f(parameters):
        h = np.array([0.5, -1.5])
        for k, (W, b) in enumerate(parameters):
            h = W @ h + b
            h = np.tanh(h) if k < 2 else h
        return (h[0] - 1.0) ** 2
    value, grads = ad.value_and_grad(f)(shapes)
    assert loss.data == pytest.approx(value, rel=1e-13)
    for layer, (dW, db) in zip(net.layers, grads, strict=True):
        np.testing.assert_allclose([[w.grad for w in n.w] for n in layer.neurons], dW, rtol=1e-12)
        np.testing.assert_allclose([n.b.grad for n in layer.neurons], db, rtol=1e-12)


def test_training_a_network_of_values():
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys, net, losses = [1.0, -1.0, -1.0, 1.0], MLP(3, [4, 4, 1], rng=2), []
    for _ in range(40):
        loss = sum((net(x) - y) ** 2 for x, y in zip(xs, ys, strict=True))
        net.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.data -= 0.03 * p.grad
        losses.append(loss.data)
    assert losses[-1] < 0.1 * losses[0]


def test_teach_is_loaded_on_first_use():
    loaded = "import sys, adjoint; assert 'adjoint.teach' not in sys.modules; adjoint.teach.Value"
    subprocess.run([sys.executable, "-c", loaded], check=True)
    assert ad.teach.Value is Value


@pytest.mark.parametrize("module", ["classes", "operations", "scalar"])
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"adjoint.teach.{module}"),
                            extraglobs={"ad": ad, "np": np}, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 5 and found.failed == 0


@pytest.mark.parametrize("base", [AutogradValue, ForwardValue])
def test_an_operation_may_be_given_words_and_slices_and_answer_with_a_list(base):
    class Scaled(base):
        def func(self, a, b, how):
            return a * b if how == "product" else a + b

        def grads(self, a, b, how):
            return [b, a, 0.0] if how == "product" else [1.0, 1.0, 0.0]
    x, z = base(3.0), base(5.0)
    y = Scaled(x, z, "product")
    if base is ForwardValue:
        assert (y.forward_grads[x], y.forward_grads[z]) == (5.0, 3.0)
        return
    y.backward()
    assert (x.grad, z.grad) == (5.0, 3.0)

    class Part(AutogradValue):
        def func(self, a, key):
            return a[key]

        def vjp(self, grad, a, key):
            whole = np.zeros(a.shape)
            whole[key] = grad
            return [whole, None]
    x = AutogradValue(np.arange(4.0))
    (Part(x, slice(1, 3)) * 2.0).backward(np.ones(2))
    assert x.grad.tolist() == [0.0, 2.0, 2.0, 0.0]


def test_a_list_of_gradients_from_a_backward_operation():
    engine, x, w = Autograd(), np.array([1.0, 2.0]), np.array([3.0, 4.0])
    engine.add_operation([x, w], x * w, [None, None], lambda dy, x, w: [dy * w, dy * x])
    engine.backward(np.ones(2))
    assert engine.gradient_buffer.get_param(x).tolist() == [3.0, 4.0]


def test_users_functions_may_write_to_the_gradient_they_get():
    def doubled(dy, x):
        dy *= 2.0
        return dy
    engine, x, w = Autograd(), np.ones(2), np.ones(2)
    a, b = x * 2.0, w * 2.0
    engine.add_operation([x], a, [None], doubled)
    engine.add_operation([w], b, [None], doubled)
    engine.add_operation([a, b], a + b, [None, None], lambda dy, a, b: (dy, dy))
    engine.backward(np.ones(2))
    for each in (x, w):
        assert engine.gradient_buffer.get_param(each).tolist() == [2.0, 2.0]

    class Doubled(AutogradValue):
        def func(self, a):
            return 2.0 * a

        def vjp(self, grad, a):
            grad *= 2.0
            return grad
    u, v = AutogradValue(np.ones(2)), AutogradValue(np.ones(2))
    y, z = Doubled(u), Doubled(v)
    (y + z).backward(np.ones(2))
    assert [n.grad.tolist() for n in (u, v, y, z)] == [[2.0, 2.0]] * 2 + [[1.0, 1.0]] * 2


def test_a_backward_operation_cannot_write_to_what_the_graph_holds():
    def wrong(dy, x):
        x *= 0.0
        return dy
    engine, x = Autograd(), np.ones(2)
    engine.add_operation([x], x * 1.0, [None], wrong)
    with pytest.raises(ValueError, match="read-only"):
        engine.backward(np.ones(2))


def test_the_operation_list_leaves_no_cycles():
    gc.collect()
    gc.disable()
    try:
        engine, x, dx = Autograd(), np.ones(2), np.zeros(2)
        y = np.exp(x)
        engine.add_operation([x], y, [dx], exp_backward)
        engine.add_operation([y, x], y * x, [None, None], mul_backward)
        engine.backward(np.ones(2))
        del engine
        assert gc.collect() == 0
    finally:
        gc.enable()
    np.testing.assert_allclose(dx, np.exp(1.0))
