"""``python -m BYOL`` is ``byol``."""

import sys

from BYOL.cli.main import main

sys.exit(main())
