"""Encoding a chunk: render and tokenize what passed the checks, spool the ids, apply the cut to the lengths.

Split from `stages.batch` so that checking alone imports neither numpy nor a tokenizer.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from registry.errors import Fault
from registry.templates import load_template

from . import assemble as assembling
from . import encode as encoding
from . import render as rendering
from . import truncate as truncating
from .assemble import CutOptions
from .batch import ChunkResult, State, Task, _result, check_records
from .chunk_summary import restore, summary
from .conversation import Conversation
from .encode import encode
from .findings import Note
from .lengths import cut_examples
from .overlong import split_overlong
from .read import Chunk
from .render import Rendered, Renderer, RenderOptions, SpecialIds
from .spool import Spool, write_spool
from .tokenize import NASTY, Encoder, Ids, Offsets, ReferenceEncoder, load_encoder
from .tokenizer_files import FittedTokenizer, TokenizerFiles, fit, load_tokenizer_files


@dataclass(frozen=True)
class EncodeSpec:
    """How records become token ids. `tokenizer_sha256` stands for the folder's content in every key."""

    template: str
    compat: str
    options: RenderOptions
    tokenizer: str
    tokenizer_sha256: str
    template_sha256: str
    back_end: str
    ids: SpecialIds
    cut: CutOptions
    overlong: str = "truncate"
    extra_tokens: tuple[tuple[str, bool], ...] = ()
    split_special_tokens: bool = False
    pt_eos_text: str | None = None
    thinking_given: bool = False  # template auto leaves enable_thinking to the template unless it was written
    json_path: str | None = None  # where the parent left the fitted tokenizer.json, so that workers need not make it
    load_early: bool = False  # a worker loads the tokenizer before it has a chunk

    @property
    def key(self) -> str:
        """What token ids before any cut depend on. The back end is not in it: all give the same ids."""
        parts = [
            rendering.VERSION, encoding.VERSION, self.template, self.compat, repr(self.options), self.tokenizer_sha256,
            self.template_sha256, self.extra_tokens, self.split_special_tokens, self.pt_eos_text, self.thinking_given,
            self.cut.limit_tokens if self.overlong == "split" else None,
        ]  # fmt: skip
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()


CHECK_RECORDS, CHECK_CHARS = 150, 150_000  # of each checked chunk: about 0.1 s of the reference tokenizer


PROVEN = ".proven"  # beside a spool file: its sample had the reference's ids (pipeline.backend)


class BackEndDiffers(Fault):
    """A fast back end cannot load, or gives other ids than the reference: the run starts again with the reference."""


@functools.lru_cache(maxsize=2)
def fitted_tokenizer(
    folder: str, template: str, compat: str, extra_tokens: tuple[tuple[str, bool], ...]
) -> tuple[TokenizerFiles, FittedTokenizer]:
    """A tokenizer folder and what a template makes of it; kept, since the plan and the engine both need it."""
    files = load_tokenizer_files(folder)
    return files, fit(files, None if template == "auto" else load_template(template, compat), extra_tokens)


class Rendering(Protocol):
    """Whatever turns a record into halves, or says in a note why it cannot."""

    def render(self, record: Conversation, notes: list[Note]) -> Rendered | None: ...


