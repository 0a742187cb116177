"""The only place that chooses implementations: from settings to a running server."""

import asyncio
import contextlib
import gc
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from yunmo.apps.translate.document_reading import DocumentReader
from yunmo.apps.translate.document_work import DocumentWork
from yunmo.apps.translate.glossaries import Glossaries
from yunmo.apps.translate.memories import Memories
from yunmo.apps.translate.recalling import Recalling
from yunmo.apps.translate.route_store import RouteStore
from yunmo.apps.translate.styles import Styles
from yunmo.apps.translate.translations import Documents
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.answering import Answering
from yunmo.cloud.certifying import Certifying
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.system import EngineView, System, look_at_engines
from yunmo.core import plugins
from yunmo.core.engine import libraries_of
from yunmo.core.errors import Conflict, InvalidRequest
from yunmo.core.identity import Limits
from yunmo.files.files import FileRules, Files
from yunmo.hub.hub import Hub, Rules
from yunmo.jobs.queue import Jobs, QueueLimits
from yunmo.jobs.runner import JobRunner
from yunmo.jobs.work import Kind
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.runtime.placement.templates import Templates
from yunmo.serving.calibration.calibrations import Calibrations, Habits
from yunmo.serving.deployments import Deployments
from yunmo.serving.hardware import find_hardware
from yunmo.serving.infer import Inference
from yunmo.serving.memory import MemoryBudget
from yunmo.serving.offers import offers
from yunmo.serving.promotions import Promotions
from yunmo.serving.room import Room
from yunmo.serving.source import HubSource
from yunmo.serving.store import CalibrationStore, DeploymentStore, PromotionStore
from yunmo.serving.world import Patience, World
from yunmo.settings import Settings
from yunmo.storage.blobs import DirectoryStore, ObjectStore, S3Location, S3Store
from yunmo.storage.database import Database, open_database
from yunmo.storage.directory import CannotStart, data_directory, only_one_server, secret, write_secret
from yunmo.storage.migrate import migrate
from yunmo.tenancy.issuers import KeysNotRead
from yunmo.tenancy.publishers import Publisher
from yunmo.tenancy.tenancy import Tenancy, open_tenancy
from yunmo.training.check_work import CheckWork
from yunmo.training.data import TrainingData
from yunmo.training.evaluate_work import EvaluateWork
from yunmo.training.evaluation import Evaluations
from yunmo.training.publication import Publication
from yunmo.training.site import Site
from yunmo.training.store import CertificateStore
from yunmo.training.train_work import TrainWork
from yunmo.training.trainings import Trainings
from yunmo.training.workspaces import Workspaces
from yunmo.web.access_log import AccessLog
from yunmo.web.app import App
from yunmo.web.dialects.admin.dialect import AdminDialect
from yunmo.web.dialects.admin.documents import DocumentRoutes
from yunmo.web.dialects.admin.translation import TranslationRoutes
from yunmo.web.dialects.deepl.dialect import DeepLDialect, Kept
from yunmo.web.dialects.hf.dialect import HuggingFaceDialect
from yunmo.web.dialects.hub.dialect import HubDialect
from yunmo.web.dialects.libretranslate.dialect import LibreTranslateDialect
from yunmo.web.dialects.openai.batch_work import BatchWork
from yunmo.web.dialects.openai.dialect import OpenAIDialect
from yunmo.web.dialects.openai.inside import Inside
from yunmo.web.guard import GuardLimits
from yunmo.web.metrics import Metrics
from yunmo.web.openapi import OpenApiPage
from yunmo.web.pages import Pages
from yunmo.web.routing import Dialect
from yunmo.web.server import ServerLimits, serve

_MEMORY_SHARE = 0.8
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """What the operator is told once requests can be served."""

    url: str
    admin_key: str
    is_new_key: bool
    admin_key_file: Path


