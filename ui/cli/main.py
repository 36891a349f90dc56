"""The ``melodeon`` command."""

import sys

import click

from configs.settings import UnknownSetting
from studio.errors import MelodeonError
from studio.words.brief import UnfitBrief
from ui.cli.account import account
from ui.cli.backup import backup, restore
from ui.cli.billing import billing
from ui.cli.credits import credits_
from ui.cli.doctor import doctor
from ui.cli.engines import engines
from ui.cli.ledger import ledger_
from ui.cli.migrate import migrate
from ui.cli.models import models
from ui.cli.simulate import simulate
from ui.cli.song import song
from ui.cli.up import up
from ui.cli.verify import verify

EXIT_ERROR = 1
EXIT_BAD_INPUT = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="melodeon")
def melodeon() -> None:
    """Your own music studio: describe a song, own the result."""


for command in (
    up,
    song,
    doctor,
    migrate,
    credits_,
    ledger_,
    billing,
    account,
    engines,
    models,
    simulate,
    backup,
    restore,
    verify,
):
    melodeon.add_command(command)


def main() -> None:
    """Entry point: errors become one sentence on standard error and an exit code."""
    try:
        melodeon(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_BAD_INPUT)
    except click.Abort:
        sys.exit(EXIT_ERROR)
    except UnknownSetting as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_BAD_INPUT)
    except UnfitBrief as error:
        click.echo(error.sentence, err=True)
        sys.exit(EXIT_BAD_INPUT)
    except MelodeonError as error:
        click.echo(error.sentence, err=True)
        sys.exit(EXIT_ERROR)
