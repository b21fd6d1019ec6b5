"""A cohort on many processes or machines, by Dask distributed."""
