"""Lets ``python -m bridge.cli`` be ``reverie``."""

import sys

from bridge.cli import main

sys.exit(main())
