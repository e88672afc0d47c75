"""The header of a GGUF file: its metadata and its table of tensors, without reading a weight.

The layout is that of docs/gguf.md in ggml-org/ggml at 9d325133eed3, versions 2 and 3, little endian:

    "GGUF", version (u32), tensors (u64), entries (u64)
    each entry:  key (text), type of the value (u32), value
    each tensor: name (text), dimensions (u32), sizes (u64 each, rows first), type (u32), offset (u64)
    the tensors' data, from the next multiple of `general.alignment`

A text is its length in bytes (u64) and UTF-8. A list is the type of its values (u32), their number (u64), and the values.
Nothing that the file says of itself is believed before it is held to the file's size.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fitcard.catalog.errors import shorten
from fitcard.catalog.reader import opened, refuse

MAX_HEADER_BYTES = 64 << 20
"""The longest header that is read; one with 256,000 tokens and their merges has some 15 MB."""
MAX_TENSORS = 200_000
"""Tensors of one file: the largest models have some 2,000, and 256 experts written one by one 60,000."""
MAX_ENTRIES = 10_000
"""Entries of metadata; some 40 are usual."""
MAX_TEXT_BYTES = 1 << 20
"""The longest text among the metadata: templates of chats have up to 20 kB."""
MAX_LIST = 4096
"""Numbers of a list that are returned; of a longer one, and of one of texts, only its length. Lists a layer are shorter."""
MAX_DIMENSIONS = 4
ALIGNMENT = 32
"""Where the file states none."""

_FIRST_READ = 1 << 20
_NAMES = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "text", "list", "u64", "i64", "f64")
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""ggml's number of each tensor type: its name, and how many elements a block has in how many bytes (ggml_type in ggml.h).

Without Q8_1 and Q8_K, which stand in memory alone."""


@dataclass(frozen=True)
class GgufList:
    """A list that was passed over."""

    type: str
    length: int


GgufValue = bool | int | float | str | tuple[bool | int | float, ...] | GgufList


@dataclass(frozen=True)
class GgufTensor:
    """One tensor, where the table says that it is."""

    name: str
    shape: tuple[int, ...]
    """As numpy and torch have it: rows are the last dimension, which the file has first."""
    type: str
    """ggml's name of its type; `type 99` for one that is not known here."""
    offset: int
    """Bytes from the beginning of the file."""
    bytes: int | None
    """None for a type that is not known here."""


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the weights."""

    version: int
    metadata: dict[str, GgufValue]
    tensors: tuple[GgufTensor, ...]
    data_offset: int
    file_bytes: int


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of the GGUF file at `path`. Raises CatalogError, in one line, for what is no such file or contradicts itself."""
    with opened(path) as (file, size):
        return _Reader(path, file, size).header()


