"""What a record gives a chat template beside its turns: variables of its own, and keys that no reader takes.

    {"chat_template_kwargs": {"enable_thinking": false}, "documents": [...]}     variables of this record's render
    {"role": "user", "content": "Hi", "mood": "glad"}                            a key of this message

transformers hands all of it to the template, so we do. What the template never mentions is reported, once a record
and key.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from stages.core.conversation import Conversation
from stages.core.display import pointer, shown
from stages.core.findings import Note
from stages.formats.message_keys import DOCUMENTS, KWARGS, message_keys

from .chat_template import AutoTemplate

_OURS = frozenset({"messages", "tools", "add_generation_prompt"})
_NAMES = re.compile(r"\w+")
_SETTING_CHARS = 32  # a longer text is content, no setting
_NOTHING: dict[str, Any] = {}


def variables_of(record: Conversation) -> dict[str, Any]:
    """Variables that the record sets for its own render: `chat_template_kwargs` and `documents`."""
    extra = record.extra
    if not extra or (KWARGS not in extra and DOCUMENTS not in extra):
        return _NOTHING
    found: dict[str, Any] = {}
    given = extra.get(KWARGS)
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    if isinstance(given, dict):
        found.update((str(key), value) for key, value in given.items() if key not in _OURS)
    documents = extra.get(DOCUMENTS)
    if isinstance(documents, list) and documents:
        found[DOCUMENTS] = documents
    return found


def settings_of(variables: dict[str, Any]) -> dict[str, Any]:
    """Those variables that switch something, the same for many records; texts and lists are content."""
    return {key: value for key, value in variables.items() if _is_setting(value)}


def _is_setting(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _SETTING_CHARS
    return value is None or isinstance(value, (bool, int, float))


@functools.lru_cache(maxsize=16)
def words_of(source: str) -> frozenset[str]:
    """Every name that a template mentions, whether as a variable, a key or a text."""
    return frozenset(_NAMES.findall(source))


def kept_thoughts(template: AutoTemplate) -> tuple[tuple[str, bool], ...]:
    """The variables with which this template keeps the thoughts of earlier turns; empty when it has no such switch."""
    words = frozenset().union(*map(words_of, template.sources.values()))
    switches = (("preserve_thinking", True), ("clear_thinking", False))
    return tuple((name, value) for name, value in switches if name in words)


def unused_notes(record: Conversation, source: str, rendered: str) -> list[Note]:
    """A note for each key of the record that holds content for the template and that the template does not use."""
    if not record.extra and not record.system_keys and not any(message.extras for message in record.messages):
        return []
    words = words_of(source)
    notes = []
    for key, value in variables_of(record).items():
        if key not in words and value not in (None, "", [], {}):
            at = pointer(DOCUMENTS) if key == DOCUMENTS else pointer(KWARGS) + pointer(key)
            what = f'the chat template does not read "{shown(key, 40)}"'
            notes.append(Note("template.unused-key", at, what, shown(value)))
    for key, value, at in message_keys(record):
        # a template may read the key of something else; what is written is in the text, and prose is no switch
        text = value.strip()
        written = text in rendered or text.startswith("[{") or (key != "name" and " " not in text)
        if key not in words or not written:
            what = f'the chat template does not read the key "{shown(key, 40)}" of a message'
            notes.append(Note("template.unused-key", at, what, shown(value)))
    return notes
