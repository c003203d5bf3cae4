"""How records become token ids, in one picklable value. Apart from `pipeline.jobs.specs`, since it needs numpy."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.core.fingerprint import CHUNK_ONLY, NEVER, RUN_ONLY
from stages.render.slot_renderer import RenderOptions
from stages.tokenize.fitted import SpecialIds
from stages.truncate import CutOptions


@dataclass(frozen=True)
class EncodeSpec:
    """How records become token ids. `tokenizer_sha256` stands for the folder's content in every key."""

    template: str
    compat: str
    options: RenderOptions
    tokenizer: str = field(metadata=NEVER)  # its sha256 stands for it
    tokenizer_sha256: str
    template_sha256: str
    back_end: str = field(metadata=CHUNK_ONLY)  # ids are proven equal at the end of a run, not before
    ids: SpecialIds
    cut: CutOptions = field(metadata=RUN_ONLY)  # works on the stored lengths; with `overlong: split` before
    overlong: str = field(default="truncate", metadata=RUN_ONLY)  # as the cut
    extra_tokens: tuple[tuple[str, bool], ...] = ()
    split_special_tokens: bool = False
    pt_eos_text: str | None = None
    thinking_given: bool = False  # template auto leaves enable_thinking to the template unless it was written
    # where the parent left the fitted tokenizer.json, so that workers need not make it
    json_path: str | None = field(default=None, metadata=NEVER)
    load_early: bool = field(default=False, metadata=NEVER)  # when, not what: before the first chunk, or with it
