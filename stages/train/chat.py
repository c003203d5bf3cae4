"""The template that the data was written with, for the tokenizer that is saved with the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.templates import COMPATS, Template, load_template, template_names


def trained_template(manifest: Mapping[str, Any]) -> Template | None:
    """The manifest's template; None when the tokenizer's own chat template was used (`template: auto`), or there was
    none (pretraining)."""
    name = str((manifest.get("template") or {}).get("name") or "")
    if manifest.get("stage") == "pt" or name not in template_names():
        return None
    return load_template(name, str(manifest.get("compat") or COMPATS[0]))


def chat_template(manifest: Mapping[str, Any]) -> str | None:
    """The template as Jinja with the run's settings, or None to leave the tokenizer its own."""
    from stages.tojinja import to_jinja

    template = trained_template(manifest)
    if template is None:
        return None
    options = manifest.get("options") or {}
    date = (manifest.get("template") or {}).get("date") or options.get("template_date") or ""
    return to_jinja(
        template,
        default_system=options.get("default_system"),
        tool_format_name=options.get("tool_format"),
        template_date=str(date),
    ).source


def stop_ids(manifest: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Ids that end an answer: the tokenizer's end token and the template's stop words."""
    template = trained_template(manifest)
    words = template.stop_words if template is not None else ()
    known = tokenizer.get_vocab()
    ids = [tokenizer.eos_token_id, *(known[word] for word in words if word in known)]
    return list(dict.fromkeys(number for number in ids if number is not None))