class _Reader:
    """A place in the header. More of the file is read as it is needed."""

    def __init__(self, path: Path, file: int, size: int) -> None:
        self.path, self.file, self.size = path, file, size
        self.buffer, self.at = b"", 0

    def header(self) -> GgufHeader:
        if self.size < 24 or self.take(4) != b"GGUF":
            self.refuse("is no GGUF file: it does not begin with GGUF and its counts")
        version = self.u32()
        if version not in (2, 3):
            if int.from_bytes(version.to_bytes(4, "little"), "big") in (1, 2, 3):
                self.refuse("is big endian, which only big-endian machines run: take the file for x86 and Arm")
            self.refuse(f"is GGUF version {version}, and only 2 and 3 are read: convert the model again")
        tensors, entries = self.u64(), self.u64()
        self.plausible("tensors", tensors, 24, MAX_TENSORS)  # the fewest bytes of one
        self.plausible("entries of metadata", entries, 13, MAX_ENTRIES)
        metadata: dict[str, GgufValue] = {}
        for _ in range(entries):
            key = self.name("a key")
            if key in metadata:
                self.refuse(f"has the key {shorten(key)} twice")
            metadata[key] = self.value(key, self.u32())
        table = [self.tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if (
            isinstance(alignment, bool)
            or not isinstance(alignment, int)
            or alignment < 8
            or alignment & (alignment - 1)
        ):
            self.refuse(f"has a general.alignment of {shorten(alignment)}, which is no power of two from 8 on")
        begin = -(-self.at // alignment) * alignment
        return GgufHeader(version, metadata, self.placed(table, begin, alignment), begin, self.size)

    def placed(
        self, table: list[tuple[str, tuple[int, ...], int, int]], begin: int, alignment: int
    ) -> tuple[GgufTensor, ...]:
        """The tensors, each held to the end of the file."""
        tensors: dict[str, GgufTensor] = {}
        for name, shape, kind, offset in table:
            if name in tensors:
                self.refuse(f"has the tensor {shorten(name)} twice")
            if offset % alignment:
                self.refuse(f"has {shorten(name)} at {offset:,}, which is no multiple of {alignment}")
            elements = 1
            for row in shape:
                elements *= row
            type_name, block, block_bytes = _TYPES.get(kind, (f"type {kind}", 0, 0))
            if block and shape and shape[-1] % block:
                self.refuse(
                    f"has {shorten(name)} with rows of {shape[-1]:,}, which {type_name} cannot hold (blocks of {block})"
                )
            size = elements // block * block_bytes if block else None
            if begin + offset + (size or 0) > self.size:
                self.refuse(
                    f"ends at byte {self.size:,}, before the end of {shorten(name)} at {begin + offset + (size or 0):,}: "
                    "download the whole file"
                )
            tensors[name] = GgufTensor(name, shape, type_name, begin + offset, size)
        return tuple(tensors.values())

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, number of the type and offset of the next tensor."""
        name, count = self.name("a tensor"), self.u32()
        if count > MAX_DIMENSIONS:
            self.refuse(f"has {shorten(name)} with {count:,} dimensions: there are at most {MAX_DIMENSIONS}")
        shape = tuple(self.u64() for _ in range(count))[::-1]
        kind, offset = self.u32(), self.u64()
        if any(length >= 2**48 for length in shape) or kind >= 1000:
            self.refuse(
                f"has {shorten(name)} with an impossible shape or type ({' x '.join(map(str, shape))}, type {kind})"
            )
        return name, shape, kind, offset

    def value(self, key: str, kind: int) -> GgufValue:
        if kind == _TEXT:
            return self.take(self.length(key, MAX_TEXT_BYTES)).decode("utf-8", "replace")
        if kind == _LIST:
            return self.list(key)
        return self.numbers(key, kind, 1)[0]

    def list(self, key: str) -> GgufValue:
        kind, count = self.u32(), self.u64()
        if kind == _LIST:
            self.refuse(f"has a list of lists at {shorten(key)}, which no program writes or reads")
        if kind == _TEXT:
            self.plausible(f"texts at {shorten(key)}", count, 8, MAX_HEADER_BYTES)
            self.skip_texts(count)
            return GgufList(_NAMES[kind], count)
        width = struct.calcsize(self.format(key, kind))
        self.plausible(f"numbers at {shorten(key)}", count, width, MAX_HEADER_BYTES)
        if count > MAX_LIST:
            self.skip(count * width)
            return GgufList(_NAMES[kind], count)
        return self.numbers(key, kind, count)

    def format(self, key: str, kind: int) -> str:
        if kind not in _FORMATS:
            self.refuse(f"has a value of type {kind} at {shorten(key)}: types go to {len(_NAMES) - 1}")
        return _FORMATS[kind]

    def numbers(self, key: str, kind: int, count: int) -> tuple[bool | int | float, ...]:
        values = struct.Struct(f"<{count}{self.format(key, kind)}")
        return values.unpack(self.take(values.size))

    def name(self, what: str) -> str:
        """A key, or the name of a tensor."""
        text = self.take(self.length(what, 1024))
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"has {what} that is not UTF-8 text ({shorten(text)})")
        if not name.isprintable() or not name:
            self.refuse(f"has {what} without a printable name ({shorten(name)})")
        return name

    def length(self, what: str, most: int) -> int:
        length = self.u64()
        if length > most:
            self.refuse(f"has a text of {length:,} bytes at {shorten(what)}: at most {most:,} are read")
        return length

    def skip_texts(self, count: int) -> None:
        """Pass over texts. This loop is most of the time of a header, so it keeps its place in local names."""
        unpack, buffer, at = _U64.unpack_from, self.buffer, self.at
        while count:
            try:
                while count:
                    at += 8 + unpack(buffer, at)[0]
                    count -= 1
            except (struct.error, OverflowError):  # the end of what was read so far, or no place in any file
                self.at = at
                self.need(8)
                buffer = self.buffer
        self.at = at
        self.need(0)

    def skip(self, count: int) -> None:
        self.at += count
        self.need(0)

    def take(self, count: int) -> bytes:
        self.need(count)
        part = self.buffer[self.at : self.at + count]
        self.at += count
        return part

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def need(self, count: int) -> None:
        """Have `count` bytes from here in the buffer. Refuses a header that the file is too short for, or that is too long."""
        end = self.at + count
        if end <= len(self.buffer):
            return
        if end > self.size:
            self.refuse(f"ends at byte {self.size:,}, in the middle of its header: download the whole file")
        if end > MAX_HEADER_BYTES:
            self.refuse(f"has a header of more than {MAX_HEADER_BYTES:,} bytes")
        parts, there = [self.buffer], len(self.buffer)
        goal = min(max(end, 4 * there, _FIRST_READ), self.size, MAX_HEADER_BYTES)
        while there < goal and (part := os.read(self.file, goal - there)):
            parts.append(part)
            there += len(part)
        self.buffer = b"".join(parts)
        if there < end:
            self.refuse("became shorter while it was read: read it again")

    def plausible(self, what: str, count: int, each: int, most: int) -> None:
        """Refuse a count that is over the limit, or that the file is too short for."""
        if count > most or count * each > self.size:
            self.refuse(f"says that it has {count:,} {what}, and has {self.size:,} bytes: it is damaged")

    def refuse(self, message: str) -> NoReturn:
        refuse(self.path, 1, message)
