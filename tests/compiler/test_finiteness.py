"""What encloses values, and where a zero that wins need not be looked for."""

import itertools

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.editor import Editor
from adjoint.compiler.finiteness import ENCLOSED, Bounds, bounds, finite_where
from adjoint.compiler.maths import MATHS
from adjoint.compiler.native import BASELINE, host
from adjoint.core.node import aval_of

HARD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -3.0, 12.0, -12.0, 90.0, -90.0, 1e-30,
        -1e-30, 1e-42, 1e19, -1e19, 1e30, -1e30, 3e38, -3e38]
ENDS = [-np.inf, -3e38, -90.0, -1.0, -0.5, 0.0, 1e-40, 0.3, 2.0, 1e19, 3e38, np.inf]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def points(low, high, rng):
    """Numbers between two, the ends among them."""
    near = [x for x in map(np.float32, ENDS) if low <= x <= high]
    inner = rng.uniform(*np.clip([float(low), float(high)], -1e38, 1e38), 6).astype(np.float32)
    inner = np.clip(inner, low, high)
    return [low, high, *near, *inner]


@pytest.mark.parametrize("name", sorted(ENCLOSED))
def test_bounds_enclose(name):
    """Values of the function in single precision, NaN where it is said only."""
    f, enclosed, rng = MATHS[name].numpy, ENCLOSED[name], np.random.default_rng(0)
    intervals = [Bounds(*map(np.float32, pair))
                 for pair in itertools.combinations_with_replacement(ENDS, 2)]
    known = 0
    operands = [rng.permutation(len(intervals)) for _ in range(MATHS[name].arity)]
    for chosen in zip(*operands, strict=True):
        inner = [intervals[i] for i in chosen]
        with np.errstate(all="ignore"):
            found = enclosed(*inner)
            if found is None:
                continue
            known += 1
            grid = np.meshgrid(*[np.array(points(*x[:2], rng), np.float32) for x in inner])
            y = np.asarray(f(*grid), np.float32)
        assert found.nan or not np.isnan(y).any(), inner
        y = y[~np.isnan(y)]
        assert ((found.low <= y) & (y <= found.high)).all(), (inner, found)
    assert known > 20


def zeros_asked_for(f, x):
    """How often the compiled gradient looks whether a product with a zero is NaN, at one point."""
    text = ad.jit(ad.grad(f)).show(np.resize(x, 64), stage="program")
    return text.count("isnan")


def gelu(x):
    return (0.5 * x * (1.0 + np.tanh(0.797 * (x + 0.0447 * x * x * x)))).sum()


PROGRAMS = {
    "gelu": (gelu, 1),  # x^2 may overflow where the slope of tanh is 0
    "logistic": (lambda x: (x / (1.0 + np.exp(-np.tanh(x)))).sum(), None),
    "softened": (lambda x: np.log(1.0 + np.exp(np.sin(x) * 0.5)).sum(), None),
    "unbounded": (lambda x: (np.tanh(x) * np.exp(x)).sum(), None)}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_gradients_at_hard_points(name):
    """Those that ask less give what they gave."""
    f, asked = PROGRAMS[name]
    x = np.array(HARD, np.float32)
    if asked is not None:
        assert zeros_asked_for(f, x) == asked
    expected, found = ad.grad(f)(x), ad.jit(ad.grad(f))(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-38, 1.0, 1e38])
def test_numbers_of_extreme_size_are_not_proved_about(scale):
    """A product of powers may vanish and overflow at once if its numbers are large enough."""
    def f(x):
        return np.tanh((x * scale) * ((1 / scale) * x) + x).sum()
    x = np.array(HARD, np.float32)
    expected, found = ad.grad(f)(x), ad.jit(ad.grad(f))(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


# ---- chains of functions, as they are compiled

EXTREME = [0.0, -0.0, 1e-45, -1e-45, 1.2e-38, -1.2e-38, 1e-30, -1e-7, 0.5, -0.5, 1.0, -1.0, 9.1,
           -9.1, 16.0, 88.72, -88.0, -104.0, 1e4, -1e10, 1.8e19, -1.9e19, 3.4028235e38, -3.4e38]
ARITHMETIC = ["add", "subtract", "multiply", "divide"]
NUMBERS = [0.5, -1.0, 2.0, 1.0, 1e-5, 3.0, -0.044715, 1e30, 1e-38, 0.0, np.inf]


def random_chain(rng, dtype, length):
    """Statements of functions that have bounds, on two inputs, and those inputs."""
    e, x = Editor(), np.resize(EXTREME, 40).astype(dtype)
    known = aval_of(x)
    found = inputs = [e.input(known), e.input(known)]
    found = [*inputs, *[e.like(inputs[0], c) for c in rng.choice(NUMBERS, 3)]]
    for _ in range(length):
        name = str(rng.choice(sorted(ENCLOSED) if rng.random() < 0.5 else ARITHMETIC))
        chosen = [found[i] for i in rng.integers(0, len(found), MATHS[name].arity)]
        if rng.random() < 0.2 and len(chosen) == 2:
            chosen[1] = chosen[0]  # a square
        found.append(e.map(name, *chosen))
    return e, inputs, [n for n in dict.fromkeys(found) if n not in e.numbers]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(30))
