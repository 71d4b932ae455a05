"""The loop, precision, sampling and resume; knows no model."""
