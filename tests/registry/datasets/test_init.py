"""Data sets by name: what dataset_info.json means, and what its traps say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from registry.datasets import list_datasets, resolve
from registry.datasets.entry import split_parts
from registry.datasets.info_file import COLUMNS, KEYS, TAGS, load_dataset_info
from registry.datasets.types import Dataset, Fields
from registry.errors import UsageFault


def put(folder: Path, **entries: object) -> str:
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return str(folder)


def one(folder: Path, entry: dict[str, object], stage: str | None = "sft") -> Dataset:
    (data,) = resolve("d", put(folder, d={"file_name": "d.json", **entry}), stage=stage)
    return data


def problems(folder: Path, entry: object, stage: str | None = "sft") -> list[str]:
    with pytest.raises(UsageFault) as caught:
        resolve("d", put(folder, d=entry), stage=stage)
    return [problem.removeprefix(f"{folder}/dataset_info.json: d: ") for problem in caught.value.problems]


# --- the map ----------------------------------------------------------------------------------------------------------


def test_without_columns_and_tags_the_defaults_hold(tmp_path: Path) -> None:
    alpaca = one(tmp_path, {})
    assert alpaca.format == "alpaca"
    assert alpaca.files == (str(tmp_path / "d.json"),)
    assert alpaca.declared
    assert alpaca.fields is not None
    assert (alpaca.fields.prompt, alpaca.fields.query, alpaca.fields.response) == ("instruction", "input", "output")
    assert (alpaca.fields.system, alpaca.fields.history) == (None, None)
    sharegpt = one(tmp_path, {"formatting": "sharegpt"}).fields
    assert sharegpt == Fields(
        messages="conversations",
        role_tag="from",
        content_tag="value",
        user_tag="human",
        assistant_tag="gpt",
        observation_tag="observation",
        function_tag="function_call",
        system_tag="system",
    )


def test_what_columns_leaves_out_is_unset(tmp_path: Path) -> None:
    fields = one(tmp_path, {"columns": {"prompt": "q", "response": "a", "query": None}}).fields
    assert fields is not None
    assert (fields.prompt, fields.query, fields.response, fields.messages) == ("q", None, "a", None)


def test_what_tags_leaves_out_is_unset_and_said(tmp_path: Path) -> None:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    data = one(tmp_path, {"formatting": "sharegpt", "tags": tags})
    assert data.fields is not None
    assert (data.fields.role_tag, data.fields.system_tag) == ("role", None)
    assert data.notes[0].endswith(
        "tags leaves these unset, so such turns are errors: observation_tag, function_tag, system_tag"
    )


def test_tags_that_make_every_record_invalid_are_an_error(tmp_path: Path) -> None:
    entry = {"file_name": "d.json", "formatting": "sharegpt", "tags": {"role_tag": "r", "content_tag": "c"}}
    found = problems(tmp_path, entry)
    assert [problem.split(",")[0] for problem in found] == [
        "tags leaves out user_tag",
        "tags leaves out assistant_tag",
    ]
    assert '"user_tag": "human"' in found[0]


@pytest.mark.parametrize(
    ("entry", "column"),
    [
        ({"columns": {"response": "answer"}}, "prompt"),
        ({"columns": {"prompt": "q"}}, "response"),
        ({"columns": {}}, "prompt"),
        ({"formatting": "sharegpt", "columns": {"system": "s"}}, "messages"),
    ],
)
def test_columns_without_which_every_record_is_empty_are_an_error(
    tmp_path: Path, entry: dict[str, object], column: str
) -> None:
    assert problems(tmp_path, {"file_name": "d.json", **entry})[0].startswith(f"columns names no {column}")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"ranking": True, "columns": {"prompt": "chosen", "chosen": "chosen", "rejected": "rejected"}},
            'columns maps prompt and chosen to one key, "chosen"',
        ),
        (
            {"formatting": "openai", "columns": {"messages": "messages", "system": "messages"}},
            'columns maps messages and system to one key, "messages"',
        ),
        ({"columns": {"prompt": "text", "response": "out", "history": "text"}}, "columns maps prompt and history"),
        ({"formatting": "sharegpt", "columns": {"messages": "m", "kto_tag": "m"}}, "columns maps messages and kto_tag"),
        ({"columns": {"prompt": "a", "query": "a", "response": "a"}}, "columns maps prompt, query and response"),
        (
            {
                "formatting": "sharegpt",
                "tags": {"role_tag": "who", "content_tag": "who", "user_tag": "u", "assistant_tag": "a"},
            },
            'tags maps role_tag and content_tag to one key, "who"',
        ),
    ],
)
def test_one_key_cannot_be_mapped_twice(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    told = problems(tmp_path, {"file_name": "d.json", **entry}, stage=None)
    assert any(message in problem for problem in told), told


def test_columns_null_counts_as_left_out_with_a_note(tmp_path: Path) -> None:
    data = one(tmp_path, {"columns": None})
    assert data.fields == one(tmp_path, {}).fields
    assert "columns is null" in data.notes[0]


def test_openai_data_without_tags_uses_openai_keys(tmp_path: Path) -> None:
    fields = one(tmp_path, {"formatting": "openai"}).fields
    assert fields is not None
    assert (fields.messages, fields.role_tag, fields.observation_tag) == ("messages", "role", "tool")


# --- typos ------------------------------------------------------------------------------------------------------------


def test_every_mistake_of_an_entry_is_told_at_once_with_its_remedy(tmp_path: Path) -> None:
    entry = {
        "file_nam": "d.json",
        "formatting": "sharegtp",
        "ranking": "maybe",
        "num_sample": 5,
        "num_samples": 0,
        "columns": {"promt": "q", "response": 5},
        "tags": [],
        "split": "test[",
    }
    found = problems(tmp_path, entry)
    for part in [
        'file_nam: there is no such key; did you mean "file_name"?',
        'num_sample: there is no such key; did you mean "num_samples"?',
        'formatting sharegtp: is not one of alpaca, sharegpt, openai; did you mean "sharegpt"?',
        "ranking must be true or false",
        'columns promt: there is no such key; did you mean "prompt"?',
        "columns response: must be the name of a key in the records",
        "tags must be an object: our name -> your key",
        "says nowhere where its records are; add file_name",
        "split test[: must be a split such as train or test, or parts of one: train[:100], train[:50%]+train[90%:]",
        "num_samples must be a whole number above 0",
    ]:
        assert part in found


def test_keys_of_other_tools_are_ignored_with_a_note(tmp_path: Path) -> None:
    data = one(tmp_path, {"description": "mine", "file_sha1": "abc"})
    assert len(data.notes) == 1
    assert "description: means nothing here" in data.notes[0]


def test_ranking_as_text_is_read_as_meant_with_a_note(tmp_path: Path) -> None:
    columns = {"prompt": "q", "chosen": "c", "rejected": "r"}
    data = one(tmp_path, {"ranking": "true", "columns": columns}, "dpo")
    assert data.ranking is True
    assert 'ranking is the text "true"' in data.notes[0]


@pytest.mark.parametrize("entry", ["d.json", 5, None, []])
def test_an_entry_that_is_no_object_is_an_error(tmp_path: Path, entry: object) -> None:
    assert problems(tmp_path, entry)[0].startswith("must be an object")


# --- formats and stages -----------------------------------------------------------------------------------------------

PAIR = {"ranking": True, "columns": {"prompt": "q", "messages": "m", "chosen": "c", "rejected": "r"}}
LABEL = {"columns": {"prompt": "q", "response": "a", "messages": "m", "kto_tag": "k"}}


@pytest.mark.parametrize("formatting", ["alpaca", "sharegpt", "openai"])
def test_form_and_columns_give_the_record_format(tmp_path: Path, formatting: str) -> None:
    base: dict[str, object] = {"formatting": formatting}
    assert one(tmp_path, base).format == formatting
    assert one(tmp_path, {**base, **PAIR}, "dpo").format == f"{formatting}-dpo"
    assert one(tmp_path, {**base, **LABEL}, "kto").format == f"{formatting}-kto"
    assert one(tmp_path, {**base, **LABEL}, "predict").format == formatting


def test_text_alone_is_pretraining(tmp_path: Path) -> None:
    text = {"columns": {"prompt": "text"}}
    assert one(tmp_path, text, "pt").format == "pretrain"
    assert one(tmp_path, text, None).format == "pretrain"
    assert one(tmp_path, text, "predict").format == "alpaca"
    assert one(tmp_path, {}, "pt").format == "alpaca"


@pytest.mark.parametrize(
    ("entry", "stage", "fits"),
    [
        *[(PAIR, stage, stage in ("rm", "dpo", "orpo", "simpo")) for stage in ("rm", "dpo", "orpo", "simpo", "sft")],
        *[(PAIR, stage, False) for stage in ("pt", "kto", "predict", "ppo")],
        *[({}, stage, True) for stage in ("sft", "predict", "ppo", "grpo", "pt")],
        *[({}, stage, False) for stage in ("rm", "dpo", "orpo", "simpo", "kto")],
        (LABEL, "kto", True),
        (LABEL, "sft", True),  # the records tell: upstream drops the labelled ones and trains the others
    ],
)
def test_a_data_set_must_fit_the_stage(tmp_path: Path, entry: dict[str, object], stage: str, fits: bool) -> None:
    if fits:
        assert one(tmp_path, entry, stage)
    else:
        (problem,) = problems(tmp_path, {"file_name": "d.json", **entry}, stage)
        assert f"stage {stage}" in problem


def test_a_set_with_a_label_column_is_read_as_answers_in_sft(tmp_path: Path) -> None:
    assert one(tmp_path, LABEL, "sft").format == "alpaca"
    assert one(tmp_path, LABEL, "kto").format == "alpaca-kto"


def test_pairs_without_their_columns_are_an_error(tmp_path: Path) -> None:
    found = problems(tmp_path, {"file_name": "d.json", "ranking": True}, "dpo")
    assert [problem.split(",")[0] for problem in found] == ["columns names no chosen", "columns names no rejected"]


# --- where the records are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ({"file_name": "sub"}, ("{}/sub",)),
        ({"file_name": "./a/../b.json"}, ("{}/b.json",)),
        ({"file_name": "/abs/x.json"}, ("/abs/x.json",)),
        ({"file_name": "https://host/x.json"}, ("https://host/x.json",)),
        ({"file_name": "x.json", "cloud_file_name": "s3://bucket/x.json"}, ("s3://bucket/x.json",)),
    ],
)
def test_a_file_may_be_relative_absolute_a_folder_or_a_url(
    tmp_path: Path, entry: dict[str, object], files: tuple[str, ...]
) -> None:
    (data,) = resolve("d", put(tmp_path, d=entry), stage="sft")
    assert data.files == tuple(file.format(tmp_path) for file in files)


def test_hub_data_sets_are_known(tmp_path: Path) -> None:
    folder = put(
        tmp_path,
        hub={"hf_hub_url": "me/data", "file_name": "local.json", "subset": "en", "split": "test", "folder": "f"},
        mine={"file_name": "d.json"},
    )
    assert resolve("mine", folder)[0].name == "mine"
    assert list_datasets(folder)[0].files == ("hf:me/data",)
    hub = resolve("hub,mine", folder)[0]
    assert (hub.hub, hub.subset, hub.split, hub.folder, hub.files) == ("hf:me/data", "en", "test", "f", ())


def test_a_loading_script_is_refused(tmp_path: Path) -> None:
    assert "own code" in problems(tmp_path, {"script_url": "x"})[0]


def test_the_list_shows_each_set_and_whether_its_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    folder = put(tmp_path, a={"file_name": "a.json"}, b={"file_name": "b.json", "formatting": "openai"}, c={})
    rows = list_datasets(folder)
    assert [(row.name, row.format, row.exists) for row in rows] == [
        ("a", "alpaca", True),
        ("b", "openai", False),
        ("c", "", None),
    ]
    assert "add file_name" in rows[2].problems[0]


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_stripped_and_stray_commas_and_repetitions_noted(tmp_path: Path) -> None:
    folder = put(tmp_path, a={"file_name": "a.json"}, b={"file_name": "b.json"})
    found = resolve(" a , b,a,", folder)
    assert [data.name for data in found] == ["a", "b"]
    assert found[0].notes == (
        "dataset: a comma without a name beside it is ignored",
        "dataset: a is named 2 times and counts once",
    )


def test_unknown_names_are_told_together_with_the_nearest_ones(tmp_path: Path) -> None:
    folder = put(tmp_path, identity={"file_name": "a.json"}, alpaca_en={"file_name": "b.json"})
    with pytest.raises(UsageFault) as caught:
        resolve("identiy,alpaca_eng,xyzzy", folder)
    assert [problem.rpartition(" has no such data set")[2] for problem in caught.value.problems] == [
        '; did you mean "identity"?',
        '; did you mean "alpaca_en"?',
        "",
    ]


@pytest.mark.parametrize("names", ["", ",", []])
def test_no_name_at_all_is_an_error(tmp_path: Path, names: str | list[str]) -> None:
    with pytest.raises(UsageFault, match="names no data set"):
        resolve(names, put(tmp_path))


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_path_needs_no_dataset_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "my chats.jsonl.gz").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    found = resolve(["data/my chats.jsonl.gz", "data", "data/*.jsonl.gz", "https://host/a/set.json?x=1"], "nowhere")
    assert [data.files for data in found] == [
        ("data/my chats.jsonl.gz",),
        ("data",),
        ("data/*.jsonl.gz",),
        ("https://host/a/set.json?x=1",),
    ]
    assert [data.name for data in found] == ["my-chats", "data", "data-2", "set"]
    assert {(data.format, data.declared) for data in found} == {("auto", False)}
    assert resolve("data", "nowhere", record_format="sharegpt")[0].format == "sharegpt"


def test_a_path_is_looked_for_here_then_beside_the_data_then_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "data", "conf"):
        (tmp_path / name).mkdir()
    (tmp_path / "conf" / "x.json").write_text("[]")
    monkeypatch.chdir(tmp_path / "here")
    data, conf = str(tmp_path / "data"), str(tmp_path / "conf")
    assert resolve("x.json", data, base=conf)[0].files == (os.path.join(conf, "x.json"),)
    (tmp_path / "data" / "x.json").write_text("[]")
    assert resolve("x.json", data, base=conf)[0].files == (os.path.join(data, "x.json"),)
    (tmp_path / "here" / "x.json").write_text("[]")
    assert resolve("x.json", data, base=conf)[0].files == ("x.json",)


def test_a_name_of_the_list_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("a", put(tmp_path, a={"file_name": "x.json"}))[0].files == (str(tmp_path / "x.json"),)
    assert resolve("a", put(tmp_path, b={"file_name": "x.json"}))[0].files == ("a",)


def test_a_missing_file_and_a_missing_list_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r"dataset: no\.jsonl: there is no such file or folder"):
        resolve("no.jsonl", str(tmp_path))
    with pytest.raises(UsageFault, match=r"holds no dataset_info\.json"):
        resolve("name", str(tmp_path))
    with pytest.raises(UsageFault, match="is no folder"):
        resolve("name", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("folder", ["ONLINE", "REMOTE:me/data"])
def test_a_hub_as_data_folder_is_explained(folder: str) -> None:
    with pytest.raises(UsageFault, match="means data sets of a hub; download them"):
        resolve("me/set", folder)


# --- the file itself --------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_and_repeated_names_are_noted(tmp_path: Path) -> None:
    text = '\ufeff{"a": {"file_name": "1.json"}, "a": {"file_name": "2.json"}}'
    (tmp_path / "dataset_info.json").write_text(text, encoding="utf-8")
    (data,) = resolve("a", str(tmp_path))
    assert data.files == (str(tmp_path / "2.json"),)
    assert ["byte order mark" in data.notes[0], "stands twice" in data.notes[1]] == [True, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n  "b": }', r"dataset_info\.json:2:8: is not JSON"),
        (b'{"a": "\xff"}', r"dataset_info\.json:1: is not UTF-8"),
        (b"[]", "must hold one object"),
        (b"", r"dataset_info\.json:1:1: is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "dataset_info.json").write_bytes(data)
    with pytest.raises(UsageFault, match=message):
        load_dataset_info(str(tmp_path))


def test_the_published_schema_knows_the_same_keys_and_takes_our_own_files(fixtures: Path) -> None:
    schema = schemas.load("dataset_info")
    parts = schema["$defs"]
    assert parts["dataset"]["properties"].keys() == {*KEYS, "file_sha1"}
    assert tuple(parts["columns"]["properties"]) == COLUMNS
    assert tuple(parts["tags"]["properties"]) == TAGS
    validator = jsonschema_rs.Draft202012Validator(schema)
    for example in schema["examples"]:
        validator.validate(example)
    for path in fixtures.rglob("dataset_info.json"):
        validator.validate(json.loads(path.read_text(encoding="utf-8")))
    assert not validator.is_valid({"a": {"formatting": "sharegpt"}})
    assert not validator.is_valid({"a": {"file_name": "x", "ranking": 1}})


# --- part of a set ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", (0, 200)),
        ("train[:100]", (0, 100)),
        ("train[150:]", (150, 200)),
        ("train[10%:20%]", (20, 40)),
        ("train[-5:]", (195, 200)),
        ("train[:1000]", (0, 200)),
        ("train[5:2]", (5, 5)),
        ("train[1_00:]", (100, 200)),
        ("train[10:50%]", (20, 100)),
    ],
)
def test_a_part_of_the_training_split_can_be_named(split: str, expected: tuple[int, int]) -> None:
    assert split_parts(split, 200) == [expected]


def test_parts_of_the_training_split_are_joined_in_the_order_given() -> None:
    assert split_parts("train[:50%]+train[90%:]", 200) == [(0, 100), (180, 200)]
    assert split_parts("train[150:] + train", 200) == [(150, 200), (0, 200)]


@pytest.mark.parametrize("split", ["test", "training", "train+test", "train[a:b]", "train+", "train[_1:]", "train[5]"])
def test_local_files_have_no_other_split(split: str) -> None:
    with pytest.raises(UsageFault, match="local files have only `train`"):
        split_parts(split, 10)


@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 200), st.sampled_from(["", "%"]))
def test_a_part_is_always_within_the_set(start: int, stop: int, records: int, unit: str) -> None:
    for first, after in split_parts(f"train[{start}{unit}:{stop}{unit}]+train[{stop}{unit}:]", records):
        assert 0 <= first <= after <= records
