"""Template proof: does a template of ours write what the tokenizer's own chat template writes, token for token?

A fixed set of conversations is rendered both ways. Where they part, the first difference is shown as text:

    with-tools: the texts part after 41 tokens
      both   ...<|im_start|>system\\n
      ours   # Tools
      theirs You are a helpful assistant

The result goes into every manifest: a model trained on one text and served with the other answers worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.display import clean
from stages.core.findings import Note
from stages.render.jinja.renderer import AutoRenderer
from stages.render.jinja.token_spans import RenderedText, encode_auto

from .slot_renderer import Renderer

if TYPE_CHECKING:
    import tokenizers


EQUAL, TAIL, DIFFERS, OURS_REFUSES, THEIRS_REFUSES, NEITHER = (
    "equal", "equal-up-to-the-last-stop", "differs", "ours-refuses", "theirs-refuses", "neither",
)  # fmt: skip

_WINDOW = 12  # tokens shown of each side


class Refused(Exception):
    """Our template cannot write a conversation; the text says why."""


@dataclass(frozen=True)
class Difference:
    """Where two renderings part. at_token: number of equal tokens before. shared, ours, theirs: cleaned text around it;
    ours_token, theirs_token: the first tokens that differ, as the vocabulary writes them ("" past the end)."""

    at_token: int
    shared: str
    ours: str
    theirs: str
    ours_token: str
    theirs_token: str


@dataclass(frozen=True)
class CaseProof:
    """One conversation. verdict: one of the module's six words. reason: why a side refuses, else empty."""

    case: str
    verdict: str
    ours_tokens: int = 0
    theirs_tokens: int = 0
    difference: Difference | None = None
    reason: str = ""


@dataclass(frozen=True)
class TemplateProof:
    """verdict: equal (every case that both can write), differs, or nothing-to-compare. template: ours. theirs_sha256:
    of the tokenizer's template and special tokens. default_system: a system prompt that theirs brings, "" for
    none."""

    template: str
    verdict: str
    theirs_origin: str
    theirs_sha256: str
    default_system: str
    cases: tuple[CaseProof, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class Case(NamedTuple):
    """A conversation of the fixed set."""

    name: str
    conversation: Conversation


def _said(*texts: str, **fields: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[turn % 2], text) for turn, text in enumerate(texts)), **fields)  # type: ignore[arg-type]  # system and tools only


_TOOLS = (
    '[{"name": "tide", "description": "Gives the tide at a harbour", "parameters": {"type": "object", "properties":'
    ' {"harbour": {"type": "string", "description": "name of the harbour"}}, "required": ["harbour"]}}]'
)
_CALL = ToolCall("tide", {"harbour": "Brest"}, "a1B2c3D4e")
_CALL2 = ToolCall("tide", {"harbour": "Malo"}, "f5G6h7I8j")
_ASKED = Message("user", "How high is the tide in Brest?")
_RESULT = Message("observation", '{"height_m": 5.4}', call_id="a1B2c3D4e", name="tide")
_TOLD = Message("assistant", "It stands at 5.4 m.")

CASES = (
    Case("plain", _said("What is two and two?", "Four.")),
    Case("multi-turn", _said("What is two and two?", "Four.", "And three more?", "Seven.")),
    Case("with-system", _said("你好！", "你好，有什么可以帮你？", system="Answer in one short sentence.")),
    Case("white-space", _said("  Say it with blanks. ", "  One line.\n\n  Another.\n")),
    Case("thinking", _said("What is 7 * 8?", "<think>\n7 * 8 is 56.\n</think>\n\n56.")),
    Case("thinking-before", _said("What is 7 * 8?", "<think>\n7 * 8 is 56.\n</think>\n\n56.", "And 7 * 9?", "63.")),
    Case("with-tools", Conversation(_said("Hello.", "Hello!").messages, tools=_TOOLS)),
    Case(
        "tool-call",
        Conversation((_ASKED, Message("function", "", calls=(_CALL,)), _RESULT, _TOLD), tools=_TOOLS),
    ),
    Case(
        "two-calls",
        Conversation(
            (_ASKED, Message("function", "", calls=(_CALL, _CALL2)), _RESULT, _TOLD),
            system="You know the sea.",
            tools=_TOOLS,
        ),
    ),
)


def check(
    render_ours: Callable[[Conversation], list[int]],
    renderer: AutoRenderer,
    tokenizer: tokenizers.Tokenizer,
    cases: Sequence[Case] = CASES,
    *,
    name: str = "",
) -> TemplateProof:
    """Compares our token ids with those of the tokenizer's own template on every case.

    Args:
        render_ours: Gives the ids of a whole conversation; raises Refused where our template cannot write it.
        renderer: Renders the tokenizer's own template.
        tokenizer: The one that both ids belong to.
        cases: The conversations to compare.
        name: Our template's name, for the proof.

    Raises:
        UsageFault: The tokenizer's template works for no conversation at all.
    """
    texts = renderer.plain([case.conversation for case in cases])
    proofs = tuple(
        _case(case, render_ours, text, tokenizer, renderer.traits(bool(case.conversation.tools)).stops)
        for case, text in zip(cases, texts, strict=True)
    )
    compared = [proof for proof in proofs if proof.verdict in (EQUAL, TAIL, DIFFERS)]
    verdict = "nothing-to-compare"
    if compared:
        verdict = DIFFERS if any(proof.verdict == DIFFERS for proof in compared) else EQUAL
    auto = renderer.template
    return TemplateProof(name, verdict, auto.origin, auto.sha256, renderer.traits().default_system, proofs)


