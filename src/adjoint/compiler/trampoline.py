"""The text of a native function that Python calls: reads arguments, runs a segment, makes results.

A `Trampoline` writes ``ptr call(ptr self, ptr args, i64 count, ptr names)``, which CPython calls
with METH_FASTCALL and METH_KEYWORDS. All addresses, dtypes and shapes are words of a record that
``self`` owns, so that functions of one structure have one text, and the text says nothing of the
process. What does not fit jumps to a label from which the slow path is called.

Nothing that can run Python stands between the first look at an input and the segment: first new
arrays are made, then dictionaries are read, then all else.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from .abi import CLASS, CONTENTS, DATA, kind_of, slot_offset
from .arrays_ir import FIXED, HELPERS, MEMCPY, READABLE, SPEC_SHAPE, WRITEABLE
from .sources import Argument, Cell, Held, Item, Slot

if TYPE_CHECKING:
    from .sources import Source

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


class Trampoline:
    """The text of one trampoline, and the record of its words.

    ``made`` and ``numbers`` count the objects that a failure must release, and the numbers that
    are on the stack for the time of a call.
    """

    def __init__(self, tuple_items: int) -> None:
        self.record, self.tuple_items = Record(), tuple_items
        self.lines: list[str] = []
        self.count, self.made, self.numbers = 0, 0, 0
        self.unfit = "unfit"  # where to go on when something does not fit
        self.objects: dict[int, str] = {}  # of a Source, by its id
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
        """The pointer that is a word of every record."""
        return self.word(8 * FIXED.index(name))

    def called(self, name: str, arguments: str, result: str = "ptr") -> str:
        """The result of a C function."""
        return self.put(f"call {result} {self.fixed(name)}({arguments})")

    def run(self, name: str, arguments: str) -> None:
        """Call a C function that has no result."""
        self.do(f"call void {self.fixed(name)}({arguments})")

    def not_null(self, pointer: str, otherwise: str = "") -> None:
        """Go on only if a pointer is not null."""
        self.demand(self.put(f"icmp ne ptr {pointer}, null"), otherwise)

    # ---- places of a call

    def number(self) -> str:
        """Eight bytes of the stack."""
        self.numbers += 1
        return self.put(f"getelementptr i64, ptr %numbers, i64 {self.numbers - 1}")

    def keep(self, pointer: str) -> None:
        """Release this object if the call fails later."""
        self.do(f"store ptr {pointer}, ptr " + self.put(
            f"getelementptr ptr, ptr %made, i64 {self.made}"))
        self.made += 1

    def spec(self, known: Any, flags: int) -> str:
        """A pointer to what an array must be, in the order in which `array` reads it."""
        words = (id(np.ndarray), id(known.dtype), kind_of(known.dtype), len(known.shape), flags,
                 *known.shape)
        return self.word(self.record.point(struct.pack(f"<{len(words)}Q", *words)))

    # ---- sources

    def look_up(self, source: Source) -> None:
        """Read dictionaries: their keys may run Python when they are compared."""
        if isinstance(source, Slot):
            self.look_up(source.of)
        if not isinstance(source, Item) or id(source) in self.objects:
            return
        mapping, key = (self.word(self.record.add(id(x))) for x in source)
        found = self.called("PyDict_GetItemWithError", f"ptr {mapping}, ptr {key}")
        self.not_null(found, "missing")
        self.run("Py_IncRef", f"ptr {found}")
        self.keep(found)
        self.looked_up.append(found)
        self.objects[id(source)] = found

    def object(self, source: Source) -> str:
        """The object that a source gives; the reference is another's."""
        if id(source) not in self.objects:
            self.objects[id(source)] = self.found(source)
        return self.objects[id(source)]

    def found(self, source: Source) -> str:
        """The text for one source."""
        match source:
            case Argument(position):
                return self.load("%args", 8 * position)
            case Held(value):
                return self.word(self.record.add(id(value)))
            case Cell(cell):
                found = self.load(self.word(self.record.add(id(cell))), CONTENTS)
            case Slot(of, type_, name):
                owner = self.object(of)
                if not isinstance(of, Held):
                    self.of_class(owner, id(type_))
                offset = self.load("%record", self.record.add(slot_offset(type_, name)), "i64")
                found = self.load(self.put(f"getelementptr i8, ptr {owner}, i64 {offset}"))
            case Item():
                raise AssertionError("dictionaries are read before")
        self.not_null(found)
        return found

    def of_class(self, pointer: str, *classes: int) -> None:
        """Go on only if an object is of one of some types."""
        class_ = self.load(pointer, CLASS)
        found = [self.put(f"icmp eq ptr {class_}, {self.word(self.record.add(c))}")
                 for c in classes]
        fits = found[0]
        for other in found[1:]:
            fits = self.put(f"or i1 {fits}, {other}")
        self.demand(fits)

    def guard(self, source: Source, expected: Any) -> None:
        """Go on only if a source gives this very object."""
        wanted = self.word(self.record.add(id(expected)))
        self.demand(self.put(f"icmp eq ptr {self.object(source)}, {wanted}"))

    # ---- inputs

    def array(self, source: Source, known: Any, flags: int = READABLE) -> str:
        """The memory of an array that must be as it is known to be."""
        spec = self.spec(known, flags)
        data = self.put(f"call ptr @array(ptr {self.object(source)}, ptr {spec})")
        self.not_null(data)
        return data

    def alone(self, source: Source, holders: int) -> None:
        """Go on only if nobody else has an array, or part of its memory."""
        self.demand(self.put(f"call i1 @alone(ptr %record, ptr {self.object(source)}, "
                             f"i32 {holders})"))

    def read_number(self, source: Source, dtype: Any, kind: str = "number") -> str:
        """A place on the stack with the number that an object is."""
        pointer = self.object(source)
        floats = [id(float)] if dtype == np.float64 and kind != "scalar" else []
        scalars = [id(dtype.type)] if kind != "float" else []
        self.of_class(pointer, *scalars, *floats)
        type_ = f"i{8 * dtype.itemsize}"
        value, place = self.load(pointer, CONTENTS, type_), self.number()
        self.do(f"store {type_} {value}, ptr {place}")
        return place

    def share(self, source: Source) -> None:
        """Hold an object while other threads run."""
        found = self.object(source)
        if not isinstance(source, Argument) and found not in self.looked_up:
            self.run("Py_IncRef", f"ptr {found}")
            self.keep(found)
            self.looked_up.append(found)

    # ---- results

    def new_array(self, known: Any, maker: int = 0, pool: int = 0) -> str:
        """A new array: by NumPy, or by a function of Python; or one that the pool has."""
        spec = self.spec(known, WRITEABLE)
        if not pool:
            return self.made_array(spec, maker)
        list_ = self.word(self.record.add(pool))
        again = self.put(f"call ptr @recycled(ptr %record, ptr {list_}, ptr {spec})")
        used, miss, then = self.label(), self.label(), self.label()
        known_null = self.put(f"icmp eq ptr {again}, null")
        self.do(f"br i1 {known_null}, label %{miss}, label %{used}")
        self.mark(used)
        self.do(f"br label %{then}")
        self.mark(miss)
        new = self.made_array(spec, maker)
        self.do(f"call void @admit(ptr {list_}, ptr {new}, ptr {self.fixed('Py_DecRef')})")
        last = self.label()
        self.do(f"br label %{last}")
        self.mark(last)
        self.do(f"br label %{then}")
        self.mark(then)
        return self.put(f"phi ptr [{again}, %{used}], [{new}, %{last}]")

    def made_array(self, spec: str, maker: int) -> str:
        """A new array."""
        if maker:
            made = self.called("PyObject_CallNoArgs", f"ptr {self.word(self.record.add(maker))}")
        else:
            descr, shape = self.load(spec, 8), self.at(spec, SPEC_SHAPE)
            rank = self.load(spec, 24, "i32")
            self.run("Py_IncRef", f"ptr {descr}")
            made = self.called(
                "PyArray_NewFromDescr", f"ptr {self.fixed('ndarray')}, ptr {descr}, i32 {rank}, "
                f"ptr {shape}, ptr null, ptr null, i32 0, ptr null")
        self.not_null(made, "failure")
        return made

    def new_float(self, place: str, dtype: Any) -> str:
        """A Python float."""
        value = self.load(place, 0, "float" if dtype.itemsize == 4 else "double")
        if dtype.itemsize == 4:
            value = self.put(f"fpext float {value} to double")
        made = self.called("PyFloat_FromDouble", f"double {value}")
        self.not_null(made, "failure")
        return made

    def new_scalar(self, place: str, dtype: Any, allocate: int) -> str:
        """A NumPy scalar."""
        class_ = self.word(self.record.add(id(dtype.type)))
        function = self.word(self.record.add(allocate))
        made = self.put(f"call ptr {function}(ptr {class_}, i64 0)")
        self.not_null(made, "failure")
        type_ = f"i{8 * dtype.itemsize}"
        value = self.load(place, 0, type_)
        self.do(f"store {type_} {value}, ptr {self.at(made, CONTENTS)}")
        return made

    def copied(self, to: str, from_: str, size: int) -> None:
        """Copy bytes."""
        if size:
            self.do(f"call void @{MEMCPY}(ptr {to}, ptr {from_}, i64 {size}, i1 false)")

    # ---- the frame of it all

    def segment(self, *, released: bool, failed: bool) -> None:
        """Run the machine code; its failure code is told to ``failed``, or is a reason to be slow.

        After something was written in place the slow path would compute from what it reads there.
        """
        run, table, work = (self.fixed(name) for name in ("segment", "table", "work"))
        thread = self.called("PyEval_SaveThread", "") if released else ""
        code = self.put(f"call i64 {run}(ptr {table}, ptr {work})")
        if released:
            self.run("PyEval_RestoreThread", f"ptr {thread}")
        good, bad = self.label(), self.label()
        fine = self.put(f"icmp eq i64 {code}, 0")
        self.do(f"br i1 {fine}, label %{good}, label %{bad}")
        self.mark(bad)
        if failed:
            self.failure(code)
        else:
            self.do(f"br label %{self.unfit}")
        self.mark(good)

    def failure(self, code: str) -> None:
        """Raise the error of a failure code."""
        number = self.called("PyLong_FromLongLong", f"i64 {code}")
        self.not_null(number, "failed")
        self.keep(number)
        answer = self.called("PyObject_CallOneArg",
                             f"ptr {self.fixed('failed')}, ptr {number}")
        self.run("Py_DecRef", f"ptr {answer}")
        self.do("br label %failed")

    def occupy(self) -> None:
        """Take the table and the workspace, which another thread may be using."""
        place = self.at("%record", 8 * FIXED.index("busy"))
        self.demand(self.put(f"icmp eq i64 {self.load(place, 0, 'i64')}, 0"))
        self.do(f"store i64 1, ptr {place}")
        self.unfit = "free"

    def vacate(self) -> None:
        """Others may use them again."""
        self.do(f"store i64 0, ptr {self.at('%record', 8 * FIXED.index('busy'))}")
        self.unfit = "unfit"

    def returned(self, results: list[str]) -> None:
        """Give back the results: one as it is, several as a tuple, None if there is none."""
        if len(results) == 1:
            (answer,) = results
        elif results:
            answer = self.called("PyTuple_New", f"i64 {len(results)}")
            self.not_null(answer, "failure")
            for k, result in enumerate(results):
                self.do(f"store ptr {result}, ptr {self.at(answer, self.tuple_items + 8 * k)}")
        else:
            answer = self.fixed("None")
            self.run("Py_IncRef", f"ptr {answer}")
        for found in self.looked_up:
            self.run("Py_DecRef", f"ptr {found}")
        self.do(f"ret ptr {answer}")

    def text(self, arguments: int, attributes: str) -> str:
        """The module."""
        head = ["entry:",
                f"  %record.at = getelementptr i8, ptr %self, i64 {DATA}",
                "  %record = load ptr, ptr %record.at",
                f"  %numbers = alloca [{max(self.numbers, 1)} x i64], align 16",
                f"  %made = alloca [{max(self.made, 1)} x ptr], align 16"]
        head += [f"  %made{k} = getelementptr ptr, ptr %made, i64 {k}" for k in range(self.made)]
        head += [f"  store ptr null, ptr %made{k}" for k in range(self.made)]
        head += ["  %named = icmp ne ptr %names, null",
                 f"  %miscounted = icmp ne i64 %count, {arguments}",
                 "  %odd = or i1 %named, %miscounted",
                 "  br i1 %odd, label %unfit, label %begin", "begin:"]
        self.tail()
        body = "\n".join([*head, *self.lines])
        return (f"{HELPERS}\ndefine ptr @call(ptr %self, ptr %args, i64 %count, ptr %names) #0 "
                f"{{\n{body}\n}}\n{attributes}\n")

    def tail(self) -> None:
        """Where a call ends that does not fit, or that raises."""
        for label, then in (("free", "unfit"), ("failed", "failure")):
            self.mark(label)
            self.vacate()
            self.do(f"br label %{then}")
        self.mark("missing")
        self.run("PyErr_Clear", "")
        self.do("br label %unfit")
        self.mark("unfit")
        self.release()
        answer = self.called("PyObject_Vectorcall", f"ptr {self.fixed('slow')}, ptr %args, "
                             "i64 %count, ptr %names")
        self.do(f"ret ptr {answer}")
        self.mark("failure")
        self.release()
        self.do("ret ptr null")

    def release(self) -> None:
        """Let go of what was made."""
        for k in range(self.made):
            self.run("Py_DecRef", f"ptr {self.load(f'%made{k}')}")
