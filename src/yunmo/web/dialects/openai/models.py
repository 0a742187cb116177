"""GET /v1/models and GET /v1/models/{id}: what the caller may ask; DELETE forgets a model of the caller's own."""

import time

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Served
from yunmo.core.errors import InvalidRequest
from yunmo.web.dialects.openai.headers import plain_headers
from yunmo.web.replies import json_reply
from yunmo.web.request import Request


class Model(msgspec.Struct):
    """A model that answers under this id."""

    id: str
    created: int
    owned_by: str
    object: str = "model"


class ModelList(msgspec.Struct):
    """The reply of GET /v1/models."""

    data: list[Model]
    object: str = "list"


class ModelDeleted(msgspec.Struct):
    """The reply of DELETE /v1/models/{id}."""

    id: str
    object: str = "model"
    deleted: bool = True


async def models_handler(cloud: Cloud, request: Request) -> Response:
    """Every model that the caller may use."""
    started = time.perf_counter()
    served = await cloud.inference.models(request.principal)
    return json_reply(ModelList([_model(each) for each in served]), headers=plain_headers(request, started))


async def model_handler(cloud: Cloud, request: Request) -> Response:
    """One model; its id may have slashes."""
    started = time.perf_counter()
    served = await cloud.inference.find(request.principal, request.params["id"])
    return json_reply(_model(served), headers=plain_headers(request, started))


async def delete_model_handler(cloud: Cloud, request: Request) -> Response:
    """Delete the repository that the model is. Raises InvalidRequest for one of its revisions, which cannot go alone."""
    started = time.perf_counter()
    name = request.params["id"]
    repository, at, _ = name.partition("@")
    if at:
        raise InvalidRequest(f"A checkpoint goes with its model: delete '{repository[:200]}'.", param="model")
    gone = await cloud.hub.repositories.delete(request.principal, "model", repository)
    return json_reply(ModelDeleted(gone.full_name), headers=plain_headers(request, started))


def _model(served: Served) -> Model:
    return Model(served.name, served.created, served.owner)
