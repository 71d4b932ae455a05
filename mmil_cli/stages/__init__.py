"""What each command does, as plain functions run(...) -> Result."""
