"""The batch path: one chunk of bytes in, one `ChunkResult` out. The same function in every engine.

    bytes -> records -> parse -> validate -> Conversation -> render -> one tokenizer call -> lengths -> cut
                                                                            |
                                                                          spool (token ids before any cut)

A chunk's spool file is named by its content: the bytes, the record format and map, the rules, the template, the
tokenizer and the version of each stage. `cutoff_len` is not in that name: cutting works on the stored lengths, so
another cutoff needs neither validation nor tokenizer. What is dropped is counted here, once, under one rule.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import orjson

from registry.datasets import Fields
from registry.rules import Policy

from .conversation import Conversation
from .findings import Finding, Note
from .formats.calls import USUAL_WORDS, CallWords
from .parse import UNPARSED, parse
from .read import Chunk, Limits, Record, load
from .read import records as read_records
from .setrules import SetState
from .validate import RecordValidator

VERSION = 5
SAMPLES_PER_RULE = 100  # findings kept of each rule; counts are exact whatever this is


@dataclass(frozen=True)
class SourceSpec:
    """One data set as the batch path sees it."""

    name: str
    format: str
    fields: Fields


@dataclass(frozen=True)
class BatchSpec:
    """Everything a worker needs, in one picklable value. `encode` is None when only records are checked."""

    sources: tuple[SourceSpec, ...]
    stage: str
    policy: Policy
    specials: tuple[str, ...] = ()
    encode: Any = None  # stages.encoding.EncodeSpec; untyped here so that checking alone loads no numpy
    spool_folder: str | None = None
    limits: Limits = field(default_factory=Limits)

    def content_key(self, source: int) -> str:
        """What a chunk's result depends on besides its bytes."""
        spec = self.sources[source]
        parts = [
            VERSION,
            spec.format,
            repr(spec.fields),
            self.stage,
            repr(self.policy),
            self.specials,
            repr(self.limits),
        ]
        return orjson.dumps([*parts, self.encode.key if self.encode else None]).decode()


class Task(NamedTuple):
    """One chunk of one file of one source. wanted: only that many of its records are taken (-1: all). check: texts of
    this chunk prove the tokenizer's back end."""

    source: int
    path: str
    chunk: Chunk
    wanted: int = -1
    check: bool = False


class Reject(NamedTuple):
    """A record that was not kept: its raw bytes, its place, and why."""

    data: bytes
    line: int
    record: int
    byte_offset: int
    rule: str
    findings: tuple[Finding, ...]


class ChunkResult(NamedTuple):
    """What one chunk came to.

    read: records seen. counts: notes by (rule, severity). findings: capped a rule, in record order. rejected: records
    by the rule that rejected them. hashes: 64-bit content hash of each kept record, in order. examples: lengths of
    each kept record (stages.lengths.Examples), None when nothing was tokenized. reused: it came from the spool.
    seconds: taken to check and render, to tokenize, and to keep the result.
    """

    source: int
    path: str
    number: int
    first_record: int
    read: int
    counts: dict[tuple[str, str], int]
    findings: list[Finding]
    rejected: dict[str, int]
    rejects: list[Reject]
    setstate: SetState | None
    examples: Any
    reused: bool
    text_bytes: int
    checked_texts: int = 0  # texts of this chunk whose ids are compared with the reference's
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sample: Any = None  # those texts, their ids and offsets, when nobody has compared them yet
    seen: dict[str, int] = {}  # noqa: RUF012  # "records" rendered, and those that show a habit of the template


# a kept record, its conversation (None where it was skimmed) and its rendered form
Kept = tuple[Record, Conversation | None, Any]


class Tally:
    """Collects what happens to the records of one chunk: the only place where a record is counted out."""

    def __init__(self, path: str, policy: Policy) -> None:
        self.path = path
        self.policy = policy
        self.read = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.rejects: list[Reject] = []
        self._kept_of_rule: Counter[str] = Counter()

    def judge(self, record: Record, notes: Sequence[Note], *, must_reject: bool = False) -> bool:
        """Turns notes into findings; True when the record is rejected, which is then counted and kept aside.

        must_reject: the record cannot be taken, whatever the policy says; where it calls none of the notes an error,
        the last of them, at which the checks stopped, is one all the same.
        """
        found = []
        reason = ""
        severities = [self.policy.severity(note.rule) for note in notes]
        if must_reject and "error" not in severities:
            notes = notes or [Note("shape.type", "", "the record does not fit its format")]
            severities = [*severities[: len(notes) - 1], "error"]
        for note, severity in zip(notes, severities, strict=True):
            if severity == "off":
                continue
            self.counts[note.rule, severity] += 1
            if severity == "error" and not reason:
                reason = note.rule
            finding = Finding(
                note.rule, severity, self.path, record.line, record.record, record.byte_offset,
                note.pointer, note.message, note.hint, note.value,
            )  # fmt: skip
            found.append(finding)
            if self._kept_of_rule[note.rule] < SAMPLES_PER_RULE:
                self._kept_of_rule[note.rule] += 1
                self.findings.append(finding)
        if reason:
            self.rejected[reason] += 1
            self.rejects.append(
                Reject(record.data, record.line, record.record, record.byte_offset, reason, tuple(found))
            )
        return bool(reason)


