"""What a template does around an answer is found by looking, for every kind of template we know."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.messages import Dialect
from stages.render.jinja.probe import Traits, learn
from stages.render.jinja.probe_texts import Ending
from stages.render.jinja.sandbox.process import Wall
from stages.render.jinja.sandbox.requests import Program

FIXTURES = Path(__file__).parents[4] / "fixtures"
ADDED = tuple(
    token["content"] for token in orjson.loads((FIXTURES / "tiny" / "tokenizer.json").read_bytes())["added_tokens"]
)
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}


def traits(source: str, stops: tuple[str, ...] = ()) -> Traits:
    template = AutoTemplate({"default": source}, VARIABLES, ADDED, stops)
    with Wall(Program(template.sources, template.variables)) as wall:
        return learn(template, wall.render, "default")


def good(name: str) -> Traits:
    return traits((FIXTURES / "jinja" / "good" / f"{name}.jinja").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "headers", "inner", "last"),
    [
        ("chatml", ("<|im_start|>assistant\n",), "<|im_end|>", "<|im_end|>"),
        ("thinking", ("<|im_start|>assistant\n",), "<|im_end|>", "<|im_end|>"),
        ("generation", ("<|im_start|>assistant\n",), "<|im_end|>", "<|im_end|>"),
        ("counts", ("<|im_start|>assistant",), "<|im_end|>", "<|im_end|>"),
        ("channels", ("<|start_header_id|>assistant",), "<|eot_id|>", "<|endoftext|>"),
        ("header-always", ("<|start_header_id|>assistant<|end_header_id|>\n\n",), "<|eot_id|>", "<|eot_id|>"),
        ("trailing-end", ("<|assistant|>\n",), "<|eot_id|>", "<|eot_id|>"),
        ("inst", ("[/INST]", "[/RESULT]"), "</s>", "</s>"),
        ("null-and-text", ("<|assistant|>",), "</s>", "</s>"),
        ("no-stop", ("assistant: ",), "", ""),
    ],
)
def test_header_and_stop_are_found(name: str, headers: tuple[str, ...], inner: str, last: str) -> None:
    found = good(name)
    assert (found.headers, found.inner.stop, found.last.stop) == (headers, inner, last)


def test_a_blank_before_the_stop_is_known() -> None:
    assert good("inst").inner == Ending("</s>", " ")


@pytest.mark.parametrize(
    ("name", "dialect", "stop"),
    [
        ("chatml", Dialect(), "<|im_end|>"),
        ("channels", Dialect(), "<|eom_id|>"),
        ("inst", Dialect(nine_ids=True), "</s>"),
        ("null-and-text", Dialect(null_content=True, text_arguments=True), "</s>"),
    ],
)
def test_how_tool_calls_must_be_given_is_found(name: str, dialect: Dialect, stop: str) -> None:
    found = good(name)
    assert found.dialect == dialect
    assert found.tools_why_not == ""
    assert (found.call_inner.stop, found.call_last.stop) == (stop, stop)


def test_a_template_without_tool_calls_says_why_it_cannot_write_them() -> None:
    assert "add_up" in good("generation").tools_why_not


def test_the_generation_prompt_s_own_thought_is_not_part_of_an_inner_answer() -> None:
    source = (FIXTURES / "jinja" / "good" / "thinking.jinja").read_text(encoding="utf-8")
    found = traits("{% set enable_thinking = false %}" + source)
    assert found.headers == ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_start|>assistant\n")


def test_a_system_prompt_that_the_template_brings_is_found() -> None:
    start = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe nice.<|im_end|>\n{% endif %}"
    body = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert traits(start.replace("\n", "{{ '\\n' }}") + body.replace("\n", "{{ '\\n' }}")).default_system == "Be nice."
    assert good("chatml").default_system == ""


def test_a_token_that_the_generation_config_lists_ends_an_inner_answer() -> None:
    """As in GLM: the next question's mark is what the model writes when it is done."""
    source = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    assert traits(source).inner == Ending()
    assert traits(source, ("<|user|>",)).inner == Ending("<|user|>")
    assert traits(source, ("<|user|>",)).last == Ending()


def test_an_inner_end_is_found_where_the_last_answer_has_none() -> None:
    source = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% if m.role == 'assistant' and not loop.last %}<|eot_id|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    found = traits(source)
    assert (found.inner, found.last) == (Ending("<|eot_id|>"), Ending())


def test_a_template_that_insists_on_a_system_prompt_is_tried_with_one() -> None:
    source = "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}" + (
        FIXTURES / "jinja" / "good" / "chatml.jinja"
    ).read_text(encoding="utf-8")
    assert traits(source).headers == ("<|im_start|>assistant\n",)


@pytest.mark.parametrize(
    "source", ["{{ raise_exception('never') }}", "{% if %}", "{{ messages.x.y }}", "always the same"]
)
def test_a_template_that_writes_no_conversation_is_refused_with_its_reason(source: str) -> None:
    assert traits(source).refuses


def test_a_template_that_takes_only_parts_is_refused_by_that_name() -> None:
    """What it leaves out does not say why: prep gives it texts, and it goes through lists."""
    loop = "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
    found = traits("{% for m in messages %}<|im_start|>{{ m.role }}\n" + loop + "<|im_end|>\n{% endfor %}")
    assert "lists of parts" in found.refuses
    assert "lists of parts" not in traits("{% for m in messages %}{{ m.role }}{% endfor %}").refuses
