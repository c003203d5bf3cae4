"""The manifest as a document: its bytes, its digest, and its parsing by the schema that is published for it.

A manifest may come from elsewhere or be damaged: whoever reads one gets a document that fits `schemas/manifest.json`
and agrees with itself, or an error that names the key.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from registry.errors import DataFault, UsageFault
from registry.kinds import STAGES
from stages.core.display import clean

if TYPE_CHECKING:
    import jsonschema_rs

SCHEMA_VERSION = 1
_AGAIN = "the file is damaged or was not written by prep: run `prep pack` again"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_MESSAGE = 160  # characters: an error may quote a whole block


def dump(document: dict[str, Any]) -> bytes:
    """The bytes of a manifest or report: sorted keys, so that equal content is equal bytes."""
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8")


def self_digest(manifest: dict[str, Any]) -> str:
    """Digest of a manifest without its `run` block and without the digest itself."""
    content = {key: value for key, value in manifest.items() if key not in ("run", "sha256")}
    return hashlib.sha256(dump(content)).hexdigest()


def parse_manifest(data: bytes, path: str) -> dict[str, Any]:
    """The manifest in some bytes. path: for messages.

    Raises UsageFault when its version is not ours, DataFault that names the key when it is no manifest of prep.
    """
    document = _parsed(data, path)
    if not isinstance(document, dict) or "splits" not in document:
        raise DataFault(f"{path}: not a manifest of prep", hint="run `prep pack` again")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageFault(
            f"{path}: schema_version {version!r} is not the one this prep reads ({SCHEMA_VERSION})",
            hint="use the prep that wrote it, or run `prep pack` again",
        )
    exact = json.loads(data, parse_float=_no_whole_number)  # to JSON Schema 3.0 is an integer, to prep it is none
    error = next(_validator().iter_errors(exact), None)
    problem = _words(error) if error is not None else next(_contradictions(document), "")
    if problem:
        raise DataFault(f"{path}: not a manifest of prep ({clean(problem)})", hint=_AGAIN)
    return document


def changed(manifest: dict[str, Any], data: bytes | None = None) -> str:
    """In what a manifest is not as prep wrote it, an empty string when it is.

    Its digest covers every value outside `run`. data: its bytes, where they are at hand; they must be those that `dump`
    gives, so that no byte of the file is outside of both but the values in `run`.
    """
    if manifest.get("sha256") != self_digest(manifest):
        return "has been changed"
    if data is not None and data != dump(manifest):
        return "has been changed (its text is not as prep writes it)"
    return ""


def _parsed(data: bytes, path: str) -> Any:
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_refuse)
        if _SURROGATE.search(data):
            dump({"": document})
    except (ValueError, RecursionError) as error:
        raise DataFault(
            f"{path}: not valid JSON: {error}", hint="the file is damaged: run `prep pack` again"
        ) from error
    return document


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _no_whole_number(text: str) -> float:
    number = float(text)
    return number + 0.5 if number.is_integer() else number


@functools.cache
def _validator() -> jsonschema_rs.Validator:
    import jsonschema_rs  # what only shows a page of help starts without

    from schemas import load

    return jsonschema_rs.validator_for(load("manifest"), offline=True)


def _words(error: jsonschema_rs.ValidationError) -> str:
    place = "".join(f"/{part}" for part in error.instance_path) or "its top level"
    said = error.message
    return f"{place}: {said if len(said) <= _MOST_MESSAGE else f'{said[:_MOST_MESSAGE]}…'}"


def _contradictions(manifest: dict[str, Any]) -> Iterator[str]:
    """What no schema can say: keys that do not fit each other."""
    rows = STAGES[manifest["stage"]].kind
    if manifest["kind"] != rows.shards:
        yield f"/kind: {manifest['kind']} is not what stage {manifest['stage']} writes ({rows.shards})"
    if manifest["cut"]["kind"] != rows.name:
        yield f"/cut/kind: {manifest['cut']['kind']} is not what stage {manifest['stage']} writes ({rows.name})"
    sources = {entry["source"] for entry in manifest["inputs"]}
    for name in sorted(sources ^ manifest["ledger"]["sources"].keys()):
        yield f"/ledger/sources: does not fit the inputs ({name})"
