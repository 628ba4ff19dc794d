"""Fuzz one target for a while, beginning with what is kept of earlier times in tests/corpus/NAME.

python tests/fuzz/fuzz.py NAME SECONDS FOLDER     what is found goes into FOLDER
python tests/fuzz/fuzz.py NAME merge FOLDER       keep what covers more than what is kept already
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["controller"]):
    from tests.fuzz.targets import CORPUS, LONGEST, check, targets


def main(name: str, seconds: str, folder: str, *more: str) -> None:
    target = targets()[name]
    kept, found = CORPUS / name, Path(folder)
    for place in (kept, found):
        place.mkdir(parents=True, exist_ok=True)
    options = [f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0"]
    options.append(f"-artifact_prefix={found.parent / name}-")
    if seconds == "merge":
        options += ["-merge=1", str(kept), str(found)]
    else:
        options += [f"-max_total_time={seconds}", str(found), str(kept)]
    # libFuzzer merges in processes of its own, which it starts by this name and with options of its own.
    itself = f"{sys.executable} {__file__} {name} {seconds} {folder}"
    atheris.Setup([itself, *(more or options)], lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
