"""Data: the digits, IDX files, splits, scaling, mini-batches."""

import builtins
import gzip
import struct

import numpy as np
import pytest

import adjoint as ad
from adjoint import data
from adjoint.errors import ArgumentError, FormatError, MissingPackageError, ShapeError


def test_the_digits_are_the_1797_of_scikit_learn():
    x, labels = data.digits()
    assert x.shape == (1797, 64)
    assert (x.min(), x.max()) == (0.0, 16.0)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_without_scikit_learn_the_pip_line_is_told(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match="-m pip install scikit-learn") as found:
        data.digits()
    assert isinstance(found.value, ImportError)


# ---- IDX

CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


def written(array, code):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(">" + CODES[code]).tobytes()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
def test_idx_reads_what_was_written(tmp_path, code, packed, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) - (0 if code == 8 else 5)).astype(CODES[code])
    raw = written(array, code)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    got = data.idx(path)
    assert np.array_equal(got, array)
    assert got.dtype == array.dtype
    assert got.dtype.isnative
    assert got.flags.writeable
    assert np.array_equal(data.idx(str(path)), array)


@pytest.mark.parametrize(("raw", "what"), [
    (b"", "not an IDX file"), (b"\x89PNG....", "89 50 4e 47"), (b"\0\0\x07\x01", "not an IDX file"),
    (bytes([0, 0, 8, 1, 0, 0, 0, 9]) + b"abc", "17 bytes"), (bytes([0, 0, 8, 2, 0, 0]), "cut off"),
    (gzip.compress(b"abc")[:-4], "damaged gzip")])
def test_a_damaged_idx_file_is_an_error(tmp_path, raw, what):
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=what):
        data.idx(path)


# ---- split

def test_a_split_is_stratified_disjoint_and_complete():
    _, labels = data.digits()
    numbers = np.arange(len(labels))
    parts = data.split(numbers, labels, seed=3)
    assert sorted(np.concatenate([p[0] for p in parts]).tolist()) == numbers.tolist()
    for (chosen, own), share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert np.array_equal(labels[chosen], own)
        assert np.abs(np.bincount(own) - share * np.bincount(labels)).max() < 1.0


