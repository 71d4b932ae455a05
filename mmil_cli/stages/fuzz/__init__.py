"""Damaged input on purpose: the cases, a strict reading to hold against, and who tries them."""
