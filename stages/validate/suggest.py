"""A map for records that are read wrong: every one that is offered has read the record at hand, in the stage at hand.

    record -> entries of dataset_info.json that its keys allow -> the same checks as in a run -> those that pass

Where no map can help (a transcript in one text, messages as JSON text), that is said instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from registry.datasets.entry import entry_to_dataset
from registry.datasets.info_file import OPENAI_TAGS, SHAREGPT_TAGS, DatasetInfo
from registry.rules import Policy
from stages.core.display import shown
from stages.core.findings import Note
from stages.formats.detect import ANSWER_KEYS, PROMPTS

from .record import RecordValidator

_MORE_PROMPTS = ("problem", "user", "human")
_MORE_ANSWERS = ("attempt", "generation", "generated_solution", "reply", "assistant", "bot")
_WORDS = {  # words that other tools use for a role -> the tag they belong to
    "human": "user_tag", "user": "user_tag", "gpt": "assistant_tag", "assistant": "assistant_tag",
    "model": "assistant_tag", "bot": "assistant_tag", "system": "system_tag", "tool": "observation_tag",
    "tool_response": "observation_tag", "observation": "observation_tag", "function_call": "function_tag",
    "tool_call": "function_tag",
}  # fmt: skip
_TRANSCRIPT = re.compile(r"^ *(?:(?:### )?(?:Human|USER|User) *:|\[INST\])", re.MULTILINE)
_REPLY = re.compile(r"^ *(?:### )?(?:Assistant|ASSISTANT) *:|\[/INST\]", re.MULTILINE)
_MOST_TRIED = 12
_HEAD_CHARS = 2000  # of a text, in which a transcript shows

Entry = dict[str, Any]


def suggestion(record: object, stage: str) -> str:
    """What to write so that a record like this one is read in `stage`; empty when nothing is known to help."""
    if not isinstance(record, dict):
        return ""
    if not any(map(_chat_form, record.values())) and not {"chosen", "rejected"} & record.keys():
        tried = [entry for entry in _pairs_of_text(record) if works(entry, record, stage)]
        if len(tried) > 1:
            return "say which is the answer, in dataset_info.json: " + " or ".join(map(_shown, tried))
    for other in dict.fromkeys((stage, "predict")):
        for count, entry in enumerate(_entries(record)):
            if count >= _MOST_TRIED:
                break
            if works(entry, record, other):
                only = "" if other == stage else " (prompts without answers, for stage ppo or grpo and for do_predict)"
                return f"map it in dataset_info.json, e.g. {_shown(entry)}{only}"
    return _what_it_is(record)


def works(entry: Entry, record: dict[str, Any], stage: str) -> bool:
    """Whether a data set with this entry is taken in a stage, and this record of it without an error."""
    problems: list[str] = []
    info = DatasetInfo("dataset_info.json", ".", {})
    data_stage = stage if stage not in ("grpo", "rloo", "ppo") else "predict"
    data = entry_to_dataset("x", {"file_name": "x.json", **entry}, info, data_stage, problems)
    if problems or data.fields is None:
        return False
    policy = Policy.make(data_stage)
    notes: list[Note] = []
    found = RecordValidator(data.format, data.fields, data_stage, policy).check(record, notes)
    return found is not None and not any(policy.severity(note.rule) == "error" for note in notes)


def _entries(record: dict[str, Any]) -> Iterator[Entry]:
    """Entries that the keys of a record allow, the likelier ones first."""
    answers: dict[str, str] = {key: key for key in ("chosen", "rejected") if key in record}
    paired: Entry = {"ranking": True} if len(answers) == 2 else {}
    label = next((key for key in ("kto_tag", "label") if isinstance(record.get(key), bool)), None)
    beside = {"tools": "tools"} if record.get("tools") else {}
    if isinstance(record.get("system"), str):
        beside["system"] = "system"
    for key, value in record.items():
        form = _chat_form(value) if key not in answers else None
        if form is None:
            continue
        formatting, tags = form
        columns: dict[str, str] = {"messages": key, **(answers if paired else {}), **beside}
        if label is not None:
            columns["kto_tag"] = label
        yield {"formatting": formatting, **paired, "columns": columns} | ({"tags": tags} if tags else {})
        yield {"formatting": formatting, "columns": {"messages": key}} | ({"tags": tags} if tags else {})
    yield from _pairs_of_text(record)
    for prompt in (key for key in (*PROMPTS, *_MORE_PROMPTS) if _is_text(record.get(key))):
        if paired:
            yield {**paired, "columns": {"prompt": prompt, **answers}}
        yield {"columns": {"prompt": prompt}}


def _pairs_of_text(record: dict[str, Any]) -> Iterator[Entry]:
    responses = [key for key in (*ANSWER_KEYS, *_MORE_ANSWERS) if _is_text(record.get(key))]
    prompts = [key for key in (*PROMPTS, *_MORE_PROMPTS) if _is_text(record.get(key)) and key not in responses]
    for prompt in prompts[:1]:
        query = {"query": "input"} if prompt == "instruction" and isinstance(record.get("input"), str) else {}
        for response in responses:
            yield {"columns": {"prompt": prompt, **query, "response": response}}


def _chat_form(value: object) -> tuple[str, dict[str, str]] | None:
    """Formatting and, where the words are not the usual ones, all tags of a list of messages; None for no such list."""
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        return None
    first = value[0]
    if "role" in first and "content" in first:
        role_key, tags, formatting = "role", dict(OPENAI_TAGS), "openai"
    elif "from" in first and "value" in first:
        role_key, tags, formatting = "from", dict(SHAREGPT_TAGS), "sharegpt"
    else:
        return None
    usual = dict(tags)
    words = dict.fromkeys(word for turn in value if isinstance(word := turn.get(role_key), str))
    for word in words:
        if word not in usual.values() and (tag := _WORDS.get(word.casefold())) is not None:
            tags[tag] = word
    if tags != usual and "function_tag" in (_WORDS.get(word.casefold()) for word in words):
        formatting = "sharegpt"  # calls as texts of turns of their own
    return formatting, {} if tags == usual else tags


def _what_it_is(record: dict[str, Any]) -> str:
    """Why no map can help, where that can be told."""
    for key, value in record.items():
        if not isinstance(value, str):
            continue
        text, head = value.strip(), value[:_HEAD_CHARS]
        if text.startswith(("[{", '["')) and _is_json_list(text):
            return f'"{shown(key, 30)}" holds JSON text, not a list: decode it first (in Python: json.loads)'
        if text.startswith("[{'"):
            return f'"{shown(key, 30)}" holds a Python list as text: decode it first (ast.literal_eval)'
        if _TRANSCRIPT.search(head) and _REPLY.search(head):
            return f'"{shown(key, 30)}" holds a whole transcript in one text: split it into messages first; no map can'
    if {"chosen", "rejected"} & record.keys() and not any(_is_text(record.get(key)) for key in _every_prompt()):
        return "chosen and rejected hold prompt and answer in one: split off the prompt they share first; no map can"
    return ""


def _every_prompt() -> tuple[str, ...]:
    return (*PROMPTS, *_MORE_PROMPTS)


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(entry: Entry) -> str:
    """The entry as it is written in dataset_info.json, without the file's name."""
    return ", ".join(f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in entry.items())
