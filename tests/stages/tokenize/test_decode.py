"""Token texts: joined pieces are the text, whatever the vocabulary."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

from registry.errors import UsageFault
from stages.tokenize.backends import NASTY
from stages.tokenize.decode import TokenTexts, decoder_kind
from stages.tokenize.tokenizer_files import load_tokenizer_files

TINY = Path(__file__).parents[3] / "fixtures" / "tiny"
READ = load_tokenizer_files(str(TINY))
LIBRARY = tokenizers.Tokenizer.from_file(str(TINY / "tokenizer.json"))


@given(st.text(max_size=60))
def test_pieces_are_one_a_token_and_join_to_the_text(text: str) -> None:
    """A character that spans tokens stands at the token that completes it; nothing is lost."""
    ids = LIBRARY.encode(text, add_special_tokens=False).ids
    texts = TokenTexts(READ)
    pieces = texts.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == texts.text(ids) == text


def test_half_a_character_is_shown_as_lost() -> None:
    """Where a cut goes through a character, the bytes left over become U+FFFD."""
    ids = LIBRARY.encode("\U0001f9ff", add_special_tokens=False).ids
    assert len(ids) > 1
    pieces = TokenTexts(READ).pieces(ids[:-1])
    assert set("".join(pieces)) == {"\ufffd"}


def test_unknown_and_added_ids_have_a_text() -> None:
    """An id outside the vocabulary is named; tokens that a run added are known."""
    texts = TokenTexts(READ, {5000: "<tool>"})
    assert texts.pieces([5000, 5001]) == ["<tool>", "<id 5001>"]


def sentencepiece(folder: Path) -> Path:
    vocab = {
        "<unk>": 0,
        "<s>": 1,
        "</s>": 2,
        **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)},
        "\u2581": 259,
        "a": 260,
        "\u2581a": 261,
    }
    made = tokenizers.Tokenizer(
        models.BPE(vocab, [("\u2581", "a")], byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(["</s>"])
    made.save(str(folder / "tokenizer.json"))
    return folder


def wordpiece(folder: Path) -> Path:
    made = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_sentencepiece_bytes_and_blanks(tmp_path: Path) -> None:
    """Blanks are blanks and byte tokens are bytes, also at the very start, where the library's decoder strips one."""
    files = load_tokenizer_files(str(sentencepiece(tmp_path)))
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert decoder_kind(files.raw) == "sentencepiece"
    for text in (" a", "a  a", "é\U0001f9ff a", "\n\t"):
        ids = library.encode(text, add_special_tokens=False).ids
        assert TokenTexts(files).text(ids) == text


def test_other_vocabularies_are_decoded_by_the_library(tmp_path: Path) -> None:
    """What is neither byte-level nor sentencepiece is shown as its library shows it."""
    files = load_tokenizer_files(str(wordpiece(tmp_path)))
    assert decoder_kind(files.raw) == "other"
    assert TokenTexts(files).pieces([1, 0]) == ["a", "[UNK]"]


@pytest.mark.skipif(not os.environ.get("PREP_ASSETS"), reason="PREP_ASSETS names no folder of real tokenizers")
def test_real_tokenizers_decode_as_their_library() -> None:
    """For every real vocabulary, texts are the library's (which strips a leading blank of some)."""
    folder = Path(os.environ["PREP_ASSETS"])
    lines = (folder / "data" / "alpaca.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    samples = [*NASTY, *(json.loads(line)["output"] for line in lines)]
    for path in sorted((folder / "tok").iterdir()):
        texts = TokenTexts(load_tokenizer_files(str(path)))
        library = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
        for text in samples:
            ids = library.encode(text, add_special_tokens=False).ids
            assert texts.text(ids).lstrip(" ") == library.decode(ids, skip_special_tokens=False).lstrip(" ")


def test_truncation_and_padding_of_another_form_do_not_matter(tmp_path: Path) -> None:
    """Packing does neither, so a file from another version of the library is shown all the same."""
    path = wordpiece(tmp_path) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation": {}, "padding": "0"}))
    assert TokenTexts(load_tokenizer_files(str(tmp_path))).pieces([1, 0]) == ["a", "[UNK]"]


def test_a_tokenizer_that_the_library_cannot_read_is_a_fault(tmp_path: Path) -> None:
    path = wordpiece(tmp_path) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder": {"type": "Unheard"}}))
    with pytest.raises(UsageFault, match="cannot read it"):
        TokenTexts(load_tokenizer_files(str(tmp_path))).pieces([1])
