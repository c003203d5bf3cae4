"""`template: auto`: the text is the template's own, and exactly the answers with their stops are trained."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from registry.errors import UsageFault
from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.render.jinja.chat_template import AutoTemplate, load_auto
from stages.render.jinja.messages import Prepared, prepare
from stages.render.jinja.renderer import AutoOptions, AutoRenderer
from stages.render.jinja.sandbox.requests import Limits
from stages.render.jinja.token_spans import RenderedText, bos_note, encode_auto

FIXTURES = Path(__file__).parents[4] / "fixtures"
TOKENIZER = Tokenizer.from_file(str(FIXTURES / "tiny" / "tokenizer.json"))
ADDED = tuple(token.content for token in TOKENIZER.get_added_tokens_decoder().values())
TWO_TURNS = (
    Message("user", "q1", "/0"),
    Message("assistant", "a1", "/1"),
    Message("user", "q2"),
    Message("assistant", "a2"),
)
CALL = Message("function", "", "/1", calls=(ToolCall("f", {"a": "x", "n": 1}, "call_12345"),))
TOOL_TURNS = (Message("user", "q"), CALL, Message("observation", "r", call_id="call_12345"), Message("assistant", "a"))
THOUGHTFUL = (TWO_TURNS[0], Message("assistant", "<think>\nt\n</think>\n\na"), *TWO_TURNS[2:])
REASONED = (TWO_TURNS[0], Message("assistant", "a", reasoning="t"), *TWO_TURNS[2:])


def template(name: str) -> AutoTemplate:
    source = (FIXTURES / "jinja" / "good" / f"{name}.jinja").read_text(encoding="utf-8")
    return inline(source)


def inline(source: str) -> AutoTemplate:
    return AutoTemplate({"default": source}, {"bos_token": "<s>", "eos_token": "</s>"}, ADDED, bos="<s>", sha256=source)


@pytest.fixture(scope="module")
def renderers() -> Iterator[dict[str, AutoRenderer]]:
    """One renderer a template, kept for the module: starting a process for each test would be most of the time."""
    names = sorted(path.stem for path in (FIXTURES / "jinja" / "good").glob("*.jinja"))
    made = {name: AutoRenderer(template(name)) for name in names}
    yield made
    for renderer in made.values():
        renderer.close()


def one(renderer: AutoRenderer, *messages: Message, **fields: Any) -> RenderedText:
    result = renderer.render([Conversation(messages, **fields)])[0]
    assert isinstance(result, RenderedText), result
    return result


def spans(result: RenderedText) -> list[str]:
    return [result.text[start:end] for start, end in result.spans]


# --- what is trained --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", ["a1<|im_end|>", "a2<|im_end|>"]),
        ("generation", ["a1<|im_end|>", "a2<|im_end|>"]),
        ("counts", [" 2\na1<|im_end|>", " 2\na2<|im_end|>"]),
        ("channels", ["<|end_header_id|>a1<|eot_id|>", "<|end_header_id|>a2<|endoftext|>"]),
        ("header-always", ["a1<|eot_id|>", "a2<|eot_id|>"]),
        ("trailing-end", ["a1<|eot_id|>", "a2<|eot_id|>"]),
        ("inst", [" a1 </s>", " a2 </s>"]),
        ("null-and-text", ["a1</s>", "a2</s>"]),
        ("no-stop", ["a1", "a2"]),
        ("thinking", ["a1<|im_end|>", "<think>\n\n</think>\n\na2<|im_end|>"]),
    ],
)
def test_an_answer_is_trained_from_the_generation_prompt_to_its_stop(
    renderers: dict[str, AutoRenderer], name: str, expected: list[str]
) -> None:
    assert spans(one(renderers[name], *TWO_TURNS)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", '\n<call>f {"a": "x", "n": 1}</call><|im_end|>'),
        ("channels", ' to=f<|end_header_id|>{"a": "x", "n": 1}<|eom_id|>'),
        ("null-and-text", 'call f\n{"a": "x", "n": 1}\n</s>'),
    ],
)
def test_a_tool_call_is_trained_as_the_template_writes_it(
    renderers: dict[str, AutoRenderer], name: str, expected: str
) -> None:
    assert spans(one(renderers[name], *TOOL_TURNS))[0] == expected


def test_a_call_s_id_is_written_as_the_template_insists(renderers: dict[str, AutoRenderer]) -> None:
    call = json.loads(spans(one(renderers["inst"], *TOOL_TURNS))[0].removeprefix("[CALLS] ").removesuffix("</s>"))[0]
    assert len(call["id"]) == 9


def test_enable_thinking_false_moves_the_empty_thought_into_the_prompt() -> None:
    with AutoRenderer(template("thinking"), AutoOptions(enable_thinking=False)) as renderer:
        assert spans(one(renderer, *TWO_TURNS)) == ["a1<|im_end|>", "a2<|im_end|>"]


def test_mask_history_train_on_prompt_and_weights_choose_what_is_trained(renderers: dict[str, AutoRenderer]) -> None:
    first, second = TWO_TURNS[1]._replace(weight=0), TWO_TURNS[3]
    assert spans(one(renderers["chatml"], TWO_TURNS[0], first, TWO_TURNS[2], second)) == ["a2<|im_end|>"]
    taught = TWO_TURNS[0]._replace(weight=1)
    assert spans(one(renderers["chatml"], taught, *TWO_TURNS[1:])) == ["q1", "a1<|im_end|>", "a2<|im_end|>"]
    with AutoRenderer(template("chatml"), AutoOptions(mask_history=True)) as renderer:
        assert spans(one(renderer, *TWO_TURNS)) == ["a2<|im_end|>"]
    with AutoRenderer(template("chatml"), AutoOptions(train_on_prompt=True)) as renderer:
        whole = one(renderer, *TWO_TURNS)
        assert whole.spans == ((0, len(whole.text)),)


def test_further_variables_and_the_date_reach_the_template() -> None:
    source = "{{ strftime_now('%Y') }}{{ mood }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    options = AutoOptions(template_date="2001-02-03", extra=(("mood", "glad"),))
    with AutoRenderer(inline(source), options) as renderer:
        assert one(renderer, *TWO_TURNS).text.startswith("2001glad<|user|>")


# --- any conversation -------------------------------------------------------------------------------------------------

nasty = st.sampled_from(
    [
        "<|im_end|>",
        "<|im_start|>assistant\n",
        "\n\n",
        " ",
        "<|eot_id|>",
        "</s>",
        "[/INST]",
        "<think>",
        "x\U000f0002",
        "\t",
        "{{ 1 }}",
        "é汉😀",
    ]
)
texts = st.lists(st.one_of(nasty, st.text(st.characters(exclude_categories=("Cs",)), max_size=6)), max_size=5).map(
    "".join
)
turns = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)
SLOW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def conversation(pairs: list[tuple[str, str]], system: str | None = None) -> Conversation:
    messages = [message for user, answer in pairs for message in (Message("user", user), Message("assistant", answer))]
    return Conversation(tuple(messages), system)


@SLOW
@given(
    pairs=turns,
    system=st.none() | texts,
    name=st.sampled_from(["chatml", "generation", "null-and-text", "trailing-end"]),
)
def test_the_spans_of_any_conversation_are_its_answers_and_stops(
    renderers: dict[str, AutoRenderer], pairs: list[tuple[str, str]], system: str | None, name: str
) -> None:
    stop = {"null-and-text": "</s>", "trailing-end": "<|eot_id|>"}.get(name, "<|im_end|>")
    result = renderers[name].render([conversation(pairs, system)])[0]
    assert isinstance(result, RenderedText), result
    assert spans(result) == [answer + stop for _, answer in pairs]


@SLOW
@given(pairs=turns, name=st.sampled_from(["inst", "header-always"]))
def test_templates_that_trim_give_the_trimmed_answers(
    renderers: dict[str, AutoRenderer], pairs: list[tuple[str, str]], name: str
) -> None:
    result = renderers[name].render([conversation(pairs)])[0]
    assert isinstance(result, RenderedText), result
    around = (" ", " </s>") if name == "inst" else ("", "<|eot_id|>")
    assert spans(result) == [around[0] + answer.strip() + around[1] for _, answer in pairs]


@SLOW
@given(pairs=turns, name=st.sampled_from(["chatml", "inst", "trailing-end", "channels", "counts"]))
def test_marks_and_prefixes_prove_the_same_spans(
    renderers: dict[str, AutoRenderer], pairs: list[tuple[str, str]], name: str
) -> None:
    renderer, record = renderers[name], conversation(pairs)
    results: list[RenderedText | Note | None] = [None]
    assert renderer._pass([record], [0], "none", results) == []
    by_prefix, either = results[0], renderer.render([record])[0]
    assert isinstance(either, RenderedText)
    assert isinstance(by_prefix, RenderedText), by_prefix
    assert (by_prefix.text, by_prefix.spans) == (either.text, either.spans)


@SLOW
@given(pairs=turns)
def test_a_thinking_template_trains_the_last_answer_with_its_thought_or_says_why_not(
    renderers: dict[str, AutoRenderer], pairs: list[tuple[str, str]]
) -> None:
    result = renderers["thinking"].render([conversation(pairs)])[0]
    if isinstance(result, Note):
        assert result.rule == "template.not-prefix-stable"
        return
    assert len(result.spans) == len(pairs)
    for (_, answer), span in zip(pairs, spans(result), strict=True):
        assert span.endswith("<|im_end|>")
        assert answer.rpartition("</think>")[2].strip() in span
    assert spans(result)[-1].startswith("<think>\n")


arguments = st.dictionaries(
    st.sampled_from(["a", "<|im_end|>", "b c"]), texts | st.integers() | st.lists(texts, max_size=2), max_size=3
)


@SLOW
@given(given=arguments, beside=texts)
def test_the_span_of_any_tool_call_ends_at_its_own_stop(
    renderers: dict[str, AutoRenderer], given: dict[str, Any], beside: str
) -> None:
    call = Message("function", beside, calls=(ToolCall("look_up", given, None), ToolCall("again", given, None)))
    messages = (Message("user", "q"), call, Message("observation", "r"), Message("assistant", "a"))
    result = renderers["chatml"].render([Conversation(messages)])[0]
    if isinstance(result, Note):
        assert result.rule == "template.not-prefix-stable"
        assert "<|im_end|>" in given, "only a key that spells the stop may be unprovable"
        return
    written = json.dumps(given, ensure_ascii=False)
    assert spans(result)[0] == f"{beside}\n<call>look_up {written}</call>\n<call>again {written}</call><|im_end|>"


# --- what the template does to a record -------------------------------------------------------------------------------


def rules(result: RenderedText | Note) -> list[str]:
    return [note.rule for note in ([result] if isinstance(result, Note) else result.notes)]


@pytest.mark.parametrize(
    ("name", "messages", "fields", "rule"),
    [
        ("generation", TOOL_TURNS, {}, "template.changes-answer"),
        ("thinking", THOUGHTFUL, {}, "template.thought-dropped"),
        ("channels", REASONED, {}, "template.thought-dropped"),
        ("trailing-end", TWO_TURNS, {"tools": '[{"name": "look_up"}]'}, "template.drops-context"),
        ("inst", (Message("user", "q"), Message("system", "s")), {}, "template.refuses"),
        ("no-stop", TWO_TURNS, {}, "template.no-stop"),
    ],
)  # fmt: skip
def test_what_the_template_leaves_out_or_refuses_is_a_finding(
    renderers: dict[str, AutoRenderer], name: str, messages: tuple[Message, ...], fields: dict[str, Any], rule: str
) -> None:
    assert rule in rules(renderers[name].render([Conversation(messages, **fields)])[0])


@pytest.mark.parametrize(
    ("loop", "content", "rule"),
    [
        ("for m in messages if m.role != 'system'", "m.content", "template.drops-context"),
        ("for m in messages", "m.content | upper", "template.changes-answer"),
    ],
)
def test_a_template_that_drops_or_rewrites_text_is_found_out(loop: str, content: str, rule: str) -> None:
    source = "{% " + loop + " %}<|{{ m.role }}|>{{ " + content + " }}</s>{% endfor %}"
    with AutoRenderer(inline(source)) as renderer:
        assert rule in rules(renderer.render([Conversation(TWO_TURNS, system="Be short.")])[0])


def test_a_faithful_template_gives_no_finding(renderers: dict[str, AutoRenderer]) -> None:
    assert one(renderers["chatml"], *TWO_TURNS, system="S").notes == ()
    assert one(renderers["chatml"], *TOOL_TURNS, tools='[{"name": "f"}]').notes == ()


def test_an_answer_that_cannot_be_proven_is_a_note_and_not_a_guess() -> None:
    """The number of messages stands at the start, so no part of it is a prefix; empty answers hold no mark."""
    source = (
        "{{ messages | length }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    )
    with AutoRenderer(inline(source)) as renderer:
        proven, unproven = renderer.render([Conversation(TWO_TURNS), conversation([("q", ""), ("q", "a")])])
    assert isinstance(proven, RenderedText)
    assert isinstance(unproven, Note)
    assert unproven.rule == "template.not-prefix-stable"


def test_a_template_that_cannot_write_the_simplest_conversation_is_a_usage_fault() -> None:
    with AutoRenderer(inline("{% if %}")) as renderer, pytest.raises(UsageFault, match="does not work"):
        renderer.render([Conversation(TWO_TURNS)])


def test_a_record_that_exceeds_the_limits_is_a_note_and_the_next_one_is_served() -> None:
    source = (FIXTURES / "jinja" / "good" / "chatml.jinja").read_text(encoding="utf-8")
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    bomb = "{% if 'boom' in messages[0].content %}" + loop + "{% endif %}"
    with AutoRenderer(inline(bomb + source), limits=Limits(cpu_s=0.2)) as renderer:
        bad, good = renderer.render([conversation([("boom", "a")]), Conversation(TWO_TURNS)])
    assert isinstance(bad, Note)
    assert bad.rule == "template.limit"
    assert isinstance(good, RenderedText)


# --- preference pairs and prompts -------------------------------------------------------------------------------------


def test_a_pair_shares_its_prompt_and_trains_the_two_answers(renderers: dict[str, AutoRenderer]) -> None:
    record = Conversation(TWO_TURNS[:3], chosen=Message("assistant", "yes"), rejected=Message("assistant", "no"))
    pair = renderers["chatml"].pairs([record])[0]
    assert not isinstance(pair, Note)
    chosen, rejected = pair
    assert spans(chosen) == ["yes<|im_end|>"]
    assert spans(rejected) == ["no<|im_end|>"]
    assert chosen.text[: chosen.spans[0][0]] == rejected.text[: rejected.spans[0][0]]


def test_a_prompt_ends_where_the_model_begins(renderers: dict[str, AutoRenderer]) -> None:
    record = Conversation(TWO_TURNS[:3])
    prompt = renderers["chatml"].prompts([record])[0]
    assert isinstance(prompt, RenderedText)
    assert prompt.text.endswith("<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n")
    whole = one(renderers["chatml"], *TWO_TURNS)
    assert whole.text[: whole.spans[1][0]] == prompt.text


# --- tokens -----------------------------------------------------------------------------------------------------------


@SLOW
@given(pairs=turns, name=st.sampled_from(["chatml", "inst", "channels"]))
def test_ids_are_those_of_the_whole_text_and_each_token_belongs_where_it_starts(
    renderers: dict[str, AutoRenderer], pairs: list[tuple[str, str]], name: str
) -> None:
    result = renderers[name].render([conversation(pairs)])[0]
    assert isinstance(result, RenderedText)
    encoded = encode_auto([result], TOKENIZER)[0]
    whole = TOKENIZER.encode(result.text, add_special_tokens=False)
    assert encoded.ids == whole.ids
    trained = {token for start, end in encoded.runs for token in range(start, end)}
    for token, (start, _) in enumerate(whole.offsets):
        assert (token in trained) == any(low <= start < high for low, high in result.spans)
    crossing = sum(start < edge < end for span in result.spans for edge in span for start, end in set(whole.offsets))
    assert (encoded.border_tokens > 0) == (crossing > 0)


def test_trained_tokens_decode_to_the_answers_and_their_stops(renderers: dict[str, AutoRenderer]) -> None:
    encoded = encode_auto([one(renderers["chatml"], *TWO_TURNS)], TOKENIZER)[0]
    decoded = [TOKENIZER.decode(encoded.ids[start:end], skip_special_tokens=False) for start, end in encoded.runs]
    assert decoded == ["a1<|im_end|>", "a2<|im_end|>"]


def test_bos_twice_or_missing_is_found() -> None:
    twice, once = bos_note("<s><s>x", template("inst")), bos_note("<s>x", template("inst"))
    assert twice is not None
    assert twice.rule == "template.double-bos"
    assert once is None
    assert bos_note("x", template("inst")) is None, "this tokenizer writes no BOS either"
    writes = AutoTemplate({}, {}, bos="<s>", adds_bos=True)
    missing = bos_note("x", writes)
    assert missing is not None
    assert missing.rule == "template.missing-bos"


# --- real tokenizers --------------------------------------------------------------------------------------------------

ASSETS = os.environ.get("PREP_ASSETS", "")
REAL = ("qwen3", "qwen2_5", "llama3_1", "deepseek_v3", "gemma3", "gptoss", "mistral_nemo", "phi3")


def real_records(count: int, *, tools: bool) -> list[Conversation]:
    """Conversations of the messages file, with their calls."""
    records: list[Conversation] = []
    with (Path(ASSETS) / "data" / "messages.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            if ("tools" in raw) == tools:
                records.append(from_openai(raw))
            if len(records) == count:
                break
    return records


def from_openai(raw: dict[str, Any]) -> Conversation:
    system, messages = None, []
    for turn in raw["messages"]:
        if turn["role"] == "system":
            system = turn["content"]
        elif turn.get("tool_calls"):
            calls = [(call["function"], call.get("id")) for call in turn["tool_calls"]]
            written = tuple(
                ToolCall(function["name"], json.loads(function["arguments"]), key) for function, key in calls
            )
            messages.append(Message("function", turn.get("content") or "", calls=written))
        elif turn["role"] == "tool":
            messages.append(Message("observation", turn["content"], call_id=turn.get("tool_call_id")))
        else:
            messages.append(Message(turn["role"], turn["content"]))
    return Conversation(tuple(messages), system, tools=json.dumps(raw["tools"]) if raw.get("tools") else None)


@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS names no folder with real tokenizers and records")
@pytest.mark.parametrize("tools", [False, True], ids=["plain", "tools"])
@pytest.mark.parametrize("name", REAL)
def test_real_templates_give_transformers_ids_and_train_every_answer(name: str, tools: bool) -> None:
    folder = Path(ASSETS) / "tok" / name
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    records = real_records(60, tools=tools)
    compared = 0
    # theirs tells the clock's day
    day = datetime.date.today().isoformat()
    with AutoRenderer(load_auto(str(folder)), AutoOptions(template_date=day)) as renderer:
        dialect = renderer.traits(tools).dialect
        for record, result in zip(records, renderer.render(records), strict=True):
            if isinstance(result, Note):
                assert tools, result
                continue
            ready = prepare(record, dialect, "none")
            assert isinstance(ready, Prepared)
            if dialect.null_content and any(message.calls for message in record.messages):
                continue  # transformers takes the null away, and the template then fails
            ids = theirs.apply_chat_template(ready.messages, tools=ready.tools, tokenize=True)["input_ids"]
            assert encode_auto([result], ours)[0].ids == list(ids)
            answers = [message for message in record.messages if message.role in ("assistant", "function")]
            for message, span in zip(answers, spans(result), strict=True):
                assert message.content.strip() in span
                assert all(call.name in span for call in message.calls)
            compared += 1
    assert compared == len(records) or (tools and compared >= 1)
