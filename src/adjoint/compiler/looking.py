"""What trampolines are written with: a record of words, lines of text, and how sources are read.

`Record` holds all addresses, so that a text says nothing of the process. `Looking` writes the text
that finds the object of a Source, and the text of guards. What may run Python is asked first, by
`look_up` and `ask`: nothing that they were given can go away before it is used.
"""

from __future__ import annotations

import struct
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .abi import CLASS, CONTENTS, LENGTH, LIST_ITEMS, function_offset, slot_offset
from .arrays_ir import FIXED, SHARED
from .sources import Argument, Attribute, Cell, Context, Element, Held, Item, Slot

if TYPE_CHECKING:
    from .sources import Guard, Source

FIELDS = ("__code__", "__defaults__", "__kwdefaults__")
EQUAL = 2  # the number of == for PyObject_RichCompareBool
SIMPLE = {int, float, complex, bool, str, bytes}  # their comparison runs no Python


def key_of(source: Source) -> tuple[Any, ...]:
    """Equal for two sources that look at one place, which is read once then."""
    match source:
        case Argument():
            return Argument, source.position
        case Item(mapping, key):
            return Item, id(mapping), key if type(key) is str else id(key)
        case Slot() | Element() | Attribute():
            return type(source), key_of(source.of), *source[1:]
        case Held() | Cell() | Context():
            return type(source), id(source[0])


def is_field(source: Source) -> bool:
    """Whether an attribute is read where it is kept: the code and the defaults of a function."""
    return isinstance(source, Attribute) and isinstance(source.of, Held) and (
        source.name in FIELDS and type(source.of.value) is FunctionType
        and getattr(source.of.value, source.name) is not None and function_offset(source.name) > 0)


class Record:
    """The words that a trampoline reads, in the order in which it asks for them."""

    def __init__(self) -> None:
        self.words: list[int] = [0] * len(FIXED)
        self.blocks: list[tuple[int, bytes]] = []  # stand behind the words, which point to them

    def add(self, *words: int) -> int:
        """The byte offset of new words."""
        self.words += words
        return 8 * (len(self.words) - len(words))

    def point(self, block: bytes) -> int:
        """The byte offset of a new word that points to these bytes, wherever they will be.

        So the offsets that a text names do not depend on how long the blocks are.
        """
        self.blocks.append((len(self.words), block))
        return self.add(0)

    def bytes_at(self, address: int) -> bytes:
        """The whole record, as it must be at an address; `size` says how long it is."""
        end = 8 * len(self.words)
        for k, block in self.blocks:
            self.words[k] = address + end
            end += len(block)
        whole = struct.pack(f"<{len(self.words)}Q", *self.words)
        return whole + b"".join([block for _, block in self.blocks])

    def size(self) -> int:
        """How many bytes it has."""
        return 8 * len(self.words) + sum(len(block) for _, block in self.blocks)

    def set(self, name: str, value: int) -> None:
        """Fill one of the words that every record has."""
        self.words[FIXED.index(name)] = value


