"""The Kubernetes manifests: each fits its kind, and what one names the others have."""

import re
import runpy
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from pydantic import BaseModel, ValidationError
from sqlalchemy import make_url

from configs.addresses import database_url, gateway_url
from configs.secrets import Secrets, load_or_create
from configs.settings import Settings, load
from serving.catalogue import known, read_applications
from serving.health import check_secrets
from serving.worker import SHUTDOWN_GRACE_S
from ui.cli.main import melodeon

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAY = KUBERNETES / "overlays" / "example"
CLUSTER = ROOT / "configs" / "serve" / "cluster.yaml"
KUBERAY = CLUSTER.with_name("kuberay-rayservice.yaml")
KINDS = (
    "ConfigMap", "Deployment", "Ingress", "Job", "Namespace", "NetworkPolicy", "PersistentVolumeClaim",
    "PodDisruptionBudget", "RayService", "Service",
)  # fmt: skip


def test_everything_is_there(installation):
    assert sorted({manifest.kind for manifest in installation.manifests}) == list(KINDS)
    assert {pod.name for pod in installation.pods} == {
        "melodeon-web", "melodeon-worker", "melodeon-migrate", "melodeon-models", "head", "cards"
    }  # fmt: skip
    names = [(m.kind, m.metadata.name) for m in installation.manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("web.yaml", "replicas: 2", 'replicas: "2"'),
        ("web.yaml", "containerPort: 8600", "containerport: 8600"),
        ("web.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        ("web.yaml", "memory: 1Gi", "memory: 1GB"),
        ("worker.yaml", "terminationGracePeriodSeconds: 90", "terminationGracePeriod: 90"),
        ("network.yaml", "policyTypes: [Ingress]", "policyType: [Ingress]"),
        ("migrate.yaml", "batch/v1", "batch/v1beta1"),
    ],
)
def test_a_planted_mistake_is_refused(installation, name, old, new):
    text = (KUBERNETES / "base" / name).read_text()
    assert old in text
    installation.read(text)
    with pytest.raises(ValidationError):
        installation.read(text.replace(old, new))


