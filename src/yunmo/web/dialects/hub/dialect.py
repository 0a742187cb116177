"""The Hugging Face Hub's HTTP: `from_pretrained`, `push_to_hub`, `hf upload` and `load_dataset` work against it unmodified."""

from collections.abc import Iterator, Sequence

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import RepositoryNotFound, YunmoError
from yunmo.web.dialects.hub.access import AccessRoutes
from yunmo.web.dialects.hub.cas import CasRoutes
from yunmo.web.dialects.hub.commits import CommitRoutes
from yunmo.web.dialects.hub.contents import ContentRoutes
from yunmo.web.dialects.hub.discussions import DiscussionRoutes
from yunmo.web.dialects.hub.downloads import DownloadRoutes
from yunmo.web.dialects.hub.errors import error_reply
from yunmo.web.dialects.hub.identity import IdentityRoutes
from yunmo.web.dialects.hub.lfs import LfsRoutes
from yunmo.web.dialects.hub.login import LoginRoutes
from yunmo.web.dialects.hub.repositories import RepositoryRoutes
from yunmo.web.request import Request
from yunmo.web.routing import Route

_OTHER_TYPES = ("spaces", "kernels")


class HubDialect:
    """All routes of the hub, and its way to say errors."""

    name = "hub"

    def __init__(self, cloud: Cloud) -> None:
        self._groups = (
            IdentityRoutes(cloud),
            LoginRoutes(cloud),
            RepositoryRoutes(cloud),
            ContentRoutes(cloud),
            DownloadRoutes(cloud),
            CommitRoutes(cloud),
            DiscussionRoutes(cloud),
            AccessRoutes(cloud),
            CasRoutes(cloud),
            LfsRoutes(cloud),
        )

    def routes(self) -> Sequence[Route]:
        """Every route of every group."""
        return [*(route for group in self._groups for route in group.routes()), *_missing_types()]

    def error(self, error: YunmoError, request: Request) -> Response:
        """The reply for every error in `core.errors`."""
        return error_reply(error, request)


def _missing_types() -> Iterator[Route]:
    for type_ in _OTHER_TYPES:
        for path in (f"/api/{type_}/{{rest*}}", f"/{type_}/{{rest*}}"):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                yield Route(method, path, _no_such_type, is_documented=False)


async def _no_such_type(_request: Request) -> Response:
    raise RepositoryNotFound("There are no Spaces and no kernels here: only models and data sets.")
