"""``melodeon doctor``: look at every part and say in a sentence what is wrong and what to do."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from configs.addresses import attach, database_url, read_running, web_url
from configs.logs import configure
from configs.secrets import Secrets, load_or_create
from configs.settings import Settings, settings
from serving import exposure, health
from serving.api.services import open_services
from studio.errors import MelodeonError


class NotInstalled(MelodeonError):
    """There is nothing to look at."""

    code = "not_installed"

    def __init__(self, var: Path) -> None:
        super().__init__(f"Nothing has been started under {var} yet: run `make run` there, or set MELODEON_VAR.")


class NotRunning(MelodeonError):
    """What strangers could reach shows only while the product runs."""

    code = "not_running"

    def __init__(self, var: Path) -> None:
        super().__init__(f"Melodeon does not run under {var}: start it with `melodeon up` and look again.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--security", is_flag=True, help="Look at what strangers could reach instead.")
def doctor(as_json: bool, security: bool) -> None:
    """Look at every part and say what is wrong and what to do."""
    chosen = attach(settings())
    configure(chosen.logs.model_copy(update={"level": "ERROR"}), part="doctor")
    if not (chosen.var / "secrets").is_dir():
        raise NotInstalled(chosen.var)
    secrets = load_or_create(chosen.var)
    checks = _strangers(chosen, secrets) if security else _parts(chosen, secrets)
    fine = all(check.ok for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": fine, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<16} {check.sentence}")
    sys.exit(0 if fine else 1)


def _parts(chosen: Settings, secrets: Secrets) -> list[health.Check]:
    """Whether every part does its work."""
    services = open_services(chosen, secrets, role="owner")
    checks = health.all_checks(
        chosen,
        database=services.database,
        database_url=database_url(chosen, secrets, role="owner"),
        logins=_logins(chosen, secrets),
        store=services.store,
        gateway=services.gateway,
        web_url=web_url(chosen),
    )
    services.database.dispose()
    return checks


def _strangers(chosen: Settings, secrets: Secrets) -> list[health.Check]:
    """What strangers could reach."""
    running = read_running(chosen.var)
    if running is None:
        raise NotRunning(chosen.var)
    return [
        health.check_secrets(chosen.var),
        health.check_logins(_logins(chosen, secrets)),
        health.check_address(web_url(chosen), chosen.web.host),
        *exposure.security_checks(chosen, running),
    ]


def _logins(chosen: Settings, secrets: Secrets) -> dict[str, str]:
    """How each part reaches the database."""
    return {
        "web": database_url(chosen, secrets, role="app"),
        "worker": database_url(chosen, secrets, role="worker"),
        "payments": database_url(chosen, secrets, role="billing"),
    }
