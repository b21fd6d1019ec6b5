"""A cohort in 3D Slicer without its window: the same table and the same numbers as `cliplung batch`.

    Slicer --no-splash --no-main-window --python-script CLIPLungBatch.py -- cohort.csv --output DIR [--heatmaps] [--device cpu]

Exit code 0 when every row was answered, 3 when some rows failed (results.csv says why), 2 for unusable input, 1 for anything else.
Slicer itself needs a display even so; on a server, run it under Xvfb.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run the batch; the exit code."""
    # Installed, the library lies two folders up; in an unbuilt source tree three.
    for folder in Path(__file__).resolve().parents[1:3]:
        if importlib.util.find_spec("CLIPLungLib") is None and (folder / "CLIPLungLib").is_dir():
            sys.path.append(str(folder))
    from CLIPLungLib.cli import main as run

    return run(["batch", *[argument for argument in arguments if argument != "--"]])


def _exitCode(arguments: list[str]) -> int:
    """Whatever happens, a code: a script that raises or merely ends would leave Slicer running for ever."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    import slicer

    slicer.util.exit(_exitCode(sys.argv[1:]))
