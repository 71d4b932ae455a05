"""One module a source of films and reports."""
