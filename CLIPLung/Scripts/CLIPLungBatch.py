"""A cohort in 3D Slicer without its window: the same table and the same numbers as `cliplung batch`.

    Slicer --no-splash --no-main-window --python-script CLIPLungBatch.py -- cohort.csv --output DIR [--heatmaps] [--device cpu]

Exit code 0 when every row was answered, 3 when some rows failed (results.csv says why), 2 for unusable input or a
missing package, 1 for anything else.
Slicer itself needs a display even so; on a server, run it under Xvfb.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

EXIT_REFUSED = 2
# Package -> how to install it.
INSTALL = {
    "torch": "PyTorch extension: Extensions Manager of Slicer's window, then its module 'PyTorch'",
    "safetensors": 'in Slicer\'s Python console: slicer.util.pip_install("safetensors")',
}


def main(arguments: list[str]) -> int:
    """Run the batch; the exit code."""
    # Installed, the library lies two folders up; in an unbuilt source tree three.
    for folder in Path(__file__).resolve().parents[1:3]:
        if importlib.util.find_spec("CLIPLungLib") is None and (folder / "CLIPLungLib").is_dir():
            sys.path.append(str(folder))
    # Asked for help, the command needs no package.
    missing = [] if {"-h", "--help"} & set(arguments) else missingPackages()
    if missing:
        print(f"cliplung: {installHint(missing)}", file=sys.stderr)
        return EXIT_REFUSED
    from CLIPLungLib.cli import main as run

    return run(["batch", *[argument for argument in arguments if argument != "--"]])


def missingPackages() -> list[str]:
    """Which of the packages that Slicer does not bring are not there."""
    return [name for name in INSTALL if importlib.util.find_spec(name) is None]


def installHint(missing: list[str]) -> str:
    """What is missing and how to get it, in one line."""
    ways = "; ".join(f"{name} ({INSTALL[name]})" for name in missing)
    return f"this Slicer lacks {ways}. Install what is missing, restart Slicer, and run the batch again."


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
