"""The doctor names the first operation that goes wrong; kinks are named where they are met."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import linecache
import sys
import threading
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.node import MODES, switch
from adjoint.core.primitive import REGISTRY
from adjoint.errors import (
    ArgumentError,
    KinkError,
    KinkWarning,
    NonFiniteError,
    NonFiniteWarning,
)
from adjoint.show.remedies import REMEDIES


def line_here():
    return sys._getframe(1).f_lineno


def first(f, *args, **options):
    return ad.diagnose(f, *args, **options).first


def raised(f, **options):
    with pytest.raises(NonFiniteError) as caught, ad.doctor(**options):
        f()
    return caught.value.report.first


# ---- what it finds, and where

def test_forward_names_operation_line_element_operands_and_way():
    x = ad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    row = np.array([1.0, 0.0])
    start = line_here()

    def program():
        y = x * row
        return np.log(y)
    found = raised(program)
    assert (found.phase, found.kind, found.operation) == ("forward", "infinity", "log")
    assert (found.file, found.line) == (__file__, start + 4)
    assert found.source == "return np.log(y)"
    assert (found.index, found.shape, found.operands) == ((0, 1), (2, 2), ("0.0",))
    assert found.happened == "ln(0.0) = -inf"
    assert [step.split(":")[0] for step in found.way] == ["log", "multiply", "x, of shape (2, 2)"]
    assert f"line {start + 3} of {__file__}: y = x * row" in found.way[1]


def test_element_of_operands_that_broadcast():
    x = ad.tensor([[1.0], [0.0], [2.0]], requires_grad=True)
    z = ad.tensor([3.0, 0.0], requires_grad=True)
    found = raised(lambda: x / z)
    assert (found.index, found.shape) == ((0, 1), (3, 2))
    assert found.operands == ("1.0", "0.0")
    found = raised(lambda: x / z, infinity=False)
    assert (found.kind, found.index, found.operands) == ("NaN", (1, 1), ("0.0", "0.0"))


def test_backward_of_finite_values():
    start = line_here()

    def length(x):
        squares = x * x
        return np.sqrt(squares.sum())
    with pytest.raises(NonFiniteError, match=r"derivative of `sqrt`, backward") as caught, \
            ad.doctor():
        ad.grad(length)(np.zeros(3))
    found = caught.value.report.first
    assert (found.phase, found.line, found.operands) == ("backward", start + 4, ("0.0",))
    assert "cotangent 1.0" in found.happened
    assert "inf" in found.happened
    assert [step.split(":")[0] for step in found.way] == [
        "sqrt", "sum", "multiply", "x, of shape (3,)"]


def test_backward_with_tensors_leaves_grad_as_it_was():
    x = ad.tensor([4.0, 0.0], requires_grad=True)
    with ad.doctor(), pytest.raises(NonFiniteError) as caught:
        np.sqrt(x).sum().backward()
    found = caught.value.report.first
    assert (found.operation, found.index, found.operands) == ("sqrt", (1,), ("0.0",))
    assert x.grad is None


def test_forward_mode_names_the_tangent():
    found = raised(lambda: ad.jvp(lambda x: np.sqrt(x * 1.0), (np.array([4.0, 0.0]),),
                                  (np.ones(2),)))
    assert (found.phase, found.operation, found.index) == ("tangent", "sqrt", (1,))
    assert found.operands == ("0.0, tangent 1.0",)
    assert [step.split(":")[0] for step in found.way] == ["sqrt", "multiply", "x, of shape (2,)"]


def test_forward_mode_names_values_too():
    found = raised(lambda: ad.jvp(np.log, (0.0,), (1.0,)))
    assert (found.phase, found.operation) == ("forward", "log")


def test_linearize():
    start = line_here()

    def f(x):
        return np.sqrt(x * 1.0)
    _, push = ad.linearize(f, np.array([4.0, 0.0]))
    found = raised(lambda: push(np.array([1.0, 2.0])))
    assert (found.phase, found.operation, found.index) == ("tangent", "sqrt", (1,))
    assert found.line == start + 3
    assert found.operands == ("0.0, tangent 2.0",)


def test_overflow_backward_of_several_paths():
    big = np.finfo(float).max
    found = first(lambda x: x * big + x * big, 0.0)
    assert (found.phase, found.kind) == ("backward", "infinity")
    assert "sum of several" in found.happened


def test_second_order_has_the_line_of_the_primal():
    start = line_here()

    def f(x):
        y = x * 1.0
        return y ** 1.5
    found = raised(lambda: ad.grad(ad.grad(f))(0.0))
    assert found.operation == "power"
    assert found.line == start + 4
    assert "in the derivative of `power`" in found.source


def test_second_order_by_forward_over_reverse():
    found = raised(lambda: ad.hvp(lambda x: (x ** 1.5).sum(), (np.array([1.0, 0.0]),),
                                  (np.ones(2),)))
    assert found.operation in ("power", "multiply")
    assert found.line > 0


def test_create_graph():
    x = ad.tensor(0.0, requires_grad=True)
    (x ** 1.5).backward(create_graph=True)
    with ad.doctor(), pytest.raises(NonFiniteError):
        x.grad.backward()


def test_inside_vmap_the_member_is_named():
    a = np.array([[1.0, 2.0], [3.0, 0.0]])
    found = raised(lambda: ad.vmap(lambda x: np.log(x).sum())(a))
    assert (found.operation, found.batch, found.index, found.shape) == ("log", (1,), (1,), (2,))
    assert found.operands == ("0.0",)
    found = raised(lambda: ad.vmap(ad.grad(lambda x: np.sqrt(x).sum()))(a))
    assert (found.phase, found.batch, found.index) == ("backward", (1,), (1,))


def test_vmap_in_another_axis_with_a_shared_operand():
    a, shared = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1.0, 0.0])
    found = raised(lambda: ad.vmap(lambda x, z: z / x, in_axes=(1, None))(a, shared),
                   infinity=False)
    assert (found.batch, found.index, found.operands) == ((1,), (1,), ("0.0", "0.0"))


def test_what_arrived_wrong_is_not_blamed_on_the_operation():
    x = ad.tensor([1.0, np.nan], requires_grad=True)
    found = raised(lambda: x * 2.0)
    assert (found.phase, found.kind, found.index) == ("arrived", "NaN", (1,))
    assert "operand 0 holds nan" in found.happened
    data = np.array([np.inf, 1.0])
    w = ad.tensor([1.0, 1.0], requires_grad=True)
    found = raised(lambda: w * data)
    assert (found.phase, found.kind, found.index) == ("arrived", "infinity", (0,))
    assert "operand 1" in found.happened


def test_a_new_nan_beside_an_old_one():
    x = ad.tensor([np.nan, -1.0], requires_grad=True)
    found = raised(lambda: np.log(x))
    assert (found.phase, found.index, found.operands) == ("forward", (1,), ("-1.0",))


def test_a_wrong_cotangent_from_outside():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    with ad.doctor(), pytest.raises(NonFiniteError, match="that backward\\(\\) was called with"):
        (x * 2.0).backward(np.array([1.0, np.nan]))


def test_what_a_zero_cancels_is_right():
    report = ad.diagnose(lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum(), np.array([0.0, 4.0]))
    assert report
    assert report.finite


def test_reductions_and_products_say_what_they_were_given():
    x = ad.tensor(np.full((2, 3), 1e200), requires_grad=True)
    found = raised(lambda: x @ np.full((3, 2), 1e200))
    assert found.operation == "matmul"
    assert found.operands[0] == "array (2, 3), from 1e+200 to 1e+200"
    assert "overflow" in found.remedy


def test_float32_has_its_own_largest_number():
    x = ad.tensor(np.float32(3e38), requires_grad=True)
    assert "largest float32 is 3.4e+38" in raised(lambda: x * np.float32(10)).remedy


def test_complex_numbers():
    x = ad.tensor(0j, requires_grad=True)
    assert raised(lambda: np.log(x)).operation == "log"


class Inverse(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 1.0 / (x + 1.0)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy / x


def test_functions_of_users():
    found = first(Inverse.apply, 0.0)
    assert (found.phase, found.operation) == ("backward", "Inverse")
    assert first(Inverse.apply, -1.0).phase == "forward"


def test_several_results_and_checkpoints():
    found = first(ad.checkpoint(lambda v: np.sqrt(v * v)), 0.0)
    assert (found.phase, found.operation) == ("backward", "checkpoint")
    found = first(ad.checkpoint(lambda v: np.log(v * v)), 0.0)
    assert (found.phase, found.operation) == ("forward", "log")


def test_hooks_are_called_once_and_are_no_step_of_the_way():
    x = ad.tensor(0.0, requires_grad=True)
    calls = []
    with ad.doctor("report") as report:
        y = x * 1.0
        y.register_hook(calls.append)
        np.sqrt(y).backward()
    assert len(calls) == 1
    assert [step.split(":")[0] for step in report.first.way] == [
        "sqrt", "multiply", "x, of shape ()"]


def test_teaching_values():
    class Slope(ad.teach.AutogradValue):
        def func(self, x):
            return x - 1.0

        def grads(self, x):
            return (np.inf if x == 0 else 1.0,)
    x = ad.teach.AutogradValue(0.0)
    with ad.doctor():
        y = Slope(x * 1.0)
        with pytest.raises(NonFiniteError, match="derivative of `Slope`, backward"):
            y.backward()

    class Root(ad.teach.ForwardValue):
        def func(self, x):
            return x ** 0.5

        def grads(self, x):
            return (np.inf if x == 0 else 0.5 / x ** 0.5,)
    with ad.doctor(), pytest.raises(NonFiniteError, match="derivative of `Root`, forward mode"):
        Root(ad.teach.ForwardValue(0.0))
    with ad.doctor(), pytest.raises(NonFiniteError, match="derivative of `power`, backward"):
        (ad.teach.Value(0.0) ** 0.5).backward()


# ---- lines

def test_an_expression_over_several_lines():
    x = ad.tensor([1.0, 0.0], requires_grad=True)
    start = line_here()

    def program():
        return (x +
                np.log(
                    x * 1.0))
    found = raised(program)
    assert (found.line, found.source) == (start + 4, "np.log( x * 1.0)")


def test_a_function_in_another_file(tmp_path):
    path = tmp_path / "elsewhere.py"
    path.write_text("import numpy as np\n\n\ndef f(x):\n    return np.log(x)  # here\n")
    spec = importlib.util.spec_from_file_location("elsewhere", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = first(module.f, 0.0)
    assert (found.file, found.line) == (str(path), 5)
    assert found.source == "return np.log(x) # here"


def test_a_program_without_source():
    names = {"np": np}
    exec(compile("\n\ny = lambda x: np.log(x)", "<stdin>", "exec"), names)
    linecache.cache.pop("<stdin>", None)
    found = first(names["y"], 0.0)
    assert "line 3 of <stdin>" in str(found)
    assert found.source == ""


def test_a_long_way_is_shortened():
    def f(x):
        for _ in range(100):
            x = x * 1.0
        return np.log(x)
    way = first(f, 0.0).way
    assert len(way) == 13
    assert "90 more steps" in way[9]
    assert way[-1] == "x, of shape ()"


def test_steps_from_before_the_doctor():
    x = ad.tensor(0.0, requires_grad=True)
    y = np.sqrt(x)
    with ad.doctor(), pytest.raises(NonFiniteError, match="before the doctor came"):
        y.backward()


def test_arguments_have_the_names_of_the_function():
    found = first(lambda a, tree: a + np.log(tree["p"][1]).sum(), 1.0,
                  {"p": (np.ones(2), np.zeros(2))})
    assert found.way[-1] == "tree['p'][1], of shape (2,)"


# ---- remedies

X, Z = np.array([0.3, 0.7]), np.zeros(2)
BIG = np.array([1.0, 1000.0])
ROWS, LABELS, ONES = np.arange(2), np.array([0, 1]), np.eye(3)[:2]
LOGITS = np.array([[-900.0, 900.0, 0.0], [900.0, -900.0, 1.0]])


def shares(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


CROSS_ENTROPIES = [
    lambda x: np.log(shares(x)[ROWS, LABELS]), lambda x: np.log(shares(x).reshape(3, 2)[0]),
    lambda x: np.log(shares(x).T[LABELS, ROWS]), lambda x: np.log(np.take(shares(x), [0, 4])),
    lambda x: np.log(np.take_along_axis(shares(x), LABELS[:, None], 1)),
    lambda x: np.log(np.squeeze(np.flip(shares(x).ravel()))[None]),
    lambda x: (ONES * np.log(shares(x))).sum(), lambda x: np.vdot(ONES, np.log(shares(x))),
    lambda x: np.log((ONES * shares(x)).sum(1)), lambda x: np.log(np.where(ONES, shares(x), 1.0)),
    lambda x: np.log(np.einsum("nc,nc->n", ONES, shares(x))),
    lambda x: np.log(np.stack([shares(row)[k] for row, k in zip(x, LABELS, strict=True)])),
    lambda x: np.log(ad.vmap(shares)(x)[ROWS, LABELS]),
    lambda x: np.log((e := np.exp(x - 900.0)) * (1 / e.sum(1, keepdims=True))),
    lambda x: np.log((e := np.exp(x - 900.0))[ROWS, LABELS]) - np.log(e.sum(1)),
    lambda x: np.log((e := np.exp(x - 900.0))[ROWS, LABELS] / e.sum(1))]
REMEDY = {
    "np.linalg.norm(x) instead": [
        (lambda x: np.sqrt(np.sum(x ** 2)), Z), (lambda x: (x * x).sum() ** 0.5, Z),
        (lambda x: np.sqrt(np.square(x).sum()), Z), (lambda x: np.sqrt(x @ x), Z)],
    "np.std(x)": [(lambda x: np.sqrt(np.mean((x - x.mean()) ** 2)), X * 0 + 1.0)],
    "np.hypot": [(lambda x, z: np.sqrt(x ** 2 + z * z), 0.0, 0.0)],
    "np.abs(x) instead": [(lambda x: np.sqrt(x ** 2), 0.0)],
    "a vector of length 0": [(lambda x: x / np.sqrt((x * x).sum()), Z)],
    "ad.log_sigmoid(x)": [(lambda x: np.log(ad.sigmoid(x)), -1000.0)],
    "ad.log_sigmoid(-x)": [(lambda x: np.log(1 - ad.sigmoid(x)), 1000.0)],
    "ad.log_softmax": [
        (lambda x: np.log(ad.softmax(x)[0]), BIG),
        (lambda x: np.log(np.exp(x) / np.exp(x).sum()), -BIG)],
    "ad.log_softmax(x, axis) instead": [(f, LOGITS) for f in CROSS_ENTROPIES],
    "ad.logsumexp(x) instead": [
        (lambda x: np.log(np.sum(np.exp(x))), BIG), (lambda x: np.log(np.exp(x).sum()), -BIG * 1e3),
        (lambda x: np.log(np.mean(np.exp(x))), BIG)],
    "ad.softplus": [(lambda x: np.log(1 + np.exp(x)), 1000.0)],
    "np.logaddexp(x, z)": [(lambda x, z: np.log(np.exp(x) + np.exp(z)), 1000.0, 0.0)],
    "np.log(np.expm1(x))": [(lambda x: np.log(np.exp(x) - 1), 1e-20)],
    "the argument itself": [(lambda x: np.log(np.exp(x)), -1000.0)],
    "np.sum(np.log(x))": [(lambda x: np.log(np.prod(x)), np.full(400, 0.1))],
    "ad.xlogy(x, z) instead": [(lambda x: x * np.log(x), 0.0), (lambda x: np.log(x) * x, 0.0)],
    "ad.sigmoid(x) instead": [(lambda x: 1 / (1 + np.exp(-x)), -1000.0)],
    "ad.softmax(x, axis) instead": [(lambda x: np.exp(x) / np.exp(x).sum(), BIG)],
    "np.expm1(x) instead": [(lambda x: (np.exp(x) - 1) / x, 0.0)],
    "np.log1p(x) instead": [(lambda x: np.log(1 + x) / x, 0.0)],
    "np.sinc(x / np.pi)": [(lambda x: np.sin(x) / x, 0.0)],
    "np.where chooses too late": [
        (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0),
        (lambda x: np.where(x > 0, 2.0 / x, 0.0), 0.0),
        (lambda x: np.where(x >= 0, x, np.sqrt(x)), -1.0)],
    "a logarithm of 0 or less": [(np.log, 0.0), (np.log10, -1.0)],
    "log1p(x) is finite for": [(np.log1p, -1.0)],
    "the square root of a negative number": [(np.sqrt, -1.0)],
    "the root is vertical at 0": [
        (np.sqrt, 0.0), (np.cbrt, 0.0), (lambda x: x ** 0.25, 0.0)],
    "at whole z only": [(lambda x, z: x ** z, -2.0, 2.0)],
    "a negative number to a power": [(lambda x: x ** 0.3, -2.0)],
    "a negative power of 0": [(lambda x: x ** -1.0, 0.0), (np.reciprocal, 0.0)],
    "0 / 0 has no value": [(lambda x, z: x / z, 0.0, 0.0)],
    "a division by 0": [(lambda x, z: x / z, 1.0, 0.0)],
    "infinity minus infinity": [(lambda x: x - x, np.inf), (lambda x: x + -x, np.inf)],
    "0 * infinity": [
        (lambda x: x * 0.0, np.inf), (lambda x: x @ np.array([np.inf, 1.0]), np.array([0.0, 1.0]))],
    "the exponential overflows": [(np.exp, 1000.0), (np.sinh, 1000.0)],
    "defined between -1 and 1": [(np.arcsin, 1.0), (np.arccos, 2.0), (np.arctanh, 1.0)],
    "defined from 1 upwards": [(np.arccosh, 1.0), (np.arccosh, 0.5)],
    "a variance divides by n - ddof": [(lambda x: np.var(x, ddof=1), np.ones(1))],
    "an overflow": [(lambda x: x * x, 1e200)],
}
SPELLED = [(text, *case) for text, cases in REMEDY.items() for case in cases]


@pytest.mark.parametrize("case", SPELLED, ids=lambda c: c[0])
def test_remedies(case):
    text, f, *args = case
    remedies = [found.remedy for found in ad.diagnose(f, *args).findings]
    assert any(text in remedy for remedy in remedies), remedies


FORWARD = ("np.linalg.norm(x) instead", "np.hypot", "ad.log_sigmoid(x)", "the argument itself",
           "ad.log_softmax", "at whole z only", "np.abs(x) instead", "the root is vertical at 0")


@pytest.mark.parametrize("case", [c for c in SPELLED if c[0] in FORWARD and c[1] is not np.cbrt],
                         ids=lambda c: c[0])
def test_remedies_in_forward_mode(case):
    text, f, *args = case
    found = raised(lambda: ad.jvp(f, tuple(args), tuple(np.ones_like(a) for a in args)))
    assert text in found.remedy


BETTER = {
    "norm": (np.linalg.norm, Z), "hypot": (np.hypot, 0.0, 0.0), "abs": (np.abs, 0.0),
    "std": (np.std, np.ones(3)), "log_sigmoid": (ad.log_sigmoid, -1000.0),
    "log_softmax": (lambda x: ad.log_softmax(x, 0)[0], BIG), "logsumexp": (ad.logsumexp, BIG),
    "softplus": (ad.softplus, 1000.0), "logaddexp": (np.logaddexp, 1000.0, 0.0),
    "expm1": (lambda x: np.log(np.expm1(x)), 1e-20), "slogdet": (
        lambda a: np.linalg.slogdet(a)[1], np.diag([1e-200, 1e-200])),
    "sum of logs": (lambda x: np.sum(np.log(x)), np.full(400, 0.1)),
    "xlogy": (lambda x: ad.xlogy(x, x), 0.0), "sigmoid": (ad.sigmoid, -1000.0),
    "softmax": (lambda x: ad.softmax(x, 0)[0], BIG), "sinc": (lambda x: np.sinc(x / np.pi), 0.0),
    "safe log": (lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0), 0.0),
    "safe divisor": (lambda x: np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x)), 0.0),
    "safe log1p": (lambda x: np.log1p(np.where(x > -1, x, 0.0)), -1.0),
    "stop_gradient": (lambda x, z: x ** ad.stop_gradient(z), -2.0, 2.0),
    "clip": (lambda x: np.arcsin(np.clip(x, -1 + 1e-12, 1 - 1e-12)), 1.0)}


@pytest.mark.parametrize("name", BETTER)
def test_what_the_remedies_say_is_finite(name):
    report = ad.diagnose(*BETTER[name])
    assert report, str(report)
    assert report.finite


def test_every_remedy_has_a_test():
    texts = [entry.text for entry in REMEDIES if "slogdet" not in entry.text]
    missing = [text for text in texts if not any(key in text for key in REMEDY)]
    assert not missing


def test_slogdet_is_named_for_the_logarithm_of_a_determinant():
    found = first(lambda a: np.log(np.linalg.det(a)), np.diag([1e-200, 1e-200]))
    assert "slogdet" in found.remedy


def test_a_sweep_that_raises_knows_what_was_done_with_the_result():
    with ad.strict():
        found = raised(lambda: ad.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0))(0.0))
    assert "np.where chooses too late" in found.remedy


def test_a_pattern_that_does_not_match_gives_no_advice():
    assert "log_sigmoid(x) instead" not in first(lambda x: np.log(np.tanh(x)), 0.0).remedy
    assert "norm(x) instead" not in first(lambda x: np.sqrt((x * 2.0).sum()), Z).remedy
    assert "np.sinc" not in first(lambda x, z: np.sin(x) / z, 0.0, 0.0).remedy


def test_rows_that_no_entry_names_have_the_general_word():
    named = {row for entry in REMEDIES for row in words(entry.pattern)}
    assert "gammaln" not in named
    assert "gammaln or its derivative is not finite" in first(ad.gammaln, 0.0).remedy


def test_the_table_names_rows_that_exist():
    named = {row for entry in REMEDIES for row in words(entry.pattern)}
    assert named - {"mean", "linalg.norm", "s", "v", "*", "#"} <= set(REGISTRY)


def words(pattern):
    if isinstance(pattern, str):
        return {pattern}
    if isinstance(pattern, (tuple, list, frozenset)):
        return set().union(*map(words, pattern))
    return set()


# ---- training

def train(steps, rate):
    ad.manual_seed(0)
    net, x = ad.nn.Linear(3, 2), np.ones((4, 3), np.float32)
    for _ in range(steps):
        loss = ((net(x) - 1e3) ** 2).sum()
        loss.backward()
        with ad.no_grad():
            for parameter in net.parameters():
                parameter -= rate * parameter.grad
        net.zero_grad()


def test_a_training_loop_that_diverges():
    with ad.doctor(), pytest.raises(NonFiniteError) as caught:
        train(200, 10.0)
    found = caught.value.report.first
    assert (found.phase, found.kind, found.operation) == ("forward", "infinity", "power")
    assert found.way[-1].startswith("net.")
    assert "has grown from" in found.remedy
    assert "smaller learning rate" in found.remedy


def test_a_parameter_that_was_overwritten_with_nan_arrived_so():
    w = ad.tensor([1.0, 2.0], requires_grad=True)
    with ad.doctor(), pytest.raises(NonFiniteError) as caught:
        for _ in range(3):
            (w * 2.0).sum().backward()
            with ad.no_grad():
                w[1] = np.nan
    found = caught.value.report.first
    assert (found.phase, found.index) == ("arrived", (1,))
    assert found.way[-1] == "w, of shape (2,)"
    assert "learning rate" not in found.remedy


def test_no_learning_rate_is_blamed_without_growth():
    x = ad.tensor(1.0, requires_grad=True)
    with ad.doctor(), pytest.raises(NonFiniteError) as caught:
        for _ in range(3):
            (x * 1.0).backward()
        np.log(x * 0.0)
    assert "learning rate" not in caught.value.report.first.remedy
    with ad.doctor():
        train(3, 1e-4)


# ---- diagnose

def test_diagnose_says_what_was_checked():
    report = ad.diagnose(lambda x, n: np.sin(x) * n, np.ones(3), 2)
    assert report
    assert report.finite
    assert str(report) == "nothing found\nchecked: 2 operations forward, 1 sweep back to x"


def test_diagnose_reaches_what_the_function_closes_over():
    w = ad.tensor(0.0, requires_grad=True)
    report = ad.diagnose(lambda x: np.sqrt(w) * x, 1.0)
    assert report.first.operation == "sqrt"
    assert w.grad is None
    assert "w" in report.first.way[-1]
    report = ad.diagnose(lambda: w * 2.0)
    assert "1 tensor that it closes over" in report.checked


def test_diagnose_takes_tensors_trees_and_integers():
    t = ad.tensor([1.0, 0.0], requires_grad=True)
    found = first(lambda tree, n: np.log(tree["t"]) * n, {"t": t}, 3)
    assert found.index == (1,)
    assert t.grad is None
    assert "no result depends" in ad.diagnose(lambda n: n + 1, 3).checked


def test_diagnose_of_a_gradient():
    found = first(ad.grad(lambda x: x ** 1.5), 0.0)
    assert (found.operation, found.phase) == ("power", "backward")


def test_diagnose_is_plain_data():
    report = ad.diagnose(np.log, np.array([1.0, 0.0]))
    data = report.as_dict()
    assert data["findings"][0]["operation"] == "log"
    assert data["findings"][0]["index"] == (1,)
    assert data["finite"] is False
    assert repr(report) == str(report)
    assert not report


def test_an_error_of_the_function_is_the_functions():
    def f(x):
        raise RuntimeError("mine")
    with pytest.raises(RuntimeError, match="mine"):
        ad.diagnose(f, 1.0)
    assert switch.armed == 0


# ---- blocks

def test_without_it_nothing_changes():
    x = ad.tensor(0.0, requires_grad=True)
    with np.errstate(all="ignore"):
        assert np.log(x).item() == -np.inf
    assert switch.armed == 0
    assert MODES.get().watch is None


def test_warnings_come_once_a_line():
    x = ad.tensor(0.0, requires_grad=True)
    with warnings.catch_warnings(record=True) as seen, ad.doctor("warn"):
        warnings.simplefilter("always")
        for _ in range(3):
            np.log(x)
        np.log(x)
    assert [w.category for w in seen] == [NonFiniteWarning] * 2


def test_a_report_collects_and_goes_on():
    x = ad.tensor(0.0, requires_grad=True)
    with ad.doctor("report") as report:
        y = np.log(x)
        z = y * 0.0
    assert [f.operation for f in report.findings] == ["log", "multiply"]
    assert np.isnan(z.item())


def test_infinities_can_be_left_alone():
    x = ad.tensor([0.0, 1.0], requires_grad=True)
    with ad.doctor(infinity=False):
        masked = np.where(np.array([True, False]), -np.inf, x)
        ad.softmax(masked).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_a_block_inside_another_replaces_it():
    x = ad.tensor(0.0, requires_grad=True)
    with ad.doctor():
        with ad.doctor("report") as report:
            np.log(x)
        assert len(report.findings) == 1
        with pytest.raises(NonFiniteError):
            np.log(x)


def test_doctor_and_kinks_together():
    x = ad.tensor(0.0, requires_grad=True)
    with ad.doctor(), ad.kinks("raise"):
        with pytest.raises(KinkError):
            np.maximum(x, 0.0)
        with pytest.raises(NonFiniteError):
            np.log(x)
    with ad.kinks("raise"), ad.doctor():
        with pytest.raises(KinkError):
            np.maximum(x, 0.0)
        with pytest.raises(NonFiniteError):
            np.sqrt(x).backward()


def test_exceptions_restore_everything():
    x = ad.tensor(0.0, requires_grad=True)
    with pytest.raises(NonFiniteError), ad.doctor():
        np.log(x)
    with pytest.raises(NonFiniteError), ad.doctor():
        np.sqrt(x).backward()
    with pytest.raises(ZeroDivisionError), ad.kinks(), ad.doctor():
        1 / 0
    assert switch.armed == 0
    assert MODES.get() is not None
    assert MODES.get().watch is None
    assert MODES.get().site is None


def test_a_graph_is_as_it_was_after_an_error():
    x = ad.tensor(0.0, requires_grad=True)
    y = np.sqrt(x)
    with ad.doctor(), pytest.raises(NonFiniteError):
        y.backward(retain_graph=True)
    assert y.node.prim is REGISTRY["sqrt"]
    with np.errstate(all="ignore"):
        y.backward()
    assert x.grad.item() == np.inf


def test_the_graph_is_freed_as_without_it():
    x = ad.tensor(2.0, requires_grad=True)
    with ad.doctor():
        y = x * x
        y.backward()
        with pytest.raises(ad.errors.GraphError):
            y.backward()
    assert x.grad.item() == 4.0


def test_values_and_gradients_are_the_same_inside():
    def f(x):
        return (np.exp(np.sin(x)) * np.maximum(x, 0.2)).sum()
    a = np.linspace(0.1, 2.0, 7)
    plain = ad.value_and_grad(f)(a), ad.jvp(f, (a,), (a,)), ad.hessian(f)(a), ad.vmap(f)(a[:, None])
    with ad.doctor(), ad.kinks("raise"):
        seen = ad.value_and_grad(f)(a), ad.jvp(f, (a,), (a,)), ad.hessian(f)(a), ad.vmap(f)(
            a[:, None])
    for p, s in zip(plain, seen, strict=True):
        for u, v in zip(p, s, strict=True):
            np.testing.assert_array_equal(u, v)


def test_as_a_decorator():
    @ad.doctor()
    def f(x):
        return np.log(x)

    @ad.kinks("raise")
    def g(x):
        return np.abs(np.maximum(x, 0.0))
    x = ad.tensor(0.0, requires_grad=True)
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            f(x)
        with pytest.raises(KinkError):
            g(x)
    assert f.__name__ == "f"
    assert switch.armed == 0


@pytest.mark.parametrize("wrong", ["Raise", "", None])
def test_wrong_words(wrong):
    with pytest.raises(ArgumentError, match='"raise"'):
        ad.doctor(wrong)
    with pytest.raises(ArgumentError, match='"raise"'):
        ad.kinks(wrong)
    with pytest.raises(ArgumentError, match="f is a function"):
        ad.diagnose(1.0)


def test_threads_and_tasks_have_their_own():
    x = ad.tensor(0.0, requires_grad=True)
    seen = []

    def work(on):
        with np.errstate(all="ignore"):
            if not on:
                seen.append(np.log(x).item())
                return
            try:
                with ad.doctor():
                    np.log(x)
            except NonFiniteError:
                seen.append("raised")
    with ad.doctor():
        threads = [threading.Thread(target=work, args=(k % 2 == 0,)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    if sys.version_info < (3, 14):  # from there on a thread may begin in a copy of this context
        assert sorted(map(str, seen)) == ["-inf"] * 4 + ["raised"] * 4
    else:
        assert len(seen) >= 4

    async def one(on):
        await asyncio.sleep(0)
        if on:
            with pytest.raises(NonFiniteError), ad.doctor():
                await asyncio.sleep(0)
                np.log(x)
        else:
            with np.errstate(all="ignore"):
                assert np.log(x).item() == -np.inf

    async def both():
        await asyncio.gather(*[one(k % 2 == 0) for k in range(6)])
    asyncio.run(both())
    assert switch.armed == 0


def test_two_doctors_sweep_one_graph():
    """The second begins while the first is at work, and ends after it."""
    x = ad.tensor(2.0, requires_grad=True)
    y = x * x
    z = np.sin(y)
    begun, both, ended = threading.Event(), threading.Event(), threading.Event()

    def meet(dy):
        if not begun.is_set():
            begun.set()
            both.wait(10)
        else:
            both.set()
            ended.wait(10)
    y.register_hook(meet)

    def run():
        with ad.doctor():
            z.backward(retain_graph=True)
        ended.set()
    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    for t in threads:
        t.join()
    assert z.node.prim is REGISTRY["sin"]
    assert y.node.inputs[0].prim is REGISTRY["multiply"]
    assert x.grad.item() == pytest.approx(2 * 4.0 * np.cos(4.0))


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("on", ["report", "warn"])
def test_nothing_is_held(on):
    def run():
        x = ad.tensor(np.zeros(3), requires_grad=True)
        y = np.sqrt(x * 1.0)
        y.sum().backward()
        return weakref.ref(x), weakref.ref(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ad.doctor(on) as report:
            refs = run()
            assert [r() for r in refs] == [None, None]
            assert report.first.operation == "sqrt"
            ad.jvp(np.sin, (np.zeros(3),), (np.ones(3),))
            ad.grad(lambda v: np.sin(v).sum())(np.zeros(3))


def test_a_training_loop_holds_its_memory():
    net, x = ad.nn.Linear(3, 2), np.ones((4, 3), np.float32)

    def steps(count):
        for _ in range(count):
            loss = ad.relu(net(x)).sum() + ad.grad(lambda v: np.sin(v).sum())(np.ones(3)).sum()
            loss.backward()
            ad.jvp(lambda v: v * np.sin(v), (np.ones(3),), (np.ones(3),))
            net.zero_grad()
    tracemalloc.start()
    try:
        with ad.doctor("report"), ad.kinks():
            steps(20)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            steps(100)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 40_000  # a held graph would be 100 times 30 kB


@pytest.mark.usefixtures("no_collector")
def test_an_error_and_kinks_hold_nothing_afterwards():
    def run():
        x = ad.tensor(np.zeros(3), requires_grad=True)
        try:
            with ad.doctor(), ad.kinks():
                np.log(x)
        except NonFiniteError as e:
            return weakref.ref(x), e.report
        return None
    ref, report = run()
    assert ref() is None
    assert report.first.operation == "log"


# ---- kinks

def kink(f, *args):
    with pytest.raises(KinkError) as caught, ad.kinks("raise"):
        f(*args)
    return str(caught.value)


def test_a_tie_of_maximum_names_element_operands_and_line():
    x = ad.tensor([[0.0, 3.0], [0.0, 2.0]], requires_grad=True)
    text = kink(lambda: np.maximum(x, np.array([1.0, 2.0])))
    assert "`maximum` is evaluated on a kink" in text
    assert "element (1, 1) of shape (2, 2)" in text
    assert "operand 0: 2.0" in text
    assert "operand 1: 2.0" in text
    assert "line " in text
    assert "np.maximum(x, np.array([1.0, 2.0]))" in text


POINTS = [
    (lambda x: np.maximum(x, 0.0), 0.0), (lambda x: np.minimum(x, 0.0), 0.0), (ad.relu, 0.0),
    (lambda x: np.clip(x, 0.0, 1.0), 1.0), (ad.leaky_relu, 0.0), (np.abs, 0.0)]
NAMES = ["maximum", "minimum", "relu", "clip", "leaky_relu", "abs"]
MODE = {
    "tensor": lambda f, a: f(ad.tensor(a, requires_grad=True)),
    "grad": lambda f, a: ad.grad(f)(a), "jvp": lambda f, a: ad.jvp(f, (a,), (1.0,)),
    "order 2": lambda f, a: ad.grad(ad.grad(f))(a),
    "vmap of grad": lambda f, a: ad.vmap(ad.grad(f))(np.array([a + 0.3, a])),
    "jvp of vmap": lambda f, a: ad.jvp(ad.vmap(f), (np.array([a + 0.3, a]),), (np.ones(2),))}


@pytest.mark.parametrize("mode", MODE)
@pytest.mark.parametrize("point", POINTS, ids=NAMES)
def test_kinks_in_every_mode(mode, point):
    f, a = point
    assert "kink" in kink(lambda: MODE[mode](f, a))
    with ad.kinks("raise"):
        MODE[mode](f, a + 0.1)


def test_the_member_of_a_batch_is_named():
    text = kink(lambda: ad.vmap(ad.grad(lambda x: np.maximum(x, 1.0).sum()))(
        np.array([[0.0, 2.0], [0.0, 1.0]])))
    assert "element (1,) of shape (2,) of batch member (1,)" in text


def test_reductions():
    assert "`max`" in kink(lambda: ad.grad(np.max)(np.array([1.0, 1.0, 0.0])))


BRANCHES = [
    lambda x: max(x, 0), lambda x: max(0.0, x), lambda x: min(x, 0.0),
    lambda x: x if x > 0 else -x, lambda x: x if not x <= 0 else -x,
    lambda x: 1.0 * x if x == 0 else np.sin(x) / x, lambda x: x * 1.0 if bool(x >= 0) else x,
    lambda x: sorted([x, x * 2.0])[1]]


@pytest.mark.parametrize("mode", ["tensor", "grad", "jvp"])
@pytest.mark.parametrize("f", BRANCHES)
def test_branches_of_python_at_a_tie(f, mode):
    text = kink(lambda: MODE[mode](f, 0.0))
    assert "a branch of Python at a tie" in text
    assert __file__ in text
    with ad.kinks("raise"):
        MODE[mode](f, 0.5)


def test_a_comparison_alone_is_no_branch():
    with ad.kinks("raise"):
        assert ad.grad(lambda x: np.where(x > 0, x, 2.0 * x))(0.0) == 2.0
        assert ad.jvp(lambda x: np.where(x > 0, x, 2.0 * x), (0.0,), (1.0,)) == (0.0, 2.0)


def test_a_comparison_that_is_kept_and_asked_later():
    def f(x):
        positive = x > 0
        y = x * 2.0
        return y if positive else -y
    assert "0.0 > 0" in kink(lambda: ad.grad(f)(0.0))
    assert "0.0 > 0" in kink(lambda: ad.jvp(f, (0.0,), (1.0,)))


def test_what_is_not_differentiated_is_not_reported():
    x = ad.tensor(0.0)
    with ad.kinks("raise"):
        np.maximum(x, 0.0)
        assert not x > 0
        with ad.no_grad():
            np.maximum(ad.tensor(0.0, requires_grad=True), 0.0)


def test_kinks_warn_and_off():
    x = ad.tensor(0.0, requires_grad=True)
    with ad.kinks(), pytest.warns(KinkWarning, match="`relu` is evaluated on a kink"):
        ad.relu(x)
    with ad.kinks("raise"):
        with ad.kinks("off"):
            ad.relu(x)
        with pytest.raises(KinkError):
            ad.relu(x)


def test_every_kink_that_a_row_names_in_its_cases_is_seen():
    rng = np.random.default_rng(0)
    rows = [row for row in REGISTRY.values() if row.kink is not None and row.cases is not None]
    seen = set()
    for row in rows:
        for case in row.cases(rng):
            if case.domain != "kink" or np.asarray(case.args[0]).dtype.kind != "f":
                continue
            with np.errstate(all="ignore"):
                mask = np.asarray(row.kink(*case.args, **case.params))
            seen |= {row.name} if mask.any() else set()
    assert {"maximum", "minimum", "relu", "max", "min", "abs"} <= seen


def test_what_a_zero_cancelled_is_named():
    report = ad.diagnose(lambda x: np.sqrt(x) ** 2, 0.0)
    assert report
    assert report.cancelled.operation == "sqrt"
    assert "ad.strict() shows NaN" in str(report)
    assert report.as_dict()["cancelled"]["operation"] == "sqrt"
    assert ad.diagnose(lambda x: np.sqrt(x) ** 2, 1.0).cancelled is None
    assert ad.diagnose(lambda x: np.sqrt(x * x), 0.0).cancelled is None  # not finite: a finding


def test_operands_without_derivative_are_shown_too():
    x, mask = np.array([0.0, 1.0]), np.array([[False, True], [True, True]])
    report = ad.diagnose(lambda x: np.log(x) * mask, x)
    assert report.findings[1].operation == "multiply"
    assert report.findings[1].operands == ("-inf", "False")
    assert ad.diagnose(lambda x: np.log(x) * np.array([0, 3]), x).findings[1].operands == (
        "-inf", "0")
