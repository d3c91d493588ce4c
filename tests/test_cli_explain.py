"""`adjoint explain`: what it prints for formulas and functions, and how it refuses."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import adjoint as ad
from adjoint import cli

FORMULA = "ln(x1) + x1*x2 - sin(x2)"
AT = ["--at", "x1=2,x2=5"]
MODULE = """\
import numpy as np
print("the module talks")

def loss(w, x, steps: int = 2):
    h = x
    for _ in range(steps):
        h = np.tanh(w * h)
    return np.sum(h)

def y(x1, x2):
    a = np.log(x1)
    return a + x1 * x2 - np.sin(x2)

def pick(x, places: list[int]):
    return np.sum(x[places])

def raising(x):
    raise ValueError("no such thing")

def leaving(x):
    import math
    return math.sin(x)

def constant(x):
    return 3.0

def nested(p):
    return p["w"] * p["b"]

def many(x, n: int):
    for _ in range(n):
        x = x * 1.0001
    return x

def root(x):
    return np.sqrt(x) * 2.0

def named(**values):
    return sum(v * v for v in values.values())

number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module, and nothing of it left in this process afterwards."""
    (tmp_path / "explained.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "explained", raising=False)
    yield tmp_path
    sys.modules.pop("explained", None)


def explain(capsys, *argv):
    assert cli.main(["explain", *argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv, status=2):
    try:
        found = cli.main(["explain", *argv])
    except SystemExit as stop:
        found = stop.code
    text = capsys.readouterr()
    assert found == status, text
    assert not text.out
    assert "Traceback" not in text.err
    return text.err


# ---- formulas

def test_the_traces_and_the_gradient(capsys):
    text = explain(capsys, FORMULA, *AT)
    for found in ("v3    ln(x1)     ln(x1)", "v5    v3 + v4    ln(x1) + x1*x2", "10.693",
                  "x̄2 += v̄4 · x1", "5 + 1 · 0.5", "11.652", "dv7/dx1 = 5.5", "1.71633781454"):
        assert found in text


def test_statements_name_steps(capsys):
    text = explain(capsys, "a = x1*x2; y = a + sin(a)", *AT)
    assert re.search(r"^a +x1 \* x2 +x1\*x2 +10$", text, re.MULTILINE)
    e = json.loads(explain(capsys, "a = x1*x2; y = a + sin(a)", *AT, "--format", "json"))
    assert e["result"]["name"] == "y"
    assert e["gradient"]["x1"] == pytest.approx(5 + 5 * np.cos(10.0), abs=1e-12)


def test_lines_of_a_formula_are_counted_where_it_has_several(capsys):
    text = explain(capsys, "a = x1*x2\ny = a + sin(a)", *AT)
    assert re.search(r"^v4    sin\(a\)\s+2\s+sin\(a\)", text, re.MULTILINE)
    assert "Lines are those of the formula." in text


def test_a_formula_may_begin_with_a_minus(capsys):
    assert "dv3/dx = 6" in explain(capsys, "-x^2", "--at", "x=-3")


def test_a_vector_valued_formula_has_a_jacobian(capsys):
    e = json.loads(explain(capsys, "x^2", "--at", "x=[1,2,3]", "--format", "json"))
    assert e["gradient"]["x"] == np.diag([2.0, 4.0, 6.0]).tolist()


@pytest.mark.parametrize(("option", "found"), [
    (["--forward", "x1"], ["forward mode by x1", "x\u03071", "5.5"]),
    (["--forward", "x1,x2"], ["by x1, x2", "1.716"]),
    (["--paths", "x1"], ["x1 → v4 → v5 → v7", "90.9 %"]),
    (["--paths", "x1,x2"], ["2 paths from x1 to v7", "2 paths from x2 to v7"]),
    (["--chain", "x1"], ["new factor", "already computed", "«x2 = 5»"]),
    (["--why", "x2"], ["x2\n", "dv7/dx2 = 1.716"]),
    (["--why"], ["dv7/dx1 = 5.5.", "dv7/dx2 = 1.716."]),
    (["--steps", "dfs"], ["9 visits of 7 steps"]),
    (["--steps", "topological"], ["7 visits of 7 steps"]),
    (["--latex"], [r"\bar{x}_{1}", "product rule"]),
    (["--dot"], ["digraph"]),
    (["--mermaid"], ["flowchart"])])
def test_each_part_alone_stands_in_place_of_the_traces(capsys, option, found):
    text = explain(capsys, FORMULA, *AT, *option)
    for part in found:
        assert part in text
    assert "values forward, adjoints backward" not in text
    both = explain(capsys, FORMULA, *AT, *option, "--table")
    assert text in both
    assert "values forward, adjoints backward" in both


def test_an_option_without_its_file_does_not_take_the_formula(capsys):
    assert explain(capsys, "--latex", FORMULA, *AT) == explain(capsys, FORMULA, *AT, "--latex")
    assert explain(capsys, "--why", "x^2", "--at", "x=3").startswith("x\n")


def test_digits_and_names(capsys):
    assert "0.283662185" in explain(capsys, FORMULA, *AT, "--digits", "9")
    text = explain(capsys, "a = x1*x2; y = a^2", *AT, "--names", "v")
    assert "dv4/dv1 = 100" in text


def test_pictures_and_documents_are_written(capsys, tmp_path):
    svg, png, tex, dot, mermaid = (str(tmp_path / f"graph.{e}")
                                   for e in ("svg", "png", "tex", "dot", "mmd"))
    text = explain(capsys, FORMULA, *AT, "--svg", svg, "--png", png, "--latex", tex, "--dot", dot,
                   "--mermaid", mermaid)
    assert [line.removeprefix("written: ") for line in text.splitlines()] == [
        tex, dot, mermaid, svg, png]
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "graph.tex").read_text().startswith("\\documentclass")
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")
    assert "flowchart" in (tmp_path / "graph.mmd").read_text()


# ---- formats

def test_csv_and_json_are_exact(capsys):
    rows = list(csv.DictReader(io.StringIO(explain(capsys, FORMULA, *AT, "--format", "csv"))))
    assert float(rows[7]["adjoint"]) == pytest.approx(2 - np.cos(5.0), abs=1e-15)
    e = json.loads(explain(capsys, FORMULA, *AT, "--format", "json", "--paths", "x1", "--latex"))
    assert e["inputs"] == {"x1": 2.0, "x2": 5.0}
    assert e["gradient"]["x2"] == pytest.approx(2 - np.cos(5.0), abs=1e-15)
    assert e["paths x1"]["rows"][0]["product"] == 5.0
    assert e["latex"].startswith("\\noindent")


class Reader(HTMLParser):
    """Counts tags, and gathers the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(("form", "found"), [
    ("markdown", "| dv7/dx1 | 5.5 |"), ("latex", r"\begin{tabular}"), ("html", "<table")])