def test_a_split_depends_on_its_seed_alone():
    x, labels = np.arange(50), np.arange(50) % 3
    first, again, other = (data.split(x, labels, seed=s)[0][0].tolist() for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != sorted(first)


def test_what_split_refuses():
    with pytest.raises(ArgumentError, match="sum to 1"):
        data.split(np.ones(4), np.zeros(4, int), (0.5, 0.6))
    with pytest.raises(ShapeError, match="one label for each"):
        data.split(np.ones(4), np.zeros(3, int))
    with pytest.raises(ShapeError, match=r"\(N,\)"):
        data.split(np.ones(4), np.zeros((4, 2), int))


# ---- standardise

def test_scaling_uses_the_training_part_alone():
    rng = np.random.default_rng(0)
    train, test = rng.normal(3.0, 2.0, (100, 4)), rng.normal(-1.0, 5.0, (50, 4))
    train[:, 1] = 7.0
    a, b, scaler = data.standardise(train, test)
    np.testing.assert_allclose(a.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(a.std(0), [1.0, 0.0, 1.0, 1.0])
    assert np.array_equal(b, scaler(test))
    assert np.array_equal(data.standardise(train, test * 2.0)[0], a)


def test_a_common_deviation_keeps_the_proportions():
    train = np.array([[0.0, 0.0], [2.0, 0.2]])
    a, scaler = data.standardise(train, common=True)
    np.testing.assert_allclose(a[1] / a[0], [-1.0, -1.0])
    assert a[1, 0] == pytest.approx(10.0 * a[1, 1])
    assert np.mean(a ** 2) == pytest.approx(1.0)
    assert np.shape(scaler.deviation) == ()
    with pytest.raises(ShapeError, match="no examples"):
        data.standardise(np.zeros((0, 3)))


# ---- batches

def test_batches_give_each_example_once():
    x, labels = np.arange(20.0).reshape(10, 2), np.arange(10)
    got = list(data.batches(x, labels, 4, np.random.default_rng(0)))
    assert [len(b[1]) for b in got] == [4, 4, 2]
    order = np.concatenate([b[1] for b in got])
    assert sorted(order.tolist()) == list(range(10))
    assert order.tolist() != list(range(10))
    assert all(np.array_equal(a, x[b]) for a, b in got)


def test_a_generator_gives_another_order_each_time_and_a_seed_the_same():
    x, rng = np.arange(30), np.random.default_rng(0)
    first, second = (next(data.batches(x, x, 30, rng))[0].tolist() for _ in range(2))
    assert first != second
    one, two = (next(data.batches(x, x, 30, 5))[0].tolist() for _ in range(2))
    assert one == two


def test_tensors_give_tensors_and_lists_give_arrays():
    (a, b), = data.batches(ad.tensor([1.0, 2.0]), ad.tensor([0, 1]), 2, 0)
    assert isinstance(a, ad.Tensor)
    assert isinstance(b, ad.Tensor)
    (a, _), = data.batches([1.0, 2.0], [0, 1], 5)
    assert isinstance(a, np.ndarray)


def test_what_batches_refuses_at_once():
    with pytest.raises(ArgumentError, match="size"):
        data.batches(np.ones(3), np.ones(3), 0)
    with pytest.raises(ShapeError, match="one label"):
        data.batches(np.ones(3), np.ones(2), 1)


# ---- what a review found

def test_labels_that_are_all_different_are_split_too():
    for labels in (np.arange(10), np.random.default_rng(0).normal(size=10)):
        parts = data.split(np.arange(10.0), labels)
        assert [len(part[1]) for part in parts] == [6, 2, 2]
        assert sorted(np.concatenate([part[0] for part in parts]).tolist()) == list(range(10))


@pytest.mark.parametrize("sizes", [[1] * 30, [2] * 15, [3, 5, 7, 11], [100, 1, 1], [40, 1, 17, 2]])
def test_parts_have_their_size_and_classes_their_share(sizes):
    labels, shares = np.repeat(np.arange(len(sizes)), sizes), (0.5, 0.3, 0.2)
    ends = np.rint(np.cumsum(shares) * len(labels)).astype(int)
    for seed in range(5):
        parts = data.split(np.arange(len(labels)), labels, shares, seed)
        assert [len(part[1]) for part in parts] == np.diff(ends, prepend=0).tolist()
        for (_, chosen), share in zip(parts, shares, strict=True):
            counts = np.bincount(chosen, minlength=len(sizes))
            assert np.abs(counts - share * np.array(sizes)).max() < 2.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_feature_constant_but_for_rounding_is_only_centred(dtype):
    x = np.full((1000, 2), 0.1, dtype)
    x[::2, 1] = np.nextafter(x[0, 1], dtype(1.0))
    assert x.std(0, dtype=np.float64)[1] > 0.0
    for common in (False, True):
        train, other, _ = data.standardise(x, np.full((1, 2), 0.3), common=common)
        assert np.abs(train).max() < 1e-6
        np.testing.assert_allclose(other, 0.2, atol=1e-6)


def test_standardise_names_features_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"\(3, 5\) beside training examples of shape \(4, 2\)"):
        data.standardise(np.ones((4, 2)), np.ones((3, 5)))


@pytest.mark.parametrize("seed", ["a", -1, 1.5])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ArgumentError, match="is no NumPy Generator and no seed"):
        data.split(np.arange(4), np.arange(4), seed=seed)
    with pytest.raises(ArgumentError, match="is no NumPy Generator and no seed"):
        data.batches(np.arange(4), np.arange(4), 2, rng=seed)


def test_a_gzip_file_damaged_in_the_middle_is_named(tmp_path):
    raw = bytearray(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 8, 0]) + bytes(range(256)) * 8))
    path, refused = tmp_path / "x.gz", 0
    for place in range(10, 60):
        damaged = bytearray(raw)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="damaged gzip file"):
            data.idx(path)
        refused += 1
    assert refused == 50
