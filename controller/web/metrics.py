"""The site in the text format of Prometheus (version 0.0.4).

Knows nothing of HTTP.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from controller.model.relationship import Status, Treatment
from controller.view import SiteView

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def _label(value: str) -> str:
    plain = value.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}"


def render(site: SiteView) -> str:
    """All metrics of the site at one moment."""
    statuses = Counter(view.relationship.status for view in site.relationships.values())
    treatments = Counter(pair.treatment for pair in site.pairs)
    admissions = Counter(device.admission for device in site.devices.values())
    learning = sum(view.service.learning for view in site.services.values())
    waiting = sum(not view.in_force for view in site.decisions if view.decision.undone_at is None)
    latencies = sorted(view.latency for view in site.decisions if view.latency is not None)
    lines: list[str] = []

    def gauge(name: str, text: str, *samples: Sample) -> None:
        lines.extend(_family(f"graphwall_{name}", "gauge", text, samples))

    gauge("inspector_up", "Whether the inspector is connected.", ({}, site.inspector))
    gauge(
        "switch_up",
        "Whether a switch is connected.",
        *(({"switch": switch.name}, switch.connected) for switch in site.switches),
    )
    gauge(
        "switch_flows",
        "Flows that a switch should hold.",
        *(({"switch": switch.name}, switch.flows) for switch in site.switches),
    )
    gauge("devices", "Devices, by admission.", *(({"admission": a.value}, n) for a, n in admissions.items()))
    gauge("services", "Services.", ({}, len(site.services)))
    gauge("services_learning", "Services in their learning phase.", ({}, learning))
    gauge("relationships", "Relationships, by status.", *(({"status": s.value}, statuses[s]) for s in Status))
    gauge(
        "pairs",
        "Pairs of devices, by what the switch does.",
        *(({"treatment": t.value}, treatments[t]) for t in Treatment),
    )
    gauge("requests_open", "Requests that wait for the site manager.", ({}, len(site.requests)))
    gauge("decisions_not_in_force", "Decisions that are not yet carried out everywhere.", ({}, waiting))
    if latencies:
        slowest = latencies[-1]
        gauge("decision_latency_max_seconds", "Longest time from a decision to in force.", ({}, slowest))
    for name, value in sorted(site.counters.items()):
        plain = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        lines.extend(_family(f"graphwall_{plain}_total", "counter", f"Total: {plain}.", [({}, value)]))
    return "\n".join(lines) + "\n"
