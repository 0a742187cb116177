"""The loop for models whose loss is a mean."""

from typing import Any

import transformers


class Averaging(transformers.Trainer):  # type: ignore[misc]  # transformers has no types
    """Takes the mean of the parts of a step.

    Of a model whose `forward` takes any keyword, transformers' Trainer believes that it divides its loss by the count of a whole
    step, and adds the parts up; these models divide by the count of the part, so that two parts would weigh twice.
    """

    loss_is_scaled_for_ga = False

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.model_accepts_loss_kwargs = False
