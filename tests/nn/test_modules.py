"""Module: what it finds, saves and loads; Linear; settings."""

import copy
import pickle
import threading

import numpy as np
import pytest

import adjoint as ad
from adjoint import nn, optim
from adjoint.errors import ArgumentError, DTypeError, ShapeError


class Tree(nn.Module):
    def __init__(self):
        self.scale = ad.tensor(2.0, requires_grad=True)
        self.first = nn.Linear(3, 4, rng=0)
        self.rest = [nn.Linear(4, 4, rng=1), {"last": nn.Linear(4, 2, bias=False, rng=2)}]
        self.offset = ad.tensor([1.0, 2.0])
        self.tied = self.first
        self.note = "no parameter"

    def forward(self, x):
        x = self.rest[0](nn.Tanh()(self.first(x) * self.scale))
        return self.rest[1]["last"](x) + self.offset


def test_parameters_are_found_in_attributes_lists_and_dicts_each_once():
    assert [n for n, _ in Tree().named_parameters()] == [
        "scale", "first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "rest.1.last.weight"]
    assert [n for n, _ in Tree().named_modules()] == ["", "first", "rest.0", "rest.1.last"]
    assert len(list(Tree().children())) == 4


def test_a_shared_parameter_is_given_once():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    assert len(list(nn.Sequential(a, b).parameters())) == 3


def test_every_parameter_gets_its_gradient_and_loses_it():
    net = Tree()
    net(np.ones((5, 3))).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_state_goes_to_a_net_of_the_same_shape():
    net, other = Tree(), Tree()
    other.scale = ad.tensor(7.0, requires_grad=True)
    other.load_state_dict(net.state_dict())
    x = np.ones((2, 3))
    assert np.array_equal(net(x).detach().numpy(), other(x).detach().numpy())
    assert other.scale.requires_grad
    assert "offset" in net.state_dict()
    arrays = {k: v.numpy() for k, v in net.state_dict().items()}
    other.load_state_dict(arrays)


def test_a_saved_state_is_a_snapshot():
    net = nn.Linear(2, 1, rng=0)
    saved = net.state_dict()
    before = saved["weight"].tolist()
    with ad.no_grad():
        net.weight += 1.0
    assert saved["weight"].tolist() == before
    assert net.weight.tolist() != before
    net.load_state_dict(saved)
    with ad.no_grad():
        net.weight += 1.0
    assert saved["weight"].tolist() == before


def test_loading_casts_to_the_dtype_that_is_here():
    net = nn.Linear(2, 1)
    net.load_state_dict({"weight": np.ones((1, 2)), "bias": np.zeros(1)})
    assert net.weight.dtype == np.float32
    assert net.weight.tolist() == [[1.0, 1.0]]


def test_a_state_that_does_not_fit_changes_nothing():
    net = nn.Linear(2, 1, rng=0)
    before = net.weight.tolist()
    with pytest.raises(ArgumentError, match="missing: bias; not in this module: basis"):
        net.load_state_dict({"weight": np.ones((1, 2)), "basis": np.zeros(1)})
    with pytest.raises(ShapeError, match=r"bias is \(1,\) here and \(2,\) there"):
        net.load_state_dict({"weight": np.ones((1, 2)), "bias": np.zeros(2)})
    assert net.weight.tolist() == before
    net.load_state_dict({"weight": np.ones((1, 2)), "basis": np.zeros(1)}, strict=False)
    assert net.weight.tolist() == [[1.0, 1.0]]


def test_train_and_eval_reach_every_module():
    net = Tree()
    assert not any(m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())


def test_the_printed_form_is_a_tree():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Softmax(dim=1)))
    assert repr(net) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n    (0): ReLU()\n    (1): Softmax(dim=1)\n  )\n)")


def test_sequential_is_a_sequence_of_modules_and_functions():
    net = nn.Sequential(nn.Linear(2, 2), np.tanh, nn.Linear(2, 1))
    assert len(net) == 3
    assert len(net[:2]) == 2
    assert net[0] is next(iter(net))
    assert net(np.ones((4, 2))).shape == (4, 1)
    with pytest.raises(ArgumentError, match=r"Sequential\(\*parts\)"):
        nn.Sequential([nn.ReLU()])
    with pytest.raises(ArgumentError, match=r"write ReLU\(\)"):
        nn.Sequential(nn.ReLU)


