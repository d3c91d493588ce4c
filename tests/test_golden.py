"""Every worked example against golden.json (60-digit arithmetic, rounded): every face, both modes.

A program is written once, in NumPy's style, and returns all the values that it names; it runs on
tensors, duals, arrays and the teaching classes alike.
"""

import json
import operator
from functools import reduce
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from shared import toy

import adjoint as ad
from adjoint.teach import AutogradValue, ForwardValue, Value

GOLDEN = json.loads((Path(__file__).parent / "data" / "golden.json").read_text())
GOLDEN.pop("_note")
U = np.array([1.0, -2.0, 0.5, 3.0])
LABELS = [0, 0, 1]


def relu(x):
    return x.relu() if isinstance(x, (AutogradValue, ForwardValue, Value)) else ad.relu(x)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def baydin(x1, x2):
    v3, v4, v5 = np.log(x1), x1 * x2, np.sin(x2)
    v6 = v3 + v4
    return {"v1": x1, "v2": x2, "v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": v6 - v5}


def neg_log_sigmoid(x, w):
    a = x ** 2
    b = w * a
    c = sigmoid(b)
    g = np.log(c)
    return {"a": a, "b": b, "c": c, "g": g, "L": -g}


def quartic(x):
    a = x ** 2
    b = 5 * a
    c = a * b
    return {"a": a, "b": b, "c": c, "L": -c}


def x2logx2(x):
    a = x ** 2
    b, c = 5 * a, np.log(a)
    g = b * c
    return {"a": a, "b": b, "c": c, "g": g, "L": -g}


def tanh_layer(W, x, b):
    z = W @ x + b
    y = np.tanh(z)
    return {"z": z, "y": y, "L": (U * y).sum()}


def recitation_tanh(x1, x2, y1, Wx1, bx1, Wx2, bx2, Wy1, by1, Wy2, by2):
    z_y2 = Wx1 * x1 + bx1 + Wx2 * x2 + bx2
    y2 = np.tanh(z_y2)
    z_z1 = Wy1 * y1 + by1 + Wy2 * y2 + by2
    return {"z_y2": z_y2, "y2": y2, "z_z1": z_z1, "z1": np.tanh(z_z1)}


def cross_entropy(logits):
    exp = np.exp(logits)
    rowsum = exp.sum(1)
    lse = np.log(rowsum)
    loss_per_row = lse - logits[np.arange(3), LABELS]
    return {"exp": exp, "rowsum": rowsum, "lse": lse, "loss_per_row": loss_per_row,
            "L": loss_per_row.mean()}


def broadcast_sum(a, b):
    c = a + b
    return {"c": c, "L": c.sum()}


def mse_linear(X, w, y):
    p = X @ w
    r = y - p
    s = r ** 2
    return {"p": p, "r": r, "s": s, "L": s.mean()}


def made_up_product(x):
    a, b = np.sum(x), np.sum(np.log(x))
    y = np.cos(np.exp(x) * a / b)
    return {"a": a, "b": b, "y": y, "L": np.sum(y)}


def made_up_exponent(x):
    a, b = np.sum(x), np.sum(np.log(x))
    y = np.cos(np.exp(x * a) / b)
    return {"a": a, "b": b, "y": y, "L": np.sum(y)}


def total_derivative(x, w):
    z = x * w
    return {"z": z, "y": x ** 2 + x * np.sin(z)}


def linear_regression(p0, p1, x, y):
    a = p0 + p1 * x
    r = a - y
    return {"a": a, "r": r, "L": (r ** 2).sum()}


def binary_nll(X, W, w0, sign):
    h = ad.sigmoid(X @ W.T)
    s = h @ w0
    t = sign * s
    return {"h": h, "s": s, "t": t, "L": -ad.log_sigmoid(t).sum()}


def matrix_relu(x, y, W0, b0, W1, b1, W2, b2):
    f0 = b0 + W0 @ x
    h1 = ad.relu(f0)
    f1 = b1 + W1 @ h1
    h2 = ad.relu(f1)
    f2 = b2 + W2 @ h2
    r = f2 - y
    return {"f0": f0, "h1": h1, "f1": f1, "h2": h2, "f2": f2, "r": r, "L": (r ** 2).sum()}


def scanning_mlp(X, W1, b1, w2):
    y = [w2 @ np.tanh(W1 @ X[t] + b1) for t in range(4)]
    return {"y1": y[0], "y2": y[1], "y3": y[2], "y4": y[3], "L": sum(each ** 2 for each in y)}


