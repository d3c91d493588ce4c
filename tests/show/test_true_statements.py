"""What `ad.explain` prints is true: of hooks, complex numbers, Jacobians, names, and bad settings.

Every number is compared with one that is computed without the library's rules: by hand, by NumPy,
or by differences.
"""
# ruff: noqa: RET504 - an assignment gives the result its name

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


# ---- hooks

def hooked(x):
    a = x * x
    a.register_hook(lambda d: d * 10.0)
    y = 2.0 * a
    return y


def clipped(x):
    a = x * x
    a.register_hook(lambda d: np.clip(d, -1.0, 1.0))
    return 2.0 * a.sum()


def test_forward_mode_passes_by_a_hook():
    e = ad.explain(hooked, 3.0)
    row = next(r for r in e.forward("x").dict()["rows"] if r["step"] == "a")
    assert row["tangent"] == 6.0 and row["numbers"] == "6"
    assert row["rule"] == "a\u0307 = v\u03072"
    assert e.tangent(None, "x") == 12.0  # d(2 x^2)/dx at 3
    assert "tangents pass it by" in str(e.forward("x"))


def test_a_hook_has_no_factor_in_the_reverse_trace():
    table = ad.explain(hooked, 3.0).table("reverse")
    row = next(r for r in table.dict()["rows"] if "hook" in r["rule"])
    assert row["adjoint"] == 20.0
    text = table.text(160)
    assert "hook(2) = 20" in text and "∂a/∂v2" not in text and "A hook stands on a" in text


def test_products_over_paths_are_the_derivative_and_say_so():
    e = ad.explain(hooked, 3.0)
    for p in (e.paths("x"), e.paths("x", group=True)):
        assert p.total == 12.0 != e.adjoint("x") == 120.0
        assert sum(path.product for path in p) == 12.0
        assert "a hook on a has changed what goes back" in " ".join(p.notes)
    chain = e.chain()
    assert chain["x"] == 12.0 and [float(line.factor) for line in chain] == [2.0, 6.0]
    assert "a hook on a" in " ".join(chain.sheet().notes)
    assert e.partial("a", "v2") == 1.0


@pytest.mark.parametrize("elements", [False, True])
def test_a_hook_on_an_array_is_an_identity_in_paths(elements):
    e = ad.explain(clipped, np.array([1.0, -2.0, 3.0]))
    p = e.paths("x[1]" if elements else "x", elements=elements)
    expected = 4.0 * np.array([1.0, -2.0, 3.0])
    assert np.array_equal(p.total, expected[1] if elements else expected) and p.count == 2
    assert np.array_equal(e.adjoint("x"), expected / 2.0)  # clipped: 1, not 2
    assert "hook" not in p[0].formulas and ("I" in p[0].formulas or elements)


def test_latex_writes_a_hook_as_a_function():
    e = ad.explain(hooked, 3.0)
    latex = str(e.latex())
    assert r"\frac{\partial a}" not in latex and r"\mathrm{hook}(\bar{a}) = 20" in latex
    assert r"a hook: no derivative" in latex


def test_why_tells_of_a_hook_and_the_picture_names_it():
    e = ad.explain(hooked, 3.0)
    said = str(e.why("x"))
    assert e.why("x").kinds[:2] == ["gradient", "hook"]
    assert "dy/dx" not in said and "turns 2 into 20" in said
    assert ">hook<" in e.graph().svg() and "= 10" not in e.graph().svg()


def test_a_hook_that_answers_nothing_changes_nothing_that_is_said():
    def f(x):
        a = x * x
        a.register_hook(lambda d: None)
        return 2.0 * a
    e = ad.explain(f, 3.0)
    assert e.paths("x").total == e.adjoint("x") == 12.0
    assert "hook" not in " ".join(e.paths("x").notes) and "hook" not in e.why("x").kinds


def test_the_users_function_is_asked_in_the_sweep_alone():
    asked = []

    def f(x):
        a = x * x
        a.register_hook(lambda d: asked.append(float(d)))
        return 2.0 * a
    e = ad.explain(f, 3.0)
    for said in (e.table(), e.forward(), e.paths("x"), e.chain(), e.latex(), e.why()):
        str(said)
    assert asked == [2.0]


def test_a_hook_on_an_input_is_told_of():
    def f(x):
        x.register_hook(lambda d: 3.0 * d)
        return x * x
    e = ad.explain(f, 2.0)
    assert e.adjoint("x") == 4.0 and "A hook hangs on x" in str(e.table())


