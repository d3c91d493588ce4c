"""What NumPy has as a scalar and what as an array without axes is one here too, for each function.

A change in place of an array is seen by everyone who holds it; of a scalar it makes another. So the
kinds are compared that every function of the survey of exits gives, and those of the rows' cases.
"""

import sys
import warnings
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import Box
from adjoint.core.primitive import PUBLIC, REGISTRY
from adjoint.errors import AdjointError
from adjoint.ops.declare import COMPOSED
from adjoint.scalars import is_changeable

sys.path.insert(0, str(Path(__file__).parent / "exits"))
import catalogue
import survey

pytestmark = pytest.mark.filterwarnings("ignore")


def kinds(y):
    """The kinds of the values without axes in a result of NumPy, "" for the rest."""
    if isinstance(y, (tuple, list)):
        return [kind for part in y for kind in kinds(part)]
    if np.shape(y) or not isinstance(y, (np.ndarray, np.generic)):
        return [""]
    return ["array" if isinstance(y, np.ndarray) else "scalar"]


def ours(y):
    """The same of ours; None for what is no Box, where NumPy speaks for itself."""
    if isinstance(y, (tuple, list)):
        return [kind for part in y for kind in ours(part)]
    if not isinstance(y, Box):
        return [None]
    return ["" if y.shape else "array" if is_changeable(y) else "scalar"]


def seen(f, x, transformation):
    """The kinds that ``f`` has while it is differentiated, batched or compiled; [] for an error."""
    found = deque()  # a list would be given its content again after tracing

    def watched(x):
        found.append(ours(f(x)))
        return ad.sum(x * 1.0)
    try:
        transformation(watched, x)
    except (AdjointError, ValueError, TypeError, IndexError):
        return []
    return found[-1]


TRANSFORMATIONS = {
    "reverse": lambda f, x: ad.grad(f)(x),
    "forward": lambda f, x: ad.jvp(f, (x,), (x,)),
    "compiled": lambda f, x: ad.jit(f)(x),
    "compiled gradient": lambda f, x: ad.jit(ad.grad(f))(x),
}
IN_A_BATCH = {
    "batch": lambda f, x: ad.vmap(f)(np.stack([x, x])),
    "gradients of a batch": lambda f, x: ad.vmap(ad.grad(f))(np.stack([x, x])),
}


def differences(name, f, x):
    """Where a function of one array gives another kind than NumPy; and how often it was asked."""
    faults, count = [], 0
    for given in ([x, x[()]] if x.ndim == 0 else [x]):
        try:
            expected = kinds(f(np.array(given) if isinstance(given, np.ndarray) else given))
        except Exception:  # noqa: BLE001 - NumPy refuses these arguments
            continue
        if not any(expected):
            continue
        scalar = not isinstance(given, np.ndarray) or given.ndim
        for mode, run in (TRANSFORMATIONS | IN_A_BATCH if scalar else TRANSFORMATIONS).items():
            for got, wanted in zip(seen(f, given, run), expected, strict=False):
                if got is not None and wanted:
                    count += 1
                    if got != wanted:
                        faults.append(f"{name} of {type(given).__name__} {np.shape(given)} in "
                                      f"{mode}: {got}, NumPy gives {wanted}")
    return faults, count


def collected(probes):
    faults, count = [], 0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, f, x in probes:
            found, asked = differences(name, f, x)
            faults += found
            count += asked
    return faults, count


def of_the_survey(space):
    module = catalogue.SPACES[space]
    for name in catalogue.names(module):
        function = getattr(module, name)
        if survey.reason(space, name, function):
            continue
        for call in catalogue.found_calls(f"{space}.{name}", function):
            for position in call.positions():
                probe = survey.Probe(call, position)
                if probe.accepts() and any(kinds(probe.plain(probe.x))):
                    def f(x, call=call, position=position):
                        args, kwargs = catalogue.replaced(
                            (call.args, call.kwargs), position, x)
                        return call.function(*args, **kwargs)
                    yield str(call), f, probe.x


def of_the_rows():
    for name in sorted(PUBLIC):
        function = getattr(np, name, None)
        row = REGISTRY.get(name) or COMPOSED.get(name)
        if function is None or getattr(row, "cases", None) is None:
            continue
        for case in row.cases(np.random.default_rng(0)):
            for k, a in enumerate(case.args):
                if not isinstance(a, tuple) and np.asarray(a).dtype.kind == "f":
                    def f(x, case=case, k=k, function=function):
                        return function(*case.args[:k], x, *case.args[k + 1:], **case.params)
                    yield name, f, np.asarray(a)


ASKED = {"np": 300, "np.linalg": 20, "scipy.special": 100}  # the others: no value without axes


@pytest.mark.parametrize("space", ASKED)
def test_each_public_function_gives_numpys_kind(space):
    faults, count = collected(of_the_survey(space))
    assert not faults, "\n".join(faults)
    assert count > ASKED[space]


def test_each_row_gives_numpys_kind():
    faults, count = collected(of_the_rows())
    assert not faults, "\n".join(faults)
    assert count > 1000


X = np.array(3.0)
JOINED = {
    "np.select": lambda x: np.select([x > 0], [x]),
    "np.piecewise": lambda x: np.piecewise(x, [x > 0], [lambda v: v * 2.0, 0.0]),
    "np.choose": lambda x: np.choose(0, [x, x]),
    "np.take": lambda x: np.take(np.stack([x, x]), 0),
    "take of an array": lambda x: np.take(np.stack([x, x]), np.array(0)),
    "index": lambda x: np.stack([x, x])[0],
    "index ...": lambda x: np.stack([x, x])[0, ...],
    "index of an array": lambda x: np.stack([x, x])[np.array(0)],
    "reshape": lambda x: np.stack([x]).reshape(()),
    "squeeze": lambda x: np.squeeze(np.stack([x])),
    "einsum": lambda x: np.einsum("i,i", np.stack([x, x]), np.stack([x, x])),
    "tensordot": lambda x: np.tensordot(np.stack([x, x]), np.stack([x, x]), 1),
    "iteration": lambda x: next(iter(np.stack([x, x]))),
    "where of where": lambda x: np.where(x > 0, np.where(x > 1, x, 0.0), 0.0) * 1.0,
    "real of where": lambda x: np.where(x > 0, x, 0.0).real,
    "squeeze of where": lambda x: np.squeeze(np.where(x > 0, x, 0.0)),
    "broadcast_to": lambda x: np.broadcast_to(x, ()),
}


@pytest.mark.parametrize("name", JOINED)
def test_several_steps_give_numpys_kind(name):
    faults, count = collected([(name, JOINED[name], X)])
    assert not faults, "\n".join(faults)
    assert count >= 4
