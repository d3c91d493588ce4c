"""Readers of file formats: IDX, the format of MNIST."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import FormatError

if TYPE_CHECKING:
    import os

GZIP = b"\x1f\x8b"
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The array of an IDX file, such as MNIST's ``train-images-idx3-ubyte.gz``, packed or not.

    Two zero bytes, a byte for the dtype, a byte for the number of axes, each size as a big-endian
    32-bit integer, then the elements in C order. The array has the machine's byte order. Raises
    FormatError if the file is not of that form. Source: LeCun, Cortes and Burges, The MNIST
    database of handwritten digits, FILE FORMATS.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     ad.data.idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    raw = Path(path).read_bytes()
    if raw[:2] == GZIP:
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as e:
            raise FormatError(f"{path} is a damaged gzip file ({e}); get it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        raise FormatError(f"{path} is not an IDX file: it begins with {raw[:4].hex(' ')}, and an "
                          "IDX file with 00 00, the dtype (08 for bytes) and the number of axes")
    start = 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4")) if len(raw) >= start else ()
    dtype = np.dtype(DTYPES[raw[2]])
    expected = start + prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise FormatError(f"{path} should have {expected} bytes for the shape {shape}, and has "
                          f"{len(raw)}; it was cut off or is another file")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
