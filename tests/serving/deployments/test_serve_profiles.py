"""The Serve profiles: what Ray is told to run."""

import inspect
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import configs
from serving.catalogue import known, read_applications
from studio.words.brief import BriefKind

SERVE = Path(configs.__file__).parent / "serve"
KUBERAY = SERVE / "kuberay-rayservice.yaml"
PROFILES = sorted(set(SERVE.glob("*.yaml")) - {KUBERAY})
CARDS_GB = {"cluster": 40, "one-gpu-24gb": 24, "one-gpu-12gb": 12}
"""The card that each profile with models on cards is made for."""

OF_BUILDER = {
    "songs": ({BriefKind.SONG}, "Songs"),
    "words": ({BriefKind.LYRICS, BriefKind.TAGS, BriefKind.PLAN}, "Words"),
    "covers": ({BriefKind.COVER}, "Covers"),
    "turns": ({BriefKind.SONG, BriefKind.LYRICS, BriefKind.TAGS, BriefKind.COVER}, "Turns"),
}


def engines_of(application: dict) -> list[str]:
    args = application["args"]
    return [*args.get("engines", ()), *([args["engine"]] if "engine" in args else [])]


def models(profile: dict) -> list[tuple[dict, dict]]:
    """Every application but the gateway, with its one deployment."""
    return [(app, app["deployments"][0]) for app in profile["applications"] if app["name"] != "gateway"]


def offloads(application: dict, engine: str) -> bool:
    options = application["args"].get("options", {})
    return bool(options.get(engine, options).get("offload"))


def schemas() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ray.serve import config, schema
    return {**vars(config), **vars(schema)}


