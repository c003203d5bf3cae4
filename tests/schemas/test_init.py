"""The published schemas are sound, self-contained, and their own examples pass them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

import schemas
from registry.rules import rules
from stages.formats.table import FORMATS


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_every_record_format_has_a_schema() -> None:
    assert set(FORMATS) <= set(schemas.names())


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_has_an_identity_a_title_and_a_description(name: str) -> None:
    schema = schemas.load(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for key in ("$id", "title", "description"):
        assert schema[key], key


@pytest.mark.parametrize("name", schemas.names())
def test_no_schema_refers_outside_its_own_file(name: str) -> None:
    for node in nodes(schemas.load(name)):
        reference = node.get("$ref")
        assert reference is None or not isinstance(reference, str) or reference.startswith("#")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_examples_pass_both_validators(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas.load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["examples"]
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)
        assert jsonschema_rs.is_valid(schema, example, offline=True)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_rule_that_a_schema_names_is_in_the_table(name: str) -> None:
    named = {rule for node in nodes(schemas.load(name)) for rule in node.get("x-rule", {}).values()}
    assert named <= set(rules())


def test_an_unknown_name_or_a_path_is_refused() -> None:
    for name in ("alpacca", "../pyproject", "alpaca/../alpaca"):
        with pytest.raises(KeyError):
            schemas.load(name)


def test_the_text_is_the_file() -> None:
    assert json.loads(schemas.text("alpaca")) == schemas.load("alpaca")
