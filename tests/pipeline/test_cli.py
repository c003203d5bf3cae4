"""What a person types wrong is answered in one form: what is wrong, and what to type instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import COMMANDS, run


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a command line."""
    code = run(words)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        (["validat", "x"], "there is no command 'validat'; did you mean \"validate\"?", "prep --help"),
        (["verify"], "OUT is not given", "prep verify [OPTIONS] OUT"),
        (["pack", "--workers", "0"], '--workers: "0" is not a whole number of at least 1', "prep pack --help"),
        (["template", "shw"], 'there is no prep template shw; did you mean "show"?', "prep template --help"),
        (["list"], "what to list is not given", "prep list SUBJECT; one of rules,"),
        (["list", "temples"], 'did you mean "templates"?', "prep list SUBJECT; one of rules,"),
        (["list", "rules", "--area", "rolle"], 'did you mean "role"?', "the areas: bytes"),
        (["list", "models", "--area", "role"], "only rules have areas", "prep list rules --area"),
        (["explain"], "which rule is not given", "prep list rules"),
        (["schema"], "which schema is not given", "sharegpt-kto"),
        (["pack"], "model_name_or_path: is missing", "prep pack CONFIG.yaml"),
        (["pack", "cutoff-len=many"], 'cutoff_len: "many" is not a whole number', "prep schema config"),
        (["validate", "nothing"], "nothing: no such file or folder", "dataset=nothing"),
        (["validate", "-"], "not read from a pipe", "write them to a file"),
        (["convert"], "nothing says what to convert", "sharegpt→alpaca"),
        (["convert", "sharegpt-"], "the shell took `->`", "sharegpt:FORMAT"),
        (["convert", "sharegpt:alpaca", "x.jsonl"], "where to write is not given", "-o OUT"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(
    words: list[str], says: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, err = answer(words, capsys)
    assert code == 2
    assert all(line.startswith(("prep: ", "  hint: ")) for line in err.splitlines()), err
    assert says in err
    assert hint in err.split("  hint: ")[1]


def test_a_folder_or_a_missing_file_names_the_configurations_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "sft.yaml").write_text("stage: sft\n")
    assert answer(["pack", "runs"], capsys) == (
        2, "prep: runs: is a folder; a configuration file (.yaml) is wanted\n  hint: runs holds sft.yaml\n",
    )  # fmt: skip
    code, err = answer(["train", "runs/stf.yaml"], capsys)
    assert code == 2
    assert 'did you mean "sft.yaml"?' in err and "runs holds sft.yaml" in err


def test_an_empty_model_is_a_missing_model(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not the folder of the configuration file."""
    code, err = answer(["pack", str(fixtures / "demo" / "sft.yaml"), "model_name_or_path="], capsys)
    assert (code, err.splitlines()[0][:40]) == (2, "prep: model_name_or_path: is missing: th")


def test_validate_takes_a_json_configuration_and_a_json_record(
    fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object is a configuration when its keys are settings, and a record when they are not."""
    settings = tmp_path / "run.json"
    settings.write_text(f'{{"dataset": "{fixtures}/demo/alpaca.jsonl", "stage": "sft"}}')
    assert run(["validate", str(settings)]) == 0
    assert "12 records read" in capsys.readouterr().out
    record = tmp_path / "record.json"
    record.write_text('{"instruction": "Hi", "input": "", "output": "Hello."}')
    assert run(["validate", str(record)]) == 0
    assert "1 record read" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["ftp://bucket/out", "s3:/bucket/out"])
def test_an_output_that_is_no_url_of_ours(
    out: str, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not become a folder called `s3:`."""
    monkeypatch.chdir(tmp_path)
    code, err = answer(["pack", str(fixtures / "demo" / "sft.yaml"), "-o", out], capsys)
    assert code == 2 and f"prep: {out}: " in err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_files_is_reported_in_short(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a file, with its format; how that was found, once for all files that agree; the maps that lie beside."""
    assert run(["validate", str(fixtures / "demo")]) == 0
    out = capsys.readouterr().out
    assert "alpaca.jsonl: alpaca, 12 read, 0 rejected" in out
    assert out.count("the records have") == 6
    assert f"\n  prep validate dataset=demo_kto dataset_dir={fixtures / 'demo'} stage=kto\n" in out


def test_list_takes_one_or_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "format"]) == run(["list", "formats"]) == 0
    out = capsys.readouterr().out
    assert out[: len(out) // 2] == out[len(out) // 2 :]


@pytest.mark.parametrize(
    ("words", "shows"),
    [
        (["help"], "First steps:"), (["help", "pack"], "prep pack [OPTIONS]"), (["version"], "prep, version"),
        (["-V"], "prep, version"), (["env"], "core "),
    ],
)  # fmt: skip
def test_words_of_other_programs_are_understood(
    words: list[str], shows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(words)
    assert shows in capsys.readouterr().out


def test_help_shows_every_command_first_steps_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in COMMANDS)
    assert "First steps:" in out and "Exit codes:" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["chat", "webui", "api", "webchat", "eval"])
def test_a_command_of_llama_factory_that_is_not_here_is_answered_with_what_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.cli import COMMANDS, run

    assert run([name, "config.yaml"]) == 2
    told = capsys.readouterr().err
    assert f"there is no command '{name}'" in told and "did you mean" not in told
    assert "prep " in told
    named = {words.split()[0].strip("`.,;") for words in told.split("prep ")[1:]}
    assert named & set(COMMANDS)
