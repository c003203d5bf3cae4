"""Templates see what transformers shows them, less what only an attacker would miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError, TemplateError

from stages.render.jinja.sandbox.environment import FILTERS, OutputTooLong, make_environment, render

CAP = 1 << 20


def rendered(source: str, **variables: object) -> str:
    return render(make_environment().from_string(source), variables, CAP)


def test_blocks_leave_no_white_space() -> None:
    assert rendered("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"


def test_tojson_is_plain_json_with_the_options_of_transformers() -> None:
    assert rendered("{{ x | tojson }}", x={"a": "<é&'>"}) == '{"a": "<é&\'>"}'
    assert rendered("{{ x | tojson(indent=2, sort_keys=true) }}", x={"b": 1, "a": 2}) == '{\n  "a": 2,\n  "b": 1\n}'
    assert rendered("{{ x | tojson(ensure_ascii=true, separators=(',', ':')) }}", x=["é", 1]) == '["\\u00e9",1]'


def test_loop_controls_and_generation_tags_are_accepted() -> None:
    assert rendered("{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}") == "13"
    assert rendered("a{% generation %}b{{ x }}{% endgeneration %}c", x=1) == "ab1c"


def test_the_date_is_the_run_s_and_never_the_clock() -> None:
    environment = make_environment("2020-02-29")
    text = render(environment.from_string("{{ strftime_now('%d %b %Y %H:%M') }}"), {}, CAP)
    assert text == "29 Feb 2020 00:00"


def test_a_malformed_date_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        make_environment("29.2.2020")


def test_raise_exception_ends_the_render_with_the_template_s_words() -> None:
    with pytest.raises(TemplateError, match="no such role"):
        rendered("{{ raise_exception('no such role') }}")


def test_namespace_and_dict_work_as_in_transformers() -> None:
    assert rendered("{% set ns = namespace(a=1) %}{% for i in [2, 3] %}{% set ns.a = i %}{% endfor %}{{ ns.a }}") == "3"
    assert rendered("{{ dict(a=1).a }}{{ dict.fromkeys(['x'], 2) | tojson }}") == '1{"x": 2}'
    with pytest.raises(SecurityError):
        rendered("{% set ns = namespace() %}{% set ns.__class__ = 1 %}")


@pytest.mark.parametrize("name", ["random", "attr", "pprint", "xmlattr", "urlize"])
def test_filters_of_chance_and_reflection_are_absent(name: str) -> None:
    assert name not in FILTERS
    with pytest.raises(TemplateError):
        rendered("{{ [1] | " + name + " }}")


@pytest.mark.parametrize("source", ["{{ lipsum() }}", "{{ messages.__class__.x }}", "{{ messages.append(1) }}"])
def test_what_is_not_allowed_fails(source: str) -> None:
    with pytest.raises(TemplateError):
        rendered(source, messages=[])


@pytest.mark.parametrize(
    "source",
    ["{{ 'A' * 10000000 }}", "{{ 2 ** 100000 }}", "{{ x * x }}", "{{ '%099999d' % 1 }}", "{{ [1] * 10000000 }}"],
)
def test_operators_that_could_eat_the_machine_are_checked_before_they_run(source: str) -> None:
    with pytest.raises(SecurityError):
        rendered(source, x=1 << 4000)


def test_ordinary_arithmetic_is_untouched() -> None:
    assert rendered("{{ '-' * 3 }}{{ 7 % 2 }}{{ 2 ** 10 }}{{ '%s=%d' % ('a', 1) }}{{ 3 * 4 }}") == "---11024a=112"


def test_output_is_capped() -> None:
    template = make_environment().from_string("{% for i in range(1000) %}0123456789{% endfor %}")
    assert len(render(template, {}, 10_000)) == 10_000
    with pytest.raises(OutputTooLong):
        render(template, {}, 9_999)


def test_same_text_as_transformers_for_every_good_template(fixtures: Path) -> None:
    """A user who compares with `apply_chat_template` sees the same bytes."""
    reference = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    environment = make_environment()
    messages = [
        {"role": "user", "content": " Was ist 2+2? <b>"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nVier 四"},
        {"role": "user", "content": "Und 3?"},
        {"role": "assistant", "content": "Drei.", "reasoning_content": "Zählen."},
    ]
    for path in sorted((fixtures / "jinja" / "good").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        if "strftime_now" in source:
            continue  # theirs is the clock
        variables = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
        theirs = reference._compile_jinja_template(source).render(tools=None, documents=None, **variables)
        assert render(environment.from_string(source), {"tools": None, "documents": None, **variables}, CAP) == theirs
