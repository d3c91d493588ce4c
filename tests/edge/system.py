"""Shapes, types, memory, threads: small programs, and what they show.

A program's last line is an expression; what it shows is its repr, or the error or warning with the
beginning of its message. Where a row needs more than a program, `tests` names the tests that hold
it.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import adjoint as ad

from .case import NAMES


@dataclass(frozen=True)
class Program:
    """Lines of Python, and what the last one shows."""

    name: str
    code: str = ""
    shows: str = ""  # of an error or a warning: a beginning
    peers: str = ""
    tests: str = ""  # file::name of tests that hold the whole row, one a line
    says: str = ""  # something that stands later in the message

    @property
    def raises(self) -> bool:
        """Whether an error or a warning is what it shows."""
        return self.shows.split(":")[0].endswith(("Error", "Warning"))

    @property
    def holds(self) -> bool:
        """Whether it shows what it should."""
        found = shown(self.code)
        return (found.startswith(self.shows) and self.says in found if self.raises
                else found == self.shows)

    @property
    def lines(self) -> list[str]:
        """The program."""
        return textwrap.dedent(self.code).strip().splitlines()


@cache
def shown(code: str) -> str:
    """What a program shows: the repr of its last line, its first warning, or its error."""
    *body, last = ast.parse(textwrap.dedent(code).strip()).body
    names: dict[str, Any] = dict(NAMES)
    with warnings.catch_warnings(record=True) as seen, np.errstate(all="ignore"):
        warnings.simplefilter("always", UserWarning)
        try:
            exec(compile(ast.Module(body, []), "<program>", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "<program>", "eval"), names)
        except (ad.errors.AdjointError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
    told = [w for w in seen if w.category is UserWarning]
    return f"{told[0].category.__name__}: {told[0].message}" if told else repr(value)


LEAF = "x = ad.tensor([1.0, 2.0], requires_grad=True)\n"
SCALAR = "x = ad.tensor(0.5, requires_grad=True)\n"

SHAPES = [
    Program("(1,) * (3,)", """
        f = lambda x, z: (x * z).sum()
        ad.grad(f, (0, 1))(np.array([2.0]), np.array([1.0, 2.0, 3.0]))
        """, "(array([6.]), array([2., 2., 2.]))", "agree"),
    Program("() * (3,)", """
        f = lambda x, z: (x * z).sum()
        ad.grad(f, (0, 1))(np.array(2.0), np.array([1.0, 2.0, 3.0]))
        """, "(array(6.), array([2., 2., 2.]))", "agree"),
    Program("kinks are broadcast: maximum of (1,) and (3,)", """
        f = lambda x, z: np.maximum(x, z).sum()
        ad.grad(f, (0, 1))(np.array([2.0]), np.array([1.0, 2.0, 3.0]))
        """, "(array([1.5]), array([0. , 0.5, 1. ]))"),
    Program("sum of nothing", "ad.value_and_grad(np.sum)(np.zeros((0, 3)))",
            "(np.float64(0.0), array([], shape=(0, 3), dtype=float64))", "agree"),
    Program("axis 0 of (0, 3): sum, mean, prod", """
        with np.errstate(all="ignore"):
            x = ad.tensor(np.zeros((0, 3)))
            shapes = [f(x, axis=0).shape for f in (ad.sum, ad.mean, ad.prod)]
        shapes
        """, "[(3,), (3,), (3,)]", "agree"),
    Program("the gradients there", """
        def f(x): return np.sum(x, axis=0).sum() + np.prod(x, axis=0).sum()
        ad.grad(f)(np.zeros((0, 3))).shape, ad.jvp(f, (np.zeros((0, 3)),), (np.zeros((0, 3)),))
        """, "((0, 3), (np.float64(3.0), np.float64(0.0)))", "agree"),
    Program("max of nothing", "np.max(ad.tensor(np.zeros((0, 3)), requires_grad=True))",
            "ShapeError: max: of nothing: shape (0, 3)", "agree"),
    Program("the same for min, amax, ptp, median, sort()[0]", """
        x = ad.tensor(np.zeros((0,)), requires_grad=True)
        errors = []
        for f in (np.min, np.amax, np.ptp, np.argmax, lambda x: np.sort(x)[0]):
            try:
                f(x)
            except ad.errors.AdjointError as error:
                errors.append(type(error).__name__)
        errors
        """, "['ShapeError', 'ShapeError', 'ShapeError', 'ShapeError', 'IndexingError']"),
    Program("negative strides", "ad.grad(lambda x: (x * x).sum())(np.arange(3.0)[::-1])",
            "array([4., 2., 0.])", "torch refuses them"),
    Program("non-contiguous", "ad.grad(lambda x: (x * x).sum())(np.arange(6.0)[::2])",
            "array([0., 4., 8.])", "agree"),
    Program("Fortran order", """
        x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
        ad.grad(lambda x: (x * x).sum())(x)
        """, "array([[ 0.,  2.,  4.],\n       [ 6.,  8., 10.]])", "agree"),
    Program("zero-stride broadcast views", """
        x = np.broadcast_to(np.arange(3.0), (2, 3))
        ad.grad(lambda x: (x * x).sum())(x)
        """, "array([[0., 2., 4.],\n       [0., 2., 4.]])", "agree"),
    Program("x[[0, 0]]", "ad.grad(lambda x: x[[0, 0]].sum())(np.array([1.0, 2.0]))",
            "array([2., 0.])", "agree"),
    Program("an element, a slice and a mask of the same x", """
        f = lambda x: x[0] * 2.0 + x[:2].sum() + x[x > 1.5].sum()
        ad.grad(f)(np.array([1.0, 2.0, 3.0]))
        """, "array([3., 2., 1.])"),
]

TYPES = [
    Program("float32 * float64: each gradient in its primal's dtype", """
        f = lambda x, z: (x * z).sum()
        [g.dtype.name for g in ad.grad(f, (0, 1))(np.ones(3, np.float32), np.ones(3))]
        """, "['float32', 'float64']", "HIPS float64 for both"),
    Program("the same through .grad", """
        x = ad.tensor(np.ones(3, np.float32), requires_grad=True)
        z = ad.tensor(np.ones(3), requires_grad=True)
        (x * z).sum().backward()
        x.grad.dtype.name, z.grad.dtype.name
        """, "('float32', 'float64')", "HIPS float64 for both"),
    Program("tangents have the dtype of the result", """
        x, z = np.ones(3, np.float32), np.ones(3)
        dys = ad.jvp(lambda x: x * z, (x,), (x,))[1], ad.jvp(lambda z: x * z, (z,), (z,))[1]
        [dy.dtype.name for dy in dys]
        """, "['float64', 'float64']"),
    Program("integers beside floats are constants",
            "ad.grad(lambda x: (x * np.arange(3)).sum())(np.ones(3, np.float32))",
            "array([0., 1., 2.], dtype=float32)"),
    Program("an integer asked for a gradient", "ad.grad(lambda x: x * x)(3)",
            "DTypeError: ad.grad(f): 3 is int64, which has no derivative. Write ad.grad(f)(3.0)",
            "MLX returns integers"),
    Program("a bool asked for a gradient", "ad.grad(lambda x: x * x)(True)",
            "DTypeError: ad.grad(f): True is bool, which has no derivative. Write ad.grad(f)(1.0)"),
    Program("the same in forward mode", "ad.jvp(lambda x: x * x, (3,), (1,))",
            "DTypeError: ad.jvp(f, primals, tangents): 3 is int64, which has no derivative. "
            "Write ad.jvp(f, (3.0,), (1.0,))"),
    Program("an integer tensor that wants a gradient", "ad.tensor([1, 2], requires_grad=True)",
            "DTypeError: int64 has no derivative", says="dtype=float"),
    Program("an input that the output does not depend on",
            "ad.grad(lambda x, z: x * 2.0, (0, 1))(1.0, 2.0)",
            "(2.0, 0.0)", "torch error"),
    Program("the same, asked to complain",
            'ad.grad(lambda x, z: x * 2.0, (0, 1), on_unused="error")(1.0, 2.0)',
            "UnusedInputError: ad.grad(f): the result does not depend on", "torch error"),
    Program("complex: Re(z**2) at 1+2j, steepest ascent", """
        f = lambda z: np.real(z ** 2)
        ad.grad(f)(1.0 + 2.0j), ad.grad(lambda z: (z * z).real)(1.0 + 2.0j)
        """, "((2-4j), (2-4j))", "torch 2-4j; jax, HIPS 2+4j"),
    Program("the same through .grad, of the parts", """
        z = ad.tensor([1.0 + 2.0j], requires_grad=True)
        (np.real(z) ** 2 - np.imag(z) ** 2).sum().backward()
        z.grad
        """, "tensor([2.-4.j], dtype=complex128)", "torch 2-4j; jax, HIPS 2+4j"),
    Program("complex: abs at 0", "ad.grad(np.abs)(0j) == 0", "True", "torch 0; jax NaN"),
    Program("complex: |z|**2 at 0 and at 1+2j",
            "[ad.grad(lambda z: np.abs(z) ** 2)(z) == 2 * z for z in (0j, 1.0 + 2.0j)]",
            "[True, True]"),
    Program("division by Python's zero", "ad.grad(lambda x: (x / 0.0).sum())(np.array([1.0, 2.0]))",
            "array([inf, inf])"),
    Program("Python's own max picks a branch",
            "ad.grad(lambda x: max(x, 0.0))(0.0), ad.grad(lambda x: max(0.0, x))(0.0)",
            "(1.0, 0.0)"),
    Program("and ad.kinks names it", """
        with ad.kinks("raise"):
            ad.grad(lambda x: max(x, 0.0))(0.0)
        0
        """, "KinkError: `x < z` is evaluated on a kink"),
    Program("loss of (n, 1) predictions against (n,) targets", """
        p = ad.tensor(np.zeros((3, 1)), requires_grad=True)
        ad.nn.functional.mse_loss(p, np.zeros(3))
        """, "UserWarning: mse_loss: predictions of shape (3, 1) and targets of shape (3,)",
            "silent in torch, jax",
            tests="tests/nn/test_losses.py::test_a_column_against_a_row_warns_with_both_shapes"),
]

MEMORY = [
    Program("y[0] = x on a tensor", LEAF + """y = x * 1.0
