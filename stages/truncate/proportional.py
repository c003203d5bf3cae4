"""Truncate: how much of each segment survives `cutoff_len`. Pure arithmetic on lengths; no tokens are touched.

LLaMA-Factory's proportional rule, to the token (its `infer_seqlen`, research note §4.2-4.9):

    source 10, target 30, limit 20:   s s s s s | t t t t t t t t t t t t t t t      5 + 15, both cut at the end

Turns are cut in order until the limit is reached; what does not fit goes. With `mask_history` the order is reversed, so
the last turn survives. A preference pair is cut as one: the longer answer decides how much prompt stays.
"""

from __future__ import annotations

from collections.abc import Sequence


def cut_pair(source_tokens: int, target_tokens: int, limit_tokens: int) -> tuple[int, int]:
    """Kept lengths of one source and target; a pair that fits is kept whole.

    Args:
        source_tokens: Tokens of the prompt, 0 or more.
        target_tokens: Tokens of the answer, 0 or more.
        limit_tokens: Most tokens of both, at least 1.

    Returns:
        Kept tokens of source and target, which add up to the limit where the pair exceeds it.
    """
    if target_tokens * 2 < limit_tokens:
        most = limit_tokens
    elif source_tokens * 2 < limit_tokens:
        most = limit_tokens - source_tokens
    else:
        # the float division is upstream's; its rounding is part of the result
        most = int(limit_tokens * (target_tokens / (source_tokens + target_tokens)))
    target = min(most, target_tokens)
    return min(max(limit_tokens - target, 0), source_tokens), target


def cut_turns(
    segments: Sequence[int], limit_tokens: int, *, from_end: bool = False, reserved_tokens: int = 0
) -> list[int]:
    """Kept lengths of a conversation's segments.

    Args:
        segments: Tokens of source, target, source, target, ...
        limit_tokens: Most tokens of all of them and the reserved ones.
        from_end: The last turns are kept first (`mask_history`).
        reserved_tokens: Taken off before the first turn (1 when an EOS follows the example), and always spent.

    Returns:
        One length a segment; with the reserved tokens they add up to the limit where the conversation exceeds it.
    """
    kept = [0] * len(segments)
    total = reserved_tokens
    turns = range(0, len(segments) - 1, 2)
    for start in reversed(turns) if from_end else turns:
        if total >= limit_tokens:
            break
        source, target = cut_pair(segments[start], segments[start + 1], limit_tokens - total)
        kept[start], kept[start + 1] = source, target
        total += source + target
    return kept


def cut_preference(prompt: int, chosen: int, rejected: int, limit_tokens: int) -> tuple[int, int, int]:
    """Kept lengths of a preference pair: one cut for both answers, decided by the longer one.

    Args:
        prompt: Tokens of the prompt.
        chosen: Tokens of the chosen answer.
        rejected: Tokens of the rejected answer.
        limit_tokens: Most tokens of the prompt with either answer, at least 1.

    Returns:
        Kept tokens of prompt, chosen and rejected.
    """
    source, target = cut_pair(prompt, max(chosen, rejected), limit_tokens)
    return source, min(chosen, target), min(rejected, target)
