"""LIDC-IDRI: reading the nodule table, preparing patches for training."""