def test_a_search_asks_a_hook_for_each_path():
    e = ad.explain(clipped, np.array([1.0, -2.0, 3.0]))
    assert "once for each path" in str(e.steps("dfs"))


# ---- Jacobians between arrays, by the name that they deserve

def named_matrix(text, step, source, values):
    """The matrix that a factor of `paths` names."""
    text = text.strip("()")
    if " · " in text:
        left, right = (named_matrix(t, step, source, values) for t in text.split(" · "))
        return left @ right if np.ndim(left) else left * right
    if text.startswith("-"):
        return -named_matrix(text[1:], step, source, values)
    if text.startswith("diag("):
        return np.diag(np.ravel(np.broadcast_to(values[text[5:]], step)))
    if text == "broadcast":
        places = np.broadcast_to(np.arange(np.prod(source, dtype=int)).reshape(source), step)
        return np.eye(np.prod(source, dtype=int))[places.ravel()]
    if text == "ones":
        return np.ones((np.prod(step, dtype=int), np.prod(source, dtype=int)))
    if text == "I":
        return np.eye(np.prod(step, dtype=int))
    base = np.asarray(values[text.removesuffix("^T")])
    if text.endswith("^T"):
        return base.T
    return base if base.ndim != 1 or np.prod(source, dtype=int) != 1 else base[:, None]


RNG = np.random.default_rng(0)
X, B, C, W = RNG.normal(size=(4, 3)), RNG.normal(size=3), 2.5, RNG.normal(size=(3, 5))


@pytest.mark.parametrize("f, args, expected", [
    (lambda x, b: x + b, (X, B), ("I", "broadcast")),
    (lambda x, b: x - b, (X, B), ("I", "-broadcast")),
    (lambda x, b: x * b, (X, B), ("diag(b)", "diag(x) · broadcast")),
    (lambda x, c: x + c, (B, C), ("I", "ones")),
    (lambda x, c: c - x, (B, C), ("-I", "ones")),
    (lambda x, c: x * c, (B, C), ("c · I", "x")),
    (lambda x: x.sum(), (B,), ("ones",)),
    (lambda x: x.reshape(3, 1), (B,), ("I",)),
    (lambda x: x[1:], (B,), ("∂v2/∂x",)),
    (np.cumsum, (B,), None),
    (lambda x, w: x @ w, (B, W), ("w^T", "∂v3/∂w")),
    (lambda w, x: w @ x, (W.T, B), ("∂v3/∂w", "w"))])
def test_a_jacobian_is_named_as_what_it_is(f, args, expected):
    e = ad.explain(f, *args)
    output = e.record.output
    for k, step in enumerate(e.record.inputs):
        (edge,) = e.paths(step.name)[0].edges
        assert edge.text != "1"
        if expected is not None:
            assert edge.text == expected[k]
        if "∂" not in edge.text and "∈" not in edge.text:
            values = {s.name: s.value for s in e.record.steps}
            got = named_matrix(edge.text, output.shape, step.shape, values)
            reference = jacobian(f, args, k)
            np.testing.assert_allclose(np.reshape(got, reference.shape), reference, atol=1e-7)
            assert np.array_equal(np.shape(got), np.shape(edge.factor))


def jacobian(f, args, k, h=1e-6):
    """By central differences: (elements of the result, elements of argument k)."""
    columns = []
    for j in range(np.size(args[k])):
        step = np.zeros(np.size(args[k]))
        step[j] = h
        step = step.reshape(np.shape(args[k]))
        ends = [np.ravel(f(*[a + s * step if i == k else a for i, a in enumerate(args)]))
                for s in (1.0, -1.0)]
        columns.append((ends[0] - ends[1]) / (2.0 * h))
    return np.stack(columns, 1)


def test_a_number_that_is_spread_meets_ones():
    e = ad.explain(lambda x: x.sum(), np.ones(3))
    assert [r["rule"] for r in e.table("reverse").dict()["rows"]][1].endswith("· ones")


def test_an_element_of_a_linear_map_has_no_formula_that_is_another_number():
    e = ad.explain(lambda x, w: np.einsum("i,i->", x, w), B, 2.0 * B)
    for path in e.paths("x[1]"):
        assert path.formulas == ["∂v3/∂x[1]"] and path.factors == [2.0 * B[1]]


# ---- complex numbers

def by_axes(f, z, h=1e-6):
    """dL/dRe z - i dL/dIm z of the real part of f, by central differences."""
    z = np.asarray(z, complex)
    found = np.zeros(z.shape, complex)
    for j in np.ndindex(z.shape):
        for step, unit in ((h, 1.0), (1j * h, -1j)):
            up, down = z.copy(), z.copy()
            up[j] += step
            down[j] -= step
            found[j] += unit * (np.real(f(up[()])) - np.real(f(down[()]))) / (2 * h)
    return found[()]


