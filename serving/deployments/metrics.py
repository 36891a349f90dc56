"""Our metrics in Ray: exported by every node beside Ray's own, with the prefix ``ray_``.

Made within a replica, each also carries Serve's labels ``deployment``, ``replica`` and ``application``.
"""

from typing import Final

from ray.serve.metrics import Counter, Gauge, Histogram

from serving.deployments.meter import Outcome, Stage

_SECONDS: Final = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600]


class RayMeter:
    """Sends what a host measures to Ray."""

    def __init__(self) -> None:
        by_engine = ("engine",)
        self._load = Gauge("melodeon_engine_load_seconds", "Loading the weights, the last time.", by_engine)
        self._warm_up = Gauge("melodeon_engine_warm_up_seconds", "Warming the engine up, the last time.", by_engine)
        self._wait = Histogram("melodeon_engine_wait_seconds", "Waiting for the turn.", _SECONDS, by_engine)
        self._make = Histogram("melodeon_engine_make_seconds", "The engine at work on one call.", _SECONDS, by_engine)
        self._stage = Histogram(
            "melodeon_host_stage_seconds", "Fetching sources; finishing a take.", _SECONDS, ("engine", "stage")
        )
        self._takes = Counter("melodeon_takes_total", "Takes, stored or failed.", ("engine", "outcome"))
        self._no_memory = Counter("melodeon_out_of_memory_total", "Calls that failed for want of memory.", by_engine)
        self._recycles = Counter("melodeon_recycles_total", "Replicas that asked to be replaced.", by_engine)

    def loaded(self, engine: str, *, load_s: float, warm_up_s: float) -> None:
        """See `Meter`."""
        self._load.set(load_s, tags={"engine": engine})
        self._warm_up.set(warm_up_s, tags={"engine": engine})

    def waited(self, engine: str, seconds: float) -> None:
        """See `Meter`."""
        self._wait.observe(seconds, tags={"engine": engine})

    def made(self, engine: str, seconds: float) -> None:
        """See `Meter`."""
        self._make.observe(seconds, tags={"engine": engine})

    def spent(self, engine: str, stage: Stage, seconds: float) -> None:
        """See `Meter`."""
        self._stage.observe(seconds, tags={"engine": engine, "stage": stage})

    def took(self, engine: str, outcome: Outcome) -> None:
        """See `Meter`."""
        self._takes.inc(tags={"engine": engine, "outcome": outcome})

    def out_of_memory(self, engine: str) -> None:
        """See `Meter`."""
        self._no_memory.inc(tags={"engine": engine})

    def recycled(self, engine: str) -> None:
        """See `Meter`."""
        self._recycles.inc(tags={"engine": engine})
