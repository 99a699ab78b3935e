"""A pickle's instructions, gone through before any of them is followed.

An unpickler obeys its file, in C and without limits: it hashes a key however deep it is, reserves the memory
that a length claims, copies what a call is given as often as it is called, and adds to an object whatever that
object takes for an addition. Here the stack is followed without its values. What a tensor file needs of a pickle
passes; what costs more than the file's own size warrants, or does to a tensor what no checkpoint does, is refused.
"""

from __future__ import annotations

import gc
import pickle
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_DEEPEST = 250  # containers in one another; OmegaConf's, the deepest known, need a few for each level of theirs
_LARGEST_KEY = 10_000  # values in a key of a dict or a member of a set
_MOST_STEPS = 24_000_000  # each of VQAv2's 444,000 vectors needs 28
_BYTES_A_STEP = 400  # so that what may take little memory takes little time
_MOST_COPIED = 1 << 26  # values, or units of 64 bytes of text, that calls are given, and keys hold
_LONGEST_NAME = 255

_PLAIN, _LIST, _DICT, _SET, _OBJECT, _TENSOR, _NAME = range(7)


class Excessive(pickle.UnpicklingError):
    """The pickle asks for more than a checkpoint does."""


class _Made:
    """What is known of a value: how many containers deep, how many values with all inside it."""

    __slots__ = ("depth", "kind", "text", "weight")

    def __init__(self, kind: int = _PLAIN, depth: int = 0, weight: int = 1, text: str = "") -> None:
        self.kind, self.depth, self.weight, self.text = kind, depth, weight, text


_LEAF = _Made()
_FEW = 16
_FLAT = [_Made(depth=1 if count else 0, weight=count + 1) for count in range(_FEW)]  # tuples of leaves
_TOO_DEEP = f"values more than {_DEEPEST} deep in one another"
# Constants and numbers: how many bytes follow the instruction.
_FIXED = {b"N": 0, b"\x88": 0, b"\x89": 0, b"K": 1, b"M": 2, b"J": 4, b"G": 8}
# What has a length before it: how many bytes the length takes, and bytes or text?
_COUNTED = {
    b"\x8c": (1, True), b"X": (4, True), b"\x8d": (8, True), b"U": (1, True), b"T": (4, True),
    b"C": (1, False), b"B": (4, False), b"\x8e": (8, False), b"\x96": (8, False),
}  # fmt: skip
_EMPTY = {b"]": (_LIST, 56), b"}": (_DICT, 64), b"\x8f": (_SET, 216), b")": (_PLAIN, 0)}  # kind, bytes
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_PUTS = {b"q": 1, b"r": 4}
_GETS = {b"h": 1, b"j": 4}
_OF_TORCH = ("torch.Size", "torch.device", "torch.nn.", "torch.optim.", "torch.serialization.", "torch.storage.")


def _by_code(table: dict[bytes, int]) -> list[int]:
    return [table.get(bytes([code]), -1) for code in range(256)]


_FIXED_BY, _PUTS_BY, _GETS_BY, _TUPLES_BY = map(_by_code, (_FIXED, _PUTS, _GETS, _TUPLES))
_COUNTED_BY = {code[0]: how for code, how in _COUNTED.items()}
_EMPTY_BY = {code[0]: how for code, how in _EMPTY.items()}


