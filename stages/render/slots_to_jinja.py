"""A template of slots as a Jinja chat template, for the tokenizer of a trained model.

    slots    system "<s>{{content}}"   user "U:{{content}}A:"   assistant "{{content}}" eos
    Jinja    {{- system -}}{% for message in turns %} ... {{- 'U:' ~ message.content ~ 'A:' }} ... {% endfor %}

What is served is then what was trained: the text is the slots' text, which the tests compare for every template that
can be written. A reasoning template keeps the thought of the last answer and strips those of earlier ones, writes an
empty one before an answer without (and into the prompt with `enable_thinking: false`), as the training rows of one
answer do. Slots are tokenized one by one when we train and the text as a whole when it is served, so ids may still
differ where two slots' texts would merge: `prep template check` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.templates import Slot, Template

from .tool_formats import tool_format
from .tools_to_jinja import quoted, tool_calls, tool_prompt


@dataclass(frozen=True)
class Written:
    """source: the Jinja text. prompts_tools, writes_calls: whether tools are in it; where not, it refuses them."""

    source: str
    prompts_tools: bool
    writes_calls: bool


def to_jinja(
    template: Template, *, default_system: str | None = None, tool_format_name: str | None = None, template_date: str
) -> Written:
    """The template as Jinja.

    Args:
        template: The template of slots.
        default_system: The run's system prompt, None for the template's own.
        tool_format_name: The run's tool format, None for the template's own.
        template_date: The day that is written, as 2026-11-21.

    Raises:
        ValueError: An unknown tool format.
    """
    prompt_form = tool_format(tool_format_name or template.tools_format, template.compat)
    call_form = tool_format(tool_format_name or template.function_format, template.compat)
    listed = None if template.tools_slots and not tool_format_name else tool_prompt(prompt_form, template_date)
    written = tool_calls(call_form)
    function = (Slot("text", "{{content}}"), Slot("id", "eos")) if tool_format_name else template.function
    system = template.default_system if default_system is None else default_system
    lines = [
        *_system(template, system, listed),
        *(_thought_macro(template) if template.reasoning else ()),
        "{%- for message in turns %}",
        "    {%- if message.role == 'user' %}",
        f"        {_filled(template.user, _user_content(template), in_turn=True)}",
        "    {%- elif message.role == 'tool' %}",
        f"        {_filled(template.observation, 'message.content')}",
        "    {%- elif message.role == 'assistant' and message.tool_calls %}",
        *_function(template, function, written),
        "    {%- elif message.role == 'assistant' %}",
        *_assistant(template),
        "    {%- else %}",
        "        {{- raise_exception('this chat template knows no role ' ~ message.role) }}",
        "    {%- endif %}",
        "{%- endfor %}",
    ]
    if template.efficient_eos:
        lines.append("{%- if turns and turns[-1].role == 'assistant' %}{{- eos_token }}{%- endif %}")
    if template.reasoning:
        lines.append(
            "{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
            f"{{{{- {quoted(_empty_thought(template))} }}}}{{%- endif %}}"
        )
    return Written("\n".join(lines) + "\n", listed is not None, written is not None)


def _system(template: Template, default_system: str, listed: str | None) -> list[str]:
    lines = [
        f"{{%- set system = {quoted(default_system)} %}}",
        "{%- set turns = messages %}",
        "{%- if messages[0].role == 'system' %}",
        "    {%- set system = messages[0].content or system %}",
        "    {%- set turns = messages[1:] %}",
        "{%- endif %}",
        "{%- if tools %}",
        listed or "    {{- raise_exception('this chat template writes no tools') }}",
        *(["    {%- set system = system ~ listed %}"] if listed else ()),
        "{%- endif %}",
    ]
    if template.strip_system:
        lines.append("{%- set system = system.lstrip('\\n') %}")
    prefix = _filled(template.prefix, "''")
    if prefix:
        lines.append(prefix)
    if template.kind == "system-in-user":
        before, after = _around(template.system[0])
        lines.append(f"{{%- set system = {quoted(before)} ~ system ~ {quoted(after)} if system else '' %}}")
    else:
        lines += ["{%- if system %}", f"    {_filled(template.system, 'system')}", "{%- endif %}"]
    return lines


def _user_content(template: Template) -> str:
    if template.kind == "system-in-user":
        return "(system if loop.first else '') ~ message.content"
    return "message.content"


def _filled(slots: Sequence[Slot], content: str, *, in_turn: bool = False) -> str:
    """One output expression a slot. `{{idx}}` is the number of the pair of turns."""
    parts = []
    for slot in slots:
        if slot.kind == "text":
            before, after = _around(slot)
            found = "{{content}}" in slot.value
            pieces = [_numbered(before, in_turn), content if found else "", _numbered(after, in_turn)]
            parts.append(" ~ ".join(piece for piece in pieces if piece))
        elif slot.kind == "token":
            parts.append(quoted(slot.value))
        elif slot.kind == "id":
            # left out where the tokenizer has none, as the slot is
            parts.append("bos_token" if slot.value == "bos" else "eos_token")
    return "".join(f"{{{{- {part} }}}}" for part in parts if part)


def _around(slot: Slot) -> tuple[str, str]:
    before, _, after = slot.value.partition("{{content}}")
    return before, after


def _numbered(text: str, in_turn: bool) -> str:
    """A fixed text as an expression, `""` for nothing."""
    if in_turn and "{{idx}}" in text:
        before, _, after = text.partition("{{idx}}")
        return " ~ ".join([quoted(before), "(loop.index0 // 2)", quoted(after)])
    return quoted(text) if text else ""


def _function(template: Template, slots: Sequence[Slot], written: str | None) -> list[str]:
    if written is None:
        return ["        {{- raise_exception('this chat template writes no tool calls') }}"]
    beside = "message.content or ''"
    lines = [f"        {written}", f"        {{%- set beside = {beside} %}}"]
    if template.reasoning:
        lines += ["        {%- set last = loop.last %}", "        {%- set beside = shown_thought(beside, last) %}"]
    lines.append("        {%- set beside = beside ~ ('\\n' if beside and not beside.endswith('\\n') else '') %}")
    if template.reasoning:
        lines.append(f"        {_missing_thought(template, 'beside ~ written')}")
    lines.append(f"        {_filled(slots, 'beside ~ written')}")
    return lines


def _assistant(template: Template) -> list[str]:
    if not template.reasoning:
        return [f"        {_filled(template.assistant, 'message.content')}"]
    opening, closing = template.thought_words
    joined = f"{quoted(opening)} ~ message.reasoning_content ~ {quoted(closing)} ~ message.content"
    return [
        f"        {{%- set answer = ({joined}) if message.reasoning_content else message.content %}}",
        "        {%- set answer = shown_thought(answer, loop.last) %}",
        f"        {_missing_thought(template, 'answer')}",
        f"        {_filled(template.assistant, 'answer')}",
    ]


def _empty_thought(template: Template) -> str:
    opening, closing = template.thought_words
    return closing if template.kind == "reasoning-close-only" else opening + closing


def _missing_thought(template: Template, text: str) -> str:
    """An empty thought before the last answer when it holds neither thought word."""
    words = [quoted(word.strip()) for word in template.thought_words]
    absent = f"{words[0]} not in ({text}) and {words[1]} not in ({text})"
    return f"{{%- if loop.last and {absent} %}}{{{{- {quoted(_empty_thought(template))} }}}}{{%- endif %}}"


def _thought_macro(template: Template) -> list[str]:
    """A macro that takes whole thoughts out of all but the last answer, then the line breaks in front."""
    opening, closing = (quoted(word) for word in template.thought_words)
    return [
        "{%- macro without_thought(text) %}",
        f"    {{%- for part in text.split({opening}) %}}",
        "        {%- if loop.first %}{{- part }}",
        f"        {{%- elif {closing} in part %}}{{{{- part.split({closing})[1:] | join({closing}) }}}}",
        f"        {{%- else %}}{{{{- {opening} ~ part }}}}",
        "        {%- endif %}",
        "    {%- endfor %}",
        "{%- endmacro %}",
        "{%- macro shown_thought(text, last) %}",
        "    {{- text if last else without_thought(text).lstrip('\\n') }}",
        "{%- endmacro %}",
    ]
