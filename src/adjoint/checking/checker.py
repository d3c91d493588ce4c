"""`ad.check` itself: what may be given to it, and the list of tests."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import PUBLIC, REGISTRY, Primitive
from adjoint.errors import ArgumentError, CheckError
from adjoint.functions import Function
from adjoint.ops.declare import COMPOSED
from adjoint.transforms.trees import flatten

from .examine import Examination
from .problem import Problem, value_of
from .report import BAD, FAILED, OK, SKIPPED, UNSURE, Finding, Report, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODES = ("forward", "reverse")


def check(
    f: Any,
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = MODES,
    params: dict[str, Any] | None = None,
    rtol: float | None = None,
    seed: int = 0,
    raises: bool = False,
) -> Report:
    """Hold the derivatives of ``f`` at ``args`` against independent ones; name the worst element.

        <w, J v> = <J' w, v>
        J v = lim (f(x + h v) - f(x - h v)) / 2h = Im f(x + i h v) / h

    The tests: the adjoint identity with random vectors; forward and reverse mode against finite
    differences, which are extrapolated (Richardson) on adaptive steps and bring their own error
    estimate, hence the tolerance; the complex step, where ``f`` takes complex numbers and is
    holomorphic; and for ``order=2`` both nestings of the modes against each other and against
    differences of the gradient.

    Args:
        f: A function of pytrees of numbers, arrays and tensors; an `ad.Function` subclass; or the
            name of an operation (``"sin"``). An operation without arguments is checked on all of
            its own regular cases.
        args: The point. Integers, booleans and other objects are held fixed. Of more than 40
            elements 40 are differenced one by one, chosen at random, and all of them along a
            random direction.
        order: 1 or 2. Order 2 needs both modes and real numbers, and is skipped elsewhere.
        modes: ("forward", "reverse") or one of them, where the other does not exist.
        params: Keyword arguments for ``f``, not differentiated.
        rtol: A relative tolerance, at least 0, instead of eps**0.6 (4e-10 in float64, 7e-5 in
            float32), and of eps**0.5 beside differences, whose error estimate is added to it.
        seed: Of the random vectors.
        raises: Raise CheckError, with the report as its text, unless every test is passed.

    Returns:
        A Report: its truth is the verdict, its text a table. At a kink, where the one-sided
        derivatives differ, every value between them passes and the table says so; "UNSURE" says
        that there is no reference at this point.

    Raises:
        DTypeError: No argument or no result is a floating point number.
        ArgumentError: ``f`` is random, or names no operation; an option cannot be meant.
        CheckError: With ``raises``, a test failed.

    Source: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008; W. Squire and G.
    Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40 (1998)
    110-112.

    >>> bool(ad.check(lambda x: np.sin(x) * x, 0.5))
    True
    """
    if order not in (1, 2):
        raise ArgumentError(f"order is 1 or 2, not {order!r}")
    if not modes or any(m not in MODES for m in modes):
        raise ArgumentError(f'modes names "forward", "reverse" or both, not {modes!r}')
    if rtol is not None and not 0.0 <= rtol < float("inf"):
        raise ArgumentError(f"rtol is a number of at least 0, or None, not {rtol!r}")
    function, name, cases = resolved(f)
    rng = np.random.default_rng(seed)
    if args or cases is None:
        report = examined(function, args, params or {}, name, order, modes, rtol, rng)
    else:
        report = over_cases(function, cases, name, order, modes, rtol, rng)
    if raises and not report:
        raise CheckError(str(report))
    return report


def assert_derivatives(f: Any, *args: Any, **options: Any) -> Report:
    """`ad.check` as an assertion, for tests: raises CheckError, whose text is the report.

    >>> _ = ad.checking.assert_derivatives(np.tanh, np.array([0.1, 2.0]))
    """
    return check(f, *args, raises=True, **options)


def examined(
    function: Any,
    args: Any,
    params: dict[str, Any],
    name: str,
    order: int,
    modes: Sequence[str],
    rtol: float | None,
    rng: np.random.Generator,
) -> Report:
    """The report for one point."""
    with np.errstate(all="ignore"):  # differences may step out of the domain
        problem = Problem(lambda *xs: function(*xs, **params), args, name)
        if not sum(problem.sizes) or not sum(r.size for r in problem.results):
            return Report(name, (Finding("value", OK, note="no elements"),))
        e = Examination(problem, rng, rtol, modes)
        findings = [value_finding(problem)] if not finite(problem) else []
        findings += [attempted(test, run) for test, run in tests(e, order)]
    return Report(name, tuple(findings))


def tests(e: Examination, order: int) -> list[tuple[str, Callable[[], Finding]]]:
    """The names of the tests and how to run them."""
    both = len(set(e.modes)) == 2
    found: list[tuple[str, Callable[[], Finding]]] = (
        [("adjoint identity", e.adjoint_identity)] if both else []
    )
    if "forward" in e.modes:
        found.append(("forward mode, finite differences", e.forward))
    if "reverse" in e.modes:
        found.append(("reverse mode, finite differences", e.reverse))
    if "forward" in e.modes:
        found.append(("forward mode, complex step", e.complex_step))
    if order == 2:
        why = "" if both else "it needs forward and reverse mode"
        why = "the arguments or results are complex" if e.problem.complex else why
        found += [
            ("order 2, both nestings", (lambda: skipped(why)) if why else e.nestings),
            ("order 2, finite differences", (lambda: skipped(why)) if why else e.curvature),
        ]
    return found


def skipped(why: str) -> Finding:
    """The finding of a test that cannot be made."""
    return Finding("", SKIPPED, note=why)


def attempted(test: str, run: Callable[[], Finding]) -> Finding:
    """A test's Finding under its name; an error in a derivative is a finding too."""
    try:
        found = run()
    except Exception as e:  # noqa: BLE001 - f itself ran, so the rule that is tested raised this
        hint = "; order=1 leaves this out" if test.startswith("order 2") else ""
        message = str(e).split("\n", maxsplit=1)[0]
        return Finding(test, FAILED, float("inf"), note=f"{type(e).__name__}: {message}{hint}")
    return replace(found, test=test)


