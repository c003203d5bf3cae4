"""A chunk's summary as JSON: what its cache file keeps beside the token ids, so that a reused chunk gives the same."""

from __future__ import annotations

from typing import Any

from registry.rules import Policy
from stages.core.collector import Reject, Tally
from stages.core.findings import Finding
from stages.validate.dataset_state import SetState


def summary(tally: Tally, setstate: SetState, text_bytes: int) -> dict[str, Any]:
    """What `restore` needs, as JSON values.

    Args:
        tally: Findings, counts and rejects of the chunk.
        setstate: What the set-level checks remember of it.
        text_bytes: Its size, decompressed.
    """
    return {
        "read": tally.read,
        "counts": [[rule, severity, count] for (rule, severity), count in sorted(tally.counts.items())],
        "rejected": dict(sorted(tally.rejected.items())),
        "findings": [list(finding) for finding in tally.findings],
        "rejects": [
            [
                reject.data.hex(),
                reject.line,
                reject.record,
                reject.byte_offset,
                reject.rule,
                [list(f) for f in reject.findings],
            ]
            for reject in tally.rejects
        ],
        "setstate": setstate.as_dict(),
        "text_bytes": text_bytes,
    }


def restore(meta: dict[str, Any], path: str, policy: Policy) -> tuple[Tally, SetState]:
    """The tally and the set-level state of a chunk, from its summary.

    Args:
        meta: The summary.
        path: The file that the same bytes stand in now.
        policy: Of the run that wrote the summary: both are in the name of the cache file.

    Raises:
        KeyError: A part of the summary is missing.
    """

    def finding(row: list[Any]) -> Finding:
        return Finding(*row)._replace(path=path)

    tally = Tally(path, policy)
    tally.read = meta["read"]
    counts = {(rule, severity): count for rule, severity, count in meta["counts"]}
    tally.merge([finding(row) for row in meta["findings"]], counts)
    tally.rejected.update(meta["rejected"])
    tally.rejects = [
        Reject(bytes.fromhex(data), line, record, offset, rule, tuple(finding(row) for row in rows))
        for data, line, record, offset, rule, rows in meta["rejects"]
    ]
    return tally, SetState.from_dict(meta["setstate"], path)
