"""Every rule of every row, on every case that the row declares in its `cases`.

One test per rule and row, so a failure names both; the message names the case. A row that is
added is tested without editing this file.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.numpy_builder import lowered, run
from adjoint.core.box import bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import PUBLIC, REGISTRY, Label, Primitive
from adjoint.core.symbol import Symbol, trace
from adjoint.ops.cases import TAGS, Case, tags
from adjoint.ops.declare import APPLY, COMPOSED
from adjoint.transforms.trees import flatten, unflatten

pytestmark = pytest.mark.usefixtures("quiet")
TOLERANCE = {"float64": 1e-9, "float32": 2e-4, "complex128": 1e-9}
STEP = 1e-4
# Rows that users reach under another name; their public functions carry the docstrings.
INTERNAL = ad._HIDDEN - {"annihilate"}

# Several arrays as one value, for the row that takes such a value apart.
gather = Primitive(
    "gather", lambda *xs: xs, lambda *avals: avals, several=True,
    jvp=lambda dxs, y, *xs: tuple(
        np.zeros(np.shape(x)) if dx is None else dx for dx, x in zip(dxs, xs, strict=True)),
    vjp=lambda dy, y, *xs_needs: tuple(dy),
    batch=lambda size, axes, *xs: (tuple(
        x if a is not None else ad.broadcast_to(x, (size, *np.shape(x)))
        for x, a in zip(xs, axes, strict=True)), 0))


@dataclass(frozen=True)
class Call:
    """One case as a function of the arrays in it that can be differentiated."""

    operation: Any
    case: Case

    def __repr__(self) -> str:
        shown = ", ".join(f"{aval_of(a)} {a!r}"[:80] for a in self.leaves)
        return f"{self.operation}({shown}; {self.case.params}) [{self.case.domain}]"

    @cached_property
    def tree(self) -> Any:
        return flatten(self.case.args)

    @property
    def leaves(self) -> list[Any]:
        return self.tree[0]

    @cached_property
    def places(self) -> list[int]:
        return [k for k, a in enumerate(self.leaves) if np.asarray(a).dtype.kind in "fc"]

    @property
    def xs(self) -> tuple[Any, ...]:
        return tuple(self.leaves[k] for k in self.places)

    def with_leaves(self, leaves: list[Any]) -> Any:
        args = unflatten(self.tree[1], leaves)
        args = [bind(gather, a, {}) if isinstance(a, tuple) else a for a in args]
        return self.operation(*args, **self.case.params)

    def __call__(self, *xs: Any) -> Any:
        leaves = list(self.leaves)
        for k, x in zip(self.places, xs, strict=True):
            leaves[k] = x
        return self.with_leaves(leaves)

    @property
    def value(self) -> Any:
        with np.errstate(all="ignore"):
            return self(*self.xs)

    @property
    def differentiable(self) -> bool:
        return bool(self.places) and aval_of(self.value).dtype.kind in "fc"

    @property
    def precise(self) -> bool:
        """Whether finite differences mean something: a regular point, computed in float64."""
        return self.case.domain == "regular" and all(
            np.asarray(x).dtype == np.float64 for x in (*self.xs, self.value))

    @property
    def tolerance(self) -> float:
        kinds = {np.asarray(x).dtype.name for x in (*self.xs, self.value)}
        return max(TOLERANCE[k] for k in kinds if k in TOLERANCE)


class Operation:
    """A row or a composed operation."""

    def __init__(self, name: str, row: Primitive | None, f: Any, cases: Any) -> None:
        self.name, self.row, self.f, self.cases = name, row, f, cases

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *args: Any, **params: Any) -> Any:
        return self.f(*args, **params)

    @property
    def nondiff(self) -> bool:
        return self.row is not None and self.row.nondiff

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    @cached_property
    def calls(self) -> list[Call]:
        return [Call(self, case) for case in self.cases(self.rng())]

    @property
    def gradients(self) -> list[Call]:
        return [] if self.nondiff else [c for c in self.calls if c.differentiable]


def _of_row(row: Primitive) -> Operation:
    return Operation(row.name, row, lambda *args, **params: bind(row, args, params), row.cases)


# Rows whose parameter is a traced program have no cases of their own.
OF_GRAPHS = dict.fromkeys(("checkpoint", "cond", "jit", "scan", "while_loop"),
                          "tests/transforms and tests/jit run it on functions")
ROWS = [_of_row(REGISTRY[name]) for name in sorted(REGISTRY) if name not in OF_GRAPHS]
WRITTEN = [Operation(c.name, None, c.decompose, c.cases) for _, c in sorted(COMPOSED.items())]
OPERATIONS = ROWS + WRITTEN
DIFFERENTIABLE = [o for o in OPERATIONS if not o.nondiff]
every_row = pytest.mark.parametrize("operation", ROWS, ids=str)
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
every_derivative = pytest.mark.parametrize("operation", DIFFERENTIABLE, ids=str)
# `item` takes a tuple apart; its vjp gives a tuple, which arrays cannot stand for.
every_rule = pytest.mark.parametrize(
    "operation", [o for o in DIFFERENTIABLE if o.row is not None and o.name != "item"], ids=str)
SPECIAL = [o for o in DIFFERENTIABLE if any(c.domain != "regular" for c in o.cases(o.rng()))]
# NumPy's function of the same name takes the same arguments as the row.
LIKE_NUMPY = [o for o in OPERATIONS if hasattr(np, o.name) and (
    o.row is None or o.row.elementwise or o.name == "matmul")]


# ---- helpers

@pytest.fixture
def quiet():
    """0/0 and 1/0 are meant: `test_regular_points_are_quiet` is about the warnings."""
    with np.errstate(all="ignore"):
        yield


def random(rng: np.random.Generator, like: Any) -> Any:
    known = aval_of(like)
    return np.asarray(rng.normal(size=known.shape)).astype(known.dtype)[()]


def directions(rng: np.random.Generator, xs: Any) -> tuple[Any, ...]:
    return tuple(random(rng, x) for x in xs)


def inner(xs: Any, zs: Any) -> tuple[float, float]:
    """The inner product, and the sum of its magnitudes: the scale of its rounding error."""
    terms = [np.asarray(x, float).ravel() * np.asarray(z, float).ravel()
             for x, z in zip(xs, zs, strict=True)]
    flat = np.concatenate([*terms, np.zeros(1)])
    return float(flat.sum()), float(np.abs(flat).sum())


def close(got: Any, expected: Any, tolerance: float, what: Any) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max(initial=0.0)) + 1.0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale,
                               err_msg=str(what))


def same(got: Any, expected: Any, what: Any) -> None:
    """The same bits, shape and dtype."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    assert got.tobytes() == expected.tobytes(), f"{what}: {got} is not {expected}"


