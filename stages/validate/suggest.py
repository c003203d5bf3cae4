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
from stages.formats.detect import ANSWER_KEYS, PROMPTS, classify

from .column_map import holds_tools
from .record import RecordValidator

_MORE_PROMPTS = ("problem", "user", "human", "input_text")
_MORE_ANSWERS = ("attempt", "generation", "generated_solution", "reply", "assistant", "bot", "output_text", "answers")
_FALLS_BACK = ("sft", "grpo", "rloo", "ppo", "predict")  # stages of which prompts alone may be what was meant
_PROMPTS_ONLY = " (prompts without answers, for stage ppo or grpo and for do_predict)"
_WORDS = {  # words that other tools use for a role -> the tag they belong to
    "human": "user_tag", "user": "user_tag", "gpt": "assistant_tag", "assistant": "assistant_tag",
    "model": "assistant_tag", "bot": "assistant_tag", "system": "system_tag", "tool": "observation_tag",
    "tool_response": "observation_tag", "observation": "observation_tag", "function_call": "function_tag",
    "tool_call": "function_tag", "chatbot": "assistant_tag",
}  # fmt: skip
_TRANSCRIPT = re.compile(r"^ *(?:(?:### )?(?:Human|USER|User) *:|\[INST\])", re.MULTILINE)
_REPLY = re.compile(r"^ *(?:### )?(?:Assistant|ASSISTANT) *:|\[/INST\]", re.MULTILINE)
_MOST_TRIED = 12
_FEWEST_COLUMNS = 2
_KEYS_ABOUT_A_FILE = 4  # beside the list of records, at most: a name, a version
_TURNS = ("conversation", "conversations", "messages", "dialog", "dialogue", "turns", "history")
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
    if what := _many_in_one(record):
        return what
    for other in dict.fromkeys((stage, "predict") if stage in _FALLS_BACK else (stage,)):
        for count, entry in enumerate(_entries(record)):
            if count >= _MOST_TRIED:
                break
            if works(entry, record, other):
                only = "" if other == stage else _PROMPTS_ONLY + _answer_apart(record, entry)
                return f"map it in dataset_info.json, e.g. {_shown(entry)}{only}"
    return _what_it_is(record)


def _many_in_one(record: dict[str, Any]) -> str:
    """What records are that hold a piece of a conversation, or two conversations; empty for others."""
    parts = [record, *(value for value in record.values() if isinstance(value, dict))]
    if any(("parent_id" in part and "text" in part) or isinstance(part.get("replies"), list) for part in parts):
        return "a tree of messages: write each path to an answer as one list of messages first; no map can"
    lists = [key for key, value in record.items() if _chat_form(value) is not None]
    if {"conversation_a", "conversation_b"} <= set(lists):
        return (
            '"conversation_a" and "conversation_b" are compared by "winner": write the prompt, and the two answers as '
            "chosen and rejected, first; no map can"
        )
    if "rejected_messages" in lists and "messages" in lists:
        return (
            '"messages" and "rejected_messages" hold prompt and answer in one: write the prompt, and the two '
            "answers as chosen and rejected, first; no map can"
        )
    return ""


def _answer_apart(record: dict[str, Any], entry: Entry) -> str:
    """How to train on an answer that no map reaches from the prompt of an entry; empty when there is none."""
    used = entry["columns"].values()
    for key in (*ANSWER_KEYS, *_MORE_ANSWERS):
        value = record.get(key)
        if key in used or not value or not isinstance(value, (str, list)):
            continue
        if isinstance(value, str) and _is_json_list(value.strip()):
            return f'; to train on "{key}", which holds JSON text, write it as messages (calls as tool_calls) first'
        return f'; to train on "{key}", write it and the prompt as one list of messages first'
    return ""


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
    responses = [key for key in (*ANSWER_KEYS, *_MORE_ANSWERS) if _is_answer(record.get(key))]
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
    if (what := _of_a_table(record)) or (what := _list_of_objects(record)):
        return what
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


def _list_of_objects(record: dict[str, Any]) -> str:
    """What a list is that holds objects other than messages: the records themselves, or turns in other words."""
    for key, value in record.items():
        if key == "tools" or not isinstance(value, list) or not value:
            continue
        if key in (*_TURNS, "data") and len(value) > 1 and all(map(_is_text, value)):
            return f'"{shown(key, 30)}" is a list of texts: write messages of role and content first; no map can'
        if not isinstance(value[0], dict):
            continue
        if _chat_form(value) is not None or holds_tools(value):
            continue
        guess = classify(value[0])
        whole = guess is not None and guess.complete and guess.format != "pretrain"  # a text may be a piece of one
        if whole and len(record) <= _KEYS_ABOUT_A_FILE and key not in _TURNS:
            return f'the records stand in the list "{shown(key, 30)}": write that list alone as the file'
        named = ", ".join(f'"{shown(name, 20)}"' for name in list(value[0])[:4])
        return f'"{shown(key, 30)}" is a list of {{{named}}}: write messages of role and content first; no map can'
    return ""


def _of_a_table(record: dict[str, Any]) -> str:
    """What a record is that holds whole columns: lists of texts as long as each other, or texts by row number."""
    columns = [
        list(map(str, range(len(value)))) == list(value) if isinstance(value, dict) else len(value)
        for value in record.values()
        if isinstance(value, (list, dict)) and value and _all_texts(value)
    ]
    if len(columns) < _FEWEST_COLUMNS or len(columns) < len(record) or len(set(columns)) > 1 or not columns[0]:
        return ""
    return 'the file holds a list for each key, not records: write one object for each (pandas: orient="records")'


def _all_texts(value: list[Any] | dict[str, Any]) -> bool:
    return all(isinstance(item, str) for item in (value.values() if isinstance(value, dict) else value))


def _every_prompt() -> tuple[str, ...]:
    return (*PROMPTS, *_MORE_PROMPTS)


def _is_json_list(text: str) -> bool:
    try:
        return text.startswith("[") and isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _is_answer(value: object) -> bool:
    """Whether a value may be an answer as it stands: a text, and not the JSON text of a list of calls."""
    return _is_text(value) and not _is_json_list(str(value).strip())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(entry: Entry) -> str:
    """The entry as it is written in dataset_info.json, without the file's name."""
    return ", ".join(f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in entry.items())