def size_squared(z):
    a = np.abs(z)
    return a**2


def turned_by_a_wave(x):
    z = np.exp(1j * x)
    w = z * (2 + 1j)
    return np.real(w)


def weighed(z):
    c = np.conj(z)
    return np.imag(c * z * z * (1 + 1j))


Z = np.array([0.5 - 1.0j, 2.0 + 0.25j, -1.0 + 1.0j])


@pytest.mark.parametrize("f, z", [
    (size_squared, 1 + 2j), (weighed, 1 + 2j), (lambda z: np.sum(weighed(z)), Z),
    (lambda z: z * z * np.exp(z), 1 + 2j), (lambda z: np.conj(z) * 2j, 1 + 2j),
    (lambda z: np.linalg.norm(z), Z),  # noqa: PLW0108 - NumPy's own has no frame of the user's
    (lambda z: np.real(np.vdot(z, z * Z)), Z), (lambda z: np.var(z), Z)])  # noqa: PLW0108
def test_the_adjoint_of_a_complex_input_is_what_the_table_says(f, z):
    e = ad.explain(f, z)
    expected = by_axes(f, z)
    np.testing.assert_allclose(e.adjoint("z"), expected, rtol=1e-6, atol=1e-8)
    assert "minus i times" in str(e.table())
    said = str(e.why("z"))
    assert "dRe(z)" in said and "dIm(z)" in said


def test_the_partial_of_a_modulus_is_the_conjugate_of_its_direction():
    e = ad.explain(size_squared, 1 + 2j)
    text = e.table().text(160)
    assert "conj(sign(z))" in text and "ā · sign(z)" not in text
    assert r"\frac{\partial a}{\partial z} &= \overline{\mathrm{sign}(z)} = 0.447-0.894j" in str(
        e.latex())
    np.testing.assert_allclose(e.partial("a", "z"), by_axes(np.abs, 1 + 2j), rtol=1e-6)
    assert ad.explain(size_squared, -3.0).table().text(160).count("sign(z)") == 1  # real: plain


def test_real_parts_are_taken_aloud():
    e = ad.explain(turned_by_a_wave, 0.5)
    h = 1e-6
    slope = (turned_by_a_wave(0.5 + h) - turned_by_a_wave(0.5 - h)) / (2 * h)
    np.testing.assert_allclose([e.adjoint("x"), e.tangent(None, "x")], slope, rtol=1e-6)
    rows = e.table("reverse").dict()["rows"]
    assert rows[-1]["rule"].endswith("Re(v\u03042 · (0+1j))")
    assert rows[-1]["contribution"] and "Re((1.276+1.836j) · (0+1j))" in str(e.table("reverse"))
    forward = e.forward("x").text(160)
    assert "Re(w\u0307 · 1)" in forward.replace("\u1e87", "w\u0307")
    assert "Re((-1.836+1.276j) · 1)" in forward
    assert r"\mathrm{Re}\left(\bar{v}_{2} \cdot (0+1j)\right) = -1.836" in str(e.latex())


def test_a_conjugate_has_no_partial():
    e = ad.explain(weighed, 1 + 2j)
    text = e.table().text(200)
    assert "conj(c\u0304)" in text and "∂c/∂z: not holomorphic" in text and "∂c/∂z = 1" not in text
    with pytest.raises(ArgumentError, match="not holomorphic"):
        e.partial("c", "z")
    assert r"\leftarrow \overline{\bar{c}}" in str(e.latex())
    assert "conjugate(z\u0307)" in e.forward().text(200).replace("\u017c", "z\u0307")
    assert "not holomorphic" in e.graph().svg()
    for call in (e.chain, lambda: e.paths("z")):
        with pytest.raises(ArgumentError, match=r"e\.table\('reverse'\)"):
            call()


def test_a_complex_result_is_said_to_be_that_of_its_real_part():
    def f(x):
        return np.exp(1j * x)
    e = ad.explain(f, 0.5)
    np.testing.assert_allclose(e.adjoint("x"), -np.sin(0.5))
    assert "derivatives of its real part" in str(e.table())
    assert "dRe(v3)/dx" in str(e.why("x"))
    other = ad.explain(f, 0.5, cotangent=-1j)
    np.testing.assert_allclose(other.adjoint("x"), np.cos(0.5))  # Im e^ix = sin x
    assert "Re(u v3)" in str(other.table())