def slope(f: Any, xs: Any, dxs: Any) -> Any:
    """The derivative of f along dxs by central differences, extrapolated once (Richardson)."""
    def central(h: float) -> Any:
        ahead = f(*[x + h * dx for x, dx in zip(xs, dxs, strict=True)])
        behind = f(*[x - h * dx for x, dx in zip(xs, dxs, strict=True)])
        return (ahead - behind) / (2 * h)
    return (4 * central(STEP / 2) - central(STEP)) / 3


# ---- what a row states

@every_row
def test_fields(operation):
    row = operation.row
    for name in ("impl", "aval", "lower", "cases", "depends"):  # batch=None is a loop
        assert getattr(row, name) is not None, f"{row} states no {name}"
    assert row.label.text, f"{row} has no printed form"
    assert row.label.latex, f"{row} has no LaTeX"
    if not row.nondiff:
        assert row.jvp is not None and row.vjp is not None
        assert row.label.rule, f"{row} names no rule of differentiation"


@every_row
def test_labels_can_be_filled_in(operation):
    label: Label = operation.row.label
    for call in operation.calls:
        names = [f"x_{k}" for k in range(max(len(call.case.args), 3))]
        texts = (label.text, label.latex, *label.partials)
        shown = [t.format(*names, y="y", **call.case.params) for t in texts]
        assert all(shown), f"{operation}: an empty text"
        assert not any("{{" in s for s in shown), shown
        if operation.row.elementwise and not operation.row.nondiff:
            assert len(label.partials) == len(call.case.args), "one partial for each argument"
        assert operation.row.nondiff or label.partials, f"{operation} shows no partial"


