"""Truncate: what happens to an example that is longer than `cutoff_len`.

proportional  LLaMA-Factory's rule: prompt and answer of each turn give up tokens in proportion
split_turns   `overlong: split`: an example becomes several, at the borders of its turns
apply         the cut, on the lengths of a whole chunk at once
cut_findings  what the cut cost, as findings and counts
"""

from __future__ import annotations

from dataclasses import dataclass

OVERLONG = {  # what happens to an example longer than the limit
    "truncate": "its segments are cut in proportion",
    "drop": "it is excluded from the rows",
    "error": "its record is rejected",
    "split": "its turns become several examples",
}


@dataclass(frozen=True)
class CutOptions:
    """How lengths are cut and labels written.

    kind: lm | pref | unpaired | prompt | pt. limit_tokens: most tokens an example keeps. from_end: `mask_history`.
    efficient_eos: the EOS id to append to lm examples, or None. label_first_source: LLaMA-Factory 0.9.2 wrote EOS as
    the first label of the very first source as well.
    """

    kind: str
    limit_tokens: int
    from_end: bool = False
    efficient_eos: int | None = None
    label_first_source: bool = False

    @property
    def reserved_tokens(self) -> int:
        """Tokens that every example spends beside its segments."""
        return 1 if self.efficient_eos is not None and self.kind == "lm" else 0


def example_limit(cutoff_tokens: int, *, kind: str, packed: bool, compat: str) -> int:
    """Most tokens that an example keeps under a `cutoff_len`.

    Args:
        cutoff_tokens: The `cutoff_len`.
        kind: Kind of rows: lm | pref | unpaired | prompt | pt.
        packed: Whether several examples share a row.
        compat: The version of LLaMA-Factory that is reproduced.
    """
    if not packed:
        return cutoff_tokens
    if kind == "pt":
        return 1 << 30  # documents run on into the next row
    # upstream cuts at one less, since its packs reserve a pad; 0.9.2 did not
    return cutoff_tokens if compat == "llamafactory-0.9.2" else cutoff_tokens - 1
