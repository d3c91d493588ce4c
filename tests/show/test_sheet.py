"""Sheet: one record, and text, Markdown, HTML, LaTeX, CSV and dict that all say the same."""

import csv
import html.parser
import io
import json
import math
import re
import shutil
import subprocess
import unicodedata

import markdown_it
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError
from adjoint.show.cells import ACCUMULATES, ALREADY, BAD, NEW, Cell, Column, Piece, Row, clean
from adjoint.show.numbers import exact, finite, shown
from adjoint.show.sheet import Sheet
from adjoint.show.typesetting import latex_formula, latex_name, latex_text, tokens

BAR = "\u0304"
HOSTILE = ["<script>alert(1)</script>", "a_b", "$x$", "\\input{secret}", "a|b", "a\\|b",
           "two\nlines", "\x1b[31mred", "[red]x[/red]", "\u202etxt", "&amp;", "`tick`", "*star*",
           "x^2_3", "x^2^3", "x\u2032^2", "100 %", "#1", "~", '"q"', "'", "--", "]]>",
           "</td></table>", "\u4e2d\u6587", "é", "\0", "http://example.org", "www.example.org",
           "https://example.org", "{}", "^", "\ud800", " ", "", "a" * 200, "<!-- -->", "![i](u)",
           "\t", "\u2028", "[1]", "=1+1", "+= f", "ß ø ﬀ 🎉"]
PDFLATEX = shutil.which("pdflatex")


def trace():
    """Worked example B1, a few lines of it."""
    forward, reverse = "forward evaluation", "reverse adjoints"
    columns = [Column("step", kind="math", group=forward),
               Column("operation", kind="math", group=forward),
               Column("value", kind="number", group=forward),
               Column("rule", "chain rule", kind="math", group=reverse),
               Column("adjoint", kind="number", group=reverse)]
    factor = [Piece(f"v{BAR}7", r"\bar v_7", ALREADY), Piece(" · "), Piece("-1", role=NEW)]
    rows = [Row({"step": "v2", "operation": "x2", "value": 5.0,
                 "rule": Cell(None, f"v{BAR}2 + v{BAR}4 · v1", role=ACCUMULATES),
                 "adjoint": 2 - math.cos(5)}, group="inputs"),
            Row(["v3", "ln(v1)", math.log(2), None, 1.0], group="line 2"),
            Row(["v5", "sin(v2)", math.sin(5), Cell(None, factor), -1.0], group="line 2"),
            Row(["v7", "v6 - v5", 11.652071455223084, "1", 1.0], group="line 3")]
    return Sheet("y = ln(x1) + x1·x2 − sin(x2)", columns, rows, notes=["8 contributions."],
                 footer=["total", "4 steps", None, None, 5.5])


def long(n=500):
    return Sheet("long", [Column("step", kind="math"), Column("value", kind="number")],
                 [Row([f"v{k}", k / 7], group=f"layer {k // 100}") for k in range(n)])


