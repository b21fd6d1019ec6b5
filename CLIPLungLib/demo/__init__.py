"""A demonstration that needs no patient data: a synthetic chest CT with nodules of real LIDC-IDRI shape."""