def test_every_file_of_the_tree_is_used(installation):
    used: set[Path] = set()
    for folder, found in installation.tree:
        used |= {folder / name for name in found.resources} | {folder / patch.path for patch in found.patches}
    files = {path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert files <= used


def test_selectors_choose_the_pods_they_mean(installation):
    for deployment in installation.of("Deployment"):
        chosen = installation.selected(deployment.spec.selector.matchLabels)
        assert [pod.name for pod in chosen] == [deployment.metadata.name]
    for budget in installation.of("PodDisruptionBudget"):
        [pod] = installation.selected(budget.spec.selector.matchLabels)
        [deployment] = [d for d in installation.of("Deployment") if d.metadata.name == pod.name]
        assert budget.metadata.name == pod.name
        assert (budget.spec.minAvailable is None) != (budget.spec.maxUnavailable is None)
        assert (budget.spec.minAvailable or 0) < deployment.spec.replicas


def test_the_way_in_leads_to_the_pages(installation, doors):
    [service] = installation.of("Service")
    [ingress] = installation.of("Ingress")
    [rule] = ingress.spec.rules
    [path] = rule.http.paths
    backend = path.backend.service
    assert backend.name == service.metadata.name
    [port] = [port for port in service.spec.ports if port.name == backend.port.name]
    [pod] = installation.selected(service.spec.selector)
    [container] = pod.spec.containers
    [open_port] = [each for each in container.ports if each.name == port.targetPort]
    assert open_port.containerPort == Settings.model_fields["web"].default.port
    probes = (container.startupProbe, container.readinessProbe, container.livenessProbe)
    assert {probe.httpGet.path for probe in probes} <= doors
    assert {probe.httpGet.port for probe in probes} == {open_port.name}
    assert ingress.spec.tls[0].hosts == [rule.host]
    assert installation.config["melodeon-settings"]["MELODEON_WEB__PUBLIC_URL"] == f"https://{rule.host}"


def test_rays_ports_are_closed_to_all_but_ray_and_its_operator(installation):
    policies = {policy.metadata.name: policy.spec for policy in installation.of("NetworkPolicy")}
    closed = policies.pop("closed-unless-opened")
    assert (closed.podSelector.matchLabels, closed.ingress, closed.policyTypes) == ({}, [], ["Ingress"])
    for spec in policies.values():
        chosen = installation.selected(spec.podSelector.matchLabels)
        ports = {port.containerPort for pod in chosen for c in pod.containers for port in c.ports}
        assert chosen
        for way in spec.ingress:
            assert {port.port for port in way.ports} <= ports
            assert all(installation.selected(p.podSelector.matchLabels) for p in way.from_ if p.podSelector)
    ray = policies["melodeon-engines"]
    assert {pod.name for pod in installation.selected(ray.podSelector.matchLabels)} == {"head", "cards"}
    without_limit = [way for way in ray.ingress if not way.ports]
    assert [peer.podSelector.matchLabels for way in without_limit for peer in way.from_] == [
        ray.podSelector.matchLabels
    ]
    for way in ray.ingress:
        others = {
            pod.name for p in way.from_ if p.podSelector for pod in installation.selected(p.podSelector.matchLabels)
        }
        if others & {"melodeon-web", "melodeon-worker"}:
            assert [port.port for port in way.ports] == [gateway_port()]


def gateway_port() -> int:
    return yaml.safe_load(CLUSTER.read_text())["http_options"]["port"]


def setting_names() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        section = field.annotation
        inner = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else None
        names |= {f"MELODEON_{name}__{key}".upper() for key in inner} if inner else {f"MELODEON_{name}".upper()}
    return names


def test_every_variable_is_a_setting_of_ours_or_of_a_library(installation):
    ours = setting_names()
    for pod in installation.pods:
        for container in pod.containers:
            names = [variable.name for variable in container.env]
            assert len(names) == len(set(names))
            for variable in container.env:
                assert (variable.value is None) != (variable.valueFrom is None)
                library = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"}
                assert variable.name in ours | library
    assert set(installation.config["melodeon-settings"]) <= ours


def test_the_settings_are_taken_as_they_stand(installation, monkeypatch):
    for name, value in installation.config["melodeon-settings"].items():
        monkeypatch.setenv(name, value)
    settings = load()
    [service] = installation.of("RayService")
    assert gateway_url(settings) == f"http://{service.metadata.name}-serve-svc:{gateway_port()}"
    assert settings.store.kind == "s3"
    assert "melodeon-serve" in {
        volume.configMap.name
        for pod in installation.pods
        for volume in pod.spec.volumes
        if volume.configMap and mounted(pod, volume.name) == {str(settings.serve.config.parent)}
    }
    assert settings.serve.config.name in installation.config["melodeon-serve"]
    assert installation.config["melodeon-serve"][settings.serve.config.name] == CLUSTER.read_text()
    for pod in installation.pods:
        for volume in pod.spec.volumes:
            if volume.persistentVolumeClaim:
                assert mounted(pod, volume.name) == {str(settings.models_folder)}


def mounted(pod: Any, volume: str) -> set[str]:
    return {mount.mountPath for c in pod.containers for mount in c.volumeMounts if mount.name == volume}


def test_what_a_pod_refers_to_exists(installation):
    claims = {claim.metadata.name for claim in installation.of("PersistentVolumeClaim")}
    for pod in installation.pods:
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        assert set(volumes) == {mount.name for c in pod.containers for mount in c.volumeMounts}
        for volume in volumes.values():
            assert volume.configMap is None or volume.configMap.name in installation.config
            assert volume.persistentVolumeClaim is None or volume.persistentVolumeClaim.claimName in claims
            if volume.secret:
                assert {item.key for item in volume.secret.items} <= installation.secrets[volume.secret.secretName]
        for container in pod.containers:
            assert all(source.configMapRef.name in installation.config for source in container.envFrom)
            for reference in (variable.valueFrom for variable in container.env if variable.valueFrom):
                assert reference.secretKeyRef.key in installation.secrets[reference.secretKeyRef.name]
    [service] = installation.of("RayService")
    assert "auth_token" in installation.secrets[service.spec.rayClusterConfig.authOptions.secretName]


ASKS = {
    "melodeon-web": {"app": "app_url"},
    "melodeon-worker": {"worker": "worker_url", "billing": "billing_url", "app": "app_url"},  # app: for letters
    "melodeon-migrate": {"owner": "owner_url"},
    "head": {"worker": "scaler_url"},
}
"""As whom the product's code in a pod asks the database (`configs.addresses.Login`), and whose address that must be."""


def addresses_in(pod: Any) -> dict[str, str]:
    """The settings of the database that a pod is given, and of each the key in the Secret."""
    return {
        variable.name.removeprefix("MELODEON_DATABASE__").lower(): variable.valueFrom.secretKeyRef.key
        for container in pod.containers
        for variable in container.env
        if variable.name.startswith("MELODEON_DATABASE__")
    }


def wrong_logins(pods: list[Any], tmp_path: Path) -> list[str]:
    """What is wrong with the logins that the pods have, by the product's own reading of its settings."""
    faults = []
    for pod in pods:
        given, asked = addresses_in(pod), ASKS.get(pod.name, {})
        faults += [f"{pod.name} has {key} and no use for it" for key in given.values() if key not in asked.values()]
        if asked and "url" not in given:
            faults.append(f"{pod.name} has no database")
        elif asked:
            chosen = load(database={name: f"postgresql://{key}@db/melodeon" for name, key in given.items()})
            for role, key in asked.items():
                login = make_url(database_url(chosen, load_or_create(tmp_path), role=role)).username
                faults += [f"{pod.name} asks as {login} instead of {key}"] if login != key else []
    return faults


def test_each_part_asks_the_database_as_itself(installation, tmp_path):
    assert wrong_logins(installation.pods, tmp_path) == []
    [owner] = [pod.name for pod in installation.pods if "owner_url" in addresses_in(pod).values()]
    assert owner == "melodeon-migrate"


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("web.yaml", "key: app_url", "key: owner_url", "melodeon-web has owner_url and no use for it"),
        ("web.yaml", "key: app_url", "key: worker_url", "melodeon-web asks as worker_url instead of app_url"),
        ("worker.yaml", "key: worker_url", "key: owner_url", "melodeon-worker has owner_url and no use for it"),
        ("worker.yaml", "__BILLING_URL", "__OWNER_URL", "melodeon-worker asks as app_url instead of billing_url"),
        ("migrate.yaml", "key: owner_url", "key: app_url", "melodeon-migrate asks as app_url instead of owner_url"),
    ],
)
def test_a_part_with_another_s_login_is_found(installation, tmp_path, name, old, new, fault):
    text = (KUBERNETES / "base" / name).read_text()
    assert old in text
    changed = installation.read(text.replace(old, new))
    [made] = [manifest for manifest in changed if hasattr(getattr(manifest, "spec", None), "template")]
    pod = SimpleNamespace(name=made.metadata.name, containers=made.spec.template.spec.containers)
    assert fault in wrong_logins([pod], tmp_path)


