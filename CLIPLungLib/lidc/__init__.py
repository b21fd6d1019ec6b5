"""LIDC-IDRI: the readers' annotations, and from them a data folder as `dataset` reads it."""