def test_a_row_without_a_formula_for_complex_numbers_claims_none():
    h = np.array([[2.0, 0.5 + 0.5j], [0.5 - 0.5j, 3.0]])
    e = ad.explain(lambda h: np.real(np.linalg.cholesky(h)[1, 0]), h)
    text = e.table().text(200)
    assert "pullback(" in text and "∂v2/∂h: not holomorphic" in text
    assert r"\mathrm{pullback}(" in str(e.latex()) and "pushforward(" in e.forward().text(200)


# ---- rules that are written with indices, or by subscripts

@pytest.mark.parametrize("f, said", [
    (np.max, "[x_i = v2]/count([x = v2])"), (np.prod, "prod(j ≠ i) x_j"),
    (np.sort, "[v2_i ← x_j]"), (lambda x: np.linalg.norm(x), "x/v2"),  # noqa: PLW0108
    (np.var, "2/(n - 0) (x_i - mean(x))"), (ad.logsumexp, "e^(x - v2)")])
def test_what_goes_back_through_a_reduction_has_a_formula(f, said):
    e = ad.explain(lambda x: f(x) * 1.0, np.array([1.0, 3.0, 2.0]))
    assert f"· {said}" in e.table("reverse").text(200) or f"· ({said})" in e.table(
        "reverse").text(200)


def test_the_pullback_of_an_einsum_names_its_subscripts():
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
    e = ad.explain(lambda a, b: np.einsum("ij,jk->ik", a, b).sum(), a, b)
    rules = [r["rule"] for r in e.table("reverse").dict()["rows"]]
    assert any("einsum('ik,jk->ij', v\u03043, b)" in r for r in rules)
    assert any("einsum('ik,ij->jk', v\u03043, a)" in r for r in rules)
    assert r"\mathrm{einsum}_{\mathtt{ik,jk->ij}}(" in str(e.latex())
    dy = np.ones((2, 4))
    np.testing.assert_allclose(e.adjoint("a"), np.einsum("ik,jk->ij", dy, b))


def test_an_axis_that_einsum_broadcast_is_not_told_by_subscripts():
    e = ad.explain(lambda a, b: np.einsum("ij,j->i", a, b).sum(), np.ones((2, 3)), np.ones(1))
    assert "->" not in " ".join(r["rule"] for r in e.table("reverse").dict()["rows"])


# ---- names

def test_a_swap_leaves_the_names_of_the_lines():
    def f(x):
        a = x * 2.0
        b = x * 3.0
        a, b = b, a
        return a - 2.0 * b

    def g(x):
        a, b = x * 2.0, x * 3.0
        a, b = b, a
        return a - 2.0 * b
    for program in (f, g):
        e = ad.explain(program, 1.0)
        assert e.names[:3] == ["x", "a", "b"] and (e.value("a"), e.value("b")) == (2.0, 3.0)


def test_attributes_and_entries_of_a_dict_name_steps():
    class Net:
        def __call__(self, x):
            self.h = np.tanh(x)
            found = {}
            found["sq"] = self.h * self.h
            found["mean"] = np.mean(found["sq"])
            self.h += x
            return found["mean"] * self.h

    e = ad.explain(Net(), np.array([0.5, 1.0]))
    h = np.tanh([0.5, 1.0])
    assert e.names == ["x", "self.h", "found['sq']", "v4", "found['mean']", "self.h.2", "v7"]
    np.testing.assert_allclose(e.value("found['mean']"), np.mean(h * h))
    np.testing.assert_allclose(e.value("self.h.2"), h + [0.5, 1.0])
    assert e.paths("x", "self.h")[0].formulas == ["diag(1 - self.h^2)"]
    assert "self.h" in str(e.latex()) and "self.h" in e.graph().svg()


def test_a_name_is_only_that_of_the_whole_expression():
    def f(x):
        y = np.sin(x * 2.0) + 1.0
        y = helped(y)
        return y * y
    assert ad.explain(f, 0.5).names == ["x", "v2", "v3", "y", "inner", "v6"]


def helped(x):
    inner = x * 3.0
    return inner


def test_names_come_from_variables_where_there_is_no_source():
    space = {}
    exec("def f(x):\n    a = x * 2.0\n    b = a * a\n    return b + a", space)
    assert ad.explain(space["f"], 1.0).names == ["x", "a", "b", "v4"]


# ---- operations, counted

def operations(f, *args):
    """Mode: operations in all."""
    return {r["mode"]: r["operations"] for r in ad.explain(f, *args).modes().dict()["rows"]}


