"""The check of one chunk of bytes: the same function in every engine. It knows neither tokenizer nor array.

bytes -> records -> parse -> validate -> Conversation -> (rendered by the encode job) -> kept, or rejected
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Iterator
from typing import cast

import orjson

from stages.core.collector import Tally
from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.core.records import Chunk
from stages.core.segments import Kept, Render, RenderPlain
from stages.formats.tool_calls import USUAL_WORDS, CallWords
from stages.parse.json_record import UNPARSED, parse
from stages.readers.scan import load
from stages.readers.scan import records as read_records
from stages.validate.dataset_state import SetState
from stages.validate.record import RecordValidator

from .specs import BatchSpec, ChunkResult, Task


class Checker:
    """What a worker builds once: the compiled checks of each source.

    words: what a template writes around calls and thoughts, and what a record's tools may be.
    """

    def __init__(self, spec: BatchSpec, words: CallWords = USUAL_WORDS) -> None:
        self.spec = spec
        self._words = words
        self._validators: dict[int, RecordValidator] = {}

    def validator(self, source: int) -> RecordValidator:
        """The compiled checks of one source."""
        if source not in self._validators:
            spec = self.spec.sources[source]
            self._validators[source] = RecordValidator(
                spec.format, spec.fields, self.spec.stage, self.spec.policy, self.spec.control, self._words
            )
        return self._validators[source]


def prepare(spec: BatchSpec) -> Checker:
    """The engine's `prepare`."""
    return Checker(spec)


def run(checker: Checker, task: Task) -> ChunkResult:
    """The engine's `run`: every record of a chunk, read and checked."""
    with uncollected():
        chunk = task.chunk._replace(data=load(task.chunk))
        tally, _, setstate = check_records(checker, task, chunk)
        return ChunkResult.of(task, tally, setstate, len(chunk.data or b""))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: a chunk makes a million small objects and no cycles, and looking for some costs a
    tenth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def check_records(
    checker: Checker, task: Task, chunk: Chunk, render: Render | None = None, plain: RenderPlain | None = None
) -> tuple[Tally, list[Kept], SetState]:
    """Reads, parses and checks a chunk's records.

    Args:
        checker: The checks of every data set.
        task: Which source the records are of, and how many of them are taken.
        chunk: The chunk with its bytes.
        render: May add a note on what the template refuses.
        plain: Renders a record that the fast path proves clean; without it, `render` takes every record.

    Returns:
        The tally, the kept records that were rendered (none without `render`), and the set-level state.
    """
    tally = Tally(task.path, checker.spec.policy)
    validator = checker.validator(task.source)
    check = validator.check
    setstate = SetState(task.path, checker.spec.sources[task.source].format, checker.spec.stage)
    look, keep, keep_row = setstate.add, setstate.keep, setstate.rows.append
    decode = orjson.loads
    fast_path = validator.fast_path if render is None or plain is not None else None
    passed_fast = 0
    kept: list[Kept] = []
    listed = read_records(chunk, checker.spec.limits, checker.spec.sources[task.source].fields)
    if task.wanted >= 0:
        listed = itertools.islice(listed, task.wanted)
    for record in listed:
        tally.read += 1
        data, line, number, offset, marks = record
        value: object = UNPARSED
        if fast_path is not None and not marks:
            try:
                value = decode(data)
            except ValueError:
                pass  # reported by `parse` below
            else:
                clean = fast_path(value, data)
                if clean is not None:
                    digest, texts, has_system = clean
                    if plain is not None:
                        kept.append((record, None, plain(texts, has_system)))
                    keep_row((digest, line, number, offset))
                    passed_fast += 1
                    continue
        notes: list[Note] = list(marks)
        value = parse(data, notes, value)
        conversation = check(value, notes) if value is not UNPARSED else None
        rendered = render(conversation, notes) if conversation is not None and render is not None else None
        failed = conversation is None or (render is not None and rendered is None)
        look(value, notes, line, number)
        if (notes or failed) and tally.judge(record, notes, must_reject=failed):
            continue
        conversation = cast(Conversation, conversation)
        keep(conversation, validator.digest, line, number, offset)
        if rendered is not None:
            kept.append((record, conversation, rendered))
    if passed_fast:
        setstate.passed_fast(passed_fast, validator.plain_keys)
    return tally, kept, setstate.fold()
