"""`prep export`: merge the adapters into the model and save it with its tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.config.groups import AUTO
from stages.core.findings import as_json as json_text

from .options import PASS_ON, config_of, say_notes

if TYPE_CHECKING:
    from pipeline.config import Config
    from stages.train.model.export import ExportJob


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG.yaml] [key=value ...]")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="What was written, as JSON on stdout, everything else on stderr.")
def command(arguments: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Merge an adapter and save the model, its tokenizer, its chat template and an Ollama Modelfile.

    The saved model is loaded again and must answer with the same logits.

    \b
      prep export model_name_or_path=Qwen3-8B adapter_name_or_path=saves/sft template=qwen3 export_dir=merged
    """
    from stages.train.library_errors import translated
    from stages.train.model.export import export

    config = config_of(arguments, "export", {})
    say_notes(config, quiet)

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    job = export_job(config)
    with translated():
        folder = export(job, say)
    if as_json:
        click.echo(json_text(exported(folder, job)))
    return 0


def exported(folder: Path, job: ExportJob) -> dict[str, object]:
    """What an export came to, as plain data. files: bytes by name."""
    return {
        "export_dir": str(folder),
        "model": job.model.path,
        "adapters": list(job.model.adapters),
        "files": {entry.name: entry.stat().st_size for entry in sorted(folder.iterdir()) if entry.is_file()},
        "hub_model_id": job.hub_repository or None,
    }


def export_job(config: Config) -> ExportJob:
    """The export that a configuration describes. Raises UsageFault."""
    from pipeline.runs.train.job_from_config import predict_job_from_config
    from stages.train.model.export import ExportJob

    draft = predict_job_from_config(config.with_values(stage="sft"), Path())
    chat: dict[str, object] = {}
    name = config.encode.template_name
    if name != AUTO:
        options = {key: config.get(key) for key in ("default_system", "tool_format", "template_date")}
        chat = {"template": {"name": name}, "compat": config.encode.compat, "options": options}
    return ExportJob(
        model=draft.model,
        folder=str(config.export.export_dir),
        file_gb=config.export.export_size,
        device=config.export.export_device,
        dtype=draft.generation.dtype,
        reward=config.encode.stage == "rm",
        hub_repository=config.export.export_hub_model_id or "",
        chat=chat,
    )
