"""What a record lost on its way through another format: the record beside what came back, each difference named.

Messages are compared turn by turn, not by index, since a leading system message or joined tool results move the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import pointer
from stages.formats import alpaca, sharegpt
from stages.formats.chat_writer import MESSAGE_KEYS, is_empty
from stages.formats.losses import Loss, loss
from stages.formats.table import Reader

MISSING: Any = type("_Missing", (), {"__repr__": lambda self: "MISSING"})()
_CALL_KEYS = ("tool_calls", "function_call")


def record_losses(
    record: dict[str, Any], again: dict[str, Any], read: Conversation, reader: Reader, stated: list[Loss]
) -> list[Loss]:
    """The losses that are not stated yet.

    Args:
        record: The source record.
        again: The record after the way there and back.
        read: What `reader` made of `record`.
        reader: The reader of the source format.
        stated: Losses that the writer stated; each covers its place and what lies below it.

    Returns:
        The others, one for each place and kind.
    """
    if isinstance(reader, sharegpt.Reader):
        found = list(_chat(record, again, read, reader))
    else:
        fields = reader.fields if isinstance(reader, alpaca.Reader) else None
        found = [_of_record(at, old, new, fields) for at, old, new in differences(record, again, "")]
    covered = {item.pointer for item in stated}
    fresh: dict[tuple[str, str], Loss] = {}
    for item in found:
        if not any(_within(item.pointer, place) or _within(place, item.pointer) for place in covered):
            fresh.setdefault((item.pointer, item.what), item)
    return list(fresh.values())


def _within(at: str, place: str) -> bool:
    return at == place or at.startswith(place + "/")


def differences(old: Any, new: Any, at: str) -> Iterator[tuple[str, Any, Any]]:
    """Every place where two JSON values differ.

    Args:
        old: The value before.
        new: The value after.
        at: Pointer of both.

    Yields:
        (pointer, old value, new value); MISSING stands for a value that is not there.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), at + pointer(key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            pair = [side[index] if index < len(side) else MISSING for side in (old, new)]
            yield from differences(pair[0], pair[1], f"{at}/{index}")
    elif old is not new and old != new:
        yield at, old, new


def _of_record(at: str, old: Any, new: Any, fields: Fields | None) -> Loss:
    """The loss of a difference outside of any message."""
    if (is_empty(old) or old is MISSING) and (is_empty(new) or new is MISSING):
        return loss("empty-field", at)
    if fields is None:
        return loss("other", at)
    key = at.split("/")[1].replace("~1", "/").replace("~0", "~")
    if key in (fields.prompt, fields.query) and fields.messages is None:
        return loss("prompt-split", pointer(fields.query if fields.query is not None else key))
    if key == fields.tools:
        return loss("tools-form", pointer(key))
    if key == fields.system:
        return loss("second-system" if new is MISSING else "other", at)
    return loss("record-key" if new is MISSING else "other", at)


def _chat(record: dict[str, Any], again: dict[str, Any], read: Conversation, reader: sharegpt.Reader) -> Iterator[Loss]:
    fields = reader.fields
    key = str(fields.messages)
    other = reader(again, [])
    if other is None:  # the writer's own form is always readable; a test holds it
        yield loss("other", "")
        return
    moved = read.system is not None and (read.system_at == other.system_at) is False
    led = read.system is not None and read.system_at.count("/") > 1  # a message, not a field
    if moved:
        yield loss("system-place", read.system_at)
        for extra in record[key][0] if led else ():
            if extra not in (fields.role_tag, fields.content_tag):
                yield loss("system-key", f"{reader.base}/0{pointer(extra)}")
    answers = {fields.chosen, fields.rejected}
    for name in dict.fromkeys([*record, *again]):
        if name == key or (moved and name == fields.system):
            continue
        old, new = record.get(name, MISSING), again.get(name, MISSING)
        if name in answers and isinstance(old, list) and isinstance(new, dict):
            yield loss("answer-list", pointer(name))
            old = old[0]
        message = read.chosen if name == fields.chosen else read.rejected if name == fields.rejected else None
        for at, first, second in differences(old, new, pointer(name)):
            yield (
                _of_record(at, first, second, fields)
                if message is None
                else _of_message(at, pointer(name), first, second, message, fields)
            )
    old_turns, new_turns = _turns(record, read, reader), _turns(again, other, reader)
    if led and not moved:
        for at, first, second in differences(record[key][0], again[key][0], f"{reader.base}/0"):
            yield _of_message(at, f"{reader.base}/0", first, second, None, fields)
    if len(old_turns) != len(new_turns):  # pretraining reads the first turn only
        yield loss("turns", reader.base)
        return
    for message, (start, olds), (_, news) in zip(read.messages, old_turns, new_turns, strict=True):
        for index in range(max(len(olds), len(news))):
            at = f"{reader.base}/{start + index}"
            if index >= len(news):
                yield loss("trailing-result", at)
            elif index >= len(olds):
                yield loss("other", message.at)
            else:
                for place, first, second in differences(olds[index], news[index], at):
                    yield _of_message(place, at, first, second, message, fields)


def _turns(record: dict[str, Any], read: Conversation, reader: sharegpt.Reader) -> list[tuple[int, list[Any]]]:
    """(index of its first message, its messages) for each turn of a record; the last one takes the rest of the list."""
    raw = record[str(reader.fields.messages)]
    starts = [int(message.at.rsplit("/", 1)[1]) for message in read.messages]
    ends = [*starts[1:], len(raw)]
    return [(start, raw[start:end]) for start, end in zip(starts, ends, strict=True)]


def _of_message(at: str, base: str, old: Any, new: Any, message: Message | None, fields: Fields) -> Loss:
    """The loss of a difference inside one message, whose pointer is `base`; None: the system message."""
    parts = at[len(base) :].split("/")
    key = parts[1].replace("~1", "/").replace("~0", "~") if len(parts) > 1 else ""
    place = base + pointer(key) if len(parts) > 1 else base
    if message is None and key not in (fields.role_tag, fields.content_tag):
        return loss("system-key", place)
    calls = message is not None and message.role == "function"
    if key in _CALL_KEYS and calls:
        given = parts[-1] == "id" and (old is MISSING or old is None)
        return loss("call-id-given" if given else "call-form", place)
    if key == fields.content_tag and calls and not (is_empty(old) or old is MISSING):
        return loss("call-form", place)
    if key == fields.content_tag and message is not None and message.reasoning and not calls:
        return loss("reasoning", place)
    if key == fields.role_tag:
        return loss("role-word", place)
    if key == "tool_call_id" and (old is MISSING or is_empty(old)):
        return loss("call-id-given", place)
    if is_empty(old) or old is MISSING:
        return loss("empty-field", place)
    return loss(MESSAGE_KEYS.get(key, "message-key") if key not in ("", fields.content_tag) else "other", place)