def test_every_address_that_is_asked_for_is_used(installation):
    used = {key for pod in installation.pods for key in addresses_in(pod).values()}
    assert used == installation.secrets["melodeon-database"]


def test_each_process_has_the_keys_that_all_of_its_kind_must_share(installation):
    """What a process makes for itself where it finds none would be another in each pod."""
    shared = {
        pod.name: {item.path for volume in pod.spec.volumes if volume.secret for item in volume.secret.items}
        for pod in installation.pods
        if pod.spec.initContainers
    }
    assert shared == {
        "melodeon-web": {"gateway_key", "cookie_secret", "link_key", "seal_key"},
        "melodeon-worker": {"gateway_key", "link_key"},
        "head": {"gateway_key", "signing_key"},
        "cards": {"gateway_key", "signing_key"},
    }


def test_every_command_of_ours_is_one(installation):
    seen = set()
    for pod in installation.pods:
        for container in pod.containers:
            if container.command and container.command[0] == "melodeon":
                command: click.Command = melodeon
                words = list(container.command[1:])
                while isinstance(command, click.Group):
                    command = command.commands[words.pop(0)]
                with command.make_context("melodeon", words):
                    seen.add(command.name)
    assert seen == {"migrate", "fetch"}


def test_no_secret_stands_in_the_tree():
    for path in (*KUBERNETES.rglob("*"), KUBERAY):
        if path.is_file() and "secrets" not in path.relative_to(ROOT).parts and path.suffix != ".pyc":
            text = path.read_text()
            assert "kind: Secret" not in text
            assert not re.search(r"\b[A-Za-z0-9_-]{43}\b", text), path
            assert not re.search(r"://[^/\s]*:[^/\s]*@", text), path
    assert (KUBERNETES / ".gitignore").read_text() == "secrets/\n"


