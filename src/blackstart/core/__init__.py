"""Values and small services; imports the standard library and msgspec only."""
