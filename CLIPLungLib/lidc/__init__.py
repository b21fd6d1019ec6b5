"""LIDC-IDRI: the readers' annotations, the nodule table, and patches for training."""
