"""The builders that ``configs/serve/*.yaml`` names: typed arguments in, a Serve application out."""

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application

from configs import logs
from configs.secrets import load_or_create
from configs.settings import settings
from serving.catalogue import catalogue, spec_of
from serving.deployments.covers import Covers
from serving.deployments.gateway import make_gateway
from serving.deployments.serve_router import ServeRouter
from serving.deployments.songs import Songs
from serving.deployments.words import Words


class EngineArgs(BaseModel):
    """Which engine an application runs: a name in ``configs/engines.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str


class GatewayArgs(BaseModel):
    """The gateway has nothing to choose: it serves what the catalogue names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def songs(args: EngineArgs) -> Application:
    """Replicas of a song engine."""
    return Songs.bind(spec_of(args.engine).name)


def words(args: EngineArgs) -> Application:
    """Replicas of an engine for texts."""
    return Words.bind(spec_of(args.engine).name)


def covers(args: EngineArgs) -> Application:
    """Replicas of an engine for pictures."""
    return Covers.bind(spec_of(args.engine).name)


def gateway(_: GatewayArgs) -> Application:
    """The door in front of them."""
    return serve.deployment(serve.ingress(_gateway)(), name="Gateway").bind()


def _gateway() -> FastAPI:
    """Runs in the gateway's replica, which reads the secrets of its own machine."""
    chosen = settings()
    logs.configure(chosen.logs, part="gateway")
    router = ServeRouter(catalogue().applications())
    return make_gateway(router, catalogue(), key=load_or_create(chosen.var).gateway_key)
