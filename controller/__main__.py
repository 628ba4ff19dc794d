"""`python -m controller` is the command `graphwall`."""

import sys

from controller.cli import main

sys.exit(main())