@pytest.mark.parametrize("operation", [
    o for o in OPERATIONS if o.name not in INTERNAL and "._" not in o.name], ids=str)
def test_docstring_has_an_example(operation):
    function = PUBLIC[operation.name]
    assert function.__doc__ and ">>> " in function.__doc__, f"{operation}: no example"
    assert attrgetter(operation.name)(ad) is function
    if operation.row is None:
        label = COMPOSED[operation.name].label
        assert label.text and label.latex


@every_operation
def test_cases_cover(operation):
    found = set().union(*[tags(c.case) for c in operation.calls])
    wanted = set(TAGS)
    if max(len(c.leaves) for c in operation.calls) == 1:
        wanted -= {"broadcast left", "broadcast right"}
    if operation.row is not None and operation.row.singular:
        wanted.add("singular")
    without = dict(operation.cases.without)
    assert all(without.values()), "a tag is left out for a reason"
    stale = found & {tag for tag in without if not tag.startswith("broadcast")}
    assert not stale, f"cases have {stale}, said to be impossible"
    missing = wanted - found - set(without)
    assert not missing, f"{operation}: no case is {', '.join(sorted(missing))}"


# ---- values

@every_row
def test_aval_is_the_result(operation):
    for call in operation.calls:
        known = operation.row.aval(*map(aval_of, call.case.args), **call.case.params)
        y = call.value
        assert (known.shape, known.dtype) == (np.shape(y), np.asarray(y).dtype), call


@every_row
def test_only_alias_rows_share_memory(operation):
    """A result that shares its input's memory is a view, and the row says so: values are owned."""
    for call in operation.calls:
        y = call.value
        if isinstance(y, np.ndarray):
            arrays = [x for x in call.leaves if isinstance(x, np.ndarray)]
            shared = [x for x in arrays if np.shares_memory(x, y)]
            assert not shared or operation.row.alias, f"{call} gives a view"


@pytest.mark.parametrize("operation", [o for o in ROWS if o.row.depends == "elementwise"], ids=str)
def test_elementwise_is_element_by_element(operation):
    """Reversing every argument of one shape reverses the result."""
    count = 0
    for call in operation.calls:
        if len({np.shape(x) for x in call.leaves}) == 1 and np.ndim(call.leaves[0]):
            turned = call.with_leaves([np.flip(x) for x in call.leaves])
            np.testing.assert_allclose(np.flip(turned), call.value, rtol=1e-6, err_msg=str(call))
            count += 1
    assert count


@pytest.mark.parametrize("operation", LIKE_NUMPY, ids=str)
def test_public_function_is_numpys(operation):
    for call in operation.calls:
        with warnings.catch_warnings():
            if call.case.domain == "singular":
                warnings.simplefilter("ignore", RuntimeWarning)
            expected = getattr(np, operation.name)(*call.case.args, **call.case.params)
            got = PUBLIC[operation.name](*call.case.args, **call.case.params)
        assert np.asarray(got).dtype == np.asarray(expected).dtype, call
        close(got, expected, 4e-7 if got.dtype == np.float32 else 1e-14, call)


@every_row
def test_lowered_is_impl(operation):
    for call in operation.calls:
        if any(isinstance(a, tuple) for a in call.case.args):
            continue  # `item` of a statement with several results: tests/test_lower.py
        expected = np.asarray(call.value)
        got = lowered(operation.row, call.case.args, call.case.params)
        assert got.dtype == expected.dtype, f"{call}: {got.dtype}, expected {expected.dtype}"
        close(got, expected, 4e-6 if expected.dtype == np.float32 else 1e-13, call)


