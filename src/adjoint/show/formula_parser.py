"""Reading a formula: an operator-precedence parser with explicit stacks, so depth has no limit.

Start at `Parser.read`. Of a formula it makes a list of `Piece`s, each behind the pieces that it is
computed from; an operand on the stack is the number of a piece and the characters that wrote it.

Tightest first: exponents such as ², then ^ and ** (from the right), the sign (-x^2 is -(x^2)),
then * and /, then + and -. A product may be written without its sign: 2x, 2 sin(x), (a)(b), x1 x2.
Where that could be read in two ways (1/2x, x^2y, x(y)) it is an error that says what to write. A |
closes the |x| that is open, so |a|b|| is written abs(a*abs(b)).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from adjoint.core.primitive import PUBLIC
from adjoint.errors import FormulaError
from adjoint.ops.protocol import BINARY, UNARY

from .formula_words import (
    CONSTANTS,
    FOREIGN,
    NOTES,
    SHORT,
    Token,
    brief,
    decimal,
    error,
    lookup,
    read_token,
    without_function,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container

OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "^": "pow"}
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
SIGN = 3  # the precedence of a minus before an operand
CLOSING = {"(": ")", "|": "|"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A sub-expression: a number, a constant, a variable, or an operation on earlier pieces.

    ``kind`` is one of these four words, ``name`` the number, name, sign or function as written,
    ``arguments`` the indices of the pieces that ``function`` takes, ``value`` the number of a
    number or constant. It was written at source[start:stop], brackets around it left out.
    """

    kind: str
    name: str
    source: str = field(repr=False)
    start: int
    stop: int
    value: float = 0.0
    function: Callable[..., Any] | None = None
    arguments: tuple[int, ...] = ()

    @property
    def span(self) -> tuple[int, int]:
        """The characters of the formula that this piece is written with."""
        return self.start, self.stop

    @property
    def text(self) -> str:
        """The piece as it is written; in a formula of n steps this has up to n characters."""
        return self.source[self.start:self.stop]

    @property
    def brief(self) -> str:
        """The piece as it is written, in one line, cut in the middle beyond 40 characters."""
        if self.stop - self.start > SHORT:
            return brief(self.source[self.start:self.start + SHORT]
                         + self.source[self.stop - SHORT:self.stop])
        return " ".join(self.text.split())


class Operand(NamedTuple):
    """A piece, and the characters that stand for it here, its brackets among them."""

    piece: int
    start: int
    stop: int


class Pending(NamedTuple):
    """An operator or an open bracket that waits for its operands.

    ``kind`` is binary, sign, ( or | or call; ``base`` is how many operands lay below a bracket.
    """

    kind: str
    token: Token
    precedence: int = 0
    base: int = 0


