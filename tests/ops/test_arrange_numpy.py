"""Arranging functions on arrays of every kind: NumPy's value, shape and dtype, or both refuse.

What ours refuses and NumPy takes is listed, with the reason.
"""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import AdjointError

RNG = np.random.default_rng(0)
M = RNG.normal(size=(2, 3))
ARRAYS = {
    "vector": RNG.normal(size=5), "matrix": M, "cube": RNG.normal(size=(2, 3, 4)),
    "integers": np.arange(6).reshape(2, 3), "0-d": np.array(1.5), "booleans": M > 0,
    "complex": M + 1j, "float32": M.astype(np.float32), "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)), "turned": M.T[::-1]}
CALLS = {
    "split": [(2,), (3, -1), ([1],), ([1, -1],), (np.int64(1),), ((0, 1),), ([5, 2],), (1, 1)],
    "array_split": [(2,), (4, -1), ([1, -1],), (7,)], "hsplit": [(1,), (3,), ([1],)],
    "vsplit": [(2,), ([1],)], "dsplit": [(2,)], "unstack": [()],
    "atleast_1d": [()], "atleast_2d": [()], "atleast_3d": [()],
    "roll": [(1,), (-7,), (1, -1), ((1, 2),), ((1, 2), (0, -1)), (np.array([1, 2]), 0)],
    "fliplr": [()], "flipud": [()],
    "rot90": [(-1,), (0,), (1,), (2,), (3,), (1, (1, 0)), (3, (-1, 0))],
    "rollaxis": [(1,), (-1,), (0, 2), (0, -1)], "matrix_transpose": [()],
    "repeat": [(2,), (2, 0), ([2], -1), ([1, 0, 2], 1), (0,), (np.array([1, 2]), 0)],
    "tile": [(2,), ((2, 1),), ((1, 2, 1),), ((),), (np.array([2, 1]),), (0,)],
    "diag": [(), (1,), (-1,), (7,)], "diagflat": [(), (1,)],
    "diagonal": [(), (1,), (-1, 0, 1), (0, 1, 0), (0, -1, 0), (9,)],
    "tril": [(), (1,), (-1,)], "triu": [(), (1,), (9,)],
    "take": [([0, 1],), (0,), (-1, -1), ([[0, 1], [1, 0]], 0), ([],), (np.uint8(1),)],
    "take_along_axis": [(np.array([[0, 1, 1]]), 0), (np.array([[0], [1]]), 1),
                        (np.array([0, 1]), None), (np.array([[0], [-1]]), -1)],
    "delete": [(0,), ([0, 1],), (slice(0, 2), 0), (-1, -1), (np.zeros(0, int),),
               ([True, False], 0), (slice(None, None, -1),)],
    "insert": [(1, 5.0), (0, 5, 0), ([0, 1], [7.0, 8.0]), (1, [1.0, 2.0], 1), ([1], [1.0, 2.0]),
               (slice(0, 2), 1.5), (0, [[1.0, 2, 3]], 0), ([0, 0], [[1.0, 2, 3], [4, 5, 6]], 0),
               (np.array(1), 9), ([], []), ([0, 2], 1, -1)],
    "append": [(3.0,), ([1, 2],), (np.array([[1, 2, 3]]), 0), (np.array([[1.0], [2]]), -1)],
    "vander": [(), (2,), (2, True), (0,)],
    "polyval": [(2.0,), (np.array([[1.0, 2]]),)],
}
PAIRS = ("kron", "vdot", "append", "broadcast_arrays", "linspace", "outer", "inner")
LISTS = ("hstack", "vstack", "dstack", "column_stack", "block")
STRICTER = {("polyval", "no rows"): "no coefficient at all"}


def outcome(f, *args):
    try:
        y = f(*args)
    except (ValueError, TypeError, IndexError, AdjointError) as e:
        return e
    ys = y if isinstance(y, (list, tuple)) else [y]
    return [v.detach().numpy() if isinstance(v, ad.Tensor) else np.asarray(v) for v in ys]


def compare(f, args, ours):
    expected, got = outcome(f, *args), outcome(f, *ours)
    if isinstance(expected, Exception):
        assert isinstance(got, (AdjointError, TypeError)), got
        return
    assert not isinstance(got, Exception), got
    for g, e in zip(got, expected, strict=True):
        assert (g.shape, g.dtype) == (e.shape, e.dtype)
        single = e.dtype in (np.float32, np.complex64)
        np.testing.assert_allclose(g, e, rtol=1e-6 if single else 1e-13,
                                   atol=1e-7 if single else 1e-14)


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", CALLS)
def test_one_array(name, kind):
    if (name, kind) in STRICTER:
        with pytest.raises(AdjointError):
            getattr(np, name)(ad.tensor(ARRAYS[kind]), *CALLS[name][0])
        return
    for rest in CALLS[name]:
        x = ARRAYS[kind]
        compare(getattr(np, name), (x, *rest), (ad.tensor(x), *rest))


@pytest.mark.parametrize("first", ARRAYS)
@pytest.mark.parametrize("name", PAIRS + LISTS)
def test_two_arrays(name, first):
    f, x = getattr(np, name), ARRAYS[first]
    for z in ARRAYS.values():
        if name in LISTS:
            compare(f, ([x, z],), ([ad.tensor(x), z],))
        else:
            compare(f, (x, z), (ad.tensor(x), z))
