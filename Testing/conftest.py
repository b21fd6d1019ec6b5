"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from CLIPLungLib.image.ct_volume import CTVolume

# Workers of pytest-xdist share the cores. Set before torch is imported.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

REPOSITORY = Path(__file__).resolve().parents[1]
LIDC_FOLDER = Path(os.environ.get("CLIPLUNG_LIDC", REPOSITORY.parent / "shared" / "lidc"))


@pytest.fixture(scope="session")
def lidc_folder() -> Path:
    """The LIDC-IDRI test data (see Resources/Documentation/developing.md); tests that need it are skipped without it."""
    if not (LIDC_FOLDER / "nodules.csv").is_file():
        pytest.skip(f"LIDC-IDRI test data not found at {LIDC_FOLDER} (set CLIPLUNG_LIDC to its folder)")
    return LIDC_FOLDER


@pytest.fixture
def ball_ct() -> CTVolume:
    """A lung-like block of -850 HU with a soft-tissue ball of 12 mm at RAS (10, -20, 30); voxels 0.8 x 0.8 x 1.5 mm."""
    matrix = np.diag([-0.8, -0.8, 1.5, 1.0])
    matrix[:3, 3] = (50.0, 20.0, 0.0)
    volume = CTVolume(np.full((40, 100, 100), -850, np.int16), matrix, "ball")
    k, j, i = np.indices(volume.hu.shape)
    distance_mm = np.linalg.norm(volume.to_ras(np.stack([i, j, k], axis=-1)) - (10.0, -20.0, 30.0), axis=-1)
    volume.hu[distance_mm <= 6.0] = 40
    return volume


@pytest.fixture(scope="session")
def tiny_checkpoint_file(tmp_path_factory) -> Path:
    """An untrained but complete checkpoint of a small network, for tests of everything around the network."""
    from helpers.tiny_checkpoint import write_tiny_checkpoint

    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_tiny_checkpoint(file)
    return file


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread, so that sums have a fixed order and runs can be compared to the last digit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def app():
    """A scene on slicer-core with what the application would put around it."""
    from CLIPLungLib.demo.slicer_core_host import StandaloneSlicer

    with StandaloneSlicer() as application:
        yield application


@pytest.fixture
def ct_node(app):
    """The synthetic CT of the scene tests."""
    from helpers.slicer_scene import synthetic_ct

    return app.add_ct(synthetic_ct())


@pytest.fixture
def points(app):
    """A list of two points, the first on the nodule."""
    from helpers.slicer_scene import NODULE_RAS, OTHER_RAS

    return app.add_points("Nodules", [("N-1", NODULE_RAS), ("N-2", OTHER_RAS)])


@pytest.fixture
def application(tmp_path):
    """Slicer's application half, on Qt stand-ins."""
    pytest.importorskip("PySide6")
    from standins.qt.application import Application

    running = Application(tmp_path / "settings.ini")
    yield running
    running.close()
