"""A model to give away: adapters merged in, weights in files of one size, tokenizer and chat template beside them.

The result is loaded again and must answer with the same logits before it is called done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.train import hardware
from stages.train.job import ModelSpec
from stages.train.launch import distributed

from . import hub
from . import load as models
from . import tokenizer as chat
from .permissions import follow_umask
from .tokenizer import load_tokenizer, settle

Say = Callable[[str], None]
_TOLERANCE = 1e-5
_PROBE_TOKENS = 16


@dataclass(frozen=True)
class ExportJob:
    """What to export and how. file_gb: size of one weight file; device: cpu or auto; dtype: torch's name or "auto" (as
    the weights are); chat: `template`, `compat`, `options` as a manifest has them, {} to keep the tokenizer's own."""

    model: ModelSpec
    folder: str
    file_gb: int = 5
    device: str = "cpu"
    dtype: str = "auto"
    reward: bool = False
    hub_repository: str | None = None
    chat: Mapping[str, Any] = field(default_factory=dict)


def export(job: ExportJob, log: Say) -> Path:
    """Merge, save, load again, compare; returns the folder.

    Raises UsageFault for a folder that is not empty or adapters that do not fit, MachineFault when the disk is full or
    the saved model answers differently.
    """
    distributed.before_torch()
    folder = Path(job.folder)
    if folder.exists() and any(folder.iterdir()):
        raise UsageFault(f"export_dir: {folder} is not empty", hint="choose a new folder, or empty it")
    if job.hub_repository:
        hub.make_repository(hub.Repository(job.hub_repository))
    here = hardware.machine(job.device == "cpu")
    distributed.quiet_libraries(on_cpu=here.on_cpu)
    model, tokenizer = _load(job, here, log)
    needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        free = shutil.disk_usage(partial).free
        if free < needed:
            raise MachineFault(f"{folder}: {free >> 20:,} MiB free, the model needs {needed >> 20:,} MiB")
        chat.stop_at(model, job.chat, tokenizer)
        model.save_pretrained(partial, max_shard_size=f"{job.file_gb}GB")
        tokenizer.save_pretrained(partial)
        settle(partial)
        _modelfile(job, model, tokenizer, partial, log)
        follow_umask(partial)
        gap = reload_gap(model, partial, job.reward)
        if gap > _TOLERANCE:
            raise MachineFault(f"{folder}: the saved model answers differently from the merged one (by {gap:.2g})")
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)
    except OSError as error:
        raise MachineFault(f"export_dir: {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if job.hub_repository:
        hub.upload(folder, hub.Repository(job.hub_repository), log, but=())
    log(f"exported to {folder}: {needed / 2**20:,.1f} MiB of weights; loaded again, largest difference {gap:.1g}")
    return folder


def _load(job: ExportJob, here: hardware.Machine, log: Say) -> tuple[Any, Any]:
    import torch

    source = tokenizer_source(job.model)
    tokenizer = load_tokenizer(job.model, job.chat, source, notes=[])
    if source != job.model.path:
        log(f"tokenizer from {source}")
    dtype = job.dtype if job.dtype != "auto" else _own_dtype(job.model)
    model = models.load_model(job.model, models.Loading(dtype, reward=job.reward))
    models.fit_vocabulary(model, len(tokenizer), True, [])
    for adapter in job.model.adapters:
        log(f"merging {adapter}")
    notes: list[str] = []
    model = models.merge_adapters(model.to(here.device), job.model, notes)
    for note in notes:
        log(f"note: {note}")
    # the weights alone: rotary tables and other buffers keep their precision, as they do when the model is loaded
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    model.config.dtype = getattr(torch, dtype)
    return model.eval(), tokenizer


def tokenizer_source(spec: ModelSpec) -> str:
    """The folder whose tokenizer belongs to the result: the last adapter's when training saved one with it."""
    for adapter in reversed(spec.adapters):
        folder = Path(adapter) / (spec.adapter_folder or "")
        if (folder / "tokenizer_config.json").is_file():
            return str(folder)
    return spec.path


def _own_dtype(spec: ModelSpec) -> str:
    config = models.read_config(spec)
    return str(getattr(config.get_text_config(), "dtype", None) or "float32").removeprefix("torch.")


def _modelfile(job: ExportJob, model: Any, tokenizer: Any, folder: Path, log: Say) -> None:
    from .ollama import modelfile

    template = chat.trained_template(job.chat)
    if template is None:
        return
    limit = int(getattr(model.config.get_text_config(), "max_position_embeddings", 4096) or 4096)
    ends = [str(tokenizer.decode([number])) for number in chat.stop_at(model, job.chat, tokenizer)]
    text = modelfile(
        template,
        {"bos": tokenizer.bos_token or "", "eos": tokenizer.eos_token or ""},
        default_system=(job.chat.get("options") or {}).get("default_system"),
        context_tokens=min(limit, 4096),
        ends=ends,
    )
    if text is None:
        log(f"no Modelfile: template {template.name} numbers its turns, which Ollama's templates cannot")
    else:
        (folder / "Modelfile").write_text(text, encoding="utf-8")


def reload_gap(model: Any, folder: Path, reward: bool) -> float:
    """Load the saved model and compare it with the one in memory on a few tokens: the largest difference of logits."""
    import torch

    spec = ModelSpec(str(folder))
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    attention = str(getattr(model.config, "_attn_implementation", "") or "")
    again = models.load_model(spec, models.Loading(dtype, attention, reward)).to(model.device).eval()
    ids = torch.arange(_PROBE_TOKENS, device=model.device)[None] % int(model.get_input_embeddings().num_embeddings)
    with torch.no_grad():
        first, second = model(input_ids=ids).logits, again(input_ids=ids).logits
    return float((first.float() - second.float()).abs().max())
