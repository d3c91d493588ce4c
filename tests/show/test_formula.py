"""Formulas: their grammar against Python's, their derivatives, every error, and safety."""

from __future__ import annotations

import ast
import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adjoint as ad
from adjoint.core.primitive import PUBLIC
from adjoint.errors import ArgumentError, FormulaError, ShapeError
from adjoint.show import formula, formula_parser, formula_words
from adjoint.show.formula import parse, parse_values
from adjoint.teach import Value

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())
BAYDIN = "ln(x1) + x1*x2 - sin(x2)"
UFUNCS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
FUNCTIONS = {"sin": np.sin, "exp": np.exp, "tanh": np.tanh, "sqrt": np.sqrt, "log": np.log,
             "maximum": np.maximum, "hypot": np.hypot, "abs": np.abs}


class Recorded:
    """A number that remembers how it was made; Python's own parser decides that."""

    def __init__(self, value, tree):
        self.value, self.tree = value, tree

    def __neg__(self):
        return Recorded(np.negative(self.value), ("-", self.tree))


def operator(sign):
    return lambda x, z: Recorded(
        UFUNCS[sign](x.value, z.value), (sign.replace("**", "^"), x.tree, z.tree))


for name, sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**"}.items():
    setattr(Recorded, f"__{name}__", operator(sign))


def recorded_function(name):
    return lambda *xs: Recorded(FUNCTIONS[name](*[x.value for x in xs]),
                                (name, *[x.tree for x in xs]))


def tree(read):
    """The pieces of a formula, nested."""
    found = []
    for piece in read.pieces:
        if piece.function is None:
            found.append(float(piece.name) if piece.kind == "number" else piece.name)
        else:
            found.append((piece.name, *[found[k] for k in piece.arguments]))
    return found[read.result]


def calls(inner):
    one = st.sampled_from(["sin", "exp", "tanh", "sqrt", "log", "abs"])
    two = st.sampled_from(["maximum", "hypot"])
    return (st.builds("{}({})".format, one, inner)
            | st.builds("{}({},{})".format, two, inner, inner))


ATOMS = st.sampled_from(["x", "y", "z1", "2", "0.5", "3", ".25", "1e-3", "4."])
TEXTS = st.recursive(ATOMS, lambda inner: st.one_of(
    st.builds("{}{}{}{}{}".format, inner, st.sampled_from(["", " "]),
              st.sampled_from(["+", "-", "*", "/", "**", "**", "^"]),
              st.sampled_from(["", " "]), inner),
    st.builds("-{}".format, inner), st.builds("({})".format, inner), calls(inner)), max_leaves=12)


# ---- the grammar

@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_groups_and_computes_as_python_and_numpy_do(text):
    at = {"x": 1.25, "y": -0.75, "z1": 2.0}
    names = {k: Recorded(np.float64(v), k) for k, v in at.items()}
    names |= {name: recorded_function(name) for name in FUNCTIONS}
    source = ast.parse(text.replace("^", "**"), mode="eval")
    for node in ast.walk(source):
        if isinstance(node, ast.Constant):
            node.value = Recorded(np.float64(node.value), float(node.value))
    names["abs"] = recorded_function("abs")

    class Lifted(ast.NodeTransformer):
        def visit_Constant(self, node):
            key = f"number_{len(names)}"
            names[key] = node.value
            return ast.Name(key, ast.Load())
    source = ast.fix_missing_locations(Lifted().visit(source))
    with np.errstate(all="ignore"):
        expected = eval(compile(source, "", "eval"), {}, names)
    read = parse(text)
    assert tree(read) == expected.tree
    value = read.f(**{v: at[v] for v in read.variables})
    np.testing.assert_allclose(value, expected.value, rtol=1e-12)


