"""The schema of a recipe, its loading and its overrides; torch-free."""