def test_a_module_without_forward_says_so():
    with pytest.raises(ArgumentError, match="def forward"):
        nn.Module()(1.0)


# ---- Linear

def test_linear_is_x_times_the_transposed_weights():
    layer = nn.Linear(3, 2, dtype="float64", rng=0)
    x = np.arange(12.0).reshape(2, 2, 3)
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert np.array_equal(layer(x).detach().numpy(), expected)
    assert layer(x[0, 0]).shape == (2,)
    assert nn.Linear(3, 2, bias=False)(x).shape == (2, 2, 2)


def test_linear_gradients():
    rng = np.random.default_rng(0)
    layer = nn.Linear(3, 2, dtype="float64", rng=0)
    x, dy = ad.tensor(rng.normal(size=(4, 3)), requires_grad=True), rng.normal(size=(4, 2))
    layer(x).backward(dy)
    np.testing.assert_allclose(x.grad.numpy(), dy @ layer.weight.detach().numpy())
    np.testing.assert_allclose(layer.weight.grad.numpy(), dy.T @ x.detach().numpy())
    np.testing.assert_allclose(layer.bias.grad.numpy(), dy.sum(0))


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int64", "bool"])
def test_inputs_are_cast_to_the_parameters(dtype):
    x = np.array([[1, 0, 1]], dtype)
    y = nn.Linear(3, 2)(x)
    assert y.dtype == np.float32
    assert nn.Linear(3, 2)([[1, 2, 3]]).dtype == np.float32


def test_a_float64_input_gets_a_float64_gradient():
    x = ad.tensor(np.ones((2, 3)), requires_grad=True)
    nn.Linear(3, 2)(x).sum().backward()
    assert x.grad.dtype == np.float64


def test_initial_values_are_uniform_in_pytorchs_bound():
    layer = nn.Linear(16, 500, rng=0)
    w = layer.weight.detach().numpy()
    assert np.abs(w).max() <= 0.25
    assert w.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.05)
    assert np.abs(layer.bias.detach().numpy()).max() <= 0.25


def test_a_seed_repeats_the_initial_values():
    nn.manual_seed(3)
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    nn.manual_seed(3)
    assert nn.Linear(3, 2).weight.tolist() == a.weight.tolist()
    assert a.weight.tolist() != b.weight.tolist()
    rng = np.random.default_rng(5)
    assert nn.Linear(3, 2, rng=5).weight.tolist() == nn.Linear(3, 2, rng=rng).weight.tolist()


def test_default_dtype_is_a_call_and_a_block():
    assert nn.Linear(1, 1).weight.dtype == np.float32
    with ad.default_dtype("float64"):
        assert nn.Linear(1, 1).bias.dtype == np.float64
        with ad.default_dtype(np.float32):
            assert nn.Linear(1, 1).weight.dtype == np.float32
        assert nn.Linear(1, 1, dtype="float32").weight.dtype == np.float32
    assert nn.Linear(1, 1).weight.dtype == np.float32
    ad.default_dtype("float64")
    try:
        assert nn.Linear(1, 1).weight.dtype == np.float64
    finally:
        ad.default_dtype("float32")


def test_default_dtype_stays_in_its_thread():
    seen = []
    with ad.default_dtype("float64"):
        thread = threading.Thread(target=lambda: seen.append(nn.Linear(1, 1).weight.dtype))
        thread.start()
        thread.join()
    assert seen == [np.float32]


def test_what_layers_refuse():
    with pytest.raises(ShapeError, match=r"\(4, 5\).*in_features=5"):
        nn.Linear(3, 2)(np.ones((4, 5)))
    with pytest.raises(ShapeError, match="in_features"):
        nn.Linear(3, 2)(1.0)
    with pytest.raises(ArgumentError, match="in_features"):
        nn.Linear(0, 2)
    with pytest.raises(DTypeError, match="float32"):
        nn.Linear(3, 2, dtype=int)
    with pytest.raises(DTypeError, match="no dtype"):
        ad.default_dtype("float99")
    with pytest.raises(ArgumentError, match="Generator"):
        nn.Linear(3, 2, rng="seed")
    with pytest.raises(ArgumentError, match="seed"):
        nn.manual_seed(-1)


