"""An object file made callable without LLVM: its sections in memory, its addresses filled in.

What LLVM writes for a running process names every address in full, so that linking is to copy the
sections and to write 64-bit numbers. Code from the cache needs nothing else, and is called a
millisecond later; llvmlite, which takes longer than that to import, stays unimported. `linked`
gives None for a file that says more than is known here, which LLVM then links itself.

A program that several threads compiled is several files that call each other: `packed` makes one of
them, `unpacked` undoes that.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from functools import cache as memo
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ELF64 = b"\x7fELF\x02\x01\x01"  # of 64 bits, the lowest byte first
RELOCATABLE, X86_64 = 1, 62
# Kinds of sections, their flags, places of symbols, and the one relocation, by their ELF numbers.
SYMBOLS, ADDENDS, NO_BITS, UNWINDING = 2, 4, 8, 0x70000001
WRITTEN, LOADED, THREADS_OWN = 1, 2, 0x400
UNDEFINED, RESERVED = 0, 0xFF00
WHOLE_ADDRESS = 1
HEADER, SECTION, SYMBOL, RELOCATION = (
    struct.Struct(f) for f in ("<16xHH4x8x8xQ4x6xHHH", "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"))
ADDRESS = struct.Struct("<Q")
SEVERAL = b"several object files\n"


class Section(NamedTuple):
    """One section's header."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry: int


class Linked:
    """Code in memory; it lives as long as this object.

    ``addresses`` are those of its functions, by name.
    """

    def __init__(self, memory: list[Any], addresses: dict[str, int]) -> None:
        self.memory, self.addresses = memory, addresses


class Unknown(Exception):  # noqa: N818 - nobody sees it: LLVM links the file
    """Something in an object file that is not known here."""


def packed(files: Sequence[bytes]) -> bytes:
    """Several object files as one text of bytes; one alone is what it is."""
    if len(files) == 1:
        return files[0]
    return SEVERAL + b"".join([ADDRESS.pack(len(f)) + f for f in files])


def unpacked(code: bytes) -> list[bytes]:
    """The object files again."""
    if not code.startswith(SEVERAL):
        return [code]
    files, start = list[bytes](), len(SEVERAL)
    while start < len(code):
        (size,) = ADDRESS.unpack_from(code, start)
        start += ADDRESS.size + size
        files.append(code[start - size:start])
    return files


def linked(code: bytes, address_of: Callable[[str], int]) -> Linked | None:
    """The functions of object files, ready to be called; None if LLVM must link them.

    ``address_of`` gives the address of a function that the code calls.
    """
    parts = unpacked(code)
    if sys.platform == "win32" or not all(
            part.startswith(ELF64) and len(part) >= HEADER.size for part in parts):
        return None
    try:
        files = [File(part) for part in parts]
        known: dict[str, int] = {}
        for file in files:
            known.update(file.functions())
        for file in files:
            file.write(lambda name: known.get(name) or address_of(name))
    except (Unknown, OSError):
        return None
    return Linked([file.memory for file in files], known)


class File:
    """An object file that is being linked."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        kind, machine, start, size, count, _ = HEADER.unpack_from(code)
        if (kind, machine, size) != (RELOCATABLE, X86_64, SECTION.size):
            raise Unknown
        self.sections = [Section(*SECTION.unpack_from(code, start + size * k))
                         for k in range(count)]
        self.offsets = self.placed()
        memory = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                           prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self.bytes, self.memory = memory, ctypes.c_char.from_buffer(memory)  # which keeps it
        self.base = ctypes.addressof(self.memory)

    def placed(self) -> dict[int, int]:
        """Where in memory each section is: code and constants first, and pages for the rest."""
        offsets, end, self.fixed = dict[int, int](), 0, 0
        loaded = [(s.flags & WRITTEN, k) for k, s in enumerate(self.sections)
                  if s.flags & LOADED and s.kind != UNWINDING]
        for written, k in sorted(loaded):
            s = self.sections[k]
            if s.flags & THREADS_OWN or s.alignment > mmap.PAGESIZE:
                raise Unknown
            alignment = max(s.alignment, 1)
            if written and not self.fixed:
                self.fixed = end = whole(end)
            end = -(-end // alignment) * alignment
            offsets[k] = end
            end += s.size
        self.size = whole(max(end, 1))
        self.fixed = self.fixed or self.size
        return offsets

    def functions(self) -> dict[str, int]:
        """The addresses of its own functions, by name."""
        found: dict[str, int] = {}
        for table in self.sections:
            for name, how, section, value in self.symbols(table) if table.kind == SYMBOLS else ():
                if name and section in self.offsets and how >> 4:
                    found[self.name(self.sections[table.link], name)] = (
                        value + self.base + self.offsets[section])
        return found

    def write(self, address_of: Callable[[str], int]) -> None:
        """The sections into the memory, to which nobody writes from then on."""
        image = bytearray(self.size)
        for k, offset in self.offsets.items():
            s = self.sections[k]
            if s.kind != NO_BITS:
                image[offset:offset + s.size] = self.code[s.offset:s.offset + s.size]
        self.relocate(image, address_of)
        self.bytes[:] = bytes(image)
        if protect()(self.base, self.fixed, mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError

    def relocate(self, image: bytearray, address_of: Callable[[str], int]) -> None:
        """Write the addresses into the image."""
        # By the section of a table of symbols.
        values = {k: self.values(s, address_of) for k, s in enumerate(self.sections)
                  if s.kind == SYMBOLS}
        for s in self.sections:
            if s.kind == ADDENDS and s.info in self.offsets:
                start, symbols = self.offsets[s.info], values[s.link]
                for place, info, more in RELOCATION.iter_unpack(
                        self.code[s.offset:s.offset + s.size]):
                    if info & 0xFFFFFFFF != WHOLE_ADDRESS:
                        raise Unknown
                    ADDRESS.pack_into(image, start + place,
                                      (symbols[info >> 32] + more) & 0xFFFFFFFFFFFFFFFF)
            elif s.kind not in {0, 1, 2, 3, ADDENDS, NO_BITS, UNWINDING}:
                raise Unknown

    def symbols(self, table: Section) -> Iterator[tuple[int, int, int, int]]:
        """Of each symbol of a table: name, kind, section, value."""
        for name, how, _, section, value, _ in SYMBOL.iter_unpack(
                self.code[table.offset:table.offset + table.size]):
            yield name, how, section, value

    def values(self, table: Section, address_of: Callable[[str], int]) -> list[int]:
        """The address of each symbol of a table."""
        names, values = self.sections[table.link], list[int]()
        for k, (name, how, section, value) in enumerate(self.symbols(table)):
            address = value
            if section in self.offsets:
                address = value + self.base + self.offsets[section]
            elif section >= RESERVED and how & 15 != 4:  # 4: the name of the source
                raise Unknown
            if name and section == UNDEFINED and k:
                address = address_of(self.name(names, name))
            values.append(address)
        return values

    def name(self, names: Section, start: int) -> str:
        """A name in a table of names."""
        start += names.offset
        return self.code[start:self.code.index(b"\0", start)].decode()


def whole(size: int) -> int:
    """A size in whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


@memo
def protect() -> Any:
    """``mprotect`` of the C library."""
    function = ctypes.CDLL(None).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