def test_formats_for_documents(capsys, form, found):
    text = explain(capsys, FORMULA, *AT, "--format", form)
    assert found in text
    assert "1.716" in text


def test_names_are_escaped_in_every_format(capsys, folder):
    names = ["<script>alert(1)</script>", r"$x_{%}\end{document}", "a|b`*_", "\x1b[31mred\nline"]
    (folder / "names.json").write_text(json.dumps(dict.fromkeys(names, 2.0)))
    argv = ["explained:named", "--args", "names.json"]
    text = explain(capsys, *argv, "--table", "--why", "--paths", names[0])
    assert "\x1b" not in text
    assert r"\x1b[31mred\nline" in text
    page = Reader(explain(capsys, *argv, "--format", "html", "--table", "--why", "--latex",
                          "--mermaid", "--dot"))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    code = explain(capsys, *argv, "--format", "latex", "--table", "--why")
    assert "\\end{document}" not in code
    assert "\\textbackslash{}end\\{document\\}" in code
    for line in explain(capsys, *argv, "--format", "markdown").splitlines():
        assert "a|b" not in line
        assert "<script" not in line
    assert json.loads(explain(capsys, *argv, "--format", "json"))["gradient"][names[3]] == 4.0
    cli.main(["explain", *argv, "--svg", "names.svg"])
    assert not [x for x in ET.parse("names.svg").iter() if x.tag.endswith("script")]


# ---- what is not finite

@pytest.mark.parametrize(("formula", "at", "found"), [
    ("ln(x) + 1", "x=-1", ["v2 = ln(x) is nan", "NaN made by `log`: ln((-1.0)) = nan",
                           "a logarithm of 0 or less"]),
    ("sqrt(x)", "x=0", ["x̄ is inf, by v2 = sqrt(x)", "derivative of `sqrt`, backward",
                        "dv2/dx = inf"]),
    ("x/y", "x=1,y=0", ["v3 = x / y is inf", "infinity made by `divide`"])])
def test_the_table_shows_a_domain_error_and_the_doctor_names_it(capsys, formula, at, found):
    text = " ".join(explain(capsys, formula, "--at", at).split())
    for part in found:
        assert part in text
    notes = json.loads(explain(capsys, formula, "--at", at, "--format", "json"))["notes"]
    assert any("doctor" in n for n in notes)


def test_the_doctor_names_the_line_of_a_function(capsys, folder):
    text = " ".join(explain(capsys, "explained:root", "--at", "x=0").split())
    line = MODULE.splitlines().index("    return np.sqrt(x) * 2.0") + 1
    assert f"backward (explained.py, line {line})" in text


# ---- functions

