"""Processes and images that the tests share: starting a worker takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.cohort import write_image
from helpers.dask_processes import DEADLY, dask_processes

pytest.importorskip("distributed")

from CLIPLungLib.image.ct_volume import CTVolume


@pytest.fixture(scope="package")
def data(tmp_path_factory) -> Path:
    """Five images of a ball, and one that kills its reader."""
    folder = tmp_path_factory.mktemp("data")
    matrix = np.diag([-0.8, -0.8, 1.5, 1.0])
    matrix[:3, 3] = (50.0, 20.0, 0.0)
    volume = CTVolume(np.full((40, 100, 100), -850, np.int16), matrix, "ball")
    k, j, i = np.indices(volume.hu.shape)
    distance_mm = np.linalg.norm(volume.to_ras(np.stack([i, j, k], axis=-1)) - (10.0, -20.0, 30.0), axis=-1)
    volume.hu[distance_mm <= 6.0] = 40
    write_image(volume, *[folder / f"ct{index}.nrrd" for index in range(5)])
    (folder / DEADLY).write_text("never read")
    return folder


@pytest.fixture(scope="package")
def here(tmp_path_factory) -> Path:
    """The working folder of the first machine; that of the second one is empty."""
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="package")
def machines(tmp_path_factory, here):
    """A scheduler with a worker on each of two addresses, as two machines would have."""
    folder = tmp_path_factory.mktemp("dask")
    with dask_processes(folder) as started:
        started.start_worker("127.0.0.1", here)
        started.start_worker("127.0.0.2", tmp_path_factory.mktemp("there"))
        yield started


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint_file):
    """A loaded classifier that is small and untrained."""
    from CLIPLungLib.inference.classifier import NoduleClassifier

    return NoduleClassifier.load(tiny_checkpoint_file, "cpu")
