"""``melodeon migrate``: bring the tables to this version."""

import click

from configs.addresses import attach, database_url
from configs.secrets import load_or_create
from configs.settings import settings
from data import database


@click.command()
def migrate() -> None:
    """Bring the database's tables to this version (`melodeon up` does it by itself)."""
    chosen = attach(settings())
    url = database_url(chosen, load_or_create(chosen.var))
    database.migrate(url)
    click.echo(f"The tables are at revision {database.revision(url)}.")
