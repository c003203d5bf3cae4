"""Opening a finished output, folder or URL: its manifest read and checked, and a local copy of what is far away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from registry.errors import BusyFault, DataFault, UsageFault, unreadable
from stages.core import atomic_io
from stages.core.atomic_io import create, make_folder, remove_tree, sync_folder, write_whole
from stages.core.display import clean
from stages.core.manifest_document import changed
from stages.core.plain_file import read_plain
from stages.core.urls import public

from .manifest import CACHE, MANIFEST, dump, is_ours, is_output, lies_outside, listed_files, parse_manifest
from .publish import locked, new_build, open_output, publish
from .remote_fetch import StoreFiles, fetch_manifest
from .store import COPY, STAGING, Store, cache_folder, is_store, local_folder
from .verify import Files, FolderFiles

RUN_SHARDS = "prepared"  # where `prep train` packs in its output_dir
_FETCHED = "fetched"
_AGAIN = "run `prep pack` again"
Say = Callable[[str], None]


def _quiet(line: str) -> None:
    """Nobody listens."""


def read_manifest(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of an output: a folder, or a URL.

    Raises UsageFault when there is none or its version is not ours, DataFault when it is damaged, MachineFault when it
    may not be read.
    """
    return fetch_manifest(os.fspath(out)) if is_store(out) else read_text(out)[0]


def read_text(out: str | os.PathLike[str]) -> tuple[dict[str, Any], bytes]:
    """The manifest of an output in a folder, and its bytes. Raises as `read_manifest` does."""
    path = local_folder(out) / MANIFEST
    try:
        data = read_plain(path)
    except (FileNotFoundError, NotADirectoryError):
        _refuse_file(out)
        what = (
            "no such folder" if not path.parent.is_dir() else "no manifest.json in it, so it holds no finished output"
        )
        raise UsageFault(f"{out}: {what}", hint="make one with `prep pack CONFIG.yaml -o OUT`") from None
    except OSError as error:
        raise unreadable(error, path) from error
    return parse_manifest(data, str(path)), data


def output_of(file: str | os.PathLike[str]) -> Path | None:
    """The output that a file is a part of, None for other files and for what is no file."""
    path = local_folder(file)
    for folder in list(path.parents)[:2] if path.is_file() else ():  # OUT/manifest.json, OUT/train/x.arrow
        if is_output(path.relative_to(folder).parts[0]) and is_ours(folder):
            return folder
    return None


def _refuse_file(out: str | os.PathLike[str]) -> None:
    if local_folder(out).is_file():
        near = output_of(out)
        raise UsageFault(
            f"{out}: is a file; name the folder that prep pack wrote",
            hint=f"the output is {near}" if near is not None else "make one with `prep pack CONFIG.yaml -o OUT`",
        )


def open_files(out: str | os.PathLike[str]) -> Files:
    """The files of a finished output, for `verify.problems`: in a folder, or behind a URL, where they are streamed.

    Raises UsageFault or DataFault when there is no readable manifest, MachineFault when a store cannot be read.
    """
    if is_store(out):
        return StoreFiles(os.fspath(out))
    folder = _inside_run(local_folder(out))
    return FolderFiles(folder, *read_text(folder))


