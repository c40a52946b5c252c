"""These modules import Django's settings through EOxServer."""

from tests.contract import instance

instance.start()
