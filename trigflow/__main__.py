"""`python -m trigflow`."""

import sys

from trigflow.cli import main

sys.exit(main())