def test_every_image_has_its_dockerfile_and_its_place(installation):
    built = {f"melodeon-{path.name.split('.')[0]}" for path in (ROOT / "deploy" / "docker").glob("*.Dockerfile")}
    used = {container.image for pod in installation.pods for container in pod.containers}
    assert used == built == {image.name for _, found in installation.tree for image in found.images}


def test_the_volume_holds_the_weights_of_the_engines_served_twice(installation):
    """A new revision is fetched beside the old one."""
    served = known().served_by(read_applications(CLUSTER)).engines()
    [claim] = installation.of("PersistentVolumeClaim")
    size_gb = int(claim.spec.resources.requests.storage.removesuffix("Gi")) * 2**30 / 1e9
    assert size_gb > 2 * sum(spec.card.download_gb for spec in served if spec.card) > 0


def test_the_keys_arrive_as_the_product_wants_them(installation, tmp_path):
    """The init container's own command, run on a folder as Kubernetes mounts a Secret: links into a hidden one."""
    script = OVERLAY / "make-secrets.sh"
    shutil.copy(script, tmp_path / script.name)
    subprocess.run(["sh", tmp_path / script.name], check=True)
    for pod in (pod for pod in installation.pods if pod.spec.initContainers):
        [init] = pod.spec.initContainers
        [volume] = [volume for volume in pod.spec.volumes if volume.secret]
        keys, var = tmp_path / pod.name / "keys", tmp_path / pod.name / "var"
        (keys / "..data").mkdir(parents=True)
        for item in volume.secret.items:
            shutil.copy(tmp_path / "secrets" / item.key, keys / "..data" / item.path)
            (keys / item.path).symlink_to(Path("..data") / item.path)
        command = [word.replace("/keys", str(keys)).replace("/var/lib/melodeon", str(var)) for word in init.command]
        subprocess.run(command, check=True)
        secrets = load_or_create(var)
        for item in volume.secret.items:
            assert getattr(secrets, item.path) == (tmp_path / "secrets" / item.key).read_text()
            assert item.path in {field.name for field in fields(Secrets)}
        assert check_secrets(var).ok
        assert init.image == pod.spec.containers[0].image


def test_making_the_secrets_again_changes_none(tmp_path):
    script = shutil.copy(OVERLAY / "make-secrets.sh", tmp_path)
    subprocess.run(["sh", script], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(["sh", script], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "secrets").iterdir())
    keys = [text for name, text in made.items() if not name.endswith(".env")]
    assert len(set(keys)) == 6
    assert all(re.fullmatch(r"[\w-]{43}", key) for key in keys)


# ---- Ray -----------------------------------------------------------------------------------------------------------


def placed() -> tuple[list[dict], list[dict]]:
    """The actor options of every deployment: without a card, and with one."""
    profile = yaml.safe_load(CLUSTER.read_text())
    deployments = [each for application in profile["applications"] for each in application["deployments"]]
    plain = [d for d in deployments if not d["ray_actor_options"].get("num_gpus")]
    return plain, [d for d in deployments if d["ray_actor_options"].get("num_gpus")]


