"""The doctor lets compiled functions run, and has what is not finite made again, eagerly."""

import io
import sys
import warnings

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import KinkError, NonFiniteError, NonFiniteWarning
from adjoint.tensors import Tensor


def line_here():
    return sys._getframe(1).f_lineno


def counted(f):
    """The function compiled, and a counter of how often Python runs it."""
    counter = io.StringIO()  # an int or an iterator that counts is an error

    def body(*args):
        counter.write(".")
        return f(*args)
    return ad.jit(body), lambda: len(counter.getvalue())


START = line_here()


def logarithm(x):
    y = x * x
    return np.log(y.sum() - 1.0)


def length(x):
    y = x * x
    return np.sqrt(y.sum())


def first(call, **options):
    with pytest.raises(NonFiniteError) as caught, ad.doctor(**options):
        call()
    return caught.value.report.first


def test_finite_results_come_from_machine_code():
    f, runs = counted(logarithm)
    x = np.array([1.0, 2.0])
    with ad.doctor():
        for _ in range(5):
            assert f(x) == pytest.approx(np.log(4.0))
            assert type(f(x)) is np.float64
    assert runs() == 1


def test_what_is_not_finite_is_made_again_and_its_line_is_named():
    f, runs = counted(logarithm)
    f(np.array([1.0, 2.0]))
    found = first(lambda: f(np.array([1.0, 0.0])))
    assert (found.operation, found.line, found.file) == ("log", START + 5, __file__)
    assert runs() == 2


@pytest.mark.parametrize("transformed", [
    lambda f: ad.grad(f)(np.array([1.0, 0.0])),
    lambda f: ad.vmap(f)(np.eye(2)),
    lambda f: ad.jvp(f, (np.array([1.0, 0.0]),), (np.ones(2),)),
    lambda f: ad.jit(ad.value_and_grad(f))(np.array([1.0, 0.0])),
    lambda f: ad.jit(lambda x: f(x) * 2.0)(np.array([1.0, 0.0])),
    lambda f: f(ad.tensor([1.0, 0.0])),
    lambda f: f(ad.tensor([1.0, 0.0], requires_grad=True))])
def test_forward_in_every_transformation(transformed):
    found = first(lambda: transformed(ad.jit(logarithm)))
    assert (found.phase, found.operation, found.line) == ("forward", "log", START + 5)


@pytest.mark.parametrize("transformed", [
    lambda f: ad.grad(f)(np.zeros(2)),
    lambda f: ad.jit(ad.grad(f))(np.zeros(2)),
    lambda f: ad.grad(lambda x: 3.0 * f(x * x) + x.sum())(np.zeros(2)),
    lambda f: ad.grad(ad.jit(lambda x: f(x) * 2.0))(np.zeros(2)),
    lambda f: (f(ad.tensor([0.0, 0.0], requires_grad=True)) * 2.0).backward()])
def test_backward_in_every_transformation(transformed):
    found = first(lambda: transformed(ad.jit(length)))
    assert (found.phase, found.operation, found.line) == ("backward", "sqrt", START + 10)
    assert found.way[-1].startswith(("x", "an argument"))


def test_the_gradients_of_what_is_warned_of_are_those_without_a_doctor():
    def f(x):
        return ad.jit(length)(x * x) + x.sum()
    with np.errstate(all="ignore"):
        expected = ad.grad(f)(np.zeros(2))
    with ad.doctor("warn"), pytest.warns(NonFiniteWarning, match="sqrt"):
        np.testing.assert_array_equal(ad.grad(f)(np.zeros(2)), expected)


class Net:
    """A training step with state, whose loss is not finite at the third of its points."""

    def __init__(self):
        self.w, self.calls = ad.tensor([1.0, 2.0], requires_grad=True), 0.0

    def step(self, x):
        loss = np.log(self.w * x).sum()
        loss.backward()
        with ad.no_grad():
            self.w -= 0.1 * self.w.grad
        self.w.grad = None
        self.calls = self.calls + 1.0
        return loss.detach()


POINTS = [np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0])]


@pytest.mark.parametrize("on", ["raise", "warn", "report"])
def test_a_step_that_changes_things_goes_on_as_it_does_eagerly(on):
    ends = []
    for wrapped in (lambda f: f, ad.jit):
        net, answers = Net(), []
        step = wrapped(net.step)
        with ad.doctor(on) as report, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for x in POINTS:
                try:
                    answers.append(step(x).item())
                except NonFiniteError as e:
                    answers.append(e.report.first.line)
        ends.append((answers, net.w.detach().numpy(), net.w.grad, net.calls,
                     [(f.operation, f.line, f.phase) for f in report.findings]))
    eager, compiled = ends
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-14)
    np.testing.assert_allclose(compiled[1], eager[1], rtol=1e-14)
    assert (compiled[2] is None, *compiled[3:]) == (eager[2] is None, *eager[3:])
    assert compiled[4][0][0] == "log"


def test_an_infinity_that_does_not_come_out_is_none_of_its_business():
    f = ad.jit(lambda x: np.where(x > 0, np.log(x), 0.0))
    with ad.doctor():
        assert f(ad.tensor([1.0, 0.0])).tolist() == [0.0, 0.0]
    g = ad.jit(lambda x: x + np.log(x))
    with ad.doctor(infinity=False):
        assert g(ad.tensor([0.0])).item() == -np.inf
    assert first(lambda: g(ad.tensor([-1.0])), infinity=False).operation == "log"
    assert ad.diagnose(f, 0.0).first.operation == "log"  # which looks at every step


def test_results_keep_their_kinds():
    w = ad.tensor([1.0])
    f = ad.jit(lambda x: {"array": x / 0.0, "tensor": w * x, "none": None, "same": 3})
    for x, kind in ((np.ones(1), np.ndarray), (ad.tensor([1.0]), Tensor)):
        with ad.doctor("report") as report, np.errstate(all="ignore"):
            y = f(x)
        assert report.findings
        assert [type(y[k]) for k in y] == [kind, Tensor, type(None), int]
    with ad.doctor("report") as report, np.errstate(all="ignore"):
        assert type(ad.jit(lambda x: x * np.inf)(2.0)) is float
    assert report.first.kind == "infinity"


def test_who_looks_at_every_step_has_it_run_eagerly():
    f, runs = counted(lambda x: np.maximum(x, 1.0).sum())
    with ad.kinks("raise"):
        f(ad.tensor([2.0]))
        with pytest.raises(KinkError):
            ad.grad(f)(np.array([1.0]))
    with ad.tape() as nodes:
        f(ad.tensor([2.0], requires_grad=True))
    assert [n.prim.name for n in nodes] == ["maximum", "sum"]
    assert runs() == 3
