"""What a newcomer types in the first ten minutes, and what it must answer, word for word.

Each case is a statement or two and the start of the answer: the repr of the last expression, or the
class and message of the error. `x` is a tracked vector, `y` a tracked scalar made from it.
"""

import copy
import math
import pickle
import struct

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import adjoint as ad

LOST = "of a tracked value would cut it out of the graph, and its gradient would silently be lost. "
FLOAT = ("EscapeError: float(x), math.sin(x), arr[i] = x or '%f' % x " + LOST +
         "Write ad.sin(x) for math.sin(x)")
ARRAY = ("EscapeError: np.asarray(x), np.array([x, z]) or arr[...] = x " + LOST +
         "Write np.stack([x, z]) or ad.array([x, z])")
LEAF = "on a leaf that requires a gradient: its history would be lost. Write it inside `with ad.no_"
NO_ROW = "has no row here, so it cannot be differentiated. Compose it from functions that ad has"

CASES = [
    # making tensors
    ("ad.tensor([1, 2])", "tensor([1, 2])"),
    ("ad.tensor([1., 2.], requires_grad=True)", "tensor([1., 2.], requires_grad=True)"),
    ("ad.Tensor(2.0)", "tensor(2.)"),
    ("ad.tensor([1, 2], requires_grad=True)",
     ("DTypeError: int64 has no derivative: only floating point and complex tensors require "
     "gradients; write ad.tensor(data, dtype=float, requires_grad=True)")),
    ("ad.tensor([1, 2], dtype=float, requires_grad=True)", "tensor([1., 2.], requires_grad=True)"),
    ("ad.tensor([[1., 2.], [3.]])", "ShapeError: ad.tensor: the nested lists do not form an array"),
    ("ad.tensor('a')", "DTypeError: ad.tensor: no numbers"),
    ("ad.tensor(None)", "DTypeError: ad.tensor: no numbers"),
    ("ad.tensor([x[0], x[1]])",
     "EscapeError: ad.tensor([x, y]) " + LOST + "Write ad.array([x, y])"),
    ("ad.tensor(x)", "EscapeError: ad.tensor(x) " + LOST + "Write x itself, or ad.tensor(x.det"),
    ("ad.array([x[0], 1.0])", "tensor([1., 1.], grad_fn=<"),
    ("ad.zeros(2, requires_grad=True)", "tensor([0., 0.], requires_grad=True)"),
    ("ad.tensor(np.float32(1))", "tensor(1., dtype=float32)"),
    # backward
    ("y.backward(); x.grad", "tensor([2., 4., 6.])"),
    ("y.backward(); y.backward()",
     "GraphError: the graph behind sum was freed by an earlier backward(). Pass retain_graph=True"),
    ("y.backward(retain_graph=True); y.backward(); x.grad", "tensor([ 4.,  8., 12.])"),
    ("y.backward(); y.grad", "None"),
    ("y.backward(); x.grad.zero_(); x.grad", "tensor([0., 0., 0.])"),
    ("y.backward(); x.grad = None; x.grad", "None"),
    ("x.grad = np.ones(2)", "ShapeError: .grad has the shape of its tensor, (3,), not (2,)"),
    ("(x * x).backward()",
     ("GraphError: backward() of a result of shape (3,) needs the cotangent to contract it with: "
     "write y.sum().backward(), or y.backward(np.ones((3,)))")),
    ("(x * x).backward(np.ones(3)); x.grad", "tensor([2., 4., 6.])"),
    ("(x * x).backward(np.ones(2))",
     "ShapeError: backward(gradient): the cotangent has shape (2,)"),
    ("ad.tensor(1.).backward()", ("GraphError: nothing to differentiate: no input of this value "
     "has requires_grad=True, or it was computed under no_grad()")),
    ("z = ad.tensor(2.0); (z * z).backward()", "GraphError: nothing to differentiate"),
    ("x.grad_fn, y.grad_fn", "(None, <sum>)"),
    ("x.is_leaf, y.is_leaf, x.requires_grad, y.requires_grad", "(True, False, True, True)"),
    ("(x * 2).requires_grad = False", "GraphError: requires_grad can be set on leaves only"),
    # updates
    ("w -= 0.1 * w", "GraphError: in-place subtract " + LEAF),
    ("w[0] = 5.0", "GraphError: x[...] = v " + LEAF),
    ("w.zero_()", "GraphError: zero_() " + LEAF),
    ("(w * w).sum().backward()\nwith ad.no_grad(): w -= 0.1 * w.grad\nw",
     "tensor([0.8, 1.6], requires_grad=True)"),
    ("(w * w).sum().backward(); w.data -= 0.1 * w.grad; w",
     "tensor([0.8, 1.6], requires_grad=True)"),
    ("(w * w).sum().backward(); w = w - 0.1 * w.grad; w", "tensor([0.8, 1.6], grad_fn=<subtract>)"),
    ("w.data = np.zeros(3)",
     "ShapeError: x.data = v: v has shape (3,), and a gradient of shape (2"),
    # numbers out of tensors
    ("float(y)", FLOAT), ("math.sin(y)", FLOAT), ("math.sqrt(y)", FLOAT), ("'%f' % y", FLOAT),
    ("math.fsum(x)", FLOAT),
    ("float(y.item()), y.item()", "(14.0, 14.0)"),
    ("float(y.detach())", "14.0"),
    ("math.sin(ad.tensor(0.0))", "0.0"),
    ("int(y)", "EscapeError: int(x) " + LOST + "Write ad.trunc(x)"),
    ("complex(y)", "EscapeError: complex(x) " + LOST + "Write x.astype(complex)"),
    ("range(y)", "EscapeError: a tracked value as an index or a size: using it " + LOST),
    ("list(range(ad.tensor(3)))", "[0, 1, 2]"),
    ("struct.pack('d', y)", "error: required argument is not a float"),
    ("x.item()", "ShapeError: item() and number formats need one element; the shape is (3,)"),
    ("x.tolist()", "[1.0, 2.0, 3.0]"),
    ("x.numpy()", ("EscapeError: x.numpy() of a tracked tensor would cut it out of the graph, and "
     "its gradient would silently be lost. Write x.detach().numpy()")),
    ("x.detach().numpy()", "array([1., 2., 3.])"),
    ("x.detach().numpy()[0] = 5.0", "ValueError: assignment destination is read-only"),
    ("round(y), abs(x[0])", "(tensor(14.), tensor(1., grad_fn=<abs>))"),
    # printing
    ("f'{y}'", "'tensor(14., grad_fn=<sum>)'"),
    ("f'{y:.2f}'", "'14.00'"),
    ("f'{x:.2f}'", "ShapeError: item() and number formats need one element"),
    ("'\\n'.join(f'step {i}: {y:.1f}' for i in range(2))", "'step 0: 14.0\\nstep 1: 14.0'"),
    ("str(x)", "'tensor([1., 2., 3.], requires_grad=True)'"),
    # Python on tensors
    ("bool(y > 0), bool(y.sum())", "(True, True)"),
    ("bool(x > 0)", "ArgumentError: the truth of an array of shape (3,) is ambiguous; use .any()"),
    ("len(x)", "3"),
    ("len(y)", "ArgumentError: a 0-d value has no len(); x.shape is ()"),
    ("[v.item() for v in x]", "[1.0, 2.0, 3.0]"),
    ("sum([x[0], x[1]])", "tensor(3., grad_fn=<add>)"),
    ("sum(x).backward(); x.grad", "tensor([1., 1., 1.])"),
    ("max(x[0], 0)", "tensor(1., grad_fn=<getitem>)"),
    ("max(x)", "tensor(3., grad_fn=<getitem>)"),
    ("x.shape, x.ndim, x.size, x.size(), x.size(0), x.dtype", "((3,), 1, 3, (3,), 3, dtype('float"),
    ("x.device, x.to('cpu') is x", "('cpu', True)"),
    ("x.to('cuda')", "ArgumentError: there is no device 'cuda'; tensors are on the cpu"),
    # arithmetic
    ("x.T @ x, x @ x", "(tensor(14., grad_fn=<matmul>), tensor(14., grad_fn=<matmul>))"),
    ("x + [1., 2., 3.]", "tensor([2., 4., 6.], grad_fn=<add>)"),
    ("np.ones(3) * x", "tensor([1., 2., 3.], grad_fn=<multiply>)"),
    ("np.float64(2.0) * x", "tensor([2., 4., 6.], grad_fn=<multiply>)"),
    ("x + np.ones(2)", ("ShapeError: add: the shapes (3,) and (2,) do not broadcast: aligned at "
     "the right, every two sizes must be equal or one of them 1")),
    ("x @ np.ones(2)", "ShapeError: matmul: shapes (3,) and (2,) do not fit"),
    ("x.reshape(5)", "ShapeError: reshape: (3,) has 3 elements and cannot become (5,)"),
    ("x.view(3, 1).sum(dim=0, keepdim=True)", "tensor([[6.]], grad_fn=<sum>)"),
    ("x > 1", "tensor([False,  True,  True])"),
    ("(x == x).all().item()", "True"),
    # indexing
    ("x[[0, 1]]", "tensor([1., 2.], grad_fn=<getitem>)"),
    ("x[x > 1]", "tensor([2., 3.], grad_fn=<getitem>)"),
    ("x[np.array([True, False, True])]", "tensor([1., 3.], grad_fn=<getitem>)"),
    ("x[5]", "IndexingError: index 5 is out of bounds for axis 0 with size 3; the shape is (3,)"),
    ("x[1.0]", "IndexingError: an index is an integer, a slice, None, ... or an array of integers"),
    ("x[0, 0]", "IndexingError: too many indices for array"),
    # copies
    ("x.clone()", "tensor([1., 2., 3.], grad_fn=<positive>)"),
    ("x.copy()", "tensor([1., 2., 3.], grad_fn=<positive>)"),
    ("x.detach()", "tensor([1., 2., 3.])"),
    ("x.data", "tensor([1., 2., 3.])"),
    ("copy.deepcopy(x)", "tensor([1., 2., 3.], requires_grad=True)"),
    ("copy.deepcopy(y)", "GraphError: only leaves can be copied deeply; use y.detach() or y.clone"),
    ("pickle.loads(pickle.dumps(x))", "tensor([1., 2., 3.], requires_grad=True)"),
    ("pickle.dumps(y)", "GraphError: only leaves can be pickled; use y.detach()"),
    # NumPy on tensors
    ("np.sin(x)", "tensor([0.84147098, 0.90929743, 0.14112001], grad_fn=<sin>)"),
    ("np.mean(x)", "tensor(2., grad_fn=<"),
    ("np.add.reduce(x)", "tensor(6., grad_fn=<sum>)"),
    ("np.array([x, x])", ARRAY), ("np.asarray(x)", ARRAY), ("np.zeros(3)[:] = x", ARRAY),
    ("np.full(3, y)", ("EscapeError: np.full computes outside the graph: a tracked value in it "
     "would cut it out of the graph, and its gradient would silently be lost. Write ad.full(...)")),
    ("scipy.linalg.expm(np.outer([1., 2.], [1., 2.]) * ad.array([y, y]))",
     "EscapeError: scipy.linalg.expm computes outside the graph"),
    ("a = np.zeros(3); a += x",
     "EscapeError: np.add(..., out=array), which array += x calls too, "),
    ("np.sin(x, out=np.zeros(3))", "EscapeError: np.sin(..., out=array)"),
    ("np.sin(x, out=ad.zeros(3))",
     "tensor([0.84147098, 0.90929743, 0.14112001], grad_fn=<setitem>"),
    ("np.save('/dev/null', x)", "UnsupportedError: np.save " + NO_ROW),
    ("np.add.at(x, 0, 1.0)",
     "UnsupportedError: np.add.at has no row here, so it cannot be differentiated. Write x = ad."),
    ("np.shape(x), np.ndim(x), np.size(x)", "((3,), 1, 3)"),
    ("np.allclose(x, x), np.array_equal(x, x)", "(True, True)"),
    ("np.zeros_like(x)", "tensor([0., 0., 0.])"),
    ("np.nanmedian(x.detach())", "tensor(2.)"),
    ("ad.sin(np.zeros(2))", "array([0., 0.])"),
    ("ad.sin([0.0])", "array([0.])"),
    # functions of functions
    ("ad.grad(lambda x: x**2)(3.0)", "6.0"),
    ("ad.grad(lambda x: x**2)(3)",
     "DTypeError: ad.grad(f): 3 is int64, which has no derivative. Write ad.grad(f)(3.0)"),
    ("ad.grad(lambda x: x**2)(np.array([1, 2]))",
     ("DTypeError: ad.grad(f): an array of int64 is int64, which has no derivative. Write "
     "ad.grad(f)(x.astype(float))")),
    ("ad.grad(lambda x: x**2)(np.array([1., 2.]))",
     "ShapeError: ad.grad(f) needs a function with one scalar result; this one returned shape (2"),
    ("ad.grad(lambda x: sum(v**2 for v in x))([1., 2.])", "[2.0, 4.0]"),
    ("ad.grad(lambda x: x**2)([1., 2.])", "TypeError: unsupported operand type(s) for **"),
    ("ad.grad(lambda x: math.sin(x))(1.0)", FLOAT),
    ("ad.grad(lambda x: max(x, 0))(2.0)", "1.0"),
    ("ad.grad(lambda x: x if x > 0 else -x)(-2.0)", "-1.0"),
    ("ad.grad(lambda x: None)(2.0)", ("ArgumentError: ad.grad(f): the function returned nothing; "
     "does it lack a `return`?")),
    ("ad.grad(lambda x: 'a')(2.0)", "ArgumentError: ad.grad(f): the function returned str ('a')"),
    ("ad.grad(lambda x: 5)(2.0)", "0.0"),
    ("ad.grad(3)(2.0)", "ArgumentError: ad.grad(f): f must be a function, not 3"),
    ("ad.grad(lambda x: x)('a')", "ArgumentError: the arguments of a transformation are numbers"),
    ("ad.grad(lambda x: x, argnums=1)(1.0)",
     "ArgumentError: argnums=1: the function was called wit"),
    ("ad.jvp(np.sin, 1.0, 1.0)", "ArgumentError: ad.jvp(f, primals, tangents): both are tuples"),
    ("ad.jvp(np.sin, (1.0,), (np.ones(2),))", "ShapeError: the tangents: shape (2,) where () is"),
    ("ad.jvp(np.sin, (0.0,), (1.0, 2.0))", "ArgumentError: the tangents must have the structure"),
    ("ad.vjp(np.sin, np.ones(2))[1](np.ones(3))", "ShapeError: the cotangent: shape (3,) where"),
    ("ad.vmap(lambda x: x)(3.0)", "ShapeError: vmap: an argument of shape () has no axis 0 to map"),
    ("ad.hessian(lambda x: x * x)(np.ones(2))", "ShapeError: ad.grad(f) needs a function with one"),
    ("ad.jacobian(lambda x: x * x)(1.0)", "2.0"),
    ("kept = []; ad.grad(lambda x: (kept.append(x * 2), x)[1])(1.0); kept[0]",
     "tensor(float64[], of a call that has ended)"),
    ("kept = []; ad.grad(lambda x: (kept.append(x * 2), x)[1])(1.0); kept[0] + 1",
     ("LevelError: a value of shape () was made inside a function under grad, vjp, jvp, vmap or "
     "hessian, and is used after that call has ended")),
    ("kept = []; ad.grad(lambda x: (kept.append(x * 2), x)[1])(1.0); kept[0].item()", "LevelError"),
    (("scipy.optimize.minimize(lambda v: ((v - 1)**2).sum(), np.zeros(2), "
     "jac=ad.grad(lambda v: ((v - 1)**2).sum())).x.round(6)"), "array([1., 1.])"),
]


