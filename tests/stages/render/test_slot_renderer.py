"""Rendering: what is trained is the answer and its end, for any conversation and any template."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.templates import COMPATS, Template, load_template, template_names
from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.render.slot_renderer import Renderer, RenderOptions
from stages.tokenize.backends import ReferenceEncoder
from stages.tokenize.batch import encode
from stages.tokenize.fitted import FittedTokenizer, fit
from stages.tokenize.tokenizer_files import load_tokenizer_files
from stages.truncate import CutOptions
from stages.truncate.apply import cut, example_tokens
from stages.writers.labels import IGNORE, assemble_lm

FILES = load_tokenizer_files(str(Path(__file__).parents[3] / "fixtures" / "tiny"))
PLAIN = [name for name in template_names() if not load_template(name).reasoning]
REASONING = [name for name in template_names() if load_template(name).reasoning]
# text without the thought words, which some templates give a meaning
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: "think" not in text)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4)


@functools.cache
def fitted(
    name: str, compat: str = COMPATS[0]
) -> tuple[Template, FittedTokenizer, tokenizers.Tokenizer, ReferenceEncoder]:
    template = load_template(name, compat)
    made = fit(FILES, template)
    return template, made, tokenizers.Tokenizer.from_str(made.json_text), ReferenceEncoder(made.json_text)


def chat(turns: list[tuple[str, str]], system: str | None = None) -> Conversation:
    messages = []
    for question, answer in turns:
        messages += [Message("user", question), Message("assistant", answer)]
    return Conversation(tuple(messages), system=system)


def render(name: str, record: Conversation, options: RenderOptions | None = None) -> list[tuple[str, int]]:
    """Segments as text, special ids as the text of their token, each with its trained flag."""
    template, made, tokenizer, _ = fitted(name)
    notes: list[Note] = []
    found = Renderer(template, options or RenderOptions(), made.ids).render(record, notes)
    assert found is not None, notes
    texts = [
        "".join(piece if isinstance(piece, str) else str(tokenizer.id_to_token(piece)) for piece in segment)
        for segment in found.segments
    ]
    return list(zip(texts, found.trained, strict=True))


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(PLAIN), turns=TURNS, system=st.one_of(st.none(), TEXT))
def test_trained_segments_are_the_answers(name: str, turns: list[tuple[str, str]], system: str | None) -> None:
    """A trained segment is the template's assistant slot around one answer, nothing else; prompts are never trained."""
    template, made, _, _ = fitted(name)
    segments = render(name, chat(turns, system))
    assert [flag for _, flag in segments] == [0, 1] * len(turns)
    for (_, answer), (text, _) in zip(turns, segments[1::2], strict=True):
        expected = ""
        for slot in template.assistant:
            if slot.kind == "text":
                expected += slot.value.replace("{{content}}", answer)
            elif slot.kind == "id":
                expected += made.ids.eos_text if slot.value == "eos" else made.ids.bos_text
            elif slot.kind == "token":
                expected += slot.value
        assert text == expected
    for (question, _), (text, _) in zip(turns, segments[::2], strict=True):
        assert question in text


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(template_names()),
    turns=st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1)] * 2), min_size=1),
    system=st.one_of(st.none(), st.text(min_size=1)),
    word=st.sampled_from(["", "", "<think>", "</think>", "<|START_THINKING|>", "[THINK]"]),
    options=st.builds(
        RenderOptions,
        enable_thinking=st.sampled_from([True, False, None]),
        preserve_thinking=st.booleans(),
        train_on_prompt=st.booleans(),
        mask_history=st.booleans(),
        default_system=st.sampled_from([None, "", "Be brief."]),
    ),
)
def test_plain_texts_are_written_as_the_whole_record_is(
    name: str, turns: list[tuple[str, str]], system: str | None, word: str, options: RenderOptions
) -> None:
    """The quick way for records that are nothing but texts gives the same segments and traits."""
    template, made, _, _ = fitted(name)
    turns = [(question, word + answer) for question, answer in turns]
    slow, quick = Renderer(template, options, made.ids), Renderer(template, options, made.ids)
    texts = [text for turn in turns for text in turn]
    expected = slow.render(chat(turns, system), [])
    assert quick.plain(texts if system is None else [*texts, system], system is not None) == expected


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(REASONING), turns=TURNS, thinking=st.sampled_from([True, False, None]))
def test_an_empty_thought_is_where_the_option_says(
    name: str, turns: list[tuple[str, str]], thinking: bool | None
) -> None:
    """enable_thinking true trains an empty thought before an answer without one; else it goes into the prompt."""
    template, _, _, _ = fitted(name)
    empty = template.thought_words[1] if template.kind == "reasoning-close-only" else "".join(template.thought_words)
    segments = render(name, chat(turns), RenderOptions(enable_thinking=thinking))
    for at in range(0, len(segments), 2):
        prompt, answer = segments[at][0], segments[at + 1][0]
        assert answer.startswith(empty) if thinking else prompt.endswith(empty)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(template_names()), turns=TURNS, limit=st.integers(2, 200), from_end=st.booleans())