class Parser:
    """The state of reading one text; `read` reads the statements in it."""

    def __init__(self, text: str, start: int = 0, stop: int | None = None,
                 given: Container[str] = ()) -> None:
        self.text, self.position, self.end = text, start, len(text) if stop is None else stop
        self.given = given
        self.pieces: list[Piece] = []
        self.variables: dict[str, int] = {}  # name -> its piece
        self.definitions: dict[str, int] = {}
        self.constants: dict[str, Token] = {}  # name -> where it was used first
        self.notes: dict[str, None] = {}
        self.operands: list[Operand] = []
        self.pending: list[Pending] = []
        self.brackets: list[Pending] = []  # those of the pending ones that are open brackets
        self.count = self.opened = 0  # tokens so far, and up to the last opening bracket

    def read(self) -> int:
        """Read all statements; the number of the piece that the last one makes."""
        result: Operand | None = None
        name = ""
        while not self.at_end():
            if result is not None and not name:
                raise self.error(Token("", "", *result[1:]), "this value is used nowhere; give it "
                                 "a name, as in a = x1*x2; y = sin(a)")
            name = self.definition()
            result = self.expression(name)
            if name in self.variables:
                at = self.pieces[self.variables[name]]
                raise error(self.text, *at.span, f"{brief(name)} stands in its own definition")
            if name:
                self.definitions[name] = result.piece
        if result is None:
            raise FormulaError("there is no formula; write one, such as ln(x1) + x1*x2 - sin(x2)",
                               self.text, 0)
        return result.piece

    def error(self, token: Token, message: str) -> FormulaError:
        """The error at a token."""
        return error(self.text, token.start, token.stop, message)

    def peek(self) -> Token:
        """The next token, which stays where it is."""
        return read_token(self.text, self.position, self.end)

    def take(self) -> Token:
        """The next token, and move behind it."""
        token = read_token(self.text, self.position, self.end)
        self.position = token.stop
        return token

    def at_end(self) -> bool:
        """Whether nothing more stands there but new lines and semicolons."""
        while (token := self.peek()).kind == "break":
            self.position = token.stop
        return token.kind == "end"

    # ---- statements

    def definition(self) -> str:
        """The name that the statement here gives to its value, or nothing."""
        start = self.position
        token = self.take()
        equals = self.take() if token.kind == "name" else token
        if token.kind != "name" or equals[:2] != ("sign", "="):
            self.position = start
            return ""
        name = token.word
        if lookup(name):
            raise self.error(token, f"{name} is a function; choose another name")
        if name in self.definitions:
            raise self.error(token, f"{brief(name)} is defined above; choose another name, for a "
                             "name stands for one value")
        if name in self.variables or name in self.given or name in self.constants:
            what = ("the constant above" if name in self.constants else
                    "a variable above" if name in self.variables else
                    "given a value, so it is a variable")
            raise self.error(token, f"{brief(name)} is {what}; choose another name for what is "
                             "defined here")
        return name

    def expression(self, name: str = "") -> Operand:
        """The expression here, up to the end of its statement."""
        wants_operand, last = True, None
        while True:
            token = self.take()
            if token.word == "\n" and (self.brackets or (wants_operand and last is not None)):
                continue
            self.count += 1
            if wants_operand:
                if token.kind in ("end", "break"):
                    raise self.ended(token, last, name)
                wants_operand = self.operand(token, last)
            elif token.kind in ("end", "break"):
                return self.finish()
            else:
                wants_operand = self.after(token)
            last = token

    def ended(self, token: Token, last: Token | None, name: str) -> FormulaError:
        """The error for an expression that ends where an operand should stand."""
        if last is None:
            return self.error(token, f"nothing stands behind {brief(name)} =; a number, a name or "
                              "( should")
        if self.just_opened() or last.word == ",":
            return self.unclosed(self.brackets[-1])
        return error(self.text, last.stop, last.stop, f"nothing stands behind "
                     f"{self.written(last.start, last.stop)}; a number, a name or ( should")

    def just_opened(self) -> bool:
        """Whether the token that was taken follows an opening bracket."""
        return bool(self.brackets) and self.opened == self.count - 1

    def finish(self) -> Operand:
        """The value of the statement, all operators applied."""
        self.reduce(0)
        if self.brackets:
            raise self.unclosed(self.brackets[-1])
        return self.operands.pop()

    def unclosed(self, bracket: Pending) -> FormulaError:
        """The error for a bracket that nothing closes."""
        sign = "|" if bracket.kind == "|" else "("
        at = bracket.token.stop - 1
        return self.error(Token("", "", at, at + 1),
                          f"this {sign} is never closed; a {CLOSING[sign]} is missing")

    # ---- where an operand should stand

    def operand(self, token: Token, last: Token | None) -> bool:
        """Take an operand or what stands before one; whether an operand is still to come."""
        kind, word = token.kind, token.word
        if kind == "number":
            self.push(Piece("number", word, self.text, token.start, token.stop, float(word)))
            return False
        if kind == "name":
            return self.name(token)
        if word in ("-", "+") and kind == "sign":
            if word == "-":
                self.pending.append(Pending("sign", token, SIGN))
            return True
        if word in CLOSING:
            self.open(word, token)
            return True
        if word in FOREIGN:
            raise self.error(token, f"found {word} here: {FOREIGN[word]}")
        if word == ")" and self.just_opened():
            at = self.brackets[-1].token.stop - 1
            raise error(self.text, at, token.stop, "nothing stands between ( and ); a number, a "
                        "name or a formula should")
        raise self.error(token, f"found {self.written(token.start, token.stop)} where a "
                         "number, a name or ( should stand")

    def open(self, kind: str, token: Token) -> None:
        """A bracket opens, or a call."""
        self.pending.append(Pending(kind, token, base=len(self.operands)))
        self.brackets.append(self.pending[-1])
        self.opened = self.count

    def name(self, token: Token) -> bool:
        """Take a name: the function of a call, a definition, a constant or a variable."""
        word, following = token.word, self.peek()
        if following.word == "(":
            if not lookup(word):
                raise without_function(self.text, token, {*self.variables, *self.definitions})
            self.position = following.stop
            opening = Token("name", word, token.start, following.stop)
            self.open("call", opening)
            return True
        if word in self.definitions:
            self.operands.append(Operand(self.definitions[word], token.start, token.stop))
        elif word in self.variables:
            self.operands.append(Operand(self.variables[word], token.start, token.stop))
        elif word in CONSTANTS and word not in self.given:
            self.constants.setdefault(word, token)
            self.push(Piece("constant", word, self.text, token.start, token.stop, CONSTANTS[word]))
        elif word == "√" or (len(word) > 1 and word not in self.given and lookup(word)):
            inner = following.word if following.kind in ("name", "number") else "x"
            raise self.error(token, f"{word} is a function: write {word}({brief(inner)})")
        else:
            self.variable(token)
        return False

    def variable(self, token: Token) -> None:
        """Take a variable, at its first appearance."""
        if token.word.startswith("__"):
            raise self.error(token, f"{brief(token.word)} is no variable of a formula, which is "
                             "not run as Python")
        self.variables[token.word] = len(self.pieces)
        self.push(Piece("variable", token.word, self.text, token.start, token.stop))

    def push(self, piece: Piece, start: int | None = None, stop: int | None = None) -> None:
        """Enter a piece, and lay it on the stack."""
        self.operands.append(Operand(
            len(self.pieces), piece.start if start is None else start,
            piece.stop if stop is None else stop))
        self.pieces.append(piece)

    # ---- behind an operand

    def after(self, token: Token) -> bool:
        """Take what may follow an operand; whether another operand is to come."""
        word = token.word
        if token.kind == "raised":
            self.push(Piece("number", word, self.text, token.start, token.stop, float(word)))
            self.apply(Pending("binary", token._replace(word="^")))
            return False
        if token.kind == "sign" and word in PRECEDENCE:
            self.reduce(PRECEDENCE[word] + (word == "^"))
            self.pending.append(Pending("binary", token, PRECEDENCE[word]))
            return True
        if word == ")" or (word == "|" and self.brackets and self.brackets[-1].kind == "|"):
            self.close(token)
            return False
        if word == ",":
            self.next_argument(token)
            return True
        if token.kind in ("name", "number") or word in CLOSING:
            return self.juxtaposed(token)
        raise self.unexpected(token)

    def unexpected(self, token: Token) -> FormulaError:
        """The error for what cannot follow an operand."""
        word = token.word
        if word == "=":
            return self.error(token, "found = behind a value; left of = stands one new name, as in "
                              "a = x1*x2")
        if word in FOREIGN:
            return self.error(token, f"found {word} here: {FOREIGN[word]}")
        return self.error(token, f"found {brief(word)} where an operator (+ - * / ^) or the end "
                          "should stand")

    def juxtaposed(self, token: Token) -> bool:
        """A product without its sign, if it can be read in one way only."""
        left = self.operands[-1]
        if token.kind == "number":
            raise self.number_behind(token, self.written(left.start, left.stop))
        after = self.following_word(token)
        below = next((p for p in reversed(self.pending) if p.kind != "sign"), None)
        tight = token.start == left.stop
        if tight and below is not None and below.kind == "binary" and below.token.word == "^":
            base = self.operands[-2]
            first, second = self.written(base.start, base.stop), self.written(base.stop, left.stop)
            exponent = second.lstrip("*^ ")
            raise self.error(token, f"this can be read in two ways: write ({first}^{exponent})"
                             f"*{after} or {first}^({exponent}*{after})")
        self.reduce(PRECEDENCE["*"] + 1)
        top = self.pending[-1] if self.pending else None
        if top is not None and top.token.word == "/":
            a, b = (self.written(o.start, o.stop) for o in self.operands[-2:])
            raise self.error(token, f"a product without * behind a division can be read in two "
                             f"ways: write ({a}/{b})*{after} or {a}/({b}*{after})")
        self.reduce(PRECEDENCE["*"])
        sign = Token("sign", "*", token.start, token.start)
        self.pending.append(Pending("binary", sign, PRECEDENCE["*"]))
        return self.operand(token, None)

    def number_behind(self, token: Token, before: str) -> FormulaError:
        """The error for a number that follows an operand without a sign."""
        word = brief(token.word)
        if word.startswith(".") and token.start == self.operands[-1].stop:
            return self.error(token, f"found . here: {FOREIGN['.']}")
        name = f", or {before}{word} for a name" if before.isidentifier() and word.isdigit() else ""
        return self.error(token, f"found {word} behind {before}; write {before}*{word} for a "
                          f"product{name}")

    def following_word(self, token: Token) -> str:
        """How the operand that begins at ``token`` begins, for a message."""
        if token.word in CLOSING:
            return f"{token.word}...{CLOSING[token.word]}"
        opens = read_token(self.text, token.stop, self.end).word == "("
        return brief(token.word) + ("(...)" if opens else "")

    def written(self, start: int, stop: int) -> str:
        """A part of the formula, for a message."""
        return brief(self.text[start:stop])

    # ---- brackets

    def next_argument(self, token: Token) -> None:
        """A comma: the next argument of a call begins."""
        if not self.brackets or self.brackets[-1].kind != "call":
            number = decimal(self.text, token.start)
            raise self.error(token, "found a comma outside of a call" + (
                f"; a number has a point: {number}" if number else
                "; commas separate the arguments of a function, as in max(x1, x2)"))
        self.reduce(0)

    def close(self, token: Token) -> None:
        """A closing bracket: apply what waits inside, and the function before it."""
        self.reduce(0)
        if not self.pending:
            raise self.error(token, "this ) closes nothing; remove it, or write the ( that it is "
                             "to close")
        opening = self.pending.pop()
        self.brackets.pop()
        if opening.kind == "|" and token.word == ")":
            raise self.unclosed(opening)
        start = opening.token.start
        if opening.kind == "(":
            self.operands[-1] = Operand(self.operands[-1].piece, start, token.stop)
            return
        arguments = self.operands[opening.base:]
        del self.operands[opening.base:]
        name = "abs" if opening.kind == "|" else opening.token.word
        self.push(Piece(
            "operation", name, self.text, start, token.stop, 0.0,
            self.function(name, opening.token, len(arguments)),
            tuple([a.piece for a in arguments])))

    def function(self, name: str, token: Token, count: int) -> Callable[..., Any]:
        """The function of this name for so many arguments."""
        if name == "abs" and token.word == "|":
            return PUBLIC[UNARY["abs"]]
        known = lookup(name)
        if count not in known:
            counts = " or ".join(map(str, sorted(known)))
            raise error(self.text, token.start, token.stop - 1,
                        f"{name} takes {counts} argument{'s' * (counts != '1')}, not {count}")
        if name in NOTES:
            self.notes[NOTES[name]] = None
        return known[count]

    # ---- operators

    def reduce(self, precedence: int) -> None:
        """Apply the operators on the stack, down to a bracket, that bind at least so tightly."""
        while self.pending and self.pending[-1].precedence >= max(precedence, 1):
            self.apply(self.pending.pop())

    def apply(self, operator: Pending) -> None:
        """Make one piece of the operands on top."""
        right = self.operands.pop()
        if operator.kind == "sign":
            self.push(Piece("operation", "-", self.text, operator.token.start, right.stop, 0.0,
                            PUBLIC[UNARY["neg"]], (right.piece,)))
            return
        left, sign = self.operands.pop(), operator.token.word
        base = self.pieces[left.piece]
        name, arguments = sign, (left.piece, right.piece)
        f = PUBLIC[BINARY[OPERATORS[sign]]]
        if sign == "^" and base.kind == "constant" and base.name == "e":
            name, f, arguments = "exp", PUBLIC["exp"], (right.piece,)
        self.push(Piece("operation", name, self.text, left.start, right.stop, 0.0, f, arguments))