def test_a_function_of_a_module_and_of_a_file(capsys, folder):
    (folder / "point.json").write_text('{"x1": 2, "x2": 5}')
    (folder / "list.json").write_text("[2, 5]")
    for target in ("explained:y", "explained.py:y", str(folder / "explained.py") + ":y"):
        for point in ("point.json", "list.json"):
            text = explain(capsys, target, "--args", point)
            assert "dv7/dx2 = 1.71633781454" in text
            assert re.search(r"^a +ln\(x1\) +11 ", text, re.MULTILINE)
            assert "the module talks" not in text
    assert "dv7/dx1 = 5.5" in explain(capsys, "explained:y", *AT)


def test_arguments_become_floats_arrays_or_stay_whole(capsys, folder):
    (folder / "a.json").write_text('{"w": [[1, 2], [3, 4]], "x": 2, "steps": 3}')
    e = json.loads(explain(capsys, "explained:loss", "--args", "a.json", "--format", "json"))
    assert e["inputs"] == {"w": [[1.0, 2.0], [3.0, 4.0]], "x": 2.0}
    assert e["operations"] == 7
    (folder / "b.json").write_text("[[1.5, 2.5, 3.5], [0, 2]]")
    e = json.loads(explain(capsys, "explained:pick", "--args", "b.json", "--format", "json"))
    assert e["gradient"] == {"x": [1.0, 0.0, 1.0]}
    (folder / "c.json").write_text('[{"w": 2, "b": 3}]')
    e = json.loads(explain(capsys, "explained:nested", "--args", "c.json", "--format", "json"))
    assert e["gradient"] == {"p['w']": 3.0, "p['b']": 2.0}


def test_arguments_from_the_standard_input_and_for_a_formula(capsys, folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"x1": 2, "x2": 5}'))
    assert "dv7/dx1 = 5.5" in explain(capsys, FORMULA, "--args", "-")


def test_a_long_program_is_summarised_with_counts(capsys, folder):
    (folder / "n.json").write_text('{"x": 0.5, "n": 20000}')
    text = explain(capsys, "explained:many", "--args", "n.json")
    assert len(text.splitlines()) < 200
    assert "note: 20,000 operations" in text
    assert "rows left out" in text


# ---- refusals

@pytest.mark.parametrize(("argv", "words"), [
    ([], ["explain what?", "--at x1=2,x2=5"]),
    (["ln(x1", "--at", "x1=2"], ["never closed", "\n  ln(x1\n    ^"]),
    (["lnn(x1)", "--at", "x1=2"], ["no function lnn", "did you mean", "\n  ^^^"]),
    (["2+3"], ["'2+3' has no variables"]),
    (["x", "--at", "x=1", "--paths", ","], ["--paths needs a name"]),
    (["x1*x2", "--at", "x1=2"], ["x2 has no value", "type --at x1=2,x2=1", "\n     ^^"]),
    (["x1", "--at", "x1=2,x2=3"], ["given for x2", "no variable of the formula"]),
    (["x1", "--at", "x1=two"], ["two is no number", "\n  x1=two\n     ^^^"]),
    (["x*y", "--at", "x=1", "y=2"], ["'y=2' is one argument too many", "commas and no blanks"]),
    (["x", "--at", "x=1", "--lates"], ["there is no option '--lates'; did you mean --latex?"]),
    (["x", "--at", "x=1", "-o", "f.svg"], ["there is no option '-o'"]),
    (["x", "--at", "x=1", "--format", "jason"], ["did you mean json?"]),
    (["x", "--at", "x=1", "--steps", "bfs"], ["did you mean dfs?"]),
    (["x*x", "--at", "x=1", "--paths", "y"], ["no step named 'y'"]),
    (["x*x", "--at", "x=1", "--digits", "99"], ["17 significant digits"]),
    (["x*x", "--at", "x=1", "--digits", "0"], ["integer of at least 1"]),
    (["x*x", "--at", "x=1", "--format", "csv", "--latex"], ["no part of --format csv"]),
    (["x*x", "--at", "x=1", "--args", "a.json"], ["write one of them"]),
    (["x*x", "--at", "x=1", "--svg", "a.bmp"], ["--svg ends in .svg, not 'a.bmp'; write a.svg"]),
    (["x*x", "--at", "x=1", "--svg", "nowhere/a.svg"], ["nowhere, which does not exist"]),
    (["x*x", "--at", "x=1", "--latex", "nowhere/a.tex"], ["nowhere, which does not exist"]),
    (["x*x", "--at", "x=1", "--dot", ""], ["it is a folder"])])
def test_what_is_mistyped_is_refused_with_advice(capsys, folder, argv, words):
    text = refused(capsys, *argv)
    for word in words:
        assert word in text


