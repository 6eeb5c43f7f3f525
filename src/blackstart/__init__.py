"""blackstart finds out what a program does when its world breaks."""

__all__ = ["__version__"]

__version__ = "0.1.0"