def test_flatten_joins_axes():
    assert nn.Flatten()(np.zeros((2, 3, 4))).shape == (2, 12)
    assert nn.Flatten(0, 1)(np.zeros((2, 3, 4))).shape == (6, 4)
    with pytest.raises(ShapeError, match="no such axes"):
        nn.Flatten()(np.zeros(3))


def test_a_network_learns_exclusive_or():
    x, t = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(2, 8, rng=rng), nn.Tanh(), nn.Linear(8, 2, rng=rng))
    opt, loss = ad.optim.Adam(net.parameters(), lr=0.05), nn.CrossEntropyLoss()
    for _ in range(200):
        opt.zero_grad()
        loss(net(x), t).backward()
        opt.step()
    assert nn.functional.accuracy(net(x), t) == 1.0


# ---- frozen parameters, attributes beside the steps, results among the attributes

@pytest.mark.parametrize("copied", [lambda net: net, copy.deepcopy,
                                    lambda net: pickle.loads(pickle.dumps(net))])
def test_frozen_parameters_are_still_parameters(copied):
    net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1))
    names = [n for n, _ in net.named_parameters()]
    for p in net[0].parameters():
        p.requires_grad = False
    net = copied(net)
    assert [n for n, _ in net.named_parameters()] == names
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    before = net[0].weight.tolist()
    for frozen in (True, False):
        for p in net.parameters():
            p.requires_grad = p.requires_grad or not frozen
        optimizer.zero_grad()
        net(np.ones((1, 2))).sum().backward()
        optimizer.step()
        assert (net[0].weight.tolist() == before) == frozen


def test_a_parameter_replaced_by_a_buffer_is_none():
    net = Tree()
    net.scale = ad.tensor(3.0)
    net.rest = []
    assert [n for n, _ in net.named_parameters()] == ["first.weight", "first.bias"]
    assert "scale" in net.state_dict()


def test_a_layer_put_into_a_list_later_is_found_and_frozen():
    net = Tree()
    net.rest.append(ad.tensor([1.0], requires_grad=True))
    for p in net.parameters():
        p.requires_grad = False
    assert "rest.2" in [n for n, _ in net.named_parameters()]


def test_a_subclass_of_sequential_trains_its_other_attributes():
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 2, rng=0), nn.ReLU())
            self.scale = ad.tensor(1.0, requires_grad=True)
            self.head = nn.Linear(2, 1, rng=1)
    assert [n for n, _ in Scaled().named_parameters()] == [
        "scale", "0.weight", "0.bias", "head.weight", "head.bias"]


def test_results_of_operations_are_not_saved():
    class Keeping(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 1, rng=0)

        def forward(self, x):
            self.last = self.layer(x)
            return self.last
    net = Keeping()
    net(np.ones((1, 2)))
    assert list(net.state_dict()) == ["layer.weight", "layer.bias"]
    Keeping().load_state_dict(net.state_dict())
    assert [n for n, _ in net.named_parameters()] == ["layer.weight", "layer.bias"]


def test_zero_grad_to_zeros():
    net = nn.Linear(2, 1)
    net(np.ones((1, 2))).sum().backward()
    net.bias.grad = None
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.tolist() == [[0.0, 0.0]] and net.bias.grad is None
    net.zero_grad(set_to_none=True)
    assert net.weight.grad is None


def test_sizes_may_be_numpys_integers():
    assert nn.Linear(np.int64(2), np.prod([3, 1])).weight.shape == (3, 2)


def test_sequential_of_a_dict_says_what_to_write():
    with pytest.raises(ArgumentError, match=r"Sequential\(\*parts\.values\(\)\)"):
        nn.Sequential({"a": nn.Linear(1, 1)})


def test_a_saved_state_can_be_changed_in_place():
    net = nn.Linear(2, 1, rng=0)
    before, average = net.weight.tolist(), net.state_dict()
    average["weight"].mul_(0.5)
    average["weight"][0, 0] = 7.0
    average["bias"].fill_(3.0)
    assert net.weight.tolist() == before and net.bias.item() != 3.0
    assert average["weight"].tolist() == [[7.0, pytest.approx(before[0][1] / 2.0)]]
    net.load_state_dict(average)
    average["weight"].fill_(0.0)
    assert net.weight.tolist()[0][0] == 7.0
