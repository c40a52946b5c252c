"""The modules of the demonstration instance are found, and the pipeline's have Django's settings."""

from tests.contract import instance

instance.start()
