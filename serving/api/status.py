"""Doors for machines that watch: is the product alive, is it ready, what can its engines do."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from serving import catalogue, health
from serving.api.answers import good
from serving.api.identity import TheServices

router = APIRouter(tags=["health"])


@router.get("/health")
def alive() -> Any:
    """This process answers. For load balancers."""
    return good({"status": "alive"})


@router.get("/health/ready")
def ready(services: TheServices) -> Any:
    """Whether people can make songs now: 200 with every part's state, or 503."""
    checks = health.quick_checks(services.settings, services.database, services.store, services.gateway)
    fine = all(check.ok for check in checks)
    data = {"ready": fine, "checks": [asdict(check) for check in checks]}
    return good(data) if fine else JSONResponse({"ok": True, "data": data}, status_code=503)


@router.get("/engines")
def engines() -> Any:
    """The engines of this installation with their controls and limits."""
    return good({"engines": [asdict(spec) for spec in catalogue.engines()]})
