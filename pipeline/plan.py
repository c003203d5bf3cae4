"""Plan: what a configuration means, decided before a single record is read.

    Config -> sources (data set, files, format, map) -> kind of rows -> template, tokenizer -> options of each stage

`make_plan` looks at folders, tokenizer files and the first records of sets whose format is `auto`; it raises every
usage mistake it can see, so that nothing is half done when one turns up.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from registry.datasets import Dataset, Fields, resolve
from registry.errors import DataFault, Fault, UsageFault, unreadable
from registry.kinds import ROW_KINDS, STAGES
from registry.rules import Policy
from stages.formats import FORMATS, Detection
from stages.formats.detect import Detector
from stages.hub_cache import model_folder
from stages.read import Chunk, Limits, discover, public, records, scan
from stages.specs import BatchSpec, SourceSpec

from .config import Config
from .config_groups import AUTO, EncodeConfig
from .hub import fetch

if TYPE_CHECKING:
    from stages.encode_spec import EncodeSpec
    from stages.tokenizer_files import FittedTokenizer, TokenizerFiles

_NAMED = 3  # files that one remark names; more of them are counted


@dataclass(frozen=True)
class Source:
    """One data set, ready to read. split: train, or the evaluation split it belongs to."""

    dataset: Dataset
    spec: SourceSpec
    files: tuple[str, ...]
    split: str = "train"
    detection: Detection | None = None

    @property
    def bytes(self) -> int:
        """Size of its files on disk; 0 for what is not local."""
        return sum(os.path.getsize(path) for path in self.files if os.path.exists(path))


@dataclass(frozen=True)
class Plan:
    """Everything a run does, before it does it. `encode` is None when records are only checked."""

    config: Config
    stage: str
    kind: str  # lm | pref | unpaired | prompt | pt
    sources: tuple[Source, ...]
    policy: Policy
    encode: EncodeSpec | None = None
    tokenizer: TokenizerFiles | None = None
    fitted: FittedTokenizer | None = None
    notes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def packed(self) -> bool:
        """Whether rows hold several examples."""
        return ROW_KINDS[self.kind].sequence and self.config.pack.packing

    @property
    def input_bytes(self) -> int:
        """Bytes on disk over all sources."""
        return sum(source.bytes for source in self.sources)

    def batch_spec(self, spool_folder: str | None) -> BatchSpec:
        """What the batch path needs."""
        return BatchSpec(
            sources=tuple(source.spec for source in self.sources),
            stage=self.stage,
            policy=self.policy,
            specials=self.fitted.specials if self.fitted else (),
            encode=self.encode,
            spool_folder=spool_folder,
            limits=self.limits,
        )


def make_plan(
    config: Config, *, needs_tokens: bool, limits: Limits | None = None, sources: Sequence[Source] | None = None
) -> Plan:
    """Plans a run. needs_tokens: a template and tokenizer must be there (pack); otherwise they are used when given.
    sources: when they are known already; else they are those of the configuration.

    Raises UsageFault with every mistake of one kind at once.
    """
    limits = limits or Limits()
    stage = config.method
    policy = Policy.make(STAGES[stage].rule_stage, config.data.rules, strict=config.data.strict)
    lenient = not needs_tokens  # what is wrong with the records is then told of each
    found, notes = (list(sources), []) if sources is not None else _sources(config, stage, limits, lenient=lenient)
    plan = Plan(config, stage, config.kind, tuple(found), policy, notes=tuple(notes), limits=limits)
    model = config.model.model_name_or_path
    if model is None or (not needs_tokens and config.encode.template is None):
        if needs_tokens:
            raise UsageFault("model_name_or_path: not given", hint="name the folder that holds tokenizer.json")
        return plan
    return _with_tokens(plan, model_folder(model, config.model.model_revision))


# --- sources ----------------------------------------------------------------------------------------------------------


def _sources(config: Config, stage: str, limits: Limits, *, lenient: bool) -> tuple[list[Source], list[str]]:
    train, evaluation = config.data.dataset, config.data.eval_dataset
    if not train and not evaluation:
        raise UsageFault("dataset: not given", hint="name data sets of dataset_info.json, or a file, folder or glob")
    notes: list[str] = []
    sources: list[Source] = []
    wrong: list[Fault] = []
    for names, split in ((train, "train"), (evaluation, "validation")):
        if not names:
            continue
        for dataset in resolve(
            names,
            config.data.dataset_dir,
            stage=STAGES[stage].data_stage,
            base=config.folder,
            record_format=config.data.format,
        ):
            notes += dataset.notes
            dataset = fetch(dataset)
            try:
                files = tuple(path for spec in dataset.files for path in discover(spec, notes=notes))
                where = f"validation_{dataset.name}" if split != "train" and config.mix.eval_on_each_dataset else split
                sources.append(_source(dataset, files, where, limits, lenient=lenient))
            except (UsageFault, DataFault) as fault:
                wrong.append(fault)
    raise_together(wrong)
    notes += format_remarks((source.files, source.detection) for source in sources)
    return sources, notes


def raise_together(faults: Sequence[Fault]) -> None:
    """Raises one fault for all of them; mistakes in the command go before those in the data."""
    if not faults:
        return
    kind = UsageFault if any(isinstance(fault, UsageFault) for fault in faults) else DataFault
    mine = [fault for fault in faults if isinstance(fault, kind)]
    problems = [problem for fault in mine for problem in fault.problems]
    raise kind(list(dict.fromkeys(problems)), hint=next((fault.hint for fault in mine if fault.hint), ""))


def format_remarks(found: Iterable[tuple[Sequence[str], Detection | None]]) -> list[str]:
    """What each set was read as and why, one line for all that agree: (files, detection), None when it was given."""
    alike: dict[str, list[str]] = {}
    lines = []
    for files, detection in found:
        if detection is None:
            continue
        name = _named(files)
        if detection.unanimous:
            alike.setdefault(f"{detection.format}: {detection.why}", []).append(name)
        else:
            lines.append(f"{name}: {detection.reason}")
    return [*(f"{_named(names)}: {what}" for what, names in alike.items()), *lines]


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(public, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _source(dataset: Dataset, files: tuple[str, ...], split: str, limits: Limits, *, lenient: bool) -> Source:
    form = dataset.format
    detection = None
    if form == AUTO:
        detection = detect_format(files, limits)
        form = detection.format or likely_format(detection)
        if not lenient and detection.mixed:
            raise _mixed(files, detection, limits)
        if not lenient and detection.format is None and detection.unknown:
            raise DataFault(
                f"{public(files[0])}: {detection.reason}",
                hint="say it with format=ID (`prep list formats`), or map columns in dataset_info.json",
            )
    if form not in FORMATS:
        raise UsageFault(f"{dataset.name}: there is no record format {form!r}")
    known = FORMATS[form]
    fields = dataset.fields or (detection.fields if detection else None) or known.default_fields
    return Source(dataset, SourceSpec(dataset.name, form, fields), files, split, detection)


def likely_format(detection: Detection) -> str:
    """The format to read records as that are of several formats or of none: what is wrong with each is said then."""
    return max(detection.counts, key=lambda key: detection.counts[key], default="alpaca")


def _mixed(files: Sequence[str], detection: Detection, limits: Limits) -> DataFault:
    if any(detect_format([path], limits).mixed for path in files):
        return DataFault(
            f"{public(files[0])}: {detection.reason}", hint="keep one format a file, or say which with format=ID"
        )
    return DataFault(
        f"{_named(files)}: {detection.reason}",
        hint="make files of each format a data set of their own: dataset=a.jsonl,b.jsonl, or dataset_info.json",
    )


def detect_format(files: Sequence[str], limits: Limits) -> Detection:
    """Finds out the record format of a set from its first records."""
    detector, places, broken = Detector(), [], 0
    for path in files:
        for item in scan(path, limits):
            if not isinstance(item, Chunk):
                continue
            for record in records(item, limits):
                try:
                    value = orjson.loads(record.data)
                except ValueError:  # what is wrong with it is said when it is checked
                    broken += 1
                    continue
                if isinstance(value, dict):
                    detector.add(value)
                    places.append(f"{path}:{record.line}")
            break  # one chunk a file tells enough, and the next file may tell more
    found = detector.result()
    if not places and broken:
        what = f"none of the first {broken:,} records can" if broken > 1 else "the first record cannot"
        return dataclasses.replace(found, reason=f"{what} be read: see `prep validate {public(files[0])}`")
    if found.mixed:
        firsts = ", ".join(f"{name} (first at {places[at]})" for name, at in found.first.items())
        return dataclasses.replace(found, reason=f"the records are of several formats: {firsts}")
    return found


# --- template and tokenizer -------------------------------------------------------------------------------------------


def _with_tokens(plan: Plan, model: str) -> Plan:
    from registry.templates import load_template
    from stages.assemble import CutOptions, example_limit
    from stages.encode_spec import EncodeSpec
    from stages.render import RenderOptions
    from stages.tokenize import choose
    from stages.tokenizer_files import fitted_tokenizer

    config, asked = plan.config, plan.config.encode
    compat, name = asked.compat, asked.template_name
    template = None if name == AUTO else load_template(name, compat)
    extra = tuple((token, False) for token in asked.add_tokens) + tuple(
        (token, True) for token in _special_tokens(asked)
    )
    files, fitted = fitted_tokenizer(model, name, compat, extra)
    if template is None and plan.kind != "pt":
        from stages.autotemplate import load_auto  # and jinja2 with it

        template_sha256 = load_auto(model, files.raw).sha256  # raises when the tokenizer has no chat template
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
        enable_thinking=asked.enable_thinking,
        preserve_thinking=asked.preserve_thinking,
        train_on_prompt=asked.train_on_prompt,
        mask_history=asked.mask_history,
        default_system=asked.default_system,
        tool_format=asked.tool_format,
        template_date=asked.template_date,
    )
    cut = CutOptions(
        kind=plan.kind,
        limit_tokens=example_limit(asked.cutoff_len, kind=plan.kind, packed=plan.packed, compat=compat),
        from_end=asked.mask_history,
        efficient_eos=fitted.ids.eos if template and template.efficient_eos else None,
        label_first_source=compat == "llamafactory-0.9.2",
    )
    split_special = asked.split_special_tokens
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
        overlong=asked.overlong,
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
            f"vocabulary: {grown.token} is added as id {grown.id} ({grown.asked_by}); the model must grow with it"
        )
    return dataclasses.replace(plan, encode=spec, tokenizer=files, fitted=fitted, notes=tuple(notes))


def _special_tokens(config: EncodeConfig) -> Sequence[str]:
    """Special tokens to add: the keys of `new_special_tokens_config` (token: text), else `add_special_tokens`."""
    path = config.new_special_tokens_config
    if path is None:
        return config.add_special_tokens
    from .yamlfile import FileProblem, read_document

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


__all__ = ["Fields", "Plan", "Source", "detect_format", "make_plan"]