@pytest.mark.parametrize(("target", "words", "status"), [
    ("explaned:y", ["no module 'explaned'; did you mean explained?"], 2),
    ("nothing_like_it:f", ["no nothing_like_it.py in", "path/to/file.py:function"], 2),
    ("numpy.nothing:f", ["no module 'numpy.nothing'"], 2),
    ("explainde.py:y", ["no file explainde.py", "did you mean explained.py?"], 2),
    ("explained:los", ["no function 'los'; did you mean loss?"], 2),
    ("explained:zzz", ["it has loss, y, pick"], 2),
    ("explained:number", ["is no function: it is int"], 2),
    ("explained:", ["has a colon"], 2),
    ("explained:loss", ["missing a required argument: 'w'", '{"w": 1.0, "x": 1.0}', "--args"], 2),
    ("broken:f", ["No module named 'nothere'", "line 1: import nothere"], 1),
    ("syntax.py:f", ["invalid syntax", "line 1: def f(:"], 1),
    ("exits:f", ["SystemExit: 3"], 1)])
def test_a_function_that_is_not_there_is_refused(capsys, folder, target, words, status):
    (folder / "broken.py").write_text("import nothere\n")
    (folder / "syntax.py").write_text("def f(:\n")
    (folder / "exits.py").write_text("import sys\nsys.exit(3)\n")
    text = refused(capsys, target, status=status)
    for word in words:
        assert word in text


@pytest.mark.parametrize(("name", "words", "status"), [
    ("raising", ["raised ValueError: no such thing", "line 18: raise ValueError"], 1),
    ("leaving", ["ad.sin(x) for math.sin(x)", "line 22: return math.sin(x)"], 1),
    ("constant", ["does not depend on its arguments"], 1)])
def test_a_function_that_fails_names_its_line(capsys, folder, name, words, status):
    text = refused(capsys, f"explained:{name}", "--at", "x=2", status=status)
    for word in words:
        assert word in text


@pytest.mark.parametrize(("text", "words"), [
    ('{"w": 1,\n "x" 2}', ["bad.json, line 2, column 6", '\n   "x" 2}\n       ^']),
    ("[1, 2", ["line 1, column 6", "\n  [1, 2\n       ^"]),
    ("", ["the file is empty"]),
    ("3", ["holds 3", "a list of them in order"]),
    ('{"v": 1, "x": 2}', ["missing a required argument: 'w'"]),
    ('{"w": 1, "xx": 2}', ["did you mean x for xx?"]),
    ("[1, 2, 3, 4]", ["too many positional arguments"]),
    ("[[[1, 2], [3]], 2]", ["w: the rows of an array have one length", "[[1, 2], [3]]"]),
    ("1" * 5000, ["thousands of digits"]),
    ("[1" + "0" * 400 + ", 2]", ["w: a whole number of more than 308 digits"]),
    ("[" * 100_000, ["nested too deeply"])])
def test_a_file_of_arguments_that_does_not_fit(capsys, folder, text, words):
    (folder / "bad.json").write_text(text)
    found = refused(capsys, "explained:loss", "--args", "bad.json")
    for word in words:
        assert word in found


def test_a_file_that_is_not_there_and_one_that_is_no_text(capsys, folder):
    assert "bad.json" in refused(capsys, "explained:loss", "--args", "bad.json", status=1)
    (folder / "bad.json").write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in refused(capsys, "explained:loss", "--args", "bad.json")


# ---- as a process

def run(*argv, **environment):
    return subprocess.run([sys.executable, "-m", "adjoint", "explain", *argv], capture_output=True,
                          check=False, timeout=120, env={**os.environ, **environment})


def test_help_says_that_a_module_is_run():
    text = " ".join(run("--help", COLUMNS="80").stdout.decode().split())
    assert "it RUNS that module" in text
    assert "never run as Python" in text


def test_eighty_columns_no_colour_and_an_old_terminal():
    done = run(FORMULA, *AT, COLUMNS="80", NO_COLOR="1", PYTHONIOENCODING="utf-8")
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 90  # bars above letters take no column of their own
    assert b"\x1b[" not in done.stdout
    done = run(FORMULA, *AT, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"dv7/dx1 = 5.5" in done.stdout


def test_a_closed_pipe_brings_no_traceback():
    command = f'"{sys.executable}" -m adjoint explain "x^2" --at x=2 --format html | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False,
                          timeout=120)
    assert done.stdout == "<!doctype html>\n"
    assert not done.stderr


def test_explain_takes_a_formula_itself():
    from adjoint.show.formula import parse
    e = ad.explain(parse("a = x1*x2; b = a; y = sin(b)"), 2.0, x2=5)
    assert e.names == ["x1", "x2", "a", "y"]
    assert e.record.title == "a = x1*x2; b = a; y = sin(b)"
    assert [s.place.text for s in e.record.operations] == ["x1*x2", "sin(b)"]
    assert e.adjoint("x1") == pytest.approx(5 * np.cos(10.0), abs=1e-12)
