"""python -m topologies.services PROGRAM SPEC: run one program; SPEC is programs.Spec as JSON."""

import asyncio
import importlib
import json
import sys

from topologies.services.programs import PROGRAMS, Spec
from topologies.services.runtime import Runtime, serve


def main(program: str, text: str) -> int:
    """Run `program` until it ends; returns its exit status."""
    spec = Spec(**json.loads(text))
    module = importlib.import_module(f"topologies.services.{program}")
    options = PROGRAMS[program].options(**spec.options)

    async def run() -> int:
        runtime = Runtime(spec)
        return await serve(runtime, module.main(runtime, options))

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
