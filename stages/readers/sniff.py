"""What a file holds, from its first bytes: the content decides, the name only where text says nothing.

magic number   Parquet, Arrow, compressed, or something that is no text at all
"["            a JSON array (or, when the next line starts another one, a line a record)
"{"            JSON lines, or objects spread over several lines
otherwise      .csv, .tsv and .txt by name; everything else is taken as JSON lines, and each line says what it lacks
"""

from __future__ import annotations

import os
import re
from typing import Literal, NamedTuple

import orjson

from stages.core.findings import Note
from stages.parse.text_encoding import wide_encoding

from .decompress import ENDINGS

Container = Literal["jsonl", "array", "object", "csv", "tsv", "txt", "parquet", "arrow", "arrow-stream", ""]
BOM = b"\xef\xbb\xbf"

# endings of data files, without compression
FORMATS = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "txt",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (or an Excel, Word or PyTorch file)", "unpack it, and name the file inside"),
    (b"\x04\x22\x4d\x18", "lz4-compressed", "lz4 is not read; unpack it, or use .zst"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it, and name the file inside"),
    (b"Rar!", "a RAR archive", "unpack it, and name the file inside"),
    (b"SQLite format 3\0", "an SQLite database", "export its rows as JSON lines"),
    (b"\x89HDF", "an HDF5 file", "export its rows as JSON lines"),
    (b"\x93NUMPY", "a NumPy array", "export its rows as JSON lines"),
    (b"%PDF", "a PDF", ""),
    (b"\x7fELF", "a program", ""),
    (b"\x89PNG", "an image", ""),
    (b"\xff\xd8\xff", "an image", ""),
    (b"ORC", "an ORC file", "export it as Parquet"),
    (b"Obj\x01", "an Avro file", "export it as JSON lines"),
    (
        b"version https://git-lfs.github.com/spec",
        "a git-lfs pointer; the data itself was never fetched",
        "git lfs pull",
    ),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05](\x95|[\]})(}\x8c(c])")
_PAST_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Sniffed(NamedTuple):
    """What the first bytes say. note: why the file cannot be read, or what is odd about it."""

    container: Container
    note: Note | None = None


def ending(path: str) -> tuple[str, str]:
    """(format, compression) that the name promises, "" for none: "a.jsonl.gz" -> ("jsonl", "gz"). Case is ignored."""
    root, last = os.path.splitext(path.lower())
    packed = ENDINGS.get(last, "")
    if packed:
        last = os.path.splitext(root)[1]
    return FORMATS.get(last, ""), packed


def binary(head: bytes) -> Sniffed | None:
    """A container known by magic number, a file that is no text, or None."""
    if head.startswith(b"PAR1"):
        return Sniffed("parquet")
    if head.startswith(b"ARROW1\0\0"):
        return Sniffed("arrow")
    if head.startswith(b"\xff\xff\xff\xff") and len(head) > 8 and head[4:8] != b"\xff\xff\xff\xff":
        return Sniffed("arrow-stream")
    if encoding := wide_encoding(head):
        hint = f"iconv -f {encoding} -t UTF-8 OLD > NEW"
        return Sniffed("", Note("bytes.utf16", "", f"the file is in {encoding}, not UTF-8", hint=hint))
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            return Sniffed("", Note("bytes.not-text", "", f"the file is {what}", hint=hint))
    if _PICKLE.match(head):
        what = "the file looks like a Python pickle, which is never opened: opening one runs whatever code it holds"
        return Sniffed("", Note("bytes.not-text", "", what, hint="write the records as JSON lines"))
    if head[257:262] == b"ustar":
        return Sniffed(
            "", Note("bytes.not-text", "", "the file is a tar archive", hint="unpack it, and name the file inside")
        )
    return None


def text(head: bytes, path: str) -> Sniffed:
    """The container of text whose first bytes (mark stripped) are `head`."""
    promised, _ = ending(path)
    body = head.lstrip()
    if body[:1] == b"[":
        container: Container = "jsonl" if promised not in ("csv", "tsv", "txt") and _line_arrays(body) else "array"
        if promised == "jsonl" and container == "array":
            return Sniffed(container, Note("json.array-in-jsonl", "", "the file is one JSON array, not JSON lines"))
    elif body[:1] == b"{":
        container = "object" if _spread(body) else "jsonl"
    else:
        container = {"csv": "csv", "tsv": "tsv", "txt": "txt"}.get(promised, "jsonl")  # type: ignore[assignment]
        return Sniffed(container)
    if promised == "txt" or (promised in ("csv", "tsv") and not _an_object(body)):
        return Sniffed(promised)  # type: ignore[arg-type]  # plain text may start with a bracket
    if promised in ("csv", "tsv", "parquet", "arrow"):
        return Sniffed(container, Note("bytes.extension", "", f"named .{promised}, but it holds JSON"))
    return Sniffed(container)


def _first_line(body: bytes) -> tuple[bytes, bytes]:
    line, _, rest = body.partition(b"\n")
    return line.strip(), rest.lstrip()


def _whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _an_object(body: bytes) -> bool:
    return _whole(_first_line(body)[0]) or _spread(body)


def _line_arrays(body: bytes) -> bool:
    line, rest = _first_line(body)
    return rest[:1] == b"[" and _whole(line)


def _spread(body: bytes) -> bool:
    """Whether the object that `body` starts with goes on after its first line: the line ends between two tokens, inside
    a bracket, and the next line goes on as JSON must. A line that was cut ends inside a text nearly always."""
    line, rest = _first_line(body)
    if not rest or _whole(line):
        return False
    bare = _PAST_STRINGS.sub(b"", line)
    if b'"' in bare:
        return False
    open_brackets: list[int] = []
    for byte in bare:
        if byte in b"{[":
            open_brackets.append(byte)
        elif byte in b"}]" and open_brackets:
            open_brackets.pop()
    if not open_brackets:
        return False
    last, follows = line[-1:], rest[:1]
    if last == b"{":
        return follows in (b'"', b"}")
    if last == b"," and open_brackets[-1:] == [ord("{")]:
        return follows == b'"'
    if last in (b"[", b":", b","):
        # after these a value may follow, and the next record of a file whose first line was cut would look like one
        return _first_key(rest) != _first_key(line) or not _whole(_first_line(rest)[0])
    return follows in (b",", b"}", b"]")


def _first_key(body: bytes) -> bytes:
    found = re.match(rb'\{\s*("(?:[^"\\]|\\.)*")', body)
    return found.group(1) if found else b""
