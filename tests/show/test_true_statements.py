"""What `ad.explain` prints is true: of hooks, complex numbers, Jacobians, names, and bad settings.

Every number is compared with one that is computed without the library's rules: by hand, by NumPy,
or by differences.
"""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, DTypeError, ShapeError


def square(x):
    return x * x


# ---- settings that cannot be

@pytest.mark.parametrize("rows", [-1, 0, 1.5, True, "all"])
def test_a_count_of_rows_that_is_none_is_refused_at_the_call(rows):
    e = ad.explain(square, 2.0)
    for call in (e.table, e.forward):
        with pytest.raises(ArgumentError, match="write how many rows"):
            call(rows=rows)


@pytest.mark.parametrize("whole", ["yes", 2])
def test_whole_is_true_or_false(whole):
    e = ad.explain(square, 2.0)
    for call in (e.table, e.forward):
        with pytest.raises(ArgumentError, match="whole=True"):
            call(whole=whole)


@pytest.mark.parametrize("depth", [-1, 0.5, "a", True])
def test_layers_are_collapsed_at_a_depth(depth):
    with pytest.raises(ArgumentError, match="collapse"):
        ad.explain(square, 2.0).graph(collapse=depth)


@pytest.mark.parametrize("limit", [-1, 0, "a", True])
def test_a_limit_is_a_count(limit):
    e = ad.explain(square, 2.0)
    for call in (e.steps, e.chain().sheet, e.influence().sheet):
        with pytest.raises(ArgumentError, match="limit"):
            call(limit=limit)


def test_a_cotangent_is_looked_at_when_it_is_given():
    x = np.array([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        ad.explain(square, x, cotangent=np.ones(2))
    for wrong in ("a", [None, 1.0, 2.0], 1j * np.ones(3)):
        with pytest.raises(DTypeError, match="cotangent"):
            ad.explain(square, x, cotangent=wrong)
    given = ad.explain(square, x, cotangent=ad.Tensor([1.0, 0.0, 2.0]))
    assert given.adjoint("x").tolist() == [2.0, 0.0, 12.0]


# ---- what the caller set

def test_the_errstate_of_the_caller_holds():
    def f(x):
        return np.log(x) + x
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        ad.explain(f, -1.0)
    seen = []
    with np.errstate(invalid="call", call=lambda kind, _: seen.append(kind)):
        ad.explain(f, -1.0)
    assert seen == ["invalid value"]


@pytest.mark.filterwarnings("error")
def test_nothing_is_warned_of_where_the_caller_set_nothing():
    assert np.isnan(ad.explain(lambda x: np.log(x) + x, -1.0).value())
