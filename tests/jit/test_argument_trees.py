"""Lists and dicts among the arguments: the caller's stay as they are, so a change is an error."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import GraphError

X = np.ones(3)
CHANGES = {
    "append": (lambda given: given.append(given[0] * 2.0), [X]),
    "pop": (lambda given: given.pop(), [X, X]),
    "reverse": (lambda given: given.reverse(), [X, 2.0 * X]),
    "assign": (lambda given: given.update(x=given["x"] * 2.0), {"x": X}),
    "new key": (lambda given: given.setdefault("y", given["x"] * 2.0), {"x": X}),
    "None": (lambda given: given.pop("n"), {"n": None, "x": X}),
    "nested": (lambda given: given["a"].append(1.0), {"a": [X], "x": X})}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_would_be_lost_is_an_error(name):
    change, given = CHANGES[name]

    def f(given):
        change(given)
        return X * 2.0
    with pytest.raises(GraphError, match="a list or a dict among its arguments"):
        ad.jit(f)(given)


def test_a_changed_copy_is_no_error():
    f = ad.jit(lambda given: dict(given, x=given["x"] * 2.0, y=given.get("n")))
    given = {"x": X, "n": None}
    for _ in range(3):
        found = f(given)
        np.testing.assert_array_equal(found["x"], 2.0)
        assert found["y"] is None
    assert given.keys() == {"x", "n"}