class Balance(html.parser.HTMLParser):
    """The elements and the text of a fragment; each must be closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.said = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.said.append(data)

    @property
    def text(self):
        return "".join(self.said)


# ---- numbers

@pytest.mark.parametrize("value, text", [
    (2.0, "2"), (5.5, "5.5"), (-0.28366, "-0.284"), (0.9999999, "1.000"), (0.1 + 0.2, "0.300"),
    (1e-9, "1.000e-09"), (-1e-4, "-1.000e-04"), (12345678.9, "1.235e+07"), (0.0, "0"),
    (-0.0, "-0"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (3, "3"),
    (True, "True"), (10**30, "1.000e+30"), (1 - 2j, "1-2j"),
    (np.float32(0.1), "0.100"), (None, ""), ("a", "a"), ((1.0, None), "(1, 0)"),
    (np.array([1.0, -2.5]), "[1. -2.5]"), (np.array([1e-9, 1.0]), "[1.000e-09 1.]"),
    (np.array(3.0), "3"), (np.zeros((0, 3)), "(0, 3) empty"),
    (np.ones(9, bool), "(9,) 9 True, 0 False"),
    (np.arange(12).reshape(4, 3), "(4, 3) min 0 max 11"), (np.full(9, 2.0), "(9,) all 2"),
    (np.array([1.0, math.nan, math.inf] * 3), "(9,) all 1, 3 nan, 3 inf"),
    (np.full(9, math.nan), "(9,), 9 nan")])
def test_numbers_never_mislead(value, text):
    assert shown(value) == text


@given(st.floats(), st.sampled_from([None, 1, 3, 6, 17]))
def test_a_number_is_as_near_as_its_digits_and_no_other_number_looks_like_zero(x, digits):
    text = shown(x, digits)
    back = float(text)
    assert math.isnan(back) == math.isnan(x)
    if math.isfinite(x):
        assert (back == 0) == (x == 0)
        assert math.copysign(1, back) == math.copysign(1, x)
        near = 5e-4 * max(1.0, abs(x)) if digits is None else abs(x) * 10.0 ** (1 - digits)
        assert math.isinf(back) or abs(back - x) <= near + 5e-324
        assert back == x or "." in text or "e" in text or digits is not None


def test_the_reader_chooses_digits_and_whole_arrays():
    assert shown(math.pi, 6) == "3.14159"
    assert shown(0.5, 6) == "0.5"
    assert shown(10**5000) == "1.000e+5000"
    assert shown(np.arange(8), whole=True) == "[0 1 2 3 4 5 6 7]"
    assert shown(np.eye(2) * 10, lines=True) == "[[10.  0.]\n [ 0. 10.]]"
    assert shown(ad.tensor([1.0, 2.0], requires_grad=True)) == "[1. 2.]"
    for digits in (0, 18, 2.0, True, "3"):
        with pytest.raises(ArgumentError, match="write digits=6"):
            shown(1.0, digits)


def test_exact_values_are_strict_json():
    special = np.array([[1.0, math.nan], [math.inf, -math.inf]])
    assert exact((special, 1 + 2j, np.int8(3), None, "a", True)) == [
        [[1.0, "NaN"], ["Infinity", "-Infinity"]], "(1+2j)", 3, None, "a", True]
    assert int(exact(10**9000), 16) == 10**9000
    assert exact(np.array([np.longdouble(1) / 3])) == [str(np.longdouble(1) / 3)]
    assert finite(np.arange(3)) and not finite((1.0, np.array([math.inf])))


# ---- what a Sheet takes

@pytest.mark.parametrize("make, error, words", [
    (lambda: Sheet("", [], []), ArgumentError, "needs columns"),
    (lambda: Sheet("", ["a", "a"], []), ArgumentError, "'a' twice"),
    (lambda: Sheet("", ["a"], [["x", "y"]]), ShapeError, "row 0 has 2 cells for 1 columns"),
    (lambda: Sheet("", ["a"], [{"b": 1}]), ArgumentError, "a cell 'b', but the columns are 'a'"),
    (lambda: Sheet("", ["a"], ["x"]), ArgumentError, "write a list of its 1 cells"),
    (lambda: Sheet("", ["a"], [], footer=[]), ShapeError, "row footer has 0 cells"),
    (lambda: Column("a", kind="numbers"), ArgumentError, "'numbers' is not known; write one of"),
    (lambda: Column("a", align="middle"), ArgumentError, "'left', 'center', 'right'"),
    (lambda: Cell(1, role="red"), ArgumentError, "'new factor'"),
    (lambda: Piece("a", role="red"), ArgumentError, "'new factor'"),
    (lambda: Row([], role="red"), ArgumentError, "'new factor'"),
    (lambda: long().text(width=5), ArgumentError, "write width=80"),
    (lambda: long().html(rows=0), ArgumentError, "rows=None for all"),
    (lambda: long().latex(digits=99), ArgumentError, "digits=99")])
def test_what_does_not_fit_is_an_error(make, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make()


def test_rows_are_mappings_sequences_or_rows():
    sheet = Sheet("", ["a", "b"], [{"b": 2}, [1, 2], Row((3, Cell(4)))], notes="one")
    assert sheet.dict()["rows"] == [{"a": None, "b": 2}, {"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert sheet.notes == ("one",)
    assert len(sheet) == 3
    assert repr(sheet) == "<Sheet '': 3 rows of 2 columns>"


# ---- text

@pytest.mark.parametrize("width", [20, 40, 80, 160])
@pytest.mark.parametrize("make", [trace, long])
def test_text_keeps_to_its_width(make, width):
    lines = make().text(width).split("\n")
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_text_has_headings_over_columns_and_over_rows():
    lines = trace().text(160).split("\n")
    assert re.search(r"forward evaluation +│ +reverse adjoints", lines[2])
    assert "▾ line 2 · 2 rows" in lines
    points = [re.search(r"\d(\.)\d", line).start(1) for line in lines if re.match(r"v[357] ", line)]
    assert len(points) == 3 and len(set(points)) == 1  # the points stand under each other
    assert "«new factor», {already computed}" in lines
    assert any(f"{{v{BAR}7}} · «-1»" in line for line in lines)


def test_narrow_text_has_the_column_groups_under_each_other_and_then_blocks():
    lines = trace().text(44).split("\n")
    assert [line.strip() for line in lines if "forward" in line or "reverse" in line] == [
        "forward evaluation", "reverse adjoints"]
    assert sum(line.startswith("v5 ") for line in lines) == 2
    blocks = Sheet("", [Column(f"column {k}", kind="number") for k in range(9)], [[k / 7 for k in
                   range(9)]]).text(30)
    assert "column 8: 1.143" in blocks.split("\n")


def test_colours_are_for_terminals():
    sheet = trace()
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system="standard")
    console.print(sheet)
    assert out.getvalue().endswith("\n")
    assert "\x1b[" in out.getvalue()
    assert "\x1b" not in str(sheet)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert [line.rstrip() for line in plain.rstrip("\n").split("\n")] == sheet.text(120).split("\n")


def test_the_middle_of_a_long_table_is_left_out_and_said():
    text = long().text(80, rows=10)
    assert "… 490 rows left out (rows 6 to 495) …" in text
    assert "▾ layer 4 (continued) · 100 rows" in text
    assert len(re.findall(r"^v\d+ ", text, re.MULTILINE)) == 10
    assert len(re.findall(r"^v\d+ ", long().text(80, rows=None), re.MULTILINE)) == 500
    assert "… 499 rows left out (rows 2 to 500) …" in long().text(80, rows=1)
    assert "left out" not in long(60).text(80)
    assert "… 1 row left out (row 31) …" in long(61).text(80)
    for output in (long().html(), long().markdown(), long().latex()):
        assert "440 rows left out" in output


def test_matrices_have_a_line_for_each_row():
    sheet = Sheet("", ["value"], [[np.eye(2)], [np.arange(8.0)]])
    assert "[[1. 0.]\n [0. 1.]]\n(8,) min 0 max 7" in sheet.text(80)
    assert "[0. 1. 2. 3. 4. 5. 6. 7.]" in sheet.text(80, whole=True)


# ---- HTML

def test_html_is_balanced_and_says_what_the_text_says():
    page = Balance(trace().html())
    for words in ("forward evaluation", "reverse adjoints", "line 2", "0.693", "−1", "4 steps"):
        assert words in page.text
    marks = [a["class"] for tag, a in page.seen if tag == "mark"]
    assert {"new-factor", "already-computed", "accumulates"} <= set(marks)
    spans = [a["colspan"] for tag, a in page.seen if a.get("scope") == "colgroup"]
    assert spans == ["3", "2"]
    assert any(a.get("title") == repr(math.log(2)) for _, a in page.seen)
    assert not any(tag == "script" or any(k.startswith("on") for k in a) for tag, a in page.seen)


def test_groups_fold_in_html():
    details = [a for tag, a in Balance(trace().html()).seen if tag == "details"]
    assert len(details) == 3 and all("open" in a for a in details)
    assert not any("open" in a for tag, a in Balance(trace().html(collapsed=True)).seen
                   if tag == "details")


def test_html_writes_formulas_as_mathematics():
    sheet = Sheet("", [Column("f", kind="math"), Column("x", kind="number")],
                  [[f"v{BAR}3 · cos(x^(a - 1)) + loss", 1e-9]])
    out = sheet._repr_html_()
    assert '<var class="bar">v</var><sub>3</sub> · cos(' in out
    assert "<sup><var>a</var> − 1</sup>" in out
    assert "1.000×10<sup>−9</sup>" in out


@pytest.mark.parametrize("value", [math.nan, math.inf, np.array([1.0, math.nan])])
def test_what_is_not_finite_is_marked(value):
    sheet = Sheet("", ["value"], [[value]])
    assert sheet.view().lines[0].cells[0].pieces[0].role == BAD
    assert 'class="bad"' in sheet.html()


# ---- CSV and dict

def test_csv_is_whole_and_exact():
    rows = list(csv.DictReader(io.StringIO(long().csv())))
    assert [float(r["value"]) for r in rows] == [k / 7 for k in range(500)]
    assert rows[499]["group"] == "layer 4"
    special = Sheet("", ["x"], [[math.nan], [-math.inf], [-0.0], [np.array([[0.1, math.nan]])]])
    values = [r["x"] for r in csv.DictReader(io.StringIO(special.csv()))]
    assert math.isnan(float(values[0]))
    assert values[1:] == ["-Infinity", "-0.0", '[[0.1, "NaN"]]']


def test_dict_is_json_and_exact():
    sheet = trace()
    assert json.loads(sheet.json()) == sheet.dict()
    assert sheet.dict()["rows"][1]["value"] == math.log(2)
    assert sheet.dict()["rows"][2]["rule"] == f"v{BAR}7 · -1"
    assert sheet.dict()["groups"][1] == {"heading": "line 2", "first": 1, "count": 2}
    assert sheet.dict()["footer"]["adjoint"] == 5.5
    assert len(long().dict()["rows"]) == 500


# ---- LaTeX

def compiled(text, folder):
    """The pages of a LaTeX document as numbers and its log; fails if TeX complains."""
    assert text.isascii()
    (folder / "sheet.tex").write_text(text)
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run([*command, "sheet.tex"], cwd=folder, capture_output=True, check=False,
                          timeout=120)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    pages = re.search(r"Output written on sheet.pdf \((\d+) page", log.replace("\n", ""))
    return int(pages[1]), log


needs_latex = pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")


@needs_latex
def test_latex_compiles_without_packages(tmp_path):
    text = trace().latex(document=True)
    assert "usepackage" not in text
    pages, log = compiled(text, tmp_path)
    assert pages == 1
    assert "Overfull" not in log
    assert compiled(long().latex(document=True, rows=None), tmp_path)[0] > 5


@needs_latex
def test_hostile_latex_compiles(tmp_path):
    assert compiled(hostile().latex(document=True, rows=None), tmp_path)[0] >= 1


@needs_latex
def test_arrays_and_marks_compile(tmp_path):
    sheet = Sheet("arrays", ["a", Column("b", group="g"), Column("c", kind="code", group="g")],
                  [[np.eye(3) * 1e-9, np.array([1.0, math.nan]), Cell(1.0, "x", role=NEW)],
                   [np.arange(30), -math.inf, Cell(None, "y", r"\frac{1}{2}", ALREADY)]])
    compiled(sheet.latex(document=True, whole=True), tmp_path)


@pytest.mark.parametrize("text, latex", [
    ("v3", "v_{3}"), (f"v{BAR}3", r"\bar{v}_{3}"), ("ln(v1)", r"\ln (v_{1})"),
    ("dL/dW1 · x", r"dL/dW_{1} \cdot x"), ("W1 = (4, 3) max 2", r"W_{1} = (4, 3) \max \ 2"),
    ("x^(a - 1)", "x^{a - 1}"), ("σ(x)", r"\sigma(x)"), ("1.5e-09", r"1.5 \times 10^{-9}"),
    ("loss", r"\mathit{loss}"), ("a_b", r"\mathit{a\_b}"), ("x if y", r"x\ \mathit{if}\ y"),
    ("12 + 3.25", "12 + 3.25"), ("\\input{x}", r"\backslash \mathit{input}\{x\}"),
    (f"l{BAR}oss", r"\overline{\mathit{loss}}")])
def test_formulas_become_latex(text, latex):
    assert latex_formula(text).replace(" (", "(") == latex.replace(" (", "(")


def test_names_and_text_become_latex():
    assert latex_name("x1") == "x_{1}"
    assert latex_name("a b") == r"\mbox{a b}"
    assert latex_text("--") == "-{}-{}"
    assert latex_text("中") == r"\mbox{\scriptsize U+4E2D}"
    assert latex_text("é") == r"\'{e}"


# ---- Markdown

def test_markdown_is_a_pipe_table():
    lines = trace().markdown().split("\n")
    assert lines[0] == "**y = ln(x1) + x1·x2 − sin(x2)**"
    assert lines[2] == ("| forward evaluation:<br>step | operation | value | "
                        "reverse adjoints:<br>chain rule | adjoint |")
    assert lines[3] == "| :--- | :--- | ---: | :--- | ---: |"
    assert f"| v5 | sin(v2) | -0.959 | <ins>v{BAR}7</ins> · <b>-1</b> | -1 |" in lines
    assert "| <b>line 2</b> |  |  |  |  |" in lines


def rendered(text):
    """The cells of Markdown's tables as an independent reader renders them."""
    page = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(text)
    return page, re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)


