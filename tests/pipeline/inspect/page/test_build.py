"""The page of `prep report`: its figures are the manifest's, and nothing that a record holds becomes markup."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.page.build import MOST_BYTES, report_page
from pipeline.output.shards import Shards
from pipeline.runs.pack.run import prepare
from stages.core.display import clean
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support.training import relist

ROOT = Path(__file__).parents[4]
DEMO, TINY = ROOT / "fixtures" / "demo", ROOT / "fixtures" / "tiny"
PAYLOADS: list[str] = json.loads((ROOT / "fixtures" / "hostile" / "payloads.json").read_text(encoding="utf-8"))
TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))
TAGS = {
    "html", "head", "meta", "link", "title", "style", "body", "a", "header", "h1", "h2", "h4", "p", "nav",
    "ul", "li", "main", "section", "b", "span", "div", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "svg", "rect", "line", "text", "polygon", "polyline", "circle", "details", "summary", "code", "pre",
    "button", "select", "label", "input", "noscript", "footer", "script",
}  # fmt: skip
ADDRESSES = {"href", "src", "action", "data", "poster", "srcset", "formaction", "xlink:href", "background"}


class Reader(HTMLParser):
    """Tags, attributes, and the text of the page outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.raw[self._inside] if self._inside else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def made(out: Path, *words: str, config: str | None = None) -> Shards:
    prepare(load_config(config, list(words), for_command="pack"), out, lambda line: None, keep_cache=False)
    return open_shards(str(out))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The demo with records cut, dropped and held out."""
    out = tmp_path_factory.mktemp("demo") / "out"
    return made(out, "cutoff_len=90", "val_size=0.1", config=str(DEMO / "sft.yaml"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Forty hostile records, some rejected, in a file with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "<img src=x onerror=alert(1)>'\"&.jsonl"
    lines = [{"instruction": text, "output": f"{text} {number}"} for number, text in enumerate(PAYLOADS)]
    lines += [{"instruction": text, "output": ""} for text in PAYLOADS[:5]]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=512"]
    return made(folder / "out", *words)


def test_figures_are_those_of_the_manifest(demo: Shards) -> None:
    """Every figure of the ledger, for the whole and each source, stands on the page, and it says that they add up."""
    page = Reader(report_page(demo, TEXTS, "demo").html)
    ledger = demo.manifest["ledger"]
    for one in (ledger, *ledger["sources"].values()):
        for key in ("read", "examples", "tokens", "trained_tokens"):
            assert f"{one[key]:,}" in page.text
    assert page.text.count("✓") == 3
    assert "✗" not in page.text
    assert f"lost: cutoff −{ledger['tokens_lost']['cutoff']:,}".replace(" ", "") in page.text.replace(" ", "")
    for rule, count in json.loads((demo.out / "report.json").read_bytes())["counts"].items():
        assert rule in page.text
        assert f"{count:,}" in page.text
    assert demo.manifest["key"] in page.text
    assert (
        f"prep pack stage=sft template=qwen3 cutoff_len=90 dataset={','.join(demo.manifest['recipe']['dataset'])}"
        in page.text
    )


def test_a_ledger_that_does_not_close_is_shown_as_such(demo: Shards) -> None:
    """A manifest whose figures do not add up is called out."""
    manifest = copy.deepcopy(dict(demo.manifest))
    manifest["ledger"]["tokens"] += 1
    page = report_page(Shards(demo.out, manifest), None, "demo").html
    assert "✗ the tokens do not add up" in page


def test_hostile_records_stay_text(hostile: Shards) -> None:
    """Only our own elements, no handler, no address but our anchors, two scripts, and the payloads readable as text."""
    made_page = report_page(hostile, TEXTS, "out </title><script>alert(1)</script>")
    page = Reader(made_page.html)
    assert {tag for tag, _ in page.tags} <= TAGS
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "style" not in attributes
        for name in ADDRESSES & set(attributes):
            assert re.fullmatch(r"#[a-z-]+|data:,", attributes[name] or ""), (tag, attributes)
    assert len(page.raw["script"]) == 2
    told = json.loads(page.raw["script"][0])
    joined = [
        "".join(token[0] for stretch in example["stretches"] for token in stretch["tokens"])
        for sample in told
        for example in sample["examples"]
    ]
    shown = sum(any(clean(payload).replace("\\x0a", "\n") in text for text in joined) for payload in PAYLOADS)
    assert shown >= len({sample["row"] for sample in told}) * 0.9 > 15
    assert "answer" in page.text
    assert not [char for char in made_page.html if not char.isprintable() and char not in "\n\u202f"]


def test_the_policy_allows_our_script_and_style_alone(demo: Shards) -> None:
    """The head's policy forbids everything, but for the two hashes, which are those of what stands in the page."""
    page = Reader(report_page(demo, TEXTS, "demo").html)
    policy = next(
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind, text in (("style", page.raw["style"][0]), ("script", page.raw["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_same_output_gives_the_same_page(demo: Shards) -> None:
    """Bytes do not depend on when the page is made."""
    assert report_page(demo, TEXTS, "demo") == report_page(open_shards(str(demo.out)), TEXTS, "demo")


def test_a_million_findings_fit(demo: Shards, tmp_path: Path) -> None:
    """Many rules, long texts, thousands of inputs and shards: the page stays under 5 MB."""
    manifest = copy.deepcopy(dict(demo.manifest))
    entry = manifest["inputs"][0]
    manifest["inputs"] += [entry | {"path": f"{'folder/' * 500}{number}.jsonl"} for number in range(3000)]
    found = {
        "severity": "warning", "path": "x" * 4000, "line": 1, "record": 0, "byte_offset": 0, "pointer": "/a" * 2000,
        "message": "m" * 9000, "hint": "", "value": "<" * 9000,
    }  # fmt: skip
    rules = [f"area.rule-{number}" for number in range(400)]
    report = {
        "counts": dict.fromkeys(rules, 2500),
        "findings": [found | {"rule": rule} for rule in rules for _ in range(6)],
    }
    for entry_ in demo.out.iterdir():
        (tmp_path / entry_.name).symlink_to(entry_)
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    manifest["files"] = relist(tmp_path, "report.json")["files"]
    page = report_page(Shards(tmp_path, manifest), TEXTS, "demo")
    assert len(page.html.encode()) < MOST_BYTES
    assert "1,000,000 findings" in Reader(page.html).text


def test_long_rows_fit(tmp_path: Path) -> None:
    """Rows of a hundred thousand tokens keep the beginning and end of each turn in the viewer."""
    data = tmp_path / "a.jsonl"
    record = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "word " * 60_000}]}
    data.write_text("".join(json.dumps(record | {"n": n}) + "\n" for n in range(3)), encoding="utf-8")
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=131072"]
    shards = made(tmp_path / "out", *words)
    page = report_page(shards, TEXTS, "out")
    assert len(page.html.encode()) < 300_000
    sample = json.loads(Reader(page.html).raw["script"][0])[0]
    answer = sample["examples"][0]["stretches"][-1]
    gaps = [token for token in answer["tokens"] if isinstance(token, int)]
    assert sum(gaps) + len(answer["tokens"]) - len(gaps) == answer["count"]


@pytest.mark.parametrize(
    "words",
    [
        ["stage=dpo", "dataset=demo_dpo"],
        ["stage=kto", "dataset=demo_kto"],
        ["stage=pt", "dataset=demo_text"],
        ["stage=sft", "dataset=demo_alpaca", "overlong=split"],
    ],
)
def test_every_kind_of_output_has_a_page(words: list[str], tmp_path: Path) -> None:
    """Preferences, verdicts, documents and split records."""
    base = [f"dataset_dir={DEMO}", f"model_name_or_path={TINY}", "template=llama3", "cutoff_len=48"]
    page = report_page(made(tmp_path / "out", *base, *words), TEXTS, "out")
    assert page.samples > 0
    assert Reader(page.html).text.count("✓") == 3


def test_without_a_tokenizer_the_page_has_no_samples(demo: Shards) -> None:
    """And says with which option it would."""
    manifest = json.loads((demo.out / "manifest.json").read_bytes())
    manifest["run"]["model_name_or_path"] = "/nowhere"
    page = report_page(Shards(demo.out, manifest), None, "demo")
    assert page.samples == 0
    assert "--tokenizer DIR" in page.html


def document(shards: Shards) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shards.out / "report.json").read_bytes())
    return found


def test_report_stats_and_manifest_agree(demo: Shards, hostile: Shards) -> None:
    """read = kept + rejected in report.json, and the same records in the manifest's ledger; findings and inputs too."""
    for shards in (demo, hostile):
        report, ledger = document(shards), shards.manifest["ledger"]
        assert report["totals"]["read"] == ledger["read"]
        assert report["totals"]["rejected"] == sum(ledger["rejected"].values())
        assert report["counts"] == shards.manifest["findings"]
        assert sum(entry["records"] for entry in shards.manifest["inputs"]) == ledger["read"]
        assert sum(split["tokens"] for split in shards.manifest["splits"].values()) == ledger["tokens"]
        assert sum(split["examples"] for split in shards.manifest["splits"].values()) == ledger["examples"]
