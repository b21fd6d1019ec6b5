"""The whole workflow on the synthetic chest, with slicer-core in place of 3D Slicer."""
