"""The communication graph as a picture, SVG or PNG: services, and one line for each two that talk.

Where things go is networkx's spring layout, always the same for the same graph; Pillow draws the PNG with
a font of its own, so that nothing has to be installed. Knows nothing of HTTP.
"""

import io
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import networkx as nx
from PIL import Image, ImageDraw, ImageFont

from controller.model.relationship import ServiceId, Status
from controller.view import SiteView
from controller.web.export import COLOURS
from controller.words import visible

_WORST = (Status.DENIED, Status.PENDING, Status.EXPIRED, Status.APPROVED, Status.LEARNED)
_DASHES = {Status.PENDING: (8, 5), Status.EXPIRED: (8, 5)}
_WIDTHS = {Status.DENIED: 4}
_LEGEND = (
    (Status.LEARNED, "in the model"),
    (Status.PENDING, "not decided yet"),
    (Status.DENIED, "denied"),
)
MARGIN = 90
FOOT = 40  # for the legend
RADIUS = 14
SPACING = 130  # pixels for each service, on average
LARGEST = 6000  # pixels


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    name: str
    below: str


@dataclass(frozen=True, slots=True)
class Line:
    """From the edge of one dot to that of another, with its arrow."""

    x1: float
    y1: float
    x2: float
    y2: float
    status: Status
    says: str


@dataclass(frozen=True, slots=True)
class Picture:
    title: str
    size: int
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]


def draw(site: SiteView) -> Picture:
    """Where everything goes."""
    graph: nx.Graph[ServiceId] = nx.Graph()
    graph.add_nodes_from(sorted(site.services))
    between: dict[tuple[ServiceId, ServiceId], list[Status]] = {}
    for edge in site.relationships.values():
        access = edge.relationship.access
        between.setdefault((access.client, access.server), []).append(edge.relationship.status)
    graph.add_edges_from(sorted(between))
    size = min(LARGEST, round(2 * MARGIN + SPACING * max(4.0, len(graph) ** 0.5 * 2)))
    places = nx.spring_layout(graph, k=2.5 / max(1.0, len(graph) ** 0.5), iterations=80, seed=1)
    half = (size - 2 * MARGIN) / 2
    spots = {
        name: (MARGIN + half * (1 + float(x)), MARGIN + half * (1 + float(y)))
        for name, (x, y) in places.items()
    }
    dots = tuple(
        Dot(*spots[name], visible(site.services[name].device.name, 30), _below(site, name)) for name in spots
    )
    lines = tuple(
        _line(spots[client], spots[server], min(statuses, key=_WORST.index), len(statuses))
        for (client, server), statuses in sorted(between.items())
        if client != server
    )
    return Picture(visible(site.site), size, dots, lines)


def _below(site: SiteView, name: ServiceId) -> str:
    view = site.services[name]
    return "" if view.service.name == view.device.name else visible(view.service.name, 30)


def _line(start: tuple[float, float], end: tuple[float, float], status: Status, count: int) -> Line:
    (x1, y1), (x2, y2) = start, end
    length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
    dx, dy = (x2 - x1) / length * (RADIUS + 2), (y2 - y1) / length * (RADIUS + 2)
    says = f"{count} relationship{'' if count == 1 else 's'}, {status.value}"
    return Line(x1 + dx, y1 + dy, x2 - dx, y2 - dy, status, says)


def _arrow(line: Line) -> tuple[tuple[float, float], ...]:
    """The three corners of the arrow at the end of a line."""
    length = max(1.0, ((line.x2 - line.x1) ** 2 + (line.y2 - line.y1) ** 2) ** 0.5)
    dx, dy = (line.x2 - line.x1) / length, (line.y2 - line.y1) / length
    back = line.x2 - 11 * dx, line.y2 - 11 * dy
    return (
        (line.x2, line.y2),
        (back[0] - 5 * dy, back[1] + 5 * dx),
        (back[0] + 5 * dy, back[1] - 5 * dx),
    )


_HALO = 'stroke="#ffffff" stroke-width="4" paint-order="stroke"'  # lines behind a name do not cross it out


