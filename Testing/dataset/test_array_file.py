"""Arrays from .npz files: what is damaged, pickled or larger than its file is refused, whatever its head says."""

import io
import zipfile

import numpy as np
import pytest

from CLIPLungLib.dataset.array_file import read_arrays
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.fold_answers import FoldAnswers

ARRAY = np.arange(12, dtype=np.int16).reshape(3, 4)


def npy(array=ARRAY, **head) -> bytes:
    """An array's file; `head` replaces what its head says."""
    stream = io.BytesIO()
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | head
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue() + array.tobytes()


def npz(folder, member: bytes, packing=zipfile.ZIP_DEFLATED):
    file = folder / "arrays.npz"
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("x.npy", member)
    return file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array", [ARRAY, np.asfortranarray(ARRAY), np.array(3.5), np.zeros((0, 4)), ARRAY.astype(">f8"), ARRAY > 3]
)
def test_what_numpy_writes_is_read(tmp_path, save, array):
    save(tmp_path / "a.npz", x=array, other=ARRAY)
    found = read_arrays(tmp_path / "a.npz", ["x"])["x"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([print], dtype=object), allow_pickle=True)
    return stream.getvalue()


def other_head(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


MEMBERS = {
    "pickled objects": (pickled(), "holds object, no numbers"),
    "text": (npy(np.array(["a"])), "no numbers"),
    "more numbers than the file can hold": (npy(shape=(10**12,)), "more than the file or memory can hold"),
    "a size that overflows": (npy(shape=(2**40, 2**40)), "more than the file or memory can hold"),
    "a negative size": (npy(shape=(-3, -4)), "more than the file"),
    "fewer bytes than stated": (npy(shape=(3, 5)), "is cut off: 24 of 30"),
    "more bytes than stated": (npy(shape=(3, 3)), "holds more than it states"),
    "head without an end": (other_head(b"{'descr': '<i2', ("), r"."),
    "head of another language": (other_head(b"__import__('os')\n"), r"."),
    "head of brackets": (other_head(b"(" * 9000), r"."),
    "no array": (b"hello", r"."),
    "bytes": (b"", r"."),
}


@pytest.mark.parametrize(("member", "message"), MEMBERS.values(), ids=MEMBERS)
def test_other_members_are_refused(tmp_path, member, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(npz(tmp_path, member), ["x"])


def test_other_packings_missing_names_and_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="packed in another way"):
        read_arrays(npz(tmp_path, npy(), zipfile.ZIP_LZMA), ["x"])
    with pytest.raises(ValueError, match="without y"):
        read_arrays(npz(tmp_path, npy()), ["y"])
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match="zip file"):
        read_arrays(tmp_path / "no.npz", ["x"])
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "missing.npz", ["x"])


def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path):
    whole = npz(tmp_path, npy()).read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        (tmp_path / "flipped.npz").write_bytes(data)
        try:
            found = read_arrays(tmp_path / "flipped.npz", ["x"])["x"]
        except ValueError:
            continue
        np.testing.assert_array_equal(found, ARRAY)


def valid_answers() -> dict:
    from fuzz.valid_files import fold_answers

    return dict(np.load(io.BytesIO(fold_answers()["answers.npz"])))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": np.array([0, 0, 99, 0])},
        {"nodule": np.array([0, 1, -1, 2])},
        {"presence": np.zeros(3)},
        {"refused": np.zeros(4)},
        {"level_probabilities": np.zeros(4)},
        {"nodule": np.array(5)},
    ],
)
def test_answers_that_do_not_fit_together_are_refused(tmp_path, change):
    np.savez(tmp_path / "a.npz", **valid_answers())
    assert FoldAnswers.load(tmp_path / "a.npz").nodule.size == 4
    np.savez(tmp_path / "a.npz", **valid_answers() | change)
    with pytest.raises(InputError, match="cannot be read"):
        FoldAnswers.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"first_plane": np.array([2**63 - 1, 3])},
        {"first_plane": np.array([200, 3], np.uint8), "plane_count": np.array([60, 2], np.uint8)},
        {"nodule": np.array(0)},
        {"hu": np.array(0, np.int16)},
    ],
)
def test_patches_whose_planes_lead_nowhere_are_refused(tmp_path, change):
    from fuzz.valid_files import prepared_patches

    valid = dict(np.load(io.BytesIO(prepared_patches()["patches.npz"])))
    np.savez(tmp_path / "p.npz", **valid | change)
    with pytest.raises(InputError, match="holds no training patches"):
        TrainingPatches.load(tmp_path / "p.npz")
