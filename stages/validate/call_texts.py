"""The texts inside calls and thoughts, which the checks of texts and the digest of a record take in."""

from __future__ import annotations

from stages.core.conversation import Conversation, Message

_ONLY_TEXTS = frozenset({str})


def call_texts(found: Conversation) -> list[str]:
    """The texts inside all calls and thoughts of a conversation, those of its answers last."""
    texts: list[str] = []
    for message in found.messages:
        if message[3] or message[5]:
            texts += texts_of_calls(message)
    for answer in (found.chosen, found.rejected):
        if answer is not None:
            texts += texts_of_calls(answer)
    return texts


def texts_of_calls(message: Message) -> list[str]:
    """The texts inside a message's calls and thought: names and every string of the arguments."""
    texts = [message.reasoning] if message.reasoning else []
    for name, arguments, _ in message.calls:
        texts.append(name)
        if type(arguments) is dict and _ONLY_TEXTS.issuperset(map(type, arguments.values())):
            texts += arguments
            texts += arguments.values()
            continue
        stack: list[object] = [arguments]
        while stack:
            node = stack.pop()
            if isinstance(node, str):
                texts.append(node)
            elif isinstance(node, dict):
                stack.extend(reversed(list(node.values())))
                stack.extend(reversed(list(node)))
            elif isinstance(node, list):
                stack.extend(reversed(node))
            else:
                texts.append(repr(node))
    return texts
