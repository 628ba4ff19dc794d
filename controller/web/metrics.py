"""The site for Prometheus, written by its own client library (text format 0.0.4).

Knows nothing of HTTP.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from controller.model.relationship import Status, Treatment
from controller.model.service import Admission
from controller.view import SiteView
from controller.words import visible

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    found = GaugeMetricFamily(f"graphwall_{name}", text, labels=labels)
    for values, number in samples:
        found.add_metric([visible(value) for value in values], number)
    return found


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    found = CounterMetricFamily(f"graphwall_{name}", text, labels=labels)
    for values, number in samples:
        found.add_metric([visible(value) for value in values], number)
    return found


def families(site: SiteView) -> Iterator[Metric]:
    """All metrics of the site at one moment."""
    yield from _parts(site)
    yield from _model(site)
    yield from _decisions(site)
    yield from _traffic(site)


def _parts(site: SiteView) -> Iterator[Metric]:
    yield _gauge("inspector_up", "1 while the inspector is connected.", (), [((), site.inspector)])
    switches = site.switches
    yield _gauge(
        "switch_up",
        "1 while a switch is connected.",
        ("switch",),
        (((s.name,), s.connected) for s in switches),
    )
    yield _gauge(
        "switch_flows",
        "Flows that a switch should hold.",
        ("switch",),
        (((s.name,), s.flows) for s in switches),
    )


def _model(site: SiteView) -> Iterator[Metric]:
    admissions = Counter(device.admission for device in site.devices.values())
    statuses = Counter(view.relationship.status for view in site.relationships.values())
    treatments = Counter(pair.treatment for pair in site.pairs)
    learning = sum(view.learning is not None for view in site.services.values())
    paused = sum(device.paused_until is not None for device in site.devices.values())
    yield _gauge(
        "devices", "Devices, by admission.", ("admission",), (((a.value,), admissions[a]) for a in Admission)
    )
    yield _gauge("devices_paused", "Devices whose protection is paused.", (), [((), paused)])
    yield _gauge("services", "Services.", (), [((), len(site.services))])
    yield _gauge("services_learning", "Services in their learning phase.", (), [((), learning)])
    yield _gauge(
        "relationships", "Relationships, by status.", ("status",), (((s.value,), statuses[s]) for s in Status)
    )
    yield _gauge(
        "pairs",
        "Pairs of devices, by what the switch does between them.",
        ("treatment",),
        (((t.value,), treatments[t]) for t in Treatment),
    )


def _decisions(site: SiteView) -> Iterator[Metric]:
    waiting = sum(not view.in_force for view in site.decisions if view.decision.undone_at is None)
    risks = Counter(request.risk for request in site.requests)
    latencies = [view.latency for view in site.decisions if view.latency is not None]
    yield _gauge(
        "requests_open",
        "Requests that wait for the site manager, by risk.",
        ("risk",),
        (((risk,), risks[risk]) for risk in ("reads", "changes", "opens")),
    )
    yield _counter("decisions", "Decisions made, those undone among them.", (), [((), len(site.decisions))])
    yield _gauge(
        "decisions_not_in_force", "Decisions that are not yet carried out everywhere.", (), [((), waiting)]
    )
    if latencies:
        text = "Longest time from a decision to in force since the controller started."
        yield _gauge("decision_latency_max_seconds", text, (), [((), max(latencies))])


def _traffic(site: SiteView) -> Iterator[Metric]:
    messages: Counter[tuple[str, ...]] = Counter()
    for view in site.relationships.values():
        protocol = view.relationship.access.protocol
        messages[protocol, "allow"] += view.relationship.allowed
        messages[protocol, "deny"] += view.relationship.refused
    text = "Messages of known relationships, by protocol and verdict."
    yield _counter("messages", text, ("protocol", "verdict"), sorted(messages.items()))
    inspector, controller = _split(site.counters)
    yield _counter(
        "inspector_events",
        "What the inspector counts since it started.",
        ("event",),
        sorted(inspector.items()),
    )
    yield _counter(
        "controller_events",
        "What the controller counts since it started.",
        ("event",),
        sorted(controller.items()),
    )


def _split(counters: Mapping[str, int]) -> tuple[dict[tuple[str], int], dict[tuple[str], int]]:
    """The counters of the inspector, and those of the controller."""
    mark = "inspector "
    inspector = {(name.removeprefix(mark),): n for name, n in counters.items() if name.startswith(mark)}
    controller = {(name,): n for name, n in counters.items() if not name.startswith(mark)}
    return inspector, controller


class _OneLook(Collector):
    def __init__(self, site: SiteView) -> None:
        self._site = site

    def collect(self) -> Iterable[Metric]:
        return families(self._site)


def render(site: SiteView) -> bytes:
    """All metrics of the site at one moment, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OneLook(site))
    return generate_latest(registry)
