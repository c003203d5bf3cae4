"""A tokenizer folder is read as it is, and what a template adds to it gets the ids that the library would give."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import tokenizers

from registry.errors import MachineFault, UsageFault
from stages.tokenize.tokenizer_files import load_tokenizer_files

MODEL = {"type": "WordLevel", "vocab": {"a": 0, "</s>": 1}, "unk_token": "a"}


def write(folder: Path, **files: object) -> str:
    """A folder with these files as JSON; `tokenizer` is tokenizer.json."""
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return str(folder)


def test_the_folder_is_read_as_it_is(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    assert files.special == {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}
    library = tokenizers.Tokenizer.from_file(f"{tiny}/tokenizer.json")
    assert files.vocabulary == library.get_vocab(with_added_tokens=True)
    assert len(files.sha256) == 64


def test_the_digest_follows_every_file_that_matters(tmp_path: Path) -> None:
    digests = set()
    digests.add(load_tokenizer_files(write(tmp_path, tokenizer={"model": MODEL})).sha256)
    digests.add(load_tokenizer_files(write(tmp_path, tokenizer_config={"eos_token": "</s>"})).sha256)
    digests.add(load_tokenizer_files(write(tmp_path, special_tokens_map={"eos_token": "</s>"})).sha256)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    digests.add(load_tokenizer_files(str(tmp_path)).sha256)
    (tmp_path / "README.md").write_text("of no account", encoding="utf-8")
    digests.add(load_tokenizer_files(str(tmp_path)).sha256)
    assert len(digests) == 4


def test_special_tokens_are_found_in_either_file_and_form(tmp_path: Path) -> None:
    config = {"eos_token": {"content": "</s>", "lstrip": False}, "pad_token": None}
    specials = {"eos_token": "other", "bos_token": {"content": "a"}}
    folder = write(tmp_path, tokenizer={"model": MODEL}, tokenizer_config=config, special_tokens_map=specials)
    assert load_tokenizer_files(folder).special == {"eos": "</s>", "bos": "a"}


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UsageFault, match="there is no folder '/nowhere/at/all'") as caught:
        load_tokenizer_files("/nowhere/at/all")
    assert "folder that holds tokenizer.json" in caught.value.hint


def test_a_hub_name_is_distinguished_from_a_path() -> None:
    with pytest.raises(UsageFault) as caught:
        load_tokenizer_files("Qwen/Qwen3-8B")
    assert "hf download Qwen/Qwen3-8B" in caught.value.hint


def test_a_folder_without_tokenizer_json_says_what_it_holds(tmp_path: Path) -> None:
    folder = write(tmp_path, config={"model_type": "llama"})
    with pytest.raises(UsageFault, match=r"no tokenizer\.json in this folder \(it holds config\.json\)") as caught:
        load_tokenizer_files(folder)
    assert "save_pretrained" in caught.value.hint
    with pytest.raises(UsageFault, match="it holds nothing"):
        load_tokenizer_files(write(tmp_path / "empty"))


@pytest.mark.parametrize(
    "tokenizer",
    [
        [],
        {},
        {"model": []},
        {"model": {"type": "BPE"}},
        {"model": MODEL, "added_tokens": {"</s>": 1}},
        {"model": MODEL, "added_tokens": ["</s>"]},
        {"model": MODEL, "added_tokens": [{"id": 1}]},
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, tokenizer: object) -> None:
    with pytest.raises(UsageFault, match=r"tokenizer\.json: not a tokenizer\.json"):
        load_tokenizer_files(write(tmp_path, tokenizer=tokenizer))


def test_broken_json_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer={"model": MODEL})
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": ', encoding="utf-8")
    with pytest.raises(UsageFault, match="not valid JSON"):
        load_tokenizer_files(folder)


def test_a_config_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r"special_tokens_map\.json: not a JSON object"):
        load_tokenizer_files(write(tmp_path, tokenizer={"model": MODEL}, special_tokens_map=["</s>"]))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_the_machines_fault(tmp_path: Path) -> None:
    folder = write(tmp_path, tokenizer={"model": MODEL})
    (tmp_path / "tokenizer.json").chmod(0)
    with pytest.raises(MachineFault, match="cannot be read"):
        load_tokenizer_files(folder)


def test_a_device_beside_the_tokenizer_is_no_file(tiny: str, tmp_path: Path) -> None:
    """It would be read for ever."""
    shutil.copy(Path(tiny) / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").symlink_to("/dev/zero")
    with pytest.raises(UsageFault, match="is a device or a pipe"):
        load_tokenizer_files(str(tmp_path))
