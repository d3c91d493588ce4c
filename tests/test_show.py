"""Trace tables against the golden numbers of worked example B1, and the picture of a training."""

import io
import sys
import warnings

import numpy as np
import pytest
from rich.console import Console

import adjoint as ad
from adjoint import show
from adjoint.errors import ArgumentError, FormatError, GraphError, MissingPackageError
from adjoint.show import tables

# golden.json, "baydin": the values and adjoints of y = ln(x1) + x1 x2 - sin(x2) at (2, 5).
VALUES = {"v1": 2.0, "v2": 5.0, "v3": 0.6931471805599453, "v4": 10.0, "v5": -0.9589242746631385,
          "v6": 10.693147180559945, "v7": 11.652071455223084}
ADJOINTS = {"v1": 5.5, "v2": 1.7163378145367738, "v3": 1.0, "v4": 1.0, "v5": -1.0, "v6": 1.0,
            "v7": 1.0}


def recorded(f, *values):
    xs = [ad.tensor(v, requires_grad=True) for v in values]
    with ad.tape() as nodes:
        y = f(*xs)
    return show.read(nodes, {f"x{i}": x for i, x in enumerate(xs, 1)}, y), xs, y


def survey(x1, x2):
    logarithm, product, sine = np.log(x1), x1 * x2, np.sin(x2)
    return logarithm + product - sine


def printed(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()


def test_the_trace_has_the_golden_values_and_adjoints():
    trace, _, _ = recorded(survey, 2.0, 5.0)
    assert {s.name: float(s.value) for s in trace.steps} == pytest.approx(VALUES, rel=1e-15)
    adjoints = {trace.names[n]: float(v) for n, v in trace.adjoints.items()}
    assert adjoints == pytest.approx(ADJOINTS, rel=1e-15)


def test_the_printed_tables_show_the_slide():
    trace, _, _ = recorded(survey, 2.0, 5.0)
    forward, reverse = printed(show.forward_table(trace)), printed(show.reverse_table(trace))
    for text in ("ln(v1)", "v1 * v2", "0.693", "-0.959", "10.693", "11.652"):
        assert text in forward
    for text in ("-0.284", "1.716", "5.5", "(1/v1)", "-0.284 + 1 \u00b7 2"):
        assert text in reverse


def test_contributions_add_up_to_what_backward_gives():
    def f(x, z):
        return (np.tanh(x @ z) * x[0] + z.sum()).sum() / 2.0
    rng = np.random.default_rng(0)
    trace, xs, y = recorded(f, rng.normal(size=3), rng.normal(size=(3, 4)))
    sums = {}
    for line in trace.contributions:
        sums[line.target] = sums.get(line.target, 0.0) + line.amount
        np.testing.assert_allclose(sums[line.target], line.total)
    adjoints = [trace.adjoints[x.node] for x in xs]
    y.backward()
    for x, dx in zip(xs, adjoints, strict=True):
        np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-13)


def test_slopes_times_adjoints_are_the_contributions():
    trace, _, _ = recorded(survey, 2.0, 5.0)
    for line in trace.contributions:
        assert trace.adjoints[line.source] * line.slope == pytest.approx(line.amount)


def test_arrays_constants_and_brackets_are_printed_as_they_are():
    trace, _, _ = recorded(lambda x: (np.maximum(x, 2.0) * 3.0).sum(), np.array([1.0, 4.0]))
    forward, reverse = printed(show.forward_table(trace)), printed(show.reverse_table(trace))
    assert "v2 * 3" in forward
    assert "[1. 4.]" in forward
    assert "[v1 > 2]" in reverse
    assert "[0. 3.]" in reverse


def test_a_result_outside_the_tape_is_an_error():
    with ad.tape() as nodes, pytest.raises(GraphError, match="not recorded"):
        show.read(nodes, {}, ad.tensor(1.0))


@pytest.mark.parametrize(("latex", "text"), [
    (r"\frac{1}{v1}", "1/v1"), (r"y\ln v1", "y ln v1"),
    (r"\frac{1}{\sqrt{1 - a^2}}", "1/sqrt(1 - a^2)"),
    (r"b\,{a}^{b - 1}", "b a^(b - 1)"), (r"\sigma(-a)", "\u03c3(-a)"), (r"[\neg c]", "[not c]"),
    (r"-\left\lfloor a / b \right\rfloor", "-\u230a a / b \u230b"), ("1", "1")])
