"""What an answer cost, in the units that people are billed in."""

import msgspec


class Usage(msgspec.Struct, frozen=True, tag="usage"):
    """The price of one request, or of what was done of it until now; the last thing an engine's stream yields.

    Tokens are the model's own; characters are Unicode code points of the input; seconds are of audio.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    characters: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.characters + other.characters,
            self.seconds + other.seconds,
        )
