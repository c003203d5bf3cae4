"""What can be found wrong with a job before its data is packed, without loading a model.

Each check answers a mistake that a library would raise hours later, in the library's words and with a traceback. What
only a library can know is translated by `library_errors`.
"""

from __future__ import annotations

import importlib
import json
import netrc
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from registry.errors import MachineFault, UsageFault, did_you_mean
from stages.train.hardware import reporters, require
from stages.train.job import TrainJob

from .distributed import deepspeed_config
from .torchrun import planned_processes, visible_devices

# optimizers by the start of their name -> packages they come from (module -> name on PyPI)
_OPTIMIZER_PACKAGES: dict[str, dict[str, str]] = {
    "galore_": {"galore_torch": "galore-torch"},
    "apollo_": {"apollo_torch": "apollo-torch"},
    "lomo": {"lomo_optim": "lomo-optim"},
    "adalomo": {"lomo_optim": "lomo-optim"},
    "grokadamw": {"grokadamw": "grokadamw"},
    "schedule_free_": {"schedulefree": "schedulefree"},
    "stable_adamw": {"optimi": "torch-optimi"},
    "adamw_torch_4bit": {"torchao": "torchao"},
    "adamw_torch_8bit": {"torchao": "torchao"},
    "adamw_anyprecision": {"torchdistx": "torchdistx"},
    "adamw_torch_xla": {"torch_xla": "torch-xla"},
    **{
        start: {"bitsandbytes": "bitsandbytes"}
        for start in ("adamw_bnb", "adamw_8bit", "ademamix", "lion_", "paged_", "rmsprop_bnb")
    },
}
_USUAL = frozenset({"", "adamw_torch", "adamw_torch_fused", "sgd", "adafactor", "adamw_8bit", "paged_adamw_8bit"})
_BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 8), "eetq": (8,)}
_QUANTIZERS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq"}
_MEASURES = {  # by the kind of a loss
    "lm": {"mean_token_accuracy"},
    "rm": {"accuracy", "margin", "min_reward", "mean_reward", "max_reward"},
    "pref": {
        *(f"{what}/{which}" for what in ("rewards", "logps", "logits") for which in ("chosen", "rejected")),
        "rewards/accuracies", "rewards/margins", "mean_token_accuracy", "kl", "nll_loss", "log_odds_ratio",
        "log_odds_chosen",
    },
}  # fmt: skip
_ALWAYS_MEASURED = {"loss", "entropy", "num_tokens", "runtime", "samples_per_second", "steps_per_second"}
_PANEL = "report_to"
_LONGEST_HEADER = 100 << 20  # bytes, as safetensors has it


def check_feasible(job: TrainJob, environ: Mapping[str, str]) -> None:
    """Raises UsageFault with every setting that cannot work, else MachineFault for what is missing here.

    environ: of the process that starts the run.
    """
    problems = [*_settings(job), *_quantization(job), *_of_deepspeed(job, environ), *_of_machine(job, environ)]
    if job.task == "train":
        problems += [*_compiler(job), *_optimizer(job), *_evaluation(job), *_upload(job)]
    if problems:
        raise UsageFault(problems)
    _packages(job, environ)
    if job.task == "train":
        check_targets(job)


def _settings(job: TrainJob) -> Iterator[str]:
    arguments = job.arguments
    schedule = str(arguments.get("lr_scheduler_type"))
    kwargs = arguments.get("lr_scheduler_kwargs")
    if schedule == "warmup_stable_decay" and not (isinstance(kwargs, Mapping) and "num_decay_steps" in kwargs):
        yield "lr_scheduler_type: warmup_stable_decay needs lr_scheduler_kwargs: {num_decay_steps: N}"
    if schedule in ("reduce_lr_on_plateau", "greedy") and arguments.get("eval_strategy") == "no":
        yield f"lr_scheduler_type: {schedule} follows the evaluation loss; set eval_strategy: steps"
    if arguments.get("train_sampling_strategy") == "group_by_length" and job.method != "sft":
        yield f"train_sampling_strategy: group_by_length sorts rows of one sequence, stage {job.stage} has several"
    if job.tuning.lora_init == "loftq" and job.tuning.kind == "lora" and job.model.quantization_bit:
        yield "init_lora_weights: loftq quantizes whole weights itself; leave quantization_bit out"


