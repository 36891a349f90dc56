"""Doors for machines that watch: is the product alive, is it ready, what can its engines do."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from serving import catalogue, health
from serving.api.answers import bad, good
from serving.api.identity import TheServices

router = APIRouter(tags=["health"])


@router.get("/health")
def alive() -> Any:
    """This process answers. For load balancers."""
    return good({"status": "alive"})


@router.get("/health/ready")
def ready(services: TheServices) -> Any:
    """Whether people can make songs now: 200, or 503 and which parts are not well. ``melodeon doctor`` says more."""
    checks = health.quick_checks(services.settings, services.database, services.store, services.gateway)
    parts = {"parts": {check.name: check.ok for check in checks}}
    if all(check.ok for check in checks):
        return good(parts)
    return bad(503, "not_ready", "Some parts of the product are not ready yet, or have failed.", details=parts)


@router.get("/engines")
def engines() -> Any:
    """The engines of this installation with their controls and limits."""
    return good({"engines": [asdict(spec) for spec in catalogue.engines()]})
