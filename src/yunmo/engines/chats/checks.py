"""What a request may ask of any engine that continues prompts."""

from collections.abc import Mapping

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Generate


def check(engine: str, request: Chat | Generate, refused: Mapping[str, bool]) -> None:
    """Raise Unsupported for wishes that the engine has no way to fulfil, InvalidRequest for bad ones.

    `refused` names such wishes, each with whether it is asked for.
    """
    for name, is_asked in refused.items():
        if is_asked:
            raise Unsupported(
                f"The engine {engine} has no `{name}`: leave it out, or deploy the model with the engine llama_cpp or transformers for that.",
                param=name,
            )
    if request.sampling.max_tokens is not None and request.sampling.max_tokens < 1:
        raise InvalidRequest("`max_tokens` must be at least 1.", param="max_tokens")
    if request.sampling.temperature is not None and request.sampling.temperature < 0:
        raise InvalidRequest("`temperature` must not be negative.", param="temperature")
    if isinstance(request, Chat) and not request.messages:
        raise InvalidRequest("The conversation has no message; send at least one.", param="messages")
    if isinstance(request, Generate) and request.echo and request.top_logprobs is not None:
        raise Unsupported("This engine has no log probabilities of the prompt: leave out `echo` or `logprobs`.", param="echo")
    if isinstance(request, Generate) and not request.prompt:
        raise InvalidRequest("The prompt is empty; send at least one character or token.", param="prompt")