def _compiler(job: TrainJob) -> Iterator[str]:
    """The names that torch.compile does not have: the libraries raise them from deep within the first step."""
    backend, mode = job.arguments.get("torch_compile_backend"), job.arguments.get("torch_compile_mode")
    if backend:
        from accelerate.utils import DynamoBackend

        known = [one.value.lower() for one in DynamoBackend if one.value != "NO"]
        if str(backend).lower() not in known:
            yield f'torch_compile_backend: there is no "{backend}"{did_you_mean(str(backend), known)}'
    if mode:
        from torch._inductor import list_mode_options

        if str(mode) not in (modes := list(list_mode_options())):
            yield f'torch_compile_mode: there is no "{mode}", it is one of {", ".join(modes)}'


def _quantization(job: TrainJob) -> Iterator[str]:
    bits = job.model.quantization_bit
    if bits is None:
        return
    method = job.model.quantization_method.lower()
    if method not in _BITS:
        yield (
            f"quantization_method: {method} does not quantize while a model is loaded: name a model published so "
            "and leave quantization_bit out, or use bnb, hqq or eetq"
        )
    elif bits not in _BITS[method]:
        yield f"quantization_bit: {method} has {' and '.join(map(str, _BITS[method]))}, not {bits}"


def _of_deepspeed(job: TrainJob, environ: Mapping[str, str]) -> Iterator[str]:
    body = deepspeed_config(job.run.deepspeed, []) or {}
    arguments = job.arguments
    batch, steps = arguments.get("per_device_train_batch_size"), arguments.get("gradient_accumulation_steps")
    ours = {
        "train_micro_batch_size_per_gpu": ("per_device_train_batch_size", batch),
        "gradient_accumulation_steps": ("gradient_accumulation_steps", steps),
        "gradient_clipping": ("max_grad_norm", arguments.get("max_grad_norm")),
    }
    for name, (key, value) in ours.items():
        if isinstance(body.get(name), (int, float)) and value is not None and body[name] != value:
            yield f'deepspeed: {name} is {body[name]} in its file and {key} is {value}; write "auto" in the file'
    whole = body.get("train_batch_size")
    if isinstance(whole, int) and isinstance(batch, int) and isinstance(steps, int):
        count = planned_processes(job, environ)
        if whole != batch * steps * count:
            yield (
                f"deepspeed: train_batch_size is {whole} in its file, and {count} process(es) with {batch} rows and "
                f'{steps} accumulation step(s) make {batch * steps * count}; write "auto" in the file'
            )


def _of_machine(job: TrainJob, environ: Mapping[str, str]) -> Iterator[str]:
    on_cpu = job.flag("use_cpu") or not visible_devices(environ)
    if job.model.attention == "flex_attention" and on_cpu and job.task == "train":
        yield "flash_attn: flex_attention cannot train on a CPU; use sdpa"
    if job.tuning.lora_init == "loftq" and job.tuning.kind == "lora" and on_cpu:
        yield "init_lora_weights: loftq needs a GPU; use pissa or true"


def _optimizer(job: TrainJob) -> Iterator[str]:
    name = str(job.arguments.get("optim") or "")
    if name not in _USUAL and name not in _optimizers():  # transformers takes seconds to ask
        yield f'optim: there is no optimizer "{name}"{did_you_mean(name, _optimizers())}'


def _optimizers() -> list[str]:
    from transformers.training_args import OptimizerNames

    return [str(name.value) for name in OptimizerNames]


def _evaluation(job: TrainJob) -> Iterator[str]:
    arguments = job.arguments
    save, evaluate = arguments.get("save_steps"), arguments.get("eval_steps")
    by_steps = arguments.get("save_strategy") == arguments.get("eval_strategy") == "steps"
    if job.flag("load_best_model_at_end") and by_steps and _no_multiple(save, evaluate):
        yield f"load_best_model_at_end: save_steps must be a multiple of eval_steps, and {save} is none of {evaluate}"
    metric = job.arguments.get("metric_for_best_model")
    if job.run.early_stopping_steps and not metric:
        yield "early_stopping_steps: metric_for_best_model says what has to improve; set it, to loss for example"
    if not metric or not job.run.do_train or job.arguments.get("eval_strategy") == "no":
        return
    name = str(metric).removeprefix("eval_")
    kind = "rm" if job.method == "rm" else "lm" if job.method == "sft" else "pref"
    known = _ALWAYS_MEASURED | _MEASURES[kind]
    inner = job.flag("eval_on_each_dataset") and any(name.endswith(f"_{measure}") for measure in known)
    if name not in known and not inner:
        yield (
            f'metric_for_best_model: stage {job.stage} does not measure "{metric}"{did_you_mean(name, known)}; '
            f"it has {', '.join(sorted(known - _ALWAYS_MEASURED | {'loss'}))}"
        )


