"""``melodeon models``: the weights of the engines, fetched, listed and verified."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import click

from configs.settings import settings
from serving import catalogue
from serving import models as checkpoints
from studio.errors import MelodeonError
from studio.words.engine_spec import EngineSpec


@click.group()
def models() -> None:
    """Weights of the engines on this machine."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(as_json: bool) -> None:
    """Show every checkpoint that an engine of the catalogue needs, and whether it is here."""
    _tell(_states(checkpoints.listing(catalogue.known().engines(), settings().models_folder)), as_json)


@models.command()
@click.argument("names", nargs=-1)
@click.option("--again", is_flag=True, help="Fetch although it is here: the source may have moved on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def fetch(names: tuple[str, ...], again: bool, as_json: bool) -> None:
    """Fetch the checkpoints of the engines NAMES; without names, of those that the Serve file runs."""
    chosen = settings()
    done = []
    for spec in _specs(names, among=catalogue.engines):
        try:
            checkpoints.allowed(spec, non_commercial=chosen.models.non_commercial)
            held = checkpoints.fetch(
                spec,
                chosen.models_folder,
                offline=chosen.models.offline,
                say=lambda sentence: click.echo(sentence, err=as_json),
                again=again,
            )
            done.append(_state(held))
        except MelodeonError as error:
            click.echo(error.sentence, err=True)
            done.append({"engine": spec.name, "state": "failed", "code": error.code, "problem": error.sentence})
    _end(done, as_json)


@models.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Read every byte of the checkpoints NAMES and compare it with what was fetched; without names, of all here."""
    folder = settings().models_folder
    found = [checkpoints.verify(spec, folder) for spec in _specs(names, among=catalogue.known().engines)]
    states = _states(held for held in found if names or held.state != "absent")
    if not as_json:
        _tell(states, as_json)
    _end(states, as_json)


def _specs(names: tuple[str, ...], *, among: Callable[[], tuple[EngineSpec, ...]]) -> list[EngineSpec]:
    if names:
        return [catalogue.known().spec_of(name) for name in names]
    return [spec for spec in among() if spec.card]


def _states(found: Iterable[checkpoints.Held]) -> list[dict[str, Any]]:
    return [_state(held) for held in found]


def _state(held: checkpoints.Held) -> dict[str, Any]:
    return {**asdict(held), "folder": str(held.folder)}


def _tell(states: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"checkpoints": states}, indent=2))
        return
    for one in states:
        size = checkpoints.size_words(one["size_bytes"]) if one["size_bytes"] else ""
        click.echo(f"{one['state']:<7} {size:>10}  {one['engine']:<20} {one['source']}")
        if one["problem"]:
            click.echo(f"        {one['problem']}")
    if not states:
        click.echo("There is no checkpoint here. Run `melodeon models fetch NAME`.")


def _end(states: list[dict[str, Any]], as_json: bool) -> None:
    """Exit with 1 unless every checkpoint is here and whole."""
    fine = all(one["state"] == "held" for one in states)
    if as_json:
        click.echo(json.dumps({"ok": fine, "checkpoints": states}, indent=2))
    sys.exit(0 if fine else 1)
