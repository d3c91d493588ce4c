"""The pages of the site that compute: they run, follow their inputs, and agree with golden.json.

One page: `.venv/bin/python -m pytest tests/docs -k b05`; what a page must have is said in
docs/examples/README.md.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "machinery"))

import pages

GOLDEN = json.loads((ROOT / "tests" / "data" / "golden.json").read_text())
FILES = pages.computing(DOCS)
PAGES = {path.stem: pages.read(path) for path in FILES}
EXAMPLES = {name: page for name, page in PAGES.items() if page.path.parent.name == "examples"}
CHANGING = {name: page for name, page in PAGES.items() if page.front.get("change")}
# The others are executed once, by `go.py docs`; to do it here too would only take longer.
RUNNING = {name: page for name, page in PAGES.items()
           if page.front.get("change") or page.front.get("golden")}
# What WORKED_EXAMPLES names in brackets.
NUMBERS = {"b01": {"baydin"}, "b02": {"neg_log_sigmoid"}, "b03": {"quartic", "x2logx2"},
           "b04": {"made_up_product", "made_up_exponent"}, "b05": {"total_derivative"},
           "b07": {"tanh_layer", "recitation_tanh"}, "b08": {"broadcast_sum"},
           "b09": {"scanning_mlp"}, "b10": {"toy_relu", "toy_sin", "matrix_relu"},
           "b11": {"linear_regression", "mse_linear"}, "b12": {"cross_entropy", "binary_nll"}}
WHOLE = {"b07", "b09", "b14", "training_step"}  # explained in every way there is
RUNS = {}


def original(page):
    """What the page shows with its own inputs; run once for all tests."""
    if page.path not in RUNS:
        RUNS[page.path] = page.run()
    return RUNS[page.path]


def exact(key):
    """The value of golden.json at a dotted key, in both of its forms."""
    node = GOLDEN
    for word in key.split("."):
        assert word in node, f"golden.json has no {key!r}: {word!r} is not among {list(node)}"
        node = node[word]
    assert isinstance(node, dict) and "f64" in node, f"{key!r} is no number but {list(node)}"
    return [np.array(node[form], dtype=float) for form in ("f64", "mp")]


def test_no_two_pages_have_the_same_name():
    assert len(PAGES) == len(FILES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_asks_and_what_it_is_checked_against(name):
    page = EXAMPLES[name]
    assert str(page.front.get("question", "")).strip().endswith("?")
    assert isinstance(page.front.get("golden"), list), "golden: a list of keys, perhaps []"
    assert page.front.get("change"), "change: {an input: its other value}"
    assert set(page.front["golden"]) >= NUMBERS.get(name, set())


@pytest.mark.parametrize("name", sorted(WHOLE & EXAMPLES.keys()))
def test_the_main_examples_go_through_every_kind_of_explanation(name):
    source = "\n".join(cell.source for cell in EXAMPLES[name].cells)
    assert [kind for kind in ("paths", "latex", "graph", "why") if f".{kind}(" not in source] == []


@pytest.mark.parametrize("name", CHANGING)
def test_the_first_cell_assigns_the_inputs(name):
    page = CHANGING[name]
    assert page.tagged("inputs") == page.cells[:1]


@pytest.mark.parametrize("name", PAGES)
def test_no_number_in_the_prose_is_typed_by_hand(name):
    assert PAGES[name].typed_numbers() == []


@pytest.mark.parametrize("name", PAGES)
def test_a_notebook_is_kept_without_its_outputs(name):
    if PAGES[name].path.suffix == ".ipynb":
        book = json.loads(PAGES[name].path.read_text())
        assert not [cell for cell in book["cells"] if cell.get("outputs")]
    else:
        assert "```{code-cell}" in PAGES[name].path.read_text()


@pytest.mark.parametrize("name", PAGES)
def test_what_is_excused_has_a_reason(name):
    page = PAGES[name]
    for cell in [*page.tagged("fixed"), *page.tagged("measured")]:
        assert pages.REASON.search(cell.source), f"line {cell.line}: write `# fixed: why`"
    said = {m.group(2).strip() for part in page.parts if isinstance(part, str)
            for m in pages.EVALUATED.finditer(part)}
    for expression, reason in page.front.get("fixed", {}).items():
        assert expression in said, f"fixed: no {{eval}}`{expression}` stands on the page"
        assert str(reason).strip()


@pytest.mark.parametrize("name", RUNNING)
def test_the_page_runs_and_shows_something(name):
    shown, _ = original(PAGES[name])
    assert shown


@pytest.mark.parametrize("name", CHANGING)
def test_the_same_inputs_show_the_same(name):
    """Else the next test would find changes that the inputs did not make."""
    page = CHANGING[name]
    first, again = original(page)[0], page.run()[0]
    assert [s.place for s in again] == [s.place for s in first]
    for one, other in zip(first, again, strict=True):
        if one.cell is None or "measured" not in one.cell.tags:
            assert other.text == one.text, f"{one.place} differs from run to run"


@pytest.mark.parametrize("name", CHANGING)
def test_all_that_is_shown_follows_the_inputs(name):
    page = CHANGING[name]
    other, names = page.run(page.front["change"])
    fixed = page.front.get("fixed", {})
    places = {(s.place, s.text) for s in other}
    still = [f"{s.place}: {s.text[:80]}" for s in original(page)[0]
             if (s.place, s.text) in places and not s.excused(fixed)]
    assert still == []
    before = original(page)[1].get("golden", {})
    for key in page.front.get("golden", ()):
        assert any(np.any(np.not_equal(names["golden"][k], v)) for k, v in before.items()
                   if k.split(".")[0] == key), f"no number of {key} follows the inputs"


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.front.get("golden")])
def test_the_numbers_are_the_golden_ones(name):
    page = PAGES[name]
    assert len(page.tagged("golden")) == 1, "one cell tagged `golden` assigns the dict `golden`"
    numbers = original(page)[1]["golden"]
    assert {key.split(".")[0] for key in numbers} == set(page.front["golden"])
    for key, got in numbers.items():
        for expected in exact(key):
            got = np.asarray(got, dtype=float)
            assert got.shape == expected.shape, f"{key}: shape {got.shape}, not {expected.shape}"
            # As in tests/test_golden.py: log(exp(a) + exp(b)) - a cancels six digits.
            room = 1e-12 * np.abs(expected).max() if key.startswith("cross_entropy") else 0
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=room, err_msg=key)
