"""The tile job pipeline: its HTTP service, its description and its page."""