def test_the_nodes_have_room_for_what_the_profile_places_on_them(installation):
    [service] = installation.of("RayService")
    cluster = service.spec.rayClusterConfig
    plain, on_cards = placed()
    head = cluster.headGroupSpec
    needed = sum(d["ray_actor_options"]["num_cpus"] * d["num_replicas"] for d in plain)
    assert needed <= int(head.rayStartParams["num-cpus"]) <= int(head.template.spec.containers[0].resources.limits.cpu)
    assert all(d["ray_actor_options"]["label_selector"] == {"ray.io/node-group": "headgroup"} for d in plain)
    [group] = cluster.workerGroupSpecs
    limits = group.template.spec.containers[0].resources.limits
    for d in on_cards:
        assert d["ray_actor_options"]["num_gpus"] <= int(limits.gpu)
        assert d["ray_actor_options"]["num_cpus"] <= int(limits.cpu)
    assert group.minReplicas == 0 < group.maxReplicas


def test_ray_is_the_one_that_the_images_install(installation):
    [service] = installation.of("RayService")
    assert f"ray=={service.spec.rayClusterConfig.rayVersion}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_gateways_port_is_one_everywhere(installation):
    profile = yaml.safe_load(CLUSTER.read_text())
    assert profile["http_options"]["host"] == "0.0.0.0"
    assert profile["proxy_location"] == "EveryNode"
    for pod in installation.pods:
        if pod.name in ("head", "cards"):
            [serve] = [port for port in pod.spec.containers[0].ports if port.name == "serve"]
            assert serve.containerPort == profile["http_options"]["port"]


def test_pods_that_end_let_their_work_end_first(installation):
    pods = {pod.name: pod.spec for pod in installation.pods}
    assert pods["melodeon-worker"].terminationGracePeriodSeconds > SHUTDOWN_GRACE_S
    for name in ("head", "cards"):
        [drain_s] = [v.value for v in pods[name].containers[0].env if v.name == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
        assert pods[name].terminationGracePeriodSeconds > int(drain_s)


def test_the_script_writes_the_manifest_and_nothing_else_of_it():
    script = runpy.run_path(str(KUBERNETES / "write_rayservice.py"))
    manifest = KUBERAY.read_text()
    assert script["with_profile"](manifest, CLUSTER.read_text()) == manifest
    other = script["with_profile"](manifest, "# new\n\nproxy_location: HeadOnly\n")
    assert yaml.safe_load(other)["spec"]["serveConfigV2"] == "# new\n\nproxy_location: HeadOnly\n"
    old, new = yaml.safe_load(manifest)["spec"], yaml.safe_load(other)["spec"]
    assert new["rayClusterConfig"] == old["rayClusterConfig"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which brings kustomize, is not installed")
def test_kustomize_makes_the_same_of_it(installation, tmp_path):
    shutil.copytree(ROOT / "configs" / "serve", tmp_path / "configs" / "serve")
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes", ignore=shutil.ignore_patterns("secrets"))
    overlay = tmp_path / "deploy" / "kubernetes" / "overlays" / "example"
    subprocess.run(["sh", overlay / "make-secrets.sh"], check=True)

    def build() -> str:
        return subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True).stdout

    unused = [d for d in yaml.safe_load_all(build()) if d["metadata"]["name"] == "melodeon-outside"]
    assert [d.get("data", {}) for d in unused] == [{}]
    outside = overlay / "secrets" / "outside.env"
    outside.write_text(outside.read_text().replace("#", ""))
    built = build()
    documents = list(yaml.safe_load_all(built))
    secrets = {d["metadata"]["name"]: set(d["data"]) for d in documents if d["kind"] == "Secret"}
    manifests = installation.read(yaml.safe_dump_all(d for d in documents if d["kind"] != "Secret"))
    assert secrets == installation.secrets
    assert {m.metadata.name: m.data for m in manifests if m.kind == "ConfigMap"} == installation.config
    assert all(m.metadata.namespace == "melodeon" for m in manifests if m.kind != "Namespace")
    assert "image: melodeon-" not in built
    generated = {"melodeon-serve"}
    assert sorted((m.kind, m.metadata.name) for m in installation.manifests) == sorted(
        (m.kind, m.metadata.name) for m in manifests if m.metadata.name not in generated
    )
