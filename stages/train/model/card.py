"""README.md of a saved adapter: what it is, in place of the empty form that PEFT writes."""

from __future__ import annotations

from pathlib import Path

from stages.train.job import TrainJob

_EMPTY = "[More Information Needed]"


def fill_card(folder: Path, job: TrainJob) -> None:
    """Replace PEFT's empty form; a card that somebody has written stays."""
    path = folder / "README.md"
    try:
        if _EMPTY not in path.read_text(encoding="utf-8"):
            return
    except (OSError, UnicodeDecodeError):
        return
    path.write_text(card(job), encoding="utf-8")


def card(job: TrainJob) -> str:
    """The text of the card."""
    tuning, base = job.tuning, job.model.path
    how = [f"* stage `{job.stage}`" + (f", loss `{job.preference.loss}`" if job.stage == "dpo" else "")]
    if tuning.kind == "lora":
        alpha = tuning.lora_alpha if tuning.lora_alpha is not None else 2 * tuning.lora_rank
        how.append(f"* LoRA of rank {tuning.lora_rank}, alpha {alpha}, on {', '.join(tuning.lora_target)}")
    else:
        how.append(f"* {tuning.kind.upper()} on {', '.join(tuning.oft_target)}")
    for key in ("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "seed"):
        if job.arguments.get(key) not in (None, -1):
            how.append(f"* {key}: {job.arguments[key]}")
    head = ["---", "library_name: peft", "tags:", f"- {tuning.kind}", f"- {job.stage}"]
    if not Path(base).exists():  # the hub takes its own names only
        head += [f"base_model: {base}"]
    lines = [
        *head, "---", "", f"# Adapter of {Path(base).name if Path(base).exists() else base}", "",
        "Trained with `prep train`:", "", *how, "",
        "Every step is in `trainer_log.jsonl`, the results in `all_results.json`. To merge it into the model:", "",
        "```bash", "prep export model_name_or_path=MODEL adapter_name_or_path=THIS_FOLDER export_dir=merged", "```", "",
    ]  # fmt: skip
    return "\n".join(lines)
