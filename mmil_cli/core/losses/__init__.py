"""Objectives over the B x B matrix of scores, one a file, and which of its pairs count as what."""
