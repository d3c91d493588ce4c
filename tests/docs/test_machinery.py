"""What makes the site: reading and running pages, formulas, the look at the finished files."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "machinery"))

import formulas
import links
import pages

PAGE = """---
file_format: mystnb
question: How much is $2 x$?
change: {x: 3.0}
---
# A page

Twice {eval}`f"{x:.2f}"` is {eval}`2 * x`, by [a source](https://example.org/1.5).

```{code-cell} ipython3
:tags: [inputs]
x = 1.5
```

```{code-cell}
---
tags: [fixed, hide-input]
---
# fixed: it says so
print("seen")
```

```python
not_executed
```

```{code-cell}
2 * x
```
"""


def written(folder, text, name="page.md"):
    (folder / name).write_text(text)
    return pages.read(folder / name)


def cells(*sources, tags=()):
    """A page of cells, the first of which assigns the inputs."""
    options = [":tags: [inputs]\n", *([f":tags: [{', '.join(tags)}]\n"] * len(sources))]
    return "".join(f"```{{code-cell}}\n{option}{source}\n```\n\n"
                   for option, source in zip(options, sources, strict=False))


# ---------------------------------------------------------------- reading

def test_a_page_is_cut_into_prose_and_cells_with_their_tags(tmp_path):
    page = written(tmp_path, PAGE)
    assert page.front["change"] == {"x": 3.0}
    assert [cell.source for cell in page.cells] == [
        "x = 1.5", '# fixed: it says so\nprint("seen")', "2 * x"]
    assert [cell.tags for cell in page.cells] == [("inputs",), ("fixed", "hide-input"), ()]
    for cell in page.cells:
        assert PAGE.split("\n")[cell.line - 1].startswith("```{code-cell}")
    assert "not_executed" in "".join(part for part in page.parts if isinstance(part, str))


def test_a_notebook_is_read_like_a_page(tmp_path):
    book = {"metadata": {"question": "Why?"}, "nbformat": 4, "nbformat_minor": 5, "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "about 1.5"]},
        {"cell_type": "code", "metadata": {"tags": ["inputs"]}, "source": ["x = 2\n", "x + 1"]}]}
    page = written(tmp_path, json.dumps(book), "book.ipynb")
    assert page.front["question"] == "Why?"
    assert page.tagged("inputs")[0].source == "x = 2\nx + 1"
    assert page.typed_numbers() == ["# Title about 1.5"]
    assert [shown.text for shown in page.run()[0]] == ["3"]


def test_which_files_compute(tmp_path):
    (tmp_path / "examples").mkdir()
    written(tmp_path, "# plain")
    kept = written(tmp_path / "examples", PAGE)
    written(tmp_path / "examples", PAGE, "README.md")
    assert pages.computing(tmp_path) == [kept.path]


@pytest.mark.parametrize("typed", ["it is 1.5", "$x = -0.25$", "`y = 2.5`", "about .5", "1e-3",
                                   r"$3 \times 10^5$", "```text\n4.25\n```"])
def test_numbers_typed_into_the_prose_are_found(tmp_path, typed):
    assert len(written(tmp_path, f"# A page\n\n{typed}\n").typed_numbers()) == 1


@pytest.mark.parametrize("prose", [
    "the 3 inputs of B1 at (2, 5)", "{eval}`f'{x:.2f} 1.5'`", "[it](https://example.org/v1.5)",
    "```{code-cell}\nx = 1.5\n```", "v1. Then", "$x^2 + 3x$"])
def test_other_numbers_are_not(tmp_path, prose):
    assert written(tmp_path, f"# A page\n\n{prose}\n").typed_numbers() == []


def test_a_number_in_the_question_is_typed_too(tmp_path):
    page = written(tmp_path, PAGE.replace("$2 x$", "it at 0.5"))
    assert page.typed_numbers() == ["How much is it at 0.5?"]


# ---------------------------------------------------------------- running

def test_a_page_shows_what_a_kernel_would(tmp_path):
    cell = "```{code-cell}\n:tags: [inputs]\nx = 1.5\n```\n\n```{code-cell}\nprint('seen')\n```\n\n"
    page = written(tmp_path, cell + "{eval}`x + 1`\n\n```{code-cell}\n2 * x\n```\n")
    assert [shown.text for shown in page.run()[0]] == ["seen\n", "2.5", "3.0"]
    assert [shown.text for shown in page.run({"x": 4.0})[0]] == ["seen\n", "5.0", "8.0"]
    assert [shown.text for shown in page.run({"x": "2 * x"})[0]] == ["seen\n", "4.0", "6.0"]


def test_what_is_excused(tmp_path):
    page = written(tmp_path, cells("x = 1", "x\n", tags=["fixed"]) + "{eval}`len('ab')`\n")
    one, other = page.run()[0]
    assert one.excused({}) and not other.excused({})
    assert other.excused({"len('ab')": "a reason"})


def test_figures_and_displayed_objects_are_shown_alike_each_time(tmp_path):
    page = written(tmp_path, cells("x = 1", (
        "import matplotlib.pyplot as plt\nfrom IPython.display import HTML, Markdown\n"
        "display(HTML(f'<b id=\"{id(object())}\">{x}</b>'))\nplt.plot([0, x]);\nMarkdown('*a*');")))
    first, again, other = page.run()[0], page.run()[0], page.run({"x": 2})[0]
    assert [s.text for s in first] == [s.text for s in again]
    assert first[0].text == "<b >1</b>" and "<svg" in first[1].text and len(first) == 2
    assert all(a.text != b.text for a, b in zip(first, other, strict=True))


def test_only_inputs_can_be_changed_and_must_be(tmp_path):
    page = written(tmp_path, cells("x = 1", "y = x"))
    with pytest.raises(KeyError, match="'y' is not assigned"):
        page.run({"y": 2})
    with pytest.raises(ValueError, match="x already is 1"):
        page.run({"x": 1})


def test_an_error_is_shown_only_where_the_page_says_so(tmp_path):
    page = written(tmp_path, cells("x = 1", "x / 0", tags=["raises-exception"]))
    assert page.run()[0][0].text == "ZeroDivisionError: division by zero"
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, cells("x = 1", "x / 0")).run()
    with pytest.raises(AssertionError, match="nothing is raised"):
        written(tmp_path, cells("x = 1", "x / 1", tags=["raises-exception"])).run()


def test_a_run_leaves_no_trace(tmp_path):
    before = Path.cwd(), list(sys.path)
    page = written(tmp_path, cells("import os\nwhere = os.getcwd()", "where"))
    assert page.run()[0][0].text == repr(str(tmp_path))
    assert (Path.cwd(), list(sys.path)) == before


# ---------------------------------------------------------------- formulas

@pytest.mark.parametrize(("latex", "parts"), [
    (r"\frac{\partial L}{\partial x_1}", ["<mfrac>", "∂", "<msub>"]),
    (r"\bar v_3 + \dot v + \hat y", ["<mover", "<msub>"]),
    (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", ["<mtable", "<mtr>", "("]),
    (r"\begin{bmatrix} 1 & 2 \end{bmatrix}^\top", ["<msup>", "<mtable"]),
    (r"\begin{aligned} a &= b \\ &= c \end{aligned}", ["<mtable", "<mtr>"]),
    (r"a &= b \\ &= c", ["<mtable", "<mtr>"]),
    (r"\underbrace{a b}_{\text{already computed}}", ["<munder", "⏟", "already"]),
    (r"x = 1 && \mbox{through v3}", ["through"]),
    (r"\textcolor{red}{x} + {\color{blue} y}", ["#FF0000", "#0000FF"]),
    (r"f = \begin{cases} x & x > 0 \\ 0 & \text{otherwise} \end{cases}", ["{", "<mtable"]),
    (r"\left.\frac{df}{dx}\right|_{x=2}", ["<mfrac>", "|"]),
    (r"\operatorname{relu}(x) \odot \mathbf{W}^\top \nabla", ["relu", "⊙"]),
    (r"\sum_{i=1}^{n} \prod_{j \ne i} \theta_j", ["<munderover", "∑", "∏"]),
])
def test_formulas_become_mathml(latex, parts):
    made = formulas.mathml(latex, display=True)
    assert made.startswith("<math") and "\\" not in made and "&amp;" not in made
    assert [part for part in parts if part not in made] == []


@pytest.mark.parametrize("latex", [r"\unheard{x}", r"\frac{a}", r"\begin{matrix} a"])
def test_what_is_no_formula_is_an_error(latex):
    with pytest.raises(formulas.LatexError):
        formulas.mathml(latex, display=False)


# ---------------------------------------------------------------- the finished site

@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top">A</h1><a href="sub/b.html#here">b</a>'
                                         '<a href="https://example.org/">out</a>')
    (tmp_path / "sub" / "b.html").write_text('<p id="here"><a href="../index.html#top">a</a>'
                                             '<a href="#here">here</a><img src="../p.png"></p>')
    (tmp_path / "p.png").write_bytes(b"")
    return tmp_path


def test_a_good_site_has_no_faults(site):
    assert links.faults(site) == []


@pytest.mark.parametrize(("html", "fault"), [
    ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
    ('<link rel="stylesheet" href="//fonts.example/a.css">', "loads //fonts.example/a.css"),
    ('<style>@import "https://fonts.example/b.css";</style>', "loads https://fonts.example/b.css"),
    ('<p style="background: url(http://x.example/c.png)">', "loads http://x.example/c.png"),
    ("<script>fetch('https://x.example/d')</script>", "loads https://x.example/d"),
    ('<a href="none.html">', "the link none.html leads to no file"),
    ('<img src="none.png">', "the link none.png leads to no file"),
    ('<a href="index.html#nowhere">', "leads to no place on the page index.html"),
    ('<a href="/tmp/x.html">', "the link /tmp/x.html leads to this machine"),
    ("<pre>/tmp/ipykernel_12/345.py:3</pre>", "shows a path of the machine: /tmp/ipykernel_12"),
])
def test_each_fault_is_named(site, html, fault):
    (site / "c.html").write_text(html)
    found = links.faults(site)
    assert found and all(line.startswith("c.html") for line in found)
    assert fault in found[0]


def test_styles_that_load_are_found_too(site):
    (site / "a.css").write_text("@font-face { src: url(https://fonts.example/a.woff2) }")
    assert links.faults(site) == ["a.css loads https://fonts.example/a.woff2"]


# ---------------------------------------------------------------- the command

@pytest.fixture
def build(monkeypatch, tmp_path):
    """docs/build.py, whose warnings are in `tmp_path`."""
    spec = importlib.util.spec_from_file_location("build_of_the_site", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_that_does_not_exist_is_an_error(build, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build.py", "docs/examples/b99.md"])
    with pytest.raises(SystemExit):
        build.main()
    assert "docs has no page 'b99' that computes" in capsys.readouterr().err


def test_pages_with_warnings_are_read_again_by_the_next_run(build, tmp_path):
    """Sphinx would take them from its cache, and the second run would be silently good."""
    made = tmp_path / "doctrees" / "examples"
    made.mkdir(parents=True)
    for name in ("b05", "b06"):
        (made / f"{name}.doctree").touch()
    place = build.DOCS / "examples" / "b05.md"
    (tmp_path / "warnings").write_text(f"{place}:7: WARNING: no MathML\nof two lines\n")
    build.forget(tmp_path)
    assert [path.name for path in made.iterdir()] == ["b06.doctree"]
    (tmp_path / "warnings").write_text("WARNING: the theme is missing\n")
    build.forget(tmp_path)
    assert not tmp_path.exists()


def test_another_library_executes_every_page_again(build, tmp_path, monkeypatch):
    folder = tmp_path / "site"
    build.prepare(folder, fresh=False)
    kept = folder / "doctrees"
    kept.mkdir()
    build.prepare(folder, fresh=False)
    assert kept.exists()
    build.prepare(folder, fresh=True)
    assert not kept.exists()
    kept.mkdir()
    monkeypatch.setattr(build, "fingerprint", lambda: "another")
    build.prepare(folder, fresh=False)
    assert not kept.exists()


def test_a_page_whose_source_is_gone_leaves_the_site(build, tmp_path):
    (tmp_path / "examples").mkdir()
    for name in ("index", "search", "safety", "examples/b05", "examples/b99"):
        (tmp_path / f"{name}.html").touch()
    build.sweep(tmp_path)
    assert {path.stem for path in tmp_path.rglob("*.html")} == {"index", "search", "safety", "b05"}
