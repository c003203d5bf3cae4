"""Tool formats: how a template writes the tool list into the system prompt, and calls into an answer.

Every format is a pair of functions: `prompt(tools) -> str` and `calls(calls) -> str`. The strings are those of
LLaMA-Factory's tool formats, its known defects included (contract.md `compat`): glm4_moe omits the closing
`</tool_call>`, minimax2 the outer `<minimax:tool_call>`, seed_oss a `>`; `DEFECTS` names them for the finding.
JSON is written with Python's default separators and without ASCII escapes, as upstream does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import gemma4
from .base import ToolFormat
from .gemma4 import gemma4_prompt
from .json_calls import (
    glm4_calls,
    glm4_prompt,
    lfm2_calls,
    lfm2_prompt,
    ling_prompt,
    llama3_calls,
    llama3_prompt,
    minimax1_calls,
    minimax1_prompt,
    mistral_calls,
    mistral_prompt,
    qwen_calls,
    qwen_prompt,
)
from .prose import default_calls, default_calls_092, default_prompt
from .xml_calls import (
    glm4moe_calls,
    glm4moe_prompt,
    minimax2_calls,
    minimax2_prompt,
    qwen35_calls,
    qwen35_prompt,
    seed_calls,
    seed_prompt,
)

if TYPE_CHECKING:
    from registry.templates import Template


DEFECTS = {
    "glm4_moe": "the closing </tool_call> is not written",
    "minimax2": "the outer <minimax:tool_call> is not written",
    "seed_oss": "the `>` after the function's name is not written",
}

FORMATS: dict[str, ToolFormat] = {
    "default": ToolFormat(default_prompt, default_calls),
    "gemma4": ToolFormat(gemma4_prompt, gemma4.calls),
    "glm4": ToolFormat(glm4_prompt, glm4_calls, parallel=False),
    "glm4_moe": ToolFormat(glm4moe_prompt, glm4moe_calls),
    "lfm2": ToolFormat(lfm2_prompt, lfm2_calls),
    "ling": ToolFormat(ling_prompt, qwen_calls),
    "llama3": ToolFormat(llama3_prompt, llama3_calls),
    "minimax1": ToolFormat(minimax1_prompt, minimax1_calls),
    "minimax2": ToolFormat(minimax2_prompt, minimax2_calls),
    "mistral": ToolFormat(mistral_prompt, mistral_calls),
    "qwen": ToolFormat(qwen_prompt, qwen_calls),
    "qwen3_5": ToolFormat(qwen35_prompt, qwen35_calls),
    "seed_oss": ToolFormat(seed_prompt, seed_calls, whole=True),
}


def tool_format(name: str, compat: str) -> ToolFormat:
    """A format as the named version of LLaMA-Factory has it: 0.9.2 refuses parallel calls in llama3's, and ends each
    call of the default format with a line break.

    Raises KeyError for an unknown name.
    """
    found = FORMATS[name]
    if compat == "llamafactory-0.9.2":
        if name == "llama3":
            return found._replace(parallel=False)
        if name == "default":
            return found._replace(calls=default_calls_092)
    return found


def tools_written_as(template: Template, chosen_format: str | None) -> str:
    """What of a record's tools a template can write: "list" (of definitions), "json" (any JSON value, as one) or "text"
    (whatever stands there). chosen_format: the run's `tool_format`, in place of the template's own."""
    if template.tools_slots and not chosen_format:
        return "text"
    return "json" if tool_format(chosen_format or template.tools_format, template.compat).whole else "list"
