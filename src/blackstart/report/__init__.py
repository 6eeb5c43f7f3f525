"""Views of what a run found: the value itself, JSON with a published schema, text for a terminal, progress."""