@dataclass
class Encoding:
    """A worker's tokenizer and renderer, loaded when the first chunk needs them (a reused chunk does not)."""

    spec: EncodeSpec
    _loaded: tuple[Rendering, Encoder] | None = field(default=None, repr=False)

    def tools(self) -> tuple[Rendering, Encoder]:
        """Renderer and encoder."""
        if self._loaded is None:
            renderer = self.renderer()
            try:
                encoder = load_encoder(
                    self.spec.back_end, self.json_text(), split_special_tokens=self.spec.split_special_tokens
                )
            except BaseException as error:  # a PanicException of a Rust back end is no Exception
                if self.spec.back_end == "tokenizers" or isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                why = f"{self.spec.back_end} cannot read this tokenizer: {str(error)[:120]}"
                raise BackEndDiffers(why) from error
            if self._whole_texts:
                from .auto_encode import WholeTexts

                encoder = WholeTexts(encoder, self.json_text())
            self._loaded = renderer, encoder
        return self._loaded

    def release(self) -> None:
        """Lets go of tokenizer and renderer."""
        self._loaded = None
        fitted_tokenizer.cache_clear()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what was freed; other libraries do not
        if trim is not None:
            trim(0)

    @property
    def _whole_texts(self) -> bool:
        """Whether halves are parts of one text, which has to be tokenized whole (`template: auto`)."""
        return self.spec.template == "auto" and self.spec.options.kind == "lm" and not self.spec.split_special_tokens

    def json_text(self) -> str:
        """The tokenizer.json with what the template needs."""
        if self.spec.json_path is not None:
            with open(self.spec.json_path, encoding="utf-8") as handle:
                return handle.read()
        spec = self.spec
        return fitted_tokenizer(spec.tokenizer, spec.template, spec.compat, spec.extra_tokens)[1].json_text

    def renderer(self) -> Rendering:
        """The renderer: a template of ours, or the tokenizer's own."""
        spec = self.spec
        ids = spec.ids if spec.pt_eos_text is None else replace(spec.ids, eos_text=spec.pt_eos_text)
        if spec.template != "auto":
            return Renderer(load_template(spec.template, spec.compat), spec.options, ids)
        if spec.options.kind == "pt":
            return Renderer(load_template("empty", spec.compat), spec.options, ids)
        from .auto_halves import AutoHalves, HalvesSpec
        from .autotemplate import AutoOptions, load_auto

        options = AutoOptions(
            enable_thinking=spec.options.enable_thinking if spec.thinking_given else None,
            train_on_prompt=spec.options.train_on_prompt,
            mask_history=spec.options.mask_history,
            template_date=spec.options.template_date,
        )
        reference = ReferenceEncoder(self.json_text(), split_special_tokens=spec.split_special_tokens)
        own = HalvesSpec(load_auto(spec.tokenizer), spec.options.kind, options, texts=self._whole_texts)
        return AutoHalves(own, reference.tokenizer)

    def run(self, state: State, task: Task, chunk: Chunk, spool_path: str) -> ChunkResult:
        """One chunk: from its spool file when that is whole, else through every stage."""
        chunk_bytes = chunk.data or b""
        if spool_path and (found := self._spooled(task, spool_path)) is not None:
            return self._finish(state, task, chunk, spool_path, *found, reused=True)
        renderer, encoder = self.tools()
        marks = [time.perf_counter()]
        plain = None
        if self.spec.overlong != "split" and self.spec.options.kind in ("lm", "pt"):  # splitting needs the conversation
            plain = getattr(renderer, "plain", None)
        tally, kept, setstate = check_records(state, task, chunk, renderer.render, plain)
        marks.append(time.perf_counter())
        examples = [rendered for _, _, rendered in kept]
        seen = Counter(habit for rendered in examples for habit in rendered.habits)
        seen["records"] = len(examples)
        sample = self.sample(examples, encoder) if task.check and self.spec.back_end != "tokenizers" else None
        encoded = encode(examples, encoder)
        pieces = np.ones(len(kept), dtype=np.int64)
        if self.spec.overlong == "split" and self.spec.cut.kind == "lm":
            kept, pieces = split_overlong(kept, encoded, renderer, encoder, self.spec.cut)
            if len(kept) != len(examples):
                encoded = encode([rendered for _, _, rendered in kept], encoder)
        marks.append(time.perf_counter())
        places = np.array(
            [(record.record, record.line, record.byte_offset, len(record.data)) for record, _, _ in kept],
            dtype=np.int64,
        ).reshape(-1, 4)
        sections: dict[str, NDArray[Any]] = {
            "halves": encoded.halves,
            "trained": encoded.trained,
            "counts": encoded.counts,
            "labels": encoded.labels,
            "places": places.ravel(),
            "hash": np.repeat(np.array(setstate.hashes(), dtype=np.uint64), pieces),
        }
        meta = summary(tally, setstate, len(chunk_bytes)) | {
            "checked_texts": len(sample[0]) if sample is not None else 0,
            "seen": dict(sorted(seen.items())),
        }
        if spool_path:
            write_spool(spool_path, meta, {"ids": encoded.ids, **sections})
        result = self._finish(state, task, chunk, spool_path, meta, sections, reused=False)
        checking, tokenizing, keeping = marks[1] - marks[0], marks[2] - marks[1], time.perf_counter() - marks[2]
        return result._replace(seconds=(checking, tokenizing, keeping), sample=sample)

    def _spooled(self, task: Task, path: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Summary and sections of a chunk that was finished before; None when its file is not there or not whole."""
        with contextlib.suppress(OSError, ValueError, KeyError), Spool(path) as spool:
            proven = self.spec.back_end == "tokenizers" or not task.check
            proven = proven or bool(spool.meta["checked_texts"] and os.path.exists(os.path.splitext(path)[0] + PROVEN))
            if proven and spool.intact():
                return spool.meta, {name: spool.section(name) for name in spool.names() if name != "ids"}
        return None

    def sample(self, examples: list[Rendered], encoder: Encoder) -> tuple[list[str], Ids, Offsets]:
        """Nasty texts and some spread over the chunk, and what the back end makes of them, for `pipeline.backend`.

        Raises BackEndDiffers when it cannot encode them.
        """
        texts = dict.fromkeys(NASTY)
        size = 0
        for example in examples[:: max(len(examples) // CHECK_RECORDS, 1)]:
            for half in example.halves:
                for piece in half:
                    if isinstance(piece, str) and piece not in texts and size < CHECK_CHARS:
                        texts[piece] = None
                        size += len(piece)
        try:
            return list(texts), *encoder.encode(list(texts))
        except BaseException as error:  # as in `tools`
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise BackEndDiffers(f"{self.spec.back_end} cannot encode: {str(error)[:120]}") from error

    def _finish(
        self, state: State, task: Task, chunk: Chunk, spool_path: str, meta: dict[str, Any], sections: dict[str, Any],
        *, reused: bool,
    ) -> ChunkResult:  # fmt: skip
        """Applies the cut to the lengths, and counts what it cost."""
        tally, setstate = restore(meta, task, state)
        examples = cut_examples(self.spec, tally, chunk, sections, spool_path)
        result = _result(task, tally, setstate, None, reused=reused, text_bytes=int(meta["text_bytes"]))
        # a file that came ninth and is now eighth has another part in the check
        checked = int(meta["checked_texts"]) if task.check else 0
        return result._replace(checked_texts=checked, seen=meta["seen"], examples=examples)


VERSIONS = {
    "render": rendering.VERSION,
    "encode": encoding.VERSION,
    "truncate": truncating.VERSION,
    "assemble": assembling.VERSION,
}
