"""A hub for tests: its parts over a fresh database and directory, and the same behind a real server on loopback."""

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import uvicorn

from yunmo.core.errors import Conflict
from yunmo.core.identity import Principal
from yunmo.hub.commits import AddFile, Change
from yunmo.hub.hub import Hub
from yunmo.storage.blobs import DirectoryStore
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate
from yunmo.tenancy.tenancy import Tenancy, open_tenancy
from yunmo.web.app import App
from yunmo.web.dialects.hub.dialect import HubDialect
from yunmo.web.metrics import Metrics


def principal(project, *scopes):
    return Principal(project=project, key_id=f"key-of-{project}", scopes=frozenset(scopes or ("read", "write", "infer")))


ADMIN = principal("admin", "admin")
ACME = principal("acme")
OTHER = principal("other")


@contextlib.asynccontextmanager
async def open_hub(directory, **options):
    database = open_database(f"sqlite:///{directory / 'yunmo.db'}")
    try:
        await asyncio.to_thread(migrate, database.engine)
        yield Hub(database, DirectoryStore(directory / "blobs"), b"s" * 32, **options)
    finally:
        await database.close()


async def push(hub, repository, files, by=ACME, revision="main", title="add files", **change):
    """Commit small files given as {path: bytes}."""
    staging = hub.uploads.staging()
    operations = tuple([AddFile(path, await staging.add(content), len(content)) for path, content in files.items()])
    await staging.flush()
    made = await hub.commits.commit(by, repository, revision, Change(title=title, operations=operations, **change))
    return made.commit


@dataclass
class Served:
    url: str
    tokens: dict
    hub: Hub
    loop: asyncio.AbstractEventLoop
    requests: list
    tenancy: Tenancy

    def run(self, coroutine):
        """Await something inside the server."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)


@contextlib.contextmanager
def serve_hub(directory, publishers=lambda url: (), **options):
    """The hub behind HTTP, with a key for each of the projects acme, other, reader (of acme's, read only) and admin.

    `publishers` makes the trusted publishers from the server's address.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    started = threading.Event()
    holder = SimpleNamespace(error=None)

    async def main():
        try:
            async with open_hub(directory, **options) as hub:
                tenancy = await open_tenancy(hub.repositories.database, b"p" * 32, publishers=publishers(url))
                tokens = {}
                for name, project, scopes in (
                    ("acme", "acme", ("read", "write", "infer")),
                    ("other", "other", ("read", "write", "infer")),
                    ("reader", "acme", ("read",)),
                    ("admin", "admin", ("admin",)),
                ):
                    if name == project != "admin":
                        with contextlib.suppress(Conflict):  # a directory that was served before
                            await tenancy.projects.create(project)
                    tokens[name] = (await tenancy.keys.create(project, name, scopes)).key
                cloud = SimpleNamespace(hub=hub, tenancy=tenancy)
                app = App(cloud, [HubDialect(cloud)], Metrics())
                requests = []

                async def recording(scope, receive, send):
                    if scope["type"] == "http":
                        requests.append((scope["method"], scope["raw_path"].decode()))
                    await app(scope, receive, send)

                server = uvicorn.Server(uvicorn.Config(recording, log_level="warning", lifespan="off"))
                holder.server, holder.tokens, holder.hub, holder.loop = server, tokens, hub, asyncio.get_running_loop()
                holder.requests, holder.tenancy = requests, tenancy
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                    await asyncio.sleep(0.005)
                started.set()
                await serving
        except BaseException as error:
            holder.error = error
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    started.wait(60)
    if holder.error is not None:
        listener.close()
        raise RuntimeError("the hub did not start") from holder.error
    try:
        yield Served(url, holder.tokens, holder.hub, holder.loop, holder.requests, holder.tenancy)
    finally:
        holder.server.should_exit = True
        thread.join(30)
        listener.close()