def test_rows_hold_the_limit_and_the_mask(name: str, turns: list[tuple[str, str]], limit: int, from_end: bool) -> None:
    """Never longer than the limit; a label is -100 or the very token; what the cut takes adds up."""
    template, made, _, encoder = fitted(name)
    rendered = Renderer(template, RenderOptions(mask_history=from_end), made.ids).render(chat(turns), [])
    assert rendered is not None
    encoded = encode([rendered], encoder)
    eos = made.ids.eos if template.efficient_eos else None
    options = CutOptions("lm", limit, from_end=from_end, efficient_eos=eos)
    kept, changed = cut(encoded.segments, encoded.counts, options)
    rows = assemble_lm(encoded.ids, encoded.segments, kept, encoded.trained, encoded.counts, options)
    assert len(rows.ids) == len(rows.labels) == int(example_tokens(kept, encoded.counts, options)[0]) <= max(limit, 1)
    before = int(example_tokens(encoded.segments, encoded.counts, options)[0])
    assert before - len(rows.ids) == int((encoded.segments - kept).sum())
    assert bool(changed[0]) == (before != len(rows.ids))
    marks = 0
    for token, label in zip(rows.ids.tolist(), rows.labels.tolist(), strict=True):
        if label not in (IGNORE, token):
            assert label == eos  # the first token of a source says that the answer before it ends
            marks += 1
    assert marks == 0 or template.efficient_eos


@pytest.mark.parametrize("name", ["qwen", "llama3", "mistral", "glm4"])
def test_weight_zero_is_never_trained(name: str) -> None:
    """A message of weight 0 is in the row and not in the loss."""
    record = chat([("a", "b"), ("c", "d")])
    messages = list(record.messages)
    messages[1] = messages[1]._replace(weight=0)
    assert [flag for _, flag in render(name, Conversation(tuple(messages)))] == [0, 0, 0, 1]


def test_tools_are_written_by_date() -> None:
    """The llama3 tool prompt carries template_date, never the clock."""
    record = chat([("a", "b")])._replace(tools='[{"name": "f", "description": "d", "parameters": {}}]')
    text = render("llama3", record, RenderOptions(template_date="2025-01-02"))[0][0]
    assert "Today Date: 02 Jan 2025" in text


def test_a_format_for_one_call_refuses_two() -> None:
    """What a template cannot write is a note of the record, not a traceback."""
    calls = (ToolCall("f", {}), ToolCall("g", {}))
    record = Conversation((Message("user", "x"), Message("function", "", calls=calls)))
    template, made, _, _ = fitted("glm4")
    notes: list[Note] = []
    assert Renderer(template, RenderOptions(), made.ids).render(record, notes) is None
    assert notes[0].rule == "tools.parallel-calls"


def test_every_template_fits_or_names_what_is_missing() -> None:
    """All 143 load in both versions; a token that the tokenizer lacks is named, not guessed."""
    assert len(template_names()) == 143
    for name in template_names():
        for compat in COMPATS:
            made = fit(FILES, load_template(name, compat))
            assert not made.missing_tokens


# --- where LLaMA-Factory's own ways show ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "says"), [("qwen3", "Use 1 here, {{idx}}"), ("llama2", "Use {{idx}} here, {{idx}}")])
def test_an_index_in_the_users_words_is_filled_in_once(name: str, says: str) -> None:
    """As upstream does, which fills in its own placeholder behind the text; not where the system prompt goes along."""
    record = chat([("Hi.", "Hello."), ("Use {{idx}} here, {{idx}}", "Yes.")])
    assert says in render(name, record)[2][0]


CALL = ToolCall("f", {"a": 1})


@pytest.mark.parametrize(("inline", "between"), [(True, ""), (False, "\n")])
def test_a_call_inside_the_text_follows_at_once(inline: bool, between: str) -> None:
    """Only a call that stood beside the text, as OpenAI's do, gets a line of its own."""
    turn = Message("function", "Let me see. ", calls=(CALL,), inline=inline)
    record = Conversation((Message("user", "Go."), turn))
    assert f"Let me see. {between}<tool_call>" in render("qwen", record)[1][0]


@pytest.mark.parametrize("word", ["<think>", "</think>"])
def test_a_thought_word_in_a_call_counts_as_a_thought(word: str) -> None:
    """No empty thought is then put in front, as upstream looks into the calls as well."""
    with_word = Message("function", "", calls=(ToolCall("f", {"q": f"a {word} b"}),))
    without = Message("function", "", calls=(CALL,))
    for turn, empty in ((with_word, False), (without, True)):
        answer = render("qwen3", Conversation((Message("user", "Go."), turn)))[1][0]
        assert answer.startswith("<think>\n\n</think>\n\n") == empty


def test_a_foreign_tool_format_ends_a_call_as_the_template_does() -> None:
    """With the template's EOS; where that is appended to the whole example, with nothing."""
    record = Conversation((Message("user", "Go."), Message("function", "", calls=(CALL,))))
    options = RenderOptions(tool_format="glm4")
    for name in ("qwen", "gemma2"):
        template, made, _, _ = fitted(name)
        text = render(name, record, options)[1][0]
        assert text.endswith(made.ids.eos_text) != template.efficient_eos
