"""A control token that a record's own text spells is reported at its place, or it is ordinary text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.cli import run
from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.findings import Note
from stages.core.token_texts import THOUGHT_TAGS, TokenTexts
from stages.formats.table import FORMATS
from stages.tokenize.backends import ReferenceEncoder
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import TokenizerFiles, load_tokenizer_files
from stages.validate.record import RecordValidator

ASSETS = os.environ.get("PREP_ASSETS", "")
TOKENIZERS = {  # conversations for each, 1,500 in all
    "qwen3": 78, "qwen2_5": 9, "llama3_1": 258, "llama2": 9, "gemma3": 300, "gptoss": 63, "deepseek_v3": 300,
    "mistral_nemo": 282, "phi3": 201,
}  # fmt: skip
ALPACA = Fields(
    prompt="instruction", query="input", response="output", system="system", tools="tools", history="history"
)
CHAT = {"messages": "messages", "tools": "tools", "role_tag": "role", "content_tag": "content"}


class Case(NamedTuple):
    """A record, and the text at each of its places. answers: those places where an answer's own words stand."""

    format: str
    record: dict[str, Any]
    texts: dict[str, str]
    answers: tuple[str, ...]


def definition(token: str) -> dict[str, Any]:
    inner = {f"k{token}": {"type": "string", "enum": [f"e{token}"], "description": f"d{token}"}}
    parameters = {"type": "object", "properties": inner}
    return {"name": f"f{token}", "description": f"D {token}", "parameters": parameters}


def alpaca(token: str) -> Case:
    record = {
        "system": f"s {token}", "tools": json.dumps([definition(token)], ensure_ascii=False),
        "history": [[f"q {token}", f"a{token} b"]], "instruction": f"i {token} x", "input": f"{token}p",
        "output": f"o {token} o",
    }  # fmt: skip
    texts = {f"/{key}": text for key, text in record.items() if isinstance(text, str)}
    texts |= {f"/history/0/{at}": text for at, text in enumerate(record["history"][0])}
    return Case("alpaca", record, texts, ("/history/0/1", "/output"))


def sharegpt(token: str) -> Case:
    call = json.dumps({"name": f"f{token}", "arguments": {f"k{token}": f"v {token}"}})  # escaped, as `json` does it
    turns = [
        ("system", f"s{token}"), ("human", f"h {token}"), ("function_call", call),
        ("observation", f"r {token}"), ("gpt", f"a {token} a"),
    ]  # fmt: skip
    record = {
        "conversations": [{"from": role, "value": text} for role, text in turns],
        "tools": json.dumps([definition(token)]),
    }
    texts = {f"/conversations/{index}/value": text for index, (_, text) in enumerate(turns)}
    unescaped = {"/conversations/2/value": f"f{token} v {token}", "/tools": f"D {token}"}
    return Case("sharegpt", record, texts | unescaped, ("/conversations/4/value",))


def openai(token: str) -> Case:
    arguments = json.dumps({f"k{token}": f"v {token}"}, ensure_ascii=False)
    call = {"id": f"c{token}", "type": "function", "function": {"name": f"f{token}", "arguments": arguments}}
    second = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": {f"k{token}": f"v{token}"}}}
    turns = [
        {"role": "system", "content": f"s {token}"},
        {"role": "user", "content": f"{token}"},
        {
            "role": "assistant",
            "content": f"b{token}",
            "reasoning_content": f"t {token} t",
            "tool_calls": [call, second],
        },
        {"role": "tool", "content": f"r {token}", "tool_call_id": f"c{token}"},
        {"role": "tool", "content": f"R{token}", "tool_call_id": "c2"},
        {"role": "assistant", "content": f"a\n{token}"},
    ]
    key = f"k{token}".replace("~", "~0").replace("/", "~1")
    calls, first = "/messages/2/tool_calls", definition(token)
    inner, at = first["parameters"]["properties"][f"k{token}"], f"/tools/0/parameters/properties/{key}"
    texts = {f"/messages/{index}/content": str(turn["content"]) for index, turn in enumerate(turns)} | {
        "/messages/2/reasoning_content": f"t {token} t", "/messages/3/tool_call_id": f"c{token}",
        f"{calls}/0/id": f"c{token}", f"{calls}/0/function/name": f"f{token}",
        f"{calls}/0/function/arguments": arguments, f"{calls}/1/function/arguments/{key}": f"v{token}",
        "/tools/0/name": first["name"], "/tools/0/description": first["description"], at: f"k{token}",
        f"{at}/enum/0": inner["enum"][0], f"{at}/description": inner["description"],
    }  # fmt: skip
    return Case("openai", {"messages": turns, "tools": [first]}, texts, ("/messages/2/content", "/messages/5/content"))


