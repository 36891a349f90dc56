"""The Serve profiles: what Ray is told to run."""

import warnings
from pathlib import Path

import pytest
import yaml

import configs
from serving.catalogue import catalogue

PROFILES = sorted((Path(configs.__file__).parent / "serve").glob("*.yaml"))


@pytest.fixture(params=PROFILES, ids=lambda path: path.stem)
def profile(request: pytest.FixtureRequest) -> dict:
    return yaml.safe_load(request.param.read_text())


def test_ray_reads_every_profile_as_meant(profile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema
    ServeDeploySchema.model_validate(profile)
    # Ray ignores names it does not know: a typing error would pass unseen.
    assert set(profile) <= set(ServeDeploySchema.model_fields)
    for application in profile["applications"]:
        assert set(application) <= set(ServeApplicationSchema.model_fields)
        for deployment in application["deployments"]:
            assert set(deployment) <= set(DeploymentSchema.model_fields)


def test_every_application_of_the_catalogue_is_served_and_only_the_gateway_has_a_route(profile):
    applications = {application["name"]: application for application in profile["applications"]}
    assert set(applications) == {"gateway", *catalogue().applications()}
    assert {name for name, application in applications.items() if application["route_prefix"]} == {"gateway"}


def test_each_application_runs_an_engine_that_the_catalogue_gives_to_it(profile):
    for application in profile["applications"]:
        if application["name"] != "gateway":
            assert catalogue().application_of(application["args"]["engine"]) == application["name"]


def test_limits_let_a_song_end_before_its_replica_does(profile):
    for application in profile["applications"]:
        for deployment in application["deployments"]:
            assert deployment["graceful_shutdown_timeout_s"] >= 180


def test_the_laptop_profile_stays_on_this_machine_and_within_its_two_cores():
    laptop = yaml.safe_load((Path(configs.__file__).parent / "serve" / "laptop.yaml").read_text())
    assert laptop["http_options"]["host"] == "127.0.0.1"
    cpus = 0.0
    for application in laptop["applications"]:
        for deployment in application["deployments"]:
            most = deployment.get("autoscaling_config", {}).get("max_replicas", deployment.get("num_replicas", 1))
            cpus += most * deployment["ray_actor_options"]["num_cpus"]
            assert not deployment["ray_actor_options"].get("num_gpus")
    assert cpus <= 2
