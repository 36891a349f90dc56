"""What the files for operators are compared with: the doors, and the example for Kubernetes, read strictly."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from configs.secrets import load_or_create
from configs.settings import Settings
from serving.api.app import make_app
from serving.api.services import open_services
from serving.api.views import PREFIX

OVERLAY = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "overlays" / "example"


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths of every HTTP door."""
    var = tmp_path_factory.mktemp("var")
    services = open_services(Settings(var=var), load_or_create(var))
    try:
        return {path if path.startswith(PREFIX) else PREFIX + path for path in make_app(services).openapi()["paths"]}
    finally:
        services.database.dispose()


@pytest.fixture(scope="session")
def installation() -> "Installation":
    """What the example overlay amounts to."""
    return Installation(OVERLAY)


# ---- the kinds, as far as they are used here: every other word is refused ------------------------------------------

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
PortName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,15}$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Cpu = Annotated[str, Field(pattern=r"^(\d+m|\d+)$")]
Memory = Annotated[str, Field(pattern=r"^\d+(Mi|Gi)$")]


class Part(BaseModel):
    """Kubernetes' own words for one thing; all others are refused, numbers are no texts and the other way round."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Part):
    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = {}


class PodMetadata(Part):
    labels: dict[str, str]


class SelectorByLabels(Part):
    matchLabels: dict[str, str] = {}  # noqa: N815 - Kubernetes' word, and so below


class KeyReference(Part):
    name: Name
    key: str
    optional: bool = False


class ValueFrom(Part):
    secretKeyRef: KeyReference  # noqa: N815


class Variable(Part):
    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    value: str | None = None
    valueFrom: ValueFrom | None = None  # noqa: N815


class NamedReference(Part):
    name: Name


class EnvironmentFrom(Part):
    configMapRef: NamedReference  # noqa: N815


class Amounts(Part):
    cpu: Cpu | None = None
    memory: Memory | None = None
    gpu: Annotated[str, Field(pattern=r"^\d+$")] | None = Field(default=None, alias="nvidia.com/gpu")


class Resources(Part):
    requests: Amounts
    limits: Amounts


class Capabilities(Part):
    drop: list[Literal["ALL"]] = Field(min_length=1)


class ContainerSecurity(Part):
    allowPrivilegeEscalation: Literal[False]  # noqa: N815
    capabilities: Capabilities


class Seccomp(Part):
    type: Literal["RuntimeDefault"]


class PodSecurity(Part):
    runAsNonRoot: Literal[True]  # noqa: N815
    runAsUser: int = Field(gt=0)  # noqa: N815
    runAsGroup: int = Field(gt=0)  # noqa: N815
    fsGroup: int = Field(gt=0)  # noqa: N815
    fsGroupChangePolicy: Literal["OnRootMismatch", "Always"] = "Always"  # noqa: N815
    seccompProfile: Seccomp  # noqa: N815


class Mount(Part):
    name: Name
    mountPath: Annotated[str, Field(pattern="^/")]  # noqa: N815
    readOnly: bool = False  # noqa: N815


class ContainerPort(Part):
    name: PortName
    containerPort: Port  # noqa: N815


class HttpGet(Part):
    path: Annotated[str, Field(pattern="^/")]
    port: PortName


class Exec(Part):
    command: list[str]


class Probe(Part):
    httpGet: HttpGet | None = None  # noqa: N815
    exec: Exec | None = None
    periodSeconds: int = Field(default=10, ge=1)  # noqa: N815
    timeoutSeconds: int = Field(default=1, ge=1)  # noqa: N815
    failureThreshold: int = Field(default=3, ge=1)  # noqa: N815


class Container(Part):
    name: Name
    image: str
    command: list[str] | None = None
    ports: list[ContainerPort] = []
    envFrom: list[EnvironmentFrom] = []  # noqa: N815
    env: list[Variable] = []
    resources: Resources
    securityContext: ContainerSecurity  # noqa: N815
    volumeMounts: list[Mount] = []  # noqa: N815
    startupProbe: Probe | None = None  # noqa: N815
    readinessProbe: Probe | None = None  # noqa: N815
    livenessProbe: Probe | None = None  # noqa: N815


class KeyToPath(Part):
    key: str
    path: str


class SecretVolume(Part):
    secretName: Name  # noqa: N815
    items: list[KeyToPath] = []


class ClaimVolume(Part):
    claimName: Name  # noqa: N815


class Empty(Part):
    """A volume that lives as long as its pod."""


class Volume(Part):
    name: Name
    emptyDir: Empty | None = None  # noqa: N815
    configMap: NamedReference | None = None  # noqa: N815
    secret: SecretVolume | None = None
    persistentVolumeClaim: ClaimVolume | None = None  # noqa: N815


class Toleration(Part):
    key: str
    operator: Literal["Exists"]
    effect: Literal["NoSchedule"]


class PodSpec(Part):
    containers: list[Container] = Field(min_length=1)
    initContainers: list[Container] = []  # noqa: N815
    volumes: list[Volume] = []
    securityContext: PodSecurity  # noqa: N815
    restartPolicy: Literal["OnFailure", "Never"] | None = None  # noqa: N815
    automountServiceAccountToken: bool = True  # noqa: N815
    terminationGracePeriodSeconds: int = 30  # noqa: N815
    tolerations: list[Toleration] = []


class PodTemplate(Part):
    metadata: PodMetadata
    spec: PodSpec


class Rolling(Part):
    maxUnavailable: int  # noqa: N815
    maxSurge: int  # noqa: N815


class Strategy(Part):
    rollingUpdate: Rolling  # noqa: N815


class DeploymentSpec(Part):
    replicas: int = Field(ge=1)
    selector: SelectorByLabels
    strategy: Strategy | None = None
    template: PodTemplate


class Deployment(Part):
    apiVersion: Literal["apps/v1"]  # noqa: N815
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec


class JobSpec(Part):
    backoffLimit: int = Field(ge=0)  # noqa: N815
    ttlSecondsAfterFinished: int = Field(ge=0)  # noqa: N815
    template: PodTemplate


class Job(Part):
    apiVersion: Literal["batch/v1"]  # noqa: N815
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec


class ServicePort(Part):
    name: PortName
    port: Port
    targetPort: PortName  # noqa: N815


class ServiceSpec(Part):
    selector: dict[str, str] = Field(min_length=1)
    sessionAffinity: Literal["ClientIP", "None"] = "None"  # noqa: N815
    ports: list[ServicePort] = Field(min_length=1)


class Service(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class BudgetSpec(Part):
    minAvailable: int | None = None  # noqa: N815
    maxUnavailable: int | None = None  # noqa: N815
    selector: SelectorByLabels


class Budget(Part):
    apiVersion: Literal["policy/v1"]  # noqa: N815
    kind: Literal["PodDisruptionBudget"]
    metadata: Metadata
    spec: BudgetSpec


class Peer(Part):
    podSelector: SelectorByLabels | None = None  # noqa: N815
    namespaceSelector: SelectorByLabels | None = None  # noqa: N815


class OpenPort(Part):
    protocol: Literal["TCP"]
    port: Port


class Way(Part):
    from_: list[Peer] = Field(alias="from", min_length=1)
    ports: list[OpenPort] = []


class PolicySpec(Part):
    podSelector: SelectorByLabels  # noqa: N815
    policyTypes: list[Literal["Ingress"]]  # noqa: N815
    ingress: list[Way] = []


class NetworkPolicy(Part):
    apiVersion: Literal["networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: PolicySpec


class BackendPort(Part):
    name: PortName


class BackendService(Part):
    name: Name
    port: BackendPort


class Backend(Part):
    service: BackendService


class IngressPath(Part):
    path: str
    pathType: Literal["Prefix", "Exact"]  # noqa: N815
    backend: Backend


class IngressHttp(Part):
    paths: list[IngressPath] = Field(min_length=1)


class IngressRule(Part):
    host: str
    http: IngressHttp


class IngressTls(Part):
    hosts: list[str]
    secretName: Name  # noqa: N815


class IngressSpec(Part):
    tls: list[IngressTls]
    rules: list[IngressRule] = Field(min_length=1)


class Ingress(Part):
    apiVersion: Literal["networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["Ingress"]
    metadata: Metadata
    spec: IngressSpec


class ClaimRequest(Part):
    storage: Memory


class ClaimResources(Part):
    requests: ClaimRequest


class ClaimSpec(Part):
    accessModes: list[Literal["ReadWriteMany"]]  # noqa: N815
    resources: ClaimResources


class Claim(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["PersistentVolumeClaim"]
    metadata: Metadata
    spec: ClaimSpec


class ConfigMap(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str]


class Namespace(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["Namespace"]
    metadata: Metadata


class Upgrade(Part):
    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]


class Auth(Part):
    mode: Literal["token"]
    secretName: Name  # noqa: N815


class Autoscaler(Part):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int  # noqa: N815
    resources: Resources
    securityContext: ContainerSecurity  # noqa: N815


class HeadGroup(Part):
    rayStartParams: dict[str, str]  # noqa: N815
    template: PodTemplate


class WorkerGroup(HeadGroup):
    groupName: Name  # noqa: N815
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)  # noqa: N815
    maxReplicas: int = Field(ge=0)  # noqa: N815


class RayCluster(Part):
    rayVersion: str  # noqa: N815
    authOptions: Auth  # noqa: N815
    enableInTreeAutoscaling: bool  # noqa: N815
    autoscalerOptions: Autoscaler  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup]  # noqa: N815


class RayServiceSpec(Part):
    upgradeStrategy: Upgrade  # noqa: N815
    serveConfigV2: str  # noqa: N815
    rayClusterConfig: RayCluster  # noqa: N815


class RayService(Part):
    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayService"]
    metadata: Metadata
    spec: RayServiceSpec


_KINDS: tuple[type[Part], ...] = (
    Namespace, ConfigMap, Claim, Deployment, Job, Service, Budget, NetworkPolicy, Ingress, RayService,
)  # fmt: skip
MODEL_OF_KIND = {model.model_fields["kind"].annotation.__args__[0]: model for model in _KINDS}


# ---- the tree ------------------------------------------------------------------------------------------------------


class Generated(Part):
    name: Name
    files: list[str] = []
    envs: list[str] = []


class Patch(Part):
    path: str


class Image(Part):
    name: str
    newName: str  # noqa: N815
    newTag: str  # noqa: N815


class Pairs(Part):
    pairs: dict[str, str]


class GeneratorOptions(Part):
    disableNameSuffixHash: Literal[True]  # noqa: N815


class Kustomization(Part):
    apiVersion: Literal["kustomize.config.k8s.io/v1beta1"]  # noqa: N815
    kind: Literal["Kustomization"]
    namespace: Name | None = None
    labels: list[Pairs] = []
    resources: list[str]
    images: list[Image] = []
    patches: list[Patch] = []
    configMapGenerator: list[Generated] = []  # noqa: N815
    secretGenerator: list[Generated] = []  # noqa: N815
    generatorOptions: GeneratorOptions | None = None  # noqa: N815


def read_kustomization(folder: Path) -> Kustomization:
    [path] = [folder / name for name in ("kustomization.yaml", "Kustomization") if (folder / name).exists()]
    return Kustomization.model_validate(yaml.safe_load(path.read_text()))


def tree(folder: Path) -> Iterator[tuple[Path, Kustomization]]:
    """Every kustomization that this one brings in, the deepest first."""
    found = read_kustomization(folder)
    for name in found.resources:
        if (folder / name).is_dir():
            yield from tree((folder / name).resolve())
    yield folder, found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One template with its own name, and what selects it."""

    name: str
    labels: dict[str, str]
    spec: PodSpec

    @property
    def containers(self) -> list[Container]:
        return [*self.spec.initContainers, *self.spec.containers]


