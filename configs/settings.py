"""Every setting of the product. The only reader of environment variables and of ``configs/melodeon.toml``.

A setting is written ``MELODEON_SECTION__NAME`` in the environment or ``[section] name`` in a TOML file named by
``MELODEON_CONFIG`` (default: ``configs/melodeon.toml`` of the package). The environment wins. Unknown names are
refused with a suggestion; secrets have no default here, see ``configs.secrets``.
"""

import difflib
import ipaddress
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

_HERE = Path(__file__).parent


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


Network = Annotated[str, AfterValidator(_network)]
"""An IP address or network such as ``10.0.0.0/8``, as text."""

Port = Annotated[int, Field(ge=1, le=65_535)]


class DatabaseSettings(_Section):
    """Postgres. Without ``url`` the product starts its own server under ``var/postgres``.

    With ``url`` every part logs in there, unless it has an address of its own: ``owner_url`` for migrations and the
    operator's commands, ``worker_url`` for the worker, ``billing_url`` for payments.
    """

    url: SecretStr | None = None
    owner_url: SecretStr | None = None
    worker_url: SecretStr | None = None
    billing_url: SecretStr | None = None
    port: Port = 5433
    pool_size: int = Field(default=10, ge=1, le=200)
    statement_timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _one_server(self) -> Self:
        if self.url is None and (self.owner_url or self.worker_url or self.billing_url):
            raise ValueError("owner_url, worker_url and billing_url need url beside them, on the same server")
        return self


class StoreSettings(_Section):
    """The object store: a folder under ``var/objects``, or any S3-compatible service."""

    kind: Literal["folder", "s3"] = "folder"
    endpoint_url: str | None = None
    region: str = "us-east-1"
    bucket: str = "melodeon"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    link_life_s: int = Field(default=3600, ge=1, le=604_800)
    stream_link_life_s: int = Field(default=600, ge=1, le=604_800)


class WebSettings(_Section):
    """The pages and the HTTP doors.

    ``trusted_proxies``: addresses or networks of proxies that are believed when they say for whom they ask
    (``X-Forwarded-For``, ``X-Forwarded-Proto``), beside those on this machine, which always are. ``second_factor``: of
    whom one is demanded: of nobody (``offered``), of everybody with another role than creator (``team``), of
    ``everybody``.
    """

    host: str = "127.0.0.1"
    port: Port = 8600
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    session_days: int = Field(default=14, ge=1, le=365)
    second_factor: Literal["offered", "team", "everybody"] = "offered"


class ServeSettings(_Section):
    """Ray and Ray Serve. With ``gateway_url`` set, a cluster elsewhere is used and no Ray is started here.

    ``config`` is the one Serve file of the whole installation, the same on every machine: the engines it names are
    those that people can choose. ``engines_file`` adds engines to the catalogue's own, or changes them.
    """

    gateway_url: str | None = None
    config: Path = _HERE / "serve" / "laptop.yaml"
    engines_file: Path | None = None
    http_port: Port = 8610
    gcs_port: Port = 8611
    dashboard_port: Port = 8612
    agent_port: Port = 8613
    metrics_port: Port = 8614
    client_port: Port = 8615
    worker_ports_from: int = Field(default=18_600, ge=1, le=65_436)
    client_timeout_s: float = Field(default=900.0, gt=0)


class ModelsSettings(_Section):
    """Weights. ``folder``: where checkpoints lie, ``models`` under ``var`` when absent. ``non_commercial``: engines
    whose licence forbids selling the results may start. ``offline``: nothing is ever downloaded."""

    folder: Annotated[Path, AfterValidator(Path.absolute)] | None = None
    non_commercial: bool = False
    offline: bool = False


