"""Machine code kept on disk, so that a program is compiled once on a machine.

`found` and `keep` look an entry up and write it; `native.Library` calls them. What is read here is
executed, so a folder or file that anybody else could have written is refused, and each entry says
for which versions it was made and has a SHA-256 of its code. The folder is that of
``ADJOINT_CACHE``, else ``adjoint`` in the user's cache folder; ``ADJOINT_CACHE=off`` keeps code in
memory only, and so does a folder that is refused or cannot be written, which is said once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
import time
import warnings
from collections import OrderedDict
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from adjoint.errors import CompileWarning

from .abi import numpy_version

if TYPE_CHECKING:
    from collections.abc import Generator

    from .native import Target

VARIABLE = "ADJOINT_CACHE"
LIMIT = 256 << 20  # bytes on disk
MEMORY_LIMIT = 32 << 20  # bytes of this process
KEPT = 0.9  # of the limit is left when old entries go
MAGIC = b"adjoint machine code\n"
SUFFIX, PARTIAL = ".code", ".partial"
STALE = 3600  # seconds after which a file that is being written was left by a killed process
OTHERS = stat.S_IWGRP | stat.S_IWOTH
READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(
    os, "O_NONBLOCK", 0)
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(
    os, "O_CLOEXEC", 0)


class Refused(Exception):  # noqa: N818
    """A folder or a file that is not used, and why."""


class Info(NamedTuple):
    """What the cache is: its folder (empty without one), why it is not used, what it holds."""

    folder: str
    trouble: str
    entries: int
    bytes: int


class State:
    """What this process knows: code in memory, what was said, the bytes that are on disk."""

    def __init__(self) -> None:
        self.lock = RLock()  # a collection may compile while its thread has it
        self.memory: OrderedDict[str, bytes] = OrderedDict()
        self.said: set[str] = set()
        self.sizes: dict[str, int] = {}  # of folders
        self.number = count()


state = State()


# ---- what is asked for

@cache
def versions(llvmlite: str, llvm: str) -> str:
    """All that machine code depends on besides its text and its processor."""
    package = sys.modules[__name__.partition(".")[0]]  # which imports this, not the other way
    return (f"adjoint {package.__version__}, llvmlite {llvmlite}, LLVM {llvm}, "
            f"NumPy ABI {numpy_version():#x}, "
            f"{sys.implementation.name} {platform.python_version()}, {sys.platform} "
            f"{platform.machine()}")


def key_of(text: str, target: Target, known: str) -> str:
    """The name of an entry: a hash of the program's text, the processor, and the versions."""
    whole = "\0".join([known, target.cpu, target.features, str(target.vector_bytes), text])
    return hashlib.sha256(whole.encode()).hexdigest()


def found(key: str, known: str) -> bytes | None:
    """The code of an entry, if there is one, and it is whole and ours."""
    with state.lock:
        if key in state.memory:
            state.memory.move_to_end(key)
            return state.memory[key]
    with using() as folder:
        if folder >= 0:
            return read(folder, key, known)
    return None


def keep(key: str, known: str, code: bytes) -> None:
    """Write an entry, in place of whatever has its name."""
    with using() as folder:
        if folder >= 0:
            write(folder, key, MAGIC + known.encode() + b"\n" + hashlib.sha256(code).digest()
                  + code)
            return
    with state.lock:
        state.memory[key] = code
        while sum(map(len, state.memory.values())) > MEMORY_LIMIT:
            state.memory.popitem(last=False)


def info() -> Info:
    """What the cache is and holds."""
    place = wanted()
    if place is None:
        why = f"{VARIABLE} is off" if os.name == "posix" else "this system tells no owners of files"
        return Info("", f"machine code is kept in memory only: {why}", 0, 0)
    if not os.path.lexists(place):
        return Info(str(place), "", 0, 0)
    try:
        with opened(place) as folder:
            sizes = [size for _, size, _ in entries(folder)]
    except (Refused, OSError) as e:
        return Info(str(place), reason(place, e), 0, 0)
    return Info(str(place), "", len(sizes), sum(sizes))


def clear() -> Info:
    """Remove every entry; what it returns are those that were removed."""
    before = info()
    with state.lock:
        state.memory.clear()
        state.sizes.clear()
    place = wanted()
    if place is None or before.trouble or not os.path.lexists(place):
        return before
    with opened(place) as folder:
        for name in names(folder):
            if name.endswith((SUFFIX, PARTIAL)):
                with suppress(FileNotFoundError):  # another process clears it too
                    os.unlink(name, dir_fd=folder)
    return before


# ---- the folder

def wanted() -> Path | None:
    """The folder that is asked for; None if the disk is not to be used."""
    given = os.environ.get(VARIABLE, "")
    # Elsewhere the owner and the rights of a file are not told in a way that is tested here.
    if given.lower() in {"off", "0", "no"} or os.name != "posix":
        return None
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "adjoint"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "adjoint"


def on_disk() -> bool:
    """Whether a folder is asked for, and there is a place for it."""
    with suppress(RuntimeError):  # a user without a home
        return wanted() is not None
    return False


