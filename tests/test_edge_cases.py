"""EDGE_CASES.md, row by row: one answer for every spelling, in every mode, to second order.

The entries stand in tests/edge; `python tests/edge` measures them all and writes the page.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad

sys.path.insert(0, str(Path(__file__).parent))

from edge import case, page, system

inf, nan = np.inf, np.nan
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
BY_NAME = {c.name: c for c in page.CASES}
WITH_SECOND = [c.name for c in page.CASES if c.second is not None]


def test_names_are_unique():
    names = [e.name for e in (*page.CASES, *page.REFUSALS, *page.PROGRAMS)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", BY_NAME)
def test_first_derivatives(name):
    found = page.wrong(BY_NAME[name])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", WITH_SECOND)
def test_second_derivatives(name):
    found = page.wrong_second(BY_NAME[name])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("mode", case.ASKED)
@pytest.mark.parametrize("refusal", page.REFUSALS, ids=lambda r: r.name)
def test_derivatives_that_do_not_exist(refusal, mode):
    for line in refusal.lines:
        with pytest.raises(getattr(ad.errors, refusal.error), match=refusal.says):
            refusal.ask(line, mode)


@pytest.mark.parametrize("program", [p for p in page.PROGRAMS if p.code], ids=lambda p: p.name)
def test_programs(program):
    found = system.shown(program.code)
    assert program.says in found
    assert found.startswith(program.shows) if program.raises else found == program.shows


def test_the_tests_that_rows_name_exist():
    named = {line for p in page.PROGRAMS for line in p.tests.splitlines()}
    assert len(named) > 10
    for line in named:
        file, _, name = line.partition("::")
        tree = ast.parse((page.ROOT / file).read_text())
        assert name in {f.name for f in tree.body if isinstance(f, ast.FunctionDef)}, line


def test_every_program_shows_something_or_names_a_test():
    assert all((p.code and p.shows) or p.tests for p in page.PROGRAMS)


# ---- what keeps the page, and what keeps the catalogue honest

def test_the_page_is_current():
    assert page.TARGET.read_text() == page.render(), "python tests/edge writes it"


def test_modes_left_out_have_a_note():
    for c in page.CASES:
        assert set(c.without) <= set(case.MODES), c.name
        assert len(c.modes) > 1


@pytest.mark.parametrize("name", BY_NAME)
def test_every_entry_can_fail(name):
    """Another answer in any one place is found, in any mode."""
    c = BY_NAME[name]
    for k in range(c.answer.size):
        other = c.answer.copy()
        other[k] = 1.0 if not np.isfinite(other[k]) else other[k] + 0.25
        for mode in c.modes:
            assert not case.agree(case.measure(c, c.lines[0], mode), other, 1e-5), mode


def test_a_rule_that_is_wrong_is_found(monkeypatch):
    """The ties of maximum given to the first operand, in one spelling alone."""
    def first_wins(x, z):
        return ad.where(x >= z, x, z)
    monkeypatch.setitem(case.NAMES, "first_wins", first_wins)
    c = BY_NAME["maximum of two equal tensors: both share"]
    spelled = case.Case(c.name, c.spellings + "\nfirst_wins(x, y)", c.at, c.gradient)
    found = page.wrong(spelled)
    assert len(found) == len(c.modes)
    assert all("first_wins" in f for f in found)


def test_the_points_are_those_of_the_catalogue():
    """A batch of the special point and a regular one is no batch of one."""
    for c in page.CASES:
        if "vmap of grad" in c.modes:
            for x, xs in zip(c.points, case.many(c.points), strict=True):
                assert np.array_equal(xs[0], xs[2], equal_nan=True)
                assert xs.shape == (3, *np.shape(x))


# ---- 0 * inf (DESIGN 6): the table of programs is tests/core/test_careful.py

def test_zero_downstream_cancels_an_infinite_partial():
    assert ad.grad(lambda x: 0.0 * np.sqrt(x))(0.0) == 0.0
    _, pull = ad.vjp(np.sqrt, np.zeros(2))
    np.testing.assert_array_equal(pull(np.array([0.0, 1.0]))[0], [0.0, inf])


def test_zero_upstream_stays_nan():
    assert np.isnan(ad.grad(lambda x: np.sqrt(x * 0.0))(1.0))
    assert np.isnan(ad.jvp(lambda x: np.sqrt(x * 0.0), (1.0,), (1.0,))[1])


def test_zero_partial_cancels_an_infinite_tangent():
    """Forward mode: the tangent inf of sqrt at 0 meets the partial 0 of a square."""
    assert ad.jvp(lambda x: ad.annihilate(0.0, np.sqrt(x)), (0.0,), (1.0,))[1] == 0.0


def test_norm_at_zero_is_nan_when_all_of_x_moves():
    """sqrt(sum(x**2)) at 0 is inf times 0, with the 0 upstream."""
    def norm(x):
        return np.sqrt((x ** 2).sum())
    x = np.zeros(3)
    assert np.isnan(ad.grad(norm)(x)).all()
    assert np.isnan(ad.jvp(norm, (x,), (np.ones(3),))[1])


@pytest.mark.parametrize("first, second, expected", [
    (0.0, inf, 0.0), (0.0, nan, 0.0), (inf, 0.0, nan), (nan, 0.0, nan), (2.0, 3.0, 6.0),
    (1.0, inf, inf)])
def test_annihilate_has_the_downstream_factor_first(first, second, expected):
    np.testing.assert_array_equal(ad.annihilate(first, second), expected)
    np.testing.assert_array_equal(ad.annihilate(np.array([first]), np.array([second])), [expected])


def test_hessian_at_a_perfect_fit():
    """Masking on the cotangent alone would give 0 here."""
    target = np.array([1.0, 2.0, 3.0])
    for link, slope in ((np.sqrt, lambda y: 0.5 / y), (np.log, lambda y: np.exp(-y))):
        x = target ** 2 if link is np.sqrt else np.exp(target)
        h = ad.hessian(lambda x, link=link: ((link(x) - target) ** 2).sum())(x)
        np.testing.assert_allclose(h, np.diag(2.0 * slope(target) ** 2), rtol=1e-12, atol=1e-15)


# ---- linear algebra: what forward mode cannot answer

@pytest.mark.parametrize("name", [c.name for c in page.matrices.DEGENERATE if c.without])
def test_a_direction_that_splits_equal_values_is_an_error(name):
    c = BY_NAME[name]
    x, dx = c.points[0], np.zeros((3, 3))
    dx[0, 1] = 1.0
    for line in c.lines:
        with pytest.raises(ad.errors.MatrixError, match="splits"):
            ad.jvp(case.function(line, 1), (x,), (dx,))


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_ignores_a_triangle(upper):
    g = ad.grad(lambda x: np.linalg.cholesky(x, upper=upper).sum())(np.array([[2.0, 1], [1, 3]]))
    assert g[(1, 0) if upper else (0, 1)] == 0 != g[(0, 1) if upper else (1, 0)]
