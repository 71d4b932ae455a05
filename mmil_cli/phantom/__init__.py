"""Generated chest studies with known truth; never clinical."""