class Installation:
    """What the example overlay amounts to, read without kustomize."""

    def __init__(self, overlay: Path) -> None:
        self.manifests: list[Any] = []
        self.secrets: dict[str, set[str]] = {}
        self.config: dict[str, dict[str, str]] = {}
        self.tree = list(tree(overlay))
        for folder, found in self.tree:
            for name in found.resources:
                if not (folder / name).is_dir():
                    self.manifests += read_manifests((folder / name).read_text())
            for patch in found.patches:
                [changed] = read_manifests((folder / patch.path).read_text())
                self.config[changed.metadata.name].update(changed.data)
            for made in found.configMapGenerator:
                self.config[made.name] = {name: (folder / name).read_text() for name in made.files}
            for made in found.secretGenerator:
                self.secrets[made.name] = set(secret_keys(made, folder))
            self.config |= {m.metadata.name: m.data for m in self.manifests if isinstance(m, ConfigMap)}

    def of(self, kind: str) -> list[Any]:
        return [manifest for manifest in self.manifests if manifest.kind == kind]

    @staticmethod
    def read(text: str) -> list[Any]:
        return read_manifests(text)

    @property
    def pods(self) -> list[Pod]:
        templates = {m.metadata.name: m.spec.template for m in self.manifests if isinstance(m, Deployment | Job)}
        for service in self.of("RayService"):
            cluster = service.spec.rayClusterConfig
            templates["head"] = cluster.headGroupSpec.template
            templates |= {group.groupName: group.template for group in cluster.workerGroupSpecs}
        return [Pod(name=name, labels=t.metadata.labels, spec=t.spec) for name, t in templates.items()]

    def selected(self, labels: dict[str, str]) -> list[Pod]:
        return [pod for pod in self.pods if labels.items() <= pod.labels.items()]


def read_manifests(text: str) -> list[Any]:
    return [MODEL_OF_KIND[each["kind"]].model_validate(each) for each in yaml.safe_load_all(text)]


def secret_keys(made: Generated, overlay: Path) -> list[str]:
    """The keys of a generated Secret: of files their names, of env files what make-secrets.sh writes into them."""
    keys = [name.split("=")[0] if "=" in name else Path(name).name for name in made.files]
    script = (overlay / "make-secrets.sh").read_text()
    for name in made.envs:
        [lines] = re.findall(rf"printf '([^']*)' > {re.escape(name)}", script)
        keys += re.findall(r"(\w+)=", lines.replace(r"\n", "\n"))
    return keys
