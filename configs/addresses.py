"""Where the parts of this installation are to be reached."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from configs.secrets import Secrets
from configs.settings import Settings, StripeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What ``melodeon up`` has started, for the other commands: no secrets.

    Attributes:
        pid: of the supervisor.
        web_url, gateway_url: without a trailing slash; ``web_url`` is empty while no pages are served.
        database_port: of the embedded Postgres, None when another database is used.
        ray_ports: those Ray was started with, by their setting; empty when it runs elsewhere.
        pretended_stripe_port: of the fake that payments go to; None when they are real or off.
    """

    pid: int
    web_url: str
    gateway_url: str
    database_port: int | None
    ray_ports: dict[str, int] = field(default_factory=dict)
    pretended_stripe_port: int | None = None


Login = Literal["owner", "app", "worker", "billing", "analyst"]
"""Who asks the database: the operator's commands and migrations, the web process, the worker, its payments, people
who only look. What each may do stands in ``data/migrations/sql/grants.sql``."""


def database_url(settings: Settings, secrets: Secrets, *, role: Login) -> str:
    """SQLAlchemy URL of the database for one login: the one configured, else the embedded server's.

    Where a database is configured and ``role`` has no address of its own there, it is everybody's address.
    """
    database = settings.database
    if database.url is None:
        user, password = _embedded_logins(secrets)[role]
        return f"postgresql+psycopg://{user}:{quote(password)}@127.0.0.1:{database.port}/melodeon"
    own = {"owner": database.owner_url, "worker": database.worker_url, "billing": database.billing_url}.get(role)
    return (own or database.url).get_secret_value()


def login_passwords(secrets: Secrets) -> dict[str, str]:
    """The passwords that the embedded server is to know, by the name of the login; its owner's it knows already."""
    return dict(login for role, login in _embedded_logins(secrets).items() if role != "owner")


def _embedded_logins(secrets: Secrets) -> dict[Login, tuple[str, str]]:
    return {
        "owner": ("melodeon", secrets.database_password),
        "app": ("melodeon_app", secrets.app_password),
        "worker": ("melodeon_worker", secrets.worker_password),
        "billing": ("melodeon_billing", secrets.billing_password),
        "analyst": ("melodeon_analyst", secrets.analyst_password),
    }


def pretended_keys(var: Path) -> Path:
    """The file by which the fake Stripe of this installation shares its keys."""
    return var / "fake-stripe" / "keys.json"


def pretended_stripe(var: Path, port: int) -> StripeSettings:
    """Payments by the fake Stripe of this installation, on this port of this machine."""
    keys = json.loads(pretended_keys(var).read_text())
    return StripeSettings(
        api_key=keys["api_key"], webhook_secrets=(keys["webhook_secret"],), base_url=f"http://127.0.0.1:{port}"
    )


def pretended_stripe_port(settings: Settings) -> int | None:
    """The port of the fake Stripe; None when payments are real or off."""
    key, url = settings.stripe.api_key, settings.stripe.base_url
    if key is None or url is None or not key.get_secret_value().startswith("sk_fake_"):
        return None
    return urlsplit(url).port


def gateway_url(settings: Settings) -> str:
    """Base URL of the gateway in front of the models."""
    return settings.serve.gateway_url or f"http://127.0.0.1:{settings.serve.http_port}"


def web_url(settings: Settings) -> str:
    """Base URL of the pages, as people type it."""
    if settings.web.public_url:
        return settings.web.public_url.rstrip("/")
    return local_web_url(settings)


def local_web_url(settings: Settings) -> str:
    """Base URL of the pages on this machine, whatever stands in front of them."""
    host = "127.0.0.1" if settings.web.host in ("0.0.0.0", "::") else settings.web.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.web.port}"


def _running_file(var: Path) -> Path:
    return var / "run" / "running.json"


def write_running(var: Path, running: Running) -> None:
    """Tell the other commands what runs."""
    path = _running_file(var)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(asdict(running)))
    aside.replace(path)


def forget_running(var: Path) -> None:
    """Nothing runs any more."""
    _running_file(var).unlink(missing_ok=True)


def read_running(var: Path) -> Running | None:
    """What ``melodeon up`` has started under ``var``, or None when its supervisor does not live."""
    try:
        running = Running(**json.loads(_running_file(var).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if _lives(running.pid) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but alive
        return True
    return True


def attach(settings: Settings) -> Settings:
    """The settings with the ports that are really in use, if the product runs under ``settings.var``."""
    running = read_running(settings.var)
    if running is None:
        return settings
    serve = settings.serve.model_copy(update={"gateway_url": running.gateway_url, **running.ray_ports})
    web = settings.web.model_copy(update={"public_url": running.web_url or settings.web.public_url})
    database = settings.database
    if running.database_port is not None:
        database = database.model_copy(update={"port": running.database_port})
    stripe = settings.stripe
    if running.pretended_stripe_port is not None:
        stripe = pretended_stripe(settings.var, running.pretended_stripe_port)
    return settings.model_copy(update={"serve": serve, "web": web, "database": database, "stripe": stripe})
