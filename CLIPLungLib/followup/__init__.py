"""Before and after: the same nodule in an earlier CT, how it has grown, and whether that is more than measuring again would give."""
