"""The model card: what the model is, how it was judged, every table and plot. Imports matplotlib; import it on first use only."""
