"""Which format are these records in? Decided by the keys that are there, said in one sentence.

A record's family shows in its keys (and in those of its first message); whether it is a preference pair or carries a
label shows in `chosen`/`rejected` and in a boolean `label` or `kto_tag`. A file is of one format: two families, or
whole records of two kinds, are a mixture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from registry.datasets.types import Fields

from .table import FORMATS

PROMPTS = ("instruction", "prompt", "query", "question")
_QUERIES = ("input", "context")
RESPONSES = ("output", "response", "completion", "answer", "target")
ANSWER_KEYS = (*RESPONSES, "solution")  # keys of which one is the answer, when several hold a text
_TEXTS = ("text", "content")
_TURNS = ("conversations", "messages", "conversation", "dialogue", "dialog")
_LABELS = ("label", "kto_tag")
_FUNCTIONS = "functions"  # where OpenAI's older form holds the tools
_SHARE = {"user_tag": ("human", "user"), "assistant_tag": ("gpt", "assistant", "model", "bot")}
_MAX_KEYS = 8


@dataclass(frozen=True)
class Guess:
    """What one record looks like. complete: it has everything its format needs, so it decides between kinds. choices:
    keys of which only the user knows which one is the answer."""

    format: str
    fields: Fields
    complete: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Detection:
    """What a set of records is.

    format: id, or None when it cannot be told or the records are of several formats. fields: the map that fits.
    reason: one sentence. first: 0-based index of the first record of each format seen, in order of appearance.
    counts: records of each. unknown: records that fit no format. why: by what the format was told. unanimous: every
    record agrees. sample: a record of those that leave the format open.
    """

    format: str | None
    fields: Fields | None
    reason: str
    first: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    why: str = ""
    unanimous: bool = False
    sample: object = field(default=None, repr=False, compare=False)

    @property
    def mixed(self) -> bool:
        """True when whole records of more than one format were seen."""
        return self.format is None and len(self.first) > 1


class Detector:
    """Collects guesses record by record, so that a whole file can be looked at without holding it."""

    def __init__(self) -> None:
        self.read = 0
        self.unknown = 0
        self.first: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.fields: dict[str, Fields] = {}
        self.partial: dict[str, int] = {}
        self.keys: dict[str, None] = {}
        self.choices: tuple[str, ...] = ()
        self.sample: object = None
        self.tool_keys: set[str] = set()

    def add(self, record: object) -> None:
        """Looks at the next record."""
        index = self.read
        self.read += 1
        guess = classify(record)
        if isinstance(record, dict):
            self.tool_keys.update(key for key in (_FUNCTIONS, "tools") if record.get(key))
        if guess is None or (guess.choices and not self.choices):
            self.sample = record if self.sample is None or guess is not None else self.sample
            self.choices = guess.choices if guess is not None else self.choices
        if guess is None:
            self.unknown += 1
            if isinstance(record, dict):
                self.keys.update(dict.fromkeys([key for key in record if isinstance(key, str)][:_MAX_KEYS]))
            return
        if not guess.complete:
            self.partial[guess.format] = self.partial.get(guess.format, 0) + 1
            self.fields.setdefault(guess.format, guess.fields)
            return
        self.first.setdefault(guess.format, index)
        self.counts[guess.format] = self.counts.get(guess.format, 0) + 1
        self.fields[guess.format] = guess.fields if self.counts[guess.format] == 1 else self.fields[guess.format]

    def result(self) -> Detection:
        """The decision about all records added so far."""
        if not self.read:
            return Detection(None, None, "there are no records to tell the format from")
        if len(self.first) > 1:
            places = ", ".join(f"{name} (first at record {at})" for name, at in self.first.items())
            reason = f"the records are of several formats: {places}"
            return Detection(None, None, reason, dict(self.first), dict(self.counts), self.unknown)
        if self.first:
            name = next(iter(self.first))
            whole = self.counts[name]
        elif self.partial:
            name = max(self.partial, key=lambda key: self.partial[key])
            whole = 0
        else:
            keys = ", ".join(list(self.keys)[:_MAX_KEYS])
            here = f"the keys are {keys}" if keys else "they are not objects"
            reason = f"no known format fits the records: {here}"
            return Detection(None, None, reason, unknown=self.unknown, sample=self.sample)
        if self.choices and name == "alpaca":
            named = " and ".join(f'"{key}"' for key in self.choices)
            reason = f"the answer may be {named}: which one is trained must be said"
            first, counts = dict(self.first), dict(self.counts)
            return Detection(None, None, reason, first, counts, max(self.unknown, 1), sample=self.sample)
        fields = self.fields[name]
        if self.tool_keys == {_FUNCTIONS} and name.startswith("openai"):
            fields = replace(fields, tools=_FUNCTIONS)
        why = _because(name, fields)
        reason = f"{name}: {why} ({whole} of {self.read} records)"
        first, counts = dict(self.first), dict(self.counts)
        return Detection(name, fields, reason, first, counts, self.unknown, why, whole == self.read)


def detect(records: Iterable[object]) -> Detection:
    """The format of some records."""
    detector = Detector()
    for record in records:
        detector.add(record)
    return detector.result()


def _because(name: str, fields: Fields) -> str:
    keys = (
        fields.messages,
        fields.prompt,
        fields.query,
        fields.response,
        fields.chosen,
        fields.rejected,
        fields.kto_tag,
    )
    named = [key for key in keys if key is not None]
    text = "the records have " + ", ".join(f'"{key}"' for key in named)
    if fields.messages is not None:
        text += f' of "{fields.role_tag}" and "{fields.content_tag}"'
    return text


def classify(record: object) -> Guess | None:
    """What one record looks like; None when it fits no format."""
    if not isinstance(record, dict):
        return None
    turns_key = next((key for key in _TURNS if isinstance(record.get(key), list)), None)
    if turns_key is not None:
        return _chat(record, turns_key)
    fields = FORMATS["alpaca"].default_fields
    prompt = next((key for key in PROMPTS if key in record), None)
    query = next((key for key in _QUERIES if key in record and key != prompt), None)
    response = next((key for key in RESPONSES if key in record), None)
    paired = _pair(record)
    if prompt is None and query is None and response is None and not paired:
        text = next((key for key in _TEXTS if key in record), None)
        if text is None:
            return None
        return Guess("pretrain", Fields(prompt=text), True)
    fields = replace(fields, prompt=prompt or fields.prompt, query=query or fields.query)
    if paired:
        return Guess("alpaca-dpo", replace(fields, response=None, chosen="chosen", rejected="rejected"), _both(record))
    fields = replace(fields, response=response or fields.response)
    label = _label(record)
    if label is not None:
        return Guess("alpaca-kto", replace(fields, kto_tag=label), response is not None)
    whole = response is not None and (prompt is not None or query is not None)
    return Guess("alpaca", fields, whole, response_choices(record))


def response_choices(record: dict[str, Any]) -> tuple[str, ...]:
    """The keys that may hold the answer of a record, when there are several; empty when one is meant beyond doubt."""
    if "instruction" in record and "output" in record:
        return ()
    found = tuple(key for key in ANSWER_KEYS if isinstance(record.get(key), str) and record[key].strip())
    return found if len(found) > 1 else ()


def _chat(record: dict[str, Any], key: str) -> Guess | None:
    turns = [turn for turn in record[key][:8] if isinstance(turn, dict)]
    first = turns[0] if turns else {}
    if "from" in first or "value" in first:
        family, fields = "sharegpt", _share_tags(FORMATS["sharegpt"].default_fields, turns)
    elif "role" in first or "content" in first or key == "messages":
        family, fields = "openai", FORMATS["openai"].default_fields
    elif not turns and key == "conversations":
        family, fields = "sharegpt", FORMATS["sharegpt"].default_fields
    else:
        return None
    fields = replace(fields, messages=key)
    if _pair(record):
        return Guess(f"{family}-dpo", replace(fields, chosen="chosen", rejected="rejected"), _both(record))
    label = _label(record)
    if label is not None:
        return Guess(f"{family}-kto", replace(fields, kto_tag=label), bool(turns))
    last = record[key][-1] if record[key] else None
    role = last.get(fields.role_tag) if isinstance(last, dict) else None
    # a conversation that ends with the user may be a preference prompt whose answers are missing
    return Guess(family, fields, role not in (None, fields.user_tag))


def _share_tags(fields: Fields, turns: list[dict[str, Any]]) -> Fields:
    """The default tags, with the words that these turns use for user and assistant."""
    words = [turn.get("from") for turn in turns]
    if "human" in words or "gpt" in words:
        return fields
    user = next((word for word in _SHARE["user_tag"] if word in words), fields.user_tag)
    assistant = next((word for word in _SHARE["assistant_tag"] if word in words), fields.assistant_tag)
    return replace(fields, user_tag=user, assistant_tag=assistant)


def _pair(record: dict[str, Any]) -> bool:
    return "chosen" in record or "rejected" in record


def _both(record: dict[str, Any]) -> bool:
    return "chosen" in record and "rejected" in record


def _label(record: dict[str, Any]) -> str | None:
    """The key of a KTO label: kto_tag, whatever it holds, or label when it could be meant as a boolean."""
    if "kto_tag" in record:
        return "kto_tag"
    return "label" if is_label(record.get("label")) else None


def is_label(value: object) -> bool:
    """Whether a value says good or bad: a boolean, or a text that spells one."""
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().casefold() in ("true", "false"))