# ---- names that would break an output

def hostile():
    kinds = ("text", "math", "code", "number")
    return Sheet(HOSTILE[0] + HOSTILE[5], [
        Column(k, heading=name, kind=k, group=group) for k, name, group in
        zip(kinds, HOSTILE[1:5], ("", "", *HOSTILE[7:9]), strict=True)],
        [Row([name] * 4, group=name) for name in HOSTILE], notes=HOSTILE, footer=HOSTILE[:4])


def visible(text):
    return not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
                   for c in text.replace("\n", ""))


def test_hostile_names_stay_text_everywhere():
    sheet = hostile()
    for output in (sheet.text(100, rows=None), sheet.text(30, rows=None), sheet.markdown(rows=None),
                   sheet.html(rows=None), sheet.latex(rows=None), sheet.csv(), sheet.json()):
        assert visible(output)
        output.encode()
    page = Balance(sheet.html(rows=None))
    assert {tag for tag, _ in page.seen} <= {
        "div", "style", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "details",
        "summary", "span", "var", "sub", "sup", "p"}
    assert "<script>alert(1)</script>" in page.text
    assert "[red]x[/red]" in sheet.text(100, rows=None)
    assert r"\input{" not in sheet.latex(rows=None)
    values = [r["text"] for r in csv.DictReader(io.StringIO(sheet.csv()))]
    assert values == [clean(name) for name in [*HOSTILE, HOSTILE[0]]]


