"""The description of the API: valid OpenAPI 3.1, complete, and a page that loads nothing from elsewhere."""

import re

import httpx
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.responses import Response

from yunmo.web.dialects.hf.dialect import HuggingFaceDialect
from yunmo.web.dialects.hf.errors import error_reply
from yunmo.web.openapi import OpenApiPage
from yunmo.web.request import Request
from yunmo.web.routing import Route, Router


class Item(msgspec.Struct):
    """A <b>thing</b>."""

    name: str
    size: int = 0


class Shop:
    name = "shop"

    def routes(self):
        return (
            Route("GET", "/shop/{id*}", _nothing, summary="Look at <one>", reply=Item),
            Route("POST", "/shop", _nothing, "write", "Add one", body=Item, reply=Item),
            Route("GET", "/hidden", _nothing, is_documented=False),
        )

    def error(self, error, request):
        return error_reply(error)


class _Cloud:
    inference = None


async def _nothing(_request: Request) -> Response:
    return Response()


@pytest.fixture
def router():
    return Router([Shop(), HuggingFaceDialect(_Cloud())])


@pytest.fixture
def page(router):
    return OpenApiPage(router)


def test_the_document_is_valid_openapi_3_1(page):
    OPENAPI_31_VALIDATOR.validate(msgspec.json.decode(msgspec.json.encode(page.document)))


def test_every_documented_route_is_in_the_document_and_no_other(router, page):
    described = {(method.upper(), path) for path, methods in page.document["paths"].items() for method in methods}
    table = [*((dialect, route) for dialect, route in router.table), *((page, route) for route in page.routes())]
    assert described == {(route.method, route.path.replace("*}", "}")) for _, route in table if route.is_documented}
    assert ("GET", "/hidden") not in described
    assert ("POST", "/models/{namespace}/{name}/pipeline/text-classification") in described


def test_operation_ids_are_unique(page):
    ids = [operation["operationId"] for methods in page.document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_an_operation_says_its_types_its_scope_and_its_dialects_errors(page):
    operation = page.document["paths"]["/shop"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Item"}
    assert operation["security"] == [{"bearer": []}]
    assert page.document["components"]["schemas"]["Item"]["required"] == ["name"]
    limited = page.document["components"]["responses"][operation["responses"]["429"]["$ref"].rpartition("/")[2]]
    assert "limit" in limited["content"]["application/json"]["example"]["error"]
    assert page.document["paths"]["/shop/{id}"]["get"]["security"] == []


def test_every_reference_leads_somewhere(page):
    text = msgspec.json.encode(page.document).decode()
    for group, name in re.findall(r'"#/components/(\w+)/([^"]+)"', text):
        assert name in page.document["components"][group]


async def test_both_pages_are_served_and_load_nothing_from_elsewhere(page):
    found = Router([page]).find("GET", "/docs")
    reply = await found.route.handler(None)
    text = bytes(reply.body).decode()
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!#|/openapi\.json)', text) == []
    assert "Look at &lt;one&gt;" in text
    described = await Router([page]).find("GET", "/openapi.json").route.handler(None)
    assert httpx.Response(200, content=bytes(described.body)).json()["openapi"] == "3.1.0"
