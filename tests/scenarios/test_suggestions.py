"""Every command that prep suggests can be copied: what hints, notes and next steps name is run, and is not refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS, run

ROOT = Path(__file__).parents[2]
DEMO = "fixtures/demo"
SFT = f"{DEMO}/sft.yaml"
MODEL = "model_name_or_path=fixtures/tiny"
COMMAND = rf"prep (?:{'|'.join(COMMANDS)})\b"
QUOTED = re.compile(rf"`({COMMAND}[^`]*)`")
BARE = re.compile(rf"(?:^|: |; |next:|or )\s*({COMMAND}.*?)(?=   |; |, or: |\)$| prints what | shows | lists |$)")

# what a person puts in the place of a word in capitals
IN_PLACE = {
    "DIR": "fixtures/tiny", "NAME": "qwen3", "RULE": "role.unknown", "IN": f"{DEMO}/alpaca.jsonl", "CONFIG.yaml": SFT,
    "FORMAT": "alpaca", "FILE": f"{DEMO}/alpaca.jsonl", "FOLDER": DEMO, "SUBJECT": "rules",
}  # fmt: skip

MIXED = "mixed.jsonl"
RUNS = (
    # notes and next steps
    ["validate", DEMO],
    *(["validate", f"{DEMO}/{name}.jsonl"] for name in ("alpaca", "sharegpt", "openai", "dpo", "kto", "text")),
    ["validate", f"{DEMO}/kto.jsonl", "--stage", "kto"],
    ["validate", f"{DEMO}/dpo.jsonl", "--stage", "orpo"],
    ["validate", DEMO, "--stage", "dpo"],
    ["validate", "fixtures/edge-cases.jsonl"],
    ["pack", SFT, "-o", "OUT"], ["pack", SFT, "-o", "kept"], ["pack", SFT, "-o", "kept"],
    ["pack", SFT, "-o", "OUT/with space", "dataset=demo_alpaca", "rules={text.special-token: error}"],
    ["pack", SFT, "-o", "OUT", "dataset=demo_dpo", "stage=dpo"],
    ["pack", SFT, "-o", "OUT", "dataset=demo_kto", "stage=kto", "--strict"],
    ["pack", SFT, "-o", "OUT", "dataset=demo_text", "stage=pt", "--workers", "1"],
    ["pack", f"dataset={DEMO}/alpaca.jsonl", MODEL, "template=qwen3", "-o", "OUT"],
    ["pack", f"dataset={DEMO}/alpaca.jsonl", MODEL, "template=qwen3", "train_from_scratch=true", "-o", "OUT"],
    ["pack", "--dataset", f"{DEMO}/kto.jsonl", "--stage", "kto", MODEL, "template=qwen3", "train_from_scratch=true",
     "-o", "OUT"],
    ["pack", f"dataset={MIXED}", MODEL, "template=qwen3", "train_from_scratch=true", "max_rejected=0.9", "-o", "OUT"],
    ["pack", f"dataset={MIXED}", MODEL, "template=qwen3", "train_from_scratch=true", "max_rejected=0", "-o", "OUT"],
    # refusals
    ["pack", SFT, "dataset=demo_kto", "-o", "OUT"],
    ["pack", SFT, "dataset=demo_dpo", "-o", "OUT"],
    ["pack", SFT, "dataset=demo_dpo", "stage=dpo", "do_predict=true", "do_train=false", "-o", "OUT"],
    ["pack", SFT, "template=qwne3", "-o", "OUT"],
    ["pack", SFT, "dataset=demo_alpca", "-o", "OUT"],
    ["pack", SFT, "rules={no.rule: off}", "-o", "OUT"],
    ["pack", f"{DEMO}/alpaca.jsonl", "-o", "OUT"],
    ["pack", SFT, "profile=oopenai", "-o", "OUT"],
    ["validate"], ["validate", "demo_kto"], ["validate", SFT, f"{DEMO}/kto.jsonl"],
    ["inspect"], ["inspect", f"{DEMO}/alpaca.jsonl"], ["inspect", "OUT"], ["stats", f"{DEMO}/alpaca.jsonl"],
    ["verify", DEMO], ["report", DEMO], ["why", DEMO], ["trace", DEMO, "--row", "0"],
    ["explain"], ["explain", "rule.unknown"], ["list"], ["list", "rule"], ["list", "formats", "--markdown"],
    ["list", "formats", "--area", "tools"], ["schema"], ["schema", "alpacca"],
    ["convert"], ["convert", "alpaca→openai"], ["convert", "alpaca→opnai", f"{DEMO}/alpaca.jsonl", "-o", "OUT"],
    ["template"], ["template", "show"], ["template", "show", "qwne3"], ["template", "check", "qwen3"],
    ["validate", f"{DEMO}/alpaca.jsonl", "--profile", "openai"],
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the fixtures to work in."""
    folder = tmp_path_factory.mktemp("suggestions")
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    good = [json.dumps({"instruction": f"Say {n}.", "output": f"{n}"}) for n in range(9)]
    (folder / MIXED).write_text("\n".join([*good, json.dumps({"instruction": "Say.", "output": ""})]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def suggestions(text: str) -> set[str]:
    """The commands in what a run has printed."""
    whole = " ".join(line.strip() for line in text.splitlines())
    found = {match[1] for match in QUOTED.finditer(whole)}
    for line in text.splitlines():
        found |= {match[1].strip() for match in BARE.finditer(QUOTED.sub("", line.strip()))}
    # the line of a command's usage is no suggestion
    return {command for command in found if len(command.split()) > 2 and "[OPTIONS]" not in command}


def copied(command: str, out: Path) -> list[str]:
    """A suggested command as it is run: words in capitals filled in, training not started."""
    name, *words = shlex.split(re.sub(r"(dataset_dir[ =])DIR", rf"\1{DEMO}", command))[1:]
    filled = IN_PLACE | {"OUT": f"{out}.jsonl" if name == "convert" else str(out)}
    words = [re.sub(r"^(\w+=)?([A-Z]+(?:\.yaml)?)$", lambda m: f"{m[1] or ''}{filled.get(m[2], m[2])}", word)
             for word in words]  # fmt: skip
    return [name, *words, "--dry-run"] if name in ("train", "predict") else [name, *words]


def test_the_commands_that_are_suggested_are_not_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the run itself found nothing wrong, they find nothing wrong either."""
    refused, tried = [], set()
    for number, words in enumerate(RUNS):
        out = tmp_path / f"out{number}"
        own = run([word.replace("OUT", str(out)) for word in words])
        said = "\n".join(capsys.readouterr())
        for command in sorted(suggestions(said)):
            tried.add(command.split()[1])
            code = run(copied(command, tmp_path / f"made{number}"))
            if code not in (0, 1 if own else 0):
                refused.append(f"{' '.join(words)}\n  suggests {command}\n  {code}: {capsys.readouterr().err.strip()}")
            capsys.readouterr()
    assert not refused, "\n" + "\n".join(refused)
    assert tried >= {"validate", "pack", "train", "inspect", "explain", "list", "why"}


def test_suggestions_are_found_wherever_they_stand() -> None:
    said = "hint: `prep list rules` shows them\nto check: prep validate dataset=a\nnext: prep inspect OUT   see it\n"
    assert suggestions(said) == {"prep list rules", "prep validate dataset=a", "prep inspect OUT"}
    assert suggestions("run `prep pack` again\nhint: prep train [OPTIONS] WORDS") == set()


def test_pack_without_a_file_suggests_words_alone(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"dataset={DEMO}/alpaca.jsonl", MODEL, "template=qwen3"]
    assert run(["pack", *words, "train_from_scratch=true", "-o", str(tmp_path / "out"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"prep train {' '.join(words)} train_from_scratch=true tokenized_path={tmp_path / 'out'}" in said
    assert run(["pack", *words, "-o", str(tmp_path / "other"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "training is not possible yet: fixtures/tiny: a model config but no weights" in said
    assert "prep train" not in said


def test_a_stage_that_was_given_is_not_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", SFT, "dataset=demo_dpo", "stage=dpo"]) == 2
    said = capsys.readouterr().err
    assert "name a data set without ranking" in said and "use stage dpo" not in said
