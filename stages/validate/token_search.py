"""Does a text spell a control token of the tokenizer? One quick test for a whole record, then the places.

    texts of a record, joined -> marks_test (one search, 1 to 3 GB/s) -> nothing, as for nearly all
                                                |
                                             TokenSearch.find, text by text -> a note with its place

Some vocabularies have thousands of such texts that differ only in a number (`<unused0>` ... `<unused6241>`): numbers
are searched for as such, and looked up afterwards.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from stages.core.display import clean
from stages.core.findings import Note
from stages.core.token_texts import THOUGHT_TAGS, TokenTexts, longest_first
from stages.formats.tool_calls import CallWords

from .places import Placed
from .text import MARKS, RARE, Test, around, fast_test

_NUMBER = re.compile(r"(?<=[^0-9])[0-9]+(?=[^0-9])")  # inside a token: it ends where the token's next character is
_ONE_PASS, _PASSES = 60, 5
_NONE: frozenset[str] = frozenset()
_CALL_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_CALL_HINT = (
    "if the text is a call of the record's own, give it as one (a function_call turn, `tool_calls`): the template then "
    "writes the words around it, and it is checked; else rewrite it, or set `split_special_tokens`"
)


def marks_test(words: Iterable[str] | TokenTexts) -> Test:
    """Whether a text may hold a control token, a thought tag or a media mark; true for a rare character as well, since
    a search for many short texts takes no longer than one for few."""
    texts = words if isinstance(words, TokenTexts) else TokenTexts(tuple(words))
    raw = _any_test([MARKS.pattern, *RARE, *_patterns(_shortest((*texts.anywhere, *texts.whole_words)), _literal)])
    if not texts.normalized:
        return raw
    normalize = _normalizer(texts.normalizer)
    inside = fast_test(*_patterns([*map(normalize, texts.normalized)], _literal))
    return lambda text: raw(text) or inside(normalize(text))


def _shortest(words: Sequence[str]) -> Iterator[str]:
    """The words without those that are another one repeated, which are found where that one is."""
    given = frozenset(words)
    for word in words:
        if len(set(word)) > 1 or not any(word[:length] in given for length in range(1, len(word))):
            yield word


def _any_test(patterns: Sequence[str]) -> Test:
    """One test for some patterns. Up to about 64 literals are searched for in one pass with vector instructions, more
    of them in a pass that takes eight times as long: a few tests are then quicker than one."""
    if len(patterns) > _ONE_PASS * _PASSES:
        return fast_test(*patterns)
    tests = [fast_test(*patterns[at : at + _ONE_PASS]) for at in range(0, len(patterns), _ONE_PASS)]
    if len(tests) == 1:
        return tests[0]
    first, second, *others = tests
    if not others:
        return lambda text: first(text) or second(text)
    return lambda text: any(test(text) for test in tests)


class TokenSearch:
    """A search for the control tokens of one tokenizer, with its place in the text."""

    def __init__(self, texts: TokenTexts) -> None:
        self._searches = [_Words(texts.anywhere)] if texts.anywhere else []
        if texts.whole_words:
            self._searches.append(_Words(texts.whole_words, r"(?<!\w)(?:", r")(?!\w)"))
        self._normalize = _normalizer(texts.normalizer) if texts.normalized else None
        self._inside = _Words(tuple(map(self._normalize, texts.normalized))) if self._normalize else None

    def find(self, text: str, exempt: Collection[str] = _NONE) -> re.Match[str] | None:
        """The first control token that is not among `exempt`; None when there is none."""
        for words in self._searches:
            if found := words.find(text, exempt):
                return found
        return self._inside.find(self._normalize(text), exempt) if self._inside and self._normalize else None


class _Words:
    """A search for any of some texts. Where one begins like another, the longer is found."""

    def __init__(self, words: Sequence[str], before: str = "(?:", behind: str = ")") -> None:
        self._words = frozenset(words)
        self._patterns = _patterns(words, re.escape)
        self._around = before, behind
        self._search = re.compile("|".join(self._patterns).join(self._around)).search

    def find(self, text: str, exempt: Collection[str]) -> re.Match[str] | None:
        start = 0
        while found := self._search(text, start):
            if found[0] not in self._words:  # another number; what begins there may still be another text
                found = self._exact(text, found.start())
                if found is None:
                    return None
            if found[0] not in exempt:
                return found
            start = found.end()
        return None

    @functools.cached_property
    def _exact(self) -> Callable[[str, int], re.Match[str] | None]:
        return re.compile("|".join(map(re.escape, longest_first(self._words))).join(self._around)).search


def _patterns(words: Iterable[str], escape: Callable[[str], str]) -> list[str]:
    """A pattern for each word, longest first, with one for all that differ only in a number."""
    shapes = dict.fromkeys(tuple(_NUMBER.split(word)) for word in longest_first(words))
    return ["[0-9]+".join(map(escape, shape)) for shape in shapes]


def _literal(text: str) -> str:
    return "".join(f"\\u{{{ord(char):x}}}" for char in text)


@functools.lru_cache(maxsize=4)
def _normalizer(written: str) -> Callable[[str], str]:
    import tokenizers  # few tokenizers need it

    empty: dict[str, Any] = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    document = {"version": "1.0", "normalizer": json.loads(written), "model": empty, "added_tokens": []}
    normalize: Callable[[str], str] = tokenizers.Tokenizer.from_str(json.dumps(document)).normalizer.normalize_str
    return normalize


class TokenNotes:
    """The notes on the control tokens that a record's texts spell.

    In an answer, the words around a thought are the record's to write: those of the template, in pairs, and <think>
    tags, which have rules of their own.
    """

    def __init__(self, texts: TokenTexts, words: CallWords) -> None:
        self._search = TokenSearch(texts)
        self._calls = frozenset((*(word.strip() for word in words.call), *_CALL_TAGS))
        opening, closing = map(re.escape, words.thought)
        self._thought = re.compile(f"{opening}(.*?){closing}", re.DOTALL)

    def may_hold(self, joined: str) -> bool:
        """Whether any of some joined texts spells a control token."""
        return self._search.find(joined) is not None

    def add(self, placed: Iterable[Placed], notes: list[Note]) -> None:
        """A note for each place whose text spells a control token."""
        seen: set[str] = set()
        for text, at, is_answer in placed:
            if is_answer:
                text = self._thought.sub(r"\n\1\n", text)
            found = self._search.find(text, THOUGHT_TAGS if is_answer else _NONE)
            if found is None or at in seen:
                continue
            seen.add(at)
            message = f'the text spells the special token "{clean(found[0])}"'
            hint = _CALL_HINT if is_answer and found[0] in self._calls else ""
            notes.append(Note("text.special-token", at, message, around(text, found), hint))
