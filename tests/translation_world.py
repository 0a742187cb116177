"""Translators on a server in this process: tiny encoder-decoders that say which pair they translate, and a chat that repeats what it is told."""

import json

import tiny_translators
from hub_world import ACME, push
from yunmo.apps.translate.orders import Options, Order
from yunmo.apps.translate.segments import segment
from yunmo.core.tasks import Translate
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings
from yunmo.storage.tables import now

TALKER = "acme/talker"


def settings(path):
    return Settings(data=path, serving=ServingSettings(calibrate=False))


def marian_files(directory, name="marian"):
    """The files of a tiny Marian, or of another kind."""
    tiny_translators.build(name, directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def for_pair(files, source, target):
    """The files of a Marian that says that it translates `source` into `target`."""
    tokenizer = json.loads(files["tokenizer_config.json"]) | {"source_lang": source, "target_lang": target}
    return files | {"tokenizer_config.json": json.dumps(tokenizer).encode()}


async def push_model(server, name, files, *, is_private=False):
    repository = await server.cloud.hub.repositories.create(ACME, "model", name, is_private=is_private)
    await push(server.cloud.hub, repository, files)


async def deploy_chat(server, **options):
    spec = DeploymentSpec(TALKER, "acme", "echo", "main", now(), options={"tasks": ["chat"], **options})
    await server.cloud.deployments.create(ACME, spec)


async def ask(server, model, *texts):
    """What the model itself makes of texts."""
    answering = await server.cloud.inference.begin(ACME, model, Translate(texts=texts))
    return (await answering.whole()).texts


def order(*texts, target="de", source="en", **options):
    return Order(tuple(segment([text]) for text in texts), target, source, Options(**options))


async def translated(server, *texts, by=ACME, **wanted):
    return [each.segment.text for each in await server.translator.translate(by, order(*texts, **wanted))]