def svg(picture: Picture) -> str:
    """Attributes only, no style: it may be shown under the strictest content security policy."""
    size, height = picture.size, picture.size + FOOT
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{height}" '
            f'viewBox="0 0 {size} {height}" font-family="sans-serif" font-size="13" text-anchor="middle">'
        ),
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{size}" height="{height}" fill="#ffffff"/>',
        f'<text x="{size / 2}" y="30" font-size="18">{escape(picture.title)}</text>',
    ]
    for line in picture.lines:
        colour = quoteattr(COLOURS[line.status])
        dash = ",".join(map(str, _DASHES.get(line.status, ()))) or "none"
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in _arrow(line))
        out += [
            (
                f"<g stroke={colour} fill={colour}><title>{escape(line.says)}</title>"
                f'<line x1="{line.x1:.1f}" y1="{line.y1:.1f}" x2="{line.x2:.1f}" y2="{line.y2:.1f}" '
                f'stroke-width="{_WIDTHS.get(line.status, 2)}" stroke-dasharray="{dash}"/>'
                f'<polygon points="{corners}" stroke="none"/></g>'
            )
        ]
    for dot in picture.dots:
        out += [
            f'<circle cx="{dot.x:.1f}" cy="{dot.y:.1f}" r="{RADIUS}" fill="#ddf4ff" stroke="#0969da"/>',
            f'<text x="{dot.x:.1f}" y="{dot.y + RADIUS + 15:.1f}" {_HALO}>{escape(dot.name)}</text>',
            (
                f'<text x="{dot.x:.1f}" y="{dot.y + RADIUS + 30:.1f}" fill="#57606a" font-size="11" {_HALO}>'
                f"{escape(dot.below)}</text>"
            ),
        ]
    for number, (status, word) in enumerate(_LEGEND):
        x, y = 30 + 180 * number, size + 15
        dash = ",".join(map(str, _DASHES.get(status, ()))) or "none"
        out += [
            (
                f'<line x1="{x}" y1="{y}" x2="{x + 30}" y2="{y}" stroke="{COLOURS[status]}" '
                f'stroke-width="{_WIDTHS.get(status, 2)}" stroke-dasharray="{dash}"/>'
            ),
            f'<text x="{x + 40}" y="{y + 4}" text-anchor="start">{word}</text>',
        ]
    return "\n".join([*out, "</svg>\n"])


def png(picture: Picture) -> bytes:
    image = Image.new("RGB", (picture.size, picture.size + FOOT), "#ffffff")
    pen = ImageDraw.Draw(image)
    large, plain, small = (ImageFont.load_default(points) for points in (18, 13, 11))
    pen.text((picture.size / 2, 25), picture.title, "#000000", large, anchor="mm")
    for line in picture.lines:
        _stroke(pen, (line.x1, line.y1, line.x2, line.y2), line.status)
        pen.polygon(list(_arrow(line)), COLOURS[line.status])
    for dot in picture.dots:
        box = (dot.x - RADIUS, dot.y - RADIUS, dot.x + RADIUS, dot.y + RADIUS)
        pen.ellipse(box, "#ddf4ff", "#0969da")
        for down, text, colour, font in ((11, dot.name, "#000000", plain), (26, dot.below, "#57606a", small)):
            at = dot.x, dot.y + RADIUS + down
            pen.text(at, text, colour, font, anchor="mm", stroke_width=2, stroke_fill="#ffffff")
    for number, (status, word) in enumerate(_LEGEND):
        x, y = 30 + 180 * number, picture.size + 15
        _stroke(pen, (x, y, x + 30, y), status)
        pen.text((x + 40, y), word, "#000000", plain, anchor="lm")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _stroke(pen: ImageDraw.ImageDraw, ends: tuple[float, float, float, float], status: Status) -> None:
    """A line, dashed where its status is."""
    colour, width = COLOURS[status], _WIDTHS.get(status, 2)
    x1, y1, x2, y2 = ends
    on, off = _DASHES.get(status, (0, 0))
    if not on:
        pen.line(ends, colour, width)
        return
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    at = 0.0
    while at < length:
        start, stop = at / length, min(at + on, length) / length
        dx, dy = x2 - x1, y2 - y1
        pen.line((x1 + start * dx, y1 + start * dy, x1 + stop * dx, y1 + stop * dy), colour, width)
        at += on + off
