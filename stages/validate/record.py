"""Validate: one decoded record in, a `Conversation` and notes out. The same function for checking and for packing.

    value -> schema (Rust) -> reader -> Conversation -> content, tool and preference rules
               |                |                         |
             notes            notes                     notes

A record that cannot be encoded gives None and at least one note whose rule is always an error; what else is an error is
the policy's to say, so the caller decides from the notes. A clean record costs no note, no regular expression on ASCII
text, and about 1 µs a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import xxhash

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.conversation import Conversation, Message
from stages.core.display import pointer, shown
from stages.core.findings import Note
from stages.core.token_texts import TokenTexts, longest_first
from stages.formats.detect import is_label
from stages.formats.message_keys import message_keys
from stages.formats.messages import ANSWERS
from stages.formats.table import FORMATS
from stages.formats.tool_calls import USUAL_WORDS, CallWords

from .call_texts import call_texts
from .column_map import mapped_keys, mapping_problems, own_template_notes, stage_problems, unmapped_notes
from .fast_path import fast_path_of, plain_keys
from .places import Places, beside_text
from .schema import compiled
from .text import MARKS, MEDIA_MARK, placeholder_notes, suspicious, text_notes, thought_notes
from .token_search import TokenNotes, marks_test
from .tools import tool_notes

_ISSPACE = str.isspace
_LABELS = frozenset({"kto_tag", "label"})  # where labels of answers usually stand
_SPEAKERS = frozenset({"user", "assistant"})  # whose text must not be empty; beside calls there need be none


class RecordValidator:
    """Checks the records of one data set.

    digest: after a `check` that gave a conversation, the 64-bit hash of its texts (system, turns, calls, answers) and
    label, the same for the same conversation in any format.
    """

    def __init__(
        self,
        format_id: str,
        fields: Fields,
        stage: str,
        policy: Policy,
        special_tokens: TokenTexts | tuple[str, ...] = (),
        call_words: CallWords = USUAL_WORDS,
    ) -> None:
        form = FORMATS[format_id]
        self.kind = kind = form.kind_in(stage)
        self.policy = policy
        self.digest = 0
        self._tools_written_as = call_words.tools
        self._problems = mapping_problems(format_id, fields, kind) or stage_problems(form.family, stage)
        self._checker = compiled(format_id, fields, kind)
        self._valid = self._checker.is_valid
        self._read = form.read(fields, kind)
        if hasattr(self._read, "words"):  # of formats in which calls are written as text
            self._read.words = call_words
        self._own_template = call_words.own_template
        if call_words.own_template and hasattr(self._read, "turns"):
            self._read.turns.own_template = True
        chat = form.family in ("sharegpt", "openai") and fields.content_tag
        self._places = Places(fields, pointer(fields.content_tag) if chat and fields.content_tag else "")
        texts = special_tokens
        if not isinstance(texts, TokenTexts):
            texts = TokenTexts(longest_first(token for token in texts if token.strip()))
        self._tokens = TokenNotes(texts, call_words) if texts else None
        self._has_marks = marks_test(texts)
        # None, or a quick proof that a record is clean; see stages.validate.fast_path
        turns = getattr(self._read, "turns", None)
        self.plain_keys = plain_keys(form.family, fields)
        self.fast_path = None if self._problems else fast_path_of(form.family, fields, kind, turns, self._has_marks)
        self._media = frozenset(key for key in (fields.images, fields.videos, fields.audios) if key is not None)
        self._mapped = mapped_keys(fields)
        self._label = fields.kto_tag if stage == "sft" and form.kind in ("sft", "kto") else None
        self._unmapped_labels = _LABELS - {fields.kto_tag} if stage == "sft" and form.kind != "pt" else frozenset()
        self._lists = tuple(key for key in (fields.chosen, fields.rejected) if key is not None)

    def check(self, value: object, notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`, with notes on what is wrong; None after a note that it cannot be encoded."""
        if self._problems:
            notes.extend(self._problems)
            return None
        if not self._valid(value):
            self._explain(value, notes)
            return None
        record = cast("dict[str, Any]", value)
        read = self._read
        found = read(record, notes)
        if found is None:
            return None
        if not record.keys() <= self._mapped:
            unmapped_notes(record, self._mapped, notes)
            if not self._own_template:
                own_template_notes(record, self._mapped, notes)
            for key in sorted(self._unmapped_labels & (record.keys() - self._mapped)):
                if isinstance(record[key], bool):
                    text = f'"{key}" is mapped to nothing: an answer labelled {shown(record[key])} is trained like any'
                    notes.append(Note("kto.unmapped-label", pointer(key), text))
        if not read.plain and not self._own_template:  # else the chat template may use them, and the renderer tells
            for key, text, at in message_keys(found):
                message = f'the key "{shown(key, 40)}" of a message is read by nothing'
                notes.append(Note("shape.unmapped-text", at, message, shown(text)))
        if self._label is not None and is_label(record.get(self._label)):
            text = f"the answer is labelled {shown(record[self._label])}, and stage sft trains on good and bad alike"
            notes.append(Note("kto.in-sft", pointer(self._label), text))
        if self._media and not self._media.isdisjoint(record) and not self._check_media(record, found, notes):
            return None
        if (found.tools is not None or not read.plain) and not tool_notes(found, notes, self._tools_written_as):
            return None
        return found if self._check_content(record, found, notes) else None

    # --- content ------------------------------------------------------------------------------------------------------

    def _check_content(self, record: dict[str, Any], found: Conversation, notes: list[Note]) -> bool:
        texts = [message[1] for message in found.messages]
        spoken = texts if self._read.plain else [message[1] for message in found.messages if message[0] in _SPEAKERS]
        if "" in spoken or True in map(_ISSPACE, spoken):
            self._blank(found.messages, notes)
        if self.kind == "pref":
            self._check_pair(found, notes)
        elif self.kind != "pt" and len(texts) > 1 and texts[-1] == texts[-2] and texts[-1].strip():
            at = self._places.of(found.messages[-1])
            notes.append(Note("answer.echo", at, "the answer repeats the prompt word for word", shown(texts[-1])))
        if found.system:
            texts.append(found.system)
        if found.chosen is not None and found.rejected is not None:
            texts += [found.chosen.content, found.rejected.content]
        if not self._read.plain:
            texts += call_texts(found)
        joined = "\n".join(texts)
        try:
            data = joined.encode()
        except UnicodeEncodeError:  # an escape inside the JSON text of a call
            notes.append(Note("json.lone-surrogate", "", "a tool call holds half a surrogate pair"))
            return False
        self.digest = xxhash.xxh3_64_intdigest(data, len(texts) * 4 + (2 if found.label is None else found.label))
        if self._has_marks(joined):
            if self._tokens is not None and self._tokens.may_hold(joined):
                self._tokens.add(self._places.texts(record, found), notes)
            if MARKS.search(joined):
                self._marks(record, found, notes)
        if self._tokens is not None and (found.tools is not None or not self._read.plain):
            beside = beside_text(found)
            if beside and self._has_marks(beside) and self._tokens.may_hold(beside):
                self._tokens.add(self._places.beside(record, found), notes)
        if suspicious(joined, data):
            for text, at, _ in self._places.texts(record, found):
                text_notes(text, at, notes)
        return True

    def _blank(self, messages: Sequence[Message], notes: list[Note]) -> None:
        if self.kind == "pt":
            notes.append(Note("pretrain.empty-text", self._places.of(messages[0]), "the text is empty"))
            return
        # a prompt to predict from needs no answer; one that is given is only compared with
        requested = messages[:-1] if self.kind == "predict" and messages[-1].role == "assistant" else messages
        for message in requested:
            text = message.content
            if text and not text.isspace():
                continue
            white = "only white space" if text else "empty"
            if message.role == "assistant" and message.weight != 0:
                if not (message.reasoning and message.reasoning.strip()):
                    notes.append(Note("answer.empty", self._places.of(message), f"the answer is {white}", shown(text)))
            elif message.role == "user":
                notes.append(Note("prompt.empty", self._places.of(message), f"the user's turn is {white}", shown(text)))

    def _check_pair(self, found: Conversation, notes: list[Note]) -> None:
        chosen, rejected = cast("Message", found.chosen), cast("Message", found.rejected)
        for answer in (chosen, rejected):
            if not answer.content.strip() and not answer.calls and not answer.reasoning:
                white = "only white space" if answer.content else "empty"
                notes.append(
                    Note("answer.empty", self._places.of(answer), f"the answer is {white}", shown(answer.content))
                )
        first, second = chosen.content, rejected.content
        if chosen.calls != rejected.calls or chosen.reasoning != rejected.reasoning or chosen.role != rejected.role:
            return
        at = self._places.of(rejected)
        if first == second:
            notes.append(Note("preference.equal", at, "chosen and rejected are the same", shown(first)))
        elif abs(len(first) - len(second)) < 32 and first.casefold().split() == second.casefold().split():
            text = "chosen and rejected differ only in white space or case"
            notes.append(Note("preference.nearly-equal", at, text, shown(second)))
        elif first and second and (first.startswith(second) or second.startswith(first)):
            shorter = "rejected" if len(second) < len(first) else "chosen"
            notes.append(
                Note("preference.prefix", at, f"{shorter} is the beginning of the other answer", shown(second))
            )

    def _marks(self, record: dict[str, Any], found: Conversation, notes: list[Note]) -> None:
        answers = [message for message in found.messages if message.role in ANSWERS]
        answers += [answer for answer in (found.chosen, found.rejected) if answer is not None]
        if self.kind != "pt":
            for answer in answers:
                if answer.calls:  # what follows the thought is the call
                    continue
                thought_notes(answer.content, self._places.of(answer), notes)
        placeholder_notes(self._places.texts(record, found), notes)
        if self._media.isdisjoint(record) or not any(record.get(key) for key in self._media):
            for text, at, _ in self._places.texts(record, found):
                mark = MEDIA_MARK.search(text)
                if mark:
                    message = f"{mark[0]} in the text, but the record has no media"
                    notes.append(Note("media.placeholder-text", at, message, shown(text)))

    def _check_media(self, record: dict[str, Any], found: Conversation, notes: list[Note]) -> bool:
        for key in sorted(self._media):
            files = record.get(key)
            if not files:
                continue
            name = {"images": "image", "videos": "video", "audios": "audio"}.get(key, "image")
            count = 1 if isinstance(files, str) else len(files)
            marks = sum(text.count(f"<{name}>") for text, _, _ in self._places.texts(record, found))
            if marks != count:
                message = f"{count} file{'s' if count != 1 else ''}, {marks} <{name}> mark{'s' if marks != 1 else ''}"
                notes.append(Note("media.placeholder-count", pointer(key), message, shown(files)))
            else:
                notes.append(Note("media.not-supported", pointer(key), "only text is prepared", shown(files)))
            return False
        return True

    def _explain(self, value: object, notes: list[Note]) -> None:
        """Notes of the schema, with one thing that it cannot say: answers given as whole, different conversations."""
        breaches = self._checker.notes(value)
        if isinstance(value, dict) and len(self._lists) == 2:
            pair = [value.get(key) for key in self._lists]
            whole = [side for side in pair if isinstance(side, list) and len(side) > 1]
            if len(whole) == 2 and whole[0][:-1] != whole[1][:-1]:
                at = pointer(self._lists[1])
                breaches = [note for note in breaches if not note.pointer.startswith(tuple(map(pointer, self._lists)))]
                text = "chosen and rejected are whole conversations, and their prompts differ"
                breaches.append(Note("preference.prompts-differ", at, text, shown(pair[1])))
        notes.extend(breaches or [Note("shape.type", "", "the record does not fit its format", shown(value))])
