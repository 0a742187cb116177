"""Settings: one frozen tree, read once from `yunmo.toml` and `YUNMO_*`; nothing else reads the environment.

Environment beats file; `YUNMO_SERVING__IDLE_SECONDS=600` sets `[serving] idle_seconds`.
Each field's description is its documentation: `docs/reference/settings.md` is generated from here.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

_PREFIX = "YUNMO_"
_OF_CLIENTS = ("YUNMO_URL", "YUNMO_KEY")
"""Variables that the client commands read; the server lets them be."""


class SettingsError(Exception):
    """The settings cannot be used; the message says which one, where it was set and what it takes."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(_Group):
    """The door."""

    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback makes Yunmo reachable from other machines.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None, description="Base of the URLs that replies name, when a proxy stands in front; else the request's Host."
    )
    max_connections: int = Field(10_000, ge=1, description="Open connections; more are told 503 and closed.")
    header_seconds: float = Field(10.0, gt=0, description="A request's headers must have come within this time.")
    idle_seconds: float = Field(75.0, gt=0, description="A kept-alive connection without a request is closed after this time.")
    stall_seconds: float = Field(60.0, gt=0, description="A body that brings no byte for this time is given up.")
    shutdown_seconds: float = Field(30.0, ge=0, description="At a stop, requests in work may finish for this long.")


class StorageSettings(_Group):
    """Where things are kept."""

    database: str | None = Field(None, description="`postgresql://…`, or None for SQLite in the data directory.")
    blobs: str | None = Field(None, description="`s3://bucket/prefix`, or None for a directory in the data directory.")
    s3_endpoint: str | None = Field(None, description="The S3 server's URL; None for AWS.")
    s3_region: str = Field("us-east-1", description="The bucket's region.")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key id.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret access key.")


class HubSettings(_Group):
    """The registry of models and data sets."""

    large_file_bytes: int = Field(10 * 1024 * 1024, ge=1, description="Files from this size on travel through Xet or LFS.")
    safetensors_only: bool = Field(default=False, description="Refuse commits that add pickled weights (`.bin`, `.pt`, `.pkl` …).")
    unnamed_bytes: int = Field(
        500 * 1000**3, ge=0, description="What a project may have uploaded (Xet, Git LFS) before it commits; more is refused until it has."
    )
    cas_epoch: int = Field(
        1, ge=1, description="Raise it by one after a backup was restored: clients then forget which chunks they have sent."
    )


class ServingSettings(_Group):
    """How models are run."""

    auto_deploy: bool = Field(True, description="Deploy a pushed model at its first request by repository name.")
    memory_bytes: int | None = Field(None, description="Memory for all models together; None takes 80 % of the machine's.")
    template_bytes: int = Field(
        512 << 20,
        ge=0,
        description="Memory for processes that keep used engines' libraries imported, so that their models load sooner; 0 keeps none.",
    )
    pythons: dict[str, FilePath] = Field(
        {},
        description="Engines whose library, with Yunmo beside it, is in another Python environment: the engine's name and that interpreter.",
    )
    idle_seconds: float = Field(
        1800.0, gt=0, description="A deployment without a request for this long is unloaded (pinned ones stay, and see `warm_share`)."
    )
    warm_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The share of all models' memory in which those used most stay loaded though nobody asks; 0 keeps none.",
    )
    queue_limit: int = Field(256, ge=0, description="Requests that may wait per deployment; more are told 503 at once.")
    cold_wait_seconds: float = Field(120.0, gt=0, description="A request waits this long for its model to load.")
    drain_seconds: float = Field(30.0, ge=0, description="Requests in work may finish for this long when a replica is taken away.")
    request_seconds: float = Field(600.0, gt=0, description="Longest time for one request.")
    hang_seconds: float = Field(20.0, gt=0, description="A replica that answers no heartbeat for this long is killed.")
    calibrate: bool = Field(
        True, description="Try other plans for a model after it is up, and serve with the best (docs/guide.md, Calibration)."
    )
    calibrate_seconds: float = Field(60.0, ge=5, le=3600, description="How long one model's calibration may take.")
    calibrate_wait_seconds: float = Field(600.0, ge=0, description="How long a calibration waits for the machine to be mostly idle.")
    cache_seconds: float = Field(
        7 * 24 * 3600.0, ge=3600, description="A model's files stay laid out in the cache for this long after no deployment wants them."
    )
    follow_seconds: float = Field(2.0, gt=0, description="How often deployments that follow a branch look for its new commit.")