class State:
    """What a worker builds once: compiled validators and, when text is tokenized, the encoder."""

    def __init__(self, spec: BatchSpec) -> None:
        self.spec = spec
        self._validators: dict[int, RecordValidator] = {}
        self.encoding: Any = None
        if spec.encode is not None:
            from .encoding import Encoding

            self.encoding = Encoding(spec.encode)

    def release(self) -> None:
        """Gives the memory of the tokenizer back to the system. A later chunk would load it again."""
        if self.encoding is not None:
            self.encoding.release()

    def validator(self, source: int) -> RecordValidator:
        """The compiled checks of one source."""
        if source not in self._validators:
            spec = self.spec.sources[source]
            self._validators[source] = RecordValidator(
                spec.format, spec.fields, self.spec.stage, self.spec.policy, self.spec.specials, self._call_words()
            )
        return self._validators[source]

    def _call_words(self) -> CallWords:
        """The words around calls and thoughts, and what tools may be."""
        encode = self.spec.encode
        if encode is None or encode.template == "auto":
            return USUAL_WORDS
        from registry.templates import load_template  # checking alone needs none

        from .tools import tools_written_as

        template = load_template(encode.template, encode.compat)
        tools = tools_written_as(template, encode.options.tool_format)
        return CallWords(template.thought_words, template.tool_call_words, tools)


def prepare(spec: BatchSpec) -> State:
    """The engine's `prepare`."""
    state = State(spec)
    if spec.encode is not None and spec.encode.load_early:
        state.encoding.tools()
    return state


def task_name(task: Task) -> str:
    """The engine's `name`: which bytes of which file."""
    return f"{task.path}, bytes {task.chunk.start} to {task.chunk.end}"


def run(state: State, task: Task) -> ChunkResult:
    """The engine's `run`: everything that happens to one chunk."""
    collecting = gc.isenabled()
    gc.disable()  # a chunk makes a million small objects and no cycles; looking for some costs a tenth of the time
    try:
        return _run(state, task)
    finally:
        if collecting:
            gc.enable()


def _run(state: State, task: Task) -> ChunkResult:
    spec = state.spec
    chunk = task.chunk
    data = load(chunk)
    spool_path = ""
    if spec.spool_folder is not None:
        digest = hashlib.sha256(spec.content_key(task.source).encode())
        digest.update(f"{chunk.kind}:{chunk.start}:{chunk.first_line}:{chunk.first_record}:{task.wanted}:".encode())
        digest.update(data)
        spool_path = os.path.join(spec.spool_folder, digest.hexdigest()[:40] + ".spool")
    if state.encoding is None:
        tally, _, setstate = check_records(state, task, chunk._replace(data=data), None)
        return _result(task, tally, setstate, None, reused=False, text_bytes=len(data))
    return cast(ChunkResult, state.encoding.run(state, task, chunk._replace(data=data), spool_path))


def check_records(
    state: State, task: Task, chunk: Chunk, render: Any, plain: Any = None
) -> tuple[Tally, list[Kept], SetState]:
    """Reads, parses and checks a chunk's records; `render(conversation, notes)` may add what the template refuses.

    Returns the tally, the kept records with their conversation and rendered form, and the set-level state. Records that
    `skim` proves clean are rendered by `plain(texts, has_system)`, when there is one, and have no conversation; without
    `render` they are counted and not among the kept.
    """
    tally = Tally(task.path, state.spec.policy)
    validator = state.validator(task.source)
    check = validator.check
    setstate = SetState(task.path, state.spec.sources[task.source].format)
    look, keep, keep_row = setstate.add, setstate.keep, setstate.rows.append
    decode = orjson.loads
    skim = validator.skim if render is None or plain is not None else None
    skimmed = 0
    kept: list[Kept] = []
    listed = read_records(chunk, state.spec.limits, state.spec.sources[task.source].fields)
    if task.wanted >= 0:
        listed = itertools.islice(listed, task.wanted)
    for record in listed:
        tally.read += 1
        data, line, number, offset, marks = record
        value: object = UNPARSED
        if skim is not None and not marks:
            try:
                value = decode(data)
            except ValueError:
                pass  # said below
            else:
                clean = skim(value, data)
                if clean is not None:
                    digest, texts, has_system = clean
                    if plain is not None:
                        kept.append((record, None, plain(texts, has_system)))
                    keep_row((digest, line, number, offset))
                    skimmed += 1
                    continue
        notes: list[Note] = list(marks)
        value = parse(data, notes, value)
        conversation = check(value, notes) if value is not UNPARSED else None
        rendered = None
        if conversation is not None and render is not None:
            rendered = render(conversation, notes)
        failed = conversation is None or (render is not None and rendered is None)
        look(value, notes, line, number)
        if (notes or failed) and tally.judge(record, notes, must_reject=failed):
            continue
        conversation = cast(Conversation, conversation)
        keep(conversation, validator.digest, line, number, offset)
        kept.append((record, conversation, rendered))
    if skimmed:
        setstate.skimmed(skimmed, validator.plain_keys)
    return tally, kept, setstate.fold()


def _result(task: Task, tally: Tally, setstate: Any, examples: Any, *, reused: bool, text_bytes: int) -> ChunkResult:
    return ChunkResult(
        source=task.source,
        path=task.path,
        number=task.chunk.index,
        first_record=task.chunk.first_record,
        read=tally.read,
        counts=dict(tally.counts),
        findings=tally.findings,
        rejected=dict(tally.rejected),
        rejects=tally.rejects,
        setstate=setstate,
        examples=examples,
        reused=reused,
        text_bytes=text_bytes,
    )
