"""Every setting of the product. The only reader of environment variables and of ``configs/melodeon.toml``.

A setting is written ``MELODEON_SECTION__NAME`` in the environment or ``[section] name`` in a TOML file named by
``MELODEON_CONFIG`` (default: ``configs/melodeon.toml`` of the package). The environment wins. Unknown names are
refused with a suggestion; secrets have no default here, see ``configs.secrets``.
"""

import difflib
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_HERE = Path(__file__).parent


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Section):
    """Postgres. Without ``url`` the product starts its own server under ``var/postgres``."""

    url: SecretStr | None = None
    port: int = 5433
    pool_size: int = Field(default=10, ge=1, le=200)
    statement_timeout_s: float = Field(default=30.0, gt=0)


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
    """The pages and the HTTP doors."""

    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=1, le=65_535)
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    session_days: int = Field(default=14, ge=1, le=365)


class ServeSettings(_Section):
    """Ray and Ray Serve. With ``gateway_url`` set, a cluster elsewhere is used and no Ray is started here."""

    gateway_url: str | None = None
    config: Path = _HERE / "serve" / "laptop.yaml"
    http_port: int = 8610
    gcs_port: int = 8611
    dashboard_port: int = 8612
    agent_port: int = 8613
    metrics_port: int = 8614
    client_port: int = 8615
    worker_ports_from: int = 18_600
    client_timeout_s: float = Field(default=900.0, gt=0)


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


class LogSettings(_Section):
    """Logs are JSON lines when a machine reads them and coloured text on a terminal."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


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
    worker: WorkerSettings = WorkerSettings()
    logs: LogSettings = LogSettings()
    signup_credits: int = Field(default=100, ge=0)
    queued_songs_max: int = Field(default=100, ge=1)

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
        toml = Path(os.environ.get("MELODEON_CONFIG", _HERE / "melodeon.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml)


_OTHER_NAMES = {"MELODEON_CONFIG"}


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
    for name in os.environ:
        if name.startswith("MELODEON_") and name.upper() not in {*known, *_OTHER_NAMES, *sections}:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UnknownSetting(f"There is no setting {name}.{hint}")


def load(**overrides: Any) -> Settings:
    """Read the settings of this process.

    Raises:
        UnknownSetting: with one sentence per wrong name or value.
    """
    _refuse_unknown_environment()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            name = ".".join(str(part) for part in item["loc"])
            near = difflib.get_close_matches("MELODEON_" + name.replace(".", "__").upper(), _known_names(), n=1)
            hint = f" Did you mean {near[0]}?" if near and item["type"] == "extra_forbidden" else ""
            lines.append(f"Setting {name}: {item['msg']}.{hint}")
        raise UnknownSetting("\n".join(lines)) from None


@cache
def settings() -> Settings:
    """The settings of this process, read once. For entry points only: hand the values down."""
    return load()
