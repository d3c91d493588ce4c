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

from .abi import CONTENTS, DATA, LIST_ITEMS, kind_of, slot_offset
from .arrays_ir import FIXED, MEMCPY, READABLE, SHARED, SPEC_SHAPE, WRITEABLE
from .looking import Looking
from .sources import Constant, New

if TYPE_CHECKING:
    from .sources import Guard, Source, Tree


class Trampoline(Looking):
    """The text of one trampoline, and the record of its words."""

    row = 0  # how many numbers become a tuple of floats

    # ---- inputs

    def spec(self, known: Any, flags: int) -> str:
        """A pointer to what an array must be, in the order in which `array` reads it."""
        words = (id(np.ndarray), id(known.dtype), kind_of(known.dtype), len(known.shape), flags,
                 *known.shape)
        return self.word(self.record.point(struct.pack(f"<{len(words)}Q", *words)))

    def array(self, source: Source, known: Any, flags: int = READABLE) -> str:
        """The memory of an array that must be as it is known to be."""
        spec = self.spec(known, flags)
        data = self.called("array", f"ptr {self.object(source)}, ptr {spec}")
        self.not_null(data)
        return data

    def guard(self, guard: Guard) -> None:
        """Go on only if a guard holds."""
        if guard.how == "array":
            self.array(guard.source, guard.value, 0)
        else:
            super().guard(guard)

    def alone(self, source: Source, holders: int) -> None:
        """Go on only if nobody else has an array, or part of its memory."""
        found = self.object(source)
        self.demand(self.called(
            "alone", f"ptr %record, ptr {found}, i32 {holders + (found in self.looked_up)}", "i1"))

    def read_number(self, source: Source, dtype: Any, kind: str = "number") -> str:
        """A place on the stack with the number that an object is."""
        pointer = self.object(source)
        if kind in {"int", "bool"}:
            return self.read_python(pointer, kind)
        floats = [id(float)] if dtype == np.float64 and kind != "scalar" else []
        scalars = [id(dtype.type)] if kind != "float" else []
        self.of_class(pointer, *scalars, *floats)
        type_ = f"i{8 * dtype.itemsize}"
        return self.placed(self.load(pointer, CONTENTS, type_), type_)

    def read_python(self, pointer: str, kind: str) -> str:
        """A place on the stack with a Python int of 64 bits, or a bool."""
        self.of_class(pointer, id(int if kind == "int" else bool))
        if kind == "bool":
            true = self.word(self.record.add(id(True)))
            return self.placed(self.put(
                f"zext i1 {self.put(f'icmp eq ptr {pointer}, {true}')} to i8"), "i8")
        flag = self.number()
        value = self.called("PyLong_AsLongLongAndOverflow", f"ptr {pointer}, ptr {flag}", "i64")
        self.demand(self.put(f"icmp eq i32 {self.load(flag, 0, 'i32')}, 0"))
        return self.placed(value, "i64")

    def placed(self, value: str, type_: str) -> str:
        """A place on the stack with a value."""
        place = self.number()
        self.do(f"store {type_} {value}, ptr {place}")
        return place

    # ---- results

    def new_array(self, known: Any, maker: int = 0, pool: int = 0) -> str:
        """A new array: by NumPy, or by a function of Python; or one that the pool has."""
        spec = self.spec(known, WRITEABLE)
        if not pool:
            return self.made_array(spec, maker)
        list_ = self.word(self.record.add(pool))
        again = self.called("recycled", f"ptr %record, ptr {list_}, ptr {spec}")
        used, miss, then = self.label(), self.label(), self.label()
        known_null = self.put(f"icmp eq ptr {again}, null")
        self.do(f"br i1 {known_null}, label %{miss}, label %{used}")
        self.mark(used)
        self.do(f"br label %{then}")
        self.mark(miss)
        new = self.made_array(spec, maker)
        self.run("admit", f"ptr {list_}, ptr {new}, ptr {self.fixed('Py_DecRef')}")
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
        made = self.called("PyFloat_FromDouble", f"double {self.double(place, dtype)}")
        self.not_null(made, "failure")
        return made

    def new_floats(self, places: list[str], dtypes: list[Any], pool: int) -> str:
        """A tuple of Python floats: one that the pool has, if nobody else has it."""
        self.row = len(places)
        for k, (place, dtype) in enumerate(zip(places, dtypes, strict=True)):
            self.do(f"store double {self.double(place, dtype)}, ptr {self.at('%row', 8 * k)}")
        list_ = self.word(self.record.add(pool))
        made = self.called("floats", f"ptr %record, ptr {list_}, ptr %row, i64 {len(places)}")
        self.not_null(made, "failure")
        self.keep(made)
        return made

    def double(self, place: str, dtype: Any) -> str:
        """A number on the stack as a double."""
        value = self.load(place, 0, "float" if dtype.itemsize == 4 else "double")
        return value if dtype.itemsize == 8 else self.put(f"fpext float {value} to double")

    def new_scalar(self, place: str, dtype: Any, allocate: int) -> str:
        """A NumPy scalar; of truth values there are two, which NumPy tells apart by identity."""
        if dtype.kind == "b":
            yes, no = (self.word(self.record.add(id(np.bool_(x)))) for x in (True, False))
            holds = self.put(f"icmp ne i8 {self.load(place, 0, 'i8')}, 0")
            made = self.put(f"select i1 {holds}, ptr {yes}, ptr {no}")
            self.run("Py_IncRef", f"ptr {made}")
            return made
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

    def returned(self, results: list[str], tree: Tree) -> None:
        """Give back the results in their tree. Nothing fails once references begin to move."""
        self.results, self.used = results, set[int]()
        self.moves: list[tuple[str, str]] = []  # an object, and where its reference goes
        self.dropped: list[str] = []  # objects that a dictionary has got a reference of its own to
        answer = self.built(tree)
        for found, place in self.moves:
            self.do(f"store ptr {found}, ptr {place}")
        unused = [r for k, r in enumerate(results) if k not in self.used]
        for found in [*self.looked_up, *self.dropped, *unused]:
            self.run("Py_DecRef", f"ptr {found}")
        self.do(f"ret ptr {answer}")

    def built(self, tree: Tree) -> str:
        """A part of what is returned: a reference that is the caller's."""
        if isinstance(tree, int):
            found = self.results[tree]
            if tree in self.used:
                return self.again(found)
            self.used.add(tree)
            return found
        if isinstance(tree, Constant):
            return self.again(self.word(self.record.add(id(tree.value))))
        if isinstance(tree, New):
            return self.new_object(tree)
        if isinstance(tree, dict):
            return self.new_dict(tree)
        made = self.called("PyTuple_New" if isinstance(tree, tuple) else "PyList_New",
                           f"i64 {len(tree)}")
        self.not_null(made, "failure")
        self.keep(made)
        if isinstance(tree, tuple):
            places = [self.at(made, self.tuple_items + 8 * k) for k in range(len(tree))]
        else:
            items = self.load(made, LIST_ITEMS)
            places = [self.at(items, 8 * k) for k in range(len(tree))]
        self.moves += zip(map(self.built, tree), places, strict=True)
        return made

    def again(self, found: str) -> str:
        """One reference more to an object."""
        self.run("Py_IncRef", f"ptr {found}")
        self.keep(found)
        return found

    def new_object(self, tree: New) -> str:
        """An object of a class with ``__slots__``."""
        class_ = self.word(self.record.add(id(tree.type)))
        made = self.called("PyType_GenericAlloc", f"ptr {class_}, i64 0")
        self.not_null(made, "failure")
        self.keep(made)
        for name, part in tree.slots:
            offset = self.load("%record", self.record.add(slot_offset(tree.type, name)), "i64")
            place = self.put(f"getelementptr i8, ptr {made}, i64 {offset}")
            self.moves.append((self.built(part), place))
        return made

    def new_dict(self, tree: dict[Any, Tree]) -> str:
        """A dictionary, which takes references of its own."""
        made = self.called("PyDict_New", "")
        self.not_null(made, "failure")
        self.keep(made)
        for key, part in tree.items():
            name, found = self.word(self.record.add(id(key))), self.built(part)
            code = self.called("PyDict_SetItem", f"ptr {made}, ptr {name}, ptr {found}", "i32")
            self.demand(self.put(f"icmp eq i32 {code}, 0"), "failure")
            self.dropped.append(found)
        return made

    def text(self, arguments: int, attributes: str) -> str:
        """The module."""
        head = ["entry:",
                f"  %record.at = getelementptr i8, ptr %self, i64 {DATA}",
                "  %record = load ptr, ptr %record.at",
                *[line for name in SHARED for line in (
                    f"  %{name}.at = getelementptr i8, ptr %record, i64 {8 * FIXED.index(name)}",
                    f"  %{name} = load ptr, ptr %{name}.at")]]
        # One name for each: LLVM's quickest code generator then needs no register for its address.
        head += [f"  %number{k} = alloca i64, align 8" for k in range(self.numbers)]
        head += [f"  %made{k} = alloca ptr, align 8" for k in range(self.made)]
        head += [f"  %row = alloca [{self.row} x double], align 8"] if self.row else []
        head += [f"  store ptr null, ptr %made{k}" for k in range(self.made)]
        head += ["  %named = icmp ne ptr %names, null",
                 f"  %miscounted = icmp ne i64 %count, {arguments}",
                 "  %odd = or i1 %named, %miscounted",
                 "  br i1 %odd, label %unfit, label %begin", "begin:"]
        self.tail()
        body = "\n".join([*head, *self.lines])
        return (f"declare void @{MEMCPY}(ptr, ptr, i64, i1)\n"
                "define ptr @call(ptr %self, ptr %args, i64 %count, ptr %names) #0 "
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
