"""A hostile template costs its own render: it runs nothing, ends soon, stays small, and the next one is served."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.render.jinja.sandbox.process import Wall
from stages.render.jinja.sandbox.requests import Item, Limits, Outcome, Program

FIXTURES = Path(__file__).parents[5] / "fixtures" / "jinja"
MESSAGES = [{"role": "user", "content": "hi"}]
GOOD = "{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}"
SECRET = "canary-in-the-environment"


def cases(kind: str) -> list[Path]:
    found = sorted((FIXTURES / kind).glob("*.jinja"))
    assert found, f"no {kind} in the fixtures"
    return found


def attacked(source: str, limits: Limits | None = None) -> tuple[Outcome, Outcome]:
    """Outcome of the bad template, and of a good one rendered right after it."""
    with Wall(Program({"bad": source, "good": GOOD}), limits) as wall:
        bad, good = wall.render([Item("bad", MESSAGES), Item("good", MESSAGES)])
    return bad, good


def test_there_are_at_least_sixteen_escapes_and_nine_bombs() -> None:
    assert len(cases("escapes")) >= 16
    assert len(cases("bombs")) >= 9


@pytest.mark.parametrize("path", cases("escapes"), ids=lambda path: path.stem)
def test_an_escape_executes_and_reads_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREP_CANARY", SECRET)
    canary = tmp_path / "canary"
    bad, good = attacked(path.read_text(encoding="utf-8").replace("@CANARY@", str(canary)))
    assert bad.error in ("unsafe", "broken", "syntax"), bad
    assert not canary.exists()
    for leak in (SECRET, "<class", "root:", "<module"):
        assert leak not in bad.text
    assert good.text == "user: hi"


@pytest.mark.parametrize("path", cases("bombs"), ids=lambda path: path.stem)
def test_a_bomb_ends_within_its_limits_and_the_next_row_is_served(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    bad, good = attacked(source, Limits(cpu_s=0.3))
    elapsed = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu_s < 3, "the limit is on CPU time; starting two processes is in it"
    assert elapsed < 30, "only a machine that does much else takes this long"
    assert len(bad.text) <= 4 << 20
    assert good.text == "user: hi"


_ALL_BOMBS = """
import json, resource, sys
from stages.render.jinja.sandbox.process import Wall
from stages.render.jinja.sandbox.requests import Item, Limits, Program
for source in json.load(sys.stdin):
    with Wall(Program({"bad": source}), Limits(cpu_s=0.3)) as wall:
        wall.render([Item("bad", [{"role": "user", "content": "hi"}])])
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


def test_no_bomb_takes_more_than_512_mib() -> None:
    """Counted in a process of its own: a child's peak includes what its parent held when it was made."""
    sources = json.dumps([path.read_text(encoding="utf-8") for path in cases("bombs")])
    command = [sys.executable, "-c", _ALL_BOMBS]
    done = subprocess.run(command, input=sources, capture_output=True, text=True, check=True, timeout=120)
    peak = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)  # macOS counts bytes
    assert peak < 512 << 20


def test_the_limits_of_a_real_run_end_an_endless_template_within_three_seconds() -> None:
    start = os.times()
    bad, _ = attacked((FIXTURES / "bombs" / "nested-loops.jinja").read_text(encoding="utf-8"))
    end = os.times()
    assert bad.error == "limit"
    assert "CPU" in bad.message
    assert end.children_user + end.children_system - start.children_user - start.children_system < 3


def test_a_template_that_writes_nothing_odd_keeps_its_process() -> None:
    with Wall(Program({"good": GOOD})) as wall:
        assert [outcome.text for outcome in wall.render([Item("good", MESSAGES)] * 3)] == ["user: hi"] * 3
        assert wall.child is not None
        first = wall.child.pid
        wall.render([Item("good", MESSAGES)])
        assert wall.child.pid == first


def test_marks_are_reported_where_they_stood_and_taken_out() -> None:
    marked = [{"role": "user", "content": "\U000f0000hi\U000f0001"}]
    with Wall(Program({"good": GOOD, "long": "{{ messages[0].content | length }}"})) as wall:
        good, long = wall.render([Item("good", marked, marked=True), Item("long", marked, marked=True)])
    assert good == Outcome("user: hi", [(0, 6), (1, 8)])
    assert long == Outcome("2", None), "marks changed the text, so they prove nothing"


