"""The builders that ``configs/serve/*.yaml`` names: typed arguments in, a Serve application out.

An application that cannot start is refused here with a sentence, which Ray shows in its status; the others go on.
"""

from typing import Final

from fastapi import FastAPI
from ray import serve
from ray.serve import Application, Deployment

from configs import logs
from configs.secrets import load_or_create
from configs.settings import settings
from serving.catalogue import catalogue
from serving.deployments.arguments import EngineArgs, GatewayArgs
from serving.deployments.canaries import refuse_unknown
from serving.deployments.covers import Covers
from serving.deployments.gateway import make_gateway
from serving.deployments.opening import refuse_what_cannot_start
from serving.deployments.replica import CannotStart, Replica
from serving.deployments.serve_router import ServeRouter
from serving.deployments.songs import Songs
from serving.deployments.words import Words
from studio.errors import MelodeonError

Turns: Final = serve.deployment(Replica, name="Turns")
"""Several engines on one card, of any kind. Scaled by its entry in ``configs/serve/*.yaml``."""


def songs(args: EngineArgs) -> Application:
    """Replicas of a song engine."""
    return _application(Songs, args)


def words(args: EngineArgs) -> Application:
    """Replicas of an engine for texts."""
    return _application(Words, args)


def covers(args: EngineArgs) -> Application:
    """Replicas of an engine for pictures."""
    return _application(Covers, args)


def turns(args: EngineArgs) -> Application:
    """Replicas that hold several engines, one loaded at a time unless the memory suffices for more."""
    return _application(Turns, args)


def _application(deployment: Deployment, args: EngineArgs) -> Application:
    try:
        refuse_what_cannot_start(args, settings())
    except MelodeonError as error:
        raise CannotStart(error.sentence) from None
    return deployment.bind(args)


def gateway(args: GatewayArgs) -> Application:
    """The door in front of them. One that could not start is refused here, while the present one stays."""
    try:
        if args.canaries:
            refuse_unknown(args.rules(), catalogue())
    except MelodeonError as error:
        raise CannotStart(error.sentence) from None

    def door() -> FastAPI:
        """Runs in the gateway's replica, which reads the secrets of its own machine."""
        chosen = settings()
        logs.configure(chosen.logs, part="gateway")
        router = ServeRouter(lambda: catalogue().applications())
        key = load_or_create(chosen.var).gateway_key
        return make_gateway(router, catalogue, key=key, canaries=args.rules())

    return serve.deployment(serve.ingress(door)(), name="Gateway").bind()
