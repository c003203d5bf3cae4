"""The figures of `prep stats` as text, at most 80 columns wide. Names of data sets are untrusted and shown cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.output.ledger import PERCENTILES
from stages.core.display import clean

WIDTH = 80
NAME = 16  # columns for a name
BAR = 44


def stats_text(document: dict[str, Any], name: str) -> str:
    """Everything of `pipeline.inspect.statistics.statistics`, for a person."""
    parts = [
        _head(document, name),
        _sources(document),
        _spreads("tokens of an example, before the cut", "tokens_of_an_example", document),
        _spreads("trained tokens of an example, before the cut", "trained_of_an_example", document),
        _segments(document),
        _bars("tokens of an example", document["histograms"]["tokens"]),
        _bars("turns of an example", document["histograms"]["turns"]),
        _cutoffs(document),
        _estimate(document),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(document: dict[str, Any], name: str) -> str:
    packed = "packed" if document["packed"] else "one example a row"
    lines = [f"{clean(name)}: {document['stage']}, {packed}, cutoff_len {document['cutoff_len']}"]
    for split, figures in document["splits"].items():
        fill = f", fill {100 * figures['fill_rate']:.2f} %" if figures["fill_rate"] is not None else ""
        lines.append(f"  {split}: {figures['rows']:,} rows, {figures['examples']:,} examples{fill}")
    ledger = document["ledger"]
    lines.append(f"  {ledger['tokens']:,} tokens, {ledger['trained_tokens']:,} of them trained")
    return "\n".join(lines)


def _cell(name: str, columns: int = NAME) -> str:
    text = clean(name)
    return (text if len(text) <= columns else text[: columns - 1] + "…").ljust(columns)


def _sources(document: dict[str, Any]) -> str:
    whole = document["ledger"]
    head = f"{'source':<{NAME}}{'records':>9}{'rejected':>9}{'examples':>10}{'turns':>10}{'tokens':>13}{'trained':>13}"
    lines = [head]
    for name, figures in document["sources"].items():
        lines.append(
            f"{_cell(name)}{figures['records']:>9,}{figures['rejected']:>9,}{figures['examples']:>10,}"
            f"{figures['turns']:>10,}{figures['tokens']:>13,}{figures['trained_tokens']:>13,}"
        )
    if len(document["sources"]) > 1:
        lines.append(
            f"{'all':<{NAME}}{whole['read']:>9,}{sum(whole['rejected'].values()):>9,}{whole['examples']:>10,}"
            f"{document['all']['turns']:>10,}{whole['tokens']:>13,}{whole['trained_tokens']:>13,}"
        )
    return "\n".join(lines)


def _spread_head(title: str) -> str:
    names = ["min", "mean", *(f"p{share}" for share in PERCENTILES), "max"]
    return f"{title}\n{'':<{NAME}}" + "".join(f"{name:>9}" for name in names)


def _spread_line(name: str, figures: dict[str, float]) -> str:
    shares = [figures[f"p{share}"] for share in PERCENTILES]
    cells = [
        f"{figures['min']:,}",
        f"{figures['mean']:,.1f}",
        *(f"{share:,}" for share in shares),
        f"{figures['max']:,}",
    ]
    return _cell(name) + "".join(f"{cell:>9}" for cell in cells)


def _spreads(title: str, key: str, document: dict[str, Any]) -> str:
    lines = [_spread_head(title)]
    lines += [_spread_line(name, figures[key]) for name, figures in document["sources"].items()]
    if len(document["sources"]) > 1:
        lines.append(_spread_line("all", document["all"][key]))
    return "\n".join(lines)


def _segments(document: dict[str, Any]) -> str:
    lines = [f"{'part of a turn':<{NAME}}{'count':>12}{'without loss':>14}{'tokens':>14}{'after the cut':>15}"]
    for name, figures in document["halves"].items():
        lines.append(
            f"{_cell(name)}{figures['count']:>12,}{figures['masked']:>14,}{figures['tokens']:>14,}"
            f"{figures['kept_tokens']:>15,}"
        )
    lines += ["", _spread_head("tokens of a part, before the cut")]
    lines += [_spread_line(name, figures["lengths"]) for name, figures in document["halves"].items()]
    return "\n".join(lines)


def _bars(title: str, bins: Sequence[Sequence[int]]) -> str:
    if not bins:
        return ""
    most = max(count for _, _, count in bins)
    lines = [title]
    for first, end, count in bins:
        label = f"{first:,}" if end == first + 1 else f"{first:,} to {end - 1:,}"
        lines.append(f"{label:>18}  {bar(count / most):<{BAR}} {count:>12,}".rstrip())
    return "\n".join(lines)


def bar(share: float, columns: int = BAR) -> str:
    """A bar in eighths of a column; anything above nothing shows."""
    eighths = max(round(share * columns * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def _cutoffs(document: dict[str, Any]) -> str:
    if not document["cutoffs"]:
        return "cutoff table: none for `overlong: split`, since where a record is split depends on its text"
    lines = [
        "what another cutoff_len would cost",
        f"{'':>2}{'cutoff':>7}{'cut':>10}{'dropped':>9}{'rejected':>9}"
        f"{'trained lost':>14}{'kept':>10}{'rows':>11}{'fill':>8}",
    ]
    for row in document["cutoffs"]:
        mark = ">" if row["cutoff_len"] == document["cutoff_len"] else ""
        lines.append(
            f"{mark:<2}{row['cutoff_len']:>7}{row['records_cut']:>10,}{row['dropped']:>9,}{row['rejected']:>9,}"
            f"{row['trained_tokens_lost']:>14,}{_share(row['trained_share']):>10}{row['rows']:>11,}"
            f"{100 * row['fill_rate']:>7.1f}%"
        )
    lines.append("  cut: records losing tokens; kept: share of trained tokens left; >: as it is")
    if any(row["rejected"] for row in document["cutoffs"]):
        lines.append("  rejected: records that the limit leaves nothing to train on; `kept` counts them as lost.")
    if not document["packed"]:
        lines.append("  fill: tokens / (rows x cutoff_len), so what padding to the limit would leave.")
    suggestion = document["suggestion"]
    if suggestion:
        lines += ["", *_folded(f"suggested: cutoff_len={suggestion['cutoff_len']}  ({suggestion['reason']})")]
    return "\n".join(lines)


def _share(value: float) -> str:
    # a share that is not whole must not be rounded up to it
    text = f"{100 * value:.2f}"
    return f"{'99.99' if text == '100.00' and value < 1 else text} %"


def _folded(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _estimate(document: dict[str, Any]) -> str:
    if not document["estimate"]:
        return ""
    lines = ["training, at the given speed", f"{'cutoff':>9}{'steps':>12}{'tokens':>18}{'hours':>12}{'GPU-hours':>13}"]
    for row in document["estimate"]:
        lines.append(
            f"{row['cutoff_len']:>9}{row['steps']:>12,}{row['tokens']:>18,}{row['hours']:>12,.2f}{row['gpu_hours']:>13,.2f}"
        )
    return "\n".join(lines)