@pytest.mark.parametrize("text, same", [
    ("2x", "2*x"), ("2 sin(x)", "2*sin(x)"), ("x y", "x*y"), ("(x)(y)", "x*y"),
    ("2(x+1)y", "2*(x+1)*y"),
    ("-2x", "(-2)*x"), ("x^2 y", "(x^2)*y"), ("2x^2", "2*(x^2)"), ("x y / z", "(x*y)/z"),
    ("x/y * z w", "((x/y)*z)*w"), ("x²y", "(x^2)*y"), ("-x²", "-(x^2)"), ("x²^3", "(x^2)^3"),
    ("2^x²", "2^(x^2)"), ("x⁻¹", "x^-1"), ("x¹²", "x^12"), ("x**2", "x^2"), ("x·y × z", "x*y*z"),
    ("x − y ÷ z", "x - y/z"), ("+x", "x"), ("x - -y", "x-(-y)"), ("x*-y", "x*(-y)"),
    ("2^-x^2", "2^(-(x^2))"), ("x^y^z", "x^(y^z)"), ("x₁ + x₁₂", "x1 + x12"), ("2π", "2*pi"),
    ("a = x y\nb = a + sin(a)", "x*y + sin(x*y)"), ("a = x; a", "x"), ("a=x;b=a;b*a;\n;", "x*x"),
    ("max(x,\n  y)\n", "max(x,y)"), ("x +\n y", "x+y"), ("3|x| y", "3*abs(x)*y"),
    ("|x| + |y|", "abs(x)+abs(y)"), ("| |x| |", "abs(abs(x))"), ("asin(x)", "arcsin(x)"),
    ("arsinh(x)", "arcsinh(x)"), ("atan2(y, x)", "arctan2(y, x)"), ("√(x)", "sqrt(x)"),
    ("e^x", "exp(x)"), ("σ(x) σ", "sigmoid(x)*σ"), ("sgn(x)", "sign(x)"), ("lg(x)", "log10(x)"),
    ("min(x, y)", "minimum(x, y)"), ("e = x y; 2e", "2*(x*y)"), ("1e2x", "100*x")])
def test_spellings(text, same):
    read, plain = parse(text), parse(same)
    assert set(read.variables) == set(plain.variables)
    at = dict(zip(sorted(plain.variables), [0.625, 0.75, 1.5, 3.0], strict=False))
    assert read.f(**at) == plain.f(**at)


@pytest.mark.parametrize("text, value", [
    ("1/0", np.inf), ("-1/0", -np.inf), ("ln(-1)", np.nan), ("0/0", np.nan), ("10^400", np.inf),
    ("(-8)^(1/3)", np.nan), ("arcsin(2)", np.nan), ("2^-1", 0.5), ("e", np.e), ("π - pi", 0.0),
    ("7", 7.0), (".5e-2", 0.005), ("ln(e^3)", 3.0), ("exp(1000)", np.inf), ("0^-1", np.inf)])
def test_values_without_variables(text, value):
    found = parse(text).f()
    assert type(found) is float
    np.testing.assert_allclose(found, value, rtol=1e-15)


@pytest.mark.parametrize("x", [-1.0, 0.0])
def test_outside_a_domain_there_are_values_and_no_warnings(x):
    f = parse("ln(x) + 1/x + sqrt(x)").f
    assert not np.isfinite(f(x))
    assert not np.isfinite(f(np.array([x]))).any()
    assert not np.isfinite(f(ad.tensor(x, requires_grad=True)).item())


def test_names_given_are_variables():
    assert parse("a*e").variables == ("a",)
    assert parse("a*e", given={"e"}).variables == ("a", "e")
    assert parse("mean + 1", given={"mean"}).variables == ("mean",)
    assert parse("e*a").pieces[0].kind == "constant"


def test_log_is_noted():
    assert parse("log(x) + log(y)").notes == (
        "log is the natural logarithm here, as in NumPy; log10 is the one to base 10.",)
    assert parse("ln(x) + log10(x)").notes == ()


# ---- the function

def test_derivatives_of_the_worked_example():
    golden = GOLDEN["baydin"]
    read = parse(BAYDIN)
    assert read.variables == ("x1", "x2")
    at = read.bind(parse_values("x1=2,x2=5"))
    assert read.f(*at) == pytest.approx(golden["values"]["v7"]["f64"], rel=1e-15)
    found = ad.grad(read.f, argnums=(0, 1))(*at)
    expected = [golden["adjoints"][v]["f64"] for v in read.variables]
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    x1, x2 = (ad.tensor(v, requires_grad=True) for v in at)
    read.f(x1, x2).backward()
    np.testing.assert_allclose([x1.grad.item(), x2.grad.item()], expected, rtol=1e-15)
    np.testing.assert_allclose(ad.jvp(read.f, at, (1.0, 0.0))[1], expected[0], rtol=1e-15)


def test_arrays_tensors_duals_batches_and_teaching_values():
    f = parse("x^2 y + sin(x)/2").f
    xs = np.array([0.5, 1.0, 2.0])
    expected = xs**2 * 3.0 + np.sin(xs) / 2
    np.testing.assert_allclose(f(xs, 3), expected)
    np.testing.assert_allclose(f([0.5, 1.0, 2.0], 3), expected)
    np.testing.assert_allclose(f(ad.tensor(xs), y=3.0).numpy(), expected)
    np.testing.assert_allclose(ad.vmap(lambda x: f(x, 3.0))(xs), expected)
    assert f(Value(2.0), Value(3.0)).data == pytest.approx(expected[2])
    assert f(2, 3) == f(2.0, 3.0)
    np.testing.assert_array_equal(parse("2^x").f(np.array([-1, 2])), [0.5, 4.0])
    assert ad.hessian(parse("x^3").f)(2.0) == 12.0


