"""``melodeon engines``: what each engine can do, may be used for, and how it stands on this machine."""

import json
from dataclasses import asdict
from typing import Any

import click

from configs.addresses import attach, gateway_url
from configs.secrets import load_or_create
from configs.settings import Settings, settings
from serving import catalogue, models
from serving.client import GatewayClient
from serving.contract import ApplicationHealth
from studio.errors import MelodeonError
from studio.words.brief import BriefKind
from studio.words.engine_spec import EngineSpec


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def engines(as_json: bool) -> None:
    """List every engine: abilities, licence, weights, and whether it is ready."""
    chosen = attach(settings())
    served = catalogue.catalogue()
    applications, trouble = _applications(chosen)
    rows = []
    for spec in catalogue.known().engines():
        application = served.application_of(spec.name) if spec in served.engines() else None
        rows.append(
            {
                **_abilities(spec),
                **_permission(spec, chosen),
                "card": asdict(spec.card) if spec.card else None,
                "checkpoint": _checkpoint(spec, chosen),
                "served": application is not None,
                "application": application,
                **_readiness(application, applications, trouble),
            }
        )
    if as_json:
        click.echo(json.dumps({"gateway": trouble or "answers", "engines": rows}, indent=2))
        return
    for row in rows:
        _tell(row)


def _applications(chosen: Settings) -> tuple[dict[str, ApplicationHealth], str]:
    """How the gateway says its applications are, or why it says nothing."""
    if not (chosen.var / "secrets").is_dir():
        return {}, "Nothing has been started here yet."
    key = load_or_create(chosen.var).gateway_key
    try:
        answer = GatewayClient(gateway_url(chosen), key, chosen.serve.client_timeout_s).health()
    except MelodeonError as error:
        return {}, error.sentence
    return answer.applications, ""


def _abilities(spec: EngineSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "label": spec.label,
        "version": spec.version,
        "kinds": [kind.value for kind in spec.kinds],
        "tasks": [task.value for task in spec.tasks] if BriefKind.SONG in spec.kinds else [],
        "controls": [asdict(control) for control in spec.controls],
        "takes_together": spec.takes_together,
        "uses_guidance": spec.uses_guidance,
        "reference": spec.reference,
        "adapters": spec.adapters,
        "languages": list(spec.languages),
        "note": spec.note,
    }


def _permission(spec: EngineSpec, chosen: Settings) -> dict[str, Any]:
    try:
        models.allowed(spec, non_commercial=chosen.models.non_commercial)
    except models.ForbiddenModel as error:
        return {"licence": spec.licence, "commercial": spec.commercial, "allowed": False, "why_not": error.sentence}
    return {"licence": spec.licence, "commercial": spec.commercial, "allowed": True, "why_not": ""}


def _checkpoint(spec: EngineSpec, chosen: Settings) -> dict[str, Any] | None:
    if spec.card is None:
        return None
    held = models.verify(spec, chosen.models_folder, hashes=False)
    return {
        "state": held.state,
        "problem": held.problem,
        "folder": str(held.folder),
        "revision": held.revision,
        "size_bytes": held.size_bytes,
    }


def _readiness(
    application: str | None, applications: dict[str, ApplicationHealth], trouble: str
) -> dict[str, str | float | None]:
    times = {"load_s": None, "warm_up_s": None, "cold_start_s": None}
    if application is None:
        return {"readiness": "not served", "status": "The Serve file does not name it.", **times}
    if trouble:
        return {"readiness": "not running", "status": trouble, **times}
    health = applications.get(application)
    if health is None:
        return {"readiness": "not ready", "status": "The gateway does not know its application yet.", **times}
    return {
        "readiness": "ready" if health.ready else "not ready",
        "status": health.status,
        "load_s": health.load_s,
        "warm_up_s": health.warm_up_s,
        "cold_start_s": health.cold_start_s,
    }


def _tell(row: dict[str, Any]) -> None:
    weights = f"weights {row['checkpoint']['state']}" if row["checkpoint"] else "no weights"
    use = "" if row["commercial"] else ", not for commercial use"
    click.echo(f"{row['name']:<20} {row['readiness']:<11}  {row['label']} ({row['licence']}{use}; {weights})")
    tasks = f"; tasks {', '.join(row['tasks'])}" if row["tasks"] else ""
    click.echo(f"{'':<20} {'':<11}  makes {', '.join(row['kinds'])}{tasks}")
