"""The proof says whether ours and the tokenizer's own template agree, and shows the first place where they do not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from registry.errors import UsageFault
from registry.templates import load_template
from stages.core.conversation import Conversation
from stages.render.jinja.chat_template import load_auto
from stages.render.jinja.renderer import AutoRenderer
from stages.render.parity import CASES, Refused, TemplateProof, check, prove, visible
from stages.render.slots_to_jinja import to_jinja

COMPAT = "llamafactory-0.9.6"
DATE = "2026-11-21"


def folder_with(tmp_path: Path, tiny: str, source: str) -> str:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tiny) / name, tmp_path / name)
    (tmp_path / "chat_template.jinja").write_text(source, encoding="utf-8")
    return str(tmp_path)


def proof_of(folder: str, name: str) -> TemplateProof:
    with AutoRenderer(load_auto(folder)) as renderer:
        return prove(folder, name, COMPAT, renderer, DATE)


def test_a_template_equals_its_own_export(tmp_path: Path, tiny: str) -> None:
    folder = folder_with(tmp_path, tiny, to_jinja(load_template("llama3"), template_date=DATE).source)
    proof = proof_of(folder, "llama3")
    verdicts = {case.case: case.verdict for case in proof.cases}
    assert verdicts.pop("white-space") in ("equal", "differs"), "slots are tokenized apart: blanks may join the header"
    assert set(verdicts.values()) == {"equal"}


def test_the_first_difference_is_shown_as_text(tmp_path: Path, tiny: str) -> None:
    source = to_jinja(load_template("chatml"), template_date=DATE).source
    folder = folder_with(tmp_path, tiny, source.replace("assistant\\n", "helper\\n"))
    proof = proof_of(folder, "chatml")
    assert proof.verdict == "differs"
    plain = proof.cases[0]
    assert plain.verdict == "differs"
    assert plain.difference is not None
    assert plain.difference.shared.endswith("<|im_start|>")
    assert plain.difference.ours.startswith("assistant")
    assert plain.difference.theirs.startswith("helper")
    assert plain.difference.ours_token != plain.difference.theirs_token


def test_an_end_that_only_one_side_writes_is_no_difference(tmp_path: Path, tiny: str) -> None:
    source = to_jinja(load_template("chatml"), template_date=DATE).source
    folder = folder_with(tmp_path, tiny, source + "{{ '<|endoftext|>' }}")
    assert proof_of(folder, "chatml").cases[0].verdict == "equal-up-to-the-last-stop"


def test_what_a_side_cannot_write_is_reported_and_not_compared(tmp_path: Path, tiny: str) -> None:
    source = (
        "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('two roles only') }}"
    )
    source += "{% endif %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    tokenizer = Tokenizer.from_file(str(Path(tiny) / "tokenizer.json"))

    def ours(record: Conversation) -> list[int]:
        if record.tools:
            raise Refused("no tools here")
        return tokenizer.encode("x").ids

    with AutoRenderer(load_auto(folder_with(tmp_path, tiny, source))) as renderer:
        proof = check(ours, renderer, tokenizer, name="x")
    cases = {case.case: case for case in proof.cases}
    assert cases["with-system"].verdict == "theirs-refuses"
    assert "two roles only" in cases["with-system"].reason
    assert cases["with-tools"].verdict == "ours-refuses"
    assert cases["tool-call"].verdict == "neither"
    assert proof.verdict == "differs"


def test_the_proof_is_plain_json_with_what_the_manifest_needs(tmp_path: Path, tiny: str) -> None:
    folder = folder_with(tmp_path, tiny, to_jinja(load_template("qwen"), template_date=DATE).source)
    written = json.loads(json.dumps(proof_of(folder, "qwen").as_dict()))
    assert written["template"] == "qwen"
    assert written["default_system"].startswith("You are Qwen")
    assert len(written["theirs_sha256"]) == 64
    assert [case["case"] for case in written["cases"]] == [case.name for case in CASES]


def test_a_token_that_the_tokenizer_lacks_is_a_usage_fault(tmp_path: Path, tiny: str) -> None:
    folder = folder_with(tmp_path, tiny, to_jinja(load_template("qwen"), template_date=DATE).source)
    token = load_template("yayi").tokens()[0]
    path = Path(folder) / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace(token, "<|another|>"), encoding="utf-8")
    with pytest.raises(UsageFault, match="no token"):
        proof_of(folder, "yayi")


def test_control_characters_of_a_tokenizer_never_reach_the_screen() -> None:
    assert visible("a\n\x1b[31mb\t") == "a\\n\\x1b[31mb\\t"


ASSETS = os.environ.get("PREP_ASSETS", "")


@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS names no folder with real tokenizers")
def test_qwen_equals_qwen2_5_s_own_template_in_every_case() -> None:
    proof = proof_of(str(Path(ASSETS) / "tok" / "qwen2_5"), "qwen")
    assert {case.verdict for case in proof.cases} == {"equal"}
