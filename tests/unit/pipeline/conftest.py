"""The demonstration instance is found, and the modules have Django's settings."""

from tests.contract import instance

instance.start()