@pytest.fixture(params=PROFILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def profile(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def test_kuberay_is_given_the_cluster_profile_word_for_word():
    text = yaml.safe_load(KUBERAY.read_text())["spec"]["serveConfigV2"]
    assert text == (SERVE / "cluster.yaml").read_text()


def unknown_names(profile: dict) -> list[str]:
    """Names that Ray does not know; it ignores most of them, so a typing error would pass unseen."""
    ray = schemas()
    found: list[str] = []

    def look(where: str, given: dict, schema: str) -> None:
        found.extend(f"{where}.{name}" for name in set(given) - set(ray[schema].model_fields))

    look("", profile, "ServeDeploySchema")
    look("http_options", profile["http_options"], "HTTPOptionsSchema")
    look("logging_config", profile["logging_config"], "LoggingConfig")
    for application in profile["applications"]:
        look(application["name"], application, "ServeApplicationSchema")
        for deployment in application["deployments"]:
            where = f"{application['name']}.{deployment['name']}"
            look(where, deployment, "DeploymentSchema")
            look(where, deployment["ray_actor_options"], "RayActorOptionsSchema")
            look(where, deployment.get("backpressure_config", {}), "BackpressureConfig")
            look(where, deployment.get("autoscaling_config", {}), "AutoscalingConfig")
            look(where, deployment.get("autoscaling_config", {}).get("policy", {}), "AutoscalingPolicy")
    return found


def test_ray_reads_every_profile_as_meant(profile):
    ray = schemas()
    ray["ServeDeploySchema"].model_validate(profile)
    assert unknown_names(profile) == []
    for _, deployment in models(profile):
        if "autoscaling_config" in deployment:
            ray["AutoscalingConfig"].model_validate(deployment["autoscaling_config"])


@pytest.mark.parametrize(
    "plant",
    [
        lambda profile: profile.update(proxy_locations="HeadOnly"),
        lambda profile: profile["applications"][0].update(route="/"),
        lambda profile: profile["applications"][2]["deployments"][0].update(max_ongoing_request=2),
        lambda profile: profile["applications"][2]["deployments"][0]["ray_actor_options"].update(num_gpu=1),
        lambda profile: profile["applications"][2]["deployments"][0]["autoscaling_config"].update(drain_s=1),
    ],
)
def test_a_planted_typing_error_is_seen(plant):
    profile = yaml.safe_load((SERVE / "cluster.yaml").read_text())
    plant(profile)
    assert len(unknown_names(profile)) == 1


def test_a_profile_is_complete_and_only_the_gateway_has_a_route(profile, path):
    served = known().served_by(read_applications(path))
    for kind in (BriefKind.SONG, BriefKind.LYRICS, BriefKind.TAGS, BriefKind.COVER):
        assert served.makes(kind)
    names = [application["name"] for application in profile["applications"]]
    assert sorted(names) == sorted({"gateway", *served.applications()})
    assert [app["name"] for app in profile["applications"] if app["route_prefix"]] == ["gateway"]


def test_no_profile_runs_an_engine_twice(profile):
    engines = [engine for application in profile["applications"] for engine in engines_of(application)]
    assert len(engines) == len(set(engines))


def test_a_model_of_songs_stands_beside_the_composer_as_the_default(profile, path):
    songs = [s.name for s in known().served_by(read_applications(path)).engines() if BriefKind.SONG in s.kinds]
    assert songs[-1] == "builtin-song"
    assert path.stem == "laptop" or len(songs) > 1


def test_each_builder_takes_the_arguments_and_makes_the_deployment_that_the_profile_names(profile):
    for application, deployment in models(profile):
        module, _, name = application["import_path"].partition(":")
        builder = getattr(import_module(module), name)
        [parameter] = inspect.signature(builder).parameters.values()
        parameter.annotation.model_validate(application["args"])
        kinds, deployed_as = OF_BUILDER[name]
        assert [deployment["name"]] == [each["name"] for each in application["deployments"]] == [deployed_as]
        for engine in engines_of(application):
            assert kinds & set(known().spec_of(engine).kinds)


def test_only_engines_that_may_be_used_commercially_are_chosen_for_people(profile, path):
    assert all(spec.commercial for spec in known().served_by(read_applications(path)).engines())


def test_limits_let_a_song_end_before_its_replica_does(profile):
    for application in profile["applications"]:
        for deployment in application["deployments"]:
            assert deployment["graceful_shutdown_timeout_s"] == 300


def test_every_model_has_a_fuse_that_answers_429(profile):
    for _, deployment in models(profile):
        assert 0 < deployment["max_ongoing_requests"] <= deployment["max_queued_requests"] <= 64
        assert deployment.get("backpressure_config", {"status_code": 429})["status_code"] == 429


def test_what_is_not_known_by_the_catalogue_stays_on_the_processor(profile):
    """A built-in or tiny engine takes no card; a model on a card says so, and is recycled where sound is made."""
    for application, deployment in models(profile):
        on_card = bool(deployment["ray_actor_options"].get("num_gpus"))
        cards = [known().spec_of(engine).card for engine in engines_of(application)]
        assert on_card == any(card and not card.source.startswith("tiny:") for card in cards)
        if any(cards):
            assert application["args"]["device"] == ("cuda" if on_card else "cpu")


@pytest.mark.parametrize("stem", CARDS_GB)
def test_every_model_fits_into_its_share_of_the_card(stem):
    profile = yaml.safe_load((SERVE / f"{stem}.yaml").read_text())
    shares = 0.0
    for application, deployment in models(profile):
        share = deployment["ray_actor_options"].get("num_gpus", 0)
        shares += share if share < 1 else 0
        for engine in engines_of(application):
            card = known().spec_of(engine).card
            fits = card is None or card.memory_gb <= share * CARDS_GB[stem]
            assert fits or offloads(application, engine), engine
    assert shares <= 1.0000001


def test_a_profile_of_one_machine_needs_one_card_and_stays_on_this_machine(profile, path):
    if path.stem == "cluster":
        return
    assert profile["http_options"]["host"] == "127.0.0.1"
    assert profile["proxy_location"] == "HeadOnly"
    assert sum(deployment["ray_actor_options"].get("num_gpus", 0) for _, deployment in models(profile)) <= 1
    assert "label_selector" not in str(profile)


@pytest.mark.parametrize("stem", ["laptop", "tiny-models"])
def test_two_cores_are_enough_without_a_card(stem):
    cpus = 0.0
    for application in yaml.safe_load((SERVE / f"{stem}.yaml").read_text())["applications"]:
        for deployment in application["deployments"]:
            most = deployment.get("autoscaling_config", {}).get("max_replicas", deployment.get("num_replicas", 1))
            cpus += most * deployment["ray_actor_options"]["num_cpus"]
            assert not deployment["ray_actor_options"].get("num_gpus")
    assert cpus <= 2


def test_the_cluster_follows_the_accounts_from_zero_and_prefers_its_label():
    profile = yaml.safe_load((SERVE / "cluster.yaml").read_text())
    scaled = [(app, dep) for app, dep in models(profile) if "autoscaling_config" in dep]
    assert {app["name"] for app, _ in scaled} == {"songs", "words", "covers"}
    stages: list[str] = []
    for _, deployment in scaled:
        scaling, actor = deployment["autoscaling_config"], deployment["ray_actor_options"]
        assert (scaling["min_replicas"], scaling["upscale_delay_s"], scaling["downscale_delay_s"]) == (0, 0, 300)
        assert scaling["downscale_to_zero_delay_s"] == 600
        assert actor["label_selector"].keys() == {"ray.io/accelerator-type"}
        assert actor["fallback_strategy"] == [{"label_selector": {}}]
        assert deployment["max_surge_percent"] > 0
        module, _, name = scaling["policy"]["policy_function"].partition(":")
        getattr(import_module(module), name)(**scaling["policy"]["policy_kwargs"])
        stages += scaling["policy"]["policy_kwargs"]["stages"]
    assert sorted(stages) == ["cover", "music", "tags", "text"]
