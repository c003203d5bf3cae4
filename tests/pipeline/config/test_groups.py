"""The typed groups of settings hold what the table of keys says, and no default stands beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.config.groups import Group
from pipeline.config.keys import Key, keys

PIPELINE = Path(__file__).parents[3] / "pipeline"
ELSEWHERE = {"commands/train.py", "commands/predict.py"}  # of training, not of preparing
SETTLED = {"packing"}  # has no default in the table, since the stage gives it
TYPES = {
    "bool": "bool", "int": "int", "float": "float", "str": "str", "enum": "str", "path": "str", "bytes": "int",
    "share": "int | float", "dict": "Mapping[str, str]", "list": "tuple[str, ...]", "floats": "tuple[float, ...]",
}  # fmt: skip


def annotation(key: Key) -> str:
    """The type of a key's field, None with it where the table has no default or null is a value."""
    name = TYPES[key.types[0]]
    closed = name.startswith("tuple") or key.name in SETTLED or (key.default is not None and not key.nullable)
    return name if closed else f"{name} | None"


@pytest.mark.parametrize("group", Group.__constraints__, ids=lambda group: str(group.group))
def test_every_field_is_a_key_of_its_section_and_of_its_type(group: type) -> None:
    for item in fields(group):
        key = keys()[item.name]
        assert item.type == annotation(key), item.name
        assert key.group == group.group or key.status == "train", item.name  # type: ignore[attr-defined]  # of each group


def test_groups_hold_the_values_and_their_defaults() -> None:
    config = load_config(None, ["dataset=a,b", "interleave_probs=0.5,0.5", "mix_strategy=interleave_over"])
    assert (config.data.dataset, config.data.eval_dataset, config.data.max_samples) == (("a", "b"), (), None)
    assert (config.encode.cutoff_len, config.encode.template, config.encode.template_name) == (2048, None, "auto")
    assert config.mix.interleave_probs == (0.5, 0.5)
    assert (config.run.engine, config.run.cache, config.pack.packing) == ("local", True, False)
    assert config.with_values(cutoff_len=7).encode.cutoff_len == 7, "a changed value is seen"


def test_an_empty_name_is_the_default() -> None:
    config = load_config(None, {"output_dir": "", "model_revision": "", "default_system": ""})
    assert (config.train.output_dir, config.model.model_revision) == ("trainer_output", "main")
    assert config.encode.default_system == "", "an empty system prompt means that there is none"


def second_defaults(text: str) -> Iterator[str]:
    """Every `or <literal>` behind what reads a configuration."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.BoolOp) or not isinstance(node.op, ast.Or):
            continue
        read, literal = ast.unparse(node.values[0]), node.values[-1]
        reads = "config." in read and not read.endswith("config.path")  # the file itself is no key
        if reads and isinstance(literal, ast.Constant) and literal.value:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", sorted(PIPELINE.rglob("*.py")), ids=lambda path: str(path.relative_to(PIPELINE)))
def test_no_default_stands_beside_the_table(path: Path) -> None:
    if str(path.relative_to(PIPELINE)) not in ELSEWHERE:
        assert list(second_defaults(path.read_text(encoding="utf-8"))) == []


def test_a_planted_default_is_found() -> None:
    assert list(second_defaults("cutoff = config.encode.cutoff_len or 2048"))
    assert list(second_defaults("name = plan.config.text('template') or 'auto'"))
