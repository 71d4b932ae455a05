"""Classification, retrieval and grounding metrics: arrays in, numbers out."""
