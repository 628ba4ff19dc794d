"""python -m topologies."""

import sys

from topologies.cli import main

if __name__ == "__main__":
    sys.exit(main())