def test_errors_are_told_apart() -> None:
    program = Program(
        {
            "refused": "{{ raise_exception('not this one') }}",
            "broken": "{{ messages[0].content + 1 }}",
            "syntax": "{% if %}",
            "unsafe": "{{ messages.clear() }}",
        }
    )
    with Wall(program) as wall:
        outcomes = wall.render([Item(name, MESSAGES) for name in program.sources])
    assert [outcome.error for outcome in outcomes] == ["refused", "broken", "syntax", "unsafe"]
    assert outcomes[0].message == "not this one"


def test_messages_hold_no_address_so_that_two_runs_agree() -> None:
    with Wall(Program({"bad": "{{ [messages] | map(raise_exception) | list }}"})) as wall:
        message = wall.render([Item("bad", MESSAGES)])[0].message
    assert "0x" not in message


def test_a_record_longer_than_the_output_cap_still_renders() -> None:
    text = "x" * 300_000
    with Wall(Program({"good": GOOD}), Limits(output_chars=100_000)) as wall:
        outcome = wall.render([Item("good", [{"role": "user", "content": text}])])[0]
    assert outcome.text == "user: " + text


def test_a_batch_larger_than_the_pipes_does_not_block() -> None:
    messages = [{"role": "user", "content": "y" * 100_000}]
    with Wall(Program({"good": GOOD})) as wall:
        outcomes = wall.render([Item("good", messages)] * 50)
    assert all(len(outcome.text) == 100_006 for outcome in outcomes)


def test_a_process_killed_from_outside_is_replaced_without_blame() -> None:
    with Wall(Program({"good": GOOD})) as wall:
        wall.render([Item("good", MESSAGES)])
        assert wall.child is not None
        os.kill(wall.child.pid, signal.SIGKILL)
        wall.child.wait()
        assert wall.render([Item("good", MESSAGES)])[0].text == "user: hi"


def test_a_template_that_kills_row_after_row_ends_the_run_with_a_fault() -> None:
    bomb = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with (
        Wall(Program({"bad": bomb}), Limits(cpu_s=0.05, deaths_in_a_row=3)) as wall,
        pytest.raises(UsageFault, match="3 records in a row"),
    ):
        wall.render([Item("bad", MESSAGES)] * 5)


def test_the_child_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREP_CANARY", SECRET)
    with Wall(Program({"good": GOOD})) as wall:
        wall.render([Item("good", MESSAGES)])
        assert wall.child is not None
        environ = Path(f"/proc/{wall.child.pid}/environ")
        if not environ.exists():
            pytest.skip("this system has no /proc")
        assert SECRET.encode() not in environ.read_bytes()


@pytest.mark.parametrize("value", [1 << 80, -(1 << 63) - 1, float("inf"), None, 1.5, {"null": [True]}])
def test_numbers_reach_the_template_as_they_are(value: object) -> None:
    with Wall(Program({"show": "{{ messages[0].x | tojson }}"})) as wall:
        outcome = wall.render([Item("show", [{"x": value}])])[0]
    assert outcome.text == json.dumps(value)


def test_what_json_cannot_hold_is_an_outcome_and_not_a_crash() -> None:
    with Wall(Program({"good": GOOD})) as wall:
        segment, good = wall.render([Item("good", [{"role": "user", "content": "\ud800"}]), Item("good", MESSAGES)])
    assert segment.error == "broken"
    assert good.text == "user: hi"


@pytest.mark.parametrize(
    ("source", "text"),
    [("{{ '<b>a</b> &amp; c' | striptags }}", "a & c"), ("{{ 'x'.encode('idna').decode('idna') }}", "x")],
)
def test_a_legal_filter_needs_no_file(source: str, text: str) -> None:
    with Wall(Program({"default": source})) as wall:
        assert wall.render([Item("default", [])])[0].text == text


def test_templates_that_never_end_are_given_up_within_five_seconds() -> None:
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    doubling = "{% set n = namespace(t='ab') %}{% for a in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}"
    for source in (loops, doubling):
        began = time.monotonic()
        with Wall(Program({"default": source})) as wall, pytest.raises(UsageFault, match="in a row"):
            wall.render([Item("default", [])] * 20)
        assert time.monotonic() - began < 10  # twice the budget, for a busy machine