def test_numbers_adopt_the_dtype_that_they_meet():
    x = ad.tensor(np.float32(2.0), requires_grad=True)
    y = parse("2*pi*x^2/3 - (1/3) x + ln(2)").f(x)
    assert y.dtype == np.float32


def test_reductions_of_vectors():
    values = parse_values("x=[1,2,3], w=[[1,0,0],[0,2,0]]")
    read = parse("L = sum(x*x) + mean(w) + max(x)", given=values)
    assert read.f(**values) == 14 + 0.5 + 3
    np.testing.assert_array_equal(ad.grad(read.f)(values["x"], values["w"]), [2.0, 4.0, 7.0])


def test_shapes_that_do_not_fit_are_the_librarys_error():
    with pytest.raises(ShapeError, match=r"add: the shapes \(2,\) and \(3,\) do not broadcast"):
        parse("x+y").f([1.0, 2.0], [1.0, 2.0, 3.0])


def test_each_step_knows_its_characters():
    text = "a = (x1 + x2)*x1;  y = sin(a)^2 - -a"
    read = parse(text)
    steps = []
    x1, x2 = ad.tensor(2.0, requires_grad=True), ad.tensor(5.0, requires_grad=True)
    y = read.run(x1, x2, on_step=lambda value, piece: steps.append((value, piece)))
    assert [(p.kind, p.text) for _, p in steps] == [
        ("variable", "x1"), ("variable", "x2"), ("operation", "x1 + x2"),
        ("operation", "(x1 + x2)*x1"), ("operation", "sin(a)"), ("number", "2"),
        ("operation", "sin(a)^2"), ("operation", "-a"), ("operation", "sin(a)^2 - -a")]
    assert all(text[slice(*p.span)] == p.text for _, p in steps)
    named = {value.node: piece.text for value, piece in steps if piece.function}
    assert len(named) == 6
    assert named[y.node] == "sin(a)^2 - -a"
    assert read.definitions == {"a": 3, "y": 8}
    assert read.pieces[read.result].text == "sin(a)^2 - -a"
    assert read.pieces[read.definitions["a"]].arguments == (2, 0)


def test_long_steps_have_short_names():
    piece = parse("+".join(["x"] * 100)).pieces[-1]
    assert piece.brief == "x+x+x+x+x+x+x+x+x+x+…x+x+x+x+x+x+x+x+x+x"
    assert parse("max(x,\n    2)").pieces[-1].brief == "max(x, 2)"


def test_arguments_of_the_function():
    f = parse("x + y").f
    assert list(__import__("inspect").signature(f).parameters) == ["x", "y"]
    assert f(1.0, y=2.0) == f(y=2.0, x=1.0) == 3.0
    message = "the formula has the variables x and y; values were given for "
    for args, named, found in (((1.0,), {}, "x"), ((1.0, 2.0, 3.0), {}, "x and y and 1 more"),
                               ((1.0,), {"x": 2.0}, "x and x"), ((), {}, "none"),
                               ((1.0,), {"z": 2.0}, "x and z")):
        with pytest.raises(ArgumentError) as e:
            f(*args, **named)
        assert e.value.message == message + found
    with pytest.raises(ArgumentError, match="a formula is a text, such as 'x1\\*x2', not int"):
        parse(3)


# ---- length and depth

@pytest.mark.parametrize("text, value", [
    ("+".join(["x"] * 100_000), 100_000.0), ("(" * 100_000 + "x" + ")" * 100_000, 1.0),
    ("-" * 100_001 + "x", -1.0), ("^".join(["x"] * 50_000), 1.0), (" ".join(["x"] * 50_000), 1.0),
    ("|" * 9_999 + "x" + "|" * 9_999, 1.0), ("2 (" * 20 + "x" + ")" * 20, 2.0**20),
    ("(\n" * 10_000 + "x" + "\n)" * 10_000, 1.0),
    (";".join(f"a{i} = {f'a{i - 1}' if i else 'x'} + 1" for i in range(20_000)) + ";\n", 20_001.0)],
    ids=["terms", "brackets", "signs", "powers", "products", "bars", "both", "lines", "statements"])
def test_long_and_deep(text, value):
    assert parse(text).f(1.0) == value


def test_derivatives_of_long_and_deep_formulas():
    assert ad.grad(parse("+".join(["x"] * 100_000)).f)(2.0) == 100_000.0
    assert ad.grad(parse("tanh(" * 10_000 + "x" + ")" * 10_000).f)(0.0) == 1.0


