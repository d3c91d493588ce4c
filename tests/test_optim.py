"""Optimisers against PyTorch's numbers, their state, and what they refuse."""

import numpy as np
import pytest

import adjoint as ad
from adjoint import nn, optim
from adjoint.errors import ArgumentError, DTypeError, GraphError, ShapeError

# Where five steps lead in torch 2.13, from [1, -2, 0.5] on
#     (torch.tensor([1., 2., 3.]) * (p - 1.5) ** 2 + torch.sin(p)).sum()
# with torch.set_default_dtype(torch.float64) and opt = torch.optim.<name>([p], **settings).
# tests/parity/test_parity_optim.py computes them again.
REFERENCE = [
    ("SGD", {"lr": 0.1},
     [1.1835340452653977, 1.0668897786860567, 1.4568493067063633]),
    ("SGD", {"lr": 0.1, "momentum": 0.9},
     [1.4603636243493183, 4.158164274668671, 1.9751545800813568]),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True},
     [1.4876007577137467, 2.4165767734968857, 1.4888784187723354]),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
     [1.298488708250438, 4.424782128094837, 2.1997644320328313]),
    ("Adam", {"lr": 0.1},
     [1.4601095065657745, -1.5018485648935551, 0.991357045904548]),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 0.001, "weight_decay": 0.1},
     [1.4046490716053657, -1.5020697148192967, 0.9900712434083135]),
    ("AdamW", {"lr": 0.1},
     [1.4550730559134584, -1.492908829869906, 0.9879527616416236]),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5},
     [1.2166688886759272, -1.0992040171636352, 0.8343678259899288]),
]
START = [1.0, -2.0, 0.5]
METHODS = (optim.SGD, optim.Adam, optim.AdamW)


def descend(opt, p, steps, factors=(1.0, 2.0, 3.0)):
    for _ in range(steps):
        opt.zero_grad()
        (np.array(factors) * (p - 1.5) ** 2 + np.sin(p)).sum().backward()
        opt.step()


@pytest.mark.parametrize(("name", "settings", "expected"), REFERENCE)
def test_five_steps_are_pytorchs(name, settings, expected):
    p = ad.tensor(START, requires_grad=True)
    descend(getattr(optim, name)([p], **settings), p, 5)
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(("name", "settings", "expected"), REFERENCE)
def test_scalars_are_changed_as_the_elements_of_an_array(name, settings, expected):
    for start, factor, end in zip(START, (1.0, 2.0, 3.0), expected, strict=True):
        p = ad.tensor(start, requires_grad=True)
        descend(getattr(optim, name)([p], **settings), p, 5, factor)
        assert p.item() == pytest.approx(end, rel=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_without_gradient_keeps_its_value_and_state(method):
    x, z = ad.tensor(START, requires_grad=True), ad.tensor(START, requires_grad=True)
    opt = method([x, z], lr=0.1)
    descend(opt, x, 2)
    assert z.tolist() == START
    assert z not in opt.state
    opt.zero_grad()
    before = x.tolist()
    opt.step()
    assert x.tolist() == before


@pytest.mark.parametrize("method", METHODS)
def test_float32_stays_float32(method):
    p = ad.tensor(START, requires_grad=True, dtype=np.float32)
    opt = method([p], lr=0.1)
    for _ in range(2):
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()
    assert p.dtype == np.float32
    arrays = [v for v in opt.state[p].values() if isinstance(v, np.ndarray)]
    assert all(v.dtype == np.float32 for v in arrays)
    assert p.requires_grad
    assert p.is_leaf


@pytest.mark.parametrize("settings", [
    {}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}])
def test_the_buffer_of_a_parameter_is_written_in_place(settings):
    net = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 3, rng=1))
    opt = optim.SGD(net.parameters(), lr=0.1, **settings)
    buffers = [p.value for p in net.parameters()]
    places = [b.ctypes.data for b in buffers]
    values = [b.copy() for b in buffers]
    del buffers
    for _ in range(3):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(np.ones((5, 4))), np.arange(5) % 3)
        loss.backward()
        opt.step()
    assert [p.value.ctypes.data for p in net.parameters()] == places
    assert not any(np.array_equal(p.value, v)
                   for p, v in zip(net.parameters(), values, strict=True))


