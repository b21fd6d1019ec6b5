"""What CLIPLung needs beyond what Slicer brings, and how it gets there: asked once, in one dialog, and never replacing a bundled package.

PyTorch comes through the PyTorch extension, which chooses the build that fits the computer; everything else is a small wheel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from CLIPLungLib.errors import MissingPackageError

TORCH_EXTENSION = "PyTorch"
TORCH_REQUIREMENT = ">=2.1"
RESUME_SETTING = "CLIPLung/InstallAfterRestart"
# Packages that exports need, asked for when they are first used: module -> requirement.
EXPORT_PACKAGES = {"matplotlib": "matplotlib>=3.8", "highdicom": "highdicom>=0.24"}
# What they need of a package that Slicer brings, and the first Slicer that brings it: module -> package, major version, Slicer.
BUNDLED_NEEDS = {"highdicom": ("pydicom", 3, "5.12")}


class NotInstalledError(MissingPackageError):
    """Something is missing, and the user did not want it installed, or it could not be."""


class RestartNeededError(NotInstalledError):
    """An extension was installed; the application finds it after a restart."""


def missingPackages() -> list[str]:
    """What an analysis needs and is not there: of "torch" and the modules of requirements.txt."""
    importlib.invalidate_caches()
    return [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]


def hasTorchExtension() -> bool:
    """Whether the PyTorch extension is installed in this Slicer."""
    return importlib.util.find_spec("PyTorchUtils") is not None


def explanation(missing: list[str]) -> str:
    """What will be installed, from where and how large, as shown before anything happens."""
    lines = [_("CLIPLung needs packages that 3D Slicer does not bring:"), ""]
    if "torch" in missing:
        lines.append(
            _(
                "- PyTorch, through Slicer's PyTorch extension. Download from pytorch.org: about 200 MB for computers without "
                "an NVIDIA graphics card, 2 to 3 GB with one; 0.7 to 6 GB on disk."
            )
        )
    if "safetensors" in missing:
        lines.append(_("- safetensors (reads the model file), from the Python package index, less than 1 MB."))
    lines += [
        "",
        _("It takes some minutes, in which Slicer does not answer. Save your scene before."),
        _("No image leaves this computer. Packages that belong to Slicer are not replaced. Install now?"),
    ]
    return "\n".join(lines)


def offlineHelp() -> str:
    """How to install on a computer without internet access."""
    return _(
        "Without internet access: on a computer with access, install the same version of Slicer with the PyTorch extension and "
        "PyTorch, and copy that Slicer's folder here; or download the wheels of torch and safetensors for Python {version} and install "
        "them in Slicer's Python console with: slicer.util.pip_install('--no-index --find-links FOLDER torch safetensors')"
    ).format(version=_pythonVersion())


def install(requirementsFile: str, tell: Callable[[str], None], ask: bool = True) -> None:
    """Install everything that is missing, after one question.

    Args:
        requirementsFile: of the module's resources.
        tell: shows a text, before the application stops answering for a while.
        ask: False when the user has agreed before, as after a restart.

    Raises:
        NotInstalledError: refused, or not possible; the text says what to do.
    """
    missing = missingPackages()
    if not missing:
        return
    if ask and not slicer.util.confirmOkCancelDisplay(explanation(missing), windowTitle="CLIPLung"):
        raise NotInstalledError(_("Nothing was installed. CLIPLung cannot analyze nodules without these packages."))
    tell(_("Installing. This takes some minutes, in which Slicer does not answer..."))
    try:
        with slicer.util.WaitCursor():
            _installPackages(missing, requirementsFile)
    except RestartNeededError as error:
        if slicer.util.confirmOkCancelDisplay(_restartQuestion(), windowTitle="CLIPLung"):
            slicer.util.restart()
        raise NotInstalledError(str(error)) from None
    except NotInstalledError:
        raise
    except Exception as error:
        raise NotInstalledError(
            _("Installation failed: {reason}").format(reason=error) + "\n\n" + offlineHelp()
        ) from error
    still = missingPackages()
    if still:
        raise NotInstalledError(
            _("Still missing after the installation: {names}. Restart Slicer and try again.").format(
                names=", ".join(still)
            )
        )
    forgetResume()


def ensureExportPackage(name: str, purpose: str) -> None:
    """Ask for a package that one export needs, when it is not there.

    Raises:
        NotInstalledError: refused, or not possible.
    """
    importlib.invalidate_caches()
    if importlib.util.find_spec(name) is not None:
        return
    _requireBundled(name, purpose)
    question = _(
        "{purpose} needs the Python package {name}, which this Slicer does not bring. Install it from the Python package index?"
    ).format(purpose=purpose, name=name)
    if not slicer.util.confirmOkCancelDisplay(question, windowTitle="CLIPLung"):
        raise NotInstalledError(_("{name} was not installed, so nothing was written.").format(name=name))
    try:
        pipInstall([EXPORT_PACKAGES[name]])
    except Exception as error:
        raise NotInstalledError(_("{name} could not be installed: {reason}").format(name=name, reason=error)) from error


def pipInstall(requirements: list[str]) -> None:
    """Install small wheels with what this Slicer offers: slicer.packaging since 5.12, slicer.util.pip_install before."""
    if importlib.util.find_spec("slicer.packaging") is not None:
        from packaging.requirements import Requirement

        wanted = [Requirement(text) for text in requirements]
        importlib.import_module("slicer.packaging").pip_ensure(wanted, prompt_install=False, requester="CLIPLung")
        return
    # Upgrading only what is asked for leaves most of Slicer's own packages alone, and the constraints all of them: pip refuses instead.
    with installedVersions() as constraints:
        slicer.util.pip_install(["--upgrade-strategy", "only-if-needed", "--constraint", constraints, *requirements])


@contextmanager
def installedVersions() -> Iterator[str]:
    """Path of a file for pip that holds every package at the version that is installed."""
    versions = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        yield str(file)


def _requireBundled(name: str, purpose: str) -> None:
    """Refuse a package whose installation would replace one that Slicer brings.

    Raises:
        NotInstalledError: the bundled one is too old for it.
    """
    if name not in BUNDLED_NEEDS:
        return
    bundled, major, firstSlicer = BUNDLED_NEEDS[name]
    try:
        version = importlib.metadata.version(bundled)
    except importlib.metadata.PackageNotFoundError:
        return  # nothing to replace
    if int(version.partition(".")[0]) < major:
        raise NotInstalledError(
            _(
                "{purpose} needs {name}, which needs {bundled} {major} or later. This Slicer brings {bundled} {version}, which is "
                "not replaced. Use Slicer {slicer} or later for it; CSV, JSON and PNG can be exported here."
            ).format(purpose=purpose, name=name, bundled=bundled, major=major, version=version, slicer=firstSlicer)
        )


def wantsResume() -> bool:
    """Whether an installation was begun before the restart."""
    return slicer.util.settingsValue(RESUME_SETTING, False, converter=slicer.util.toBool)


def forgetResume() -> None:
    """The installation is complete, or not wanted any more."""
    slicer.app.userSettings().remove(RESUME_SETTING)


def _installPackages(missing: list[str], requirementsFile: str) -> None:
    if "torch" in missing:
        _installTorch()
    if "safetensors" in missing:
        pipInstall(Path(requirementsFile).read_text(encoding="utf-8").split())


def _installTorch() -> None:
    if not hasTorchExtension():
        _installTorchExtension()
        return
    utilities = importlib.import_module("PyTorchUtils")
    torch = utilities.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=TORCH_REQUIREMENT)
    if torch is None:
        raise NotInstalledError(_("PyTorch was not installed. Try again, or install it with the module 'PyTorch'."))


def _installTorchExtension() -> None:
    """Slicer finds a new extension after a restart; the setting makes this module go on then."""
    manager = slicer.app.extensionsManagerModel() if hasattr(slicer.app, "extensionsManagerModel") else None
    if manager is None:
        raise NotInstalledError(
            _(
                "The PyTorch extension is missing. Install it with the Extensions Manager, restart Slicer, and try again."
            )
            + "\n\n"
            + offlineHelp()
        )
    wasInteractive, manager.interactive = manager.interactive, False  # the user has agreed already
    try:
        isInstalled = manager.installExtensionFromServer(TORCH_EXTENSION, False)
    finally:
        manager.interactive = wasInteractive
    if not isInstalled:
        raise NotInstalledError(
            _("The PyTorch extension could not be installed. Install it with the Extensions Manager, then try again.")
            + "\n\n"
            + offlineHelp()
        )
    slicer.app.userSettings().setValue(RESUME_SETTING, True)
    raise RestartNeededError(_("The PyTorch extension is installed. Restart Slicer; CLIPLung then goes on."))


def _restartQuestion() -> str:
    return _(
        "The PyTorch extension is installed. Slicer must be restarted; CLIPLung goes on when you open it again. "
        "What is not saved will be lost. Restart now?"
    )


def _pythonVersion() -> str:
    import sys

    return f"{sys.version_info[0]}.{sys.version_info[1]}"
