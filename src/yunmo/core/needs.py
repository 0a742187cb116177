"""What a request asks for that not every engine does, by the names with which offers say what they lack."""

from yunmo.core.tasks import Chat, Generate, Request


def needs_of(request: Request) -> frozenset[str]:
    """The names of what the request needs: top_logprobs, logit_bias, typical_p, beams."""
    if not isinstance(request, Chat | Generate):
        return frozenset()
    sampling = request.sampling
    asked = {
        "top_logprobs": bool(request.top_logprobs),
        "logit_bias": bool(sampling.logit_bias),
        "typical_p": sampling.typical_p not in {None, 1.0},
        "beams": sampling.beams not in {None, 1},
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)
