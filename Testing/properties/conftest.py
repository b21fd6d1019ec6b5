"""The profile "deep" of Hypothesis: a hundred times the examples (`--hypothesis-profile=deep`)."""

from hypothesis import settings

settings.register_profile("deep", max_examples=10_000, deadline=None)
