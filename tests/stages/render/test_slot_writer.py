"""Slots: what one message becomes, and what the first one carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.templates import load_template
from stages.core.conversation import Conversation, Message, ToolCall
from stages.render.slot_writer import SlotWriter
from stages.render.tool_formats.base import ToolFormatError
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files

FILES = load_tokenizer_files(str(Path(__file__).parents[3] / "fixtures" / "tiny"))


def writer(name: str, chosen_format: str | None = None, default_system: str = "") -> SlotWriter:
    template = load_template(name)
    return SlotWriter(template, fit(FILES, template).ids, default_system, chosen_format, "2026-11-21")


def test_the_first_message_carries_the_system_prompt() -> None:
    """The record's own prompt takes the default's place; later messages carry none."""
    message = Message("user", "Hi")
    write = writer("qwen3", default_system="Be brief.").write
    texts = [
        "".join(map(str, write(message, "Hi", position, Conversation((message,), system), [])))
        for position, system in ((0, None), (0, "Be long."), (2, None))
    ]
    assert ["Be brief." in text for text in texts] == [True, False, False]
    assert "Be long." in texts[1]
    assert texts[0].endswith(texts[2])


def test_an_empty_text_is_no_piece() -> None:
    """Nothing is tokenized where a slot writes nothing around an empty text."""
    message = Message("assistant", "")
    assert "" not in writer("llama2").write(message, "", 1, Conversation((message,)), [])


def test_calls_that_cannot_be_written_are_refused() -> None:
    """Two calls in a turn, where the tool format writes one."""
    call = ToolCall("f", {"a": 1})
    message = Message("function", "", calls=(call, call))
    with pytest.raises(ToolFormatError, match="one call a turn"):
        writer("qwen3", chosen_format="glm4").write(message, "", 1, Conversation((message,)), [])