def finite(problem: Problem) -> bool:
    """Whether every result is a number."""
    return all(np.isfinite(r).all() for r in problem.results)


def value_finding(problem: Problem) -> Finding:
    """The finding for a function that is NaN or infinite at the point."""
    values = np.concatenate([r.ravel() for r in problem.results])
    k = int(np.argmin(np.isfinite(values)))
    return Finding(
        "value",
        UNSURE,
        where=problem.element(k),
        note=f"the value is {values[k]}: no slope to compare with",
    )


def over_cases(
    function: Any,
    cases: Any,
    name: str,
    order: int,
    modes: Sequence[str],
    rtol: float | None,
    rng: np.random.Generator,
) -> Report:
    """The worst of every test over the regular cases of an operation."""
    reports: list[Report] = []
    for case in cases(rng):
        if case.domain != "regular" or not differentiable(case.args):
            continue
        report = examined(function, case.args, case.params, name, order, modes, rtol, rng)
        shown = ", ".join(
            [*map(described, case.args), *(f"{k}={v!r}" for k, v in case.params.items())]
        )
        reports.append(
            Report(
                name,
                tuple(
                    replace(f, note=f"{f.note}{'; ' if f.note else ''}in {name}({shown})")
                    if f.status in BAD
                    else f
                    for f in report.findings
                ),
            )
        )
    if not reports:
        raise ArgumentError(
            f"{name} has no case with a floating point argument; give the arguments: ad.check(f, x)"
        )
    return merged(name, reports)


def described(x: Any) -> str:
    """An argument of a case by dtype and shape."""
    return str(aval_of(x)) if hasattr(x, "dtype") else repr(x)


def differentiable(args: Sequence[Any]) -> bool:
    """Whether an argument of a case can move."""
    return any(
        v is not None and v.dtype.kind in "fc" for v in map(value_of, flatten(tuple(args))[0])
    )


def resolved(f: Any) -> tuple[Callable[..., Any], str, Any]:
    """The function to call, its name, and the cases that it brings along."""
    if isinstance(f, str):
        return by_name(f)
    if isinstance(f, Primitive):
        return applied(f), f.name, f.cases
    if isinstance(f, type) and issubclass(f, Function):
        return f.apply, f.__name__, None
    if not callable(f):
        raise ArgumentError(
            f"ad.check(f, *args): f is a function, an ad.Function or the name of an operation, not "
            f"a {type(f).__name__}; write ad.check(lambda x: ..., x)"
        )
    name = getattr(f, "__name__", type(f).__name__)
    row = getattr(f, "row", None)
    if isinstance(row, Primitive):
        return f, name, row.cases
    return (
        f,
        "f" if name == "<lambda>" else name,
        COMPOSED[name].cases if COMPOSED.get(name) and (PUBLIC[name] is f) else None,
    )


def by_name(name: str) -> tuple[Callable[..., Any], str, Any]:
    """An operation by its name."""
    if name in COMPOSED:
        return PUBLIC[name], name, COMPOSED[name].cases
    if name in REGISTRY:
        return applied(REGISTRY[name]), name, REGISTRY[name].cases
    if name in PUBLIC:
        return PUBLIC[name], name, None
    near = difflib.get_close_matches(name, {*REGISTRY, *COMPOSED, *PUBLIC}, 3)
    raise ArgumentError(
        f"there is no operation {name!r}"
        + (f"; did you mean {', '.join(near)}?" if near else "; ad.check also takes a function")
    )


def applied(row: Primitive) -> Callable[..., Any]:
    """A row as a function: its parameters are those of the rule, not of the public function."""
    return lambda *xs, **params: bind(row, xs, params)