def test_hostile_names_stay_text_in_markdown():
    sheet = Sheet("", ["a", "b"], [[name, "end"] for name in HOSTILE])
    page, cells = rendered(sheet.markdown())
    assert len(cells) == 2 * len(HOSTILE)
    assert cells[1::2] == ["end"] * len(HOSTILE)
    for name, cell in zip(HOSTILE, cells[::2], strict=True):
        assert html.unescape(cell.replace("<!-- -->", "")) == clean(name).strip()
    assert "<script" not in page and "<em>" not in page and "<img" not in page


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=20), min_size=2, max_size=6), st.sampled_from([20, 40, 80]),
       st.sampled_from(["text", "math", "code"]))
def test_any_text_goes_through_every_output(names, width, kind):
    sheet = Sheet(names[0], [Column("a", names[1], kind=kind, group=names[-1]), "b"],
                  [Row([name, "end"], group=name) for name in names], notes=names)
    text = sheet.text(width)
    assert visible(text) and max(map(cell_len, text.split("\n"))) <= width
    page = Balance(sheet.html())
    assert sum(tag == "td" for tag, _ in page.seen) == 2 * len(names)
    cells = rendered(Sheet("", ["a", "b"], [[name, "end"] for name in names]).markdown())[1]
    assert cells[1::2] == ["end"] * len(names)
    assert sheet.latex().isascii()
    assert [r["a"] for r in csv.DictReader(io.StringIO(sheet.csv()))] == list(map(clean, names))
    assert [r["a"] for r in json.loads(sheet.json())["rows"]] == names


@given(st.text(max_size=30))
def test_tokens_are_the_whole_formula(text):
    parts = "".join(t.text + t.extra for t in tokens(text))
    kept = [c for c in unicodedata.normalize("NFD", text) if c not in "^()e+-0"]
    assert [c for c in parts if c not in "^()e+-0"] == kept


def test_a_long_formula_may_be_broken_into_lines():
    long = " + ".join(f"x{k}" for k in range(12))
    out = Sheet("sums", [Column("a", kind="math")], [["x1 + x2"], [long]]).html()
    assert out.count('<td class="math left long">') == 1
    assert out.index('<td class="math left">') < out.index('<td class="math left long">')
