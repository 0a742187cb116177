"""A model of the transformers library taken apart: its body, and its head as a module of its own."""

from typing import Any


def split(model: Any) -> tuple[Any, Any]:
    """The body, and what computes the model's outputs of the body's last hidden states (1, tokens, width): a pooler belongs to it.

    The model must not be used any more.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    body = getattr(model, model.base_model_prefix, model)
    is_bare = body is model
    pooler = None if is_bare else getattr(body, "pooler", None)
    if hasattr(body, "pooler"):
        body.pooler = None

    class Computed(torch.nn.Module):  # type: ignore[misc] # torch comes without types here
        """Stands for the body: what is given as embeddings are its last hidden states."""

        def __init__(self) -> None:
            super().__init__()
            self.pooler = pooler

        def forward(self, *_: Any, inputs_embeds: Any, **__: Any) -> Any:
            pooled = None if self.pooler is None else self.pooler(inputs_embeds)
            return BaseModelOutputWithPooling(last_hidden_state=inputs_embeds, pooler_output=pooled)

    class Head(torch.nn.Module):  # type: ignore[misc] # torch comes without types here
        """The model from its last hidden states on."""

        def __init__(self) -> None:
            super().__init__()
            self.model = Computed() if is_bare else model

        def forward(self, last_hidden_state: Any) -> Any:
            return self.model(inputs_embeds=last_hidden_state)

    if not is_bare:
        setattr(model, model.base_model_prefix, Computed())
    return body, Head().eval()
