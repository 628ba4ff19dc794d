"""Names that are made to be taken for another: what looks the same has the same skeleton.

As Unicode Technical Standard #39, section 4 has it, with its table of confusable characters as the library
`confusable-homoglyphs` ships it; case, accents, blanks and punctuation make no difference either.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache

LONGEST = 200  # characters that are looked at


@cache
def _prototypes() -> Mapping[str, str]:
    """What each confusable character stands for. The library lists every pair under both of its sides."""
    from confusable_homoglyphs.confusables import confusables_data  # noqa: PLC0415  # reads a large table

    found = {}
    for character, alike in confusables_data.items():
        if len(character) != 1 or len(alike) != 1:  # with several it is itself what they stand for
            continue
        other = str(alike[0]["c"]).strip("\u200e")
        mutual = len(confusables_data.get(other, ())) == 1
        found[character] = min(character, other) if mutual and len(other) == 1 else other
    return found


@lru_cache(maxsize=8192)
def skeleton(name: str) -> str:
    """What is left of a name for the eye; "" when that is nothing.

    >>> skeleton("Fr\u043ent d00r") == skeleton("FRONT-DOOR")
    True
    """
    prototypes = _prototypes()
    text = name[:LONGEST]
    for _ in range(2):  # folding the case can bring new ones
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(prototypes.get(character, character) for character in parts).casefold()
    return "".join(character for character in text if character.isalnum())