SHAPES = (alpaca, sharegpt, openai)


def validators(control: TokenTexts) -> dict[str, RecordValidator]:
    fields = {name: FORMATS[name].default_fields for name in ("sharegpt", "openai")} | {"alpaca": ALPACA}
    return {name: RecordValidator(name, given, "sft", Policy("sft"), control) for name, given in fields.items()}


def reported(validator: RecordValidator, record: dict[str, Any]) -> tuple[set[str], list[Note]]:
    notes: list[Note] = []
    assert validator.check(record, notes) is not None, notes
    return {note.pointer for note in notes if note.rule == "text.special-token"}, notes


def check_all(files: TokenizerFiles, tokens: list[str], *, split: bool) -> int:
    """Each token in every text of a record of every shape; how many places were reported."""
    fitted = fit(files, None)
    checks = validators(fitted.unsplit if split else fitted.control)
    given = ReferenceEncoder(fitted.json_text, split_special_tokens=split)
    bare = ReferenceEncoder(json.dumps({**json.loads(fitted.json_text), "added_tokens": []}))
    found = 0
    for token in tokens:
        for shape in SHAPES:
            case = shape(token)
            texts = list(case.texts.values())
            ids, ordinary = ([list(e.ids) for e in b.tokenizer.encode_batch(texts, add_special_tokens=False)]
                             for b in (given, bare))  # fmt: skip
            want = {at for at, own, plain in zip(case.texts, ids, ordinary, strict=True) if own != plain}
            want -= set(case.answers) if token in THOUGHT_TAGS else set()
            places, notes = reported(checks[case.format], case.record)
            assert places >= want, (token, case.format, want - places)
            if token.strip("▁"):  # what stands for blanks may come to the same ids without being added
                assert places == want, (token, case.format, places - want)
            if token in THOUGHT_TAGS and len(case.answers) == 1:  # one mark alone: its own rule says so
                assert case.answers[0] in {note.pointer for note in notes if note.rule == "think.unbalanced"}
            found += len(places)
    return found


def added(files: TokenizerFiles) -> list[str]:
    return [token["content"] for token in files.raw["added_tokens"]]


def spread(tokens: list[str], count: int) -> list[str]:
    """`count` of the tokens: all that are no numbered place holder, then others from first to last."""
    named = [token for token in tokens if not any(char.isdigit() for char in token)][:count]
    others = [token for token in tokens if token not in set(named)]
    left = max(count - len(named), 0)
    return named + (others[:: max(len(others) // left, 1)][:left] if left else [])


def test_every_added_token_in_every_text_is_reported_at_its_place(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    assert check_all(files, added(files), split=False) >= 800


def test_what_is_split_is_ordinary_text_without_a_finding(tiny: str) -> None:
    files = load_tokenizer_files(tiny)
    others = [token for token in added(files) if token not in THOUGHT_TAGS]
    assert check_all(files, others, split=True) == 0
    assert check_all(files, sorted(THOUGHT_TAGS), split=True) > 0, "the marks of a thought stay whole, and are reported"


@pytest.mark.slow
@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS names no folder with real tokenizers")
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_added_token_of_real_tokenizers_is_reported_or_ordinary(name: str, split: bool) -> None:
    files = load_tokenizer_files(str(Path(ASSETS) / "tok" / name))
    check_all(files, spread(added(files), TOKENIZERS[name] // 3), split=split)


@pytest.mark.parametrize("template", ["qwen", "llama3", "auto"])
def test_the_command_says_so_under_any_template(template: str, tiny: str, tmp_path: Path, capfdbinary: Any) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in Path(tiny).iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    raw = json.loads((model / "tokenizer.json").read_bytes())
    raw["added_tokens"].append(raw["added_tokens"][0] | {"content": "<call>", "id": 1088, "special": False})
    (model / "tokenizer.json").write_text(json.dumps(raw))
    own = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    (model / "chat_template.jinja").write_text(own + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    record = {"instruction": "Say <call>", "input": "", "output": "I say <call>"}
    (tmp_path / "a.json").write_text(json.dumps([record] * 3))
    words = ["validate", f"dataset={tmp_path / 'a.json'}", f"model_name_or_path={model}", f"template={template}"]
    for further, count in ((), 6), (("split_special_tokens=true",), 0):
        capfdbinary.readouterr()
        run([*words, *further, "--json"])
        found = json.loads(capfdbinary.readouterr().out)["counts"].get("text.special-token", 0)
        assert found == count, (template, further)
