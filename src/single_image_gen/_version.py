"""The version, alone in a module: the build reads it, `--version` prints it, datasets record it."""

__version__ = "1.0.0"
