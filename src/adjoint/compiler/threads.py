"""The threads that share the kernels of compiled functions: how many, and where their code is.

`set_threads` and `get_threads` are for users. `provide` says where the runtime (`sharing_ir`) is,
before code is loaded that calls it; workers start at the first call that has something for them.
Where there are no threads of POSIX as Linux has them, the caller computes everything.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import sys
from contextlib import suppress
from threading import RLock

from adjoint.errors import ArgumentError, UnsupportedError

from . import native
from .sharing_ir import PAUSE, SHARE, text
from .workers_ir import FUNCTIONS, MOST

VARIABLE = "ADJOINT_THREADS"
SPEED = 0  # of LLVM's code generator: a quarter of its time, for code that mostly waits


class State:
    """What was asked for, and the runtime once it exists."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.wanted = 0  # threads; 0 until somebody has asked
        self.runtime: Runtime | None = None


def set_threads(n: int) -> None:
    """Let compiled functions use at most ``n`` threads, in the whole process, from the next call.

    The results have the same bits with any number: what a thread computes at a time depends on the
    function only. Short functions are always computed by the thread that calls them. At first it is
    the number in the environment variable ``ADJOINT_THREADS``, else that of the usable processors.

    Args:
        n: the threads, the calling one among them.

    Raises:
        ArgumentError: if ``n`` is no integer of at least 1.

    >>> before = ad.get_threads()
    >>> ad.set_threads(2)
    >>> ad.get_threads()
    2
    >>> ad.set_threads(before)
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"{n!r} is no number of threads; give an integer of at least 1, such "
                            "as ad.set_threads(1) for the calling thread alone")
    with state.lock:
        state.wanted = n
        if state.runtime is not None:
            state.runtime.limit(n)


def get_threads() -> int:
    """How many threads compiled functions may use at most.

    >>> ad.get_threads() >= 1
    True
    """
    if not state.wanted:
        state.wanted = given()
    return state.wanted


def given() -> int:
    """The number that the environment gives, else that of the processors that we may use."""
    told = os.environ.get(VARIABLE, "").strip()
    if told:
        if not told.isdecimal() or int(told) < 1:
            raise ArgumentError(f"{VARIABLE}={told!r} in the environment is no number of threads; "
                                f"set an integer of at least 1, such as {VARIABLE}=1")
        return int(told)
    return processors()


def processors() -> int:
    """The processors that we may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def possible() -> bool:
    """Whether the runtime knows the threads and the processor of this system."""
    return sys.platform == "linux" and platform.machine() in PAUSE


class Runtime:
    """The compiled runtime: one for the process.

    Programs keep the address of `SHARE`. A process that wants one thread is spared what makes and
    calls workers, 10 times as much to compile, until it wants a second.

    Args:
        several: whether more than one thread is wanted already.
    """

    def __init__(self, *, several: bool) -> None:
        self.several = several
        self.entry = self.library = library(several=several)

    def call(self, name: str, n: int = 0) -> int:
        """Call a function of the runtime; where there are no threads there is nothing to do."""
        return called(self.library, name, n) if self.several else 0

    def limit(self, n: int) -> None:
        """Set how many threads take part in a call."""
        if n > 1 and not self.several and possible():
            with suppress(UnsupportedError):  # a C library without a function that it needs
                self.library, self.several = library(several=True), True
                called(self.entry, "adjoint_others", self.library.address(SHARE))
        self.call("adjoint_limit", min(n, MOST + 1))

    def workers(self) -> int:
        """How many workers there are."""
        return self.call("adjoint_started")

    def forget(self) -> None:
        """Begin anew, in a process that has just been forked: it has none of the workers."""
        self.call("adjoint_forget")

    def stop(self) -> None:
        """End all workers, after what they are doing."""
        self.call("adjoint_stop")


state = State()


def library(*, several: bool) -> native.Library:
    """The code of the runtime. UnsupportedError if it calls what the C library does not have."""
    target = native.host()
    module = text(platform.machine(), target.attributes(), several=several)
    return native.Library(module, FUNCTIONS if several else (), target, SPEED)


def called(where: native.Library, name: str, n: int) -> int:
    """Call one of its functions of a number."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(where.address(name))(n)


def runtime() -> Runtime:
    """The runtime, which is made when it is first asked for."""
    with state.lock:
        if state.runtime is None:
            state.runtime = made(get_threads())
            state.runtime.limit(get_threads())
            atexit.register(state.runtime.stop)
        return state.runtime


def made(n: int) -> Runtime:
    """A runtime for so many threads where that can be, else for one."""
    if n > 1 and possible():
        with suppress(UnsupportedError):
            return Runtime(several=True)
    return Runtime(several=False)


def provide() -> None:
    """Say where the function is that compiled kernels share their chunks by."""
    native.places[SHARE] = runtime().entry.address(SHARE)


def after_fork() -> None:
    """The child has no workers, and no thread of it holds a lock."""
    state.lock = RLock()
    if state.runtime is not None:
        state.runtime.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
