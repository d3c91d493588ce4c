"""ad.check: what it passes, what it catches, and what it says."""

import subprocess
import sys

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, CheckError, DTypeError


def finding(report, test):
    """The line of a report."""
    return next(f for f in report.findings if f.test == test)


FORWARD = "forward mode, finite differences"
REVERSE = "reverse mode, finite differences"
COMPLEX = "forward mode, complex step"
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]])


# ---------------------------------------------------------------- what is right passes

def test_every_test_is_made_and_passed():
    report = ad.check(lambda x: np.sin(x) * x, 0.5)
    assert report
    assert report.ok
    assert [f.test for f in report.findings] == [
        "adjoint identity", FORWARD, REVERSE, COMPLEX, "order 2, both nestings",
        "order 2, finite differences"]
    assert {f.status for f in report.findings} == {"ok"}


def test_the_tolerances_are_those_that_the_point_deserves():
    report = ad.check(lambda x: np.exp(x).sum(), X)
    assert all(f.tolerance < 1e-6 for f in report.findings)
    single = ad.check(lambda x: np.exp(x).sum(), X.astype(np.float32))
    assert single
    assert 1e-6 < finding(single, REVERSE).tolerance < 1e-2


def test_any_tree_of_arguments_and_results_with_integers_held_fixed():
    def f(params, n, options):
        h = params["W"] @ params["b"] * n
        return {"h": h, "n": n, "s": [np.exp(params["b"]).sum() * options["scale"]]}
    assert ad.check(f, {"W": X, "b": np.array([1.0, 2.0, 3.0])}, 3, {"scale": 2, "mode": "fast"})


def test_tensors_and_methods():
    x = ad.tensor(X, requires_grad=True)
    assert ad.check(lambda t: (t.sigmoid() @ t.T).relu().sum(), x)
    assert x.grad is None


def test_keyword_arguments_of_the_function():
    assert ad.check(ad.logsumexp, X, params={"axis": 0, "keepdims": True})


def test_large_arguments_are_sampled():
    assert ad.check(lambda x: (x * x * x).sum(), np.linspace(-1.0, 1.0, 1000))


@pytest.mark.parametrize("f, x", [
    (np.sin, 1e6), (np.log, 1e-9), (np.exp, -700.0), (lambda x: x * 0.0 + 1e8, 1.0),
    (lambda x: 1e8 + x, 1.0), (np.log1p, 1e-12), (lambda x: x ** 7, 1e-3), (np.sqrt, 1e12)])
def test_steps_adapt_to_the_point(f, x):
    report = ad.check(f, x, order=1)
    assert report, report


def test_complex_arguments():
    report = ad.check(lambda z: z * z + 1.0 / z, np.array([1.0 + 2.0j, -0.5 + 0.1j]))
    assert report
    assert finding(report, COMPLEX).status == "skipped"


@pytest.mark.parametrize("f", [lambda z: np.real(z * z), np.abs, lambda z: np.imag(z ** 3).sum()])
def test_a_real_function_of_complex_arguments(f):
    z = np.array([1.0 + 2.0j, 3.0 - 1.0j])
    assert ad.check(f, z), ad.check(f, z)
    assert not ad.check(lambda z: f(z) + ad.stop_gradient(np.imag(z).sum()), z)


def test_the_complex_step_is_left_out_where_the_function_is_not_holomorphic():
    for f in (np.abs, ad.softplus):
        report = ad.check(f, np.array([0.5, -1.0]))
        assert report
        assert finding(report, COMPLEX).status == "skipped"
    assert "refused" in finding(ad.check(np.cbrt, 2.0), COMPLEX).note


@pytest.mark.parametrize(
    "row", ["tanh", "multiply", "matmul", "prod", "getitem", "logsumexp", "mean"])
def test_rows_by_name_on_their_own_cases(row):
    report = ad.check(row)
    assert report, report


def test_rows_as_functions_and_functions_as_numpys():
    assert ad.check(ad.tanh)
    assert ad.check(ad.arctan2, np.array([0.3, -1.0]), 2.0)
    assert ad.check(np.hypot if hasattr(ad, "hypot") else np.logaddexp, 1.0, 2.0)


def test_nothing_to_check_in_an_empty_array():
    report = ad.check(np.sin, np.ones((0, 3)))
    assert report
    assert report.findings[0].note == "no elements"


# ---------------------------------------------------------------- what is wrong is caught

class Right(ad.Function):
    """y = x^2 z, with the right derivative."""

    @staticmethod
    def forward(ctx, x, z):
        ctx.save_for_backward(x, z)
        return x * x * z

    @staticmethod
    def backward(ctx, dy):
        x, z = ctx.saved_tensors
        return dy * 2.0 * x * z, dy * x * x


