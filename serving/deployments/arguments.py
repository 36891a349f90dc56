"""The arguments of applications, as ``configs/serve/*.yaml`` writes them. Unknown words are refused."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.deployments.canaries import Canary
from serving.deployments.recycle import RecycleRule


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecycleArgs(_Args):
    """When a replica is replaced while it has nothing to do; see `RecycleRule`."""

    after_songs: int | None = Field(default=None, ge=1)
    resident_gb: float | None = Field(default=None, gt=0)

    def rule(self) -> RecycleRule:
        """As the host reads it."""
        return RecycleRule(after_songs=self.after_songs, resident_gb=self.resident_gb)


class EngineArgs(_Args):
    """Which engine an application runs, and how.

    Attributes:
        engine: a name in the catalogue.
        engines: several instead; they load and leave by turns in one process.
        device: ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
        options: laid over those of the catalogue's entry; for ``engines``: by name.
        recycle: when replicas are replaced by plan.
    """

    engine: str = ""
    engines: tuple[str, ...] = ()
    device: str = "auto"
    options: Mapping[str, Any] = Field(default_factory=dict)
    recycle: RecycleArgs = RecycleArgs()

    @model_validator(mode="after")
    def _names_one_or_several(self) -> Self:
        if bool(self.engine) == bool(self.engines):
            raise ValueError("name one engine, or several engines that take turns")
        if self.engines and not set(self.options) <= set(self.engines):
            raise ValueError("the options of several engines are written by name: options: {ENGINE: {…}}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every engine of the application."""
        return self.engines or (self.engine,)

    def options_of(self, name: str) -> Mapping[str, Any]:
        """What this engine is told."""
        options: Mapping[str, Any] = self.options.get(name, {}) if self.engines else self.options
        return options


class CanaryArgs(_Args):
    """A share of the requests for one engine that another one makes."""

    of: str
    engine: str
    share: float = Field(gt=0, le=1)


class GatewayArgs(_Args):
    """What the gateway may be told: which engines are tried out on a share of the requests for another one."""

    canaries: tuple[CanaryArgs, ...] = ()

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        for of in {canary.of for canary in self.canaries}:
            if sum(canary.share for canary in self.canaries if canary.of == of) > 1 + 1e-9:
                raise ValueError(f"the shares taken from {of} are more than the whole")
        return self

    def rules(self) -> tuple[Canary, ...]:
        """As the gateway reads them."""
        return tuple(Canary(of=canary.of, engine=canary.engine, share=canary.share) for canary in self.canaries)
