"""Screens as pictures for the README: side by side, and in so few colours that they are small."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

LARGEST = 150_000  # bytes
COLOURS = 256
GAP = 24
AROUND = (203, 210, 218)


def save(path: Path, *screens: bytes) -> None:
    """One picture of PNG screens of the same height, from left to right."""
    shown = [Image.open(io.BytesIO(screen)).convert("RGB") for screen in screens]
    picture = shown[0] if len(shown) == 1 else _side_by_side(shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    _few_colours(picture).save(path, optimize=True)
    assert path.stat().st_size <= LARGEST, path


def _few_colours(picture: Image.Image) -> Image.Image:
    """In its most frequent colours, so that what is flat stays as it is, and in some of all others."""
    found = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)[: COLOURS // 2]
    rare = picture.quantize(COLOURS // 2, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in found for part in colour] + rare)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _side_by_side(screens: Sequence[Image.Image]) -> Image.Image:
    width = sum(screen.width for screen in screens) + GAP * (len(screens) + 1)
    picture = Image.new("RGB", (width, screens[0].height + 2 * GAP), AROUND)
    left = GAP
    for screen in screens:
        picture.paste(screen, (left, GAP))
        left += screen.width + GAP
    return picture
