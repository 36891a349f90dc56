"""``melodeon doctor``: look at every part and say in a sentence what is wrong and what to do."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from configs.addresses import attach, database_url, web_url
from configs.logs import configure
from configs.secrets import load_or_create
from configs.settings import settings
from serving import health
from serving.api.services import open_services
from studio.errors import MelodeonError


class NotInstalled(MelodeonError):
    """There is nothing to look at."""

    code = "not_installed"

    def __init__(self, var: Path) -> None:
        super().__init__(f"Nothing has been started under {var} yet: run `make run` there, or set MELODEON_VAR.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Look at every part and say what is wrong and what to do."""
    chosen = attach(settings())
    configure(chosen.logs.model_copy(update={"level": "ERROR"}), part="doctor")
    if not (chosen.var / "secrets").is_dir():
        raise NotInstalled(chosen.var)
    secrets = load_or_create(chosen.var)
    services = open_services(chosen, secrets)
    checks = health.all_checks(
        chosen,
        database=services.database,
        database_url=database_url(chosen, secrets),
        store=services.store,
        gateway=services.gateway,
        web_url=web_url(chosen),
    )
    services.database.dispose()
    fine = all(check.ok for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": fine, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<16} {check.sentence}")
    sys.exit(0 if fine else 1)