def test_a_snapshot_of_the_values_survives_a_step():
    p = ad.tensor(START, requires_grad=True)
    kept, view = p.detach(), p.detach().numpy()
    descend(optim.SGD([p], lr=0.1), p, 1)
    assert kept.tolist() == START
    assert view.tolist() == START
    assert p.tolist() != START


def test_a_graph_built_before_a_step_keeps_its_values():
    x = ad.tensor(3.0, requires_grad=True)
    y = x * x
    x.grad = ad.tensor(1.0)
    optim.SGD([x], lr=1.0).step()
    x.grad = None
    y.backward()
    assert x.item() == 2.0


@pytest.mark.parametrize("method", METHODS)
def test_saved_state_continues_the_same_path(method):
    p = ad.tensor(START, requires_grad=True)
    opt = method([p], lr=0.1, weight_decay=0.1)
    descend(opt, p, 3)
    saved = opt.state_dict()
    q = ad.tensor(p.tolist(), requires_grad=True)
    other = method([q], lr=0.5)
    other.load_state_dict(saved)
    descend(opt, p, 3)
    descend(other, q, 3)
    assert p.tolist() == q.tolist()
    assert other.param_groups[0]["lr"] == 0.1


def test_a_saved_state_is_a_snapshot():
    p = ad.tensor(START, requires_grad=True)
    opt = optim.Adam([p], lr=0.1)
    descend(opt, p, 1)
    saved = opt.state_dict()
    before = saved["state"][0]["exp_avg"].copy()
    descend(opt, p, 1)
    assert np.array_equal(saved["state"][0]["exp_avg"], before)
    assert saved["state"][0]["step"] == 1


def test_groups_have_settings_of_their_own():
    x, z = ad.tensor(1.0, requires_grad=True), ad.tensor(1.0, requires_grad=True)
    opt = optim.SGD([{"params": [x]}, {"params": [z], "lr": 0.5}], lr=0.25)
    (x + z).backward()
    opt.step()
    assert (x.item(), z.item()) == (0.75, 0.5)
    opt.param_groups[0]["lr"] = 0.0
    opt.step()
    assert x.item() == 0.75
    assert "2 numbers" not in repr(opt)
    assert "lr=0.5" in repr(opt)


def test_step_takes_a_closure():
    x = ad.tensor(1.0, requires_grad=True)
    opt = optim.SGD([x], lr=0.25)

    def closure():
        opt.zero_grad()
        loss = x * x
        loss.backward()
        return loss
    assert opt.step(closure).item() == 1.0
    assert x.item() == 0.5