@every_operation
def test_traced_is_eager(operation):
    """The function and its pullback as Graphs, each line lowered: rules are made of rows."""
    for call in operation.calls[::2]:
        if not call.places or (operation.row and operation.row.effects != "none"):
            continue
        if any(isinstance(a, tuple) for a in call.case.args):
            continue
        compare_traced(call, call, call.xs)
        if not operation.nondiff and call.differentiable:
            w = random(operation.rng(), call.value)
            compare_traced(lambda *xs: ad.vjp(call, *xs)[1](w), call, call.xs)  # noqa: B023


def compare_traced(f, call, xs):
    graph, out = trace(f, *map(aval_of, xs))
    results = flatten(out)[0]
    graph.outputs = [r.node for r in results if isinstance(r, Symbol)]
    with np.errstate(all="ignore"):
        expected = [e for e, r in zip(flatten(f(*xs))[0], results, strict=True)
                    if isinstance(r, Symbol)]
        got = run(graph, *xs, *graph.closed)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == np.asarray(e).dtype, f"{call}: {g.dtype}"
        close(g, e, 100 * TOLERANCE["float32"] if g.dtype == np.float32 else 1e-11, call)


# ---- derivatives

@every_derivative
def test_adjoint_identity(operation):
    """<w, J dx> = <J'w, dx>: the jvp and the vjp rule are transposes of each other."""
    rng = operation.rng()
    assert operation.gradients
    for call in operation.gradients:
        if call.case.domain == "singular":
            continue
        w, dxs = random(rng, call.value), directions(rng, call.xs)
        _, pull = ad.vjp(call, *call.xs)
        _, dy = ad.jvp(call, call.xs, dxs)
        parts = pull(w)
        for x, dx in zip(call.xs, parts, strict=True):
            assert aval_of(dx) is aval_of(x), f"{call}: a gradient of {aval_of(dx)}"
        assert aval_of(dy) is aval_of(np.asarray(call.value)), f"{call}: a tangent {aval_of(dy)}"
        (left, a), (right, b) = inner([w], [dy]), inner(parts, dxs)
        assert abs(left - right) <= call.tolerance * (a + b + 1e-30), call


@every_derivative
def test_regular_points_are_quiet(operation):
    """No rule divides by zero or overflows on its way to a finite result."""
    rng = operation.rng()
    with np.errstate(all="raise", under="ignore"):
        for call in operation.gradients:
            if call.case.domain == "regular" and all(np.size(x) for x in call.leaves):
                y, pull = ad.vjp(call, *call.xs)
                pull(random(rng, y))
                ad.jvp(call, call.xs, directions(rng, call.xs))


@every_derivative
def test_finite_differences(operation):
    rng = operation.rng()
    calls = [c for c in operation.gradients if c.precise]
    assert calls
    for call in calls:
        dxs = directions(rng, call.xs)
        close(ad.jvp(call, call.xs, dxs)[1], slope(call, call.xs, dxs), 1e-7, call)


@every_derivative
def test_second_order(operation):
    """Forward over reverse, reverse over forward, reverse twice; differences of the gradient."""
    rng = operation.rng()
    for call in [c for c in operation.gradients if c.precise]:
        w, dxs = random(rng, call.value), directions(rng, call.xs)

        def gradient(*xs, call=call, w=w):
            return ad.vjp(call, *xs)[1](w)

        def along(*xs, call=call, w=w, dxs=dxs):
            return (ad.jvp(call, xs, dxs)[1] * w).sum()

        def against(*xs, dxs=dxs, gradient=gradient):
            return sum((g * dx).sum() for g, dx in zip(gradient(*xs), dxs, strict=True))
        every = tuple(range(len(call.xs)))
        forward_reverse = ad.jvp(gradient, call.xs, dxs)[1]
        reverse_forward = ad.grad(along, every)(*call.xs)
        reverse_reverse = ad.grad(against, every)(*call.xs)
        for k in every:
            measured = slope(lambda *xs, k=k, g=gradient: g(*xs)[k], call.xs, dxs)
            close(forward_reverse[k], measured, 1e-6, call)
            close(reverse_forward[k], forward_reverse[k], 1e-9, call)
            close(reverse_reverse[k], forward_reverse[k], 1e-9, call)


