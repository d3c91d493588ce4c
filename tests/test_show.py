"""The picture of a training, and LaTeX of partial derivatives as plain text."""

import sys

import pytest

from adjoint import show
from adjoint.errors import ArgumentError, FormatError, MissingPackageError
from adjoint.show.writing import plain


@pytest.mark.parametrize(("latex", "text"), [
    (r"\frac{1}{v1}", "1/v1"), (r"y\ln v1", "y ln v1"),
    (r"\frac{1}{\sqrt{1 - a^2}}", "1/sqrt(1 - a^2)"),
    (r"b\,{a}^{b - 1}", "b a^(b - 1)"), (r"\sigma(-a)", "\u03c3(-a)"), (r"[\neg c]", "[not c]"),
    (r"-\left\lfloor a / b \right\rfloor", "-\u230a a / b \u230b"), ("1", "1")])
def test_latex_becomes_plain_text(latex, text):
    assert plain(latex) == text


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
