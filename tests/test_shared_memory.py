"""Whose memory a result shares: what NumPy has as the same array is one, and no write is lost.

For each function of arrays NumPy is asked what it gives: a copy, a view, or the array itself. Here
a copy is another value, which can be written to; the array itself is the same object; a write into
what NumPy has as a view is refused, in every mode.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import Box
from adjoint.errors import AdjointError, MutationError

sys.path.insert(0, str(Path(__file__).parent / "exits"))
import catalogue
import survey

pytestmark = pytest.mark.filterwarnings("ignore")
V, A = np.array([0.4, -0.8, 1.3]), np.arange(1.0, 7.0).reshape(2, 3)
S = np.outer(V, V) + np.eye(3)


LOST = {("same", "copy"), ("same", "view"), ("copy", "same"), ("view", "copy")}  # NumPy's, ours


def parts(y):
    return [p for q in y for p in parts(q)] if isinstance(y, (tuple, list)) else [y]


def repeats(y):
    return any(n > 1 and not step for n, step in zip(y.shape, y.strides, strict=True))


def numpys(f, x):
    """For each part of NumPy's result: "copy", "view" or "same"; "" for views nobody can write."""
    given = x.copy()
    return ["copy" if not isinstance(y, np.ndarray) or not y.size or not np.may_share_memory(
        y, given) else "same" if y is given else "view" if y.flags.writeable and (
            not repeats(y)) else ""  # NumPy warns of writes to repeated elements
        for y in parts(f(given))]


def written(r):
    """Whether a write into ``r`` is refused because of its memory; None for other errors."""
    try:
        r[...] = r.dtype.type(0)
    except MutationError as e:
        return "view" if "slices are values" in str(e) else None
    except AdjointError:
        return None
    return "copy"


def ours(f, x):
    return [None if not isinstance(r, Box) or r.dtype.kind not in "fc" else
            "same" if r is x else written(r) for r in parts(f(x))]


def watched(f, x):
    with ad.doctor():
        return ad.grad(f)(x)


MODES = {
    "reverse": lambda f, x: ad.grad(f)(x), "forward": lambda f, x: ad.jvp(f, (x,), (x,)),
    "batch": lambda f, x: ad.vmap(f)(np.stack([x, x])), "compiled": lambda f, x: ad.jit(f)(x),
    "branch": lambda f, x: ad.cond(True, f, ad.sum, x), "doctor": watched,
    "tensor": lambda f, x: f(ad.tensor(x)),
}


def seen(f, x, run):
    """What ``f`` gives while a transformation runs; [] for an error."""
    found = []

    def whole(x):
        nonlocal found
        found = ours(f, x * 1.0)
        return ad.sum(x * 1.0)
    try:
        run(whole, x)
    except (AdjointError, ValueError, TypeError, IndexError):
        return []
    return found


def faults(name, f, x, modes):
    """Where a write would be lost, or reach what it should not; and how often it was asked."""
    wanted, wrong, count = numpys(f, x), [], 0
    for mode in modes:
        for w, got in zip(wanted, seen(f, x, MODES[mode]), strict=False):
            if got is not None and w:
                count += 1
                if (w, got) in LOST:
                    wrong.append(f"{name} in {mode}: {got}, NumPy gives {w}")
    return wrong, count


