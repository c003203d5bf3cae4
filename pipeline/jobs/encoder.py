"""Encoder: the tokenizer of a run and the renderer of its template, loaded when they are needed."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from registry.templates import load_template
from stages.core.segments import Rendered, Rendering, RenderPlain
from stages.render.slot_renderer import Renderer
from stages.tokenize.backends import NASTY, BackEndDiffers, Encoder, Ids, Offsets, ReferenceEncoder, load_encoder
from stages.tokenize.fitted import fitted_tokenizer

from .encode_spec import EncodeSpec

CHECK_RECORDS, CHECK_CHARS = 150, 150_000  # of each checked chunk: about 0.1 s of the reference tokenizer


@dataclass
class Encoding:
    """The tokenizer and the renderer, loaded when the first chunk needs them (a reused chunk does not)."""

    spec: EncodeSpec
    _loaded: tuple[Rendering, Encoder] | None = field(default=None, repr=False)

    def tools(self) -> tuple[Rendering, Encoder]:
        """Renderer and encoder."""
        if self._loaded is None:
            self._loaded = self.renderer(), self._encoder()
        return self._loaded

    def _encoder(self) -> Encoder:
        spec, text = self.spec, self.json_text()
        try:
            encoder = load_encoder(spec.back_end, text, split_special_tokens=spec.split_special_tokens)
        except BaseException as error:  # a PanicException of a Rust back end is no Exception
            if spec.back_end == "tokenizers" or isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise BackEndDiffers(f"{spec.back_end} cannot read this tokenizer: {str(error)[:120]}") from error
        if self._whole_texts:
            from stages.tokenize.whole_texts import WholeTexts

            return WholeTexts(encoder, text)
        return encoder

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
        """Whether segments are parts of one text, which has to be tokenized whole (`template: auto`)."""
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
        return self._renderer_of_the_tokenizer()

    def _renderer_of_the_tokenizer(self) -> Rendering:
        spec = self.spec
        from stages.render.jinja.chat_template import load_auto
        from stages.render.jinja.record_variables import kept_thoughts
        from stages.render.jinja.renderer import AutoOptions
        from stages.render.jinja.segmenter import Segmenter, SegmenterSpec

        template = load_auto(spec.tokenizer)
        options = AutoOptions(
            enable_thinking=spec.options.enable_thinking if spec.thinking_given else None,
            train_on_prompt=spec.options.train_on_prompt,
            mask_history=spec.options.mask_history,
            template_date=spec.options.template_date,
            default_system=spec.options.default_system,
            extra=kept_thoughts(template) if spec.options.preserve_thinking else (),
        )
        reference = ReferenceEncoder(self.json_text(), split_special_tokens=spec.split_special_tokens)
        own = SegmenterSpec(template, spec.options.kind, options, texts=self._whole_texts)
        return Segmenter(own, reference.tokenizer)

    def plain(self, renderer: Rendering) -> RenderPlain | None:
        """What renders the texts of a record without a `Conversation`; None where that is not enough."""
        if self.spec.overlong == "split" or self.spec.options.kind not in ("lm", "pt"):  # splitting needs all of it
            return None
        found: RenderPlain | None = getattr(renderer, "plain", None)
        return found

    def sample(self, examples: Sequence[Rendered], encoder: Encoder) -> tuple[list[str], Ids, Offsets]:
        """A sample that proves the back end, or not (`pipeline.runs.tokenizer_backend`).

        Args:
            examples: The rendered examples of the chunk.
            encoder: The back end.

        Returns:
            Nasty texts and some spread over the chunk; their ids, end to end (int32, [tokens]); and the offsets of each
            text in them (int64, [texts + 1]).

        Raises:
            BackEndDiffers: It cannot encode them.
        """
        texts = _sampled(examples)
        try:
            return texts, *encoder.encode(texts)
        except BaseException as error:  # as in `_encoder`
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise BackEndDiffers(f"{self.spec.back_end} cannot encode: {str(error)[:120]}") from error


def _sampled(examples: Sequence[Rendered]) -> list[str]:
    texts = dict.fromkeys(NASTY)
    size = 0
    for example in examples[:: max(len(examples) // CHECK_RECORDS, 1)]:
        for segment in example.segments:
            for piece in segment:
                if isinstance(piece, str) and piece not in texts and size < CHECK_CHARS:
                    texts[piece] = None
                    size += len(piece)
    return list(texts)
