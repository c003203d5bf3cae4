"""The format is found out from the records, with a reason, and a mixture is refused by name."""

from __future__ import annotations

import pytest

from stages.formats.detect import classify, detect
from stages.formats.table import FORMATS

HG = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
FU = [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Ho"}]
UA = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]


@pytest.mark.parametrize(
    ("record", "format_id", "keys"),
    [
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", {"prompt": "instruction", "response": "output"}),
        ({"prompt": "a", "completion": "b"}, "alpaca", {"prompt": "prompt", "response": "completion"}),
        ({"question": "a", "answer": "b"}, "alpaca", {"prompt": "question", "response": "answer"}),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "alpaca-dpo", {"prompt": "prompt", "chosen": "chosen"}),
        ({"instruction": "a", "output": "b", "kto_tag": True}, "alpaca-kto", {"kto_tag": "kto_tag"}),
        ({"prompt": "a", "completion": "b", "label": False}, "alpaca-kto", {"kto_tag": "label"}),
        ({"conversations": HG}, "sharegpt", {"messages": "conversations", "role_tag": "from"}),
        ({"messages": UA}, "openai", {"messages": "messages", "role_tag": "role"}),
        ({"conversations": UA}, "openai", {"messages": "conversations"}),
        ({"messages": HG}, "sharegpt", {"messages": "messages"}),
        ({"conversations": FU}, "sharegpt", {"user_tag": "user", "assistant_tag": "assistant"}),
        ({"conversations": HG[:1], "chosen": HG[1], "rejected": HG[1]}, "sharegpt-dpo", {"chosen": "chosen"}),
        ({"messages": UA[:1], "chosen": UA[1], "rejected": UA[1]}, "openai-dpo", {"rejected": "rejected"}),
        ({"messages": UA, "label": True}, "openai-kto", {"kto_tag": "label"}),
        ({"conversations": HG, "kto_tag": False}, "sharegpt-kto", {"kto_tag": "kto_tag"}),
        ({"text": "a", "meta": {}}, "pretrain", {"prompt": "text"}),
        ({"content": "a"}, "pretrain", {"prompt": "content"}),
    ],
)  # fmt: skip
def test_a_record_shows_its_format_and_its_keys(
    record: dict[str, object], format_id: str, keys: dict[str, str]
) -> None:
    found = detect([record])
    assert found.format == format_id
    assert found.fields is not None
    assert {name: getattr(found.fields, name) for name in keys} == keys
    assert format_id in found.reason


@pytest.mark.parametrize("record", [5, None, "text", [], {}, {"a": "b"}, {"messages": "text"}])
def test_what_fits_nothing_is_said_to_fit_nothing(record: object) -> None:
    found = detect([record])
    assert found.format is None
    assert not found.mixed
    assert found.reason


def test_a_label_that_is_no_boolean_makes_no_feedback_data() -> None:
    guess = classify({"instruction": "a", "output": "b", "label": "sports"})
    assert guess is not None
    assert guess.format == "alpaca"


def test_a_mixture_names_the_first_record_of_each_format() -> None:
    found = detect([{"text": "a"}] * 3 + [{"messages": UA}] + [{"text": "b"}])
    assert found.format is None
    assert found.mixed
    assert found.first == {"pretrain": 0, "openai": 3}
    assert "openai (first at record 3)" in found.reason


def test_an_incomplete_record_decides_nothing() -> None:
    """A preference record that lacks its answers, an alpaca record without output: bad records, no other format."""
    pair = {"conversations": HG[:1], "chosen": HG[1], "rejected": HG[1]}
    assert detect([pair, {"conversations": HG[:1]}]).format == "sharegpt-dpo"
    assert detect([{"conversations": HG[:1], "chosen": HG[1]}, pair]).format == "sharegpt-dpo"
    assert detect([{"instruction": "a"}, {"instruction": "a", "output": "b"}]).format == "alpaca"
    assert detect([{"instruction": "a"}]).format == "alpaca"


def test_records_that_are_no_objects_do_not_disturb() -> None:
    found = detect([7, {"text": "a"}, None])
    assert found.format == "pretrain"
    assert found.unknown == 2


def test_no_records_is_no_format() -> None:
    assert detect([]).format is None


def test_a_default_map_is_found_again() -> None:
    found = detect([{"conversations": HG}])
    assert found.fields == FORMATS["sharegpt"].default_fields


def test_functions_are_the_tools_of_records_that_have_no_other() -> None:
    functions = {"functions": [{"name": "f", "parameters": {}}]}
    turns = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}
    for other, key in (({}, "functions"), ({"tools": "[1]"}, "tools")):
        found = detect([turns | other, turns | functions])
        assert found.fields is not None and found.fields.tools == key