@contextmanager
def using() -> Generator[int]:
    """The open folder; -1 where there is none to use, which is said once."""
    folder = -1
    place = None
    try:
        place = wanted()
        if place is not None:
            folder = open_folder(place)
    except (Refused, OSError, RuntimeError) as e:  # RuntimeError: a user without a home
        say(place, e)
    try:
        yield folder
    except (Refused, OSError) as e:
        say(place, e)
    finally:
        if folder >= 0:
            os.close(folder)


@contextmanager
def opened(place: Path) -> Generator[int]:
    """The open folder, closed again."""
    folder = open_folder(place)
    try:
        yield folder
    finally:
        os.close(folder)


def open_folder(place: Path) -> int:
    """A descriptor of the folder, which is made if need be; Refused if others can change it."""
    with suppress(FileExistsError):
        if not place.parent.exists():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700)
    if place.is_symlink():
        raise Refused("it is a symbolic link")
    folder = os.open(place, READ | getattr(os, "O_DIRECTORY", 0))
    try:
        trusted(os.fstat(folder))
    except Refused:
        os.close(folder)
        raise
    return folder


def trusted(found: os.stat_result) -> None:
    """Refused for a file or folder that another user could have written."""
    if found.st_uid != os.geteuid():
        raise Refused(f"it belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & OTHERS:
        raise Refused("others may write to it; remove it, or type chmod go-w and its name")


def reason(place: Path | None, e: Exception) -> str:
    """Why the folder is not used."""
    told = e.strerror or str(e) if isinstance(e, OSError) else str(e)
    return f"the cache folder {place or ''} is not used: {told}"


def say(place: Path | None, e: Exception) -> None:
    """Say once that code is kept in memory only."""
    with state.lock:
        told = reason(place, e)
        if told in state.said:
            return
        state.said.add(told)
    warnings.warn(f"ad.jit: {told}. Machine code is kept in memory, and compiled again by the next "
                  f"process; {VARIABLE} names another folder, or is off", CompileWarning,
                  stacklevel=2)


# ---- entries

def read(folder: int, key: str, known: str) -> bytes | None:
    """The code of an entry; None if it is not there, not ours, or damaged."""
    try:
        file = os.open(key + SUFFIX, READ, dir_fd=folder)
    except OSError:  # it is not there, or is a symbolic link
        return None
    with os.fdopen(file, "rb") as stream:
        there = os.fstat(stream.fileno())
        try:
            trusted(there)
        except Refused:
            return None  # the new entry takes its place
        if not stat.S_ISREG(there.st_mode) or there.st_size > LIMIT:
            return None
        whole = stream.read()
        with suppress(OSError):  # the age of an entry is that of its last use
            os.utime(stream.fileno())
    head = MAGIC + known.encode() + b"\n"
    code = whole[len(head) + 32:]
    if not whole.startswith(head) or hashlib.sha256(code).digest() != whole[
            len(head):len(head) + 32]:
        return None
    return code


def write(folder: int, key: str, whole: bytes) -> None:
    """Write an entry under a name of its own, then give it its name: no one reads half of it."""
    name = f"{key}-{os.getpid()}-{next(state.number)}{PARTIAL}"
    file = os.open(name, WRITE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(whole)
        os.rename(name, key + SUFFIX, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:  # another process has cleared the folder meanwhile
        return
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
    bound(folder, len(whole))


def names(folder: int) -> list[str]:
    """The files of the folder."""
    with os.scandir(folder) as found:
        return [file.name for file in found]


def entries(folder: int) -> list[tuple[float, int, str]]:
    """When each entry was last used, its size, and its name."""
    listed: list[tuple[float, int, str]] = []
    for name in names(folder):
        if name.endswith(SUFFIX):
            with suppress(FileNotFoundError):  # another process took it away
                there = os.stat(name, dir_fd=folder, follow_symlinks=False)
                listed.append((there.st_mtime, there.st_size, name))
    return listed


def bound(folder: int, size: int) -> None:
    """Let the oldest entries go when there are too many bytes.

    The folder is read once by each process, and again when that and what it wrote exceed the limit.
    """
    which = str(os.fstat(folder).st_ino)
    with state.lock:
        first = which not in state.sizes
        total = state.sizes[which] = state.sizes.get(which, 0) + size
    if not first and total <= LIMIT:
        return
    listed = sorted(entries(folder))
    total = sum(size for _, size, _ in listed)
    for _, bytes_, name in listed if total > LIMIT else ():
        if total <= KEPT * LIMIT:
            break
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        total -= bytes_
    with state.lock:
        state.sizes[which] = total
    sweep(folder)


def sweep(folder: int) -> None:
    """Remove what killed processes left half written."""
    for name in names(folder):
        if name.endswith(PARTIAL):
            with suppress(FileNotFoundError):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < (
                        time.time() - STALE):
                    os.unlink(name, dir_fd=folder)


def after_fork() -> None:
    """A lock that another thread held when the process forked is free in the child."""
    state.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
