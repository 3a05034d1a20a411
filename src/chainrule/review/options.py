"""What a check is told beside the code and its arguments."""

from __future__ import annotations

from typing import Any

__all__ = ["Options"]


class Options:
    """What a check is told beside the code and its arguments."""

    def __init__(self, **given: Any) -> None:
        self.loss: Any = given.pop("loss", None)
        self.loss_gradient: Any = given.pop("loss_gradient", None)
        self.forward: Any = given.pop("forward", None)
        self.method: str | None = given.pop("method", None)
        self.rate: float | None = given.pop("learning_rate", None)
        self.named: dict[str, Any] = given
