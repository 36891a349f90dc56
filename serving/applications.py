"""How the applications of a Serve file stand, by what Ray's REST door tells of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from studio.errors import MelodeonError

SETTLE_S: Final = 120.0
"""An application that has not come up by then waits for something that may never come, a card for example."""


class ApplicationFailed(MelodeonError):
    """An application of the Serve file cannot start."""

    code = "application_failed"

    def __init__(self, name: str, why: str) -> None:
        last = why.strip().splitlines()[-1] if why.strip() else "no reason given"
        super().__init__(f"The engine application “{name}” cannot start: {last} See var/log/engines.log.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``ready``: songs can be made; ``remarks``: a sentence for each application that is not there all the same."""

    ready: bool
    remarks: tuple[str, ...] = ()


def standing_of(
    applications: Mapping[str, Mapping[str, Any]], *, waited_s: float, settle_s: float = SETTLE_S
) -> Standing:
    """How the whole file stands.

    It is ready when every application runs. One that failed, or has not come up within ``settle_s``, does not hold up
    the others: then it is ready with the gateway and any engine.

    Args:
        applications: as Ray tells of them, by name; the gateway is the one with a route.
        waited_s: seconds since the file was applied.
        settle_s: how long the slower ones are waited for.

    Raises:
        ApplicationFailed: nothing works, or the gateway does not, and waiting longer would not help.
    """
    missing = {name: seen for name, seen in applications.items() if seen["status"] != "RUNNING"}
    if not missing:
        return Standing(ready=bool(applications))
    failed = {name for name, seen in missing.items() if seen["status"] == "DEPLOY_FAILED"}
    if len(failed) < len(missing) and waited_s < settle_s:
        return Standing(ready=False)
    doors = {name for name, seen in applications.items() if seen.get("route_prefix")}
    engines = applications.keys() - doors
    if engines - missing.keys() and not doors & missing.keys():
        return Standing(ready=True, remarks=tuple(_remark(name, seen) for name, seen in sorted(missing.items())))
    hopeless = failed if engines <= failed else failed & doors
    for name in sorted(hopeless):
        raise ApplicationFailed(name, failure_of(applications[name]))
    return Standing(ready=False)


def failure_of(application: Mapping[str, Any]) -> str:
    """Why an application failed, in Ray's words: those of the deployment whose replicas did not start, if one did not.

    Args:
        application: as Ray's REST door describes it.
    """
    deployments = application.get("deployments", {}).values()
    said = [deployment["message"] for deployment in deployments if deployment["status"] == "DEPLOY_FAILED"]
    return next(filter(None, said), str(application["message"]))


def _remark(name: str, application: Mapping[str, Any]) -> str:
    if application["status"] == "DEPLOY_FAILED":
        return ApplicationFailed(name, failure_of(application)).sentence
    deployments = application.get("deployments", {}).values()
    why = " ".join(filter(None, (str(deployment.get("message", "")).strip() for deployment in deployments)))
    return f"The engine application “{name}” is not ready yet; what needs it waits. {why}".strip()
