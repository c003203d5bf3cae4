"""What a template makes of a tokenizer: added tokens get the ids of the library, and the files stay as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from registry.templates import load_template, template_names
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import TokenizerFiles, load_tokenizer_files


def in_memory(vocab: dict[str, int], added: list[dict[str, Any]], **special: str) -> TokenizerFiles:
    raw = {"version": "1.0", "added_tokens": added, "pre_tokenizer": {"type": "Whitespace"}}
    raw |= dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    raw["model"] = {"type": "WordLevel", "vocab": vocab, "unk_token": next(iter(vocab))}
    return TokenizerFiles("folder", "0" * 64, special, raw, {})


# --- what a template adds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", template_names())
def test_growth_has_the_ids_of_the_library(tiny: str, name: str) -> None:
    """For every template: adding its tokens with `tokenizers` itself gives the same ids, and the text is one token."""
    fitted = fit(load_tokenizer_files(tiny), load_template(name))
    library = tokenizers.Tokenizer.from_file(f"{tiny}/tokenizer.json")
    library.add_special_tokens([growth.token for growth in fitted.growth])
    loaded = tokenizers.Tokenizer.from_str(fitted.json_text)
    for growth in fitted.growth:
        assert growth.id == library.token_to_id(growth.token) == loaded.token_to_id(growth.token)
        assert loaded.encode(growth.token, add_special_tokens=False).ids == [growth.id]
    assert fitted.size == library.get_vocab_size(with_added_tokens=True)
    assert fitted.ids.eos == loaded.token_to_id(fitted.ids.eos_text)


@given(st.sets(st.integers(0, 9), min_size=1), st.integers(0, 3), st.lists(st.booleans(), min_size=1, max_size=3))
def test_growth_agrees_with_the_library_for_any_layout_of_ids(ids: set[int], before: int, kinds: list[bool]) -> None:
    """Whether tokens are added one by one or read from the file; vocabularies with holes are refused."""
    vocab = {"</s>" if at == 0 else f"w{at}": number for at, number in enumerate(sorted(ids))}
    library = tokenizers.Tokenizer.from_str(json.dumps(in_memory(vocab, []).raw))
    library.add_special_tokens(["</s>", *(f"<old{at}>" for at in range(before))])
    files = in_memory(vocab, json.loads(library.to_str())["added_tokens"], eos="</s>")
    wanted = tuple((f"<new{at}>", special) for at, special in enumerate(kinds))
    if max(vocab.values()) >= len(vocab):
        with pytest.raises(UsageFault, match="ids of this vocabulary have holes"):
            fit(files, None, wanted)
        return
    for token, special in wanted:
        (library.add_special_tokens if special else library.add_tokens)([token])
    numbers = [(token, library.token_to_id(token)) for token, _ in wanted]
    fitted = fit(files, None, wanted)
    assert [(growth.token, growth.id) for growth in fitted.growth] == numbers
    loaded = tokenizers.Tokenizer.from_str(fitted.json_text)
    assert [(token, loaded.token_to_id(token)) for token, _ in wanted] == numbers


def test_ids_that_the_file_states_wrongly_are_those_of_the_library() -> None:
    """The library numbers added tokens itself; what it then writes into text is what counts."""
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    files = in_memory({"a": 0, "b": 1}, [{"id": 7, "content": "<x>"} | added], eos="<x>")
    loaded = tokenizers.Tokenizer.from_str(fit(files, None).json_text)
    assert files.vocabulary["<x>"] == fit(files, None).ids.eos == loaded.token_to_id("<x>") == 2


def test_a_vocabulary_with_holes_may_still_be_used_as_it_is() -> None:
    files = in_memory({"a": 0, "</s>": 2}, [], eos="</s>")
    assert (fit(files, None).ids.eos, fit(files, None).size) == (2, 3)


def test_nothing_grows_where_nothing_is_missing(tiny: str) -> None:
    fitted = fit(load_tokenizer_files(tiny), load_template("qwen"))
    assert (fitted.growth, fitted.missing_tokens, fitted.missing_marks) == ((), (), ())
    assert fitted.ids.eos_text == "<|im_end|>", "the template's first stop word is its end mark"


def test_marks_that_the_tokenizer_lacks_are_named(tiny: str) -> None:
    fitted = fit(load_tokenizer_files(tiny), load_template("gemma"))
    assert fitted.missing_marks == ("<start_of_turn>", "<end_of_turn>")
    assert [(growth.token, growth.requested_by) for growth in fitted.growth] == [("<end_of_turn>", "template gemma")]


def test_added_tokens_come_first_and_keep_their_kind(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    fitted = fit(files, load_template("gemma"), (("<call>", True), ("zwölf", False)))
    first = max(files.vocabulary.values()) + 1
    assert [(growth.token, growth.id, growth.requested_by) for growth in fitted.growth] == [
        ("<call>", first, "new_special_tokens"),
        ("zwölf", first + 1, "add_tokens"),
        ("<end_of_turn>", first + 2, "template gemma"),
    ]
    assert "<call>" in fitted.control.anywhere
    assert "zwölf" not in fitted.control.anywhere
    assert list(fitted.control.anywhere) == sorted(fitted.control.anywhere, key=lambda text: (-len(text), text))


def test_a_token_that_the_configuration_adds_for_the_texts_is_no_control_token(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    assert "<think>" in fit(files, None).control.anywhere, "added tokens count, flagged special or not"
    assert "<obj>" in fit(files, None, (("<obj>", True),)).control.anywhere
    meant = fit(files, None, (("<obj>", False), ("<think>", False))).control
    assert not {"<obj>", "<think>"} & {*meant.anywhere, *meant.whole_words, *meant.normalized}


def test_a_tokenizer_without_end_mark_gets_one() -> None:
    fitted = fit(in_memory({"a": 0, "b": 1}, []), None)
    assert fitted.ids.eos_text == "<|endoftext|>"
    assert (fitted.ids.eos, fitted.pad, fitted.size) == (2, 2, 3)
    assert fitted.growth[0].requested_by == "no eos_token"


def test_padding_is_the_end_mark_where_the_folder_names_none() -> None:
    fitted = fit(in_memory({"a": 0, "</s>": 1}, [], eos="</s>"), None)
    assert (fitted.pad, fitted.ids.eos, fitted.ids.bos) == (1, 1, None)


def test_stored_limits_neither_cut_nor_pad() -> None:
    files = in_memory({"a": 0, "</s>": 1}, [], eos="</s>")
    files.raw["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    loaded = tokenizers.Tokenizer.from_str(fit(files, None).json_text)
    assert loaded.encode("a a a", add_special_tokens=False).ids == [0, 0, 0]


def test_fitting_leaves_the_files_alone(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    before = json.dumps(files.raw, sort_keys=True)
    fit(files, load_template("gemma"), (("<call>", True),))
    assert json.dumps(files.raw, sort_keys=True) == before
