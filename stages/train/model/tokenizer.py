"""The template that the data was written with, for the tokenizer that is saved with the model.

The tokenizer that goes with a trained model: the very one that wrote the shards.

It is made from the model folder's tokenizer.json with what the template added, as packing made it, and never through
the folder's own class: some of those are rebuilt by transformers from the vocabulary, with other ids. A batch needs it
only for padding, prediction for decoding, and the saved model to be spoken to as it was taught.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import UsageFault
from registry.templates import COMPATS, Template, load_template, template_names
from stages.train.job import ModelSpec


def trained_template(manifest: Mapping[str, Any]) -> Template | None:
    """The manifest's template; None when the tokenizer's own chat template was used (`template: auto`), or there was
    none (pretraining)."""
    name = str((manifest.get("template") or {}).get("name") or "")
    if manifest.get("stage") == "pt" or name not in template_names():
        return None
    return load_template(name, str(manifest.get("compat") or COMPATS[0]))


def chat_template(manifest: Mapping[str, Any]) -> str | None:
    """The template as Jinja with the run's settings, or None to leave the tokenizer its own."""
    from stages.render.slots_to_jinja import to_jinja

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


def stop_at(model: Any, manifest: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Make a model stop where its answers were taught to end.

    Args:
        model: Its configuration and generation settings are changed.
        manifest: Of the shards it was trained on; of it, `template` and `compat` are read.
        tokenizer: The one that wrote the shards.

    Returns:
        The ids that end an answer: the tokenizer's end token, the template's stop words, and what the model
        stopped at before.
    """
    settings = getattr(model, "generation_config", None)
    config = model.config.get_text_config()
    before = [*_listed(getattr(settings, "eos_token_id", None)), *_listed(getattr(config, "eos_token_id", None))]
    ids = list(dict.fromkeys([*stop_ids(manifest, tokenizer), *before]))
    if not ids:
        return ids
    several = isinstance(getattr(config, "eos_token_id", None), list)
    for where in {id(part): part for part in (config, model.config)}.values():
        where.eos_token_id = ids if several else ids[0]
    if settings is not None:
        settings.eos_token_id = ids
    return ids


def _listed(ids: Any) -> list[int]:
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [ids]


_KEPT = ("model_max_length", "clean_up_tokenization_spaces", "truncation_side")
_FILE = "tokenizer.json"


def load_tokenizer(spec: ModelSpec, manifest: Mapping[str, Any], path: str | None = None, *, notes: list[str]) -> Any:
    """The tokenizer of a model, made the one that wrote the shards.

    Args:
        spec: The model.
        manifest: The shards' manifest.
        path: Another folder to take the tokenizer from, None for the model's.
        notes: Takes a difference that does not show in the ids.

    Raises:
        UsageFault: It gives other ids than the shards have, or has no padding and no end token.
    """
    source = path or spec.path
    if not (Path(source) / _FILE).is_file():
        return _from_hub(spec, source, manifest)
    import tokenizers
    import transformers

    from stages.tokenize.fitted import fit
    from stages.tokenize.tokenizer_files import load_tokenizer_files

    wrote = manifest.get("tokenizer") or {}
    files = load_tokenizer_files(source)
    requested = {"add_tokens": False, "new_special_tokens": True}
    extra = tuple(
        (a["token"], requested[a["asked_by"]]) for a in wrote.get("added", ()) if a.get("asked_by") in requested
    )
    fitted = fit(files, trained_template(manifest), extra)
    _check_ids(source, fitted, wrote)
    if wrote.get("sha256") and wrote["sha256"] != files.sha256:
        _compare_vocabularies(spec, manifest, fitted, notes)
    eos = wrote.get("eos_token") or fitted.ids.eos_text
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(fitted.json_text),
        bos_token=files.special.get("bos"),
        eos_token=eos,
        unk_token=files.special.get("unk"),
        pad_token=files.special.get("pad") or eos,
        chat_template=chat_template(manifest) or _own_chat_template(Path(source), files.config),
        **{key: files.config[key] for key in _KEPT if files.config.get(key) is not None},
    )
    if tokenizer.pad_token_id is None:
        raise UsageFault(f"{source}: its tokenizer has neither a pad nor an end token, so no batch can be made")
    return tokenizer


def _compare_vocabularies(spec: ModelSpec, manifest: Mapping[str, Any], mine: Any, notes: list[str]) -> None:
    """Whether the model's ids stand for the tokens that the shards mean; `mine` is its fitted tokenizer. Raises
    UsageFault unless another one is allowed."""
    from stages.tokenize.fitted import vocabulary_digest

    wrote, vocabulary = manifest["tokenizer"], mine.vocabulary
    digest, theirs = wrote.get("vocabulary_sha256"), _writers_vocabulary(manifest)
    texts = {number: text for text, number in vocabulary.items()}
    other = sum(1 for text, number in (theirs or {}).items() if texts.get(number) != text)
    same = vocabulary_digest(vocabulary, int(wrote["vocab_size"])) == digest if digest else not other
    if same:
        known = "the tokens are the same" if digest or theirs is not None else "sizes and special ids are the same"
        notes.append(f"{spec.path}: its tokenizer files are not those that wrote the shards; {known}")
        return
    count = f" ({other:,} of {len(theirs):,} ids)" if theirs else ""
    problem = f"{spec.path}: its tokenizer's ids stand for other tokens than the ids of the shards{count}"
    if not spec.allow_other_tokenizer:
        raise UsageFault(
            problem,
            hint="pack with this model's own tokenizer; allow_other_tokenizer: true trains on other words all the same",
        )
    notes.append(f"{problem}; allow_other_tokenizer is set, so it is trained on them")


def _writers_vocabulary(manifest: Mapping[str, Any]) -> dict[str, int] | None:
    """The vocabulary of the folder that the shards were packed with; None when it is not here any more, or changed."""
    from registry.errors import Fault
    from stages.tokenize.tokenizer_files import load_tokenizer_files

    folder = (manifest.get("run") or {}).get("model_name_or_path")
    if not folder:
        return None
    try:
        files = load_tokenizer_files(str(folder))
    except Fault:
        return None
    return files.vocabulary if files.sha256 == manifest["tokenizer"]["sha256"] else None


def _check_ids(source: str, fitted: Any, wrote: Mapping[str, Any]) -> None:
    problems = []
    grown = {growth.token: growth.id for growth in fitted.growth}
    for added in wrote.get("added", ()):
        if grown.get(added["token"], added["id"]) != added["id"]:
            problems.append(f'"{added["token"]}" gets id {grown[added["token"]]} here and {added["id"]} in the shards')
    for name, mine in (("eos_id", fitted.ids.eos), ("bos_id", fitted.ids.bos), ("pad_id", fitted.pad)):
        theirs = wrote.get(name)
        if theirs is not None and mine is not None and theirs != mine:
            problems.append(f"{name} is {mine} here and {theirs} in the shards")
    size = int(wrote.get("vocab_size") or 0)
    if fitted.size < size:
        problems.append(f"the model's tokenizer has {fitted.size:,} ids, the one that wrote the shards {size:,}")
    if problems:
        raise UsageFault([f"{source}: {p}" for p in problems], hint="pack with this model's own tokenizer")


def _own_chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    own = config.get("chat_template")
    return own if isinstance(own, str) else None


def _from_hub(spec: ModelSpec, source: str, manifest: Mapping[str, Any]) -> Any:
    import transformers

    from .load import first_line, origin

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **origin(spec))
    except (OSError, ValueError, KeyError) as error:
        raise UsageFault(f"{source}: no tokenizer could be loaded: {first_line(error)}") from None
    taught = chat_template(manifest)
    if taught is not None:
        tokenizer.chat_template = taught
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def settle(folder: Path) -> None:
    """Give a saved tokenizer the class name that every release of transformers reads as "take tokenizer.json as it
    is" (release 5 writes one that release 4 does not know)."""
    path = folder / "tokenizer_config.json"
    if not path.is_file() or not (folder / _FILE).is_file():
        return
    config = json.loads(path.read_text("utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for key in ("backend", "auto_map", "is_local"):
        config.pop(key, None)
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