def read_unchanged(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of an output whose figures are relied on. Raises DataFault as well when it has been changed."""
    manifest = read_manifest(out)
    if said := changed(manifest):
        raise DataFault(f"{public(os.fspath(out))}/{MANIFEST}: {said} since it was written", hint=_AGAIN)
    return manifest


def open_folder(out: str | os.PathLike[str], say: Say = _quiet) -> Path:
    """An output as a folder on this machine: a path as it is, a training run's folder as the shards that `prep train`
    packed into it, a URL as its local copy."""
    return local_copy(os.fspath(out), say) if is_store(out) else _inside_run(local_folder(out))


def _inside_run(folder: Path) -> Path:
    packed = folder / RUN_SHARDS
    return packed if not (folder / MANIFEST).exists() and (packed / MANIFEST).is_file() else folder


def local_copy(url: str, say: Say = _quiet) -> Path:
    """A folder that holds every listed file of an output behind a URL, as its manifest says.

    Raises UsageFault, DataFault (a file is not as the manifest says), MachineFault, or BusyFault when another run
    fetches it at this moment.
    """
    store, manifest = Store(url), fetch_manifest(url)
    if said := changed(manifest):
        raise DataFault(f"{store.shown}/{MANIFEST}: {said}", hint=_AGAIN)
    for folder in (cache_folder(url, STAGING), cache_folder(url, COPY)):
        if _is_copy(folder, manifest):
            return folder
    _fetch(store, manifest, folder, say)
    return folder


def _is_copy(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether a folder holds what a manifest describes. Contents were checked when they were written."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        if read_manifest(folder).get("sha256") != manifest["sha256"]:
            return False
    except (DataFault, UsageFault):
        return False
    return all(_size(folder / name) == about["bytes"] for name, about in listed_files(manifest).items())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _fetch(store: Store, manifest: dict[str, Any], folder: Path, say: Say) -> None:
    wanted = listed_files(manifest)
    outside = [f"{store.shown}/{clean(name)}: lies outside the output" for name in wanted if lies_outside(name)]
    if outside:
        raise DataFault(outside, hint="this manifest was not written by prep")
    open_output(folder)
    try:
        with locked(folder):
            build, fetched = new_build(folder), folder / CACHE / _FETCHED
            make_folder(fetched)
            have = _kept(folder)
            missing = {
                name: about
                for name, about in wanted.items()
                if about["sha256"] not in have and _size(fetched / about["sha256"]) != about["bytes"]
            }
            total = sum(about["bytes"] for about in missing.values())
            say(f"fetching {len(missing)} of {len(wanted)} files, {total / 1e6:,.1f} MB, to {folder}")
            for name, about in wanted.items():
                make_folder((build / name).parent)
                source = have.get(about["sha256"]) or fetched / about["sha256"]
                if _size(source) != about["bytes"]:
                    _download(store, name, about, source := fetched / about["sha256"])
                _put(source, build / name)
            write_whole(build / MANIFEST, dump(manifest))
            for place in {build, *((build / name).parent for name in wanted)}:
                sync_folder(os.fspath(place))
            if warning := publish(build, folder):
                say(f"warning: {warning}")
            remove_tree(folder / CACHE / _FETCHED)
    except BusyFault:
        raise BusyFault(f"{store.shown}: another run is fetching it to {folder}", hint="wait for it to end") from None


def _kept(folder: Path) -> dict[str, Path]:
    """sha256 -> file of an older copy."""
    try:
        older = listed_files(read_manifest(folder))
    except (DataFault, UsageFault):
        return {}
    return {about["sha256"]: folder / name for name, about in older.items() if _size(folder / name) == about["bytes"]}


def _download(store: Store, name: str, about: dict[str, Any], target: Path) -> None:
    place = f"{store.shown}/{clean(name)}"

    def save(blocks: Iterator[bytes]) -> None:
        with create(target) as sink:  # leaves nothing when what it got is not what was promised
            for block in blocks:
                sink.write(block)
                if sink.size_bytes > about["bytes"]:
                    raise DataFault(f"{place}: more than {about['bytes']} bytes", hint=_AGAIN)
            if sink.size_bytes != about["bytes"]:
                raise DataFault(f"{place}: {sink.size_bytes} bytes instead of {about['bytes']}", hint=_AGAIN)
            if sink.sha256 != about["sha256"]:
                raise DataFault(f"{place}: its content has changed (sha256 differs)", hint=_AGAIN)

    store.through(name, save)


def _put(source: Path, target: Path) -> None:
    """A hard link, so that neither an interrupted fetch nor an older copy loses the file; else a move or a copy."""
    try:
        atomic_io.operations.link(os.fspath(source), os.fspath(target))
    except OSError:
        with open(source, "rb") as handle, create(target) as sink:
            while block := handle.read(1 << 20):
                sink.write(block)
