"""Makes ``python -m BYOL`` equivalent to ``byol``."""

import sys

from BYOL.cli.main import main

sys.exit(main())