y[0] = x[1] * 3.0
y.sum().backward()
x.grad
""", "tensor([0., 4.])", 'HIPS: "setting an array element with a sequence"',
            tests="tests/test_mutation.py::test_in_place_programs_agree_with_numpy"),
    Program("y[0] = x on a plain ndarray", LEAF + """y = np.zeros(2)
try:
    y[0] = x[1]
except ValueError as error:
    raise error.__cause__
0
""", "EscapeError: ", says="ad.setitem(arr, i, x)",
            tests="tests/test_mutation.py::test_an_element_of_an_array_refuses_a_tracked_value"),
    Program("a saved array is changed before backward: the NumPy array it came from", """
        a = np.array([1.0, 2.0])
        x = ad.tensor(a, requires_grad=True)
        y = (x * x).sum()
        a[:] = 100.0
        y.backward()
        x.grad
        """, "tensor([2., 4.])", "torch: silent wrong through .data and NumPy; HIPS silent wrong",
            tests="tests/test_aliasing.py::test_a_gradient_is_that_of_the_values_that_were_used"),
    Program("the same, an array that is an operand", LEAF + """a = np.array([3.0, 4.0])
y = (x * a).sum()
a[:] = 100.0
y.backward()
x.grad
""", "tensor([3., 4.])", "torch, HIPS silent wrong"),
    Program("the same, through .data", LEAF + """y = (x * x).sum()
