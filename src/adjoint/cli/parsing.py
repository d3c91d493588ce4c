"""The command line's words: a parser whose errors are one line, and readers of options."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = {"data": "data set"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one plain line, with the likeliest correction."""

    def error(self, message: str) -> Any:
        """Print what is wrong, and end with status 2."""
        self.exit(2, f"{self.prog}: {message}\nSee {self.prog} --help.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = WORDS.get(action.dest, action.dest)
            raise argparse.ArgumentError(None, unknown(what, value, list(action.choices)))

    def check_rest(self, rest: Sequence[str]) -> None:
        """An error for what no option or argument took."""
        for word in map(str.strip, rest):
            if word.startswith("-"):
                name = word.split("=")[0]
                self.error(unknown("option", name, list(self._option_string_actions)))
            values = re.match(r"[^\W\d]\w*=", word) and "--at" in self._option_string_actions
            self.error(f"{word!r} is one argument too many" + (
                "; values stand behind --at, with commas and no blanks: --at x1=2,x2=5"
                if values else ""))


def unknown(what: str, value: str, known: Sequence[str]) -> str:
    """The message for a word that is not among those known."""
    close = difflib.get_close_matches(value, known, 1, 0.5)
    end = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}."
    return f"there is no {what} {value!r}; {end}"


def hidden(text: str) -> tuple[int, ...]:
    """The sizes of hidden layers: ``64,64``, or ``none``."""
    if text.strip().lower() == "none":
        return ()
    if not re.fullmatch(r"\s*[1-9]\d*(\s*,\s*[1-9]\d*)*\s*", text):
        found = [n for n in re.findall(r"\d+", text) if int(n)]
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of layer sizes; write {','.join(found) or '64,64'}, or none for "
            "no hidden layer")
    return tuple(map(int, text.split(",")))


def whole(least: int) -> Any:
    """The reader of an integer of at least ``least``."""
    def read(text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            n = least - 1
        if n < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no integer of at least {least}")
        return n
    return read


def rate(text: str) -> float:
    """A positive number."""
    try:
        x = float(text)
    except ValueError:
        x = 0.0
    if not 0.0 < x < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number such as 1e-3")
    return x