@pytest.mark.parametrize("operation", SPECIAL, ids=str)
def test_modes_agree_at_special_points(operation):
    """At kinks and singular points both modes give one answer, NaN included."""
    for call in operation.gradients:
        if call.case.domain == "regular":
            continue
        y, pull = ad.vjp(call, *call.xs)
        for k, x in enumerate(call.xs):
            if operation.row is not None and operation.row.elementwise:
                pairs = [(np.ones_like(x), np.ones_like(y), slice(None), slice(None))]
            else:
                pairs = [(unit(x, i), unit(y, j), i, j)
                         for i in range(np.size(x)) for j in range(np.size(y))]
            for dx, w, i, j in pairs:
                dxs = tuple(dx if n == k else np.zeros_like(z) for n, z in enumerate(call.xs))
                dy = only(call, k, dxs[k])
                np.testing.assert_array_equal(
                    np.ravel(dy)[j], np.ravel(pull(w)[k])[i], err_msg=f"{call}, argument {k}")


def only(call, k, dx):
    """The tangent of the result when argument k alone moves (the others are constants)."""
    def f(x):
        return call(*call.xs[:k], x, *call.xs[k + 1:])
    return ad.jvp(f, (call.xs[k],), (dx,))[1]


def unit(x, i):
    e = np.zeros_like(np.ravel(x))
    e[i] = 1
    return e.reshape(np.shape(x))


# ---- what is kept

@every_rule
def test_vjp_reads_only_what_it_keeps(operation):
    """The rule as it stands, on arrays: what `keeps` does not name is an Aval."""
    row = operation.row
    for call in operation.gradients:
        args, y = call.case.args, call.value
        w = random(operation.rng(), y)
        seen = [a if row.kept(i) else aval_of(np.asarray(a)) for i, a in enumerate(args)]
        result = y if row.kept("y") else aval_of(np.asarray(y))
        for needs in wishes(len(args), call.places):
            parts = row.vjp(w, result, *seen, needs, **call.case.params)
            assert len(parts) == len(args), call
            for part, need in zip(parts, needs, strict=True):
                assert part is None or need, f"{call}: a cotangent nobody asked for ({needs})"


def wishes(count, places):
    """Each differentiable argument alone, and all of them."""
    for chosen in {tuple(places), *[(k,) for k in places]}:
        yield tuple(k in chosen for k in range(count))


@pytest.mark.parametrize("operation", [
    o for o in DIFFERENTIABLE if o.row is not None and o.name not in ("item", "cast")], ids=str)
def test_float32_stays_float32_inside_the_rules(operation):
    row = operation.row
    single = [c for c in operation.gradients
              if all(np.asarray(a).dtype in (np.float32, np.bool_, np.intp) for a in c.case.args)
              and np.asarray(c.value).dtype == np.float32]
    assert single, "no case in float32"
    for call in single:
        args, y = [np.asarray(a)[()] for a in call.case.args], call.value
        needs = tuple(i in call.places for i in range(len(args)))
        parts = row.vjp(random(operation.rng(), y), y, *args, needs, **call.case.params)
        dy = row.jvp([a if n else None for a, n in zip(args, needs, strict=True)], y, *args,
                     **call.case.params)
        for part in (*parts, dy):
            assert part is None or part.dtype == np.float32, f"{call}: a part of {part.dtype}"


# ---- batches

def batched(rng, x, size=3, near=False):
    """Several arrays with the elements of x in another order: none leaves the domain."""
    if near:
        x = np.asarray(x)
        moved = [x + 0.01 * rng.normal(size=x.shape) for _ in range(size)]
        return np.stack(moved if x.dtype.kind in "fc" else [x] * size).astype(x.dtype)
    flat = np.ravel(x)
    return np.stack([np.reshape(rng.permutation(flat), np.shape(x)) for _ in range(size)])


