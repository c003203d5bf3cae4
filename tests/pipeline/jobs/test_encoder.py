"""Tokenizer and renderer of a run: loaded when they are needed, let go when they are not, and proven by a sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs import encoder as encoders
from pipeline.jobs.encode_spec import EncodeSpec
from pipeline.jobs.encoder import CHECK_CHARS, Encoding
from stages.core.segments import Rendered
from stages.tokenize.backends import NASTY, BackEndDiffers
from tests.support.plans import pack_plan, write_records


@pytest.fixture
def spec(tmp_path: Path) -> EncodeSpec:
    data = write_records(tmp_path / "data.jsonl", {"instruction": "Name a metal.", "output": "Iron."})
    found = pack_plan(data).encode
    assert found is not None
    return replace(found, back_end="tokenizers")


def test_the_tools_are_loaded_once_and_again_after_they_were_let_go(spec: EncodeSpec) -> None:
    encoding = Encoding(spec)
    first = encoding.tools()
    assert encoding.tools() is first
    encoding.release()
    assert encoding.tools() is not first


def test_a_tokenizer_that_the_parent_left_in_a_file_is_taken_from_there(spec: EncodeSpec, tmp_path: Path) -> None:
    text = Encoding(spec).json_text()
    path = tmp_path / "fitted.json"
    path.write_text(text, encoding="utf-8")
    elsewhere = replace(spec, json_path=str(path), tokenizer="/nowhere")
    ids, _ = Encoding(elsewhere).tools()[1].encode(["Iron."])
    assert ids.tolist() == Encoding(spec).tools()[1].encode(["Iron."])[0].tolist()


def test_only_what_a_plain_text_can_say_is_rendered_without_a_conversation(spec: EncodeSpec) -> None:
    encoding = Encoding(spec)
    renderer = encoding.renderer()
    assert encoding.plain(renderer) is not None
    assert Encoding(replace(spec, overlong="split")).plain(renderer) is None
    assert Encoding(replace(spec, options=replace(spec.options, kind="pref"))).plain(renderer) is None


def test_a_sample_holds_the_nasty_texts_and_a_bounded_part_of_the_chunk(spec: EncodeSpec) -> None:
    encoding = Encoding(spec)
    examples = [Rendered([[f"{n} " + "x" * 2000, 5]], [1]) for n in range(400)]
    texts, ids, offsets = encoding.sample(examples, encoding.tools()[1])
    assert texts[: len(NASTY)] == list(dict.fromkeys(NASTY)) and len(set(texts)) == len(texts)
    drawn = sum(map(len, texts[len(NASTY) :]))
    assert 0 < drawn <= CHECK_CHARS + 2010
    assert (len(offsets), offsets[-1]) == (len(texts) + 1, len(ids))


class Panics:
    name = "panics"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, texts: Any) -> Any:
        raise self.error


def test_a_back_end_that_breaks_differs_and_ctrl_c_is_ctrl_c(spec: EncodeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackEndDiffers, match="cannot encode: boom"):
        Encoding(spec).sample([], Panics(BaseException("boom")))
    with pytest.raises(KeyboardInterrupt):
        Encoding(spec).sample([], Panics(KeyboardInterrupt()))

    def load(*_: object, **__: object) -> Any:
        raise BaseException("no such model")

    monkeypatch.setattr(encoders, "load_encoder", load)
    with pytest.raises(BackEndDiffers, match="fastokens cannot read this tokenizer: no such model"):
        Encoding(replace(spec, back_end="fastokens")).tools()
