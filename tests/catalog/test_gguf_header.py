"""Headers of GGUF files: those that the `gguf` package writes are read as it wrote them; those that lie are refused in a line."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from fitcard.catalog import CatalogError
from fitcard.catalog.gguf_header import _TYPES, GgufList, read_gguf_header


def written(path: Path, tensors: int = 3, tokens: int = 5, alignment: int | None = None) -> Path:
    """A file of the `gguf` package, with metadata of every kind."""
    writer: Any = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(32)
    writer.add_name("Ein Modell ☃")
    writer.add_rope_freq_base(10000.5)
    writer.add_bool("x.bool", True)
    writer.add_int8("x.i8", -3)
    writer.add_uint64("x.u64", 2**40)
    writer.add_float64("x.f64", 0.1)
    writer.add_array("x.heads", [8, 8, 4])
    writer.add_token_list([f"token {number}" for number in range(tokens)])
    writer.add_token_scores([0.5] * tokens)
    for number in range(tensors):
        writer.add_tensor(f"blk.{number}.ffn_up.weight", np.full((3, 64), number, dtype=np.float32))
    blocks = np.arange(4 * 34, dtype=np.uint8).reshape(2, 68)
    writer.add_tensor("blk.0.attn_q.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("alignment", [None, 4096])
def test_what_the_gguf_package_wrote(alignment: int | None, tmp_path: Path) -> None:
    """Metadata and tensors are those of its own reader, the offsets too; a list of texts is its length alone."""
    path = written(tmp_path / "a.gguf", alignment=alignment)
    header = read_gguf_header(path)
    theirs: Any = gguf.GGUFReader(path)
    data = path.read_bytes()
    assert header.metadata["llama.block_count"] == 32
    assert header.metadata["general.name"] == "Ein Modell ☃"
    assert header.metadata["llama.rope.freq_base"] == 10000.5
    assert (header.metadata["x.bool"], header.metadata["x.i8"], header.metadata["x.u64"]) == (True, -3, 2**40)
    assert header.metadata["x.f64"] == 0.1
    assert header.metadata["x.heads"] == (8, 8, 4)
    assert header.metadata["tokenizer.ggml.tokens"] == GgufList("text", 5)
    assert header.metadata["tokenizer.ggml.scores"] == (0.5,) * 5
    assert header.version == 3
    assert [(t.name, t.shape, t.type, t.offset, t.bytes) for t in header.tensors] == [
        (t.name, tuple(int(n) for n in reversed(t.shape)), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in theirs.tensors
    ]
    second = header.tensors[1]
    assert np.frombuffer(data, np.float32, 192, second.offset).tolist() == [1.0] * 192


def test_tensor_types_are_those_of_the_gguf_package() -> None:
    """Numbers, names and blocks of every type that a file can hold."""
    in_memory_alone = {"Q8_1", "Q8_K"}
    theirs = {
        kind.value: (kind.name, *sizes)
        for kind, sizes in gguf.GGML_QUANT_SIZES.items()
        if kind.name not in in_memory_alone
    }
    assert theirs.items() <= _TYPES.items()


def test_a_large_header_is_read_in_no_time(tmp_path: Path) -> None:
    """1,000 tensors and 256,000 tokens take 0.15 s; the best of five, since other work may be going on."""
    path = written(tmp_path / "large.gguf", tensors=1000, tokens=256_000)
    times: list[float] = []
    for _ in range(5):
        began = time.process_time()
        header = read_gguf_header(path)
        times.append(time.process_time() - began)
    assert len(header.tensors) == 1001
    assert header.metadata["tokenizer.ggml.tokens"] == GgufList("text", 256_000)
    assert min(times) < 0.15


def text(value: str | bytes) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str | bytes, shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def file(
    entries: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), *, version: bytes = b"\3\0\0\0",
    counts: tuple[int, int] | None = None, data: int = 4096,
) -> bytes:  # fmt: skip
    count = struct.pack("<QQ", *(counts or (len(tensors), len(entries))))
    return b"GGUF" + version + count + b"".join(entries) + b"".join(tensors) + b"\0" * data


def listed(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


HOSTILE = {
    "not gguf": (b"GGML" + b"\0" * 100, "is no GGUF file"),
    "cut off at once": (b"GGUF\3", "is no GGUF file"),
    "empty": (b"", "is no GGUF file"),
    "version 1": (file(version=b"\1\0\0\0"), "is GGUF version 1, and only 2 and 3 are read"),
    "big endian": (file(version=b"\0\0\0\3"), "is big endian, which only big-endian machines run"),
    "tensors that are not there": (file(counts=(2**60, 0)), r"says that it has 1,152,921,504,606,846,976 tensors"),
    "entries that are not there": (file(counts=(0, 9999)), "says that it has 9,999 entries of metadata"),
    "more tensors than the file": (file(counts=(100, 0), data=2500), "without a printable name"),
    "a text without end": (file((entry("a", 8, struct.pack("<Q", 2**63)),)), r"has a text of 9,223,372,036,854,775,808 bytes at 'a'"),
    "a huge text": (file((entry("a", 8, struct.pack("<Q", 2 << 20)),), data=3 << 20), "has a text of 2,097,152 bytes at 'a'"),
    "a text past the end": (file((entry("a", 8, struct.pack("<Q", 5000)),)), "in the middle of its header: download the whole file"),
    "a huge key": (file((text("k" * 2000),)), "has a text of 2,000 bytes at 'a key'"),
    "a list of lists": (file((entry("a", 9, listed(9, 1, listed(4, 1, b"\0" * 4))),)), "has a list of lists at 'a'"),
    "texts that are not there": (file((entry("a", 9, listed(8, 2**62)),)), "says that it has 4,611,686,018,427,387,904 texts at 'a'"),
    "texts past the end": (file((entry("a", 9, listed(8, 3, text("x") + struct.pack("<Q", 2**62))),)), "in the middle of its header"),
    "a text in a list without end": (file((entry("a", 9, listed(8, 3, struct.pack("<Q", 2**64 - 1))),)), "in the middle of its header"),
    "numbers that are not there": (file((entry("a", 9, listed(12, 2**61)),)), "numbers at 'a'"),
    "a type of value": (file((entry("a", 13, b""),)), "has a value of type 13 at 'a': types go to 12"),
    "a type in a list": (file((entry("a", 9, listed(77, 1)),)), "has a value of type 77 at 'a'"),
    "a key twice": (file((entry("a", 4, b"\0" * 4),) * 2), "has the key 'a' twice"),
    "an escape in a key": (file((entry("a\x1b[2J", 4, b"\0" * 4),)), r"has a key without a printable name \('a\\x1b\[2J'\)"),
    "a name that is not text": (file((), (tensor(b"\xff\xfe"),)), "has a tensor that is not UTF-8 text"),
    "a name twice": (file((), (tensor("w"), tensor("w"))), "has the tensor 'w' twice"),
    "dimensions": (file((), (text("w") + struct.pack("<I", 2**31),)), "has 'w' with 2,147,483,648 dimensions"),
    "a shape": (file((), (tensor("w", (2**50, 2)),)), r"has 'w' with an impossible shape or type \(2 x 1125899906842624, type 0\)"),
    "a tensor type": (file((), (tensor("w", kind=2**31),)), "with an impossible shape or type"),
    "an offset past the end": (file((), (tensor("w", offset=2**40),)), "before the end of 'w' at"),
    "a tensor past the end": (file((), (tensor("w", (4096,)),)), "before the end of 'w' at"),
    "an odd offset": (file((), (tensor("w", offset=7),)), "has 'w' at 7, which is no multiple of 32"),
    "rows of no blocks": (file((), (tensor("w", (33, 2), kind=8),)), "with rows of 33, which Q8_0 cannot hold"),
    "an alignment of 0": (file((entry("general.alignment", 4, b"\0" * 4),)), "has a general.alignment of 0"),
    "an alignment that is text": (file((entry("general.alignment", 8, text("x")),)), "has a general.alignment of 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_lies(name: str, tmp_path: Path) -> None:
    """Each is one line, at once, and no count is believed that the file is too short for."""
    content, message = HOSTILE[name]
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    began = time.monotonic()
    with pytest.raises(CatalogError, match=rf"a\.gguf:1: .*{message}") as caught:
        read_gguf_header(path)
    assert len(str(caught.value).splitlines()) == 1
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("version", [b"\2\0\0\0", b"\3\0\0\0"])
def test_both_versions(version: bytes, tmp_path: Path) -> None:
    """Versions 2 and 3 have one layout; a type that is not known yet has a number and no size; a vocabulary alone has no tensors."""
    path = tmp_path / "a.gguf"
    path.write_bytes(file((entry("a", 4, b"\7\0\0\0"),), (tensor("w", (2, 3), kind=99),), version=version))
    header = read_gguf_header(path)
    assert header.metadata == {"a": 7}
    assert [(t.type, t.bytes, t.shape) for t in header.tensors] == [("type 99", None, (3, 2))]
    path.write_bytes(file(version=version, data=0))
    assert read_gguf_header(path).tensors == ()


def test_every_cut_is_a_sentence(tmp_path: Path) -> None:
    """Wherever a download broke off, the header says so, and never more."""
    whole = written(tmp_path / "a.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(0, len(whole) - 32, 7):  # the end is padding
        path.write_bytes(whole[:length])
        with pytest.raises(CatalogError):
            read_gguf_header(path)


def test_endless_texts_end(tmp_path: Path) -> None:
    """A sparse file of a terabyte that claims nothing but empty texts is left after the longest header that is read."""
    path = tmp_path / "a.gguf"
    path.write_bytes(file((entry("a", 9, listed(8, 20_000_000)),)))
    os.truncate(path, 1 << 40)
    began = time.process_time()
    with pytest.raises(CatalogError, match="has a header of more than 67,108,864 bytes"):
        read_gguf_header(path)
    assert time.process_time() - began < 3
