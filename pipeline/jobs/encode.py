"""The encoding of one chunk of bytes: checked, rendered and tokenized, its ids kept, its lengths cut.

    bytes -> check and render -> tokenize -> (split what is overlong) -> cache file -> cut of the lengths -> ChunkResult
      |                                                                      ^
      └── content key: the same bytes under the same options were done ──────┘

A chunk's cache file is named by its content: the bytes, the record format and map, the rules, the template, the
tokenizer and the version of each stage. `cutoff_len` is not in that name: cutting works on the stored lengths, so
another cutoff needs neither validation nor tokenizer. What is dropped is counted here, once, under one rule.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.templates import load_template
from stages.core.records import Chunk
from stages.core.segments import Kept, Rendered, Rendering
from stages.formats.tool_calls import USUAL_WORDS, CallWords
from stages.readers.scan import load
from stages.render.tool_formats import tools_written_as
from stages.tokenize.backends import Encoder
from stages.tokenize.batch import Encoded, encode
from stages.tokenize.token_cache import TokenCache, write_token_cache
from stages.truncate import OVERLONG
from stages.truncate.cut_findings import cut_chunk
from stages.truncate.split_turns import split_overlong
from stages.validate.dataset_state import SetState

from .check import Checker, check_records, uncollected
from .chunk_summary import restore, summary
from .encode_spec import EncodeSpec
from .encoder import Encoding
from .specs import PROVEN, BatchSpec, ChunkResult, Task


class State:
    """What a worker builds once: the checks, and the encoder."""

    def __init__(self, spec: BatchSpec) -> None:
        assert spec.encode is not None
        assert spec.encode.overlong in OVERLONG, spec.encode.overlong  # another word would cut in silence
        self.spec = spec
        self.encode_spec = spec.encode
        self.checker = Checker(spec, _call_words(spec.encode))
        self.encoder = Encoding(spec.encode)


def _call_words(spec: EncodeSpec) -> CallWords:
    """The words around calls and thoughts, what tools may be, and whether the template is the tokenizer's own."""
    if spec.template == "auto":
        return USUAL_WORDS._replace(own_template=spec.options.kind != "pt")
    template = load_template(spec.template, spec.compat)
    tools = tools_written_as(template, spec.options.tool_format)
    return CallWords(template.thought_words, template.tool_call_words, tools)


def prepare(spec: BatchSpec) -> State:
    """The engine's `prepare`."""
    state = State(spec)
    if state.encode_spec.load_early:
        state.encoder.tools()
    return state


def run(state: State, task: Task) -> ChunkResult:
    """The engine's `run`: one chunk, from its cache file when that is whole, else through every stage."""
    with uncollected():
        chunk = task.chunk._replace(data=load(task.chunk))
        cache_path = _cache_path(state.spec, task, chunk)
        reused = _cached(state.encode_spec, task, cache_path) if cache_path else None
        if reused is not None:
            return _finished(state, task, chunk, cache_path, *reused)._replace(reused=True)
        return _encoded(state, task, chunk, cache_path)


def _cache_path(spec: BatchSpec, task: Task, chunk: Chunk) -> str:
    """Where the chunk's ids are kept; empty where they are not."""
    if spec.cache_folder is None:
        return ""
    digest = hashlib.sha256(spec.content_key(task.source).encode())
    digest.update(f"{chunk.kind}:{chunk.start}:{chunk.first_line}:{chunk.first_record}:{task.wanted}:".encode())
    digest.update(chunk.data or b"")
    return os.path.join(spec.cache_folder, digest.hexdigest()[:40] + ".cache")


