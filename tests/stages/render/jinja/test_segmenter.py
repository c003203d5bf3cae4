"""The tokenizer's own template in the shape of the line: segments of ids that say again what was rendered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from stages.core.conversation import Conversation, Message
from stages.core.findings import Note
from stages.core.segments import Rendered, Segment
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.renderer import AutoOptions
from stages.render.jinja.segmenter import Segmenter, SegmenterSpec
from stages.tokenize.backends import ReferenceEncoder
from stages.tokenize.batch import encode
from stages.tokenize.whole_texts import WholeTexts

FIXTURES = Path(__file__).parents[4] / "fixtures"
TOKENIZER = Tokenizer.from_file(str(FIXTURES / "tiny" / "tokenizer.json"))
ADDED = tuple(token.content for token in TOKENIZER.get_added_tokens_decoder().values())
SOURCE = (FIXTURES / "jinja" / "good" / "chatml.jinja").read_text(encoding="utf-8")
TEMPLATE = AutoTemplate({"default": SOURCE}, {"bos_token": "<s>"}, ADDED, bos="<s>", sha256="chatml")
TURNS = (Message("user", "q1"), Message("assistant", "a1"), Message("user", "q2"), Message("assistant", "a2"))
WHOLE = (
    "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
    "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\na2<|im_end|>\n"
)


@pytest.fixture(scope="module")
def makers() -> Iterator[dict[str, Segmenter]]:
    kinds = ("lm", "pref", "unpaired", "prompt", "pt")
    made = {kind: Segmenter(SegmenterSpec(TEMPLATE, kind, pt_eos_text="</s>"), TOKENIZER) for kind in kinds}
    yield made
    for maker in made.values():
        maker.close()


def text(segment: Segment) -> str:
    return TOKENIZER.decode([piece for piece in segment if isinstance(piece, int)], skip_special_tokens=False)


def rendered(maker: Segmenter, record: Conversation) -> Rendered:
    notes: list[Note] = []
    result = maker.render(record, notes)
    assert result is not None, notes
    assert notes == []
    return result


def test_a_conversation_is_sources_and_targets_in_turn(makers: dict[str, Segmenter]) -> None:
    result = rendered(makers["lm"], Conversation(TURNS))
    assert "".join(map(text, result.segments)) == WHOLE
    assert [text(segment) for segment in result.segments[1::2]] == ["a1<|im_end|>", "a2<|im_end|>", ""]
    assert result.trained == [0, 1, 0, 1, 0, 0]
    ids = [piece for segment in result.segments for piece in segment]
    assert ids == TOKENIZER.encode(WHOLE, add_special_tokens=False).ids


def test_nothing_trained_is_one_source_without_a_target(makers: dict[str, Segmenter]) -> None:
    silent = Conversation(tuple(message._replace(weight=0) for message in TURNS))
    result = rendered(makers["lm"], silent)
    assert [text(segment) for segment in result.segments] == [WHOLE, ""]
    assert result.trained == [0, 0]


def test_a_preference_record_is_prompt_chosen_rejected(makers: dict[str, Segmenter]) -> None:
    record = Conversation(TURNS[:3], chosen=Message("assistant", "yes"), rejected=Message("assistant", "no"))
    prompt, chosen, rejected = map(text, rendered(makers["pref"], record).segments)
    assert prompt.endswith("q2<|im_end|>\n<|im_start|>assistant\n")
    assert (chosen, rejected) == ("yes<|im_end|>", "no<|im_end|>")


def test_a_prompt_whose_last_token_takes_up_an_answer_s_beginning_is_a_note() -> None:
    vocabulary = {letter: number for number, letter in enumerate("qyn|:")} | {":y": 5}
    joins = Tokenizer(BPE(vocab=vocabulary, merges=[(":", "y")]))
    loop = "{% for m in messages %}{{ 'q' if m.role == 'user' else ':' }}{{ m.content }}|{% endfor %}"
    source = loop + "{{ ':' if add_generation_prompt }}"
    template = AutoTemplate({"default": source}, {}, ("|",), sha256=source)
    record = Conversation(TURNS[:1], chosen=Message("assistant", "y"), rejected=Message("assistant", "n"))
    notes: list[Note] = []
    with Segmenter(SegmenterSpec(template, "pref"), joins) as maker:
        assert maker.render(record._replace(messages=(Message("user", "n"),)), notes) is None
        assert [note.rule for note in notes] == ["template.border-token", "template.not-prefix-stable"]
        notes.clear()
        same = record._replace(rejected=Message("assistant", "yn"))
        assert maker.render(same, notes) is not None


def test_a_judged_answer_keeps_its_label(makers: dict[str, Segmenter]) -> None:
    result = rendered(makers["unpaired"], Conversation(TURNS, label=False))
    prompt, answer = map(text, result.segments)
    assert (prompt + answer + "\n", answer, result.label) == (WHOLE, "a2<|im_end|>", 0)


def test_a_prompt_to_generate_from_is_rendered_without_its_answer(makers: dict[str, Segmenter]) -> None:
    prompt, label = map(text, rendered(makers["prompt"], Conversation(TURNS)).segments)
    assert prompt + label + "\n" == WHOLE
    alone, nothing = map(text, rendered(makers["prompt"], Conversation(TURNS[:3])).segments)
    assert (alone, nothing) == (prompt, "")


def test_pretraining_text_is_not_rendered(makers: dict[str, Segmenter]) -> None:
    assert rendered(makers["pt"], Conversation((Message("user", "text"),))) == Rendered([["text</s>"]], [1])


def test_a_record_that_cannot_be_written_is_nothing_and_a_note(makers: dict[str, Segmenter]) -> None:
    notes: list[Note] = []
    assert makers["lm"].render(Conversation(TURNS, tools="[", tools_at="/tools"), notes) is None
    assert [(note.rule, note.pointer) for note in notes] == [("template.refuses", "/tools")]


def test_doubled_bos_and_border_tokens_are_noted() -> None:
    doubled = AutoTemplate({"default": "<s><s>" + SOURCE}, {"bos_token": "<s>"}, ADDED, bos="<s>", sha256="doubled")
    notes: list[Note] = []
    with Segmenter(SegmenterSpec(doubled, options=AutoOptions(mask_history=True)), TOKENIZER) as maker:
        assert maker.render(Conversation(TURNS), notes) is not None
    assert [note.rule for note in notes] == ["template.double-bos"]


def test_segments_as_texts_give_the_same_ids_and_segments(makers: dict[str, Segmenter]) -> None:
    text = TOKENIZER.to_str()
    whole = WholeTexts(ReferenceEncoder(text), text)
    records = [Conversation(TURNS), Conversation(TURNS, "S"), Conversation((TURNS[0], Message("assistant", " \n汉")))]
    with Segmenter(SegmenterSpec(TEMPLATE, texts=True), TOKENIZER) as maker:
        by_text = whole.examples([rendered(maker, record) for record in records])
    by_ids = encode([rendered(makers["lm"], record) for record in records], whole.encoder)
    for one, other in zip(by_text, by_ids, strict=True):
        assert one.tolist() == other.tolist()
