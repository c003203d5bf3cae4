"""Data sets of the Hugging Face hub, through the `datasets` library: its Arrow cache files are read like any other."""

from __future__ import annotations

from dataclasses import replace

from pipeline.installation import install_command
from registry.datasets.types import Dataset
from registry.errors import MachineFault, UsageFault


def fetch(dataset: Dataset) -> Dataset:
    """A hub entry of dataset_info.json with the local files that hold it; others as they are.

    Raises MachineFault when the library is missing, the hub cannot be reached, or it is not Hugging Face's;
    UsageFault when its `split` joins parts of different splits.
    """
    if not dataset.hub:
        return dataset
    kind, _, name = dataset.hub.partition(":")
    by_hand = "download the files and name them with file_name"
    if kind != "hf":
        raise MachineFault(f"dataset: {dataset.name}: lives on another hub ({dataset.hub})", hint=by_hand)
    try:
        import datasets
    except ModuleNotFoundError:
        raise MachineFault(
            f"dataset: {dataset.name}: lives on a hub ({dataset.hub}), which needs the datasets library",
            hint=f"{install_command('train')}; or {by_hand}",
        ) from None
    split, taken = whole_and_part(dataset)
    try:
        loaded = datasets.load_dataset(name, dataset.subset, split=split, data_dir=dataset.folder)
    except Exception as error:  # of the library, the hub or the network: it is the machine's or the entry's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MachineFault(
            f"dataset: {dataset.name}: {name} cannot be loaded: {reason[0][:200]}", hint=by_hand
        ) from error
    files = tuple(entry["filename"] for entry in loaded.cache_files)
    if not files:
        raise MachineFault(f"dataset: {dataset.name}: {name} has no local files after loading", hint=by_hand)
    return replace(dataset, files=files, split=taken)


def whole_and_part(dataset: Dataset) -> tuple[str, str]:
    """The split to load, whole, and what of its records is taken, in the words of local files."""
    if "[" not in dataset.split:
        return dataset.split, "train"
    parts = [part.strip().partition("[") for part in dataset.split.split("+")]
    names = {name for name, _, _ in parts}
    if len(names) > 1:
        raise UsageFault(
            f"dataset: {dataset.name}: split {dataset.split} joins parts of different splits",
            hint="make each an entry of its own in dataset_info.json, and name them all in `dataset`",
        )
    return names.pop(), "+".join(f"train{bracket}{part}" for _, bracket, part in parts)