class WorkerSettings(_Section):
    """The worker that takes Jobs."""

    concurrency: int = Field(default=4, ge=1, le=64)
    lease_s: float = Field(default=30.0, gt=0)
    heartbeat_s: float = Field(default=5.0, gt=0)
    poll_s: float = Field(default=0.2, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)
    lane_budget_s: float = Field(default=2.0, ge=0)
    retry_base_s: float = Field(default=5.0, ge=0)
    max_attempts: int = Field(default=3, ge=1, le=10)
    job_deadline_s: float = Field(default=900.0, gt=0)
    extra_patience_s: float = Field(default=60.0, ge=0)

    @model_validator(mode="after")
    def _outlives_a_missed_beat(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("lease_s must be at least twice heartbeat_s, or workers lose Jobs that they still work on")
        return self


class MailSettings(_Section):
    """How letters go out. Without ``smtp_url`` they are written to files under ``var/mail``.

    ``smtp_url``: ``smtps://`` speaks TLS from the first byte, ``smtp://`` asks for it by STARTTLS and sends nothing
    without, ``smtp+plain://`` never does (for a relay on this machine).
    """

    smtp_url: SecretStr | None = None
    sender: str = Field(
        default="Melodeon <melodeon@localhost>", pattern=r"^[^\x00-\x1f\x7f]*[^@\s\x00-\x1f\x7f]@[^@\s]+$"
    )


class LimitSettings(_Section):
    """How often one account (without one: one address) may come, over all replicas; half of it may come at once.

    ``streams_per_account`` and ``streams``: how many streams of live news one web process keeps open, for one account
    and for all.
    """

    writes_per_minute: int = Field(default=600, ge=2)
    songs_per_minute: int = Field(default=120, ge=2)
    streams_per_account: int = Field(default=20, ge=1)
    streams: int = Field(default=2000, ge=1)


class OidcProvider(_Section):
    """A provider of OpenID Connect by which people may sign in beside passwords.

    ``name`` is a short word for addresses (without ``_``, which the library behind it cannot bear), ``label`` what the
    button says, ``metadata_url`` the provider's ``…/.well-known/openid-configuration``.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,31}$")
    label: str = Field(min_length=1, max_length=40)
    client_id: str = Field(min_length=1)
    client_secret: SecretStr
    metadata_url: str = Field(pattern=r"^https?://.+/\.well-known/openid-configuration$")


class StripeSettings(_Section):
    """Payments. Without ``api_key`` they are off and everything else works.

    ``webhook_secrets`` are the signing secrets of the endpoint at Stripe: one, or two while it is being changed.
    ``base_url`` is another address than Stripe's own: that of the fake.
    """

    api_key: SecretStr | None = None
    webhook_secrets: tuple[SecretStr, ...] = ()
    base_url: str | None = None

    @model_validator(mode="after")
    def _hears_what_it_sells(self) -> Self:
        if self.api_key is not None and not self.webhook_secrets:
            raise ValueError("webhook_secrets must be set beside api_key, or nobody gets what they paid for")
        return self


class ProvenanceSettings(_Section):
    """Who signs what is made here. Without these two, PEM files both, the installation has a certificate of its own.

    ``chain``: the signer's certificate first, then those that vouch for it. ``key``: without a password; Ed25519, P-256
    or P-384.
    """

    chain: Annotated[Path, AfterValidator(Path.absolute)] | None = None
    key: Annotated[Path, AfterValidator(Path.absolute)] | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.chain is None) != (self.key is None):
            raise ValueError("chain and key must be set together")
        return self


class LogSettings(_Section):
    """Logs are JSON lines when a machine reads them and coloured text on a terminal."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


QUEUED_SONGS_MAX: Final = 100
"""Songs that one account may have waiting, unless set otherwise."""


class UnknownSetting(Exception):
    """A setting that does not exist was given, or one has a value that is not allowed."""


class Settings(BaseSettings):
    """All settings, frozen."""

    model_config = SettingsConfigDict(
        env_prefix="MELODEON_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    var: Annotated[Path, AfterValidator(Path.absolute)] = Path("var")
    database: DatabaseSettings = DatabaseSettings()
    store: StoreSettings = StoreSettings()
    web: WebSettings = WebSettings()
    serve: ServeSettings = ServeSettings()
    models: ModelsSettings = ModelsSettings()
    worker: WorkerSettings = WorkerSettings()
    stripe: StripeSettings = StripeSettings()
    logs: LogSettings = LogSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    mail: MailSettings = MailSettings()
    limits: LimitSettings = LimitSettings()
    oidc: tuple[OidcProvider, ...] = ()
    signup_credits: int = Field(default=100, ge=0)
    queued_songs_max: int = Field(default=QUEUED_SONGS_MAX, ge=1)

    @property
    def models_folder(self) -> Path:
        """Where checkpoints lie."""
        return self.models.folder or self.var / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values given in code, then the environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _checked_file())


_OTHER_NAMES = {"MELODEON_CONFIG"}


def _checked_file() -> Path:
    path = Path(os.environ.get("MELODEON_CONFIG", _HERE / "melodeon.toml"))
    try:
        tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownSetting(f"The settings in {path} cannot be read: {error}.") from None
    return path


def _known_names() -> list[str]:
    names = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            names += [f"MELODEON_{name}__{key}".upper() for key in section.model_fields]
        else:
            names.append(f"MELODEON_{name}".upper())
    return names


def _refuse_unknown_environment() -> None:
    known = _known_names()
    sections = {name.split("__")[0] for name in known}
    allowed = {*known, *_OTHER_NAMES, *sections}
    wrong = [name for name in os.environ if name.upper().startswith("MELODEON_") and name.upper() not in allowed]
    if wrong:
        raise UnknownSetting("\n".join(f"There is no setting {name}.{_hint(name.upper())}" for name in sorted(wrong)))


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, _known_names(), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _sentence(item: ErrorDetails) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"There is no setting {name}." + _hint("MELODEON_" + name.replace(".", "__").upper())
    return f"Setting {name}: {item['msg'].removeprefix('Value error, ')}."


def load(**overrides: Any) -> Settings:
    """Read the settings of this process.

    Raises:
        UnknownSetting: with one line for each wrong name or value; values are not repeated, they may be secret.
    """
    _refuse_unknown_environment()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise UnknownSetting("\n".join(_sentence(item) for item in error.errors())) from None
    except SettingsError as error:
        raise UnknownSetting(f"{error}; it must be JSON.") from None


@cache
def settings() -> Settings:
    """The settings of this process, read once. For entry points only: hand the values down."""
    return load()