def test_latex_becomes_plain_text(latex, text):
    assert tables.plain(latex) == text


@pytest.mark.parametrize(("value", "text"), [
    (2.0, "2"), (0.0, "0"), (-0.28366, "-0.284"), (1e-9, "1.000e-09"), (12345678.9, "1.235e+07"),
    (float("nan"), "nan"), (3, "3"), (True, "True")])
def test_numbers_have_three_decimals(value, text):
    assert tables.shown(value) == text


# ---- the picture

@pytest.mark.parametrize("name", ["loss.png", "loss.svg", "loss.pdf"])
def test_a_picture_is_written(tmp_path, name):
    path = tmp_path / name
    show.loss_curve({"training": [1.0, 0.5, 0.2], "validation": [1.0, 0.7, 0.6]}, path, "digits")
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[-3:]]
    assert path.read_bytes().startswith(head)


def test_a_picture_says_what_its_axes_and_curves_are(tmp_path):
    path = tmp_path / "loss.svg"
    import matplotlib as mpl
    with mpl.rc_context({"svg.fonttype": "none"}):
        show.loss_curve({"training": [1.0, 0.5], "validation": [1.0, 0.7]}, path, "digits")
    text = path.read_text()
    for word in ("epoch", "cross-entropy loss", "training", "validation", "digits"):
        assert word in text


def test_a_picture_that_cannot_be_is_refused_before_the_training(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"write loss\.png"):
        show.check_picture(tmp_path / "loss.doc")
    with pytest.raises(FormatError, match="does not exist"):
        show.check_picture(tmp_path / "nowhere" / "loss.png")
    with pytest.raises(ArgumentError, match="no loss to draw"):
        show.loss_curve({}, tmp_path / "loss.png", "")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="-m pip install matplotlib"):
        show.check_picture(tmp_path / "loss.png")


# ---- what a review found

def read_of(f, *values):
    xs = [ad.tensor(v, requires_grad=True) for v in values]
    with ad.tape() as nodes:
        y = f(*xs)
    trace = show.read(nodes, {f"x{k}": x for k, x in enumerate(xs)}, y)
    return xs, y, trace


@pytest.mark.parametrize("f, x", [
    (lambda x: np.sqrt(x) * 0.0, 0.0), (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0),
    (lambda x: (np.where(x > 0, np.sqrt(x), x) * x).sum(), [0.0, 2.0])])
def test_adjoints_are_the_engines_where_a_zero_cancels(f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (x,), y, trace = read_of(f, x)
        y.backward()
        np.testing.assert_array_equal(trace.adjoints[x.node], x.grad.numpy())
        assert show.reverse_table(trace).row_count == len(trace.contributions) + 1
        with ad.strict():
            (x,), _, trace = read_of(f, x.tolist())
            assert np.isnan(trace.adjoints[x.node]).any()


def test_what_read_cannot_name_is_an_error():
    x, z = ad.tensor(2.0, requires_grad=True), ad.tensor(3.0, requires_grad=True)
    before = x * z
    with ad.tape() as nodes:
        y = np.log(before) * x
        product = x * z
    with pytest.raises(GraphError, match="multiply was computed before the tape began"):
        show.read(nodes, {"x": x, "z": z}, y)
    with pytest.raises(ArgumentError, match=r"a leaf of shape \(\) has no name"):
        show.read(nodes, {"x": x}, product)


def test_several_results_and_indices_are_spelled():
    class Both(ad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2.0 * x, x * x

        @staticmethod
        def backward(ctx, double, square):
            (x,) = ctx.saved_tensors
            return 2.0 * double + 2.0 * x * square
    (x,), y, trace = read_of(lambda x: Both.apply(x)[1], 3.0)
    y.backward()
    assert trace.adjoints[x.node] == x.grad.item() == 6.0
    cells = [list(column.cells) for column in show.reverse_table(trace).columns]
    assert [str(c) for c in cells[3]] == ["1", "(0, 1)", "6"]
    texts = [step.text for step in read_of(
        lambda x: x[1:, ::2].sum() + x[..., None, 0].sum(), np.ones((3, 4)))[2].steps]
    assert "v1[1:, ::2]" in texts and "v1[..., None, 0]" in texts


def test_a_partial_without_a_text_is_written_as_one():
    _, _, trace = read_of(ad.checkpoint(lambda v: v * v), 3.0)
    assert trace.contributions[-1].partial == "\u2202v2/\u2202v1"
