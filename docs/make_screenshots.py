"""The pictures of the README: `prep inspect` in a terminal, and the top of a page of `prep report`, on the demo.

    python docs/make_screenshots.py        writes docs/images/*.png; needs Chromium

The terminal is drawn from the command's own colours; nothing is retouched.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from docs.tools.cli_pages import sandbox

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #14171c; }}
pre {{ margin: 0; padding: 14px 18px; color: #d6dae0; font: 14px/19px "DejaVu Sans Mono", monospace; }}
</style><pre>{code}</pre>"""


def main() -> None:
    """Writes the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with sandbox(ROOT) as folder:
        prep(folder, "pack", "fixtures/demo/sft.yaml", "-o", "prepared/demo", "--quiet")
        shown = prep(folder, "inspect", "prepared/demo", "--row", "2")
        (folder / "inspect.html").write_text(terminal("prep inspect prepared/demo --row 2", shown), "utf-8")
        # a limit that cuts, so that the account has something to show
        prep(folder, "pack", "fixtures/demo/sft.yaml", "-o", "prepared/demo", "cutoff_len=192", "--quiet")
        prep(folder, "report", "prepared/demo", "-o", "report.html", "--quiet")
        rows = shown.count("\n") + 2
        picture(folder / "inspect.html", IMAGES / "inspect.png", (730, 20 + 19 * rows))
        picture(folder / "report.html", IMAGES / "report.png", (1100, 1080))


def prep(folder: Path, *words: str) -> str:
    """Stdout of a prep command, coloured, 80 columns wide."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    environment |= {"FORCE_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=folder, env=environment, stdout=subprocess.PIPE,
        encoding="utf-8", check=True,
    )  # fmt: skip
    return done.stdout


def terminal(command: str, output: str) -> str:
    """A page that shows a command and what it printed."""
    from rich.console import Console
    from rich.terminal_theme import SVG_EXPORT_THEME
    from rich.text import Text

    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(output), end="")
    html = console.export_html(theme=SVG_EXPORT_THEME, inline_styles=True, code_format="{code}")
    return _PAGE.format(code=html)


def picture(page: Path, target: Path, size: tuple[int, int]) -> None:
    """A PNG of a page in a window of `size` pixels."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((path for name in names if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no Chromium on this machine")
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000",
         f"--window-size={size[0]},{size[1]}", f"--screenshot={target}", page.as_uri()],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


if __name__ == "__main__":
    main()
