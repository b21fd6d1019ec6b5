"""A CT and its place in the patient: reading it, and the patch around a point. numpy, SimpleITK and pydicom, no torch."""
