"""Chat templates as data: one YAML file a family beside this module, loaded when requested.

A template is a set of slots. Each slot is tokenized on its own, or inserted by id:

    "text {{content}}"    text; {{content}} is the message, {{idx}} the turn number
    {id: bos}  {id: eos}  the tokenizer's own token; nothing when it has none
    {token: "<sep>"}      looked up in the vocabulary; a tokenizer that lacks it does not fit the template
    {nothing: "..."}      written upstream in a way that inserts nothing; kept so that the bytes agree

The file of a template is named after the letters its name starts with: `qwen3_vl` stands in qwen.yaml.
`llamafactory-0.9.2:` below a template holds its definition in that version where it differs ("same" where not).
Facts (token strings, flags) are those of LLaMA-Factory's templates; see the goldens under fixtures/ for the proof.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, NamedTuple

import yaml

from registry.errors import UsageFault, did_you_mean

COMPATS = ("llamafactory-0.9.6", "llamafactory-0.9.2")
TemplateClass = Literal["plain", "system-in-user", "reasoning", "reasoning-close-only"]
CLASSES = ("plain", "system-in-user", "reasoning", "reasoning-close-only")
THOUGHT_WORDS = ("<think>\n", "\n</think>\n\n")
TOOL_CALL_WORDS = ("<tool_call>", "</tool_call>")


class Slot(NamedTuple):
    """One slot: `kind` is text, id, token or nothing; `value` its text, "bos"/"eos", or the token."""

    kind: str
    value: str


@dataclass(frozen=True)
class Template:
    """A chat template. `tools_slots` replaces the tool format's prompt in the one template that has its own;
    `strip_system` takes leading line breaks off the system text (moss_vl)."""

    name: str
    kind: TemplateClass
    prefix: tuple[Slot, ...]
    system: tuple[Slot, ...]
    user: tuple[Slot, ...]
    assistant: tuple[Slot, ...]
    observation: tuple[Slot, ...]
    function: tuple[Slot, ...]
    function_format: str
    tools_format: str
    tools_slots: tuple[Slot, ...]
    default_system: str
    stop_words: tuple[str, ...]
    thought_words: tuple[str, str]
    tool_call_words: tuple[str, str]
    efficient_eos: bool
    replace_eos: bool
    replace_jinja_template: bool
    strip_system: bool
    media: str
    dropped_upstream: bool
    compat: str
    text: str  # the definition as it is hashed into the manifest

    @property
    def reasoning(self) -> bool:
        """Whether thoughts are inserted and stripped."""
        return self.kind in ("reasoning", "reasoning-close-only")

    def tokens(self) -> tuple[str, ...]:
        """Tokens that the vocabulary must have for this template to be writable at all."""
        parts = (self.prefix, self.system, self.user, self.assistant, self.observation, self.function)
        return tuple(dict.fromkeys(slot.value for part in parts for slot in part if slot.kind == "token"))

    def marks(self) -> tuple[str, ...]:
        """Strings in the text slots that look like control tokens; a fitting tokenizer has each as one token."""
        parts = (self.prefix, self.system, self.user, self.assistant, self.observation)
        found: dict[str, None] = {}
        for part in parts:
            for slot in part:
                if slot.kind == "text":
                    found.update(dict.fromkeys(_MARK.findall(slot.value)))
        found.update(dict.fromkeys(self.stop_words))
        return tuple(found)


_MARK = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[(?:gMASK|INST|/INST)\]|<(?:start|end)_of_turn>")


@functools.cache
def _names() -> dict[str, str]:
    """Template name -> family file."""
    names = {}
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".yaml"):
            for line in entry.read_text(encoding="utf-8").splitlines():
                if line and not line[0].isspace() and line[0] != "#" and line.endswith(":"):
                    names[line[:-1].strip('"')] = entry.name
    return names


def template_names() -> list[str]:
    """Every template's name, sorted."""
    return sorted(_names())


def load_template(name: str, compat: str = COMPATS[0]) -> Template:
    """One template as the named version of LLaMA-Factory writes it.

    A template that the older version did not have is given in its present form. Raises UsageFault for an unknown name.
    """
    if compat not in COMPATS:
        raise UsageFault(f"compat: {compat!r} is not one of {', '.join(COMPATS)}{did_you_mean(compat, COMPATS)}")
    return _load(name, compat)


@functools.lru_cache(maxsize=256)
def _load(name: str, compat: str) -> Template:
    match = re.match(r"[a-z]+", name)
    row = _family(match.group()).get(name) if match else None
    if row is None:
        raise UsageFault(
            f"template: there is no template {name!r}{did_you_mean(name, [*template_names(), 'auto'])}",
            hint="`prep list templates` shows all of them; `template: auto` uses the tokenizer's own chat template",
        )
    row = dict(row)
    older = row.pop("llamafactory-0.9.2", None)
    if compat == "llamafactory-0.9.2" and isinstance(older, dict):
        row = older
    return _template(name, compat, row)


@functools.cache
def _family(family: str) -> dict[str, Any]:
    source = resources.files(__package__) / f"{family}.yaml"
    if not source.is_file():
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(source.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  # safe
    return loaded


def _slots(raw: list[str | dict[str, str]]) -> tuple[Slot, ...]:
    return tuple(Slot("text", item) if isinstance(item, str) else Slot(*next(iter(item.items()))) for item in raw)


def _template(name: str, compat: str, row: dict[str, Any]) -> Template:
    user, assistant = _slots(row["user"]), _slots(row["assistant"])
    tools_format = row.get("tools_format", "default")
    thought = row.get("thought_words", THOUGHT_WORDS)
    calls = row.get("tool_call_words", TOOL_CALL_WORDS)
    kind = row.get("class", "plain")
    if kind not in CLASSES:
        raise ValueError(f"template {name}: class {kind!r}")
    return Template(
        name=name,
        kind=kind,
        prefix=_slots(row.get("prefix", [])),
        system=_slots(row["system"]),
        user=user,
        assistant=assistant,
        observation=_slots(row["observation"]) if "observation" in row else user,
        function=_slots(row["function"]) if "function" in row else assistant,
        function_format=row.get("function_format", "default"),
        tools_format=tools_format if isinstance(tools_format, str) else "default",
        tools_slots=() if isinstance(tools_format, str) else _slots(tools_format),
        default_system=row.get("default_system", ""),
        stop_words=tuple(row.get("stop_words", ())),
        thought_words=(thought[0], thought[1]),
        tool_call_words=(calls[0], calls[1]),
        efficient_eos=bool(row.get("efficient_eos", False)),
        replace_eos=bool(row.get("replace_eos", False)),
        replace_jinja_template=bool(row.get("replace_jinja_template", False)),
        strip_system=bool(row.get("strip_system", False)),
        media=row.get("media", ""),
        dropped_upstream=bool(row.get("dropped_upstream", False)),
        compat=compat,
        text=json.dumps(row, ensure_ascii=False, sort_keys=True),
    )