PROGRAMS = {
    "baydin": baydin, "neg_log_sigmoid": neg_log_sigmoid, "quartic": quartic, "x2logx2": x2logx2,
    "toy_relu": toy(relu, every=True), "toy_sin": toy(np.sin, every=True), "tanh_layer": tanh_layer,
    "recitation_tanh": recitation_tanh, "cross_entropy": cross_entropy,
    "broadcast_sum": broadcast_sum, "mse_linear": mse_linear, "made_up_product": made_up_product,
    "made_up_exponent": made_up_exponent, "total_derivative": total_derivative,
    "linear_regression": linear_regression, "binary_nll": binary_nll, "matrix_relu": matrix_relu,
    "scanning_mlp": scanning_mlp}
SCALAR = [name for name, example in GOLDEN.items()
          if all(isinstance(v, float) for v in example["inputs"].values())]
MADE_UP = ["made_up_product", "made_up_exponent"]


def inputs_of(name):
    return {k: np.array(v)[()] for k, v in GOLDEN[name]["inputs"].items()}


def outputs_of(name, inputs):
    """All values that the program names, its inputs among them."""
    return inputs | PROGRAMS[name](**inputs)


def close(got, expected, what):
    """Relative error 1e-12 at most, element by element; both printed forms of the golden value.

    Only in cross_entropy the error is measured against the largest element of the array: its second
    row is log(e^12.5 + e^0.02) - 12.5, which cancels six digits in any float64 program.
    """
    for form in ("f64", "mp"):
        exact = np.array(expected[form], dtype=float)
        assert np.shape(got) == exact.shape, what
        atol = 1e-12 * np.abs(exact).max() if what.startswith("cross_entropy") else 0
        np.testing.assert_allclose(np.asarray(got, dtype=float), exact, rtol=1e-12, atol=atol,
                                   err_msg=f"{what} ({form})")


def test_no_example_is_missing():
    assert PROGRAMS.keys() == GOLDEN.keys()
    assert len(SCALAR) == 8
    for name, example in GOLDEN.items():
        assert outputs_of(name, inputs_of(name)).keys() == example["values"].keys()
        assert example["adjoints"].keys() == example["values"].keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_tensors_backward_values_and_the_adjoint_of_every_node(name):
    example = GOLDEN[name]
    inputs = {k: ad.tensor(v, requires_grad=True) for k, v in inputs_of(name).items()}
    nodes = outputs_of(name, inputs)
    for node in nodes.values():
        node.retain_grad()
    nodes[example["output"]].backward()
    for k, node in nodes.items():
        close(node.detach().numpy(), example["values"][k], f"{name}: {k}")
        close(node.grad.numpy(), example["adjoints"][k], f"{name}: adjoint of {k}")


@pytest.mark.parametrize("name", GOLDEN)
def test_grad_and_vjp(name):
    example, inputs = GOLDEN[name], inputs_of(name)

    def f(*args):
        return PROGRAMS[name](*args)[example["output"]]
    numbers = tuple(range(len(inputs)))
    value, pullback = ad.vjp(f, *inputs.values())
    close(value, example["values"][example["output"]], name)
    gradients = ad.grad(f, numbers)(*inputs.values())
    both = zip(inputs, gradients, pullback(np.float64(1.0)), strict=True)
    for k, by_grad, by_vjp in both:
        close(by_grad, example["adjoints"][k], f"{name}: grad by {k}")
        close(by_vjp, example["adjoints"][k], f"{name}: vjp by {k}")


@pytest.mark.parametrize("name", GOLDEN)
def test_forward_mode_finds_every_derivative_of_the_output(name):
    example, inputs = GOLDEN[name], inputs_of(name)

    def f(given):
        return PROGRAMS[name](**given)[example["output"]]
    for k, x in inputs.items():
        slopes = np.zeros(np.shape(x))
        for at in np.ndindex(np.shape(x)):
            direction = {j: np.zeros(np.shape(z))[()] for j, z in inputs.items()}
            unit = np.zeros(np.shape(x))
            unit[at] = 1.0
            direction[k] = unit[()]
            slopes[at] = ad.jvp(f, (inputs,), (direction,))[1]
        close(slopes, example["adjoints"][k], f"{name}: {k}, forward")


TANGENTS = [(name, key) for name, example in GOLDEN.items() for key in example.get("tangents", ())]


@pytest.mark.parametrize(("name", "key"), TANGENTS)
def test_forward_mode_finds_the_tangent_of_every_node(name, key):
    example, inputs = GOLDEN[name], inputs_of(name)
    direction = {k: 1.0 if key == f"d/d{k}" else 0.0 for k in inputs}
    assert sum(direction.values()) == 1.0
    values, tangents = ad.jvp(lambda given: outputs_of(name, given), (inputs,), (direction,))
    for k, expected in example["tangents"][key].items():
        close(values[k], example["values"][k], f"{name}: {k}")
        close(tangents[k], expected, f"{name}: tangent of {k}")


