"""A map that prep offers has read the record; where none can, what the record is stands instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import run
from stages.formats.detect import detect
from stages.validate.suggest import suggestion

ASK, REPLY = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
CALL = {"role": "tool_call", "content": '{"name": "f", "arguments": {}}'}
RESULT = {"role": "tool_response", "content": "5"}
OFFERED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": [ASK], "chosen": [REPLY], "rejected": [{**REPLY, "content": "No."}]}, "dpo", '"messages": "prompt"'),
    ({"prompt": [ASK], "solution": "4"}, "sft", '{"messages": "prompt"} (prompts without answers'),
    ({"prompt": [ASK]}, "grpo", '"messages": "prompt"'),
    ({"dialog": [ASK, REPLY]}, "sft", '"messages": "dialog"'),
    ({"messages": [ASK, CALL, RESULT, REPLY]}, "sft", '"function_tag": "tool_call"'),
    ({"input_text": "Why?", "output_text": "So."}, "sft", '{"prompt": "input_text", "response": "output_text"}'),
    ({"problem": "2 + 2?", "attempt": "4"}, "sft", '{"prompt": "problem", "response": "attempt"}'),
    ({"question": "2 + 2?", "chosen": "4", "rejected": "5"}, "dpo", '"prompt": "question"'),
]


@pytest.mark.parametrize(("record", "stage", "part"), OFFERED)
def test_the_map_that_is_offered_works_when_it_is_written(
    record: dict[str, Any], stage: str, part: str, tmp_path: Path
) -> None:
    hint = suggestion(record, stage)
    assert part in hint
    entry = json.loads("{" + hint.partition("e.g. ")[2].partition(" (prompts")[0] + "}")
    (tmp_path / "x.jsonl").write_text(json.dumps(record))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"x": {"file_name": "x.jsonl", **entry}}))
    told = "ppo" if "(prompts" in hint else stage
    assert run(["validate", "dataset=x", f"dataset_dir={tmp_path}", f"stage={told}", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Yes", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}, "transcript"),
        ({"system": "SYSTEM: Be kind.", "chat": "USER: Hi\n\nASSISTANT: Yes"}, "transcript"),
        ({"messages": json.dumps([ASK, REPLY])}, "JSON text"),
        ({"messages": str([ASK, REPLY])}, "Python list"),
        ({"chosen": "Is it? Yes.", "rejected": "Is it? No."}, "split off the prompt"),
        ({"parent_id": None, "text": "Why?", "role": "prompter"}, "a tree"),
        ({"prompt": {"text": "Why?", "replies": []}}, "a tree"),
        ({"conversation_a": [ASK, REPLY], "conversation_b": [ASK, REPLY], "winner": "model_a"}, "chosen and rejected"),
        ({"messages": [ASK, REPLY], "rejected_messages": [ASK, REPLY]}, "chosen and rejected"),
        ({"conversation": [{"input": "Why?", "output": "So."}]}, '{"input", "output"}'),
        ({"id": "1", "data": ["Why?", "So."]}, '"data" is a list of texts'),
        ({"segments": [{"label": True, "text": "So."}]}, '{"label", "text"}'),
        ({"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}, '{"role", "parts"}'),
        ({"version": "1", "data": [{"instruction": "Why?", "output": "So."}]}, 'the list "data"'),
        ({"instruction": ["Why?", "When?"], "output": ["So.", "Now."]}, "orient"),
        ({"instruction": {"0": "Why?"}, "output": {"0": "So."}}, "orient"),
        ({"a": 1}, ""),
        (5, ""),
    ],
)
def test_where_no_map_can_help_the_record_is_named_for_what_it_is(record: object, words: str) -> None:
    hint = suggestion(record, "dpo")
    assert words in hint and "columns" not in hint and (hint == "") == (words == "")


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [ASK], "completion": [REPLY]},
        {"input": [ASK], "output": "So."},
        {"query": "Why?", "answers": '[{"name": "f", "arguments": {}}]', "tools": "[]"},
    ],
)
def test_an_answer_that_no_map_reaches_is_named_beside_the_map_of_the_prompt(record: dict[str, Any]) -> None:
    hint = suggestion(record, "sft")
    assert "prompts without answers" in hint and f'to train on "{list(record)[1]}"' in hint


def test_prompts_alone_are_not_offered_where_pairs_or_labels_are_trained() -> None:
    assert "prompts without answers" not in suggestion({"messages": [ASK, REPLY]}, "dpo")


def test_several_answers_are_refused_with_every_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fixtures: Path
) -> None:
    """A bare result beside a worked solution: which one is trained is not guessed."""
    rows = [{"question": f"{n} + 1?", "solution": f"We add one: {n + 1}.", "answer": str(n + 1)} for n in range(3)]
    path = tmp_path / "limo.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = detect(rows)
    assert found.format is None and '"answer" and "solution"' in found.reason
    words = [f"dataset={path}", f"model_name_or_path={fixtures / 'tiny'}", "template=chatml"]
    assert run(["pack", *words, "-o", str(tmp_path / "out")]) == 1
    packed = capsys.readouterr().err
    assert run(["validate", str(path)]) == 1
    checked = " ".join(capsys.readouterr().out.split())
    for key in ("answer", "solution"):
        assert f'"columns": {{"prompt": "question", "response": "{key}"}}' in packed
        assert f'"columns": {{"prompt": "question", "response": "{key}"}}' in checked
    row = {"instruction": "a", "input": "", "output": "b", "answer": "c"}
    assert detect([row]).format == "alpaca"


_KEYS = st.sampled_from(["role", "content", "from", "value", "messages", "prompt", "chosen", "rejected", "label", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_KEYS, JSON, max_size=5), st.sampled_from(["sft", "dpo", "kto", "pt", "grpo"]))
def test_any_record_gives_a_hint_or_none(record: dict[str, Any], stage: str) -> None:
    assert isinstance(suggestion(record, stage), str)
