"""Opening: from the arguments of an application to hosts that are ready to work on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib import metadata
from typing import Final

from configs.secrets import load_or_create
from configs.settings import Settings
from data.marks import Marker, open_marker
from data.object_store import ObjectStore, open_store
from serving import models
from serving.catalogue import known
from serving.deployments.arguments import EngineArgs
from serving.deployments.finishing import Finisher
from serving.deployments.host import EngineHost, Surroundings
from serving.deployments.meter import Meter
from serving.deployments.sources import fetch_sources
from serving.deployments.turns import Loadable, OwnTurn, SharedTurn, Turn
from serving.engines.device import check_alive, choose_device, free_gb
from serving.engines.registry import body_of
from studio.words.engine_spec import EngineSpec

ROOM: Final = 1.3
"""What a model takes while it works, as a multiple of its weights."""


def refuse_what_cannot_start(args: EngineArgs, settings: Settings) -> None:
    """Look at every engine of an application before a replica is started for it.

    Weights are looked at where they are: a cluster's head need not have them, each replica looks again.

    Raises:
        UnknownEngine: it is in no catalogue.
        ForbiddenModel: its licence does not fit this installation.
        BadCheckpoint: its files must not be loaded.
    """
    for name in args.names:
        spec = known().spec_of(name)
        models.allowed(spec, non_commercial=settings.models.non_commercial)
        if spec.card is not None and models.folder_of(settings.models_folder, spec).is_dir():
            models.held(spec, settings.models_folder, hashes=False)


def open_hosts(
    args: EngineArgs, settings: Settings, *, meter: Meter, note_made: Callable[[int], None]
) -> dict[str, EngineHost]:
    """A host for every engine of the application, by name; the first engine is loaded and warm.

    Every checkpoint is compared with the hashes that were written down when it was fetched.

    Raises:
        MelodeonError: with a sentence about what is missing, forbidden or broken.
    """
    turn: Turn = SharedTurn(_fits_on(args.device)) if args.engines else OwnTurn()
    opening = _Opening(args=args, settings=settings, turn=turn, meter=meter, note_made=note_made)
    secrets = load_or_create(settings.var)
    store = open_store(settings.store, var=settings.var, link_key=secrets.link_key)
    marker = open_marker(
        settings.provenance,
        secrets.signing_key,
        version=metadata.version("melodeon"),
        scratch=settings.var / "scratch",
        now=datetime.now(UTC),
    )
    hosts = {name: opening.host(known().spec_of(name), store, marker) for name in args.names}
    first = hosts[args.names[0]]
    if isinstance(turn, SharedTurn):
        turn.make_ready(first)
    else:
        first.load()
    return hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """What all hosts of one process share."""

    args: EngineArgs
    settings: Settings
    turn: Turn
    meter: Meter
    note_made: Callable[[int], None]

    def host(self, spec: EngineSpec, store: ObjectStore, marker: Marker) -> EngineHost:
        args, settings = self.args, self.settings
        models.allowed(spec, non_commercial=settings.models.non_commercial)
        folder = models.held(spec, settings.models_folder, hashes=True) if spec.card is not None else None
        engine = body_of(spec.name, folder=folder, device=args.device, options=args.options_of(spec.name))
        scratch = settings.var / "scratch"
        finisher = Finisher(
            store,
            spec=spec,
            marker=marker,
            trained=known().entry(spec.name).set_up,
            scratch=scratch,
            clock=lambda: datetime.now(UTC),
        )
        return EngineHost(
            engine,
            Surroundings(
                finisher=finisher,
                fetch=partial(fetch_sources, store=store, scratch=scratch),
                turn=self.turn,
                meter=self.meter,
                note_made=self.note_made,
                alive=partial(_check_device, args.device) if spec.card is not None else lambda: None,
            ),
        )


_device = cache(choose_device)


def _check_device(wanted: str) -> None:
    check_alive(_device(wanted))


def _fits_on(wanted: str) -> Callable[[Loadable], bool]:
    """Whether an engine's weights and its work fit into what is free."""

    def fits(engine: Loadable) -> bool:
        card = known().spec_of(engine.name).card
        return card is None or free_gb(_device(wanted)) >= card.memory_gb * ROOM

    return fits
