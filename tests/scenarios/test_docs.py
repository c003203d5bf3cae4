"""What the documentation names is there: pages, headings, commands, options, configuration keys."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from docs.tools.cli_pages import commands
from pipeline.config.keys import keys, renames

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SETTINGS = {*keys(), *renames()}
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^|\s)(?:[A-Z_]+=\S+ )*prep (.*)")


def fences(text: str) -> Iterator[tuple[str, list[str]]]:
    """Language and lines of every fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2].splitlines()


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    wrong = []
    for target in _LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken_links(page, page.read_text("utf-8"))


def test_a_broken_link_or_anchor_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "x.md"
    page.write_text("# One `two`\n")
    text = "[a](gone.md) [b](x.md#nothing) [c](x.md#one-two) [d](#one-two) [e](https://example.com)"
    assert broken_links(page, text) == ["gone.md", "x.md#nothing"]


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(index.read_text("utf-8"))}
    assert {path for path in PAGES if path != index} <= linked


# --- commands ---------------------------------------------------------------------------------------------------------


def named_commands(text: str) -> Iterator[str]:
    """Every `prep ...` that a page shows, in blocks of shell and in inline code."""
    for language, lines in fences(text):
        if language in ("bash", "sh", "console"):
            for line in lines:
                shown = line.removeprefix("$ ") if language == "console" else line
                if (language != "console" or line.startswith("$ ")) and (match := _COMMAND.match(shown)):
                    yield match[1]
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if match := re.match(r"prep (.+)", code):
            yield match[1]


def mistakes(command: str) -> list[str]:
    """What of a command (the words behind `prep`) does not exist: its command, options and settings."""
    command = re.sub(r"\s{3,}.*|\s+#.*", "", command)  # a remark behind it
    words = shlex.split(command.replace("->", "→"))
    known = commands()
    if words[0].isupper() or words[0].startswith("-"):
        return []
    if words[0] not in known:
        return [f"no command {words[0]}"]
    command = known[words.pop(0)]
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        named = [command.get_command(click.Context(command), name) for name in words.pop(0).split("|")]
        if None in named:
            return [f"no such part of {command}"]
        command = named[0] or command
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    settings = bool(command.context_settings.get("ignore_unknown_options"))
    wrong = []
    for word in words:
        name = word.partition("=")[0]
        if word.startswith("-") and word not in ("-", "--"):
            setting = name.removeprefix("--").replace("-", "_")
            if name not in options and not (settings and setting.split(".")[0] in SETTINGS):
                wrong.append(f"no option {name}")
        elif settings and re.fullmatch(r"[a-z_.-]+=.*", word) and name.split(".")[0] not in {*SETTINGS, "key"}:
            wrong.append(f"no key {name}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_exists_with_its_options_and_keys(page: Path) -> None:
    found = {command: mistakes(command) for command in named_commands(page.read_text("utf-8"))}
    assert not {command: what for command, what in found.items() if what}


def test_commands_that_do_not_exist_are_seen() -> None:
    text = "`prep pakc x`\n```bash\nprep pack x.yaml --wokers 2 cutof_len=3\n```\n"
    text += "```console\n$ prep list --foo\nprep x\n```"
    assert [mistakes(command) for command in named_commands(text)] == [
        ["no option --wokers", "no key cutof_len"],
        ["no option --foo"],
        ["no command pakc"],
    ]
    assert mistakes("train x.yaml rules.text.control=off --learning-rate 1e-5   # remark") == []
    assert mistakes("template show|check NAME --tokenizer DIR") == []


def test_hints_in_the_code_name_commands_that_exist() -> None:
    """An error that sends a person to a command sends them to one that is there."""
    wrong = []
    for package in ("pipeline", "stages", "registry"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                for command in re.findall(r"`prep ([a-z]+)[ `]", path.read_text("utf-8")):
                    if command not in commands():
                        wrong.append(f"{path.relative_to(ROOT)}: prep {command}")
    assert not wrong


# --- configuration ----------------------------------------------------------------------------------------------------


def unknown_keys(text: str) -> list[str]:
    """Keys in YAML blocks that are no configuration keys."""
    found = []
    for language, lines in fences(text):
        if language == "yaml":
            document = yaml.safe_load("\n".join(lines))
            found += [key for key in document if key not in SETTINGS]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_key_of_a_yaml_block_is_known(page: Path) -> None:
    assert not unknown_keys(page.read_text("utf-8"))


def test_an_unknown_key_is_seen() -> None:
    assert unknown_keys("```yaml\ncutoff_len: 3\ncutof: 3\n```\n") == ["cutof"]


def test_json_blocks_are_json() -> None:
    """One document, or one a line."""
    for page in PAGES:
        for language, lines in fences(page.read_text("utf-8")):
            if language == "json":
                try:
                    json.loads("\n".join(lines))
                except ValueError:
                    assert [json.loads(line) for line in lines], page


def test_the_readme_begins_with_its_two_commands() -> None:
    """Install and pack; install and test. Each in a block of its own, before anything else is shown."""
    first, second, *_ = list(fences((ROOT / "README.md").read_text("utf-8")))
    assert first == ("bash", ["python -m pip install -e . && prep pack fixtures/demo/sft.yaml"])
    assert second == ("bash", ['python -m pip install -e ".[dev]" && python -m pytest'])


def test_pictures_are_small() -> None:
    """`python docs/make_screenshots.py` makes them."""
    pictures = list((ROOT / "docs").rglob("*.png"))
    assert pictures
    assert all(path.stat().st_size < 300_000 for path in pictures)
