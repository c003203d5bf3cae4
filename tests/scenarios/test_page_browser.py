"""The page of `prep report` in a real browser: charts drawn, rows stepped through, nothing run, nothing fetched."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.page.build import report_page
from pipeline.runs.pack.run import prepare
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "tiny"
PAYLOADS: list[str] = json.loads((ROOT / "fixtures" / "hostile" / "payloads.json").read_text(encoding="utf-8"))
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def _high_pipe() -> list[int]:
    """A pipe whose descriptors are not among the first ones, and die with this process."""
    ends = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in ends]
    for fd in ends:
        os.close(fd)
    return high


class Browser:
    """Chromium without a window, driven over a pair of pipes (its DevTools protocol)."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = _high_pipe()
        self._in, theirs_out = _high_pipe()

        def hand_over() -> None:  # the protocol's pipes are descriptors 3 and 4
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._count, self._buffer, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        pages = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        os.write(
            self._out, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                if "navigated" in str(answer.get("error")):  # the page was on its way to another
                    return {"result": {}}
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], 30)
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser is gone"
            self._buffer += part
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        return message

    def open(self, path: Path, columns: int = 1200) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=columns, height=900, deviceScaleFactor=1, mobile=columns < 600
        )
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.as_uri())
        for _ in range(200):
            if self.ask("document.readyState") == "complete" and self.ask("location.protocol") == "file:":
                return
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def seen(self, *methods: str) -> list[dict[str, Any]]:
        self.ask("1")
        return [event for event in self.events if event.get("method") in methods]

    def close(self) -> None:
        os.close(self._out)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of forty hostile records."""
    folder = tmp_path_factory.mktemp("page")
    data = folder / "<img src=x onerror=alert(1)>.jsonl"
    lines = [{"instruction": text, "output": f"{text} {number}"} for number, text in enumerate(PAYLOADS)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=200", "packing=true"]
    prepare(load_config(None, words, for_command="pack"), folder / "out", lambda line: None, keep_cache=False)
    texts = TokenTexts(load_tokenizer_files(str(TINY)))
    target = folder / "report.html"
    target.write_text(report_page(open_shards(str(folder / "out")), texts, "<b>out</b>").html, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def test_the_viewer_steps_and_nothing_runs(browser: Browser, page: Path) -> None:
    """Arrow keys and buttons walk through every sample and round; no error, no dialogue, no request but the page."""
    browser.open(page)
    count = browser.ask("document.getElementById('pick').options.length")
    assert count > 10
    seen = set()
    for _ in range(count):
        seen.add(browser.ask("document.getElementById('place').textContent"))
        browser.press("ArrowRight")
    assert len(seen) == count
    assert browser.ask("document.getElementById('pick').value") == "0"
    browser.press("ArrowLeft")
    assert browser.ask("document.getElementById('pick').value") == str(count - 1)
    browser.ask("document.getElementById('back').click()")
    assert browser.ask("document.getElementById('pick').value") == str(count - 2)
    browser.ask("for (const part of document.querySelectorAll('details')) part.open = true")
    assert browser.ask("document.title") == "prep report: <b>out</b>"
    assert (
        browser.ask("document.querySelectorAll('main img, main iframe, main b b, main script, main style').length") == 0
    )
    assert not browser.seen("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert not browser.seen("Page.javascriptDialogOpening")
    requested = {event["params"]["request"]["url"].split("#")[0] for event in browser.seen("Network.requestWillBeSent")}
    assert requested <= {page.as_uri(), "about:blank"}


def test_masks_are_what_the_tokens_carry(browser: Browser, page: Path) -> None:
    """Tokens in the viewer stand in stretches of their mask, ids show on demand, end marks are marked."""
    browser.open(page)
    on = browser.ask("document.querySelectorAll('#stage .stretch.on .t').length")
    assert on == browser.ask(
        "[...document.querySelectorAll('#stage .on .who span')].reduce((n, e) => n + parseInt(e.textContent), 0)"
    )
    shown = "getComputedStyle(document.querySelector('#stage .t .id')).display"
    assert browser.ask(shown) == "none"
    browser.ask("document.getElementById('ids').click()")
    assert browser.ask(shown) == "inline"
    assert browser.ask(
        "[...document.querySelectorAll('#stage .stop')].every((e) => e.textContent.startsWith('<|im_end|>'))"
    )


def test_charts_are_drawn_and_a_phone_needs_no_sideways_scrolling(browser: Browser, page: Path) -> None:
    """Bars and the curve have an area; at 390 pixels the page is as wide as the screen."""
    for columns in (1200, 390):
        browser.open(page, columns)
        sizes = browser.ask(
            "[...document.querySelectorAll('svg.bar, svg.curve')].map((e) => e.getBoundingClientRect().width)"
        )
        assert len(sizes) > 15
        assert min(sizes) > 40
        assert browser.ask("document.querySelector('polyline.line').getTotalLength()") > 100
        assert browser.ask("document.documentElement.scrollWidth") <= columns


def test_a_link_opens_a_sample(browser: Browser, page: Path) -> None:
    """`report.html#sample-3` shows the third one."""
    browser.open(page)
    browser.ask("location.hash = '#sample-3'; location.reload()")
    for _ in range(100):
        if browser.ask("document.getElementById('pick')?.value") == "2":
            return
        time.sleep(0.05)
    pytest.fail("the third sample is not shown")
