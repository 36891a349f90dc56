"""``melodeon migrate``: bring the tables to this version."""

import click

from configs.addresses import attach, database_url
from configs.secrets import load_or_create
from configs.settings import settings
from data import database
from serving.stack import bring_up_to_date


@click.command()
def migrate() -> None:
    """Bring the database's tables to this version (`melodeon up` does it by itself)."""
    chosen = attach(settings())
    secrets = load_or_create(chosen.var)
    bring_up_to_date(chosen, secrets)
    revision = database.revision(database_url(chosen, secrets, role="owner"))
    click.echo(f"The tables are at revision {revision}.")
