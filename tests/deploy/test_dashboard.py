"""What operators see: every number that the dashboard and the alerts ask for is one that something tells."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import serving
from configs.secrets import Secrets
from configs.settings import Settings
from serving.scaling import Cause
from studio.words.job import JobState

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SERVING = Path(serving.__file__).parent
METRIC = re.compile(r"\b(?:ray|melodeon)_[a-z0-9_]+")
NAMED_IN_CODE = re.compile(r'"((?:melodeon|serve|node)_[a-z0-9_]+)"')


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "melodeon.json").read_text())


@pytest.fixture(scope="module")
def prometheus() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())


@pytest.fixture(scope="module")
def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def names_in(*paths: Path) -> set[str]:
    return {name for path in paths for name in NAMED_IN_CODE.findall(path.read_text())}


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Every metric that is told, without the endings that Prometheus' types add."""
    spec = find_spec("ray")
    assert spec
    assert spec.origin
    ray = Path(spec.origin).parent
    rays = names_in(*(ray / "serve" / "_private").rglob("*.py"), *(ray / "dashboard/modules/reporter").glob("*.py"))
    ours = names_in(*(SERVING / "deployments").glob("*.py"))
    web = names_in(SERVING / "api" / "metrics.py")
    assert min(len(rays), len(ours), len(web)) > 5
    return {f"ray_{name}" for name in rays | ours} | web


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def is_told(metric: str, told: set[str]) -> bool:
    endings = ("", "_total", "_bucket", "_sum", "_count")
    return any(metric.removesuffix(ending) in told for ending in endings)


def unknown(expressions: Iterator[str] | list[str], told: set[str]) -> list[str]:
    asked = {metric for expression in expressions for metric in METRIC.findall(expression)}
    assert asked
    return sorted(metric for metric in asked if not is_told(metric, told))


def test_every_metric_of_the_dashboard_is_told_by_something(dashboard, told) -> None:
    assert unknown(queries(dashboard), told) == []


def test_every_metric_of_the_alerts_is_told_by_something(alerts, told) -> None:
    assert unknown([rule["expr"] for rule in alerts], told) == []


def test_a_metric_that_nobody_tells_would_be_found(told) -> None:
    assert unknown(["sum(ray_serve_nonsense_total)", "melodeon_jobs"], told) == ["ray_serve_nonsense_total"]


def test_all_of_our_own_metrics_have_a_place_on_the_dashboard(dashboard, told) -> None:
    asked = {metric for query in queries(dashboard) for metric in METRIC.findall(query)}
    ours = {name for name in told if "melodeon_" in name}
    assert {name for name in ours if not any(metric.startswith(name) for metric in asked)} == set()


def test_the_dashboard_can_be_loaded(dashboard) -> None:
    assert dashboard["uid"]
    assert dashboard["title"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for query in queries(dashboard):
        assert set(re.findall(r"\$(\w+)", query)) <= variables
        assert [query.count(left) for left in "({["] == [query.count(right) for right in ")}]"], query


def test_words_in_filters_are_those_of_the_code(dashboard, alerts) -> None:
    expressions = [*queries(dashboard), *(rule["expr"] for rule in alerts)]
    reasons = {word for text in expressions for word in re.findall(r'reason="(\w+)"', text)}
    states = {word for text in expressions for word in re.findall(r'state="(\w+)"', text)}
    assert reasons <= {cause.value for cause in Cause}
    assert states <= {state.value for state in JobState}
    explained = next(panel["description"] for panel in dashboard["panels"] if panel["title"] == "Why")
    assert all(cause.value in explained for cause in Cause)


def test_prometheus_looks_where_the_product_answers(prometheus, doors) -> None:
    settings = Settings()
    web, ray = prometheus["scrape_configs"]
    assert web["metrics_path"] in doors
    assert web["static_configs"][0]["targets"] == [f"127.0.0.1:{settings.web.port}"]
    [discovery] = ray["http_sd_configs"]
    assert discovery["url"] == f"http://127.0.0.1:{settings.serve.dashboard_port}/api/prometheus/sd"
    wanted = {Path(part["authorization"]["credentials_file"]).name for part in (web, discovery)}
    assert wanted == {"gateway_key", "ray_token"} <= set(Secrets.__dataclass_fields__)
    assert prometheus["rule_files"] == ["alerts.yml"]


def test_prometheus_drops_nothing_that_is_asked_for(prometheus, dashboard, alerts) -> None:
    expressions = [*queries(dashboard), *(rule["expr"] for rule in alerts)]
    asked = {metric for expression in expressions for metric in METRIC.findall(expression)}
    drop, labels = prometheus["scrape_configs"][1]["metric_relabel_configs"]
    assert (drop["action"], labels["action"]) == ("drop", "labeldrop")
    assert [metric for metric in asked if re.fullmatch(drop["regex"], metric)] == []
    grouped = {
        label for text in expressions for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(", ")
    }
    assert [label for label in grouped if re.fullmatch(labels["regex"], label)] == []


def test_every_alert_says_what_to_look_at(alerts) -> None:
    for rule in alerts:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])
        assert rule["annotations"]["summary"].endswith(".")
