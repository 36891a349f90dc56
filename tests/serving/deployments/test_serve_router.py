"""The router when Ray Serve itself says no; with a Ray around it, it is tested in `test_ray_serve`."""

import asyncio
import warnings
from types import SimpleNamespace

import pytest

from serving.deployments.routing import NotReady

with warnings.catch_warnings():
    # Ray's own configuration classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray import serve
    from ray.exceptions import RayActorError
    from ray.serve.exceptions import RayServeException

    from serving.deployments import serve_router
    from serving.deployments.serve_router import ServeRouter


@pytest.mark.parametrize("error", [RayServeException("Application 'songs' does not exist."), RayActorError()])
def test_an_application_that_left_after_it_was_seen_takes_no_calls(monkeypatch, ask, error):
    running = SimpleNamespace(status=SimpleNamespace(value="RUNNING"), deployments={})

    def gone(_name: str) -> None:
        raise error

    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications={"songs": running}))
    monkeypatch.setattr(serve, "get_app_handle", gone)

    async def call() -> None:
        await anext(ServeRouter(lambda: ["songs"]).stream("songs", ask()))

    with pytest.raises(NotReady, match="songs is not ready"):
        asyncio.run(call())


def test_an_application_that_was_added_since_the_last_look_is_called_later_and_seen_by_then(monkeypatch, ask):
    running = SimpleNamespace(status=SimpleNamespace(value="RUNNING"), deployments={})
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications={"songs": running, "next": running}))
    names = ["songs"]
    monkeypatch.setattr(serve_router, "STATUS_LIFE_S", 3600.0)
    router = ServeRouter(lambda: names)

    async def call() -> None:
        assert set(await router.health()) == {"songs"}
        names.append("next")
        with pytest.raises(NotReady, match="next is not ready"):
            await anext(router.stream("next", ask()))
        monkeypatch.setattr(serve_router, "STATUS_LIFE_S", 0.0)  # what was seen has become old
        assert (await router.health())["next"].ready

    asyncio.run(call())
