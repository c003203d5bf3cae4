"""The saved tokenizer is the one that wrote the shards, to the id; another one is refused or reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.job import ModelSpec

pytestmark = pytest.mark.train
transformers = pytest.importorskip("transformers")


def manifest(folder: Path, template: str = "qwen", extra: tuple[tuple[str, bool], ...] = ()) -> dict[str, Any]:
    """The blocks that `prep pack` writes for this tokenizer and template."""
    from registry.templates import load_template
    from stages.tokenize.fitted import fit
    from stages.tokenize.tokenizer_files import load_tokenizer_files

    files = load_tokenizer_files(str(folder))
    fitted = fit(files, load_template(template), extra)
    return {
        "stage": "sft",
        "compat": "llamafactory-0.9.6",
        "template": {"name": template, "date": "2026-11-21"},
        "options": {},
        "tokenizer": {
            "sha256": files.sha256,
            "vocab_size": fitted.size,
            "bos_id": fitted.ids.bos,
            "eos_id": fitted.ids.eos,
            "eos_token": fitted.ids.eos_text,
            "pad_id": fitted.pad,
            "added": [{"token": g.token, "id": g.id, "asked_by": g.requested_by} for g in fitted.growth],
        },
    }


def load(folder: Path, of: dict[str, Any], notes: list[str] | None = None) -> Any:
    from stages.train.model.tokenizer import load_tokenizer

    return load_tokenizer(ModelSpec(str(folder)), of, notes=[] if notes is None else notes)


def test_end_token_added_tokens_and_template_are_those_of_the_shards(tiny_config: Path, tmp_path: Path) -> None:
    from stages.train.model.tokenizer import settle

    of = manifest(tiny_config, "qwen", (("<point>", True), ("plain-word", False)))
    tokenizer = load(tiny_config, of)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == of["tokenizer"]["eos_id"]
    for added in of["tokenizer"]["added"]:
        assert tokenizer.convert_tokens_to_ids(added["token"]) == added["id"]
    tokenizer.save_pretrained(tmp_path)
    settle(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "<|im_start|>user\nplain-word 你好 <point>"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.eos_token == "<|im_end|>"
    assert "<|im_start|>user\nhi<|im_end|>" in again.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False
    )


def test_ids_are_those_of_the_file_whatever_class_the_folder_names(tiny_config: Path, tmp_path: Path) -> None:
    """DeepSeek's folders name a class that transformers rebuilds with other ids."""
    import tokenizers

    shutil.copytree(tiny_config, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "tokenizer_config.json").read_text())
    (tmp_path / "m" / "tokenizer_config.json").write_text(
        json.dumps({**config, "tokenizer_class": "LlamaTokenizerFast"})
    )
    tokenizer = load(tmp_path / "m", manifest(tmp_path / "m"))
    text = "Hello, 世界! 123"
    raw = tokenizers.Tokenizer.from_file(str(tiny_config / "tokenizer.json"))
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == raw.encode(text, add_special_tokens=False).ids


def test_another_tokenizer_of_the_same_shape_is_reported(tiny_config: Path, tmp_path: Path) -> None:
    of = manifest(tiny_config)
    shutil.copytree(tiny_config, tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_text((tiny_config / "tokenizer.json").read_text() + "\n")
    notes: list[str] = []
    load(tmp_path / "m", of, notes)
    assert "not those that wrote the shards" in notes[0]
    notes.clear()
    load(tiny_config, of, notes)
    assert notes == []


def test_other_ids_are_refused(tiny_config: Path) -> None:
    of = manifest(tiny_config, "qwen", (("<point>", True),))
    of["tokenizer"]["vocab_size"] += 500
    of["tokenizer"]["eos_id"] = 3
    of["tokenizer"]["added"] = [{**added, "id": added["id"] + 1} for added in of["tokenizer"]["added"]]
    with pytest.raises(UsageFault) as caught:
        load(tiny_config, of)
    found = "\n".join(caught.value.problems)
    assert "eos_id" in found
    assert "<point>" in found
    assert "ids, the one that wrote" in found


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="no tokenizer"):
        load(tmp_path, {})


def shuffled(folder: Path, to: Path) -> Path:
    """A tokenizer with the same size and special ids whose other ids stand for other tokens."""
    shutil.copytree(folder, to)
    body = json.loads((to / "tokenizer.json").read_text())
    vocabulary = body["model"]["vocab"]
    texts = [text for text, number in vocabulary.items() if number > 300]
    numbers = [vocabulary[text] for text in texts]
    vocabulary.update(zip(texts, [*numbers[1:], numbers[0]], strict=True))
    (to / "tokenizer.json").write_text(json.dumps(body))
    return to


@pytest.mark.parametrize("kept", ["digest", "folder"])
def test_a_tokenizer_of_other_tokens_is_refused_unless_allowed(kept: str, tiny_config: Path, tmp_path: Path) -> None:
    """Llama-2 and Mistral 7B: 32,000 ids each, the same special ones, and other words."""
    from stages.tokenize.fitted import fitted_tokenizer, vocabulary_digest
    from stages.train.model.tokenizer import load_tokenizer

    of = manifest(tiny_config)
    if kept == "digest":
        fitted = fitted_tokenizer(str(tiny_config), "qwen", "llamafactory-0.9.6", ())[1]
        of["tokenizer"]["vocabulary_sha256"] = vocabulary_digest(fitted.vocabulary, fitted.size)
    else:
        of["run"] = {"model_name_or_path": str(tiny_config)}
    other = shuffled(tiny_config, tmp_path / "other")
    with pytest.raises(UsageFault, match="stand for other tokens") as caught:
        load(other, of)
    assert "allow_other_tokenizer" in caught.value.hint
    if kept == "folder":
        assert "723 of 1,026 ids" in str(caught.value)
    notes: list[str] = []
    load_tokenizer(ModelSpec(str(other), allow_other_tokenizer=True), of, notes=notes)
    assert "allow_other_tokenizer is set" in notes[0]


def test_a_trained_models_own_tokenizer_is_the_shards(tiny_config: Path, tmp_path: Path) -> None:
    """It has the template's tokens in its file, and maybe more."""
    from stages.tokenize.fitted import fitted_tokenizer, vocabulary_digest

    fitted = fitted_tokenizer(str(tiny_config), "qwen", "llamafactory-0.9.6", ())[1]
    of = manifest(tiny_config)
    of["tokenizer"]["vocabulary_sha256"] = vocabulary_digest(fitted.vocabulary, fitted.size)
    saved = load(tiny_config, of)
    saved.add_tokens(["<one more>"])
    saved.save_pretrained(tmp_path)
    notes: list[str] = []
    load(tmp_path, of, notes)
    assert notes == [f"{tmp_path}: its tokenizer files are not those that wrote the shards; the tokens are the same"]
