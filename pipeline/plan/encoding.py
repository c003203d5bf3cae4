"""Template and tokenizer of a plan: checked against each other before a record is read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.config.groups import AUTO, EncodeConfig
from registry.errors import UsageFault, unreadable
from registry.kinds import STAGES

from .types import Plan

if TYPE_CHECKING:
    from pipeline.jobs.encode_spec import EncodeSpec
    from registry.templates import Template
    from stages.render.jinja.chat_template import AutoTemplate
    from stages.render.slot_renderer import RenderOptions
    from stages.tokenize.fitted import FittedTokenizer
    from stages.tokenize.tokenizer_files import TokenizerFiles
    from stages.truncate import CutOptions


def with_tokens(plan: Plan, model: str) -> Plan:
    """The plan with its template and tokenizer, and with notes on what the two lack of each other.

    Args:
        plan: What is known without them.
        model: Folder of the tokenizer.

    Raises:
        UsageFault: There is no such template, the tokenizer has none of its own (`template: auto`), it lacks a token
            that the template inserts by id, or its files cannot be read.
    """
    from registry.templates import load_template
    from stages.tokenize.fitted import fitted_tokenizer

    requested = plan.config.encode
    name = requested.template_name
    template = None if name == AUTO else load_template(name, requested.compat)
    files, fitted = fitted_tokenizer(model, name, requested.compat, _extra_tokens(requested))
    template_sha256 = _template_sha256(plan, template, model, files)
    if fitted.missing_tokens:
        missing = ", ".join(fitted.missing_tokens)
        raise UsageFault(
            f"template {name}: the tokenizer in {model} has no token {missing}, which this template inserts by id",
            hint=_template_hint(plan.config, model),
        )
    spec = _encode_spec(plan, model, files, fitted, template, template_sha256)
    notes = (*plan.notes, *_remarks(plan, model, fitted))
    return dataclasses.replace(plan, encode=spec, tokenizer=files, fitted=fitted, notes=notes)


def _template_sha256(plan: Plan, template: Template | None, model: str, files: TokenizerFiles) -> str:
    if template is None and plan.kind != "pt":
        from stages.render.jinja.chat_template import load_auto  # and jinja2 with it

        own = load_auto(model, files.raw)  # raises when the tokenizer has no chat template
        _check_own_template(plan.config, own)
        return own.sha256
    return hashlib.sha256(template.text.encode()).hexdigest() if template else ""


def _encode_spec(
    plan: Plan,
    model: str,
    files: TokenizerFiles,
    fitted: FittedTokenizer,
    template: Template | None,
    template_sha256: str,
) -> EncodeSpec:
    """The options of rendering, tokenizing and cutting. template: None for the tokenizer's own."""
    from pipeline.jobs.encode_spec import EncodeSpec
    from stages.tokenize.backends import choose

    requested, name = plan.config.encode, plan.config.encode.template_name
    split_special = requested.split_special_tokens
    return EncodeSpec(
        template=name,
        compat=requested.compat,
        options=_render_options(plan),
        tokenizer=model,
        tokenizer_sha256=files.sha256,
        template_sha256=template_sha256,
        # template auto tokenizes whole texts; only lm rows are cut into runs without the reference's offsets
        back_end="tokenizers"
        if name == AUTO and (plan.kind != "lm" or split_special)
        else choose(files.raw, plan.input_bytes, split_special_tokens=split_special),
        ids=fitted.ids,
        cut=_cut_options(plan, fitted.ids.eos if template and template.efficient_eos else None),
        overlong=requested.overlong,
        extra_tokens=_extra_tokens(requested),
        split_special_tokens=split_special,
        # upstream joins pretraining documents with this text when the template is llama3
        pt_eos_text="<|end_of_text|>" if plan.kind == "pt" and name == "llama3" else None,
        thinking_given="enable_thinking" in plan.config.given,
    )


def _render_options(plan: Plan) -> RenderOptions:
    from stages.render.slot_renderer import RenderOptions

    requested = plan.config.encode
    return RenderOptions(
        kind=plan.kind,
        enable_thinking=requested.enable_thinking,
        preserve_thinking=requested.preserve_thinking,
        train_on_prompt=requested.train_on_prompt,
        mask_history=requested.mask_history,
        default_system=requested.default_system,
        tool_format=requested.tool_format,
        template_date=requested.template_date,
    )


def _cut_options(plan: Plan, efficient_eos: int | None) -> CutOptions:
    from stages.truncate import CutOptions, example_limit

    requested = plan.config.encode
    return CutOptions(
        kind=plan.kind,
        limit_tokens=example_limit(requested.cutoff_len, kind=plan.kind, packed=plan.packed, compat=requested.compat),
        from_end=requested.mask_history,
        efficient_eos=efficient_eos,
        label_first_source=requested.compat == "llamafactory-0.9.2",
    )


def _remarks(plan: Plan, model: str, fitted: FittedTokenizer) -> Iterator[str]:
    """Notes on what works, but not as it may be meant."""
    name = plan.config.encode.template_name
    if why := STAGES[plan.stage].not_trained:
        yield f"stage {plan.stage}: prompts are prepared; `prep train` does not train it: {why}"
    if name == "empty" and plan.kind != "pt":
        yield "template empty: nothing marks the end of an answer, so no end is trained"
    if fitted.missing_marks:
        yield (
            f"template {name}: the tokenizer lacks {', '.join(fitted.missing_marks[:4])}; it is written as ordinary "
            f"text or added. Is this the right template? {_template_hint(plan.config, model)}"
        )
    for grown in fitted.growth:
        yield f"vocabulary: {grown.token} is added as id {grown.id} ({grown.requested_by}); the model must grow with it"


def _extra_tokens(requested: EncodeConfig) -> tuple[tuple[str, bool], ...]:
    """Tokens to add to the tokenizer, each with whether it is a special one."""
    plain = tuple((token, False) for token in requested.add_tokens)
    return plain + tuple((token, True) for token in _special_tokens(requested))


def _special_tokens(config: EncodeConfig) -> Sequence[str]:
    """Special tokens to add: the keys of `new_special_tokens_config` (token: text), else `add_special_tokens`."""
    path = config.new_special_tokens_config
    if path is None:
        return config.add_special_tokens
    from pipeline.config.yaml_file import BYTES_MOST, FileProblem, read_document

    try:
        with open(path, "rb") as handle:
            document = read_document(handle.read(BYTES_MOST + 1), is_json=path.endswith(".json"))
    except FileProblem as problem:
        raise UsageFault(f"new_special_tokens_config: {path}:{problem.line}: {problem}") from None
    except OSError as error:
        raise unreadable(error, f"new_special_tokens_config: {path}") from None
    return [str(token) for token in document.values]


def _template_hint(config: Config, model: str) -> str:
    try:
        from registry.models import suggest
    except ImportError:
        return "`prep list templates` shows all"
    name = suggest(model, None)
    return f"for this model it is usually {name!r}" if name else "`prep list templates` shows all"


def _check_own_template(config: Config, template: AutoTemplate) -> None:
    """Raises UsageFault for a key that the tokenizer's own chat template cannot follow."""
    from stages.render.jinja.record_variables import kept_thoughts

    hint = "leave the key out, or choose one of our templates with `template: NAME`"
    if config.text("tool_format"):
        raise UsageFault(
            "tool_format has no effect with template auto: the tokenizer's chat template writes calls its own way",
            hint=hint,
        )
    if config.flag("preserve_thinking") and not kept_thoughts(template):
        raise UsageFault(
            "preserve_thinking has no effect here: the tokenizer's chat template has no switch for it", hint=hint
        )