def test_ones_own_method_is_one_function():
    class Signs(optim.Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        def change(self, p, g, state, group):
            return group["lr"] * np.sign(g)
    x = ad.tensor([1.0, -1.0], requires_grad=True)
    opt = Signs([x], 0.25)
    (x * x).sum().backward()
    opt.step()
    assert x.tolist() == [0.75, -0.75]


@pytest.mark.parametrize("settings", [
    {"lr": -0.1}, {"lr": "fast"}, {"lr": float("nan")}, {"lr": 0.1, "weight_decay": -1.0}])
@pytest.mark.parametrize("method", METHODS)
def test_settings_that_cannot_be_meant_are_errors(method, settings):
    with pytest.raises(ArgumentError, match="number of at least 0"):
        method([ad.tensor(1.0, requires_grad=True)], **settings)


def test_every_refusal_says_what_to_write():
    x = ad.tensor(1.0, requires_grad=True)
    with pytest.raises(ArgumentError, match="no parameter to change"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ArgumentError, match=r"write \[x\]"):
        optim.SGD(x, lr=0.1)
    with pytest.raises(ArgumentError, match="given twice"):
        optim.SGD([x, x], lr=0.1)
    with pytest.raises(ArgumentError, match="requires_grad=True"):
        optim.SGD([np.ones(2)], lr=0.1)
    with pytest.raises(GraphError, match="requires_grad=False"):
        optim.SGD([ad.tensor(1.0)], lr=0.1)
    with pytest.raises(GraphError, match="result of an operation"):
        optim.SGD([x * 2.0], lr=0.1)
    with pytest.raises(ArgumentError, match=r"momentum=0\.9"):
        optim.SGD([x], lr=0.1, nesterov=True)
    with pytest.raises(ArgumentError, match="betas"):
        optim.Adam([x], betas=(0.9, 1.0))
    for betas in (0.9, ("a", "b"), (0.9,)):
        with pytest.raises(ArgumentError, match="betas are two numbers"):
            optim.Adam([x], betas=betas)
    with pytest.raises(ArgumentError, match="any of lr, betas"):
        optim.Adam([{"params": [x], "momentum": 0.9}])
    with pytest.raises(ArgumentError, match="def change"):
        x.grad = ad.tensor(1.0)
        optim.Optimizer([x], {"lr": 0.1}).step()


def test_state_of_other_parameters_is_refused():
    x, z = ad.tensor([1.0], requires_grad=True), ad.tensor([1.0, 2.0], requires_grad=True)
    opt = optim.Adam([x])
    descend(opt, x, 1, [1.0])
    with pytest.raises(ShapeError, match=r"\(1,\), the parameter \(2,\)"):
        optim.Adam([z]).load_state_dict(opt.state_dict())
    with pytest.raises(ArgumentError, match="parameters here"):
        optim.Adam([x, z]).load_state_dict(opt.state_dict())


def test_a_group_is_added_later_and_may_be_one_tensor():
    x, z = ad.tensor(1.0, requires_grad=True), ad.tensor([1.0], requires_grad=True)
    opt = optim.SGD({"params": p, "lr": rate} for p, rate in [(x, 0.1)])
    opt.add_param_group({"params": z})
    (x * x + z.sum()).backward()
    opt.step()
    assert x.item() == pytest.approx(0.8) and z.item() == pytest.approx(1.0 - 1e-3)
    with pytest.raises(ArgumentError, match="given twice"):
        opt.add_param_group({"params": [x]})
    assert len(opt.param_groups) == 2


def test_frozen_parameters_wait():
    x, z = ad.tensor(1.0, requires_grad=True), ad.tensor(2.0)
    opt = optim.SGD([x, z], lr=0.5)
    for wanted, end in [(False, 2.0), (True, 1.5)]:
        z.requires_grad = wanted
        opt.zero_grad()
        (x + z).backward()
        opt.step()
        assert z.item() == end


def test_zero_grad_to_zeros_goes_on_with_momentum():
    x = ad.tensor(1.0, requires_grad=True)
    opt = optim.SGD([x], lr=0.5, momentum=0.5)
    x.sum().backward()
    opt.step()
    opt.zero_grad(set_to_none=False)
    assert x.grad.item() == 0.0
    opt.step()
    assert x.item() == 0.25


@pytest.mark.parametrize("method", [optim.Adam, optim.AdamW])
def test_adaptive_steps_of_complex_parameters_are_refused(method):
    z = ad.tensor([1.0 + 1j], requires_grad=True)
    with pytest.raises(DTypeError, match="two real ones"):
        method([z])
    opt = optim.SGD([z], lr=0.25)
    (z.abs() ** 2).sum().backward()
    opt.step()
    assert z.tolist() == [0.5 + 0.5j]


def test_a_state_of_another_form_is_refused():
    opt = optim.SGD([ad.tensor(1.0, requires_grad=True)])
    for wrong in ({}, {"weight": 1.0}):
        with pytest.raises(ArgumentError, match="has the keys state and param_groups, this has"):
            opt.load_state_dict(wrong)
