"""First use: what is missing, one question, the PyTorch extension alone for torch, and a way to go on after a restart."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

pytest.importorskip("PySide6")
from helpers import slicer_scene

slicer = slicer_scene.slicer


@pytest.fixture
def installer(application, monkeypatch):
    """The real module; `missing` can be set, and every pip command is kept in `commands`."""
    application.open_module()
    module = importlib.import_module("CLIPLungGUI.installer")
    state = types.SimpleNamespace(missing=["torch", "safetensors"], commands=[], told=[])
    monkeypatch.setattr(module, "missingPackages", lambda: list(state.missing))

    def pip(requirements, **options):
        state.commands.append((requirements, options))
        state.missing = [name for name in state.missing if name != "safetensors"]

    monkeypatch.setattr(slicer.util, "pip_install", pip, raising=False)
    module.state = state
    return module


@pytest.fixture
def requirements(application):
    return (application.widget or application.open_module()).resourcePath("requirements.txt")


def torch_extension(monkeypatch, state, gives="torch"):
    """The PyTorch extension's module, which installs torch."""
    asked = []

    class Logic:
        def installTorch(self, **options):
            asked.append(options)
            if gives is not None:
                state.missing = [name for name in state.missing if name != "torch"]
            return gives

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = Logic
    module.__spec__ = importlib.machinery.ModuleSpec("PyTorchUtils", None)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return asked


def test_one_question_says_what_from_where_and_how_large(installer, application, requirements, monkeypatch):
    asked = torch_extension(monkeypatch, installer.state)
    installer.install(requirements, installer.state.told.append)
    assert len(application.dialogs) == 1
    for told in ("PyTorch", "pytorch.org", "MB", "GB", "safetensors", "No image leaves", "not replaced"):
        assert told in application.dialogs[0], told
    assert "does not answer" in installer.state.told[0]
    assert asked == [{"askConfirmation": False, "torchVersionRequirement": ">=2.1"}]
    # Never torch by pip, and nothing of Slicer's own upgraded.
    assert len(installer.state.commands) == 1
    command = installer.state.commands[0][0]
    assert any("safetensors" in part for part in command)
    assert not any("torch" in part for part in command)
    assert "only-if-needed" in command


def test_newer_slicer_installs_by_its_packaging(installer, requirements, monkeypatch):
    installer.state.missing = ["safetensors"]
    calls = []

    def pip_ensure(wanted, prompt_install=True, requester=""):
        calls.append((wanted, prompt_install, requester))
        installer.state.missing = []

    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure = pip_ensure
    packaging.__spec__ = importlib.machinery.ModuleSpec("slicer.packaging", None)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    installer.install(requirements, installer.state.told.append)
    assert calls[0][1:] == (False, "CLIPLung")
    # It takes parsed requirements, no texts.
    assert [requirement.name for requirement in calls[0][0]] == ["safetensors"]
    assert installer.state.commands == []


def test_refusing_installs_nothing(installer, application, requirements):
    application.agrees = False
    with pytest.raises(installer.NotInstalledError, match="Nothing was installed"):
        installer.install(requirements, installer.state.told.append)
    assert installer.state.commands == []


def test_failed_download_tells_the_offline_way(installer, requirements, monkeypatch):
    installer.state.missing = ["safetensors"]
    monkeypatch.setattr(slicer.util, "pip_install", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(installer.NotInstalledError, match=r"no network[\s\S]*--no-index"):
        installer.install(requirements, installer.state.told.append)


def test_torch_that_the_extension_does_not_give_is_told(installer, requirements, monkeypatch):
    torch_extension(monkeypatch, installer.state, gives=None)
    with pytest.raises(installer.NotInstalledError, match="PyTorch was not installed"):
        installer.install(requirements, installer.state.told.append)


class ExtensionsManager:
    """Installs or fails, and remembers what it was asked."""

    def __init__(self, works):
        self.works, self.interactive, self.asked = works, True, []

    def installExtensionFromServer(self, name, restart):
        self.asked.append((name, restart, self.interactive))
        return self.works


@pytest.mark.parametrize("works", [True, False])
def test_missing_extension_is_installed_and_the_restart_remembered(installer, requirements, monkeypatch, works):
    manager, restarts = ExtensionsManager(works), []
    monkeypatch.setattr(slicer.app, "extensionsManagerModel", lambda: manager, raising=False)
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append(1), raising=False)
    message = "Restart Slicer" if works else "could not be installed"
    with pytest.raises(installer.NotInstalledError, match=message):
        installer.install(requirements, installer.state.told.append)
    assert manager.asked == [("PyTorch", False, False)]
    assert manager.interactive
    assert installer.wantsResume() is works
    assert len(restarts) == works