@pytest.mark.parametrize("text", [
    "(" * 100_000, "sin(" * 100_000, "|" * 99_999, "(\n" * 100_000, "x" * 1_000_000 + "(1)",
    "max(" + ",".join("1" * 100_000) + ")", "f(" * 100_000, "1" * 1_000_000, "." * 1_000_000,
    ";" * 100_000, "x" + "\u0302" * 100_000 + "+)", "-" * 100_000, "\\" * 100_000])
def test_long_and_wrong(text):
    with pytest.raises(FormulaError) as e:
        parse(text)
    assert len(e.value.message) < 600
    assert 0 <= e.value.position <= len(text)


@pytest.mark.parametrize("text", [
    "x=" + "[" * 100_000, "x=" + "[" * 50_000 + "]" * 50_000, "," * 100_000, "x= a" * 50_000])
def test_long_and_wrong_values(text):
    with pytest.raises(FormulaError) as e:
        parse_values(text)
    assert len(e.value.message) < 400


def test_too_long():
    with pytest.raises(FormulaError) as e:
        parse("x" * 3_000_000)
    assert e.value.message == ("a formula has at most 2,000,000 characters, and this one 3,000,000;"
                               " write it as a Python function")


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("x1y2.,+-*/^()|=;\n []e'θ²₂½\x1b\u0302") | st.characters(),
               max_size=30))
def test_any_text_is_read_or_refused(text):
    refused = []
    for read in (parse, parse_values):
        try:
            found = read(text)
        except FormulaError as e:
            refused.append(e)
        else:
            if read is parse:
                found.f(*[1.0] * len(found.variables))
    for e in refused:
        assert 0 <= e.position <= len(text)
        assert "\x1b" not in e.message


# ---- safety

def test_only_documented_operations_are_reachable():
    ours = set(map(id, PUBLIC.values()))
    table = formula_words.functions()
    assert {"sin", "cos", "ln", "log", "log2", "log10", "exp", "sqrt", "cbrt", "tan", "tanh", "abs",
            "sigmoid", "relu", "max", "min", "atan2", "sum", "softplus", "gelu"} <= set(table)
    for name, by_count in table.items():
        for count, f in by_count.items():
            assert id(f) in ours
            assert f.__module__.startswith("adjoint.ops."), name
            with np.errstate(all="ignore"):
                y = np.asarray(f(*[np.array([0.5, 0.75])] * count))
            assert y.dtype.kind == "f"
            assert y.shape in {(2,), ()}
    assert not {"eval", "exec", "open", "getattr", "item", "write_out", "full", "where", "cast",
                "reshape", "einsum", "piecewise", "__import__", "bitwise_and"} & set(table)


@pytest.mark.parametrize("module", [formula, formula_parser, formula_words])
def test_nothing_is_run_as_python(module):
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Name):
            assert node.id not in {"eval", "exec", "compile", "__import__", "globals", "vars"}
        if isinstance(node, ast.Import):
            assert "importlib" not in {a.name for a in node.names}


