"""What the labels of rows say, read as mathematics and compared with what the rows compute.

The reader of formulas below knows the LaTeX and the text that labels are written in. It is
independent of the library: its functions are NumPy's, SciPy's, or written out here.
"""

from __future__ import annotations

import re
from string import Formatter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.special

import adjoint as ad
from adjoint.core.primitive import LEAF, REGISTRY
from adjoint.errors import AdjointError
from adjoint.ops.declare import COMPOSED
from adjoint.show import complexes, expansion, writing
from adjoint.show.record import Step

ROWS = [REGISTRY[n] for n in sorted(REGISTRY) if REGISTRY[n].cases is not None]
ELEMENTWISE = [r for r in ROWS if r.elementwise]
NAMES = ("a", "b", "c")  # the arguments; the reader gives single letters a value
TOLERANCE = 1e-9

# What is not compared, each with its reason.
TELLS_ZEROS_APART = {"copysign": "of -0.0 too", "signbit": "of -0.0 too"}
NOT_OF_INTEGERS = {"reciprocal": "NumPy divides whole numbers by cutting off"}


# ---- functions by their name in a label

def iverson(x: Any) -> Any:
    return np.asarray(x, float)


def sinc(x: Any, order: int = 0) -> Any:
    """The normalised sinc or a derivative, by sinc(x) = int_0^1 cos(pi x t) dt (Gauss)."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    t = np.pi * (nodes + 1.0) / 2.0
    x = np.asarray(x, float)[..., None]
    return (weights / 2.0 * t**order * np.cos(x * t + order * np.pi / 2.0)).sum(-1)


def psi(x: Any, order: int = 0) -> Any:
    return scipy.special.polygamma(order, x)


def signum(x: Any) -> Any:
    return np.where(np.signbit(x), -1.0, np.where(np.asarray(x) == 0, 0.0, 1.0))


def sigma(x: Any) -> Any:
    return scipy.special.expit(x)


def elu(x: Any, alpha: Any, scale: Any, rate: Any) -> Any:
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(rate * x, 0.0)))


def normal(x: Any) -> Any:
    return scipy.special.ndtr(x)


def density(x: Any) -> Any:
    return np.exp(-np.square(x) / 2.0) / np.sqrt(2.0 * np.pi)


def softplus(x: Any) -> Any:
    return np.logaddexp(x, 0.0)


FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in (
        "sqrt", "cbrt", "exp", "expm1", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin",
        "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
        "maximum", "minimum", "floor", "ceil", "trunc", "rint", "hypot", "logaddexp", "logaddexp2",
        "fmod", "mod", "copysign", "heaviside", "fmax", "fmin", "sign", "real", "imag",
        "conjugate", "bitwise_xor", "isfinite", "isnan", "isinf", "signbit", "where")},
    "ln": np.log, "not": np.logical_not, "neg": np.logical_not, "round": np.rint, "max": np.fmax,
    "min": np.fmin, "atan2": np.arctan2, "arsinh": np.arcsinh, "arcosh": np.arccosh,
    "artanh": np.arctanh, "Re": np.real, "Im": np.imag, "complex": np.iscomplex, "stop": np.array,
    "overline": np.conjugate, "exponent": lambda x: np.frexp(x)[1], "sigma": sigma,
    "sigmoid": sigma, "softplus": softplus, "log_sigmoid": lambda x: -softplus(-x),
    "logit": scipy.special.logit, "xlogy": scipy.special.xlogy, "xlog1py": scipy.special.xlog1py,
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "sinc": sinc, "psi": psi,
    "H": np.heaviside, "Gamma": scipy.special.gamma, "gammaln": scipy.special.gammaln,
    "digamma": psi, "sinc_derivative": sinc, "polygamma": lambda order, x: psi(x, order),
    "modified_bessel": lambda x, order: scipy.special.iv(order, x), "Phi": normal,
    "varphi": density, "gelu": lambda x: x * normal(x), "relu": lambda x: np.maximum(x, 0.0),
    "ReLU": lambda x: np.maximum(x, 0.0), "hardtanh": np.clip,
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "threshold": lambda x, limit, value: np.where(x > limit, x, value),
    "softshrink": lambda x, width: np.where(abs(x) > width, x - width * np.sign(x), 0.0),
    "hardshrink": lambda x, width: np.where(abs(x) > width, x, 0.0),
    "hardsigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hardswish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0), "elu": elu,
    "silu": lambda x: x * sigma(x), "mish": lambda x: x * np.tanh(softplus(x)),
    "tanhshrink": lambda x: x - np.tanh(x)}
CONSTANTS = {"e": np.e, "i": 1j, "infty": np.inf, "pi": np.pi, "True": True, "False": False}
COMPARISONS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
               "=": np.equal, "==": np.equal, "!=": np.not_equal, r"\le": np.less_equal,
               r"\ge": np.greater_equal, r"\ne": np.not_equal}
LOGIC = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
         "&": np.bitwise_and, r"\&": np.bitwise_and, "|": np.bitwise_or, r"\mid": np.bitwise_or,
         r"\oplus": np.bitwise_xor}
CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
TEXT = re.compile(NUMBER + r"|[A-Za-z_]\w*|<=|>=|==|!=|//|\S")
LATEX = re.compile(NUMBER + r"|\\[a-zA-Z]+|\\\S|[A-Za-z]|\S")
COMMAND = re.compile(r"\\[a-zA-Z]+")


class Formula:
    """A reader of formulas by recursive descent: text, or LaTeX, where factors stand together."""

    def __init__(self, text: str, values: dict[str, Any], latex: bool, matrices: bool = False
                 ) -> None:
        text = re.sub(r"\\(?:left|right)(?![a-z])", "", text) if latex else text
        self.tokens = (LATEX if latex else TEXT).findall(text.replace(r"\ ", " "))
        self.text, self.values, self.latex, self.matrices = text, values, latex, matrices
        self.at = 0

    def read(self) -> Any:
        value = self.logic()
        assert self.at == len(self.tokens), f"{self.text}: stopped at {self.tokens[self.at:]}"
        return value

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.next
        assert token and (not expected or token == expected), (
            f"{self.text}: {expected or 'more'} expected at {self.tokens[self.at:]}")
        self.at += 1
        return token

    def takes(self, token: str) -> bool:
        found = self.next == token
        self.at += found
        return found

    def group(self, opening: str = "{") -> Any:
        self.take(opening)
        value = self.logic() if opening != "|" else self.sum()
        self.take(CLOSING[opening])
        return value

    def word(self) -> str:
        """What stands in the braces of a \\mathrm, with its underscores."""
        self.take("{")
        parts = []
        while not self.takes("}"):
            parts.append(self.take().removeprefix("\\"))
        return "".join(parts)

    def logic(self) -> Any:
        value = self.comparison()
        while True:
            sign = self.next
            if sign == r"\mathbin":
                self.take()
                self.take("{")
                sign = self.word() if self.takes(r"\mathrm") else self.take()
                self.take("}")
            elif sign in LOGIC:
                self.take()
            else:
                return value
            value = LOGIC[sign](value, self.comparison())

    def comparison(self) -> Any:
        value, result = self.sum(), None
        while self.next in COMPARISONS:
            compare, before = COMPARISONS[self.take()], value
            value = self.sum()
            holds = compare(before, value)
            result = holds if result is None else result & holds
        return value if result is None else result

    def sum(self) -> Any:
        sign = -1.0 if self.takes("-") else 1.0 if self.takes("+") else None
        value = self.product()
        value = value if sign is None else sign * value
        while self.next in ("+", "-"):
            plus = self.take() == "+"
            term = self.product()
            value = value + term if plus else value - term
        return value

    def product(self) -> Any:
        choice, value = self.next == "[", self.power()
        while True:
            sign = self.take() if self.next in ("/", "*", "@", r"\cdot", r"\odot", r"\,") else ""
            if not sign and not (self.latex and self.begins()):
                return value
            other, factor = self.next == "[", self.power()
            if sign == "/":
                value = value / factor
            elif choice or other:  # a bracket that is 0 cancels whatever stands beside it
                zero = (choice & np.equal(value, 0)) | (other & np.equal(factor, 0))
                value = np.where(zero, 0.0, value * factor)
                choice = choice and other
            else:
                value = value * factor if sign == r"\odot" else self.times(value, factor)

    def begins(self) -> bool:
        """Whether a factor begins here, without a sign of multiplication."""
        token = self.next
        return bool(token) and (token[0].isalnum() or token in ("(", "[", "{", r"\lfloor") or (
            token[0] == "\\" and token[1:].isalpha() and token not in (
                *COMPARISONS, *LOGIC, r"\rfloor", r"\rceil", r"\mathbin")))

    def times(self, x: Any, z: Any) -> Any:
        if self.matrices and np.ndim(x) and np.ndim(z):
            return x @ z
        return x * z

    def power(self) -> Any:
        value = self.atom()
        while self.takes("^"):
            if self.latex and self.matrices:
                value = self.matrix_power(value)
            else:
                value = np.asarray(value)
                value = np.power(value if value.dtype.kind == "c" else value.astype(float),
                                 self.exponent())
        return value

    def exponent(self) -> Any:
        if self.latex:
            return self.group() if self.next == "{" else self.atom()
        return -self.power() if self.takes("-") else self.power()

    def matrix_power(self, x: Any) -> Any:
        braces = self.takes("{")
        if self.takes("+"):
            x = np.linalg.pinv(x)
        elif self.takes("-"):
            x = np.linalg.inv(x)
            self.takes("1")
        if self.takes(r"\top"):
            x = np.swapaxes(x, -1, -2)
        elif self.next == "2":
            x = x ** float(self.take())
        if braces:
            self.take("}")
        return x

    def atom(self) -> Any:
        token = self.take()
        if token[0].isdigit():
            return float(token) if not token.isdigit() else int(token)
        if token in ("(", "{", "|", r"\lfloor", r"\lceil"):
            self.at -= 1
            value = self.group(token)
            about: dict[str, Any] = {"|": abs, r"\lfloor": np.floor, r"\lceil": np.ceil}
            return about[token](value) if token in about else value
        if token == "[":
            value = self.logic()
            self.take("]")
            return iverson(value)
        if token in ("~", r"\sim"):
            return np.invert(self.group("("))
        if token == r"\frac":
            above = self.group()
            return above / self.group()
        if token == r"\sqrt":
            degree = self.take("[") and int(self.take()) if self.next == "[" else 2
            if degree != 2:
                self.take("]")
            value = self.group()
            return np.cbrt(value) if degree == 3 else np.sqrt(value)
        return self.named(token)

    def named(self, token: str) -> Any:
        if token in self.values:
            return self.values[token]
        if token == "I" and self.next == "_":
            self.take("_")
            order = self.group()
            return scipy.special.iv(order, self.group("("))
        name = self.word() if token == r"\mathrm" else token.lstrip("\\")
        if token == r"\mathord":
            self.take("{")
            self.take(r"\sim")
            self.take("}")
            return np.invert(self.group("("))
        if name == "overline":
            return np.conjugate(self.group())
        if name in CONSTANTS and self.next != "(":
            return CONSTANTS[name]
        return self.call(name)

    def call(self, name: str) -> Any:
        keywords: dict[str, Any] = {}
        power = 1
        if self.takes("_"):
            name += str(self.group() if self.next == "{" else self.atom())
        if self.takes("^"):
            if self.takes(r"\ast"):
                name += "*"
            elif self.next == "{":  # an order of differentiation
                keywords["order"] = self.group()
            else:
                power = self.atom()
        function = self.values.get(name) or FUNCTIONS.get(name)
        assert function is not None, f"{self.text}: what is {name}?"
        if self.latex and self.next != "(":
            return function(self.power())  # \neg a
        self.take("(")
        arguments = []
        while True:
            if self.tokens[self.at + 1] == "=" and not self.latex:
                key = self.take()
                self.take("=")
                keywords[key] = self.logic()
            else:
                arguments.append(self.logic())
            if not self.takes(","):
                break
        self.take(")")
        value = function(*arguments, **keywords)
        if callable(value):  # a linear map, applied to what stands in the brackets
            self.take("[")
            value = value(self.logic())
            self.take("]")
        return value if power == 1 else value**power


def value_of(text: str, values: dict[str, Any], *, latex: bool, matrices: bool = False) -> Any:
    """The number or array that a formula stands for."""
    with np.errstate(all="ignore"):
        return Formula(text, values, latex, matrices).read()


# ---- the elements

def filled(text: str, params: dict[str, Any], names: tuple[str, ...] = NAMES) -> str:
    return text.format(*names, y="y", dy="D", **params)


def points(row: Any) -> list[Any]:
    """The cases without infinite partials: arguments, parameters, tolerance, domain."""
    found = []
    for case in row.cases(np.random.default_rng(5)):
        if case.domain == "singular" or any(np.size(x) == 0 for x in case.args):
            continue
        whole = any(np.asarray(x).dtype.kind in "iu" for x in case.args)
        if whole and row.name in NOT_OF_INTEGERS:
            continue
        small = any(np.asarray(x).dtype == np.float32 for x in case.args)
        found.append((case.args, case.params, 2e-4 if small else TOLERANCE, case.domain))
    return found


def same(got: Any, expected: Any, xs: Any, tolerance: float, what: str) -> int:
    """Compare where the arguments are numbers; how many results were compared."""
    got, expected, *xs = np.broadcast_arrays(got, expected, *xs)
    with np.errstate(all="ignore"):
        compared = np.logical_and.reduce([np.isfinite(v) for v in (expected, *xs)])
    np.testing.assert_allclose(got[compared].astype(complex), expected[compared].astype(complex),
                               rtol=tolerance, atol=tolerance, err_msg=what)
    return int(compared.sum())


def broadcast(xs: Any) -> Any:
    return np.broadcast_arrays(*[np.asarray(x) for x in xs])


@pytest.mark.parametrize("row", ELEMENTWISE, ids=str)
@pytest.mark.parametrize("form", ["text", "latex"])
def test_the_formula_is_what_the_row_computes(row, form):
    compared = 0
    for args, params, tolerance, _ in points(row):
        formula = filled(getattr(row.label, form), params)
        got = value_of(formula, dict(zip(NAMES, args, strict=False)), latex=form == "latex")
        with np.errstate(all="ignore"):
            expected = row.impl(*args, **params)
        compared += same(got, expected, args, tolerance, f"{row}: {formula} at {args}")
    assert compared > 10


@pytest.mark.parametrize("row", [r for r in ELEMENTWISE if not r.nondiff], ids=str)
def test_each_partial_is_what_the_rule_gives(row):
    compared: dict[int, int] = {}
    for args, params, tolerance, domain in points(row):
        xs = [x if np.asarray(x).dtype.kind in "fc" else np.asarray(x, float)
              for x in broadcast(args)]
        if row.name == "ldexp":
            xs[1] = broadcast(args)[1]
        with np.errstate(all="ignore"):
            y = row.impl(*xs, **params)
            dy = np.ones(np.shape(y), np.asarray(y).dtype)
            parts = row.vjp(dy, y, *xs, (True,) * len(xs), **params)
        for k, (partial, expected) in enumerate(zip(row.label.partials, parts, strict=True)):
            formula = filled(partial, params)
            values = {**dict(zip(NAMES, xs, strict=False)), "y": y}
            got = value_of(formula, values, latex=True)
            if domain == "kink":  # where the formula says 0/0 the rule decides
                got = np.where(np.isnan(got), expected, got)
            compared[k] = compared.get(k, 0) + same(
                got, 0.0 if expected is None else expected, xs, tolerance,
                f"{row}, argument {k}: {formula} at {args}")
    assert len(compared) == len(row.label.partials) and min(compared.values()) > 10


def complex_points(row: Any) -> list[Any]:
    """Regular cases moved off the real axis, where the row computes with complex numbers."""
    rng, found = np.random.default_rng(6), []
    for args, params, tolerance, domain in points(row):
        if domain != "regular" or tolerance != TOLERANCE:
            continue
        xs = [x + 0.3j * rng.normal(size=np.shape(x)) if np.asarray(x).dtype == float else x
              for x in broadcast(args)]
        try:
            with np.errstate(all="ignore"):
                y = np.asarray(row.impl(*xs, **params))
                back = [row.vjp(dy, y, *xs, (True,) * len(xs), **params)
                        for dy in (np.ones(y.shape, y.dtype), 1j * np.ones(y.shape))]
        except (TypeError, AdjointError, np.exceptions.ComplexWarning):  # of real numbers only
            return []
        found.append((xs, params, y, back))
    return found


COMPLEX = [r for r in ELEMENTWISE if not r.nondiff and complex_points(r)]


@pytest.mark.parametrize("row", COMPLEX, ids=str)
def test_what_is_said_of_complex_arguments_is_what_the_rule_gives(row):
    compared = 0
    for xs, params, y, (back, turned) in complex_points(row):
        inputs = tuple(Step("input", None, LEAF, x, name=n)
                       for n, x in zip(NAMES, xs, strict=False))
        node = SimpleNamespace(inputs=[SimpleNamespace(prim=LEAF)])
        step = Step("operation", node, row, y, inputs, params, name="y")
        for k, expected in enumerate(back):
            values = {**dict(zip(NAMES, xs, strict=False)), "y": y, "D": np.ones(y.shape)}
            template = complexes.partial_template(step, k)
            if template:
                got = value_of(filled(template, params), values, latex=True)
                compared += same(got, 0.0 if expected is None else expected, (*xs, y), 1e-8,
                                 f"{row}, argument {k}: {template}")
                product = y.dtype.kind != "c" or turned[k] is None or np.allclose(
                    turned[k], 1j * np.asarray(expected), equal_nan=True)
                assert product and complexes.has_partial(step, k), "no number is its derivative"
            elif k < len(row.label.pullbacks) and expected is not None:
                values["D"] = 1j * np.ones(y.shape)
                got = value_of(filled(row.label.pullbacks[k], params), values, latex=True)
                compared += same(got, turned[k], (*xs, y), 1e-8, row.label.pullbacks[k])
                assert not complexes.has_partial(step, k)
    assert compared > 3


def test_rows_of_complex_numbers_are_among_them():
    assert {"abs", "conjugate", "exp", "imag", "multiply", "power", "real"} <= {
        r.name for r in COMPLEX}


# ---- brackets

def nested(row: Any, form: int, arguments: list[tuple[str, str]]) -> tuple[str, str]:
    """The label (0: text, 1: LaTeX) around formulas, and the operator at the top of the whole.

    ``arguments`` are formulas, each with the operator at its top; a name counts as a call.
    """
    label = row.label
    params = next(row.cases(np.random.default_rng(5))).params
    held = (label.text, label.latex)[form].format(
        *[f"\x00{k}\x01" for k in range(len(arguments))], **params)
    return expansion.nested(held, label.binds[form], [expansion.Nested(*a) for a in arguments])


def nests(row: Any) -> bool:
    """Whether the row takes floats, so that one formula can stand in another."""
    return not row.name.startswith(("bitwise", "invert", "ldexp"))


def takes_truth(row: Any) -> bool:
    return row.name.startswith(("logical", "where"))


NESTING = [r for r in ELEMENTWISE if nests(r)]


def arity(row: Any) -> int:
    return len(next(row.cases(np.random.default_rng(5))).args)


def computed(row: Any, *args: Any) -> Any:
    with np.errstate(all="ignore"):
        return row.impl(*args, **next(row.cases(np.random.default_rng(5))).params)


@pytest.mark.parametrize("form", [0, 1], ids=["text", "latex"])
@pytest.mark.parametrize("outer", NESTING, ids=str)
def test_a_formula_in_a_formula_keeps_its_meaning(outer, form):
    inside = {name: np.array(v) for name, v in zip(
        NAMES, ([0.7, -0.3, 2.5], [1.3, 0.6, 1.7], [0.4, 0.9, -0.2]), strict=True)}
    outside = {"p": np.array([0.8, 2.2, 0.3]), "q": np.array([0.6, -1.1, 1.4])}
    compared = 0
    for inner in NESTING:
        held = list(inside.values())[:arity(inner)]
        formula = nested(inner, form, [(n, "(") for n in NAMES[:arity(inner)]])
        y = computed(inner, *held)
        if y.dtype == bool and not takes_truth(outer):
            continue
        y = y if y.dtype == bool else y.astype(float)
        told = np.where(y == 0, np.nan, y) if outer.name in TELLS_ZEROS_APART else y
        for place in range(arity(outer)):
            names, values = list(outside), list(outside.values())
            names.insert(place, formula)
            values.insert(place, y)
            text, _ = nested(outer, form, [
                n if isinstance(n, tuple) else (n, "(") for n in names[:arity(outer)]])
            expected = computed(outer, *values[:arity(outer)])
            compared += same(value_of(text, inside | outside, latex=form == 1), expected, (told,),
                             1e-8, text)
    assert compared > 50


@pytest.mark.parametrize("operations, text, latex", [
    (("multiply", "add"), "(a + b) * p", r"(a + b)\,p"),
    (("add", "multiply"), "a * b + p", r"a\,b + p"),
    (("divide", "add"), "(a + b) / p", r"\frac{a + b}{p}"),
    (("multiply", "divide"), "a / b * p", r"\frac{a}{b}\,p"),
    (("power", "divide"), "(a / b) ^ p", r"\left(\frac{a}{b}\right)^{p}"),
    (("power", "sqrt"), "sqrt(a) ^ p", r"\sqrt{a}^{p}"),
    (("square", "negative"), "(-a)^2", "(-a)^2"),
    (("negative", "add"), "-(a + b)", "-(a + b)"),
    (("negative", "multiply"), "-a * b", r"-a\,b"),
    (("log", "subtract"), "ln(a - b)", r"\ln(a - b)"),
    (("exp", "negative"), "exp(-a)", "e^{-a}"),
    (("sqrt", "add"), "sqrt(a + b)", r"\sqrt{a + b}"),
    (("less", "add"), "a + b < p", "a + b < p")])
def test_brackets_stand_where_they_are_needed(operations, text, latex):
    outer, inner = (REGISTRY[n] for n in operations)
    for form, expected in enumerate((text, latex)):
        formula = nested(inner, form, [("a", "("), ("b", "(")][:arity(inner)])
        assert nested(outer, form, [formula, ("p", "(")][:arity(outer)])[0] == expected


@pytest.mark.parametrize("form", [0, 1])
def test_what_is_taken_away_keeps_its_brackets(form):
    for name, inner in (("subtract", "add"), ("subtract", "subtract"), ("add", "negative")):
        row = REGISTRY[inner]
        formula = nested(row, form, [("a", "("), ("b", "(")][:arity(row)])
        assert nested(REGISTRY[name], form, [("p", "("), formula])[0].endswith(
            f"({formula[0]})")


# ---- what goes back through rows that are not element by element

INDEXED = "it is written with indices"
PLACES = "it says where elements stand, not what they are"
PACKED = "it names the parts of a packed result"
NOT_READ = {
    **dict.fromkeys(("prod", "max", "min", "nanmax", "nanmin", "cumprod", "cummax", "cummin",
                     "sort", "order_statistics", "var", "std", "convolve", "linalg._gaps",
                     "linear_recurrence"), INDEXED),
    **dict.fromkeys(("concatenate", "pad", "getitem", "getitem_transpose", "setitem", "item",
                     "einsum", "transpose", "cumsum", "linalg._within"), PLACES),
    **dict.fromkeys(("linalg.eigh", "linalg.eig", "linalg.qr", "linalg.svd", "linalg.slogdet"),
                    PACKED),
    **dict.fromkeys(("linalg.expm", "linalg.logm", "linalg.sqrtm"), "L is the Frechet derivative"),
    "linalg._adjugate_slope": "it is a second derivative, of use for derivatives of derivatives",
    **dict.fromkeys(("linalg._share", "linalg._guard"), "its result is that of ties")}
LINEAR = [r for r in ROWS if not (r.elementwise or r.nondiff) and r.name not in NOT_READ]
MATRICES = {"matmul", "linear"}


class Identity:
    """A unit matrix of the size that is needed."""

    __array_ufunc__ = None

    def __sub__(self, x: Any) -> Any:
        return np.eye(len(x)) - x


def adjugate(x: Any) -> Any:
    """The transposed matrix of cofactors."""
    n = len(x)
    minors = [[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) * (-1.0) ** (i + j)
               for j in range(n)] for i in range(n)]
    return np.array(minors).T


def slope_of_adjugate(x: Any) -> Any:
    """The map E -> D adj(x)[E], by a central difference that is exact for cubics to 1e-9."""
    def along(e: Any) -> Any:
        def central(h: float) -> Any:
            return (adjugate(x + h * e) - adjugate(x - h * e)) / (2 * h)
        return (4.0 * central(0.5) - central(1.0)) / 3.0
    return along


def half_lower(x: Any) -> Any:
    return np.tril(x) - np.diag(np.diag(x)) / 2.0


def triangle(lower: bool, turned: bool, unit: bool) -> tuple[Any, Any]:
    """The triangle that is read, and its transpose: what goes back into that triangle."""
    def kept(x: Any) -> Any:
        x = np.tril(x) if lower else np.triu(x)
        return x - np.diag(np.diag(x)) if unit else x

    def read(x: Any) -> Any:
        x = kept(x) + (np.eye(len(x)) if unit else 0.0)
        return x.T if turned else x
    return read, lambda x: kept(x.T if turned else x)


def meanings(row: Any, xs: Any, params: dict[str, Any]) -> dict[str, Any]:
    """What the words and letters of a pullback stand for, beside the arguments."""
    def total(x: Any) -> Any:
        return x.sum(axis=params.get("axis"), keepdims=True)

    def broadcast_to(x: Any, shape: Any) -> Any:
        if row.name == "sum" and not params["keepdims"] and params["axis"] is not None:
            x = np.expand_dims(x, params["axis"])
        return np.broadcast_to(x, shape)
    found = {"shape": np.shape, "reshape": np.reshape, "sum_to": ad.unbroadcast, "sum": total,
             "broadcast_to": broadcast_to, "diag": np.diag, "adj": adjugate,
             "d,adj": slope_of_adjugate, "Phi": half_lower, "I": Identity()}
    if row.name == "linalg.eigvalsh":
        found["V"] = np.linalg.eigh(xs[0])[1]
    if row.name == "linalg.svdvals":
        found["U"], _, v = np.linalg.svd(xs[0], full_matrices=False)
        found["V"] = v.T
    if row.name == "linalg.solve_triangular":
        found["tri"], found["tri*"] = triangle(**params)
    return found


def pulled(row: Any, k: int, values: dict[str, Any], params: dict[str, Any]) -> Any:
    """What a pullback says, its definitions (", S = ...") read first."""
    label = row.label
    pullback = label.pullbacks[k] if k < len(label.pullbacks) else ""
    template = pullback or r"{dy} \odot (" + label.partials[k] + ")"
    formula, *definitions = filled(template, params).split(r",\ ")
    matrices = row.name in MATRICES or (
        row.name.startswith("linalg.") and row.name != "linalg.norm")
    for definition in definitions:
        letter, _, said = definition.partition(" = ")
        values[letter] = value_of(said, values, latex=True, matrices=matrices)
    return value_of(formula, values, latex=True, matrices=matrices)


def plain_cases(row: Any) -> list[Any]:
    """Cases of doubles: of matrices one and not a stack, of reductions those that keep axes."""
    found = []
    for args, params, tolerance, domain in points(row):
        matrices = row.name in MATRICES or row.name.startswith("linalg.")
        flat = all(np.ndim(x) == 2 for x in args) if row.name != "linalg.norm" else (
            params["axis"] is None or params["keepdims"])
        kept = row.name != "logsumexp" or params["axis"] in (None, ()) or params["keepdims"]
        if domain == "regular" and tolerance == TOLERANCE and (flat or not matrices) and kept and (
                all(np.asarray(x).dtype == float for x in args)):
            found.append((args, params))
    return found


@pytest.mark.parametrize("row", LINEAR, ids=str)
def test_each_pullback_is_what_the_rule_gives(row):
    rng, compared = np.random.default_rng(3), 0
    for xs, params in plain_cases(row):
        y = row.impl(*xs, **params)
        dy = rng.normal(size=np.shape(y))
        parts = row.vjp(dy, y, *xs, (True,) * len(xs), **params)
        for k, expected in enumerate(parts):
            values = {**dict(zip(NAMES, xs, strict=False)), "y": y, "D": dy}
            got = pulled(row, k, values | meanings(row, xs, params), params)
            if row.name == "cast":
                got = np.asarray(got, expected.dtype)
            compared += same(ad.unbroadcast(got, np.shape(xs[k])), expected, (), 1e-8,
                             f"{row}, argument {k} of {xs}")
    assert compared > 3


def others(x: Any, among: Any) -> Any:
    """Element (i, j): the product of the elements of x with k in among(i), but j."""
    return np.array([[np.prod([x[k] for k in among(i) if k != j]) for j in range(len(x))]
                     for i in range(len(x))])


def runs(x: Any, y: Any) -> Any:
    n = len(x)
    return np.array([[(j <= i) * (x[j] == y[i]) / sum(x[k] == y[i] for k in range(i + 1))
                      for j in range(n)] for i in range(n)])


# What each partial that is written with indices says, as a Jacobian of vectors (result, argument).
EXTREME = r"\frac{{[{0}_i = {y}]}}{{\mathrm{{count}}([{0} = {y}])}}"
SO_FAR = (r"\frac{{[j \le i]\,[{0}_j = {y}_i]}}{{\mathrm{{count}}_{{k \le i}}([{0}_k = {y}_i])}}")
WITH_INDICES = {
    EXTREME: lambda x, y, _: (x == y) / np.sum(x == y),
    SO_FAR: lambda x, y, _: runs(x, y),
    r"\prod_{{j \ne i}} {0}_j": lambda x, y, _: others(x, lambda i: range(len(x)))[0],
    r"[j \le i]\,\prod_{{k \le i, k \ne j}} {0}_k": lambda x, y, _: np.tril(
        others(x, lambda i: range(i + 1))),
    r"[{y}_i \leftarrow {0}_j]": lambda x, y, _: np.asarray(y[:, None] == x, float),
    r"\frac{{2}}{{n - {ddof}}}\,({0}_i - \mathrm{{mean}}({0}))": lambda x, y, params: (
        2.0 / (len(x) - params["ddof"]) * (x - x.mean())),
    r"\frac{{{0}_i - \mathrm{{mean}}({0})}}{{(n - {ddof})\,{y}}}": lambda x, y, params: (
        (x - x.mean()) / (len(x) - params["ddof"]) / y)}
INDEXED_ROWS = {
    "max": {}, "min": {}, "nanmax": {}, "nanmin": {}, "prod": {}, "cumprod": {"axis": 0},
    "cummax": {"axis": 0}, "cummin": {"axis": 0}, "sort": {"axis": 0, "descending": False},
    "var": {"ddof": 1}, "std": {"ddof": 0}}


@pytest.mark.parametrize("name", INDEXED_ROWS)
@pytest.mark.parametrize("x", [np.array([0.5, -1.0, 2.0, 1.5, -0.25]),
                               np.array([1.0, 0.0, 3.0, -2.0]), np.array([2.0, 3.0, 3.0, 1.0])])
def test_each_partial_with_indices_is_what_the_rule_gives(name, x):
    row, own = REGISTRY[name], INDEXED_ROWS[name]
    if name == "sort" and len(set(x)) < len(x):
        x = x + 0.1 * np.arange(len(x))  # of equal elements an order is chosen
    params = own if "axis" in own else {"axis": None, "keepdims": False, **own}
    y = np.asarray(row.impl(x, **params))
    said = np.reshape(WITH_INDICES[row.label.partials[0]](x, y, params), (y.size, x.size))
    for i in range(y.size):
        dy = (np.arange(y.size) == i).astype(float).reshape(y.shape)[()]
        got = np.asarray(row.vjp(dy, y[()], x, (True,), **params)[0])
        np.testing.assert_allclose(got, said[i], atol=1e-12)


@pytest.mark.parametrize("subscripts, shapes", [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,j->i", [(2, 3), (3,)]), ("i,j->ij", [(2,), (3,)]),
    ("ij,ij->", [(2, 3), (2, 3)]), ("bij,jk,k->bi", [(2, 3, 4), (4, 2), (2,)])])
def test_the_subscripts_of_a_pullback_are_those_of_an_einsum(subscripts, shapes):
    rng, row = np.random.default_rng(2), REGISTRY["einsum"]
    xs = [rng.normal(size=shape) for shape in shapes]
    y = np.asarray(row.impl(*xs, subscripts=subscripts))
    dy = rng.normal(size=y.shape)[()]
    inputs = tuple(Step("input", None, LEAF, x, name=n) for n, x in zip(NAMES, xs, strict=False))
    step = Step("operation", None, row, y, inputs, {"subscripts": subscripts}, name="y")
    values = dict(zip(NAMES, xs, strict=False)) | {"D": dy}
    parts = row.vjp(dy, y, *xs, (True,) * len(xs), subscripts=subscripts)
    for k, expected in enumerate(parts):
        template = writing.pullback_label(step, k)
        said = re.fullmatch(r"\\mathrm\{einsum\}_\{\\mathtt\{(.*)\}\}\((.*)\)",
                            template.format(*NAMES, dy="D"))
        got = np.einsum(said[1], *[values[n] for n in said[2].split(", ")])
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def transposed(product: str) -> str:
    """A product of matrices in LaTeX, transposed: the numerator layout of a pullback.

    D is N transposed, where N is the adjoint of the result in that layout.
    """
    flipped = {r"^\top": "", r"^{-\top}": "^{-1}", "^{-1}": r"^{-\top}", "^{+}": r"^{+\top}",
               r"^{+\top}": "^{+}"}

    def turned(factor: str) -> str:
        base, power = re.fullmatch(r"(.*?)(\^\\top|\^\{[^{}]*\})?", factor).groups()
        if base == "D":
            return "N" if not power else r"N^\top"
        return base + flipped.get(power or "", power or r"^\top")
    sign = "-" if product.startswith("-") else ""
    return sign + r"\,".join(turned(f) for f in product.removeprefix("-").split(r"\,")[::-1])


@pytest.mark.parametrize("name, numerators", [
    ("matmul", (r"b\,N", r"N\,a")), ("linear", (r"b^\top\,N", r"a^\top\,N^\top")),
    ("linalg.solve", (r"-y\,N\,a^{-1}", r"N\,a^{-1}")), ("linalg.inv", (r"-y\,N\,y",))])
def test_the_numerator_layout_is_the_transpose(name, numerators):
    row, rng = REGISTRY[name], np.random.default_rng(4)
    xs = [rng.normal(size=(3, 3)) + 3.0 * np.eye(3) for _ in numerators]
    params = next(row.cases(rng)).params
    y, dy = row.impl(*xs, **params), rng.normal(size=(3, 3))
    parts = row.vjp(dy, y, *xs, (True,) * len(xs), **params)
    for pullback, expected, part in zip(row.label.pullbacks, numerators, parts, strict=True):
        assert transposed(filled(pullback, params)) == expected
        values = {**dict(zip(NAMES, xs, strict=False)), "y": y, "N": dy.T}
        same(value_of(expected, values, latex=True, matrices=True), part.T, (), 1e-9, expected)


def test_reasons_are_of_rows_that_are_there():
    assert set(NOT_READ) <= {r.name for r in ROWS if not r.elementwise and not r.nondiff}
    assert NOT_OF_INTEGERS.keys() | TELLS_ZEROS_APART.keys() <= {r.name for r in ELEMENTWISE}


# ---- all of them

ALL = {**{r.name: r.label for r in ROWS}, **{f"{n}*": c.label for n, c in COMPOSED.items()}}
# What plain LaTeX knows, and amsmath need not be there.
COMMANDS = {
    "Delta", "Gamma", "Im", "Phi", "Re", "arccos", "arcsin", "arctan", "ast", "bar", "cdot", "cos",
    "cosh", "det", "dots", "frac", "ge", "in", "infty", "int", "lambda", "langle", "lceil", "le",
    "left", "leftarrow", "lfloor", "ln", "log", "mathbin", "mathord", "mathrm", "mathtt", "max",
    "mid", "min", "ne", "neg", "odot", "oplus", "overline", "pi", "prod", "psi", "rangle", "rceil",
    "rfloor", "rho", "right", "sigma", "sim", "sin", "sinh", "sqrt", "sum", "tan", "tanh", "top",
    "varphi"}


@pytest.mark.parametrize("name", ALL)
def test_the_latex_is_well_formed(name):
    label = ALL[name]
    for template in (label.latex, *label.partials, *label.pullbacks):
        fields = {f: "x_1" for _, f, _, _ in Formatter().parse(template) if f and not f.isdigit()}
        text = template.format("x_1", "x_2", "x_3", **fields)
        commands = [c[1:] for c in COMMAND.findall(text)]
        assert set(commands) <= COMMANDS, text
        bare = re.sub(r"\\[{}#&_,|]", "", text)
        assert bare.count("{") == bare.count("}") and bare.count("(") == bare.count(")"), text
        assert text.count(r"\left") == text.count(r"\leftarrow") + text.count(r"\right"), text
        for word in re.findall(r"\\mathrm\{([^{}]*)\}", text):
            assert not re.search(r"(?<!\\)_", word.replace("x_1", "")), text


@pytest.mark.parametrize("row", [r for r in ROWS if not r.nondiff], ids=str)
def test_a_derivation_finds_what_it_prints(row):
    label = row.label
    assert label.text and label.latex and label.rule and label.partials
    assert len(label.pullbacks) in (0, len(label.partials))
    assert len(label.binds) == 2 and set(label.binds) <= set(expansion.WEAK + " ")
    assert label.rule.count(";") in (0, len(label.partials)), "one name for each argument, or one"


def test_rules_have_the_names_of_the_cheat_sheet():
    rules = {n: REGISTRY[n].label.rule.split("; ") for n in (
        "add", "subtract", "multiply", "power", "log", "negative", "divide")}
    assert rules == {
        "add": ["sum rule"], "subtract": ["difference rule"],
        "multiply": ["product rule", "constant factor", "constant factor"],
        "power": ["power rule", "power rule", "chain rule for the exponential"],
        "log": ["chain rule for the logarithm"], "negative": ["constant factor"],
        "divide": ["quotient rule", "constant factor", "reciprocal rule"]}