class WrongSign(Right):
    @staticmethod
    def backward(ctx, dy):
        x, z = ctx.saved_tensors
        return dy * 2.0 * x * z, -dy * x * x


class WrongFactor(Right):
    @staticmethod
    def backward(ctx, dy):
        x, z = ctx.saved_tensors
        return dy * 2.001 * x * z, dy * x * x


class DroppedTerm(ad.Function):
    """y = x exp(x), where the product rule lost one term."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * np.exp(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * x * np.exp(x)


class WrongAxis(ad.Function):
    """Row sums of a square matrix, with the gradient of column sums."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x * x).sum(axis=1)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2.0 * x * dy  # dy[:, None] is right


class OneElement(ad.Function):
    """Right but for a single element."""

    @staticmethod
    def forward(ctx, x):
        return x * 3.0

    @staticmethod
    def backward(ctx, dy):
        mask = np.ones((2, 3))
        mask[1, 2] = 1.01
        return dy * 3.0 * mask


class LostCurvature(ad.Function):
    """A right first derivative that forgets how it depends on x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * 3.0 * ad.stop_gradient(x) ** 2


def test_the_right_one_passes():
    assert ad.check(Right, X, X + 3.0)


@pytest.mark.parametrize("f, args, where", [
    (WrongSign, (X, X + 3.0), "argument 1"), (WrongFactor, (X, X + 3.0), "argument 0"),
    (DroppedTerm, (np.array([0.1, 1.0]),), "argument 0["),
    (WrongAxis, (np.arange(1.0, 10.0).reshape(3, 3),), "argument 0["),
    (OneElement, (X,), "argument 0[1, 2]")])
def test_a_planted_error_of_first_order_is_caught_and_placed(f, args, where):
    report = ad.check(f, *args)
    assert not report
    for test in (FORWARD, REVERSE):
        line = finding(report, test)
        assert line.status == "FAILED", report
        assert line.where.startswith(where)
        assert abs(line.got - line.expected) == pytest.approx(line.error)
        assert line.error > line.tolerance
    assert "FAILED" in str(report) and where in str(report)
    assert report.worst.status == "FAILED"


def test_got_and_expected_are_the_numbers():
    line = finding(ad.check(OneElement, X), FORWARD)
    assert line.where == "argument 0[1, 2], result[1, 2]"
    assert line.got == pytest.approx(3.03) and line.expected == pytest.approx(3.0)
    line = finding(ad.check(DroppedTerm, 1.0), COMPLEX)
    assert line.got == pytest.approx(np.e) and line.expected == pytest.approx(2 * np.e)


def test_a_lost_second_derivative_is_caught():
    report = ad.check(LostCurvature, np.array([1.0, 2.0]))
    assert not report
    assert finding(report, FORWARD).status == finding(report, REVERSE).status == "ok"
    assert finding(report, "order 2, finite differences").status == "FAILED"
    assert ad.check(LostCurvature, np.array([1.0, 2.0]), order=1)


def test_modes_that_contradict_each_other_are_caught():
    from dataclasses import replace

    from adjoint.core.primitive import REGISTRY
    row = replace(REGISTRY["tanh"], jvp=lambda dxs, y, x: dxs[0] * (1.0 + y * y))
    report = ad.check(row, np.array([0.5, -1.0]))
    line = finding(report, "adjoint identity")
    assert line.status == "FAILED"
    assert line.where.startswith("argument 0[")
    assert finding(report, FORWARD).status == "FAILED"
    assert finding(report, REVERSE).status == "ok"


def test_an_error_in_a_rule_is_a_finding():
    class Broken(Right):
        @staticmethod
        def backward(ctx, dy):
            return dy

    report = ad.check(Broken, X, X)
    assert not report
    assert "RuleError" in finding(report, REVERSE).note


def test_one_mode_alone():
    class Two(ad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2.0, x * x

        @staticmethod
        def backward(ctx, first, second):
            (x,) = ctx.saved_tensors
            return first * 2.0 + second * 2.0 * x

    report = ad.check(Two, X, modes=("reverse",))
    assert report, report
    assert [f.test for f in report.findings if f.status != "skipped"] == [REVERSE]
    second = finding(report, "order 2, both nestings")
    assert second.note == "it needs forward and reverse mode"
    assert [f.test for f in ad.check(Two, X, modes=("reverse",), order=1).findings] == [REVERSE]
    second = finding(ad.check(lambda z: z * z, 1.0 + 1j), "order 2, finite differences")
    assert (second.status, second.note) == ("skipped", "the arguments or results are complex")


def test_a_tolerance_of_zero_is_meant():
    assert not ad.check(np.sin, 1.0, rtol=0.0)
    assert ad.check(lambda x: 2.0 * x, 0.5, rtol=0.0, order=1, modes=("forward",))
    for rtol in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="rtol is a number of at least 0"):
            ad.check(np.sin, 1.0, rtol=rtol)


def test_the_assertion_form():
    assert ad.assert_derivatives(np.sin, 1.0)
    with pytest.raises(CheckError, match=r"derivatives of WrongSign: NOT ok") as caught:
        ad.assert_derivatives(WrongSign, X, X)
    assert "argument 1" in str(caught.value)
    with pytest.raises(AssertionError, match="FAILED"):
        ad.check(WrongSign, X, X, raises=True)


def test_a_tolerance_of_ones_own():
    assert not ad.check(WrongFactor, X, X + 3.0, order=1)
    assert ad.check(WrongFactor, X, X + 3.0, order=1, rtol=0.01)


# ---------------------------------------------------------------- kinks and singular points

@pytest.mark.parametrize("f, args", [
    (np.abs, (np.array([0.0, 1.0]),)), (lambda x: x.relu().sum(), (np.array([-1.0, 0.0]),)),
    (np.maximum, (np.array([1.0, 2.0]), np.array([1.0, 3.0]))),
    (lambda x: ad.clip(x, 0.0, 1.0), (np.array([0.0, 0.5, 1.0]),))])
def test_a_kink_is_reported_as_one(f, args):
    report = ad.check(f, *args)
    assert report, report
    assert finding(report, FORWARD).status == "kink"
    assert "one-sided derivatives differ" in str(report)
    low, high = finding(report, FORWARD).expected
    assert low <= finding(report, FORWARD).got <= high


def test_a_value_outside_the_one_sided_slopes_fails_at_a_kink():
    class Steep(ad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return np.abs(x)

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy * np.where(x == 0, 1.5, np.sign(x))

    line = finding(ad.check(Steep, np.array([0.0, 1.0])), FORWARD)
    assert line.status == "FAILED"
    assert line.where == "argument 0[0], result[0]"
    assert line.got == pytest.approx(1.5) and line.expected == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize("f", [np.sqrt, np.cbrt, np.log])
def test_a_singular_point_cannot_be_checked_and_says_so(f):
    report = ad.check(f, np.array([0.0, 1.0]))
    assert not report
    assert not [x for x in report.findings if x.status == "FAILED"]
    assert "no reference" in str(report)
    assert finding(report, FORWARD).where == "argument 0[0], result[0]"


def test_a_value_that_is_no_number_is_named():
    line = finding(ad.check(np.log, np.array([1.0, -1.0])), "value")
    assert line.where == "result[1]" and "nan" in line.note


# ---------------------------------------------------------------- bad input

def test_integers_alone():
    with pytest.raises(DTypeError, match=r"there is no floating point number.*write 3\.0"):
        ad.check(lambda x: x * 2, 3)


def test_no_arguments():
    with pytest.raises(DTypeError, match=r"write ad\.check\(f, x\)"):
        ad.check(lambda: 1.0)


def test_integer_results():
    with pytest.raises(DTypeError, match="int64, which has no derivative"):
        ad.check(np.argmax, np.ones(3))


def test_random_functions():
    rng = np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="two calls with the same arguments gave different"):
        ad.check(lambda x: x * rng.normal(), 1.0)


def test_an_unknown_name():
    with pytest.raises(ArgumentError, match="did you mean sin"):
        ad.check("sine", 1.0)


def test_no_function():
    with pytest.raises(ArgumentError, match=r"write ad\.check\(lambda x"):
        ad.check(3.0, 1.0)


def test_wrong_options():
    with pytest.raises(ArgumentError, match="order is 1 or 2"):
        ad.check(np.sin, 1.0, order=3)
    with pytest.raises(ArgumentError, match="modes names"):
        ad.check(np.sin, 1.0, modes=("backward",))


def test_inside_another_transformation():
    with pytest.raises(ArgumentError, match="not inside another transformation"):
        ad.jvp(lambda x: ad.check(np.sin, x), (1.0,), (1.0,))


def test_an_error_of_the_function_itself_is_its_own():
    with pytest.raises(ZeroDivisionError):
        ad.check(lambda x: x * (1 // 0), 1.0)


def test_it_is_loaded_on_first_use():
    program = ("import sys, adjoint as ad; assert 'adjoint.checking' not in sys.modules; "
               "assert ad.check(ad.sin, 1.0); assert 'adjoint.checking' in sys.modules")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_second_order_of_a_saturated_function():
    """1 - tanh(x)^2 is what a cancellation left: the gradient is rounded as its value is."""
    def f(x):
        return np.tanh(x * 4.0 + 11.0) * np.tanh(x)
    assert ad.check(f, 0.3)
    assert ad.check(lambda x: f(x).sum(), np.array([0.1, -0.2]))
