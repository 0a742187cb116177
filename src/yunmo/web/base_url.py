"""Absolute links back to us."""

import re

from yunmo.web.request import Request

_HOST = re.compile(r"[A-Za-z0-9._\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def base_url(request: Request) -> str:
    """This server as the client sees it: the setting `http.public_url`, else what a proxy on this machine says, else the Host."""
    if request.public_url is not None:
        return request.public_url
    headers = request.headers
    host, scheme = headers.get("host", ""), request.scope.get("scheme", "http")
    if request.client is None or request.client.host in _LOOPBACK:
        host = headers.get("x-forwarded-host", "").split(",")[0].strip() or host
        scheme = headers.get("x-forwarded-proto", "").split(",")[0].strip() or scheme
    if not _HOST.fullmatch(host):
        server = request.scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{scheme if scheme in {'http', 'https'} else 'http'}://{host}"
