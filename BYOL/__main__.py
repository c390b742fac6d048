"""``python -m BYOL`` is ``byol``."""

import sys

from BYOL.cli import main

sys.exit(main())
