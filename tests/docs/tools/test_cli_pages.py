"""The pages of docs/cli are what the commands offer and print now."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from docs.tools.cli_pages import answer, commands, entries, guides, page, pages, sandbox
from pipeline.cli import COMMANDS

ROOT = Path(__file__).parents[3]


def test_every_command_has_a_page_an_example_and_a_way_on() -> None:
    table = entries(ROOT)
    assert set(commands()) == set(COMMANDS) == set(table) - {"files"}
    assert all(table[command]["examples"] and table[command]["see"] for command in COMMANDS)


def test_pages_are_what_the_commands_print_now() -> None:
    """`python -m docs.tools.cli_pages` writes them anew."""
    made = pages(ROOT)
    there = {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / "cli").glob("*.md")}
    assert sorted(there) == sorted(made)
    for name, text in made.items():
        assert there[name].splitlines() == text.splitlines(), f"docs/cli/{name}: run python -m docs.tools.cli_pages"


def test_a_new_option_shows_on_the_page() -> None:
    """Options, choices, defaults and texts that Markdown would eat are all there."""

    @click.command(epilog="Ends <here>.")
    @click.argument("out")
    @click.option("-n", "--near", type=click.Choice(["a", "b"]), default="a", show_default=True, help="Which | one.")
    @click.option("--times", multiple=True, type=int, help="How often.")
    @click.option("--secret", hidden=True)
    def command() -> None:
        """Does it.

        \b
          prep it OUT
            deeper
        """

    text = page("it", command, {}, [])
    assert "prep it [OPTIONS] OUT" in text
    assert "| `-n`, `--near a\\|b` | Which \\| one. Default: `a`. |" in text
    assert "| `--times N` | How often. Repeatable. |" in text
    assert "```bash\nprep it OUT\n  deeper\n```" in text
    assert "Ends &lt;here>." in text
    assert "secret" not in text


def test_an_example_that_fails_is_no_example(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 2"):
        answer({"run": "prep validate nothing"}, tmp_path)
    assert answer({"run": "prep validate nothing", "exit": 2, "show": 1}, tmp_path).startswith("prep: nothing: no such")


def test_examples_run_beside_a_copy_of_the_demo() -> None:
    with sandbox(ROOT) as folder:
        assert (folder / "fixtures" / "demo" / "sft.yaml").exists()
        assert (folder / "chats.jsonl").exists()
    assert not folder.exists()


def test_guides_show_what_their_commands_print_now() -> None:
    """`python -m docs.tools.cli_pages` writes the outputs anew."""
    made = guides(ROOT)
    assert made
    for name, text in made.items():
        there = (ROOT / name).read_text("utf-8")
        assert there.splitlines() == text.splitlines(), f"{name}: run python -m docs.tools.cli_pages"
