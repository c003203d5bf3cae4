"""Generation through vLLM, where it is installed."""

from __future__ import annotations

from typing import Any

from registry.errors import UsageFault
from stages.train import data
from stages.train.hardware import require
from stages.train.job import TrainJob
from stages.train.model import tokenizer as chat
from stages.train.model.adapter_chain import whole_chain
from stages.train.model.tokenizer import load_tokenizer


def generate_with_vllm(job: TrainJob, prepared: data.Prepared, prompts: list[list[int]]) -> list[list[int]]:
    """Answers for prompts, in their order.

    Args:
        job: The model, its adapters and how answers are drawn.
        prepared: The packed prompts' folder, whose manifest names the tokenizer and the template.
        prompts: Token ids of each prompt.

    Returns:
        Token ids of each answer, without its stop.

    Raises:
        MachineFault: vLLM is not installed.
    """
    require({"vllm": "vllm"}, "infer_backend: vllm")
    import vllm

    wanted, settings = job.generation, dict(job.generation.engine_settings)
    lora = vllm_adapter(job)
    tokenizer = load_tokenizer(job.model, prepared.manifest, notes=[])
    known: dict[str, Any] = {
        "model": job.model.path,
        "revision": job.model.revision,
        "trust_remote_code": job.model.trust_remote_code,
        "dtype": wanted.dtype,
        "max_model_len": settings.pop("maxlen"),
        "gpu_memory_utilization": settings.pop("gpu_util"),
        "enforce_eager": settings.pop("enforce_eager"),
        "seed": job.whole("seed"),
    }
    rank = settings.pop("max_lora_rank")
    if lora is not None:
        known.update({"enable_lora": True, "max_lora_rank": rank})
    engine = vllm.LLM(**{**known, **settings})
    sampling = vllm.SamplingParams(
        temperature=wanted.temperature if wanted.do_sample else 0.0,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        repetition_penalty=wanted.repetition_penalty,
        max_tokens=wanted.max_new_tokens or wanted.max_length,
        stop_token_ids=chat.stop_ids(prepared.manifest, tokenizer),
        skip_special_tokens=False,
    )
    inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
    results = engine.generate(inputs, sampling, lora_request=lora)
    stops = set(chat.stop_ids(prepared.manifest, tokenizer))
    return [[token for token in result.outputs[0].token_ids if token not in stops] for result in results]


def vllm_adapter(job: TrainJob) -> Any:
    """vLLM's request for the job's adapter, None without one. Raises UsageFault for several: it takes one at a time."""
    adapters = whole_chain(job.model.adapters, job.model.adapter_folder, [])
    if not adapters:
        return None
    if len(adapters) > 1:
        raise UsageFault(
            f"infer_backend: vllm takes one adapter, and {', '.join(adapters)} belong together",
            hint="merge them first with prep export, or set infer_backend: huggingface",
        )
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, adapters[-1])
