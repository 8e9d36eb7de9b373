"""A package, so that it can have a conftest of its own beside that of all tests."""
