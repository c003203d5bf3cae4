"""An Ollama Modelfile from a template of slots: how Ollama has to write a chat so that the model reads what it learned.

    slots       system "<s>{{content}}"   user "U:{{content}}A:"   assistant "{{content}}" eos
    Modelfile   TEMPLATE with Go's text/template over .System and .Messages, SYSTEM, PARAMETER stop

The beginning-of-sequence token at the very start is omitted: the engine below Ollama adds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.templates import Slot, Template


def modelfile(
    template: Template,
    special: Mapping[str, str],
    *,
    default_system: str | None,
    context_tokens: int,
    source: str = ".",
    ends: Sequence[str] = (),
) -> str | None:
    """The text of a Modelfile.

    Args:
        template: The template that was trained.
        special: The tokenizer's "bos" and "eos" as text, "" for none.
        default_system: The run's system prompt, None for the template's own.
        context_tokens: The longest context that is served.
        source: Where the weights lie, as Ollama should read it.
        ends: What else the model stops at, as text.

    Returns:
        None for a template that Go's language cannot count for (numbered turns).
    """
    parts = (template.prefix, template.system, template.user, template.assistant, template.observation)
    if any("{{idx}}" in slot.value for part in parts for slot in part):
        return None
    system = template.default_system if default_system is None else default_system
    lines = [f"FROM {source}", "", f'TEMPLATE """{_body(template, special)}"""', ""]
    if system:
        lines += [f'SYSTEM """{_quoted(system)}"""', ""]
    stops = [*template.stop_words, special.get("eos", ""), *ends]
    lines += [f'PARAMETER stop "{_escaped(stop)}"' for stop in dict.fromkeys(stops) if stop]
    lines.append(f"PARAMETER num_ctx {context_tokens}")
    return "\n".join(lines) + "\n"


def _body(template: Template, special: Mapping[str, str]) -> str:
    in_user = template.kind == "system-in-user"
    head = _filled(template.prefix, "", special, at_start=True)
    system = _filled(template.system, "{{ .System }}", special, at_start=not template.prefix)
    first = "{{ if $first }}" + _filled(template.system, "{{ $.System }}", special) + "{{ $first = false }}{{ end }}"
    system = f"{{{{ if $.System }}}}{first}{{{{ end }}}}" if in_user else ""
    user = _filled(template.user, f"{system}{{{{ .Content }}}}", special, at_start=not template.prefix)
    answer = _filled(template.assistant, "{{ .Content }}", special)
    tool = _filled(template.observation, "{{ .Content }}", special)
    return (
        head
        + ("{{ $first := true }}" if in_user else f"{{{{ if .System }}}}{system}{{{{ end }}}}")
        + f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
        + f'{{{{ else if eq .Role "assistant" }}}}{answer}'
        + f'{{{{ else if eq .Role "tool" }}}}{tool}{{{{ end }}}}{{{{ end }}}}'
    )


def _filled(slots: Sequence[Slot], content: str, special: Mapping[str, str], *, at_start: bool = False) -> str:
    out = []
    for place, slot in enumerate(slots):
        if slot.kind == "text":
            before, found, after = slot.value.partition("{{content}}")
            out.append(_quoted(before) + (content if found else "") + _quoted(after))
        elif slot.kind == "token":
            out.append(_quoted(slot.value))
        elif slot.kind == "id" and not (at_start and place == 0 and slot.value == "bos"):
            out.append(_quoted(special.get(slot.value, "")))
    return "".join(out)


def _quoted(text: str) -> str:
    """Fixed text inside a Go template inside three quotes."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
