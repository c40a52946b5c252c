"""Tests of the whole product, as installed by the chart on the test cluster."""
