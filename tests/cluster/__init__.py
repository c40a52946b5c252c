"""A real single-node Kubernetes on a bare Debian machine: `python -m tests.cluster --help`."""
