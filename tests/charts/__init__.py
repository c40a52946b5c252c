"""The charts on a real cluster, from the install to the uninstall; databases; two releases."""