def test_slicer_is_not_restarted_unless_the_user_agrees(installer, application, requirements, monkeypatch):
    manager = ExtensionsManager(True)
    monkeypatch.setattr(slicer.app, "extensionsManagerModel", lambda: manager, raising=False)
    monkeypatch.setattr(slicer.util, "restart", lambda: pytest.fail("restarted"), raising=False)
    application.agrees = False
    with pytest.raises(installer.NotInstalledError, match="Restart Slicer"):
        installer.install(requirements, installer.state.told.append, ask=False)
    assert "not saved will be lost" in application.dialogs[0]


def test_failed_resumption_is_not_tried_at_every_opening(installer, application, monkeypatch):
    application.settings.setValue(installer.RESUME_SETTING, True)
    asked = torch_extension(monkeypatch, installer.state, gives=None)
    for _ in range(2):
        application.widget.model.prepare()
    assert len(asked) == 1
    assert (
        "PyTorch was not installed" in application.widget.model.problem or "Missing" in application.widget.model.problem
    )


def test_installation_goes_on_after_the_restart_without_asking_again(installer, application, monkeypatch):
    application.settings.setValue(installer.RESUME_SETTING, True)
    torch_extension(monkeypatch, installer.state)
    loader = application.widget.model
    monkeypatch.setattr(loader.worker, "submit", lambda *_: None)
    loader.prepare()
    assert application.dialogs == []
    assert installer.state.missing == []
    assert not installer.wantsResume()


def test_packages_for_exports_are_asked_for_when_first_used(installer, application):
    application.agrees = False
    installer.EXPORT_PACKAGES["not_there_at_all"] = "not_there_at_all"
    with pytest.raises(installer.NotInstalledError, match="nothing was written"):
        installer.ensureExportPackage("not_there_at_all", "Report")
    assert "not_there_at_all" in application.dialogs[0]
    application.dialogs.clear()
    installer.ensureExportPackage("json", "Report")
    assert application.dialogs == []


def test_requirements_name_no_package_that_slicer_brings(requirements):
    from pathlib import Path

    names = {line.split(">")[0].split("=")[0].strip() for line in Path(requirements).read_text().splitlines() if line}
    assert names == {"safetensors"}


@pytest.fixture
def bundled_pydicom(monkeypatch, installer):
    """Sets the version of pydicom that Slicer brings; highdicom is not there."""
    import importlib.metadata
    import importlib.util

    find, version = importlib.util.find_spec, importlib.metadata.version
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "highdicom" else find(name, *a))

    def set_version(text):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: text if name == "pydicom" else version(name))

    return set_version


@pytest.mark.parametrize("version", ["2.4.4", "2.0.0", "1.4.2"])
def test_highdicom_is_not_installed_over_an_old_bundled_pydicom(installer, application, bundled_pydicom, version):
    bundled_pydicom(version)
    with pytest.raises(installer.NotInstalledError, match=rf"pydicom {version}.*not replaced.*Slicer 5\.12 or later"):
        installer.ensureExportPackage("highdicom", "Structured report")
    assert installer.state.commands == []
    assert application.dialogs == []


def test_highdicom_is_offered_where_pydicom_is_new_enough(installer, application, bundled_pydicom):
    bundled_pydicom("3.0.1")
    installer.ensureExportPackage("highdicom", "Structured report")
    assert "highdicom" in application.dialogs[0]
    assert installer.state.commands[0][0][-1].startswith("highdicom")


def test_pip_is_held_to_every_version_that_is_installed(installer, monkeypatch):
    import importlib.metadata
    from pathlib import Path

    seen = []

    def pip(command):
        seen.append((command, Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8")))

    monkeypatch.setattr(slicer.util, "pip_install", pip, raising=False)
    installer.pipInstall(["matplotlib>=3.8"])
    command, constraints = seen[0]
    for name in ("numpy", "pydicom"):
        assert f"{name}=={importlib.metadata.version(name)}\n" in constraints
    assert command[-1] == "matplotlib>=3.8"


def test_refusals_are_read_by_users_as_they_are(installer, application):
    assert application.widget.logic.reason(installer.NotInstalledError("Install it.")) == "Install it."
