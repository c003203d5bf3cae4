"""Template and tokenizer of a plan: checked against each other before a record is read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.config.groups import AUTO, EncodeConfig
from registry.errors import UsageFault, unreadable
from registry.kinds import STAGES

from .sources import check_own_template
from .types import Plan

if TYPE_CHECKING:
    pass


# --- template and tokenizer -------------------------------------------------------------------------------------------


def with_tokens(plan: Plan, model: str) -> Plan:
    from pipeline.jobs.encode_spec import EncodeSpec
    from registry.templates import load_template
    from stages.render.slot_renderer import RenderOptions
    from stages.tokenize.backends import choose
    from stages.tokenize.tokenizer_files import fitted_tokenizer
    from stages.truncate import CutOptions, example_limit

    config, requested = plan.config, plan.config.encode
    compat, name = requested.compat, requested.template_name
    template = None if name == AUTO else load_template(name, compat)
    extra = tuple((token, False) for token in requested.add_tokens) + tuple(
        (token, True) for token in _special_tokens(requested)
    )
    files, fitted = fitted_tokenizer(model, name, compat, extra)
    if template is None and plan.kind != "pt":
        from stages.render.jinja.chat_template import load_auto  # and jinja2 with it

        own = load_auto(model, files.raw)  # raises when the tokenizer has no chat template
        check_own_template(config, own)
        template_sha256 = own.sha256
    else:
        template_sha256 = hashlib.sha256(template.text.encode()).hexdigest() if template else ""
    if fitted.missing_tokens:
        missing = ", ".join(fitted.missing_tokens)
        raise UsageFault(
            f"template {name}: the tokenizer in {model} has no token {missing}, which this template inserts by id",
            hint=_template_hint(config, model),
        )
    options = RenderOptions(
        kind=plan.kind,
        enable_thinking=requested.enable_thinking,
        preserve_thinking=requested.preserve_thinking,
        train_on_prompt=requested.train_on_prompt,
        mask_history=requested.mask_history,
        default_system=requested.default_system,
        tool_format=requested.tool_format,
        template_date=requested.template_date,
    )
    cut = CutOptions(
        kind=plan.kind,
        limit_tokens=example_limit(requested.cutoff_len, kind=plan.kind, packed=plan.packed, compat=compat),
        from_end=requested.mask_history,
        efficient_eos=fitted.ids.eos if template and template.efficient_eos else None,
        label_first_source=compat == "llamafactory-0.9.2",
    )
    split_special = requested.split_special_tokens
    spec = EncodeSpec(
        template=name,
        compat=compat,
        options=options,
        tokenizer=model,
        tokenizer_sha256=files.sha256,
        template_sha256=template_sha256,
        # template auto tokenizes whole texts; only lm rows are cut into runs without the reference's offsets
        back_end="tokenizers"
        if name == AUTO and (plan.kind != "lm" or split_special)
        else choose(files.raw, plan.input_bytes, split_special_tokens=split_special),
        ids=fitted.ids,
        cut=cut,
        overlong=requested.overlong,
        extra_tokens=extra,
        split_special_tokens=split_special,
        # upstream joins pretraining documents with this text when the template is llama3
        pt_eos_text="<|end_of_text|>" if plan.kind == "pt" and name == "llama3" else None,
        thinking_given="enable_thinking" in config.given,
    )
    notes = list(plan.notes)
    if why := STAGES[plan.stage].not_trained:
        notes.append(f"stage {plan.stage}: prompts are prepared; `prep train` does not train it: {why}")
    if name == "empty" and plan.kind != "pt":
        notes.append("template empty: nothing marks the end of an answer, so no end is trained")
    if fitted.missing_marks:
        notes.append(
            f"template {name}: the tokenizer lacks {', '.join(fitted.missing_marks[:4])}; it is written as ordinary "
            f"text or added. Is this the right template? {_template_hint(config, model)}"
        )
    for grown in fitted.growth:
        notes.append(
            f"vocabulary: {grown.token} is added as id {grown.id} ({grown.requested_by}); the model must grow with it"
        )
    return dataclasses.replace(plan, encode=spec, tokenizer=files, fitted=fitted, notes=tuple(notes))


def _special_tokens(config: EncodeConfig) -> Sequence[str]:
    """Special tokens to add: the keys of `new_special_tokens_config` (token: text), else `add_special_tokens`."""
    path = config.new_special_tokens_config
    if path is None:
        return config.add_special_tokens
    from pipeline.config.yaml_file import FileProblem, read_document

    try:
        with open(path, "rb") as handle:
            document = read_document(handle.read(), is_json=path.endswith(".json"))
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
