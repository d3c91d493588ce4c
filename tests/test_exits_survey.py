"""Every public callable of NumPy, math and SciPy with a tracked value: derivative, constant, error.

The survey itself stands in tests/exits; `python tests/exits/survey.py` prints its coverage and
writes docs/exits.md.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy

import adjoint as ad
from adjoint import exits, instead
from adjoint.core.primitive import NUMPY

sys.path.insert(0, str(Path(__file__).parent / "exits"))
import catalogue
import extras
import page
import survey
from catalogue import Call, S, V, W


@pytest.mark.parametrize("space", survey.ALL)
def test_no_call_has_another_outcome(space):
    faults = [fault for row in survey.survey(space) for fault in row.faults]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("space", survey.ALL)
def test_every_callable_was_called_or_has_a_reason(space):
    print(survey.coverage(space))
    assert [r.name for r in survey.survey(space) if not r.findings and not r.why_not] == []


def test_enough_was_called():
    rows = [row for space in catalogue.SPACES for row in survey.survey(space)]
    called = [row for row in rows if row.findings]
    probes = [f for row in called for f in row.findings]
    assert len(called) > 700
    assert len(probes) > 12_000
    assert {f.mode for f in probes} == set(survey.MODES)
    assert {f.spelling for f in probes} == set(survey.SPELLINGS)
    assert {f.outcome for f in probes} == {"gradient", "constant", "error"}


@pytest.mark.parametrize("space", catalogue.SPACES)
def test_what_is_said_to_take_no_numbers_takes_none(space):
    module = catalogue.SPACES[space]
    for name in catalogue.names(module):
        f = getattr(module, name)
        if catalogue.REASONS.get(f"{space}.{name}") == catalogue.INTS:
            tries = [args[:n] for n in range(1, 4) for args in ((V, W, V), (S, S, S))]
            assert not [a for a in tries if catalogue.works(Call(f"{space}.{name}", f, a))], name


# ---- NumPy's polynomials, which ask isinstance(x, np.ndarray)

ROOTS = np.linspace(-0.9, 1.1, 9).reshape(3, 3) ** 3 + 0.05
POLYNOMIAL_ARGUMENTS = [
    (V, V), (S, V), (S, ROOTS), (V[:1], V), (V[:1], ROOTS), (ROOTS, V), (V, ROOTS),
    (V, ROOTS, {"tensor": False}), (V, W, ROOTS), (S, S, ROOTS), (V, W, W, catalogue.CUBE),
    (S, S, S, catalogue.CUBE), (V, 2), (V, W, [1, 1]), (V, W, 2), (V,), (V, 1)]
KINDS = ("polynomial", "chebyshev", "legendre", "hermite", "hermite_e", "laguerre")


@pytest.mark.parametrize("kind", KINDS)
def test_polynomials_take_no_tracked_array_for_a_number(kind):
    module, called, right = getattr(np.polynomial, kind), 0, 0
    for name in catalogue.names(module):
        function = getattr(module, name)
        calls = [catalogue.call_of(name, function, args) for args in POLYNOMIAL_ARGUMENTS]
        row = survey.Row(kind, name, "", [], [])
        survey.add_findings(row, [c for c in calls if catalogue.works(c)])
        faults = [fault for fault in row.faults if "never called" not in fault]
        assert not faults, "\n".join(faults)
        called += len(row.findings) > 0
        right += {"gradient", "error"} == {f.outcome for f in row.findings}
    assert called >= 20
    assert right >= 3  # the evaluation of one, and grids


@pytest.mark.parametrize("kind, name", [
    ("polynomial", "polyval"), ("polynomial", "polyvalfromroots"), ("chebyshev", "chebval"),
    ("legendre", "legval"), ("hermite", "hermval"), ("hermite_e", "hermeval"),
    ("laguerre", "lagval")])
@pytest.mark.parametrize("x", [V, ROOTS, np.stack([ROOTS, ROOTS.T])], ids=["1-d", "2-d", "3-d"])
def test_the_line_to_write_for_polynomials(kind, name, x):
    f, letter = getattr(getattr(np.polynomial, kind), name), "r" if "roots" in name else "c"
    with pytest.raises(ad.errors.UnsupportedError) as caught:
        f(ad.tensor(x, requires_grad=True), ROOTS)
    line = re.search(r"Write (.*\))", str(caught.value).splitlines()[0]).group(1)
    rewritten = eval(f"lambda x, {letter}: {line}", {name: f})
    np.testing.assert_array_equal(rewritten(ad.tensor(x), ROOTS).numpy(), f(x, ROOTS))
    ad.check(lambda x: rewritten(x, ROOTS), x, raises=True)


# ---- the lines to write

def is_number(a):
    return isinstance(a, (np.ndarray, np.inexact)) and a.dtype.kind in "fc"


def watched(a):
    """A tracked value for a number, also in lists."""
    if isinstance(a, list):
        return [watched(part) for part in a]
    return ad.tensor(a, requires_grad=True) if is_number(a) else a


def env_of(call):
    """The names that a line speaks of."""
    found = {"ad": ad, "np": np, "math": catalogue.math}
    letters, integers = iter("xzwuv"), iter("nm")
    for a in call.args:
        if isinstance(a, np.ndarray) and a.dtype.kind == "b":
            found["mask"] = a
        elif is_number(a):
            found[next(letters)] = a
        elif isinstance(a, list):
            found["xs"] = a
        elif isinstance(a, int):
            found[next(integers)] = a
        elif callable(a):
            found["f"] = a
    return found


def calls_of(name):
    space, _, short = name.rpartition(".")
    return catalogue.found_calls(name, getattr(catalogue.SPACES[space], short))


UNCOMPARED = {  # what speaks of more than the arguments
    "np.arange", "np.asarray", "np.asanyarray", "np.ascontiguousarray", "np.asfortranarray",
    "np.require", "np.asarray_chkfinite", "np.matrix", "np.asmatrix", "np.poly1d", "np.roots",
    "np.trim_zeros", "np.ndenumerate", "np.nditer", "scipy.linalg.cho_solve",
    "scipy.linalg.lu_solve", "scipy.linalg.solve_circulant", "scipy.linalg.solve_toeplitz",
    "scipy.linalg.polar", "scipy.linalg.sqrtm"}
RUN = sorted(n for n in instead.INSTEAD.keys() - UNCOMPARED if not n.startswith("rng."))
DRAWN = sorted(n for n in instead.INSTEAD if n.startswith("rng."))


@pytest.mark.parametrize("name", RUN)
def test_the_line_to_write_gives_what_the_function_gives(name):
    line = instead.INSTEAD[name].removeprefix("x = ")
    compared = 0
    for call in calls_of(name):
        env = env_of(call)
        tracked = {k: watched(v) for k, v in env.items()}
        args = catalogue.fresh(call.args)
        try:
            got = eval(line, tracked)
        except (NameError, ad.errors.AdjointError):  # a line for another way to call it
            continue
        with survey.quiet():
            wanted = call.function(*args, **call.kwargs)
        wanted = args[0] if wanted is None else wanted
        constant = any(word in line for word in ("item()", "detach()", "isclose"))
        compared += survey.same(got, wanted) and (survey.flows(got) or constant)
    assert compared, f"{name}: {line} agrees with no call of the survey"


@pytest.mark.parametrize("name", DRAWN)
def test_the_line_for_a_draw_gives_the_same_numbers(name):
    letters = set(re.findall(r"\b[xz]\b", instead.INSTEAD[name]))
    call = next(c for c in extras.draws() if c.name == name and len(env_of(c)) == 3 + len(letters))
    env = {k: watched(v) for k, v in env_of(call).items()} | {"rng": np.random.default_rng(1)}
    got, wanted = eval(instead.INSTEAD[name], env), catalogue.evaluate(call)
    assert survey.flows(got)
    if name not in ("rng.multivariate_normal", "rng.permutation"):  # the same distribution
        np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-12)


RETURNED = {"a.flat = t", "a.real = t"}
ELEMENTWISE = sorted(n for n, line in extras.LINES.items() if line.startswith(("a = ", "np.")) and
                     n.startswith("a") and n not in RETURNED | {"a //= t", "a @= t"})


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_line_for_a_write_into_an_array_gives_the_same(name):
    compared = 0
    for call in extras.array_methods():
        if call.name == name and call.args[0].ndim < 2:
            t = watched(call.args[0])
            env = {"a": V.copy(), "t": t, "ad": ad, "np": np, "mask": catalogue.MASK}
            got = eval(extras.LINES[name].removeprefix("a = "), env)
            assert survey.same(got, catalogue.evaluate(call)), name
            compared += 1
    assert compared


# ---- the survey can fail

def faults_of(name, function, *args):
    row = survey.Row("np", name, "", [], [])
    survey.add_findings(row, [Call(f"np.{name}", function, args)])
    return "\n".join(row.faults)


@pytest.mark.parametrize("wrong, says", [
    (lambda x: np.sin(x.detach().numpy()), "silent"),
    (lambda x: float(np.sin(x.detach().tolist()).sum()), "silent"),
    (lambda x: ad.sin(x) * 1.001, "value"),
    (lambda x: ad.sin(x) + 0.0 * x, None),
    (lambda x: ad.sin(ad.stop_gradient(x)) + 0.0 * x, "derivative"),
    (lambda x: x.no_such_method(), "AttributeError"),
    (lambda x: (_ for _ in ()).throw(TypeError("of someone else")), "TypeError"),
    (lambda x: (_ for _ in ()).throw(ad.errors.EscapeError("use")), None),
])
def test_the_survey_finds_a_wrong_outcome(monkeypatch, wrong, says):
    monkeypatch.setitem(NUMPY, np.sin, wrong)
    survey.constants.cache_clear()
    found = faults_of("sin", np.sin, V)
    assert (says in found) if says else found == ""


def test_the_survey_finds_a_silent_write():
    def write(z):
        a = V.copy()
        a[0] = z.item() if isinstance(z, ad.Tensor) else 1.0 * z
        return a
    assert "silent" in faults_of("write", write, S)


def test_an_error_without_a_line_is_a_fault(monkeypatch):
    def mute(x):
        raise ad.errors.UnsupportedError("no.")
    monkeypatch.setitem(NUMPY, np.sin, mute)
    assert "does not say what to write" in faults_of("sin", np.sin, V)


@pytest.mark.parametrize("name, args", [("pinv", (catalogue.M,)),
                                        ("lstsq", (catalogue.TALL, catalogue.V))])
def test_a_cut_off_that_drops_large_singular_values(name, args):
    row = survey.Row("np.linalg", name, "", [], [])
    survey.add_findings(row, [Call(f"np.linalg.{name}", getattr(np.linalg, name), args,
                                   {"rcond": 0.61})])
    assert row.faults == []


# ---- the page

def test_the_page_is_current():
    written = page.TARGET.read_text()
    if f"NumPy {np.__version__}, SciPy {scipy.__version__}, " not in written:
        pytest.skip("docs/exits.md is of other versions of NumPy and SciPy")
    assert written == page.render(), "run: python tests/exits/survey.py"


def test_listed_constants_are_constants():
    rows = {row.key: row for space in catalogue.SPACES for row in survey.survey(space)}
    for function in exits.CONSTANTS:
        module = function.__module__.replace("numpy", "np")
        key = f"{module}.{function.__name__}"
        assert {f.outcome for f in rows[key].findings} <= {"constant", "error"}, key
