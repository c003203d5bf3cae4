"""How records become token ids, in one picklable value. Apart from `pipeline.jobs.specs`, since it needs numpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from stages.render import slot_renderer as rendering
from stages.render.slot_renderer import RenderOptions
from stages.tokenize import batch as encoding
from stages.tokenize.tokenizer_files import SpecialIds
from stages.truncate import CutOptions


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