def answer(line):
    space = {"ad": ad, "np": np, "math": math, "copy": copy, "pickle": pickle, "struct": struct,
             "scipy": scipy}
    space["x"] = x = ad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    space["y"] = (x * x).sum()
    space["w"] = ad.tensor([1.0, 2.0], requires_grad=True)
    *before, last = line.split("\n") if "\n" in line else line.split("; ")
    try:
        exec("\n".join(before), space)
        try:
            code = compile(last, "<newcomer>", "eval")
        except SyntaxError:
            exec(last, space)
            return "done"
        return repr(eval(code, space))
    except Exception as e:  # noqa: BLE001 - the error is the answer
        return f"{type(e).__name__}: {e}"


@pytest.mark.parametrize("line, text", CASES, ids=[line for line, _ in CASES])
def test_answers(line, text):
    got = answer(line)
    assert got.startswith(text), got


def test_there_are_enough_lines():
    assert len(CASES) >= 60


def test_assigning_into_an_array_names_the_cause():
    x = ad.tensor(2.0, requires_grad=True)
    array = np.zeros(3)
    with pytest.raises(ValueError, match="setting an array element with a sequence") as caught:
        array[0] = x
    assert "ad.setitem(arr, i, x) for arr[i] = x" in str(caught.value.__cause__)


def test_errors_show_the_line_of_the_user():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ad.errors.ShapeError) as caught:
        x + np.ones(3)  # the line to show
    assert "x + np.ones(3)  # the line to show" in str(caught.value)
    assert __file__ in str(caught.value)
