"""The texts that a tokenizer turns into tokens of their own, wherever they stand, and how it looks for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

# marks around a thought, which an answer's own text carries: `split_special_tokens` leaves them whole, as upstream does
THOUGHT_TAGS = frozenset({"<think>", "</think>"})


@dataclass(frozen=True)
class TokenTexts:
    """Control tokens as a text may spell them, longest first in each group.

    anywhere: found in the text as it is. whole_words: those of them that no letter or digit may touch. normalized:
    found in what `normalizer` (JSON of a tokenizer.json) leaves of the text, and written as it leaves them.
    """

    anywhere: tuple[str, ...] = ()
    whole_words: tuple[str, ...] = ()
    normalized: tuple[str, ...] = ()
    normalizer: str = ""

    def __bool__(self) -> bool:
        return bool(self.anywhere or self.whole_words or self.normalized)


def token_texts(added: Iterable[dict[str, Any]], normalizer: object) -> TokenTexts:
    """What a tokenizer looks for in a text.

    White space is no control token, nor is a word that somebody added to the vocabulary (not flagged special, nothing
    but letters, digits and blanks): a text that holds it means it.

    Args:
        added: `added_tokens` of a tokenizer.json.
        normalizer: The `normalizer` of that file, None where it has none.

    Returns:
        The texts by the way in which they are found.
    """
    normalizes = bool(normalizer) and normalizer != {"type": "Sequence", "normalizers": []}
    anywhere: set[str] = set()
    whole_words: set[str] = set()
    normalized: set[str] = set()
    for token in added:
        text = token["content"]
        if not text.strip() or (not token.get("special") and _is_word(text)):
            continue
        if normalizes and token.get("normalized"):
            normalized.add(text)
        else:
            (whole_words if token.get("single_word") else anywhere).add(text)
    return TokenTexts(
        longest_first(anywhere),
        longest_first(whole_words),
        longest_first(normalized),
        orjson.dumps(normalizer).decode() if normalized else "",
    )


def unsplit(added: Iterable[dict[str, Any]]) -> TokenTexts:
    """What stays a token of its own under `split_special_tokens`: marks of a thought that are not flagged special."""
    tags = (token for token in added if token["content"] in THOUGHT_TAGS)
    return token_texts((token for token in tags if not token.get("special")), None)


def longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts without doubles, so that of two which begin alike the longer one is found."""
    return tuple(sorted(set(texts), key=lambda text: (-len(text), text)))


def _is_word(text: str) -> bool:
    return any(map(str.isalnum, text)) and all(char.isalnum() or char in " ▁_-'" for char in text)
