"""The commands of ``kubectl wps``, a module each or for those that belong together."""
