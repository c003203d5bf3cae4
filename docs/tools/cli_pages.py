"""docs/cli/: a page for each command, made from its options and from commands that are run on the demo data; and the
outputs in the guides (`docs.tools.live_examples`).

`python -m docs.tools.cli_pages` in the repository's root writes the pages anew; a test fails when they differ. What is
run for a command, and what a page links to, stands in docs/cli/examples.yaml. Options are written from click's own
objects, not from its help text, whose layout changes between releases.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from docs.tools.live_examples import refreshed, run_shown, shortened
from pipeline.cli import prep

FOLDER = Path("docs") / "cli"
EXAMPLES = FOLDER / "examples.yaml"
_DEMO = ("demo", "tiny", "launch")  # folders of fixtures/ that examples may use
_MADE = "<!-- made by `python -m docs.tools.cli_pages`; edit the command's help or docs/cli/examples.yaml instead -->"

Entry = Mapping[str, Any]


def commands() -> dict[str, click.Command]:
    """Every command that is there, in the order of `prep --help`."""
    context = click.Context(prep, info_name="prep")
    found = {name: prep.get_command(context, name) for name in prep.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def entries(root: Path) -> dict[str, Entry]:
    """docs/cli/examples.yaml: command -> {about, examples: [{why, run, exit, show, last, shown, silent}], see}."""
    with open(root / EXAMPLES, encoding="utf-8") as file:
        found: dict[str, Entry] = yaml.safe_load(file)
    return found


def pages(root: Path) -> dict[str, str]:
    """File name -> text of every page. Runs the examples in a temporary copy of the demo."""
    table, found = entries(root), commands()
    with sandbox(root) as folder:
        texts = {}
        for name, command in found.items():
            entry = table.get(name, {})
            outputs = [answer(example, folder) for example in entry.get("examples", ())]
            texts[f"{name}.md"] = page(name, command, entry, outputs)
    return texts


def page(name: str, command: click.Command, entry: Entry, outputs: Sequence[str]) -> str:
    """One command's page as Markdown.

    Args:
        name: Of the command.
        command: Its options and help.
        entry: Its examples and pages to go on to, from docs/cli/examples.yaml.
        outputs: What the examples printed, in order.
    """
    lines = [f"# prep {name}", "", _MADE, ""]
    lines += _command(f"prep {name}", command)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                lines += [f"## prep {name} {inner}", "", *_command(f"prep {name} {inner}", found)]
    if entry.get("about"):
        lines += [str(entry["about"]).strip(), ""]
    for example, output in zip(entry.get("examples", ()), outputs, strict=True):
        if example.get("silent"):  # only prepares the next
            continue
        if example.get("why"):
            lines += [str(example["why"]).strip(), ""]
        lines += ["```text", f"$ {example['run']}", *output.splitlines(), "```", ""]
    if entry.get("see"):
        links = [f"[{title}]({target})" for title, target in entry["see"].items()]
        lines += ["See also: " + ", ".join(links) + ".", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _command(called: str, command: click.Command) -> Iterator[str]:
    arguments = [_argument(param) for param in command.params if isinstance(param, click.Argument)]
    if isinstance(command, click.Group):
        arguments = ["|".join(command.list_commands(click.Context(command)))]
    yield from ("```text", " ".join([called, "[OPTIONS]", *arguments]), "```", "")
    yield from _prose(command.help or "")
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| {_names(option)} | {_meaning(option)} |" for option in options)
        yield ""
    yield from _prose(command.epilog or "")


def _prose(text: str) -> Iterator[str]:
    """Paragraphs of a help text; those behind click's `\\b` are shown as they stand."""
    for paragraph in re.split(r"\n\s*\n", text.replace("\f", "").strip()):
        rows = paragraph.splitlines()
        if rows and rows[0].strip() == "\b":
            yield from ("```bash", *textwrap.dedent("\n".join(rows[1:])).splitlines(), "```", "")
        elif rows:
            yield from (" ".join(row.strip() for row in rows).replace("<", "&lt;"), "")


def _argument(param: click.Argument) -> str:
    return param.metavar or (param.name or "").upper()


def _names(option: click.Option) -> str:
    value = "" if option.is_flag else f" {_value(option)}"
    *shorter, longest = option.opts
    return ", ".join([*(f"`{name}`" for name in shorter), f"`{longest}{value}`"]).replace("|", "\\|")


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return "yes|no" if option.type is click.BOOL else "N" if "integer" in option.type.name else "TEXT"


def _meaning(option: click.Option) -> str:
    words = [option.help or ""]
    if option.required:
        words.append("Required.")
    if option.multiple and "repeat" not in words[0] and "several" not in words[0]:
        words.append("Repeatable.")
    if option.show_default and option.default not in (None, False, ()):
        words.append(f"Default: `{option.default}`.")
    return " ".join(words).replace("|", "\\|").replace("<", "&lt;")


# --- examples ---------------------------------------------------------------------------------------------------------


class sandbox:
    """A temporary folder with a copy of the demo under fixtures/, where examples run one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.holder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        self.holder = tempfile.TemporaryDirectory(prefix="prep-docs-")
        folder = Path(self.holder.name)
        for name in _DEMO:
            shutil.copytree(self.root / "fixtures" / name, folder / "fixtures" / name)
        for name, text in (entries(self.root).get("files") or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def __exit__(self, *_: object) -> None:
        if self.holder is not None:
            self.holder.cleanup()


def answer(example: Entry, folder: Path) -> str:
    """What an example prints: stored under `shown` (for what takes long or depends on the machine), or by running it.

    Raises RuntimeError when it ends with another exit code than its `exit`.
    """
    if "shown" in example:
        return str(example["shown"]).rstrip("\n")
    code, output = run_shown(example["run"], folder)
    if code != example.get("exit", 0):
        raise RuntimeError(f"{example['run']}: exit code {code}\n{output}")
    marks = {name: str(example[name]) for name in ("show", "last") if name in example}
    return "\n".join(shortened(output.splitlines(), marks))


def guides(root: Path) -> dict[str, str]:
    """Path below the root -> text of every guide, and of the README, with the outputs of its commands written anew."""
    texts = {}
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if "\n```console\n" in text:
            with sandbox(root) as folder:
                texts[path.relative_to(root).as_posix()] = refreshed(text, folder)
    return texts


def write(root: Path) -> None:
    """Writes every page and the outputs in the guides; pages of commands that are gone are removed."""
    made = pages(root)
    for path in (root / FOLDER).glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (root / FOLDER / name).write_text(text, encoding="utf-8")
    for name, text in guides(root).items():
        (root / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path())