class Looking:
    """The text of one trampoline so far, and its record.

    ``made`` and ``numbers`` count the objects that a failure must release, and the numbers that
    are on the stack for the time of a call.
    """

    def __init__(self, tuple_items: int) -> None:
        self.record, self.tuple_items = Record(), tuple_items
        self.lines: list[str] = []
        self.count, self.made, self.numbers = 0, 0, 0
        self.unfit = "unfit"  # where to go on when something does not fit
        self.objects: dict[Any, str] = {}  # of a Source, by its key
        self.looked_up: list[str] = []  # objects of which a reference is ours

    # ---- text

    def put(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self.lines.append(f"  {text}")

    def label(self) -> str:
        """A new label."""
        self.count += 1
        return f"l{self.count}"

    def mark(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")

    def demand(self, condition: str, otherwise: str = "") -> None:
        """Go on only if the condition holds."""
        good = self.label()
        self.do(f"br i1 {condition}, label %{good}, label %{otherwise or self.unfit}")
        self.mark(good)

    def at(self, pointer: str, offset: int) -> str:
        """A pointer some bytes further."""
        return self.put(f"getelementptr i8, ptr {pointer}, i64 {offset}") if offset else pointer

    def load(self, pointer: str, offset: int = 0, type_: str = "ptr") -> str:
        """What is in memory."""
        return self.put(f"load {type_}, ptr {self.at(pointer, offset)}")

    def word(self, offset: int) -> str:
        """The pointer that is a word of the record."""
        return self.load("%record", offset)

    def fixed(self, name: str) -> str:
        """The pointer that is a word of every record; those that are asked for often stay known."""
        return f"%{name}" if name in SHARED else self.word(8 * FIXED.index(name))

    def called(self, name: str, arguments: str, result: str = "ptr") -> str:
        """The result of a C function."""
        return self.put(f"call {result} {self.fixed(name)}({arguments})")

    def run(self, name: str, arguments: str) -> None:
        """Call a C function that has no result."""
        self.do(f"call void {self.fixed(name)}({arguments})")

    def not_null(self, pointer: str, otherwise: str = "") -> None:
        """Go on only if a pointer is not null."""
        self.demand(self.put(f"icmp ne ptr {pointer}, null"), otherwise)

    # ---- what a call has

    def number(self) -> str:
        """Eight bytes of the stack."""
        self.numbers += 1
        return f"%number{self.numbers - 1}"

    def keep(self, pointer: str) -> None:
        """Release this object if the call fails later."""
        self.do(f"store ptr {pointer}, ptr %made{self.made}")
        self.made += 1

    def own(self, pointer: str) -> None:
        """Release this object when the call ends: one of the references to it is ours."""
        self.keep(pointer)
        self.looked_up.append(pointer)

    def hold(self, source: Source) -> str:
        """The object of a source, which cannot go away before the call ends."""
        found = self.object(source)
        if not isinstance(source, (Argument, Held)) and found not in self.looked_up:
            self.run("Py_IncRef", f"ptr {found}")
            self.own(found)
        return found

    # ---- what may run Python

    def look_up(self, source: Source) -> None:
        """Read what Python finds: attributes, context variables, keys that are compared."""
        if isinstance(source, (Slot, Element, Attribute)):
            self.look_up(source.of)
        if key_of(source) in self.objects or is_field(source):
            return
        match source:
            case Item():
                mapping, key = (self.word(self.record.add(id(x))) for x in source)
                found = self.called("PyDict_GetItemWithError", f"ptr {mapping}, ptr {key}")
                self.not_null(found, "missing")
                self.run("Py_IncRef", f"ptr {found}")
            case Attribute(of, name):
                owner, name = self.hold(of), self.word(self.record.add(id(name)))
                found = self.called("PyObject_GetAttr", f"ptr {owner}, ptr {name}")
                self.not_null(found, "missing")
            case Context(variable):
                place, asked = self.number(), self.word(self.record.add(id(variable)))
                code = self.called("PyContextVar_Get", f"ptr {asked}, ptr null, ptr {place}", "i32")
                self.demand(self.put(f"icmp eq i32 {code}, 0"), "missing")
                found = self.load(place)
                self.not_null(found)
            case _:
                return
        self.own(found)
        self.objects[key_of(source)] = found

    def ask(self, guard: Guard) -> None:
        """The guards whose comparison may run Python."""
        self.look_up(guard.source)
        if guard.how == "==" and type(guard.value) not in SIMPLE:
            self.equal(self.hold(guard.source), guard.value, "missing")

    def forget(self) -> None:
        """Whatever was read is read anew, but for what this call holds: Python may have run."""
        self.objects = {k: v for k, v in self.objects.items() if v in self.looked_up}

    # ---- sources

    def object(self, source: Source) -> str:
        """The object that a source gives; the reference is another's."""
        key = key_of(source)
        if key not in self.objects:
            self.objects[key] = self.found(source)
        return self.objects[key]

    def found(self, source: Source) -> str:
        """The text for one source."""
        match source:
            case Argument(position):
                return self.load("%args", 8 * position)
            case Held(value):
                return self.word(self.record.add(id(value)))
            case Cell(cell):
                found = self.load(self.word(self.record.add(id(cell))), CONTENTS)
            case Attribute(Held(value), name):  # a field: others are looked up before
                found = self.load(self.word(self.record.add(id(value) + function_offset(name))))
            case Slot(Held(value), type_, name):
                place = self.word(self.record.add(id(value) + slot_offset(type_, name)))
                found = self.load(place)
            case Slot(of, type_, name):
                owner = self.typed(of, type_)
                offset = self.load("%record", self.record.add(slot_offset(type_, name)), "i64")
                found = self.load(self.put(f"getelementptr i8, ptr {owner}, i64 {offset}"))
            case Element(of, type_, position):
                owner = self.typed(of, type_)
                size = self.load(owner, LENGTH, "i64")
                self.demand(self.put(f"icmp sgt i64 {size}, {position}"))
                found = (self.load(self.load(owner, LIST_ITEMS), 8 * position) if type_ is list
                         else self.load(owner, self.tuple_items + 8 * position))
            case _:
                raise AssertionError("what may run Python is looked up before")
        self.not_null(found)
        return found

    def typed(self, source: Source, type_: type) -> str:
        """The object of a source, which must be of this very type."""
        owner = self.object(source)
        if not isinstance(source, Held):
            self.of_class(owner, id(type_))
        return owner

    def of_class(self, pointer: str, *classes: int) -> None:
        """Go on only if an object is of one of some types."""
        class_ = self.load(pointer, CLASS)
        found = [self.put(f"icmp eq ptr {class_}, {self.word(self.record.add(c))}")
                 for c in classes]
        fits = found[0]
        for other in found[1:]:
            fits = self.put(f"or i1 {fits}, {other}")
        self.demand(fits)

    # ---- guards

    def guard(self, guard: Guard) -> None:
        """Go on only if a guard holds."""
        source, value, how = guard
        if how == "==":
            if type(value) in SIMPLE:
                self.equal(self.object(source), value, self.unfit)
        elif how == "len":
            type_, length = value
            size = self.load(self.typed(source, type_), LENGTH, "i64")
            self.demand(self.put(f"icmp eq i64 {size}, {length}"))
        elif how == "type":
            self.of_class(self.object(source), id(value))
        elif how == "keys":
            wanted = self.record.point(struct.pack(f"<{1 + len(value)}Q", len(value),
                                                   *map(id, value)))
            dictionary = self.typed(source, dict)
            self.demand(self.called(
                "keys", f"ptr %record, ptr {dictionary}, ptr {self.word(wanted)}", "i1"))
        elif how == "held":
            found = self.object(source)
            count = self.load(found, 0, "i32")
            self.demand(self.put(f"icmp ule i32 {count}, {value + (found in self.looked_up)}"))
        else:
            wanted = self.word(self.record.add(id(value)))
            relation = "eq" if how == "is" else "ne"
            self.demand(self.put(f"icmp {relation} ptr {self.object(source)}, {wanted}"))

    def equal(self, pointer: str, value: Any, otherwise: str) -> None:
        """Go on only if an object is a value, or of its type and equal to it."""
        wanted = self.word(self.record.add(id(value)))
        same, other, then = self.put(f"icmp eq ptr {pointer}, {wanted}"), self.label(), self.label()
        self.do(f"br i1 {same}, label %{then}, label %{other}")
        self.mark(other)
        self.of_class(pointer, id(type(value)))
        if type(value) in (float, complex):  # bit by bit: -0.0 == 0.0, and NaN is not itself
            for k, bits in enumerate(struct.unpack("<2Q", struct.pack(
                    "<2d", value.real, value.imag))[:1 if type(value) is float else 2]):
                known = self.load("%record", self.record.add(bits), "i64")
                found = self.load(pointer, CONTENTS + 8 * k, "i64")
                self.demand(self.put(f"icmp eq i64 {found}, {known}"), otherwise)
        else:
            code = self.called("PyObject_RichCompareBool",
                               f"ptr {pointer}, ptr {wanted}, i32 {EQUAL}", "i32")
            self.demand(self.put(f"icmp eq i32 {code}, 1"), otherwise)
        self.do(f"br label %{then}")
        self.mark(then)