def test_bounds_of_random_chains_enclose_what_is_computed(seed, dtype):
    """With the inputs finite: by NumPy, and by the machine code of all widths."""
    rng = np.random.default_rng(seed)
    e, inputs, found = random_chain(rng, dtype, 14)
    e.program.outputs = found
    limits = {n: bounds(e, n, {*inputs}, 12) for n in found}
    args = [np.resize(rng.permutation(EXTREME), 40).astype(dtype) for _ in inputs]
    if dtype == np.float64:  # the edges of that format
        args = [np.where(np.abs(a) > 1e38, np.sign(a) * np.finfo(dtype).max, a) for a in args]
    runs = [e.program, *[Compiled(e.program, target=t) for t in (BASELINE, host())]]
    with np.errstate(all="ignore"):
        for run in runs:
            for n, y in zip(found, run(*args), strict=True):
                if limits[n] is None:
                    continue
                low, high, nan = limits[n]
                assert nan or not np.isnan(y).any(), (e.statements[n], limits[n])
                y = y[~np.isnan(y)]
                assert ((low <= y) & (y <= high)).all(), (e.statements[n], limits[n])


@pytest.mark.parametrize("seed", range(40))
def test_what_is_proved_finite_is_finite(seed):
    """`finite_where`: at no sample is one statement finite and the other not."""
    rng = np.random.default_rng(1000 + seed)
    e, _, found = random_chain(rng, np.float32, 12)
    e.program.outputs = found
    special = [*EXTREME, np.inf, -np.inf, np.nan]
    args = [rng.choice(special, 40).astype(np.float32) for _ in range(2)]
    with np.errstate(all="ignore"):
        values = dict(zip(found, map(np.isfinite, e.program(*args)), strict=True))
    for z, x in itertools.permutations(found, 2):
        if finite_where(e, z, x):
            assert not (values[x] & ~values[z]).any(), (e.statements[z], e.statements[x])


def powers(*signs_and_powers):
    """A program's tanh of a sum of powers of its input, and the input."""
    e = Editor()
    x = e.input(aval_of(np.ones(64, np.float32)))
    total = None
    for sign, power in signs_and_powers:
        term = x
        for _ in range(power - 1):
            term = e.map("multiply", term, x)
        term = e.map("negative", term) if sign < 0 else term
        total = term if total is None else e.map("add", total, term)
    return e, e.map("tanh", total), x


@pytest.mark.parametrize("terms, proved", [
    (((1, 3), (1, 5)), True), (((1, 2), (1, 4)), True),
    (((1, 3), (-1, 5)), False), (((1, 2), (-1, 4)), False), (((1, 3), (1, 4)), False)])
def test_powers_of_one_sign_are_never_opposite_infinities(terms, proved):
    """Both overflow at 1e30; where their signs are not the same there, the sum is NaN."""
    e, y, x = powers(*terms)
    assert finite_where(e, y, x) is proved
    with np.errstate(all="ignore"):
        both = [np.tanh(sum(s * np.float32(v) ** p for s, p in terms)) for v in (1e30, -1e30)]
    assert np.isfinite(both).all() == proved


def test_sums_of_opposite_infinities_may_be_nan():
    one, most = np.float32(1), np.float32(np.inf)
    low, high = Bounds(-most, one), Bounds(one, most)
    assert ENCLOSED["add"](low, high).nan
    assert ENCLOSED["add"](high, low).nan
    assert ENCLOSED["subtract"](high, high).nan
    assert not ENCLOSED["add"](high, high).nan
    assert not ENCLOSED["subtract"](high, low).nan
