"""Applications on top of Cloud: translation."""