class LimitSettings(_Group):
    """Default ceilings of a key; `yunmo key create` may set others. None means no ceiling."""

    requests_per_minute: int | None = Field(None, description="Requests that one key may make in a minute.")
    tokens_per_minute: int | None = Field(None, description="Tokens that one key may use in a minute.")
    concurrent_requests: int | None = Field(None, description="Requests of one key in work at a time.")


class JobSettings(_Group):
    """Durable work: batches and training."""

    waiting_per_project: int = Field(1000, ge=1, description="Jobs of one project that have not ended; more are told 503.")
    running_per_project: int = Field(4, ge=1, description="Jobs of one project that are worked on at a time.")
    file_bytes: int = Field(8 * 1024**3, ge=1, description="The largest file that jobs read or write.")
    project_bytes: int = Field(100 * 1024**3, ge=1, description="All files of one project together; more are refused with 507.")


class TranslationSettings(_Group):
    """Translation over the wires of DeepL and LibreTranslate."""

    deepl_key_in_query: bool = Field(
        default=False,
        description="Take a key from the parameter `auth_key` too, as some old clients of DeepL send it; proxies write down such addresses.",
    )


class PublisherSettings(_Group):
    """CI jobs that log in with their provider's identity token instead of a key (docs/guide.md, Log in from CI)."""

    issuer: str = Field(min_length=1, description="Who signs the tokens, spelt as in their claim `iss`.")
    audience: str | None = Field(None, min_length=1, description="The claim `aud` that tokens must have; None takes `http.public_url`.")
    jwks: FilePath | None = Field(None, description="A file with the issuer's public keys (JWKS); None fetches them from the issuer.")
    claims: dict[str, str] = Field(
        min_length=1, description="What other claims must be, each exactly or as a pattern with `*`, `?` and `[…]`; `*` matches `/` too."
    )
    project: str = Field(description="The project that the jobs log in to; it is made if it is not there.")
    scopes: tuple[Literal["infer", "read", "write"], ...] = Field(
        ("read", "write"), min_length=1, description="What their keys may do, for an hour."
    )

    @field_validator("claims")
    @classmethod
    def _say_whose(cls, claims: dict[str, str]) -> dict[str, str]:
        """Whoever can make a free account at a public issuer has tokens of it: something has to tell these jobs from theirs."""
        if given := {"iss", "aud", "exp", "iat", "nbf"} & set(claims):
            raise ValueError(f"'{min(given)}' is checked anyway; name what tells your jobs from others', such as repository and ref")
        if not any(pattern.strip("*?") for pattern in claims.values()):
            raise ValueError("these patterns match every job of the issuer; name yours, such as repository and ref")
        return claims