def _no_multiple(save: object, evaluate: object) -> bool:
    whole = [value for value in (save, evaluate) if isinstance(value, (int, float)) and value >= 1]
    return len(whole) == 2 and whole[0] % whole[1] != 0


def _upload(job: TrainJob) -> Iterator[str]:
    if job.flag("push_to_hub") and not job.arguments.get("hub_model_id"):
        yield "push_to_hub: hub_model_id is missing: the repository, as OWNER/NAME"


def _packages(job: TrainJob, environ: Mapping[str, str]) -> None:
    """Raises MachineFault for the first thing that is missing on this machine."""
    bits, method = job.model.quantization_bit, job.model.quantization_method.lower()
    if bits is not None:
        key = f"quantization_bit: {bits}" if method == "bnb" else f"quantization_method: {method}"
        require({_QUANTIZERS[method]: _QUANTIZERS[method]}, key)
        if method != "bnb" and not _quantizes(method):
            raise MachineFault(
                f"quantization_method: the installed transformers cannot quantize with {method} while it loads a model",
                hint="use quantization_method: bnb",
            )
    if job.task != "train":
        return
    name = str(job.arguments.get("optim") or "")
    for start, packages in _OPTIMIZER_PACKAGES.items():
        if name.startswith(start):
            require(packages, f"optim: {name}")
    if "8bit" in name and name.startswith("galore"):
        require({"bitsandbytes": "bitsandbytes"}, f"optim: {name}")
    if job.tuning.lora_init == "loftq" and job.tuning.kind == "lora":
        require({"scipy": "scipy", "bitsandbytes": "bitsandbytes"}, "init_lora_weights: loftq")
    if job.run.plot_loss:
        require({"matplotlib": "matplotlib"}, "plot_loss")
    for panel in reporters(job.arguments):
        if panel == "wandb" and not _wandb_login(environ):
            raise MachineFault(
                f"{_PANEL}: wandb has no login here", hint="`wandb login`, set WANDB_API_KEY, or WANDB_MODE=offline"
            )


def _quantizes(method: str) -> bool:
    module = importlib.import_module(f"transformers.quantizers.quantizer_{method}")
    kind = getattr(module, f"{method.capitalize()}HfQuantizer", None)
    return kind is not None and "get_quantize_ops" in vars(kind)


def _wandb_login(environ: Mapping[str, str]) -> bool:
    """Whether a run can start without a question to the user, or somebody is there to answer it."""
    if environ.get("WANDB_MODE", "online") != "online" or environ.get("WANDB_DISABLED"):
        return True
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE") or sys.stdin.isatty():
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    for name in (environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        path = Path(os.path.expanduser(name)) if name else None
        try:
            if path is not None and path.is_file() and netrc.netrc(str(path)).authenticators(host):
                return True
        except (netrc.NetrcParseError, OSError):
            continue
    return False


def check_targets(job: TrainJob) -> None:
    """Whether the model has the modules that an adapter is to go to, tried on a model without weights.

    Raises UsageFault with every name that it has not.
    """
    tuning = job.tuning
    words = {*tuning.additional_target, *(tuning.lora_target if tuning.kind == "lora" else tuning.oft_target)} - {"all"}
    if not tuning.adapter or not words or not Path(job.model.path).is_dir():
        return
    if {word.rpartition(".")[2] for word in words} - {"lm_head"} <= _weight_names(Path(job.model.path)):
        return  # the usual case, and no library is loaded for it
    import torch
    import transformers

    from stages.train.model.adapters import lora_config, oft_config
    from stages.train.model.load import read_config

    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(
                read_config(job.model), trust_remote_code=job.model.trust_remote_code
            )
    except (ValueError, NotImplementedError, RuntimeError):  # of another kind: reported when it is loaded
        return
    config = lora_config if tuning.kind == "lora" else oft_config
    config(model, tuning, reward=job.method == "rm")


def _weight_names(folder: Path) -> set[str]:
    """The modules whose weights a folder holds, by the last parts of their names."""
    names: list[str] = []
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _LONGEST_HEADER:
                return set()
            try:
                names += json.loads(file.read(size))
            except ValueError:
                return set()
    return {part for name in names for part in name.split(".")}


def check_alone(job: TrainJob, processes: int) -> None:
    """What several processes could do and one cannot. Raises UsageFault."""
    if processes == 1 and job.arguments.get("fsdp"):
        raise UsageFault(
            "fsdp: splits a model over several processes, and this run has one",
            hint="leave fsdp out, or set NPROC_PER_NODE above 1",
        )
