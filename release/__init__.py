"""How the two distributions are built, checked in clean environments, and made ready for a release."""