async def run_server(settings: Settings, on_started: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in work and return."""
    async with open_server(settings) as opened:
        cloud, key = opened.cloud, opened.key
        metrics = Metrics()
        log = _access_log(settings)
        admin = AdminDialect(cloud, metrics, [TranslationRoutes(cloud, opened.translator), DocumentRoutes(opened.documents, cloud)])
        in_query = settings.translation.deepl_key_in_query
        kept = Kept(opened.glossaries, opened.styles, opened.memories, opened.documents)
        deepl = DeepLDialect(cloud, opened.translator, kept, takes_key_in_query=in_query)
        dialects: list[Dialect] = [admin, OpenAIDialect(cloud), HuggingFaceDialect(cloud), HubDialect(cloud)]
        dialects += [deepl, LibreTranslateDialect(opened.translator)]
        app = App(cloud, dialects, metrics, settings.http.public_url, log)
        app.router.include(OpenApiPage(app.router))
        app.router.include(Pages(cloud, app.router))

        def started(port: int) -> None:
            _keep_the_loop_quick()
            on_started(Started(f"http://{settings.http.host}:{port}", key.text, key.is_new, key.file))

        guard = GuardLimits(
            header_seconds=settings.http.header_seconds,
            idle_seconds=settings.http.idle_seconds,
            stall_seconds=settings.http.stall_seconds,
            connections=settings.http.max_connections,
        )
        try:
            await serve(app, settings.http.host, settings.http.port, ServerLimits(guard, settings.http.shutdown_seconds), started)
        finally:
            if log is not None:
                log.flush()


def _access_log(settings: Settings) -> AccessLog | None:
    is_heard = settings.log_requests and settings.log_level in {"debug", "info"}
    return AccessLog(sys.stderr, as_json=settings.log_format == "json") if is_heard else None


def _keep_the_loop_quick() -> None:
    """Keep the event loop from waiting: for full collections of what is loaded anyway, and 5 ms for each turn of a database thread."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)


@dataclass(frozen=True, slots=True)
class Opened:
    """A Cloud with the applications on it, and the operator's key."""

    cloud: Cloud
    translator: Translator
    glossaries: Glossaries
    styles: Styles
    memories: Memories
    documents: Documents
    key: "AdminKey"


@contextlib.asynccontextmanager
async def open_cloud(settings: Settings) -> "AsyncIterator[tuple[Cloud, AdminKey]]":
    """A Cloud with everything behind it running; all of it is stopped on the way out."""
    async with open_server(settings) as opened:
        yield opened.cloud, opened.key


@contextlib.asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[Opened]:
    """The same with the applications."""
    data = data_directory(settings.data)
    with only_one_server(data):
        database = open_database(settings.storage.database or f"sqlite:///{data / 'yunmo.db'}")
        try:
            await asyncio.to_thread(migrate, database.engine)
            async with _open_services(settings, data, database) as opened:
                yield opened
        finally:
            await database.close()


@contextlib.asynccontextmanager
async def _open_services(settings: Settings, data: Path, database: Database) -> AsyncIterator[Opened]:
    tenancy = await _tenancy(settings, data, database)
    key = await _admin_key(settings, data, tenancy)
    blobs = _blobs(settings, data)
    hub = _hub(settings, data, database, blobs, tenancy)
    templates = _templates(settings, data)
    world = _world(settings, data, hub, database, templates)
    deployments = Deployments(
        DeploymentStore(database),
        hub.models,
        world,
        auto_deploy=settings.serving.auto_deploy,
        follow_seconds=settings.serving.follow_seconds,
        cache_seconds=settings.serving.cache_seconds,
    )
    limits = QueueLimits(settings.jobs.waiting_per_project, settings.jobs.running_per_project)
    jobs = Jobs(database, limits)
    files = Files(database, blobs, FileRules(settings.jobs.file_bytes, settings.jobs.project_bytes))
    inference = Inference(deployments, tenancy, settings.serving.request_seconds, settings.serving.cold_wait_seconds)
    system = System(world.hardware, world.memory, database.dialect, lambda: _engine_views(settings))
    training_data = TrainingData(files, hub)
    trainings = Trainings(jobs, hub.models, training_data, Workspaces(data / "training"))
    evaluations = Evaluations(jobs, training_data)
    certificates = CertificateStore(database)
    promotions = Promotions(PromotionStore(database), deployments, hub.models, certificates.problem)
    cloud = Cloud(hub, deployments, promotions, inference, tenancy, jobs, files, trainings, evaluations, certificates, system)
    await deployments.restore()
    memories = Memories(database, secret(data / "secrets" / "signing"))
    translator = Translator(cloud, RouteStore(database), Recalling(memories))
    reader = DocumentReader(cloud, data / "documents")
    await asyncio.to_thread(reader.clear)
    kinds = _kinds(cloud, _site(settings, data, cloud, world), DocumentWork(cloud, translator, reader))
    job_runner = JobRunner(jobs, database, kinds, is_alone=database.dialect == "sqlite")
    working = asyncio.create_task(job_runner.run(), name="jobs")
    loops = [
        asyncio.create_task(each, name=name)
        for name, each in (
            ("tenancy", tenancy.run()),
            ("hub", hub.run()),
            ("files", files.run()),
            ("deployments", deployments.run()),
            ("trainings", trainings.run()),
            ("calibrations", world.calibrations.run()),
            ("templates", templates.warm_up()),
        )
    ]
    for loop in (working, *loops):
        loop.add_done_callback(_say_why)
    try:
        glossaries, styles = Glossaries(database), Styles(database)
        yield Opened(cloud, translator, glossaries, styles, memories, Documents(cloud, translator, reader), key)
    finally:
        working.cancel()  # first: what jobs ask of models has to be there until they stop
        await asyncio.gather(working, return_exceptions=True)
        await deployments.close()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await templates.close()
        await tenancy.ledger.flush()


def _hub(settings: Settings, data: Path, database: Database, blobs: ObjectStore, tenancy: Tenancy) -> Hub:
    rules = Rules(
        large_file_bytes=settings.hub.large_file_bytes,
        cas_epoch=settings.hub.cas_epoch,
        safetensors_only=settings.hub.safetensors_only,
        unnamed_bytes=settings.hub.unnamed_bytes,
    )
    return Hub(database, blobs, secret(data / "secrets" / "signing"), rules=rules, record=tenancy.audit.record)


def _site(settings: Settings, data: Path, cloud: Cloud, world: World) -> Site:
    return Site(
        placement=world.placement,
        workspaces=Workspaces(data / "training"),
        hub=cloud.hub,
        files=cloud.files,
        data=TrainingData(cloud.files, cloud.hub),
        room=Room(world.memory),
        hardware=world.hardware,
        logs=world.logs,
        address=(settings.http.public_url or f"http://{settings.http.host}:{settings.http.port}").rstrip("/"),
    )


def _kinds(cloud: Cloud, site: Site, documents: DocumentWork) -> dict[str, Kind]:
    """What this server can work on."""
    publication = Publication(site, Certifying(cloud.inference, cloud.deployments, cloud.certificates))
    kinds: list[Kind] = [
        BatchWork(cloud, Inside(OpenAIDialect(cloud).routes()).ask),
        CheckWork(site),
        TrainWork(site, publication),
        EvaluateWork(Answering(cloud.inference), site.data, site.files, site.workspaces),
        documents,
    ]
    return {kind.name: kind for kind in kinds}


async def _tenancy(settings: Settings, data: Path, database: Database) -> Tenancy:
    limits = Limits(settings.limits.requests_per_minute, settings.limits.tokens_per_minute, settings.limits.concurrent_requests)
    publishers = [
        Publisher(
            each.issuer, each.audience or (settings.http.public_url or "").rstrip("/"), each.claims, each.project, each.scopes, each.jwks
        )
        for each in settings.publishers
    ]
    try:
        return await open_tenancy(database, secret(data / "secrets" / "pepper"), default_limits=limits, publishers=publishers)
    except (KeysNotRead, InvalidRequest, Conflict) as error:
        raise CannotStart(f"The publishers of the settings cannot be used: {error}") from error


def _templates(settings: Settings, data: Path) -> Templates:
    libraries = {name: libraries_of(kind) for name, kind in plugins.engines().items()}
    return Templates(
        data / "cache" / "templates",
        {name: each for name, each in libraries.items() if each and name not in settings.serving.pythons},
        settings.serving.template_bytes,
    )


def _engine_views(settings: Settings) -> tuple[EngineView, ...]:
    return look_at_engines(tuple(plugins.engines()), settings.serving.pythons.keys())


def _pythons(settings: Settings) -> dict[str, Path]:
    """Absolute, for workers live in directories of their own; never resolved, for a link is what tells the environment."""
    if unknown := sorted(settings.serving.pythons.keys() - plugins.engines().keys()):
        raise CannotStart(f"The setting serving.pythons names an engine '{unknown[0]}'; there are: {', '.join(plugins.engines())}.")
    return {engine: path.absolute() for engine, path in settings.serving.pythons.items()}


def _world(settings: Settings, data: Path, hub: Hub, database: Database, templates: Templates) -> World:
    hardware = find_hardware()
    memory = MemoryBudget(settings.serving.memory_bytes or int(hardware.memory_bytes * _MEMORY_SHARE), settings.serving.warm_share)
    pythons = _pythons(settings)
    placement = ProcessPlacement(templates, pythons)
    habits = Habits(settings.serving.calibrate, settings.serving.calibrate_seconds, settings.serving.calibrate_wait_seconds)
    calibrations = Calibrations(CalibrationStore(database), placement, memory, hardware, habits)
    return World(
        models=HubSource(hub.models),
        placement=placement,
        memory=memory,
        hardware=hardware,
        offers=lambda description, spec: offers(description, hardware, plugins.engines(), spec.options, pythons.keys()),
        calibrations=calibrations,
        cache=data / "cache",
        logs=data / "logs",
        patience=Patience(
            idle=settings.serving.idle_seconds,
            cold_wait=settings.serving.cold_wait_seconds,
            drain=settings.serving.drain_seconds,
            hang=settings.serving.hang_seconds,
        ),
        queue_limit=settings.serving.queue_limit,
    )


def _say_why(loop: "asyncio.Task[None]") -> None:
    """A loop that ends by itself is a fault of ours that must not pass in silence."""
    if not loop.cancelled() and loop.exception() is not None:
        _log.critical("background_loop_ended", loop=loop.get_name(), exc_info=loop.exception())


@dataclass(frozen=True, slots=True)
class AdminKey:
    """The operator's key and where the local command line finds it; a new one was made by us and has to be told."""

    text: str
    is_new: bool
    file: Path


async def _admin_key(settings: Settings, data: Path, tenancy: Tenancy) -> AdminKey:
    file = data / "secrets" / "admin-key"
    is_new = not file.exists()
    if settings.admin_key is not None:
        text = settings.admin_key.get_secret_value()
    else:
        text = file.read_text().strip() if not is_new else "ym_" + secrets.token_urlsafe(32)
    if is_new or file.read_text().strip() != text:
        write_secret(file, text.encode())
    await tenancy.keys.adopt(text, project="admin", scopes=("admin",), name="operator")
    return AdminKey(text, is_new and settings.admin_key is None, file)  # a key of the operator's own is not told back


def _blobs(settings: Settings, data: Path) -> ObjectStore:
    storage = settings.storage
    if storage.blobs is None:
        return DirectoryStore(data)
    location = S3Location(
        storage.blobs,
        endpoint=storage.s3_endpoint,
        region=storage.s3_region,
        access_key=storage.s3_access_key.get_secret_value() if storage.s3_access_key else None,
        secret_key=storage.s3_secret_key.get_secret_value() if storage.s3_secret_key else None,
    )
    return S3Store(location, staging=data / "staging")
