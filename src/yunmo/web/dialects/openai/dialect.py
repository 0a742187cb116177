"""The OpenAI dialect: its routes, and its way to say each of our errors."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import YunmoError
from yunmo.web.dialects.openai.audio import transcription_handler, translation_handler
from yunmo.web.dialects.openai.batches import BatchRoutes
from yunmo.web.dialects.openai.chat import chat_handler, model_chat_handler
from yunmo.web.dialects.openai.chat_wire import ChatBody, ChatCompletion
from yunmo.web.dialects.openai.completions import Completion, CompletionBody, completion_handler
from yunmo.web.dialects.openai.embeddings import EmbeddingBody, EmbeddingReply, embedding_handler
from yunmo.web.dialects.openai.errors import error_reply
from yunmo.web.dialects.openai.files import FileRoutes
from yunmo.web.dialects.openai.fine_tuning import FineTuningRoutes
from yunmo.web.dialects.openai.models import Model, ModelDeleted, ModelList, delete_model_handler, model_handler, models_handler
from yunmo.web.dialects.openai.moderations import ModerationBody, ModerationReply, moderation_handler
from yunmo.web.dialects.openai.speech import SpeechBody, speech_handler
from yunmo.web.request import Request
from yunmo.web.routing import Handler, Route

_MODEL_PATHS = ("/models/{namespace}/{name}", "/models/{name}", "/hf-inference/models/{namespace}/{name}", "/hf-inference/models/{name}")


class OpenAIDialect:
    """What the official clients of OpenAI speak."""

    name = "openai"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """The /v1 routes, and chat under each model's own address as Hugging Face's client asks for it."""
        return (
            Route("GET", "/v1/models", self._on(models_handler), "infer", "List the models that you may use", None, ModelList),
            Route("GET", "/v1/models/{id*}", self._on(model_handler), "infer", "Look at one model", None, Model),
            Route("DELETE", "/v1/models/{id*}", self._on(delete_model_handler), "write", "Delete a model of your own", None, ModelDeleted),
            Route("POST", "/v1/chat/completions", self._on(chat_handler), "infer", "Answer a conversation", ChatBody, ChatCompletion),
            Route("POST", "/v1/completions", self._on(completion_handler), "infer", "Continue a text", CompletionBody, Completion),
            Route("POST", "/v1/embeddings", self._on(embedding_handler), "infer", "Turn texts into vectors", EmbeddingBody, EmbeddingReply),
            Route("POST", "/v1/audio/transcriptions", self._on(transcription_handler), "infer", "Write down speech"),
            Route("POST", "/v1/audio/translations", self._on(translation_handler), "infer", "Write down speech in English"),
            Route("POST", "/v1/audio/speech", self._on(speech_handler), "infer", "Read a text aloud", SpeechBody),
            Route(
                "POST",
                "/v1/moderations",
                self._on(moderation_handler),
                "infer",
                "Judge texts: a classifier's own labels are the categories",
                ModerationBody,
                ModerationReply,
            ),
            *FileRoutes(self._cloud).routes(),
            *BatchRoutes(self._cloud).routes(),
            *FineTuningRoutes(self._cloud).routes(),
            *self._model_routes(),
        )

    def error(self, error: YunmoError, request: Request) -> Response:
        """The reply for every error in `core.errors`."""
        return error_reply(error, request)

    def _model_routes(self) -> list[Route]:
        handler = self._on(model_chat_handler)
        return [
            Route("POST", f"{path}/v1/chat/completions", handler, "infer", "Answer a conversation", ChatBody, ChatCompletion)
            for path in _MODEL_PATHS
        ]

    def _on(self, handler: Callable[[Cloud, Request], Awaitable[Response]]) -> Handler:
        async def handle(request: Request) -> Response:
            return await handler(self._cloud, request)

        return handle