CALLS = {
    "astype": lambda x: x.astype(float), "astype, no copy": lambda x: x.astype(float, copy=False),
    "np.astype, no copy": lambda x: np.astype(x, float, copy=False), "conj": lambda x: x.conj(),
    "conjugate": lambda x: x.conjugate(), "np.conj": np.conj, "real": lambda x: x.real,
    "np.real": np.real, "real of complex": lambda x: np.real(x * (1.0 + 1.0j)),
    "clip": lambda x: np.clip(x, None, None), "squeeze": np.squeeze, "copy": lambda x: x.copy(),
    "x.squeeze": lambda x: x.squeeze(), "positive": lambda x: +x,
    "ravel": lambda x: x.ravel(), "reshape": lambda x: x.reshape(x.shape), "T": lambda x: x.T,
    "x[...]": lambda x: x[...], "x[()]": lambda x: x[()], "x[:]": lambda x: x[:],
    "x[None]": lambda x: x[None], "x[mask]": lambda x: x[x > -9.0], "x[list]": lambda x: x[[0, 1]],
    "rows": list, "x[0]": lambda x: x[0], "x[0, ...]": lambda x: x[0, ...], "flip": np.flip,
    "atleast_1d": np.atleast_1d, "atleast_2d": np.atleast_2d, "atleast_3d": np.atleast_3d,
    "split": lambda x: np.split(x, 1), "array_split": lambda x: np.array_split(x, 2),
    "expand_dims": lambda x: np.expand_dims(x, 0), "rollaxis": lambda x: np.rollaxis(x, 0),
    "roll": lambda x: np.roll(x, 0), "tile": lambda x: np.tile(x, 1), "sort": np.sort,
    "repeat": lambda x: np.repeat(x, 1), "concatenate": lambda x: np.concatenate([x]),
    "pad": lambda x: np.pad(x, 0), "max": lambda x: np.max(x, axis=()), "unstack": np.unstack,
    "sum": lambda x: np.sum(x, axis=()), "meshgrid": lambda x: np.meshgrid(x[0], copy=False),
    "moveaxis": lambda x: np.moveaxis(x, 0, 0), "swapaxes": lambda x: np.swapaxes(x, 0, 0),
    "where": lambda x: np.where(True, x, 0.0), "power": lambda x: x ** 1, "abs": np.abs,
    "take": lambda x: np.take(x, [0, 1], 0), "nan_to_num": np.nan_to_num, "round": np.round,
    "einsum i...": lambda x: np.einsum("i...->...i", x), "einsum": lambda x: np.einsum("...", x)}
OF_MATRICES = {
    "einsum ii->i": lambda x: np.einsum("ii->i", x), "transpose": np.transpose,
    "einsum ij->ji": lambda x: np.einsum("ij->ji", x), "rot90": lambda x: np.rot90(x, 2),
    "einsum ij->i": lambda x: np.einsum("ij->i", x), "mT": lambda x: x.mT,
    "matrix_power": lambda x: np.linalg.matrix_power(x, 1), "triu": lambda x: np.triu(x, -9),
    "matrix_transpose": np.linalg.matrix_transpose, "permute_dims": np.permute_dims,
    "hsplit": lambda x: np.hsplit(x, 3), "rot90, none": lambda x: np.rot90(x, 4)}


@pytest.mark.parametrize("name", [*CALLS, *OF_MATRICES])
def test_memory_is_shared_as_by_numpy(name):
    asked = 0
    for x in (S, A, V) if name in CALLS else (S,):
        try:
            wrong, count = faults(name, (CALLS | OF_MATRICES)[name], x, MODES)
        except (ValueError, IndexError):  # NumPy has no such view of fewer axes
            continue
        assert not wrong, "\n".join(wrong)
        asked += count
    assert asked >= 5


def test_public_functions_share_memory_as_numpys():
    asked, wrong = 0, []
    for name in catalogue.names(np):
        function = getattr(np, name)
        if survey.reason("np", name, function):
            continue
        for call in catalogue.found_calls(f"np.{name}", function):
            for position in call.positions():
                probe = survey.Probe(call, position)
                if not probe.x.ndim or not probe.accepts():
                    continue

                def f(x, call=call, position=position):
                    args, kwargs = catalogue.replaced((call.args, call.kwargs), position, x)
                    return call.function(*args, **kwargs)
                with np.errstate(all="ignore"):
                    found, count = faults(str(call), f, probe.x, ["reverse", "forward"])
                wrong += found
                asked += count
    assert not wrong, "\n".join(wrong)
    assert asked > 300


def test_a_tensor_without_axes_has_views_too():
    t = ad.tensor(3.0)
    for view in (t[None], t.reshape(1), np.atleast_1d(t), t.T):
        with pytest.raises(MutationError, match="slices are values"):
            view[...] = 5.0
    row = ad.tensor([1.0, 2.0])
    with pytest.raises(MutationError, match="slices are values"):
        row[0].zero_()
    assert t.item() == 3.0
    assert row.tolist() == [1.0, 2.0]
