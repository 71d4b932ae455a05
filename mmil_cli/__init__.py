"""mmil: representations of radiographs and their reports, as bags of regions and bags of sentences."""

__version__ = "0.1.0"
