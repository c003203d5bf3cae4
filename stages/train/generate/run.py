"""Generation for a set of prompts: `generated_predictions.jsonl` in the order of the prompts, and how close it came.

    prompts ── longest first, in batches ──> model.generate ──> part of each process ──> one file, in order

The prompts are token ids already, so the tokenizer only decodes. Each process takes every n-th batch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from registry.errors import UsageFault
from stages.train import data, hardware
from stages.train.job import Generation, TrainJob
from stages.train.launch import distributed
from stages.train.model import tokenizer as chat
from stages.train.model.tokenizer import load_tokenizer

from . import metrics

ANSWERS_FILE = "generated_predictions.jsonl"
Say = Callable[[str], None]


def predict(job: TrainJob, log: Say) -> dict[str, Any]:
    """Generate an answer for each prompt of `job.data`; returns the measures (predict_bleu-4, ..., predict_runtime).

    Raises a Fault: no prompts, no model, a missing vLLM.
    """
    distributed.before_torch()
    prepared = data.read_manifest(Path(job.data))
    if prepared.kind != "prompt":
        raise UsageFault(f"{prepared.root} holds {prepared.kind} shards; prediction needs prompts")
    here = hardware.machine(job.flag("use_cpu"))
    distributed.quiet_libraries(on_cpu=here.on_cpu)
    distributed.start_processes(on_cpu=here.on_cpu, deepspeed=False)
    splits = [name for name in prepared.splits if name != "train"] or list(prepared.splits)
    if not splits:
        raise UsageFault(f"{prepared.root}: no prompts")
    say = log if distributed.is_first() else _nothing
    if distributed.is_first():
        data.verify(prepared, splits)
    output = Path(job.run.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows = [row for split in splits for row in data.dataset(prepared, split)]
    say(f"{len(rows):,} prompts, {job.generation.engine} on {distributed.process_count()} x {here.device}")
    answers = _answers(job, prepared, here, rows, say)
    part = output / f"{ANSWERS_FILE}.part{distributed.process_number()}"
    _write_lines(part, ([number, ids] for number, ids in answers))
    distributed.everyone_here()
    result: dict[str, Any] = {}
    if distributed.is_first():
        result = _finish(job, prepared, rows, output, time.monotonic() - began, say)
    distributed.everyone_here()
    distributed.leave()
    return result


def _nothing(_: str) -> None:
    return


def _answers(
    job: TrainJob, prepared: data.Prepared, here: hardware.Machine, rows: Sequence[Any], say: Say
) -> Iterator[tuple[int, list[int]]]:
    prompts = [list(row["prompt_ids"]) for row in rows]
    if job.generation.engine == "vllm":
        from .vllm import generate_with_vllm

        if distributed.is_first():  # vLLM spreads over the devices by itself
            yield from enumerate(generate_with_vllm(job, prepared, prompts))
        return
    yield from _with_transformers(job, prepared, here, prompts, say)


def _with_transformers(
    job: TrainJob, prepared: data.Prepared, here: hardware.Machine, prompts: list[list[int]], say: Say
) -> Iterator[tuple[int, list[int]]]:
    import torch
    import transformers

    notes: list[str] = []
    model, tokenizer = load_for_answers(job, prepared, here, notes)
    for note in notes:
        say(f"note: {note}")
    stops = chat.stop_ids(prepared.manifest, tokenizer)
    settings = generation_config(job.generation, stops, tokenizer.pad_token_id)
    groups = batches([len(prompt) for prompt in prompts], job.whole("per_device_eval_batch_size"))
    mine = groups[distributed.process_number() :: distributed.process_count()]
    transformers.set_seed(job.whole("seed"))
    done = 0
    for group in mine:
        wide = max(len(prompts[number]) for number in group)
        ids = torch.full((len(group), wide), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for line, number in enumerate(group):  # left-padded: answers grow on the right
            ids[line, wide - len(prompts[number]) :] = torch.tensor(prompts[number])
            mask[line, wide - len(prompts[number]) :] = 1
        with torch.no_grad():
            out = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings
            )
        for number, answer in zip(group, out[:, wide:].tolist(), strict=True):
            yield number, until_stop(answer, stops)
        done += len(group)
        say(f"answered {min(done * distributed.process_count(), len(prompts)):,}/{len(prompts):,}")


def load_for_answers(
    job: TrainJob, prepared: data.Prepared, here: hardware.Machine, notes: list[str]
) -> tuple[Any, Any]:
    """The model with its adapters merged, in evaluation mode on its device, and the tokenizer. What is not as the
    config says goes to `notes`."""
    from stages.train.model import load as models

    dtype = job.generation.dtype
    if dtype == "auto":
        dtype = "float32" if here.on_cpu else "bfloat16" if here.bf16 else "float16"
    net = models.load_model(job.model, models.Loading(dtype, hardware.attention(job, here, notes)))
    tokenizer = load_tokenizer(job.model, prepared.manifest, notes=notes)
    models.fit_vocabulary(net, prepared.vocabulary, job.model.grow_vocabulary or bool(job.model.adapters), notes)
    net = models.merge_adapters(net, job.model, notes)
    return net.to(here.device).eval(), tokenizer


def generation_config(wanted: Generation, stops: Sequence[int], pad: int) -> Any:
    """transformers' GenerationConfig for the settings.

    Args:
        wanted: How answers are drawn.
        stops: Ids that end an answer.
        pad: Id that fills a batch.
    """
    import transformers

    limits = (
        {"max_new_tokens": wanted.max_new_tokens} if wanted.max_new_tokens > 0 else {"max_length": wanted.max_length}
    )
    sampled = wanted.do_sample and wanted.temperature > 0
    drawn = {"temperature": wanted.temperature, "top_p": wanted.top_p, "top_k": wanted.top_k} if sampled else {}
    beams = {"length_penalty": wanted.length_penalty} if wanted.num_beams > 1 else {}
    return transformers.GenerationConfig(
        **limits,
        **drawn,
        **beams,
        do_sample=sampled,
        num_beams=wanted.num_beams,
        repetition_penalty=wanted.repetition_penalty,
        eos_token_id=list(stops),
        pad_token_id=pad,
    )


def batches(lengths: Sequence[int], rows_at_once: int) -> list[list[int]]:
    """Prompt numbers in groups of similar length, the longest group first (it is the one that may not fit)."""
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    return [order[first : first + rows_at_once] for first in range(0, len(order), rows_at_once)]


def until_stop(answer: Sequence[int], stops: Sequence[int]) -> list[int]:
    """An answer up to its first stop id: what follows in a batch is padding."""
    ends = [place for place, token in enumerate(answer) if token in stops]
    return list(answer[: ends[0]] if ends else answer)


def _finish(
    job: TrainJob, prepared: data.Prepared, rows: Sequence[Any], output: Path, elapsed_s: float, say: Say
) -> dict[str, Any]:
    tokenizer = load_tokenizer(job.model, prepared.manifest, notes=[])
    answers: dict[int, list[int]] = {}
    for part in sorted(output.glob(f"{ANSWERS_FILE}.part*")):
        for text in part.read_text("utf-8").splitlines():
            number, ids = json.loads(text)
            answers[number] = ids
        part.unlink()

    def decoded(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=job.generation.skip_special_tokens))

    found = [
        {"prompt": decoded(row["prompt_ids"]), "predict": decoded(answers[number]), "label": decoded(row["label_ids"])}
        for number, row in enumerate(rows)
    ]
    if job.generation.split:
        for entry in found:
            entry["predict_split"] = metrics.nested(entry["predict"], job.generation.split)
            entry["label_split"] = metrics.nested(entry["label"], job.generation.split)
    _write_lines(output / ANSWERS_FILE, found)
    result = _measures(found, say)
    result["predict_runtime"] = round(elapsed_s, 4)
    result["predict_samples_per_second"] = round(len(found) / max(elapsed_s, 1e-9), 4)
    _write_results(output, result)
    shown = "  ".join(f"{name.removeprefix('predict_')} {value}" for name, value in result.items())
    say(f"done: {len(found):,} answers in {output / ANSWERS_FILE}  {shown}")
    return result


def _measures(found: Sequence[dict[str, str]], say: Say) -> dict[str, Any]:
    """BLEU and ROUGE over the answers that have an expected one to be compared with; empty when none has."""
    labelled = [entry for entry in found if entry["label"].strip()]
    if not labelled:
        say("no BLEU and ROUGE: the data holds no answers to compare with")
        return {}
    missing = metrics.missing_libraries()
    if missing:
        say(f"no BLEU and ROUGE: {', '.join(missing)} not installed (python -m pip install {' '.join(missing)})")
        return {}
    if len(labelled) < len(found):
        say(f"BLEU and ROUGE over the {len(labelled):,} of {len(found):,} answers that have one to compare with")
    scores = metrics.score([entry["predict"] for entry in labelled], [entry["label"] for entry in labelled])
    return {f"predict_{name}": value for name, value in scores.items()}


def _write_results(output: Path, result: dict[str, Any]) -> None:
    (output / "predict_results.json").write_text(json.dumps(result, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    every = output / "all_results.json"
    before = json.loads(every.read_text("utf-8")) if every.exists() else {}
    every.write_text(json.dumps({**before, **result}, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def _write_lines(path: Path, entries: Any) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for entry in entries:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
