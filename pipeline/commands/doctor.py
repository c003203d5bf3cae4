"""`prep doctor`: what is installed, what is missing, and what could go wrong here."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import textwrap
from pathlib import Path
from typing import Any

import click

from pipeline.installation import CORE, DISTRIBUTION, EXTRAS, HOME, install_command, prep_version, version_of

OURS = ("pipeline", "registry", "schemas", "stages")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON on stdout.")
def command(as_json: bool) -> int:
    """Report versions, extras, devices, name clashes and disk space. Exits 3 when something is wrong."""
    found = examine()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        click.echo(f"prep {found['prep']}, Python {found['python']}, {found['system']}, {found['cores']} cores")
        for part, parts in {"core": found["core"], **found["extras"]}.items():
            for line in _versions(part, parts):
                click.echo(line)
        click.echo(f"devices    {found['devices']}")
        click.echo(f"disk       {found['free_gib']:.1f} GiB free here")
        for problem in found["problems"]:
            click.echo(f"problem    {problem}", err=True)
        if not found["problems"]:
            click.echo("no problems found")
    return 3 if found["problems"] else 0


def _versions(part: str, parts: dict[str, str]) -> list[str]:
    have = [f"{name} {version}" for name, version in parts.items() if version]
    missing = [name for name, version in parts.items() if not version]
    lines = textwrap.wrap(", ".join(have), 69, break_on_hyphens=False)
    if missing:
        extra = "" if part == "core" else part
        lines += [f"missing: {', '.join(missing)}", f"  {install_command(extra)}"]
    return [f"{part if at == 0 else '':<11}{line}" for at, line in enumerate(lines)]


def examine() -> dict[str, Any]:
    """What `prep doctor` reports, as plain data."""
    core = {name: version_of(name) for name in CORE.values()}
    lacking = [name for name, version in core.items() if not version]
    problems = [f"{name} is not installed: {install_command()}" for name in lacking] + clashes()
    return {
        "prep": prep_version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "core": core,
        "extras": {extra: {name: version_of(name) for name in names} for extra, names in EXTRAS.items()},
        "devices": devices(),
        "free_gib": shutil.disk_usage(".").free / (1 << 30),
        "problems": problems,
    }


def clashes() -> list[str]:
    """Other distributions or local folders that carry one of our package names."""
    owners = importlib.metadata.packages_distributions()
    wrong = []
    for name in OURS:
        others = sorted({owner for owner in owners.get(name, ()) if owner != DISTRIBUTION})
        if others:
            wrong.append(
                f"the package {name!r} is also installed by {', '.join(others)}: use an environment of its own"
            )
        if (Path.cwd() / name / "__init__.py").is_file() and Path.cwd() / name != HOME / name:
            wrong.append(f"a folder {name!r} here hides prep's own under `python -m`: set PYTHONSAFEPATH=1")
    return wrong


def devices() -> str:
    """Accelerators as the system shows them, found without importing torch."""
    cards = [
        entry for entry in ("/proc/driver/nvidia/gpus", "/sys/class/kfd/kfd/topology/nodes") if os.path.isdir(entry)
    ]
    if not cards:
        return "no accelerator found; training runs on the CPU"
    count = len(os.listdir(cards[0]))
    return f"{count} {'NVIDIA' if 'nvidia' in cards[0] else 'AMD'} device(s)"
