"""The answer for a point of a CT: checkpoint, classifier, heat map, measurement, result, and whole cohorts."""
