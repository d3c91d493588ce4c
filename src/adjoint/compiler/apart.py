"""A module's text as several, which threads compile at a time: LLVM writes each function by itself.

The machine code is that of the whole text. `linking` puts the object files together again.
"""

from __future__ import annotations

import re
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
WORTH = 20_000  # characters that take longer to compile than a thread to begin
FUNCTION = re.compile(r"^define [^\n]*\{\n.*?^\}\n", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"^@", re.MULTILINE)
NAME, ARGUMENT = re.compile(r"@([\w.]+)"), re.compile(r" %[\w.]+")


def apart(text: str, most: int) -> list[str]:
    """At most so many modules that define the functions of one; itself if that is not worth it.

    >>> from adjoint.compiler.apart import apart
    >>> apart("a short module", 4)
    ['a short module']
    """
    several = min(most, len(text) // WORTH)
    # A variable would be another one in each.
    functions = FUNCTION.findall(text) if several > 1 and not VARIABLE.search(text) else []
    if len(functions) < 2:
        return [text]
    rest = FUNCTION.sub("", text)
    shares: list[list[str]] = [[] for _ in range(min(several, len(functions)))]
    for f in sorted(functions, key=len, reverse=True):
        min(shares, key=lambda share: sum(map(len, share))).append(f)
    heads = {name_of(f): declaration(f) for f in functions}
    return [module(rest, share, heads) for share in shares]


def name_of(function: str) -> str:
    """The name that a definition or declaration gives."""
    found = NAME.search(function)
    return found[1] if found else ""


def declaration(function: str) -> str:
    """What other modules know of a function."""
    head = function[:function.index(" {\n")].replace("define internal ", "define ", 1)
    return ARGUMENT.sub("", head.replace("define ", "declare ", 1))


def module(rest: str, functions: Sequence[str], heads: dict[str, str]) -> str:
    """A module of some functions, which others may call, and declarations of those they call."""
    body = "\n".join([f.replace("define internal ", "define ", 1) for f in functions])
    called = {*NAME.findall(body)} & heads.keys() - {*map(name_of, functions)}
    return "\n".join([*[heads[name] for name in sorted(called)], rest, body])


def together(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """What each job gives, the first one's by the calling thread; an error if one raises."""
    results, errors = dict[int, T](), list[BaseException]()

    def work(k: int) -> None:
        try:
            results[k] = jobs[k]()
        except BaseException as e:  # noqa: BLE001 - raised by the calling thread
            errors.append(e)
    threads = list[Thread]()
    try:
        for k in range(1, len(jobs)):
            thread = Thread(target=work, args=(k,))
            try:
                thread.start()
            except RuntimeError:  # there are too many
                work(k)
            else:
                threads.append(thread)
        work(0)
    finally:  # Ctrl-C does not leave a thread behind
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return [results[k] for k in range(len(jobs))]
