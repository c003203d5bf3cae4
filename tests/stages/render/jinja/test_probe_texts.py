"""Probes: texts are compared without cutting a token in two, and endings are read from what follows an answer."""

from __future__ import annotations

from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.probe_texts import Ending, Probes, Seen


def probes(*added: str, eos: str = "") -> Probes:
    return Probes(AutoTemplate({"default": ""}, {"eos_token": eos} if eos else {}, added), lambda items: [], "default")


def test_a_common_start_and_end_cut_no_token() -> None:
    """`<|end|>` and `<|eot|>` share two characters on either side, which belong to neither."""
    probe = probes("<|end|>", "<|eot|>")
    assert probe.common("a<|end|>", "a<|eot|>") == "a"
    assert probe.common_end("<|end|>b", "<|eot|>b") == "b"
    assert probe.common("a<|end|>x", "a<|end|>y") == "a<|end|>"


def test_what_stands_around_the_turns() -> None:
    """Between the words of two turns, and behind the last ones."""
    seen = Seen("<u>Hi<e><a>Yes<e>", [(3, 5), (11, 14)])
    assert (seen.before(1), seen.after(0), seen.after(1)) == ("<e><a>", "<e><a>", "<e>")


def test_the_ending_is_the_token_that_both_turns_share() -> None:
    """The EOS before any other; a token that begins turns ends none."""
    probe = probes("<e>", "<u>", "<x>", eos="<e>")
    assert probe.endings(" <e>\n<u>", " <e>\n", {"<u>"}) == (Ending("<e>", " "),) * 2
    assert probe.endings("<u>", "", {"<u>"}, question="<u>") == (Ending(), Ending())


def test_headers_are_what_the_generation_prompt_adds() -> None:
    """Nothing added: the last token of the turn stands in for it."""
    probe = probes("<e>", "<a>")
    assert probe.headers("<e><a>", "<e>", "<e><a>", "<e>") == ["<a>"]
    assert probe.headers("x<a>", "x<a>", "x<a>", "") == ["<a>"]
