"""Overlays, plots and self-contained pages."""
