"""A CT series out of DICOM files: headers, geometry, voxels."""