@every_operation
def test_batch_is_a_loop(operation):
    rng = operation.rng()
    for call in operation.calls:
        places = [k for k, a in enumerate(call.leaves) if type(a) not in (int, float)]
        for count in range(1, len(places) + 1):
            for mapped in combinations(places, count):
                compare_batch(rng, call, mapped)


def compare_batch(rng, call, mapped):
    near = call.operation.cases.near
    stacks = {k: batched(rng, call.leaves[k], near=near) for k in mapped}

    def f(*xs):
        leaves = list(call.leaves)
        for k, x in zip(mapped, xs, strict=True):
            leaves[k] = x
        return call.with_leaves(leaves)
    with np.errstate(all="ignore"):
        got = np.asarray(ad.vmap(f)(*stacks.values()))
        expected = np.stack([f(*[s[i] for s in stacks.values()]) for i in range(3)])
    assert got.dtype == expected.dtype, f"{call} over {mapped}: {got.dtype}, not {expected.dtype}"
    close(got, expected, 4e-6 if got.dtype == np.float32 else 1e-13, f"{call} over {mapped}")


@every_derivative
def test_derivatives_in_a_batch(operation):
    """vmap of the pullback and of the jvp, every array batched, index arrays too."""
    rng = operation.rng()
    for call in operation.gradients:
        places = [k for k, a in enumerate(call.leaves) if type(a) not in (int, float)]
        if call.case.domain != "regular":
            continue
        stacks = [batched(rng, call.leaves[k], near=operation.cases.near) for k in places]
        w, dxs = random(rng, call.value), directions(rng, call.xs)

        def both(*given, call=call, places=places, w=w, dxs=dxs):
            leaves = list(call.leaves)
            for k, x in zip(places, given, strict=True):
                leaves[k] = x

            def f(*xs):
                inside = list(leaves)
                for k, x in zip(call.places, xs, strict=True):
                    inside[k] = x
                return call.with_leaves(inside)
            xs = [leaves[k] for k in call.places]
            return ad.vjp(f, *xs)[1](w), ad.jvp(f, tuple(xs), dxs)[1]
        got = flatten(ad.vmap(both)(*stacks))[0]
        loop = [flatten(both(*[s[i] for s in stacks]))[0] for i in range(3)]
        for g, *e in zip(got, *loop, strict=True):
            close(g, np.stack(e), 4e-5 if np.asarray(g).dtype == np.float32 else 1e-10, call)


# ---- the flat way is the general way

@every_row
def test_flat_is_general(operation):
    f, row = APPLY[operation.name], operation.row
    for call in operation.calls:
        args, params = call.case.args, call.case.params
        if any(isinstance(a, tuple) for a in args):
            continue
        with np.errstate(all="ignore"):
            same(f(*args, **params), bind(row, args, params), call)
            for chosen in choices(call.places):
                flat = recorded(f, call, chosen)
                with ad.tape():
                    general = recorded(f, call, chosen)
                for a, b in zip(flat, general, strict=True):
                    same(a, b, f"{call}, tensors {chosen}")


def choices(places):
    return [c for n in range(1, len(places) + 1) for c in combinations(places[:2], n)]


def recorded(f, call, chosen):
    """The value, and the gradients if it has any, with the chosen arguments as leaves."""
    args = [ad.tensor(a, requires_grad=True) if k in chosen else a
            for k, a in enumerate(call.case.args)]
    y = f(*args, **call.case.params)
    value = y.detach().numpy()
    if not y.requires_grad:
        return [value]
    y.backward(np.linspace(0.5, 1.5, value.size).reshape(value.shape).astype(value.dtype))
    grads = [args[k].grad for k in chosen]
    return [value, *[np.zeros(0) if g is None else g.numpy() for g in grads]]
