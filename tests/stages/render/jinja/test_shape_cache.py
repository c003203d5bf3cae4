"""A conversation whose shape is known is proven by one render, with the same result as by two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.renderer import AutoRenderer
from stages.render.jinja.shape_cache import Skeleton, by_shape, shape_of
from stages.render.jinja.token_spans import RenderedText

FIXTURES = Path(__file__).parents[4] / "fixtures"
TOKENIZER = Tokenizer.from_file(str(FIXTURES / "tiny" / "tokenizer.json"))
ADDED = tuple(token.content for token in TOKENIZER.get_added_tokens_decoder().values())
NAMES = ("chatml", "inst", "thinking", "channels", "trailing-end", "header-always", "counts", "no-stop")


@pytest.fixture(scope="module")
def renderers() -> Iterator[dict[str, AutoRenderer]]:
    made = {}
    for name in NAMES:
        source = (FIXTURES / "jinja" / "good" / f"{name}.jinja").read_text(encoding="utf-8")
        template = AutoTemplate({"default": source}, {"bos_token": "<s>", "eos_token": "</s>"}, ADDED, sha256=name)
        made[name] = AutoRenderer(template)
    yield made
    for renderer in made.values():
        renderer.close()


def said(*texts: str, system: str | None = None, weight: float | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message(roles[turn % 2], text, weight=weight) for turn, text in enumerate(texts)]
    return Conversation(tuple(messages), system)


nasty = st.sampled_from(
    ["<|im_end|>", "\n", " ", "</think>", "<|im_start|>assistant\n", "[/INST]", "x\U000f0002", "汉"]
)
texts = st.lists(st.one_of(nasty, st.text(st.characters(exclude_categories=("Cs",)), max_size=4)), max_size=4).map(
    "".join
)


@settings(max_examples=80, deadline=None)
@given(turns=st.lists(texts, min_size=2, max_size=4), system=st.none() | texts, name=st.sampled_from(NAMES))
def test_one_render_proves_what_two_prove(
    renderers: dict[str, AutoRenderer], turns: list[str], system: str | None, name: str
) -> None:
    renderer, record = renderers[name], said(*turns, system=system)
    by_two: list[RenderedText | Note | None] = [None]
    left = [0]
    for marking in ("all", "answers", "none"):
        left = renderer._pass([record], left, marking, by_two)
    by_one = renderer.render([record])
    again = renderer.render([said("other", "words"), record, record])[1:2]
    assert by_one == again, "what came before changes nothing"
    if isinstance(by_two[0], RenderedText):
        assert by_one == by_two
    elif isinstance(by_one[0], RenderedText):
        # a shape shows blank answers as well; still each span is its answer and its stop
        assert len(by_one[0].spans) == sum(place % 2 for place in range(len(turns)))


@pytest.mark.parametrize("name", ["chatml", "channels", "thinking", "trailing-end"])
def test_a_known_shape_is_rendered_once(renderers: dict[str, AutoRenderer], name: str) -> None:
    renderer = renderers[name]
    results: list[RenderedText | Note | None] = [None]
    assert renderer._by_shape([said("a", "b", "c", "d")], results) == []
    assert isinstance(results[0], RenderedText)


def test_weights_hold_for_known_shapes_too(renderers: dict[str, AutoRenderer]) -> None:
    renderer = renderers["chatml"]
    everything, nothing = renderer.render([said("question", "answer", weight=1), said("question", "answer", weight=0)])
    assert isinstance(everything, RenderedText)
    assert isinstance(nothing, RenderedText)
    assert [everything.text[start:end] for start, end in everything.spans] == ["question", "answer<|im_end|>"]
    assert nothing.spans == ()


def test_what_a_template_may_treat_in_its_own_way_has_no_shape() -> None:
    assert shape_of(said("q", "a", system="s")) == (True, ("user", "assistant"))
    call = Message("function", "x", calls=(ToolCall("f", {}),))
    for odd in (
        said("q", ""),
        said("q", "<think>\nx\n</think>\n\na"),
        said("q", "a")._replace(tools="[]x"),
        Conversation((Message("user", "q"), call)),
        Conversation((Message("user", "q"), Message("assistant", "a", reasoning="r"))),
        said(*("x" for _ in range(100))),
    ):
        assert shape_of(odd) is None


def test_a_text_that_is_not_the_predicted_one_proves_nothing() -> None:
    skeleton = Skeleton(("<u>", "<a>", "<e>"), ((1, 0, 3),))
    found = by_shape(said("q", "a"), skeleton, "<u>q<a>a<e>")
    assert found is not None
    assert [(turn.start, turn.end) for turn in found.answers] == [(7, 11)]
    for other in ("<u>q<a>a<e> ", "<u>Q<a>a<e>", "<u>q<a>a", ""):
        assert by_shape(said("q", "a"), skeleton, other) is None
