"""The balance loss of a mixture of experts: off unless `moe_aux_loss_coef` is set, as in LLaMA-Factory.

The trainers read it from the model's configuration and write to it; what is saved is the base model's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from registry.errors import UsageFault

_NAMES = ("output_router_logits", "router_aux_loss_coef")


def set_router_loss(model: Any, weight: float | None) -> dict[str, Any]:
    """Switch the balance loss on with a weight, or off.

    Args:
        model: Its configuration is changed.
        weight: None or 0 for off.

    Returns:
        The configuration's own values, for `own_router_settings`.

    Raises:
        UsageFault: A weight for a model without a router.
    """
    config = model.config.get_text_config()
    if weight and not hasattr(config, _NAMES[0]):
        raise UsageFault(f"moe_aux_loss_coef: {type(model).__name__} has no router that a loss could balance")
    own = {name: getattr(config, name) for name in _NAMES if hasattr(config, name)}
    if _NAMES[0] in own:
        config.output_router_logits = bool(weight)
    if weight and _NAMES[1] in own:
        config.router_aux_loss_coef = weight
    return own


@contextmanager
def own_router_settings(model: Any, own: dict[str, Any]) -> Iterator[None]:
    """The model with its configuration's own values inside, with the run's after."""
    config = model.config.get_text_config()
    run = {name: getattr(config, name) for name in own}
    for name, value in own.items():
        setattr(config, name, value)
    try:
        yield
    finally:
        for name, value in run.items():
            setattr(config, name, value)
