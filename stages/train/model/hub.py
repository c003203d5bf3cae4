"""Uploading a folder to the Hugging Face hub: `push_to_hub` after training, `export_hub_model_id` after an export.

The repository is made before the work starts, so that a missing login costs a second and not the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.train.library_errors import translated

NOT_UPLOADED = ("checkpoint-*/**", "prepared/**", "prompts/**", "replaced/**", "runs/**", "**/.cache/**", "*.tmp")


@dataclass(frozen=True)
class Repository:
    """Where a folder goes. name: OWNER/NAME; private: None leaves it to the hub; revision: a branch, "" for main."""

    name: str
    private: bool | None = None
    revision: str = ""


def of_arguments(arguments: dict[str, object]) -> Repository | None:
    """The repository that a run's keys name, None when it is not to be uploaded."""
    if not arguments.get("push_to_hub"):
        return None
    private = arguments.get("hub_private_repo")
    return Repository(
        str(arguments.get("hub_model_id")),
        private if isinstance(private, bool) else None,
        str(arguments.get("hub_revision") or ""),
    )


def make_repository(repository: Repository) -> None:
    """Make the repository unless it is there. Raises MachineFault when the hub cannot be reached or says no."""
    with translated():
        api = _api()
        api.create_repo(repository.name, private=repository.private, exist_ok=True)
        if repository.revision:
            api.create_branch(repository.name, branch=repository.revision, exist_ok=True)


def upload(
    folder: Path, repository: Repository, say: Callable[[str], None], *, but: Sequence[str] = NOT_UPLOADED
) -> None:
    """Upload a folder's files in one commit.

    Args:
        folder: What is uploaded.
        repository: Where to; it has been made.
        say: Takes a line for a person.
        but: Patterns of what stays here.

    Raises:
        MachineFault: The hub cannot be reached or says no; the folder is complete all the same.
    """
    with translated():
        _api().upload_folder(
            repo_id=repository.name,
            folder_path=str(folder),
            revision=repository.revision or None,
            ignore_patterns=list(but),
            commit_message="Model saved by prep",
        )
    say(f"uploaded to {repository.name}")


def _api() -> Any:
    import huggingface_hub

    return huggingface_hub.HfApi()