@pytest.mark.parametrize("name", SCALAR)
def test_autograd_values(name):
    example = GOLDEN[name]
    nodes = outputs_of(name, {k: AutogradValue(v) for k, v in example["inputs"].items()})
    nodes[example["output"]].backward()
    for k, node in nodes.items():
        close(node.value, example["values"][k], f"{name}: {k}")
        close(node.grad, example["adjoints"][k], f"{name}: adjoint of {k}")


@pytest.mark.parametrize("name", SCALAR)
def test_values(name):
    example = GOLDEN[name]
    nodes = outputs_of(name, {k: Value(v, label=k) for k, v in example["inputs"].items()})
    nodes[example["output"]].backward()
    for k, node in nodes.items():
        close(node.data, example["values"][k], f"{name}: {k}")
        close(node.grad, example["adjoints"][k], f"{name}: adjoint of {k}")


@pytest.mark.parametrize("name", SCALAR)
def test_forward_values(name):
    example = GOLDEN[name]
    inputs = {k: ForwardValue(v) for k, v in example["inputs"].items()}
    nodes = outputs_of(name, inputs)
    for k, x in inputs.items():
        close(nodes[example["output"]].forward_grads[x], example["adjoints"][k], f"{name}: {k}")
    for key, tangents in example.get("tangents", {}).items():
        x = inputs[key.removeprefix("d/d")]
        for k, expected in tangents.items():
            close(nodes[k].forward_grads.get(x, 0.0), expected, f"{name}: {key} of {k}")


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_activation_on_arrays_of_teaching_values(name):
    example = GOLDEN[name]
    x = np.array([AutogradValue(v) for v in example["inputs"]["x"]])
    nodes = PROGRAMS[name](x)
    nodes["L"].backward()
    for k, node in ({"x": x} | nodes).items():
        found = node if isinstance(node, np.ndarray) else np.array(node, dtype=object)
        close(np.vectorize(lambda v: v.value, otypes=[float])(found), example["values"][k], k)
        close(np.vectorize(lambda v: v.grad, otypes=[float])(found), example["adjoints"][k], k)
    x = np.array([ForwardValue(v) for v in example["inputs"]["x"]])
    loss = PROGRAMS[name](x)["L"]
    close([loss.forward_grads[each] for each in x], example["adjoints"]["x"], name)


ACTIVATIONS = {"made_up_product": lambda x, a, b: np.cos(np.exp(x) * a / b),
               "made_up_exponent": lambda x, a, b: np.cos(np.exp(x * a) / b)}


@pytest.mark.parametrize("name", MADE_UP)
def test_the_seven_paths_of_the_made_up_activation(name):
    """Each path from x1 to L is a product of partials along its edges; the sum is the gradient."""
    example = GOLDEN[name]
    x = np.array(example["inputs"]["x"])
    a, b = x.sum(), np.log(x).sum()
    edges = {("x1", "a"): ad.grad(np.sum)(x)[0],
             ("x1", "b"): ad.grad(lambda x: np.log(x).sum())(x)[0]}
    for k in range(3):
        by_x, by_a, by_b = ad.grad(ACTIVATIONS[name], (0, 1, 2))(x[k], a, b)
        edges |= {(f"x{k + 1}", f"y{k + 1}"): by_x, ("a", f"y{k + 1}"): by_a,
                  ("b", f"y{k + 1}"): by_b, (f"y{k + 1}", "L"): 1.0}
    paths = {}

    def walk(path):
        if path[-1] == "L":
            factors = [edges[edge] for edge in pairwise(path)]
            paths["->".join(path)] = reduce(operator.mul, factors)
        for start, end in edges:
            if start == path[-1]:
                walk((*path, end))
    walk(("x1",))
    assert len(paths) == 7
    assert paths.keys() == example["dL_dx1_paths"].keys()
    for path, expected in example["dL_dx1_paths"].items():
        close(paths[path], expected, path)
    close(sum(paths.values()), example["dL_dx1_sum_of_paths"], name)
    close(sum(paths.values()), {f: v[0] for f, v in example["adjoints"]["x"].items()}, name)


def test_jacobians_of_the_tanh_layer():
    inputs = inputs_of("tanh_layer")

    def y(W, x, b):
        return np.tanh(W @ x + b)
    for mode in ("reverse", "forward", "auto"):
        dx, db = ad.jacobian(y, (1, 2), mode=mode)(*inputs.values())
        close(dx, GOLDEN["tanh_layer"]["jacobian_dy_dx"], mode)
        close(db, GOLDEN["tanh_layer"]["jacobian_dy_db"], mode)
