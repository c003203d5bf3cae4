"""`prep list`: what has a name here. One line each on stdout, so that it can be grepped; `--json` for programs."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from registry.errors import UsageFault, did_you_mean

Row = dict[str, object]


@click.command(epilog="Example: prep list rules --area tools")
@click.argument("subject", required=False, metavar="datasets|templates|formats|rules|models|profiles")
@click.option("--dataset_dir", "--dataset-dir", default="data", show_default=True, help="Where dataset_info.json is.")
@click.option("--area", help="Only rules of this area: the first part of their id.")
@click.option("--markdown", is_flag=True, help="The rules as the page docs/rules.md.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout.")
def command(subject: str | None, dataset_dir: str, area: str | None, markdown: bool, as_json: bool) -> None:
    """List datasets, templates, formats, rules, models or profiles."""
    subject = _subject(subject)
    if markdown and subject != "rules":
        raise UsageFault("--markdown: only rules have such a page", hint="prep list rules --markdown")
    if markdown:
        from pipeline.reports.rules_page import page

        click.echo(page(), nl=False)
        return
    rows = _SUBJECTS[subject](dataset_dir)
    if area is not None:
        if subject != "rules":
            raise UsageFault("--area: only rules have areas", hint="prep list rules --area tools")
        areas = list(dict.fromkeys(str(row["id"]).split(".")[0] for row in rows))
        if area not in areas:
            raise UsageFault(
                f"there is no area {area!r}{did_you_mean(area, areas)}", hint=f"the areas: {', '.join(areas)}"
            )
        rows = [row for row in rows if str(row["id"]).startswith(f"{area}.")]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for line in columns(rows):
        click.echo(line)


def _subject(word: str | None) -> str:
    if word is None:
        raise UsageFault("what to list is not given", hint=_HINT)
    found = next((name for name in _SUBJECTS if word in (name, name[:-1])), None)
    if found is None:
        near = did_you_mean(word, _SUBJECTS)
        raise UsageFault(f"{word}: there is no such list{near}", hint=_HINT)
    return found


def columns(rows: list[Row]) -> list[str]:
    """Rows as aligned columns, the last one as long as it is; values are cleaned for the terminal."""
    from stages.core.display import clean

    cells = [[clean(_cell(value)) for value in row.values()] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in cells]


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if value is None or value == "":
        return "-"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _rules(_: str) -> list[Row]:
    from registry.rules import rules

    return [
        {
            "id": rule.id,
            "severity": rule.severity,
            "repair": rule.repair,
            "meaning": rule.meaning,
        }
        for rule in rules().values()
    ]


def _formats(_: str) -> list[Row]:
    from stages.formats.table import FORMATS

    return [{"id": form.id, "kind": form.kind, "fields": form.summary} for form in FORMATS.values()]


def _datasets(dataset_dir: str) -> list[Row]:
    from registry.datasets import list_datasets
    from registry.datasets.info_file import load_dataset_info
    from stages.core.display import clean

    for note in load_dataset_info(dataset_dir).notes:
        click.echo(f"note: {clean(note)}", err=True)
    return [
        {
            "name": row.name,
            "format": row.format or "mistaken",
            "there": row.exists,
            "files": list(row.problems) or list(row.files),
        }
        for row in list_datasets(dataset_dir)
    ]


def _templates(_: str) -> list[Row]:
    from registry.templates import load_template, template_names

    rows: list[Row] = []
    for name in template_names():
        template = load_template(name)
        rows.append({"name": name, "kind": template.kind, "stop_words": list(template.stop_words)})
    return rows


def _models(_: str) -> list[Row]:
    from registry.models import all_models

    return [{"family": model.family, "template": model.template, "example": model.example} for model in all_models()]


def _profiles(_: str) -> list[Row]:
    from registry.profiles import load_profile, profile_names

    profiles = [load_profile(name) for name in profile_names()]
    return [
        {"name": item.name, "as_of": item.as_of, "title": item.title, "formats": list(item.formats)}
        for item in profiles
    ]


_SUBJECTS: dict[str, Callable[[str], list[Row]]] = {
    "rules": _rules,
    "formats": _formats,
    "datasets": _datasets,
    "templates": _templates,
    "models": _models,
    "profiles": _profiles,
}
_HINT = f"prep list SUBJECT; one of {', '.join(_SUBJECTS)}"