def _cached(spec: EncodeSpec, task: Task, path: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Summary and sections of a chunk that was finished before; None when its file is not there or not whole."""
    with contextlib.suppress(OSError, ValueError, KeyError), TokenCache(path) as cache:
        proven = spec.back_end == "tokenizers" or not task.check
        proven = proven or bool(cache.meta["checked_texts"] and os.path.exists(os.path.splitext(path)[0] + PROVEN))
        if proven and cache.intact():
            return cache.meta, {name: cache.section(name) for name in cache.names() if name != "ids"}
    return None


def _encoded(state: State, task: Task, chunk: Chunk, cache_path: str) -> ChunkResult:
    """The chunk through every stage."""
    renderer, encoder = state.encoder.tools()
    marks = [time.perf_counter()]
    plain = state.encoder.plain(renderer)
    tally, kept, setstate = check_records(state.checker, task, chunk, renderer.render, plain)
    marks.append(time.perf_counter())
    examples = [rendered for _, _, rendered in kept]
    proves = task.check and state.encode_spec.back_end != "tokenizers"
    sample = state.encoder.sample(examples, encoder) if proves else None
    kept, encoded, pieces = _tokenized(state.encode_spec, kept, renderer, encoder)
    marks.append(time.perf_counter())
    meta = summary(tally, setstate, len(chunk.data or b"")) | {
        "checked_texts": len(sample[0]) if sample is not None else 0,
        "seen": _seen(examples),
    }
    sections = _sections(kept, encoded, setstate, pieces)
    if cache_path:
        write_token_cache(cache_path, meta, {"ids": encoded.ids, **sections})
    result = _finished(state, task, chunk, cache_path, meta, sections)
    marks.append(time.perf_counter())
    checking, tokenizing, keeping = (later - earlier for earlier, later in itertools.pairwise(marks))
    return result._replace(seconds=(checking, tokenizing, keeping), sample=sample)


def _tokenized(
    spec: EncodeSpec, kept: list[Kept], renderer: Rendering, encoder: Encoder
) -> tuple[list[Kept], Encoded, NDArray[np.int64]]:
    """The kept records, overlong ones split where that is requested, and their ids; last how many examples each record
    became ([records])."""
    encoded = encode([rendered for _, _, rendered in kept], encoder)
    if spec.overlong != "split" or spec.cut.kind != "lm":
        return kept, encoded, np.ones(len(kept), dtype=np.int64)
    parts, pieces = split_overlong(kept, encoded, renderer, encoder, spec.cut)
    if len(parts) != len(kept):
        encoded = encode([rendered for _, _, rendered in parts], encoder)
    return parts, encoded, pieces


def _seen(examples: Sequence[Rendered]) -> dict[str, int]:
    """How many records were rendered, and how many of them show each trait of the template."""
    seen = Counter(trait for rendered in examples for trait in rendered.traits)
    seen["records"] = len(examples)
    return dict(sorted(seen.items()))


def _sections(
    kept: list[Kept], encoded: Encoded, setstate: SetState, pieces: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """What the cache file holds beside the ids; places are record, line, byte offset and size of each example."""
    places = [(record.record, record.line, record.byte_offset, len(record.data)) for record, _, _ in kept]
    return {
        "segments": encoded.segments,
        "trained": encoded.trained,
        "counts": encoded.counts,
        "labels": encoded.labels,
        "places": np.array(places, dtype=np.int64).ravel(),
        "hash": np.repeat(np.array(setstate.hashes(), dtype=np.uint64), pieces),
    }


def _finished(
    state: State, task: Task, chunk: Chunk, cache_path: str, meta: dict[str, Any], sections: dict[str, NDArray[Any]]
) -> ChunkResult:
    """Applies the cut to the lengths, and counts what it cost."""
    tally, setstate = restore(meta, task.path, state.spec.policy)
    examples = cut_chunk(state.encode_spec.cut, state.encode_spec.overlong, tally, chunk, sections, cache_path)
    result = ChunkResult.of(task, tally, setstate, int(meta["text_bytes"]))
    # a file that came ninth and is now eighth has another part in the check
    checked = int(meta["checked_texts"]) if task.check else 0
    return result._replace(checked_texts=checked, seen=meta["seen"], examples=examples)
