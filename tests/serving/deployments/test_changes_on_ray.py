"""What changes while Ray works: adapters come and go, and an engine that the Serve file names since is served."""

import asyncio
import itertools
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.secrets import load_or_create
from configs.settings import ModelsSettings, ServeSettings, load
from data.embedded_postgres import free_port
from serving.client import ModelRejected, Unavailable
from serving.contract import CallContext, MakeRequest, TakeResult
from serving.stack import RAY_PORTS, EnginesPart, ray_folder
from studio.words.brief import Brief, Controls
from tests.conftest import Products
from tests.serving.deployments.conftest import Engines
from ui.testing import until

with warnings.catch_warnings():
    # Ray's own configuration classes
    warnings.simplefilter("ignore", DeprecationWarning)
    from serving.deployments.songs import ADAPTERS

pytestmark = pytest.mark.stack

READY_S = 300.0
NAMES = [f"voice-{number}" for number in range(ADAPTERS + 1)]
_numbers = itertools.count(1)


def application(name: str, builder: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "import_path": f"serving.deployments.builders:{builder}",
        "route_prefix": "/" if builder == "gateway" else None,
        "args": args,
        "deployments": [{"name": builder.capitalize(), "ray_actor_options": {"num_cpus": 0.1}}],
    }


def take(engines: Engines, **brief: Any) -> TakeResult:
    """One take of ten seconds."""
    job_id = f"job_{next(_numbers)}"
    call = CallContext(job_id=job_id, attempt=1, deadline_s=100, key_prefix=f"songs/acc_1/{job_id}/1")
    wanted = Brief(prompt="folk", title="Home", takes=1, controls=Controls(seed=5, duration_s=10.0), **brief)
    [made] = asyncio.run(engines.client().make(MakeRequest(call=call, artist="ada", brief=wanted), lambda _: None))
    assert isinstance(made, TakeResult)
    return made


def adapters(engines: Engines, word: str) -> list[str]:
    """Whose ``adapter.held`` or ``adapter.left`` the replica has logged, in order."""
    found = (re.search(r"voice-\d", line) for line in engines.logged("worker-*.err") if f'"{word}"' in line)
    return [name[0] for name in found if name]


def files(made: TakeResult) -> set[str]:
    """The hashes of what was stored."""
    return {asset.sha256 for asset in made.assets.values()}


def write_adapter(folder: Path, seed: int) -> None:
    """Random weights for the query projections of the tiny model, as diffusers writes them."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    shapes = {"lora_A": (4, 32), "lora_B": (64, 4)}
    weights = {
        f"transformer.layers.{layer}.self_attn.to_q.{part}.weight": torch.randn(shape, generator=draw)
        for layer in range(2)
        for part, shape in shapes.items()
    }
    save_file(weights, folder / "pytorch_lora_weights.safetensors")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, products: Products) -> Iterator[Engines]:
    """Ray with a gateway and one tiny music model that has more adapters than a replica may hold."""
    products.end()
    var = tmp_path_factory.mktemp("changes-on-ray")
    for seed, name in enumerate(NAMES):
        write_adapter(var / "adapters" / name, seed)
    args = {"engine": "tiny-ace-step-turbo", "device": "cpu", "options": {"adapters": str(var / "adapters")}}
    applications = [application("gateway", "gateway", {}), application("songs", "songs", args)]
    file = {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1"}, "applications": applications}
    (var / "serve.yaml").write_text(yaml.safe_dump(file))
    ports = {name: free_port() for name in RAY_PORTS}
    serve = ServeSettings(config=var / "serve.yaml", worker_ports_from=32_000, **ports)
    settings = load(var=var, serve=serve, models=ModelsSettings(folder=tiny_weights))
    secrets = load_or_create(var)
    part = EnginesPart(settings, secrets, settle_s=READY_S)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MELODEON_SERVE__CONFIG", str(serve.config))
        environment.setenv("MELODEON_MODELS__FOLDER", str(settings.models_folder))
        part.start()
    try:
        until(part.ready, "every application runs", within_s=READY_S)
        yield Engines(settings=settings, secrets=secrets)
    finally:
        part.stop()
        shutil.rmtree(ray_folder(var), ignore_errors=True)


def test_adapters_are_held_by_the_replica_and_the_longest_unused_leaves(engines: Engines):
    plain = files(take(engines))
    first = {name: files(take(engines, adapter=name)) for name in NAMES[:ADAPTERS]}
    assert all(found.isdisjoint(plain) for found in first.values()), "an adapter is heard"
    until(lambda: adapters(engines, "adapter.held") == NAMES[:ADAPTERS], "the replica holds them")

    take(engines, adapter=NAMES[0])
    assert adapters(engines, "adapter.left") == [], "there is room for all so far"
    take(engines, adapter=NAMES[ADAPTERS])
    # the first one was used since
    until(lambda: adapters(engines, "adapter.left") == [NAMES[1]], "the one unused for longest leaves")
    until(lambda: adapters(engines, "adapter.held") == NAMES, "the new one is held")

    again = files(take(engines, adapter=NAMES[1]))
    until(lambda: adapters(engines, "adapter.held") == [*NAMES, NAMES[1]], "it is held once more")
    assert again & first[NAMES[1]], "the same request, the same sound"
    with pytest.raises(ModelRejected, match="nobody"):
        take(engines, adapter="nobody")
    take(engines, adapter=NAMES[1])
    assert adapters(engines, "adapter.held") == [*NAMES, NAMES[1]], "a name that nobody knows takes no place"


def test_an_engine_that_the_file_names_since_is_served_by_the_gateway_that_stands(engines: Engines):
    """One edit of the Serve file, applied once; neither the gateway nor the other engine is replaced."""
    with pytest.raises(ModelRejected, match="no engine “builtin-words”"):
        take(engines, engine="builtin-words")
    before = {name: engines.replica_pids(name) for name in ("gateway", "songs")}
    path = engines.settings.serve.config
    config = yaml.safe_load(path.read_text())
    config["applications"].append(application("composer", "songs", {"engine": "builtin-song"}))
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(Unavailable, match="composer is not ready"):
        take(engines, engine="builtin-song")
    config["http_options"]["port"] = engines.settings.serve.http_port
    assert engines.ray("PUT", config).is_success
    until(lambda: engines.details("composer")["status"] == "RUNNING", "the composer runs", within_s=READY_S)
    assert take(engines, engine="builtin-song").engine == "builtin-song"
    assert {name: engines.replica_pids(name) for name in before} == before
