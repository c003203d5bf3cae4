"""A chunk's summary as JSON: what its spool file keeps beside the token ids, so that a reused chunk says the same."""

from __future__ import annotations

from typing import Any

from .batch import Reject, State, Tally, Task
from .findings import Finding
from .setrules import SetState


def summary(tally: Tally, setstate: SetState, text_bytes: int) -> dict[str, Any]:
    """What `restore` needs, as JSON values."""
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


def restore(meta: dict[str, Any], task: Task, state: State) -> tuple[Tally, SetState]:
    """The tally and the set-level state of a chunk, from its summary."""

    def finding(row: list[Any]) -> Finding:
        # the same bytes may stand in another file now
        return Finding(*row)._replace(path=task.path)

    tally = Tally(task.path, state.spec.policy)
    tally.read = meta["read"]
    for rule, severity, count in meta["counts"]:
        tally.counts[rule, severity] = count
    tally.rejected.update(meta["rejected"])
    tally.findings = [finding(row) for row in meta["findings"]]
    for found in tally.findings:
        tally._kept_of_rule[found.rule] += 1
    tally.rejects = [
        Reject(bytes.fromhex(data), line, record, offset, rule, tuple(finding(row) for row in rows))
        for data, line, record, offset, rule, rows in meta["rejects"]
    ]
    return tally, SetState.from_dict(meta["setstate"], task.path)
