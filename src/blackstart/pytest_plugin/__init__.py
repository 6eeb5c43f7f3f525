"""blackstart inside pytest: fixtures that break things, a marker, one seed, and the list of gaps at the end.

`plugin` has the hooks and is what pytest loads; each fixture is a file of its own in `fixtures`, found by being there.
A session that uses nothing of it pays for these small files only: whatever breaks things is imported by the fixture
that needs it. No other package of blackstart imports pytest.
"""
