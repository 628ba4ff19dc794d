"""`python -m controller.inspector` is the inspector process; the supervisor starts it."""

import sys

from controller.inspector.process import main

sys.exit(main())
