"""The JSON of chats: what clients send and what they get."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from yunmo.web.dialects.openai.fields import Refusal, Refusals
from yunmo.web.dialects.openai.sampling import REFUSED, TOP_LOGPROBS_LIMIT, GenerationBody, Tokens
from yunmo.web.dialects.openai.wire import TokenUsage

MESSAGES_LIMIT = 4096
PARTS_LIMIT = 256
TOOLS_LIMIT = 128
TOOL_CALLS_LIMIT = 128

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]

# ---------------------------------------------------------------- what clients send


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Words."""

    text: str


class ImageURL(msgspec.Struct, forbid_unknown_fields=True):
    """A picture as a data: URL."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    """A picture."""

    image_url: ImageURL


class InputAudio(msgspec.Struct, forbid_unknown_fields=True):
    """A recording in base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio", forbid_unknown_fields=True):
    """A recording."""

    input_audio: InputAudio


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    """What the model refused in an earlier turn."""

    refusal: str


Part = TextPart | ImagePart | AudioPart | RefusalPart


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """A call in an earlier turn; some clients send the arguments as an object."""

    name: FunctionName
    arguments: str | dict[str, Any] = "{}"


class ToolCallBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tool call in an earlier turn."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class MessageBody(msgspec.Struct, forbid_unknown_fields=True):
    """One turn. The last five fields come back from clients that echo an answer; they do not change the next one."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], Meta(max_length=PARTS_LIMIT)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCallBody], Meta(max_length=TOOL_CALLS_LIMIT)] | None = None
    tool_call_id: str | None = None
    audio: Any = None
    function_call: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    annotations: Any = None


class FunctionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: Raw = msgspec.field(default_factory=Raw)
    strict: bool | None = None


class ToolBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tool."""

    function: FunctionBody
    type: Literal["function"] = "function"


class ChosenName(msgspec.Struct, forbid_unknown_fields=True):
    """The name of the function to call."""

    name: FunctionName


class ChosenTool(msgspec.Struct, forbid_unknown_fields=True):
    """The tool that must be called."""

    function: ChosenName
    type: Literal["function"] = "function"


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    """A named JSON schema."""

    name: str | None = None
    description: str | None = None
    schema: Raw = msgspec.field(default_factory=Raw)
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True):
    """The form that the answer must have. `value` (a schema or a regular expression) is what Hugging Face's client sends."""

    type: Literal["text", "json_object", "json_schema", "json", "regex"]
    json_schema: JsonSchema | None = None
    value: Raw = msgspec.field(default_factory=Raw)


class ChatBody(GenerationBody, kw_only=True):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[MessageBody], Meta(min_length=1, max_length=MESSAGES_LIMIT)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    tools: Annotated[list[ToolBody], Meta(max_length=TOOLS_LIMIT)] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=TOP_LOGPROBS_LIMIT)] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


CHAT_REFUSED: Refusals = {
    **REFUSED,
    "audio": Refusal("chats answer with text; make speech with /v1/audio/speech."),
    "modalities": Refusal("chats answer with text only.", (["text"],)),
    "prediction": Refusal("predicted outputs are not used."),
    "web_search_options": Refusal("models do not search the web. Give what you found as a message or through a tool."),
    "functions": Refusal("it was replaced by 'tools'."),
    "function_call": Refusal("it was replaced by 'tool_choice'."),
    "reasoning_effort": Refusal("the model's own template decides whether it reasons."),
    "verbosity": Refusal("say in a message how long the answer should be."),
    "moderation": Refusal("ask /v1/moderations instead."),
    "chat_template": Refusal("templates come with the model, never with a request."),
    "chat_template_kwargs": Refusal("templates take no arguments from requests."),
    "tool_prompt": Refusal("the model's own template presents the tools."),
}

# ---------------------------------------------------------------- what clients get


class FunctionCall(msgspec.Struct, omit_defaults=True):
    """A call, or a piece of one."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallReply(msgspec.Struct):
    """A tool call of the answer."""

    id: str
    function: FunctionCall
    type: str = "function"


class ToolCallPiece(msgspec.Struct):
    """A piece of a tool call in a stream."""

    index: int
    function: FunctionCall
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class LikelyToken(msgspec.Struct):
    """One of the likeliest tokens at a place."""

    token: str
    logprob: float
    bytes: list[int]


class TokenReply(msgspec.Struct):
    """A token with its log probability and the likeliest others."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[LikelyToken]


class LogprobsReply(msgspec.Struct):
    """The tokens of a choice."""

    content: list[TokenReply]
    refusal: None = None


class MessageReply(msgspec.Struct):
    """The answer. `reasoning_content` is what the model thought before it."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    tool_calls: list[ToolCallReply] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class ChoiceReply(msgspec.Struct):
    """One of the answers."""

    index: int
    message: MessageReply
    logprobs: LogprobsReply | None
    finish_reason: str


class ChatCompletion(msgspec.Struct):
    """The reply of POST /v1/chat/completions."""

    id: str
    created: int
    model: str
    choices: list[ChoiceReply]
    usage: TokenUsage
    system_fingerprint: str
    object: str = "chat.completion"


class Delta(msgspec.Struct):
    """What is new in a choice."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallPiece] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """A choice in a chunk."""

    index: int
    delta: Delta
    logprobs: LogprobsReply | None = None
    finish_reason: str | None = None
