"""Installs the charts on the test cluster, as `make install`, the demonstration and tests need."""
