"""Whole texts through a fast tokenizer: ids of the joined text, and which tokens belong to which segment of it.

    segments   "<|im_start|>user\\nTwo?<|im_end|>\\n<|im_start|>assistant\\n" | "Four.<|im_end|>" | "\\n" | ""
    text       the segments joined, encoded at once: borders of segments never change an id
    tokens     |4|...|                                                     each lies in the segment where it starts

The fast back ends give no offsets. A token of a byte-level vocabulary is as many bytes as its name has characters, so
the running sum of lengths is the offset; a text whose tokens do not add up to its bytes (a normaliser was at work),
and every text of another family, goes through the reference, which has offsets. Price: 4 bytes a vocabulary entry,
one sum a batch.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stages.core.segments import Rendered

from .backends import Encoder, Ids, Offsets, ReferenceEncoder, family
from .batch import Encoded, encode


def token_bytes(raw: dict[str, Any]) -> NDArray[np.int32] | None:
    """Bytes of text that each id stands for.

    Args:
        raw: A decoded tokenizer.json.

    Returns:
        Lengths by id (int32, [ids]), 0 for an id without a token; None when they depend on the text.
    """
    normalizer = raw.get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence" and not normalizer.get("normalizers"):
        normalizer = None
    if family(raw) != "byte-level" or (normalizer is not None and normalizer.get("type") != "NFC"):
        return None
    vocabulary: dict[str, int] = raw["model"]["vocab"]
    added: list[dict[str, Any]] = raw.get("added_tokens") or []
    size = max([*vocabulary.values(), *(int(token["id"]) for token in added), -1]) + 1
    lengths = np.zeros(size, dtype=np.int32)
    for name, token_id in vocabulary.items():
        lengths[token_id] = len(name)  # one character of the byte alphabet a byte
    for token in added:
        lengths[int(token["id"])] = len(str(token["content"]).encode("utf-8"))
    return lengths


class WholeTexts:
    """An `Encoder` for examples whose segments are parts of one text. Holds the fast back end and the reference."""

    def __init__(self, encoder: Encoder, json_text: str) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.json_text = json_text
        raw = orjson.loads(json_text)
        self.lengths = token_bytes(raw)
        self.normalizes = bool(raw.get("normalizer"))
        self._reference = encoder if isinstance(encoder, ReferenceEncoder) else None
        self.by_reference = 0  # texts that the reference had to encode

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """See `Encoder`."""
        return self.encoder.encode(texts)

    def examples(self, examples: Sequence[Rendered]) -> Encoded:
        """Like `stages.tokenize.batch.encode`, each example's segments encoded as one text. Examples that hold ids
        instead of texts (kinds whose segments are no parts of one text) are encoded as they are."""
        if any(not isinstance(piece, str) for example in examples for segment in example.segments for piece in segment):
            return encode(examples, self.encoder)
        parts = [["".join(map(str, segment)) for segment in example.segments] for example in examples]
        texts = ["".join(segments) for segments in parts]
        ids, offsets = self.encoder.encode(texts)
        lengths, wrong = self._lengths(parts, texts, ids, offsets)
        if wrong.any():
            ids = self._repaired(parts, texts, ids, offsets, lengths, wrong)
        return Encoded(
            ids=ids,
            segments=lengths,
            trained=np.fromiter((flag for example in examples for flag in example.trained), dtype=np.uint8),
            counts=np.fromiter((len(example.segments) for example in examples), dtype=np.int32),
            labels=np.fromiter((example.label for example in examples), dtype=np.uint8),
        )

    def _lengths(
        self, parts: list[list[str]], texts: list[str], ids: Ids, offsets: Offsets
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Tokens of each segment, and for each text whether they do not follow from the lengths of its tokens."""
        sizes = np.fromiter(
            (len(segment.encode("utf-8")) for segments in parts for segment in segments), dtype=np.int64
        )
        if self.lengths is None or (len(ids) and int(ids.max()) >= len(self.lengths)):
            return np.zeros(len(sizes), dtype=np.int32), np.ones(len(texts), dtype=np.bool_)
        first = np.zeros(len(texts) + 1, dtype=np.int64)  # segments before each text
        np.cumsum([len(segments) for segments in parts], out=first[1:])
        borders = np.zeros(len(sizes) + 1, dtype=np.int64)  # bytes before each segment
        np.cumsum(sizes, out=borders[1:])
        ends = np.zeros(len(ids) + 1, dtype=np.int64)  # bytes before each token
        np.cumsum(self.lengths[ids], out=ends[1:])
        wrong = np.diff(ends[offsets]) != np.diff(borders[first])
        if self.normalizes:
            # lengths that cancel out would hide a change, so only a text that the normaliser leaves alone counts
            wrong |= np.fromiter((not unicodedata.is_normalized("NFC", text) for text in texts), dtype=np.bool_)
        owner = np.repeat(np.arange(len(texts)), np.diff(first))
        starts = borders[:-1] - borders[first[:-1]][owner] + ends[offsets[:-1]][owner]
        tokens = np.append(np.searchsorted(ends[:-1], starts, side="left"), len(ids))
        # a text's last segment ends with the text
        tokens[first[:-1]] = offsets[:-1]
        return np.diff(tokens).astype(np.int32), np.asarray(wrong)

    def _repaired(
        self,
        parts: list[list[str]],
        texts: list[str],
        ids: Ids,
        offsets: Offsets,
        lengths: NDArray[np.int32],
        wrong: NDArray[np.bool_],
    ) -> Ids:
        """The ids, with the reference's for the wrong texts; writes their lengths."""
        if self._reference is None:
            self._reference = ReferenceEncoder(self.json_text)
        again = np.nonzero(wrong)[0].tolist()
        self.by_reference += len(again)
        tokenizer = self._reference.tokenizer
        encodings = tokenizer.encode_batch([texts[index] for index in again], add_special_tokens=False)
        runs = [ids[start:end] for start, end in pairwise(offsets.tolist())]
        first = np.concatenate([[0], np.cumsum([len(segments) for segments in parts])])
        for index, encoding in zip(again, encodings, strict=True):
            runs[index] = np.asarray(encoding.ids, dtype=np.int32)
            starts = [start for start, _ in encoding.offsets]
            edges = [0, *accumulate(len(segment) for segment in parts[index])]
            tokens = [0, *(bisect_left(starts, edge) for edge in edges[1:-1]), len(starts)]
            lengths[first[index] : first[index + 1]] = np.diff(tokens)
        return np.concatenate(runs) if runs else ids
