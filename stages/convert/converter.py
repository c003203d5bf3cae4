"""Convert: a record of one format in, a record of another one out, and a statement of everything that was not carried.

    record -> reader A -> Conversation -> writer B -> record of B
      |                                                   |
      =?  <- writer A <- Conversation <- reader B <--------

Every record is converted back on the spot. Where what comes back differs from the record, the difference is a stated
loss, so "no loss" means proven equal (as JSON values). Twice the work: a few microseconds a message.
"""

from __future__ import annotations

from typing import Any

import orjson

from registry.datasets.entry import check_once
from registry.datasets.types import Fields
from registry.errors import UsageFault, did_you_mean
from stages.core.conversation import Conversation
from stages.core.display import shown
from stages.core.findings import Note
from stages.formats.chat_writer import MEDIA
from stages.formats.losses import Loss, loss
from stages.formats.table import FORMATS, reader
from stages.formats.tool_list import tools_unwrapped
from stages.validate.column_map import mapping_problems
from stages.validate.schema import compiled

from .differences import record_losses


class Converter:
    """Converts the records of one data set.

    Args:
        from_id: Id of the records' format.
        from_fields: Their column and tag map.
        to_id: Id of the format to write.
        to_fields: Its column and tag map.

    Raises:
        UsageFault: The pair of formats, or a map, cannot work.
    """

    def __init__(self, from_id: str, from_fields: Fields, to_id: str, to_fields: Fields) -> None:
        check_pair(from_id, to_id)
        source, target = FORMATS[from_id], FORMATS[to_id]
        problems = []
        for form, fields in ((source, from_fields), (target, to_fields)):
            for note in mapping_problems(form.id, fields, form.kind):
                problems.append(f"{form.id}: {note.message}")
            named = {name: key for name, key in vars(fields).items() if not name.endswith("_tag") or name == "kto_tag"}
            check_once(named, f"{form.id}: the map", problems)
        if problems:
            raise UsageFault(problems, hint="give each field a key of its own with --from-columns or --columns")
        self.source, self.target = source, target
        self.from_fields, self.to_fields = from_fields, to_fields
        self._checker = compiled(from_id, from_fields, source.kind)
        self._read = reader(from_id, from_fields, source.kind)
        self._read_back = reader(to_id, to_fields, target.kind)
        self._picks = source.kind == "pref" and target.kind == "sft"
        self._media = [
            (getattr(from_fields, name), getattr(to_fields, name))
            for name in MEDIA
            if getattr(from_fields, name) != getattr(to_fields, name)
        ]
        self._unwraps = source.family != "openai" and target.family == "openai"
        self._wrapped = source.family == "openai" and target.family != "openai"
        self._splits = source.family == target.family == "alpaca" and None not in (from_fields.query, to_fields.query)

    def convert(
        self, record: Any, losses: list[Loss], notes: list[Note], exact: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Converts one record.

        Args:
            record: The decoded record.
            losses: What the target cannot carry is appended.
            notes: Why a record cannot be converted is appended.
            exact: The same record with the text of numbers that Python cannot hold
                (`stages.parse.exact_numbers.load_exact`).

        Returns:
            The record of the target format, None after a note.
        """
        if not self._checker.is_valid(record):
            notes.extend(self._checker.notes(record))
            return None
        if exact is not None:
            record = exact
        try:
            return self._converted(record, losses, notes)
        except (orjson.JSONEncodeError, UnicodeEncodeError, RecursionError) as error:
            # JSON inside a text, such as tools, is laxer than a record: any integer, a lone surrogate, any depth
            text = f"it cannot be written as {self.target.id}: {shown(str(error), 80)}"
            notes.append(Note("convert.cannot-write", "", text))
            return None

    def _converted(self, record: Any, losses: list[Loss], notes: list[Note]) -> dict[str, Any] | None:
        read = self._read(record, notes)
        if read is None:
            return None
        sent = read
        stated: list[Loss] = []
        if self._picks and read.chosen is not None and read.rejected is not None:
            sent = read._replace(messages=(*read.messages, read.chosen), chosen=None, rejected=None)
            stated.append(loss("rejected", read.rejected.at))
        if self._wrapped and read.tools is not None:
            sent = sent._replace(tools=tools_unwrapped(read.tools))
        if self._media and sent.extra:
            sent = sent._replace(extra=self._renamed(sent.extra, stated))
        out = self.target.from_conversation(sent, self.to_fields, self.target.kind, stated)
        if self._splits:
            _keep_split(record, self.from_fields, out, self.to_fields)
        if sent.extra:
            out = _in_order(out, record, sent.extra)
        again = self._back(out, read, notes)
        if again is None:
            return None
        if stated or again != record:
            stated += record_losses(record, again, read, self._read, stated)
            losses += stated
        return out

    def _renamed(self, extra: dict[str, object], stated: list[Loss]) -> dict[str, object]:
        """The further keys, those of media under the target's names."""
        renamed = dict(extra)
        for old, new in self._media:
            if old in renamed:
                value = renamed.pop(old)
                if new is None:
                    stated.append(loss("media" if value else "empty-field", f"/{old}"))
                else:
                    renamed[new] = value
        return renamed

    def _back(self, out: dict[str, Any], read: Conversation, notes: list[Note]) -> dict[str, Any] | None:
        """The record that converting `out` back gives."""
        found: list[Note] = []
        back = self._read_back(out, found)
        if back is None:
            reason = found[-1].message if found else "its own reader refuses it"
            text = f"it cannot be written as {self.target.id}: {reason}"
            notes.append(Note("convert.cannot-write", "", text, shown(out)))
            return None
        if self._picks:
            back = back._replace(messages=back.messages[:-1], chosen=back.messages[-1], rejected=read.rejected)
        if self._unwraps and back.tools is not None:
            back = back._replace(tools=tools_unwrapped(back.tools))
        if self._media and back.extra:
            names = {new: old for old, new in self._media if new is not None}
            back = back._replace(extra={names.get(key, key): value for key, value in back.extra.items()})
        again = self.source.from_conversation(back, self.from_fields, self.source.kind, [])
        if self._splits:
            _keep_split(out, self.to_fields, again, self.from_fields)
        return again


def _keep_split(old: dict[str, Any], old_fields: Fields, new: dict[str, Any], new_fields: Fields) -> None:
    """Between two alpaca maps, instruction and input need not become one text."""
    query = old.get(str(old_fields.query))
    if query and new_fields.prompt is not None:
        new[new_fields.prompt] = (old.get(old_fields.prompt) if old_fields.prompt is not None else None) or ""
        new[str(new_fields.query)] = query


def _in_order(out: dict[str, Any], record: dict[str, Any], extra: dict[str, object]) -> dict[str, Any]:
    """The record with the keys in front that stood in front of everything that the format reads."""
    front = {}
    for key in record:
        if key not in extra:
            break
        if key in out:
            front[key] = out[key]
    return {**front, **out} if front else out


def check_pair(from_id: str, to_id: str) -> None:
    """Raises UsageFault when there is no such format, or when one cannot become the other."""
    problems = [
        f"there is no record format {name!r}{did_you_mean(name, FORMATS)}"
        for name in (from_id, to_id)
        if name not in FORMATS
    ]
    if problems:
        raise UsageFault(problems, hint="`prep list formats` shows them")
    source, target = FORMATS[from_id], FORMATS[to_id]
    if source.kind == target.kind or (source.kind, target.kind) == ("pref", "sft"):
        return
    raise UsageFault(f"{from_id} cannot become {to_id}: {_WHY[source.kind, target.kind]}", hint=_same_kind(from_id))


def _same_kind(from_id: str) -> str:
    kind = FORMATS[from_id].kind
    names = [name for name, form in FORMATS.items() if form.kind == kind]
    return f"{from_id} converts to {', '.join(names)}" + (", and to alpaca, sharegpt, openai" if kind == "pref" else "")


_NO_PAIR = "a record with one answer holds no second one to prefer it to"
_NO_LABEL = "nothing in the record says whether the answer is a good one"
_TEXT = "a text is no conversation, and which template would make one of the other is not told"
_WHY = {
    ("sft", "pref"): _NO_PAIR,
    ("kto", "pref"): _NO_PAIR,
    ("sft", "kto"): _NO_LABEL,
    ("pref", "kto"): "a pair would become two records, and a record becomes one",
    ("kto", "sft"): "answers labelled false would be taught as good ones",
    **{(kind, "pt"): _TEXT for kind in ("sft", "pref", "kto")},
    **{("pt", kind): _TEXT for kind in ("sft", "pref", "kto")},
}
