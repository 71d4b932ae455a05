"""Encoders, critics, aggregators, scores and losses; flat arguments, no config, no files."""