x.data = np.array([100.0, 100.0])
y.backward()
x.grad
""", "tensor([2., 4.])", "torch silent wrong",
            tests="tests/test_mutation.py::test_a_saved_leaf_changed_through_data_or_detach_has_no_effect"),
    Program("the same, through the tensor", LEAF + """u = x * 1.0
y = (u * u).sum()
u *= 100.0
y.backward()
x.grad
""", "tensor([2., 4.])", "torch error",
            tests="tests/test_mutation.py::test_a_saved_tensor_changed_before_backward_has_no_effect"),
    Program("the same, through a view", LEAF + """u = x * 1.0
y = (u * u).sum()
v = u[:1]
v[:] = 100.0
y.backward()
x.grad
""", "MutationError: ", "torch error", says="view",
            tests="tests/test_mutation.py::test_writing_into_a_view_raises_while_its_base_is_alive"),
    Program("a + b, then a.grad changed in place: b.grad stays", """
        a = ad.tensor([1.0], requires_grad=True)
        b = ad.tensor([2.0], requires_grad=True)
        (a + b).sum().backward()
        a.grad[:] = 7.0
        a.grad, b.grad
        """, "(tensor([7.]), tensor([1.]))",
            tests="tests/test_aliasing.py::test_gradients_share_no_memory"),
    Program("backward twice without retain_graph", SCALAR + """y = x * x