def _case(
    case: Case,
    render_ours: Callable[[Conversation], list[int]],
    text: RenderedText | Note,
    tokenizer: tokenizers.Tokenizer,
    stops: Sequence[str],
) -> CaseProof:
    ours: list[int] | None
    try:
        ours, why = render_ours(case.conversation), ""
    except Refused as refused:
        ours, why = None, str(refused)
    if isinstance(text, Note):
        verdict = NEITHER if ours is None else THEIRS_REFUSES
        return CaseProof(case.name, verdict, len(ours or ()), 0, None, clean(text.message))
    theirs = encode_auto([text], tokenizer)[0].ids
    if ours is None:
        return CaseProof(case.name, OURS_REFUSES, 0, len(theirs), None, clean(why))
    if ours == theirs:
        return CaseProof(case.name, EQUAL, len(ours), len(theirs))
    at = next((place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    if at is None:
        at = min(len(ours), len(theirs))
    return CaseProof(
        case.name,
        TAIL if _only_tail(tokenizer, ours, theirs, at, stops) else DIFFERS,
        len(ours),
        len(theirs),
        Difference(
            at,
            _text(tokenizer, ours[max(0, at - _WINDOW) : at]),
            _text(tokenizer, ours[at : at + _WINDOW]),
            _text(tokenizer, theirs[at : at + _WINDOW]),
            _token(tokenizer, ours, at),
            _token(tokenizer, theirs, at),
        ),
    )


def _only_tail(
    tokenizer: tokenizers.Tokenizer, ours: list[int], theirs: list[int], at: int, stops: Sequence[str]
) -> bool:
    """Whether the last answer and its stop are equal and only what no model ever writes differs: nothing is left of
    either side but white space or end tokens after a stop that both have."""
    shared = tokenizer.decode(ours[:at], skip_special_tokens=False).rstrip()
    if not any(shared.endswith(stop) for stop in stops):
        return False
    rest = [tokenizer.decode(side[at:], skip_special_tokens=True) for side in (ours, theirs)]
    return not any(text.strip() for text in rest)


def _text(tokenizer: tokenizers.Tokenizer, ids: list[int]) -> str:
    return visible(tokenizer.decode(ids, skip_special_tokens=False))


def visible(text: str) -> str:
    """Cleaned text on one line, with line breaks and tabs as `\\n` and `\\t`."""
    return clean(text.replace("\n", "\\n").replace("\t", "\\t"))


def _token(tokenizer: tokenizers.Tokenizer, ids: list[int], at: int) -> str:
    return clean(tokenizer.id_to_token(ids[at]) or "") if at < len(ids) else ""


def slot_ids(
    renderer: Renderer, tokenizer: tokenizers.Tokenizer, end_id: int | None = None
) -> Callable[[Conversation], list[int]]:
    """`render_ours` for a template of slots: each piece is tokenized on its own, as in training.

    Args:
        renderer: The template with its options and ids.
        tokenizer: Encodes the pieces that are texts.
        end_id: The EOS that an `efficient_eos` template appends, None for the others.
    """

    def ids(record: Conversation) -> list[int]:
        notes: list[Note] = []
        rendered = renderer.render(record, notes)
        if rendered is None:
            raise Refused(notes[-1].message if notes else "it cannot be written")
        found: list[int] = []
        for segment in rendered.segments:
            for piece in segment:
                if isinstance(piece, int):
                    found.append(piece)
                else:
                    found += tokenizer.encode(piece, add_special_tokens=False).ids
        return found if end_id is None else [*found, end_id]

    return ids


def prove(folder: str, name: str, compat: str, renderer: AutoRenderer, template_date: str) -> TemplateProof:
    """`check` for one of our templates by name, with the tokenizer of a folder.

    Args:
        folder: Where tokenizer.json lies.
        name: Our template.
        compat: The version of LLaMA-Factory whose template it is.
        renderer: Renders the folder's own template.
        template_date: The day that templates write, as 2026-11-21.

    Raises:
        UsageFault: An unknown template, a folder without tokenizer.json, or a token that the tokenizer lacks.
    """
    from registry.errors import UsageFault
    from registry.templates import load_template
    from stages.tokenize.backends import shared_reference
    from stages.tokenize.fitted import fitted_tokenizer

    from .slot_renderer import RenderOptions

    template = load_template(name, compat)
    _, fitted = fitted_tokenizer(folder, name, compat, ())
    if fitted.missing_tokens:
        missing = ", ".join(fitted.missing_tokens)
        raise UsageFault(f"template {name}: the tokenizer in {folder} has no token {missing}, which it inserts by id")
    reference = shared_reference(fitted.json_text)
    tokenizer = reference.tokenizer
    thinking = renderer.options.enable_thinking
    options = RenderOptions(enable_thinking=True if thinking is None else thinking, template_date=template_date)
    end_id = fitted.ids.eos if template.efficient_eos else None
    ours = slot_ids(Renderer(template, options, fitted.ids), tokenizer, end_id)
    return check(ours, renderer, tokenizer, name=name)
