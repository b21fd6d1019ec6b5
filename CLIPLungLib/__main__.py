"""`python -m CLIPLungLib` is `cliplung`."""

import sys

from CLIPLungLib.cli import main

sys.exit(main())