y.backward()
y.backward()
0
""", "GraphError: ", "agree", says="retain_graph=True"),
    Program("backward(create_graph=True), then del: memory is freed", peers="torch leaks",
            tests="tests/test_memory.py::test_no_reference_cycle\n"
            "tests/test_memory.py::test_every_kind_of_program_is_freed_at_once"),
    Program("100,000 and 1,000,000 chained operations",
            peers="micrograd RecursionError at 1,000; HIPS 27 s",
            tests="tests/test_memory.py::test_a_million_steps_built_swept_and_freed\n"
            "tests/test_memory.py::test_a_hundred_thousand_steps_in_every_mode"),
    Program("threads with nested gradients", peers="HIPS 12 of 20 with four threads, silently",
            tests="tests/test_threads.py::test_twenty_threads\n"
            "tests/test_threads.py::test_nested_gradients_of_a_tensor_that_crosses_threads"),
]

EXITS = [
    Program("float(t)", SCALAR + "float(x)", "EscapeError: ", "torch detaches; HIPS, jax TypeError",
            says="x.item()", tests="tests/test_exits.py::test_every_way_out_raises"),
    Program("math.sin(t)", SCALAR + "math.sin(x)", "EscapeError: ", "torch detaches",
            says="ad.sin(x) for math.sin(x)"),
    Program("np.array([t, u])", SCALAR + "np.array([x, x])", "EscapeError: ",
            "torch raises or detaches by case", says="ad.array([x, z])"),
    Program("math.floor(t), int(t)", SCALAR + "int(x)", "EscapeError: int(x)", says="ad.trunc(x)"),
    Program("np.full(2, t)", SCALAR + "np.full(2, x)", "EscapeError: np.full", says="ad.full"),
    Program("inside ad.grad", "ad.grad(lambda x: math.sin(x))(0.5)", "EscapeError: ",
            says="ad.sin(x) for math.sin(x)"),
    Program("inside ad.jvp", "ad.jvp(lambda x: math.sin(x), (0.5,), (1.0,))", "EscapeError: ",
            says="ad.sin(x) for math.sin(x)"),
    Program("all others: the list is docs/exits.md",
            tests="tests/test_exits_survey.py::test_no_call_has_another_outcome"),
]

REPORTS = [
    Program("the doctor, of (-2)**y at y=2",
            "ad.diagnose(lambda y: ad.power(-2.0, y), 2.0).first.remedy",
            "'for x < 0, x**z is a real number at whole z only, so it has no derivative by z. "
            "If z is not a variable, pass a plain number or ad.stop_gradient(z); if it is, keep "
            "the base positive: np.exp(z * np.log(x))'"),
    Program("the doctor, of sqrt(sum(x**2)) at 0",
            "ad.diagnose(lambda x: np.sqrt(np.sum(x ** 2)), np.zeros(2)).first.remedy",
            "'np.linalg.norm(x) instead of sqrt(sum(x**2)): its gradient at 0 is 0'"),
    Program("the doctor, of log(exp(x)) at -1000",
            "ad.diagnose(lambda x: np.log(np.exp(x)), -1000.0).first.remedy",
            "'the argument itself: log(exp(x)) is x, and exp has rounded it to 0 or to infinity'"),
    Program("the doctor, of log(sigmoid(x)) at -1000",
            "ad.diagnose(lambda x: ad.log(ad.sigmoid(x)), -1000.0).first.remedy",
            "'ad.log_sigmoid(x) instead of log(sigmoid(x)): sigmoid rounds to 0 for x far below 0, "
            "log_sigmoid stays about x'"),
]

PROGRAMS = SHAPES + TYPES + MEMORY + EXITS + REPORTS
