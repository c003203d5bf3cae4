"""What the checks of a whole data set remember of its records, in bounded memory; chunks are merged in input order."""

from __future__ import annotations

import base64
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.formats.detect import classify

from .suggest import suggestion

_MOST_TRIED = 3  # records for which a map is looked for, a chunk
_WRONG_MAP = ("shape.", "role.", "mapping.", "pretrain.wrong-stage")  # what a better map may fix

MOST_KEYS = 512  # of a hostile file that never repeats a key
_MOST_PLACES = 256

# rules that, when every record breaks them in one place, mean a wrong mapping
_MAPPING = frozenset(
    {"shape.missing-field", "shape.null", "answer.missing", "answer.empty", "prompt.empty", "pretrain.empty-text"}
)


class SetState:
    """What is remembered of the records of one data set. `path`: the file that the next records come from. `stage`: in
    which a map must read them, to be offered."""

    def __init__(self, path: str = "", format_id: str = "", stage: str = "sft") -> None:
        self.format_id = format_id
        self.stage = stage
        self.read = 0
        # digest, line, record, byte offset of kept ones, not yet folded into the arrays
        self.rows: list[tuple[int, int, int, int]] = []
        self._files: list[list[Any]] = [[path, 0]]  # path, records kept from it
        self._digests = array("Q")
        self._lines = array("q")
        self._records = array("q")
        self._offsets = array("q")
        self.keys: dict[str, None] = {}
        self._shapes: set[tuple[str, ...]] = set()
        self.places: Counter[tuple[str, str, str]] = Counter()  # rule, pointer, missing key
        self.guess: dict[str, str] = {}  # "hint": what reads such records
        self._tried = 0
        self.labels = [0, 0]
        self.pairs = [0, 0, 0]  # all, chosen longer, rejected longer
        self.others: dict[str, list[Any]] = {}  # format: path, line, record, how many

    # --- fed in a chunk -----------------------------------------------------------------------------------------------

    def add(self, value: object, notes: Sequence[Note], line: int, record: int) -> None:
        """Looks at a record that was read.

        Args:
            value: What was parsed; anything where it is no object.
            notes: Every note on the record.
            line: 1-based line.
            record: 0-based number.
        """
        self.read += 1
        if isinstance(value, dict):
            shape = tuple(value)
            if shape not in self._shapes:
                self._shapes.add(shape)
                if len(self._shapes) > MOST_KEYS:
                    self._shapes.clear()
                if len(self.keys) < MOST_KEYS:
                    self.keys.update(dict.fromkeys(key for key in shape if isinstance(key, str)))
        if notes:
            self._troubled(value, notes, line, record)

    def keep(self, found: Conversation, digest: int, line: int, record: int, byte_offset: int = -1) -> None:
        """Remembers a record that was kept.

        Args:
            found: Its conversation.
            digest: `RecordValidator.digest` of it, 64 bits.
            line: 1-based line.
            record: 0-based number.
            byte_offset: Where its bytes start in the file, -1 where that is unknown.
        """
        self.rows.append((digest, line, record, byte_offset))
        if found.label is not None:
            self.labels[found.label] += 1
        elif found.chosen is not None and found.rejected is not None:
            longer = len(found.chosen.content) - len(found.rejected.content)
            self.pairs[0] += 1
            if longer:
                self.pairs[1 if longer > 0 else 2] += 1

    def passed_fast(self, count: int, keys: Sequence[str]) -> None:
        """Remembers that `count` plain records of these keys were read without `add`. Their `rows` were appended."""
        self.read += count
        if self._shapes.isdisjoint([tuple(keys)]):
            self._shapes.add(tuple(keys))
            self.keys.update(dict.fromkeys(keys))

    def _troubled(self, value: object, notes: Sequence[Note], line: int, record: int) -> None:
        structural = [note for note in notes if note.rule in _MAPPING]
        if structural and len(self.places) < _MOST_PLACES:
            self.places.update({(note.rule, note.pointer, _missing_key(note)) for note in structural})
        told = structural or notes[-1].rule.startswith(_WRONG_MAP)
        if told and "hint" not in self.guess and self._tried < _MOST_TRIED:
            self._tried += 1
            hint = suggestion(value, self.stage)
            self.guess = {"hint": hint} if hint else {}
        guess = classify(value) if told else None
        if guess is None:
            return
        lacking = any(note.rule == "shape.missing-field" for note in structural)
        if guess.complete and lacking and guess.format.split("-")[0] != self.format_id.split("-")[0]:
            entry = self.others.setdefault(guess.format, [self._files[-1][0], line, record, 0])
            entry[3] += 1

    def fold(self) -> SetState:
        """Puts the rows into the arrays; returns this state. Everything that reads them calls it."""
        if self.rows:
            digests, lines, records, offsets = zip(*self.rows, strict=True)
            self._digests.extend(digests)
            self._lines.extend(lines)
            self._records.extend(records)
            self._offsets.extend(offsets)
            self._files[-1][1] += len(self.rows)
            self.rows = []
        return self

    @property
    def kept(self) -> int:
        """Records that were kept."""
        return len(self._digests) + len(self.rows)

    @property
    def files(self) -> list[list[Any]]:
        """[path, records kept from it], in the order of the input."""
        return self.fold()._files

    # --- carried and merged -------------------------------------------------------------------------------------------

    def hashes(self) -> array[int]:
        """The digests of the kept records, in order: 64 bits each."""
        return self.fold()._digests

    def merge(self, other: SetState) -> SetState:
        """Adds what came after this one; returns this one."""
        self.fold()
        self.read += other.read
        for path, count in other.files:
            if self._files[-1][0] == path:
                self._files[-1][1] += count
            else:
                self._files.append([path, count])
        self._digests.extend(other._digests)
        self._lines.extend(other._lines)
        self._records.extend(other._records)
        self._offsets.extend(other._offsets)
        for key in other.keys:
            if len(self.keys) < MOST_KEYS:
                self.keys[key] = None
        self.places.update(other.places)
        self.guess = self.guess or other.guess
        self.labels = [mine + theirs for mine, theirs in zip(self.labels, other.labels, strict=True)]
        self.pairs = [mine + theirs for mine, theirs in zip(self.pairs, other.pairs, strict=True)]
        for name, (path, line, record, count) in other.others.items():
            entry = self.others.setdefault(name, [path, line, record, 0])
            entry[3] += count
        return self

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON; `from_dict` reads it."""
        return {
            "format": self.format_id,
            "read": self.read,
            "files": self.files,
            "digests": base64.b64encode(self.hashes().tobytes()).decode(),
            "lines": base64.b64encode(self._lines.tobytes()).decode(),
            "records": base64.b64encode(self._records.tobytes()).decode(),
            "offsets": base64.b64encode(self._offsets.tobytes()).decode(),
            "keys": list(self.keys),
            "places": [[*place, count] for place, count in sorted(self.places.items())],
            "guess": self.guess,
            "labels": self.labels,
            "pairs": self.pairs,
            "others": self.others,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], path: str | None = None) -> SetState:
        """A state from `as_dict`. `path`: the file that its records are in now, when that is another one."""
        state = cls("", raw["format"])
        state.read = raw["read"]
        state._files = [[path if path is not None else old, count] for old, count in raw["files"]]
        state._digests.frombytes(base64.b64decode(raw["digests"]))
        state._lines.frombytes(base64.b64decode(raw["lines"]))
        state._records.frombytes(base64.b64decode(raw["records"]))
        state._offsets.frombytes(base64.b64decode(raw["offsets"]))
        state.keys = dict.fromkeys(raw["keys"])
        state.places = Counter({(rule, at, key): count for rule, at, key, count in raw["places"]})
        state.guess = dict(raw["guess"])
        state.labels, state.pairs = list(raw["labels"]), list(raw["pairs"])
        state.others = {
            name: [path if path is not None else entry[0], *entry[1:]] for name, entry in raw["others"].items()
        }
        return state

    def places_of_kept(self) -> Iterator[tuple[str, int, int]]:
        """(path, line, record) of each kept record, in order."""
        at = 0
        for path, count in self.files:
            for position in range(at, at + count):
                yield path, self._lines[position], self._records[position]
            at += count

    def place(self, position: int) -> tuple[str, int, int, int]:
        """(path, line, record, byte offset) of one kept record."""
        at = position
        for path, count in self.files:
            if at < count:
                return path, self._lines[position], self._records[position], self._offsets[position]
            at -= count
        raise IndexError(position)


def _missing_key(note: Note) -> str:
    parts = note.message.split('"')
    return parts[1] if note.rule == "shape.missing-field" and len(parts) > 2 else ""
