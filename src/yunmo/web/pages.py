"""Pages for people who open an address of this server in a browser: what it is, and what a repository holds.

Plain HTML in English and Chinese, without scripts or anything from elsewhere; everything shown is what anybody may see.
"""

import json
from collections.abc import Sequence
from functools import partial
from html import escape
from string import Template
from urllib.parse import quote

from starlette.responses import Response

from yunmo import __version__
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import Overview, Page, Repository, RepositoryType
from yunmo.core.errors import Gated, NotFound, YunmoError
from yunmo.core.identity import ANONYMOUS
from yunmo.web.base_url import base_url
from yunmo.web.dialects.hub.addresses import FILE_PREFIXES, repository_name
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route, Router

_FILES_SHOWN = 200
_TAGS_SHOWN = 60
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_CHATS = frozenset({"text-generation", "image-text-to-text"})

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; }
pre { overflow: auto; padding: .75rem; background: color-mix(in srgb, currentColor 6%, transparent); border-radius: .4rem; }
td { padding: .1rem 1.5rem .1rem 0; }
td.size { text-align: right; }
.tag { display: inline-block; margin: 0 .3rem .3rem 0; padding: 0 .5rem; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); border-radius: 1rem; }
.note { opacity: .75; }
</style>
</head>
<body>
$content
</body>
</html>
""")

_HOME = f"""<h1>Yunmo 云模</h1>
<p>A large-model cloud on your own machines: push a model, get an API. <span class="note">{escape(__version__)}</span></p>
<p lang="zh">企业自己的大模型云：推送模型，即得接口。</p>
<p><a href="/docs">/docs</a>: every route of this server. <span lang="zh">全部接口说明。</span></p>
<p>Every call needs a key; an operator makes one with <code>yunmo key create</code>. <span lang="zh">调用需要密钥，由管理员创建。</span></p>"""

_NOTHING = Template("""<h1>404</h1>
<p>There is nothing here that everybody may see. If <code>$name</code> is private, use a key: programs send it as
<code>Authorization: Bearer &lt;key&gt;</code>, Hugging Face's tools take it from <code>HF_TOKEN</code>.</p>
<p lang="zh">这里没有公开的内容。如果 <code>$name</code> 是私有仓库，请使用密钥访问。</p>
<p><a href="/">Yunmo 云模</a></p>""")


class Pages:
    """The page of the server, and one for each public repository."""

    name = "pages"

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._hub = cloud.hub
        self._router = router

    def routes(self) -> Sequence[Route]:
        """The addresses that clients print; no program asks for them."""
        tails = ("", "/tree/{revision*}", "/commit/{revision*}")
        return [
            Route("GET", "/", self._home, is_documented=False),
            *(
                Route("GET", f"{prefix}/{{namespace}}/{{name}}{tail}", partial(self._repository, type_), is_documented=False)
                for type_, prefix in FILE_PREFIXES.items()
                for tail in tails
            ),
        ]

    def error(self, error: YunmoError, request: Request) -> Response:
        """A page for what is not there, plain JSON for the rest."""
        if not isinstance(error, NotFound):
            return json_reply({"error": error.message}, 500)
        return _page("404", _NOTHING.substitute(name=escape(request.url.path.strip("/")[:200])), 404)

    async def _home(self, _request: Request) -> Response:
        return _page("Yunmo 云模", _HOME)

    async def _repository(self, type_: RepositoryType, request: Request) -> Response:
        """The caller's key makes no difference: a browser sends none, and a page must not show more to one who comes with it."""
        owner = self._router.owner(request.url.path)
        if type_ == "model" and owner is not None:
            return owner.error(NotFound(f"There is no GET {request.url.path} here. The routes are listed at /docs."), request)
        try:
            repository = await self._hub.repositories.find_readable(ANONYMOUS, type_, repository_name(request))
        except Gated as error:
            raise NotFound(error.message) from error
        revision = request.params.get("revision")
        page = await self._hub.files.all(repository, revision or "main")
        overviews = self._hub.overviews
        overview = await (overviews.of(repository, page) if revision else overviews.newest(repository))
        return _page(repository.full_name, _facts(repository, page, overview, base_url(request)))


def _page(title: str, content: str, status: int = 200) -> Response:
    headers = {"content-security-policy": _CONTENT_POLICY, "x-content-type-options": "nosniff"}
    return Response(_PAGE.substitute(title=escape(title), content=content), status, headers, media_type="text/html")


def _facts(repository: Repository, page: Page, overview: Overview, base: str) -> str:
    tags = "".join(f'<span class="tag">{escape(tag[:100])}</span>' for tag in overview.tags[:_TAGS_SHOWN])
    items = [item for item in page.items if not item.entry.is_folder]
    where = f"{FILE_PREFIXES[repository.type]}/{repository.full_name}/resolve/{page.commit.oid}"
    rows = "".join(
        f'<tr><td><a href="{escape(f"{where}/{quote(item.path)}")}">{escape(item.path)}</a></td><td class="size">{item.entry.size:,}</td></tr>'
        for item in items[:_FILES_SHOWN]
    )
    more = f"<p>… {len(items) - _FILES_SHOWN} more</p>" if len(items) > _FILES_SHOWN else ""
    return f"""<h1>{escape(repository.full_name)}</h1>
<p>{escape(repository.type)} · <code>{page.commit.oid}</code></p>
<p>{tags}</p>
<h2>Use it <span lang="zh">调用</span></h2>
<pre>{escape(_call(repository, overview, base))}</pre>
<h2>Files <span lang="zh">文件</span></h2>
<table>{rows}</table>{more}
<p><a href="/">Yunmo 云模</a> · <a href="/docs">/docs</a></p>"""


def _call(repository: Repository, overview: Overview, base: str) -> str:
    name = repository.full_name
    if repository.type == "dataset":
        return f"HF_ENDPOINT={base} python -c \"from datasets import load_dataset; print(load_dataset('{name}'))\""
    if overview.pipeline_tag in _CHATS:
        body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hello!"}]})
        path = "/v1/chat/completions"
    else:
        body, path = json.dumps({"inputs": "…"}, ensure_ascii=False), f"/models/{name}"
    return f"curl {base}{path} -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' -d '{body}'"