@pytest.mark.parametrize("module", [formula, formula_parser, formula_words])
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(module, extraglobs={"ad": ad, "np": np},
                            optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0


# ---- errors: the text, the carets below it, and the message

ERRORS = [
    ("", "", "there is no formula; write one, such as ln(x1) + x1*x2 - sin(x2)"),
    ("  ;\n", "", "there is no formula; write one, such as ln(x1) + x1*x2 - sin(x2)"),
    ("sinn(x1) + x2", "^^^^", "there is no function sinn; did you mean sin?"),
    ("2..3*x", "^^^^", "2..3 is no number: a number has one point, as in 2.3"),
    ("1.2.3", "^^^^^", "1.2.3 is no number: a number has one point, as in 1.2"),
    ("(x1 + (x2*3", "      ^", "this ( is never closed; a ) is missing"),
    ("x1 + x2)", "       ^",
     "this ) closes nothing; remove it, or write the ( that it is to close"),
    ("x == 2", "  ^^",
     "found == here: a formula has no comparisons; one = gives a name to a value, as in a = x1*x2"),
    ("__import__('os').system('ls')", "^^^^^^^^^^",
     "there is no function __import__: a formula is not run as Python"),
    ("__import__", "^^^^^^^^^^",
     "__import__ is no variable of a formula, which is not run as Python"),
    ("lambda x: x", "^^^^^^",
     ("lambda is a word of Python, and a formula is not run as Python: it holds numbers, names, +"
      " - * / ^ and functions")),
    ("np.sin(x)", "  ^",
     "found . here: a formula has no attributes and no modules: write sin(x), not np.sin(x)"),
    ("x.y", " ^",
     "found . here: a formula has no attributes and no modules: write sin(x), not np.sin(x)"),
    ("x.5", " ^^",
     "found . here: a formula has no attributes and no modules: write sin(x), not np.sin(x)"),
    ("'abc'", "^",
     "found ' here: a formula has no strings and no primes; call the variable x_prime"),
    ("ln x1", "^^", "ln is a function: write ln(x1)"),
    ("sin", "^^^", "sin is a function: write sin(x)"),
    ("sin()", "   ^^", "nothing stands between ( and ); a number, a name or a formula should"),
    ("sin(", "   ^", "this ( is never closed; a ) is missing"),
    ("sin(x", "   ^", "this ( is never closed; a ) is missing"),
    ("f(x)", "^",
     ("there is no function f; write f*(...) for a product, or a function such as sin, exp, ln, "
      "sqrt, max")),
    ("x1(x2)", "^^",
     ("there is no function x1; write x1*(...) for a product, or a function such as sin, exp, ln,"
      " sqrt, max")),
    ("x1; x2", "^^", "this value is used nowhere; give it a name, as in a = x1*x2; y = sin(a)"),
    ("1/2x", "   ^",
     "a product without * behind a division can be read in two ways: write (1/2)*x or 1/(2*x)"),
    ("a/b c", "    ^",
     "a product without * behind a division can be read in two ways: write (a/b)*c or a/(b*c)"),
    ("x^2y", "   ^", "this can be read in two ways: write (x^2)*y or x^(2*y)"),
    ("e^2x", "   ^", "this can be read in two ways: write (e^2)*x or e^(2*x)"),
    ("e^-2x", "    ^", "this can be read in two ways: write (e^-2)*x or e^(-2*x)"),
    ("x 2", "  ^", "found 2 behind x; write x*2 for a product, or x2 for a name"),
    ("2 3", "  ^", "found 3 behind 2; write 2*3 for a product"),
    ("(x)2", "   ^", "found 2 behind (x); write (x)*2 for a product"),
    ("x*", "  ^", "nothing stands behind *; a number, a name or ( should"),
    ("*x", "^", "found * where a number, a name or ( should stand"),
    ("x +* y", "   ^", "found * where a number, a name or ( should stand"),
    ("x^", "  ^", "nothing stands behind ^; a number, a name or ( should"),
    ("()", "^^", "nothing stands between ( and ); a number, a name or a formula should"),
    ("((  ))", " ^^^^", "nothing stands between ( and ); a number, a name or a formula should"),
    ("1,5*x", " ^", "found a comma outside of a call; a number has a point: 1.5"),
    ("x, y", " ^",
     ("found a comma outside of a call; commas separate the arguments of a function, as in "
      "max(x1, x2)")),
    ("max(1,2,3)", "^^^", "max takes 1 or 2 arguments, not 3"),
    ("sin(1,2)", "^^^", "sin takes 1 argument, not 2"),
    ("x = 3 = 4", "      ^",
     "found = behind a value; left of = stands one new name, as in a = x1*x2"),
    ("2 = x", "  ^", "found = behind a value; left of = stands one new name, as in a = x1*x2"),
    ("a = a+1", "    ^", "a stands in its own definition"),
    ("a=x; a=2", "     ^",
     "a is defined above; choose another name, for a name stands for one value"),
    ("x; a", "^", "this value is used nowhere; give it a name, as in a = x1*x2; y = sin(a)"),
    ("y = ", "    ^", "nothing stands behind y =; a number, a name or ( should"),
    ("sin = 3", "^^^", "sin is a function; choose another name"),
    ("pi*r; pi=3", "^^^^",
     "this value is used nowhere; give it a name, as in a = x1*x2; y = sin(a)"),
    ("b=pi*r; pi=3; b", "        ^^",
     "pi is the constant above; choose another name for what is defined here"),
    ("|x", "^", "this | is never closed; a | is missing"),
    ("|x)", "^", "this | is never closed; a | is missing"),
    ("(|x", " ^", "this | is never closed; a | is missing"),
    ("0x1f", "^^^", "a formula's numbers are decimal; for a product write 0*x1"),
    ("1_000", "^^",
     "a number has digits, one point and an exponent, as in 1000, 0.5 or 1e-3, and no _"),
    ("1e999", "^^^^^", "1e999 is larger than every float, whose largest is 1.8e308"),
    ("x'", " ^", "found ' here: a formula has no strings and no primes; call the variable x_prime"),
    ("x!", " ^", "found ! here: a formula has no factorial"),
    ("x%2", " ^", "found % here: the remainder of a/b is remainder(a, b)"),
    ("\\sin x", "^", "found \\ here: a formula is not LaTeX; write sin(x), a/b and sqrt(x)"),
    ("f(x) = x^2", "^", "left of = stands a name alone; write f = ..."),
    ("a < b", "  ^",
     ("found < here: a formula has no comparisons; max(a, b), min(a, b) and abs(a) choose between"
      " values")),
    ("[1,2]", "^",
     ("found [ here: a formula has no brackets; write ( and ), and give vectors as values: "
      "x=[1,2,3]")),
    ("max(1,,2)", "      ^", "found , where a number, a name or ( should stand"),
    ("max(,2)", "    ^", "found , where a number, a name or ( should stand"),
    ("max(1,", "   ^", "this ( is never closed; a ) is missing"),
    ("x if y else z", "  ^^",
     ("if is a word of Python, and a formula is not run as Python: it holds numbers, names, + - *"
      " / ^ and functions")),
    ("½x", "^^", "½x is no name: write letters, digits and _, as in x_1"),
    ("x#1", " ^", "found # here: a formula has no comments"),
    ("ReLU(x)", "^^^^", "there is no function ReLU; did you mean relu?"),
    ("π)", " ^", "this ) closes nothing; remove it, or write the ( that it is to close"),
    ("x²^", "   ^", "nothing stands behind ^; a number, a name or ( should"),
    ("θ̂ + ) ", "    ^", "found ) where a number, a name or ( should stand"),
    ("漢字 + )", "       ^", "found ) where a number, a name or ( should stand"),
    ("sin=(", "^^^", "sin is a function; choose another name"),
    ("(x;y)", "^", "this ( is never closed; a ) is missing"),
    ("x +", "   ^", "nothing stands behind +; a number, a name or ( should"),
    ("-", " ^", "nothing stands behind -; a number, a name or ( should"),
    ("2 +;", "   ^", "nothing stands behind +; a number, a name or ( should"),
    ("y=;x", "  ^", "nothing stands behind y =; a number, a name or ( should"),
    ("√x", "^", "√ is a function: write √(x)"),
    ("import os", "^^^^^^",
     ("import is a word of Python, and a formula is not run as Python: it holds numbers, names, +"
      " - * / ^ and functions")),
    ("x='a'", "  ^",
     "found ' here: a formula has no strings and no primes; call the variable x_prime"),
    ("a := 2", "  ^^", "found := here: a name is given by one =, as in a = x1*x2"),
    ("x // y", "  ^^", "found // here: write floor(a/b)"),
    ("{x}", "^", "found { here: a formula has no braces; write ( and )"),
    ("x ? y", "  ^", "found ? here: it means nothing in a formula"),
    ("x @ y", "  ^", "found @ here: write sum(a*b) for the product of two vectors"),
    ("y = x; x2 = y; x = 3", "               ^",
     "x is a variable above; choose another name for what is defined here"),
    ("x**", "   ^", "nothing stands behind **; a number, a name or ( should"),
    ("x = 1 2", "      ^", "found 2 behind 1; write 1*2 for a product"),
    ("sin(x", "   ^", "this ( is never closed; a ) is missing"),
    ("|x|)", "   ^", "this ) closes nothing; remove it, or write the ( that it is to close"),
    ("|x + (y|", "       ^", "this | is never closed; a | is missing"),
    ("-)", " ^", "found ) where a number, a name or ( should stand"),
    ("2(", " ^", "this ( is never closed; a ) is missing"),
    ("x^(", "  ^", "this ( is never closed; a ) is missing"),
    ("max(x;", "   ^", "this ( is never closed; a ) is missing"),
    ("x1(x)+x1", "^^",
     ("there is no function x1; write x1*(...) for a product, or a function such as sin, exp, ln,"
      " sqrt, max")),
    ("x1+x1(x)", "   ^^", "x1 is no function; write x1*(...) for a product"),
    ("e(x)", "^", "e is no function; write e*(...) for a product"),
    ("pi(x)", "^^", "pi is no function; write pi*(...) for a product"),
    ("a=x;a(x)", "    ^", "a is no function; write a*(...) for a product"),
    ("gelo(x)", "^^^^", "there is no function gelo; did you mean gelu?"),
    ("Sin(x)", "^^^", "there is no function Sin; did you mean sin?"),
    ("log(x, 2)", "^^^", "log takes 1 argument, not 2"),
    ("hypot(x)", "^^^^^", "hypot takes 2 arguments, not 1"),
    ("1.5.x", "^^^^", "1.5. is no number: a number has one point, as in 1.5"),
    ("3.x.", "   ^",
     "found . here: a formula has no attributes and no modules: write sin(x), not np.sin(x)"),
    ("print(x)", "^^^^^", "there is no function print: a formula is not run as Python"),
    ("open('f')", "^^^^", "there is no function open: a formula is not run as Python"),
    ("x_y__z + __y", "         ^^^", "__y is no variable of a formula, which is not run as Python"),
]
VALUE_ERRORS = [
    ("x1=2 x2=5", "     ^^", "a comma should stand before x2"),
    ("x1", "^^", "x1 has no value; write x1=2"),
    ("5", "^", "5 has no name; write values such as x1=2,x2=5"),
    ("=5", "^", "no name stands left of =; write values such as x1=2,x2=5"),
    ("x1:2", "^^", "x1 has no value; write x1=2"),
    ("x1=", "  ^", "x1 has no value; write x1=2"),
    ("x1=abc", "   ^^^", "abc is no number; did you mean the function abs?"),
    ("x1=2,x1=3", "     ^^", "x1 has a value already; give one value for each name"),
    ("x=[1,2", "  ^", "this [ is never closed; a ] is missing"),
    ("x=[]", "   ^", "a number is missing here"),
    ("x=[1,,2]", "     ^", "a number is missing here"),
    ("x=[[1],[1,2]]", "  ^^^^^^^^^^^", "the rows of a matrix have one length, not 1 and 2"),
    ("x=[[1,2],3]", "  ^^^^^^^^^", "the rows of a matrix have one length, not 1 and 2"),
    ("x=[[[1]]]", "    ^", "a value is a number, a vector [1,2,3] or a matrix [[1,2],[3,4]]"),
    ("x=1+", "    ^", "nothing stands behind +; a number, a name or ( should"),
    ("x=sinn(2)", "  ^^^^", "there is no function sinn; did you mean sin?"),
    ("x=y", "  ^", "y is no number; write x=2, or with pi, e and functions, x=pi/2"),
    ("x==2", "^", "x has no value; write x=2"),
    (",x=1", "^", "nothing stands before this comma; write values such as x1=2,x2=5"),
    ("x=1,,y=2", "    ^", "nothing stands before this comma; write values such as x1=2,x2=5"),
    ("x='a'", "  ^",
     "found ' here: a formula has no strings and no primes; call the variable x_prime"),
    ("x=__import__('os')", "  ^^^^^^^^^^",
     "there is no function __import__: a formula is not run as Python"),
    ("x=1)", "   ^", "this ) closes nothing; remove it, or write the ( that it is to close"),
    ("x=[1,2]]", "       ^", "found ] behind ]; a comma or the end should stand there"),
    ("x=[1,2]3", "       ^", "found 3 behind ]; a comma or the end should stand there"),
    ("x=2x", "   ^", "x is no number; write x=2, or with pi, e and functions, x=pi/2"),
    ("2=x", "^", "2=x has no name; write values such as x1=2,x2=5"),
    ("x=nan(2)", "  ^^^", "there is no function nan; did you mean tan?"),
    ("x=pj", "  ^^", "pj is no number; write x=2, or with pi, e and functions, x=pi/2"),
    ("x=", " ^", "x has no value; write x=2"),
    ("x=1;lambda=2", "    ^^^^^^",
     ("lambda is a word of Python, and a formula is not run as Python: it holds numbers, names, +"
      " - * / ^ and functions")),
]
BINDING_ERRORS = [
    ("ln(x1) + x1*x2", "x1=2", "            ^^", "x2 has no value; type --at x1=2,x2=1"),
    ("x1*x2 + x3", "", "^^", "x1, x2 and x3 have no value; type --at x1=1,x2=1,x3=1"),
    ("x1x2 + x1", "x1=2,x2=5", "^^^^", "x1x2 has no value; did you mean x1*x2?"),
    ("sinx + x", "x=1", "^^^^", "sinx has no value; did you mean sin(x)?"),
    ("theta*x", "thta=1,x=2", "^^^^^", "theta has no value; did you mean thta?"),
    ("x1", "x1=1,x2=2", "",
     "a value is given for x2, which is no variable of the formula 'x1'; it has x1"),
    ("x+y1", "x=1,y1=2,y2=3", "",
     "a value is given for y2, which is no variable of the formula 'x+y1'; it has x and y1"),
    ("a=x; a", "x=1,a=2", "",
     ("a value is given for a, which is no variable of the formula 'a=x; a'; it is defined there "
      "by =")),
    ("3", "x=1", "",
     "a value is given for x, which is no variable of the formula '3'; it has no variables"),
    ("x*e", "x=1,e=2", "",
     ("a value is given for e, which is no variable of the formula 'x*e'; there e is 2.718...; "
      "choose another name")),
    ("x+y", "x=[1,2]", "  ^", "y has no value; type --at x=[1,2],y=1"),
    ("x+y", "x=[1,2,3,4,5,6,7]", "  ^", "y has no value; type --at x=[...],y=1"),
]


def ids(cases):
    return [ascii(case[0])[1:30] for case in cases]


def expected(text, carets, message):
    return f"{message}\n  {text}\n  {carets}" if carets else message


@pytest.mark.parametrize("text, carets, message", ERRORS, ids=ids(ERRORS))
def test_errors(text, carets, message):
    with pytest.raises(FormulaError) as e:
        parse(text)
    assert e.value.message == expected(text, carets, message)
    assert e.value.text == text
    assert not carets or formula_words.columns(text[:e.value.position]) == carets.count(" ")


@pytest.mark.parametrize("text, carets, message", VALUE_ERRORS, ids=ids(VALUE_ERRORS))
def test_errors_in_values(text, carets, message):
    with pytest.raises(FormulaError) as e:
        parse_values(text)
    assert e.value.message == expected(text, carets, message)


@pytest.mark.parametrize("text, values, carets, message", BINDING_ERRORS, ids=ids(BINDING_ERRORS))
def test_errors_of_values_that_do_not_fit(text, values, carets, message):
    read = parse(text)
    with pytest.raises(FormulaError) as e:
        read.bind(parse_values(values))
    assert e.value.message == expected(text, carets, message)


def test_errors_show_the_line():
    with pytest.raises(FormulaError) as e:
        parse("a = x1*x2\ny = a + sinn(a)\nz = y")
    assert e.value.message == ("there is no function sinn; did you mean sin?\n"
                               "  y = a + sinn(a)\n"
                               "          ^^^^")


def test_errors_show_the_place_in_a_long_line():
    with pytest.raises(FormulaError) as e:
        parse("1+" * 60 + ")" + "+1" * 60)
    assert e.value.message == (
        "found ) where a number, a name or ( should stand\n"
        "  …" + "1+" * 18 + ")" + "+1" * 17 + "+…\n"
        "  " + " " * 37 + "^")


def test_errors_print_no_control_codes():
    with pytest.raises(FormulaError) as e:
        parse("x\t\x1b[31m")
    assert e.value.message == ("found ? where an operator (+ - * / ^) or the end should stand\n"
                               "  x ?[31m\n"
                               "    ^")


def test_errors_are_value_errors_with_the_users_line():
    with pytest.raises(ValueError, match=r"at .*test_formula\.py, line \d+: parse\("):
        parse("sinn(x)")


def test_names_given_cannot_be_defined():
    with pytest.raises(FormulaError, match=r"^a is given a value, so it is a variable; choose "):
        parse("a = x; a", given={"a", "x"})


@pytest.mark.parametrize("text, values", [
    ("x1=2,x2=5", {"x1": 2.0, "x2": 5.0}), ("x = pi/2", {"x": np.pi / 2}), ("", {}), (" \n", {}),
    ("x=-1e-3", {"x": -0.001}), ("x=[1,2,3]", {"x": [1.0, 2.0, 3.0]}), ("x=1/0", {"x": np.inf}),
    ("x=[[1,2],[3,4]]", {"x": [[1.0, 2.0], [3.0, 4.0]]}), ("x=(1+2)*3^2", {"x": 27.0}),
    ("x1=2; x2=max(1,3)\n", {"x1": 2.0, "x2": 3.0}), ("x=1,", {"x": 1.0}),
    ("x₁=3,θ=ln(e)", {"x1": 3.0, "θ": 1.0}), ("e=2,sum=3", {"e": 2.0, "sum": 3.0}),
    ("x=inf,y=-inf,z=nan", {"x": np.inf, "y": -np.inf, "z": np.nan}),
    ("x=[1/2, -inf, sin(0)]", {"x": [0.5, -np.inf, 0.0]})])
def test_values(text, values):
    found = parse_values(text)
    assert list(found) == list(values)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert isinstance(found[name], np.ndarray if isinstance(value, list) else float)


def test_many_values():
    found = parse_values(",".join(f"x{i}={i}" for i in range(20_000)))
    assert found["x19999"] == 19_999.0
    assert parse_values("x=[" + "1," * 20_000 + "2]")["x"].shape == (20_001,)


def test_steps_of_several_lines_know_theirs():
    e = ad.explain(parse("a = x^2\nb = a*3\nb + a"), 2.0)
    assert [(s.name, s.place.line, s.place.text) for s in e.record.operations] == [
        ("a", 1, "x^2"), ("b", 2, "a*3"), ("v4", 3, "b + a")]