class _Walk:
    def __init__(self, content: bytes, most: int) -> None:
        self.content, self.left = content, most
        self.copied = 0
        self.names_on_stack = b"\x93" in content
        self.stack: list[_Made] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Made] = {}

    def take(self, size: int) -> None:
        """``size`` bytes of memory."""
        self.left -= size
        if self.left < 0:
            raise Excessive("more objects than a checkpoint has")

    def copy(self, made: _Made) -> None:
        """A call may copy what it is given, a key is hashed each time."""
        self.copied += made.weight
        if self.copied > _MOST_COPIED:
            raise Excessive("values that are used more often than a checkpoint does")

    def key(self, made: _Made) -> None:
        if made.weight > _LARGEST_KEY:
            raise Excessive("a key of more values than a key has")
        self.copy(made)

    def join(self, into: _Made, parts: list[_Made]) -> None:
        """``parts`` become part of a container."""
        depth, weight = into.depth, into.weight
        for part in parts:
            depth, weight = max(depth, part.depth + 1), weight + part.weight
        if depth > _DEEPEST:
            raise Excessive(_TOO_DEEP)
        into.depth, into.weight = depth, min(weight, 1 << 40)

    def tuple(self, parts: list[_Made]) -> None:
        count = len(parts)
        self.take(64 + 8 * count)
        if count < _FEW and all(part is _LEAF for part in parts):
            self.stack.append(_FLAT[count])
            return
        made = _Made()
        self.join(made, parts)
        self.stack.append(made)

    def above_mark(self) -> list[_Made]:
        start = self.marks.pop()
        parts = self.stack[start:]
        del self.stack[start:]
        return parts

    def top(self, *kinds: int) -> _Made:
        """What is added to: an object takes additions in its own way, a tensor computes with them."""
        made = self.stack[-1]
        if made.kind not in kinds:
            raise Excessive("an addition to a value that takes none")
        return made

    def call(self, function: _Made, arguments: _Made) -> None:
        if arguments.depth >= _DEEPEST:
            raise Excessive(_TOO_DEEP)
        self.copy(arguments)
        self.take(400 + 64 * arguments.weight)
        if function.kind == _TENSOR:
            raise Excessive("a call of a tensor")
        name = function.text if function.kind == _NAME else ""
        kind = _TENSOR if name.startswith("torch") and not name.startswith(_OF_TORCH) else _OBJECT
        self.stack.append(_Made(kind, arguments.depth + 1, arguments.weight + 1))

    def joined(self, parts: list[_Made]) -> _Made:
        made = _Made()
        self.join(made, parts)
        return made

    def name(self, module: str, name: str) -> None:
        if len(module) > _LONGEST_NAME or len(name) > _LONGEST_NAME:
            raise Excessive("a name longer than names are")
        self.stack.append(_Made(_NAME, text=f"{module}.{name}"))

    def counted(self, at: int, width: int, is_text: bool) -> int:
        """Bytes or text at ``at``, its length first; where the next instruction is."""
        start = at + width
        length = int.from_bytes(self.content[at:start], "little")
        if start + length > len(self.content):
            raise Excessive("a length beyond the end")
        self.take(64 + length)
        short = length <= _LONGEST_NAME
        if short and not (is_text and self.names_on_stack):
            self.stack.append(_LEAF)
            return start + length
        text = self.content[start : start + length].decode("utf-8", "replace") if short else ""
        self.stack.append(_Made(weight=1 + length // 64, text=text))
        return start + length

    def global_name(self, at: int) -> int:
        parts = []
        for _ in range(2):
            end = self.content.find(b"\n", at, at + _LONGEST_NAME + 1)
            if end < 0:
                raise Excessive("a name longer than names are")
            parts.append(self.content[at:end].decode("utf-8"))
            at = end + 1
        self.name(*parts)
        return at


def walk(content: bytes, most: int) -> int:
    """How many instructions the pickle has. ``pickle.UnpicklingError``: it is damaged or excessive.

    most: bytes of memory, roughly, that its values may take.
    """
    steps, end = walk_first(content, most)
    if end != len(content):
        raise pickle.UnpicklingError("something stands after its end")
    return steps


def walk_first(content: bytes, most: int) -> tuple[int, int]:
    """(instructions, bytes) of the pickle that ``content`` begins with."""
    try:
        with uncollected():
            return _walk(content, most)
    except (IndexError, struct.error):
        raise pickle.UnpicklingError("pickle data was truncated or lacks a value") from None


@contextmanager
def uncollected() -> Iterator[None]:
    """Millions of values are made that do not refer to themselves: looking for such takes longer than the rest."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _walk(content: bytes, most: int) -> tuple[int, int]:
    state = _Walk(content, most)
    stack, marks, memo = state.stack, state.marks, state.memo
    at, steps, most_steps = 0, 0, min(_MOST_STEPS, most // _BYTES_A_STEP)
    while True:
        code = content[at]
        at += 1
        steps += 1
        if steps > most_steps:
            raise Excessive("more instructions than a checkpoint has")
        if (follow := _GETS_BY[code]) >= 0:
            index = int.from_bytes(content[at : at + follow], "little")
            if index not in memo:
                raise pickle.UnpicklingError("a value that was not kept")
            stack.append(memo[index])
            at += follow
        elif (follow := _FIXED_BY[code]) >= 0:
            stack.append(_LEAF)
            at += follow
        elif (follow := _PUTS_BY[code]) >= 0:
            index = int.from_bytes(content[at : at + follow], "little")
            if index > at:  # the unpickler's memo is an array as long as its highest index
                raise Excessive(f"memo index {index}")
            memo[index] = stack[-1]
            at += follow
        elif code == 0x94:  # MEMOIZE
            memo[len(memo)] = stack[-1]
        elif code == 0x28:  # MARK
            marks.append(len(stack))
        elif code in _COUNTED_BY:
            at = state.counted(at, *_COUNTED_BY[code])
        elif (count := _TUPLES_BY[code]) >= 0:
            if len(stack) < count:
                raise IndexError
            parts = stack[-count:]
            del stack[-count:]
            state.tuple(parts)
        elif code == 0x74:  # TUPLE
            state.tuple(state.above_mark())
        elif code in _EMPTY_BY:
            kind, size = _EMPTY_BY[code]
            state.take(size)
            stack.append(_Made(kind, 1 if size else 0))
        elif code == 0x52:  # REDUCE
            arguments = stack.pop()
            state.call(stack.pop(), arguments)
        elif code == 0x51:  # BINPERSID
            state.copy(stack.pop())
            stack.append(_Made(_TENSOR))
        elif code in (0x73, 0x75):  # SETITEM, SETITEMS
            parts = state.above_mark() if code == 0x75 else [stack.pop(), stack.pop()][::-1]
            into = state.top(_DICT, _OBJECT)
            for key in parts[::2]:
                state.key(key)
            state.join(into, parts)
            state.take(50 * len(parts))
        elif code in (0x61, 0x65):  # APPEND, APPENDS
            parts = state.above_mark() if code == 0x65 else [stack.pop()]
            state.join(state.top(_LIST, _OBJECT), parts)
            state.take(9 * len(parts))
        elif code in (0x90, 0x91):  # ADDITEMS, FROZENSET
            parts = state.above_mark()
            for part in parts:
                state.key(part)
            into = _Made() if code == 0x91 else state.top(_SET, _OBJECT)
            state.join(into, parts)
            state.take(216 + 50 * len(parts))
            if code == 0x91:
                stack.append(into)
        elif code == 0x63:  # GLOBAL
            at = state.global_name(at)
        elif code == 0x93:  # STACK_GLOBAL
            name, module = stack.pop(), stack.pop()
            state.name(module.text, name.text)
        elif code in (0x81, 0x92):  # NEWOBJ, NEWOBJ_EX
            given = [stack.pop() for _ in range(1 if code == 0x81 else 2)]
            state.call(stack.pop(), state.joined(given))
        elif code == 0x6F:  # OBJ, of Python 2's older classes
            parts = state.above_mark()
            state.call(parts[0], state.joined(parts[1:]))
        elif code == 0x62:  # BUILD
            given = [stack.pop()]
            state.top(_OBJECT)
            state.copy(given[0])
        elif code in (0x8A, 0x8B):  # LONG1, LONG4
            width = 1 if code == 0x8A else 4
            length = int.from_bytes(content[at : at + width], "little", signed=width == 4)
            at += width + length
            if length < 0 or at > len(content):
                raise Excessive("a number beyond the end")
            state.take(32 + length)
            # Each time it is hashed it is gone through, and numbers far apart can have one hash: no key of ours.
            stack.append(_LEAF if length <= 8 else _Made(weight=2 * _LARGEST_KEY))
        elif code == 0x80:  # PROTO
            at += 1
        elif code == 0x95:  # FRAME
            at += 8
            if int.from_bytes(content[at - 8 : at], "little") > len(content) - at:
                raise Excessive("a length beyond the end")
        elif code == 0x30:  # POP: a mark, if that is on top
            if marks and marks[-1] == len(stack):
                marks.pop()
            else:
                stack.pop()
        elif code == 0x31:  # POP_MARK
            state.above_mark()
        elif code == 0x2E:  # STOP
            return steps, at
        else:
            raise pickle.UnpicklingError(f"instruction {code:#04x}, which torch.save never writes")


def require_bounded(value: object, most: int) -> None:
    """Raise :class:`Excessive` unless all that reading ``value`` from end to end meets is at most ``most`` values:
    a list within itself, or one that many lists share, has no end, or none in sight."""
    waiting = [(value, 0)]
    met = 0
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict):
            inside = [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            inside = list(one)
        else:
            continue
        met += len(inside)
        if met > most or depth > _DEEPEST:
            raise Excessive("values within values, without an end in sight")
        waiting += [(part, depth + 1) for part in inside]