A = RNG.normal(size=(6, 6)) + 6.0 * np.eye(6)


@pytest.mark.parametrize("f, args, expected", [  # by Golub and Van Loan, Matrix Computations
    (np.linalg.solve, (A, np.ones(6)), 2 * 216 / 3 + 2 * 36),
    (np.linalg.inv, (A,), 2 * 216), (np.linalg.det, (A,), 2 * 216 / 3),
    (np.linalg.cholesky, (A @ A.T,), 216 / 3),
    (lambda a: np.linalg.svd(a)[1], (A,), 22 * 216),
    (lambda a: np.linalg.eigh(a)[1], (A @ A.T,), 9 * 216),
    (lambda a: np.linalg.inv(a), (np.stack([A, 2.0 * A]),), 2 * 2 * 216)])  # noqa: PLW0108
def test_a_factorisation_counts_its_operations(f, args, expected):
    plain = operations(lambda *xs: np.sum(f(*xs) * 1.0), *args)
    size = np.size(f(*args))
    assert plain["values"] == expected + 2 * size - 1  # times 1, and a sum
    assert "counts" in ad.explain(lambda *xs: np.sum(f(*xs)), *args).modes().notes[1]


def test_a_checkpoint_counts_what_it_runs():
    def body(x):
        return np.tanh(x @ x @ x)
    plain = operations(lambda x: np.sum(body(x)), A)
    assert operations(lambda x: np.sum(ad.checkpoint(body)(x)), A) == plain
    assert plain["values"] == 2 * (2 * 216 - 36) + 36 + 35  # two products, tanh, a sum


# ---- what a reader would take for a formula of something else

def test_an_index_array_stands_in_the_tangents_rule():
    e = ad.explain(lambda x: x[np.array([0, 0, 2])].sum(), B)
    assert "x\u0307[[0 0 2]]" in e.forward().text(160).replace("\u1e8b", "x\u0307")


def test_a_matrix_is_no_jacobian_of_a_stack_of_cotangents():
    e = ad.explain(lambda w, x: np.tanh(w @ x), W.T, B)
    rules = " ".join(r["rule"] for r in e.table("reverse").dict()["rows"])
    assert "· ∂v3/∂w" in rules and "· ∂v3/∂x" in rules


def test_an_input_that_is_the_result_depends_on_itself():
    assert "is an input itself" in str(ad.explain(lambda x: x, 2.0).chain())


def test_a_value_that_goes_on_as_a_constant_alone_is_told_of():
    def f(x):
        y = (x * x).detach()
        return y * x
    e = ad.explain(f, 3.0)
    assert e.adjoint("x") == 9.0 and "cut" in e.why("x").kinds


# ---- LaTeX that compiles, and fits

def test_an_element_of_a_dotted_name_has_one_subscript_each():
    def f(x):
        return (x * 2.0)[0] * 3.0
    e = ad.explain(f, np.array([1.0, 2.0]))
    assert r"{\dot{v}_{2}{}}_{0}" in e.forward().latex()
    assert r"{\dot{v}_{2}}_{0}" not in e.forward().latex()


def test_a_document_of_a_derivation_is_as_wide_as_that_of_a_table():
    e = ad.explain(lambda x: np.sort(x) * x, RNG.normal(size=4))
    for text in (e.latex().document(), e.table().latex(document=True)):
        assert r"\setlength{\textwidth}{17cm}" in text and r"\setlength{\arraycolsep}" in text


# ---- errors and counts in words

def test_the_partial_of_an_input_is_told_to_be_none():
    with pytest.raises(ArgumentError, match="x is an input, which is computed from nothing"):
        ad.explain(square, 2.0).partial("x", wrt="v2")


def test_one_is_no_plural():
    assert repr(ad.explain(square, 2.0)) == (
        "Explanation of square: 1 input, 1 operation, result v2")


def test_a_hook_on_a_complex_step_sees_the_conjugate():
    seen = []

    def f(z):
        w = z * z
        w.register_hook(lambda d: seen.append(complex(d.item())) or 2.0 * d)
        return np.real((1.0 + 3.0j) * w)
    e = ad.explain(f, 1 + 2j)
    text = e.table("reverse").text(200)
    assert seen == [1 - 3j] and "conj(hook(1-3j)) = 2+6j" in text
    assert "conj(hook(conj(w\u0304)))" in text.replace("\u1e87", "w\u0304")
    assert r"\overline{\mathrm{hook}(\overline{\bar{w}})}" in str(e.latex())
