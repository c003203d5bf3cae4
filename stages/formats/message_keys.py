"""Keys of messages that no reader takes: a chat template of the tokenizer's own may read them, nothing else does.

{"role": "user", "content": "Hi", "mood": "glad"}      {"mood": "glad"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stages.core.conversation import THOUGHT_KEYS, Conversation, Message
from stages.core.display import pointer

KWARGS, DOCUMENTS = "chat_template_kwargs", "documents"  # of a record, for the chat template

# what a reader takes, and what a template must not see twice
_TAKEN = frozenset(
    (  # noqa: SIM905  # one name a line would be a dozen lines
        "role content from value tool_calls function_call tool_call_id weight train loss tools"
    ).split()
) | frozenset(THOUGHT_KEYS)
_NOTHING: dict[str, Any] = {}


def given_keys(message: Message) -> dict[str, Any]:
    """The keys of a message that no reader takes and that hold something."""
    if not message.extras:
        return _NOTHING
    if len(message.extras) > 1:
        return _NOTHING  # joined results, each of which has its own
    return other_keys(message.extras[0])


def other_keys(extras: dict[str, Any]) -> dict[str, Any]:
    """The keys of `extras` that no reader takes and that hold something."""
    return {key: value for key, value in extras.items() if key not in _TAKEN and value not in (None, "", [], {})}


def message_keys(record: Conversation) -> Iterator[tuple[str, str, str]]:
    """(key, text, pointer) of each message key that no reader takes and that may be meant; each key once.

    That is: a text, a list of objects (parts of a thought, spans that are not to be trained), or a word of other tools
    that takes an answer out of the loss.
    """
    seen = set()
    sources: list[tuple[str, dict[str, Any], str]] = []
    if record.system_keys:
        sources.append(("system", record.system_keys, record.system_at.rpartition("/")[0]))
    answers = [answer for answer in (record.chosen, record.rejected) if answer is not None]
    for message in (*record.messages, *answers):
        sources += [(one.role, extras, one.at) for one in message.results or (message,) for extras in one.extras]
    for role, extras, at in sources:
        for key, value in other_keys(extras).items():
            text = _meant(key, value, role)
            if key in seen or not text or text.isspace() or _is_label(key, role):
                continue
            seen.add(key)
            yield key, text, at + pointer(key)
        for key in THOUGHT_KEYS:
            value = extras.get(key)
            if key not in seen and isinstance(value, str) and value.strip() and value != _thought(extras):
                seen.add(key)
                yield key, value, at + pointer(key)


_NOT_TRAINED = {"training": False, "trainable": False, "loss_weight": False, "mask": True, "masked": True}


def _meant(key: str, value: object, role: str) -> str:
    """What a key of a message says that a reader would miss, as text; empty for what says nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return json.dumps(value, ensure_ascii=False)
    excludes = isinstance(value, (bool, int, float)) and _NOT_TRAINED.get(key.casefold()) is bool(value)
    return json.dumps(value) if excludes and role in ("assistant", "function") else ""


def _thought(extras: dict[str, Any]) -> object:
    return next((value for key in THOUGHT_KEYS if isinstance(value := extras.get(key), str) and value), None)


_LABELS = frozenset(
    (  # noqa: SIM905  # one name a line would be thirty lines
        "id uid uuid idx index key hash source src model model_name language lang date time timestamp created"
        " created_at updated_at author user_id type status state version tag tags label"
    ).split()
)


def _is_label(key: str, role: str) -> bool:
    """Whether a key names, dates or files a message; a tool's name is the call's."""
    folded = key.casefold()
    return folded in _LABELS or folded.endswith("_id") or (folded == "name" and role in ("observation", "function"))