class Settings(BaseSettings):
    """Everything that an operator may choose."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=_PREFIX, env_nested_delimiter="__", toml_file=None)

    data: Path = Field(Path("yunmo-data"), description="The data directory: database, objects, secrets, caches.")
    admin_key: SecretStr | None = Field(None, description="The operator's key; made and kept in `DATA/secrets/admin-key` if not given.")
    log_format: str = Field("text", pattern="^(text|json)$", description="`text` for people, `json` for machines.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="The least serious events that are logged.")
    log_requests: bool = Field(
        default=True, description="Log a line for each request (at level info): never prompts, query strings or keys."
    )
    http: HttpSettings = HttpSettings()
    storage: StorageSettings = StorageSettings()
    hub: HubSettings = HubSettings()
    serving: ServingSettings = ServingSettings()
    limits: LimitSettings = LimitSettings()
    jobs: JobSettings = JobSettings()
    translation: TranslationSettings = TranslationSettings()
    publishers: tuple[PublisherSettings, ...] = Field(
        (), description="CI jobs that may log in without a key, each a table `[[publishers]]` of the file, or all as JSON in the variable."
    )

    @field_validator("publishers")
    @classmethod
    def _say_for_whom(cls, publishers: tuple[PublisherSettings, ...], info: ValidationInfo) -> tuple[PublisherSettings, ...]:
        """The request's Host cannot be the audience: who asks chooses it, so tokens for other servers would do."""
        http = info.data.get("http")
        if any(each.audience is None for each in publishers) and (http is None or http.public_url is None):
            raise ValueError("set http.public_url to the address that jobs use as HF_ENDPOINT, or give each publisher an audience")
        files: dict[str, Path | None] = {}
        for each in publishers:
            if files.setdefault(each.issuer, each.jwks) != each.jwks:
                raise ValueError(f"the publishers of '{each.issuer}' have to name the same jwks")
        return publishers

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load_settings(file: Path | None = None, **given: Any) -> Settings:
    """Read the settings from `file` (default `yunmo.toml`, if it exists) and the environment; `given` beats both.

    Raises SettingsError with a message for the operator.
    """
    if file is not None and not file.exists():
        raise SettingsError(f"There is no settings file {file}.")

    _refuse_unknown_variables()

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file or Path("yunmo.toml"))

    present = {name: value for name, value in given.items() if value is not None}
    try:
        return FromFile(**present)
    except ValidationError as error:
        raise _unusable([_complaint(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors()]) from error
    except ValueError as error:
        raise SettingsError(f"{file or 'yunmo.toml'} is not valid TOML: {error}") from error


def _refuse_unknown_variables() -> None:
    """The library reads the variables that it knows and passes over the rest: a misspelt one would do nothing, in silence."""
    names = [name.upper() for name in EnvSettingsSource(Settings).env_vars if name.upper().startswith(_PREFIX)]
    groups = {_variable(group) for group, kind in _groups()}  # a whole group may be given as JSON
    known = {_variable(setting) for setting in _names()}
    unknown = sorted(set(names) - known - groups - set(_OF_CLIENTS))
    if unknown:
        raise _unusable([f"  {name}: there is no such variable{_nearest(name, known)}" for name in unknown])


def _unusable(lines: list[str]) -> SettingsError:
    return SettingsError("These settings cannot be used (see docs/reference/settings.md):\n" + "\n".join(lines))


def _complaint(setting: str, kind: str, message: str) -> str:
    if kind != "extra_forbidden":
        return f"  {setting}: {message}"
    entry, _, _ = setting.rpartition(".")
    known = (
        {f"{entry}.{name}" for name in PublisherSettings.model_fields} if entry.startswith("publishers.") else {*_names(), *dict(_groups())}
    )
    return f"  {setting}: there is no such setting{_nearest(setting, known)}"


def _nearest(name: str, known: set[str]) -> str:
    prefix = _PREFIX if name.startswith(_PREFIX) else ""  # what all have in common makes nothing near
    found = get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in sorted(known)], n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else "."


def _names() -> Iterator[str]:
    """Every setting, such as `data` and `serving.idle_seconds`."""
    groups = dict(_groups())
    yield from (name for name in Settings.model_fields if name not in groups)
    for group, kind in groups.items():
        yield from (f"{group}.{name}" for name in kind.model_fields)


def _groups() -> Iterator[tuple[str, type[_Group]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Group):
            yield name, field.annotation


def _variable(setting: str) -> str:
    return _PREFIX + setting.replace(".", "__").upper()
