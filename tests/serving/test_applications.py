"""When a Serve file counts as up: what failed or waits for ever does not hold up what works."""

import pytest

from serving.applications import SETTLE_S, ApplicationFailed, standing_of


def application(status: str, *, route: str | None = None, message: str = "", why: str = "") -> dict:
    deployment = {"status": status, "message": why}
    return {"status": status, "route_prefix": route, "message": message, "deployments": {"It": deployment}}


GATEWAY = application("RUNNING", route="/")


def test_nothing_is_ready_before_ray_knows_any_application():
    assert not standing_of({}, waited_s=1e6).ready


def test_all_that_runs_is_ready_at_once():
    standing = standing_of({"gateway": GATEWAY, "songs": application("RUNNING")}, waited_s=0.1)
    assert (standing.ready, standing.remarks) == (True, ())


def test_what_is_still_coming_is_waited_for_but_not_for_ever():
    coming = {"gateway": GATEWAY, "songs": application("DEPLOYING", why="needs a GPU"), "words": application("RUNNING")}
    assert not standing_of(coming, waited_s=SETTLE_S - 1).ready
    late = standing_of(coming, waited_s=SETTLE_S + 1)
    assert late.ready
    assert late.remarks == ("The engine application “songs” is not ready yet; what needs it waits. needs a GPU",)


def test_one_that_failed_is_told_and_the_others_serve():
    failed = application("DEPLOY_FAILED", message="failed", why="Traceback …\nNo weights: fetch them.")
    standing = standing_of({"gateway": GATEWAY, "songs": failed, "words": application("RUNNING")}, waited_s=1)
    assert standing.ready
    assert "“songs” cannot start: No weights: fetch them." in standing.remarks[0]


@pytest.mark.parametrize("waited_s", [1.0, SETTLE_S + 1])
def test_one_that_failed_does_not_end_the_wait_for_one_that_still_comes(waited_s: float):
    failed, coming = application("DEPLOY_FAILED", message="broken"), application("DEPLOYING")
    assert not standing_of({"gateway": GATEWAY, "covers": failed, "songs": coming}, waited_s=waited_s).ready
    door = application("DEPLOYING", route="/")
    running = application("RUNNING")
    assert not standing_of({"gateway": door, "covers": failed, "songs": running}, waited_s=waited_s).ready


@pytest.mark.parametrize("waited_s", [1.0, SETTLE_S + 1])
def test_without_the_gateway_or_any_engine_nothing_is_ready(waited_s: float):
    failed = application("DEPLOY_FAILED", message="broken")
    with pytest.raises(ApplicationFailed, match="songs"):
        standing_of({"gateway": GATEWAY, "songs": failed}, waited_s=waited_s)
    door = application("DEPLOY_FAILED", route="/", message="broken")
    with pytest.raises(ApplicationFailed, match="gateway"):
        standing_of({"gateway": door, "songs": application("RUNNING")}, waited_s=waited_s)
    coming = {"gateway": application("DEPLOYING", route="/"), "songs": application("RUNNING")}
    assert not standing_of(coming, waited_s=waited_s).ready
