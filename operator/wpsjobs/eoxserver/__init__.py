"""The plugin inside EOxServer's Django: the asynchronous back-end, the child of a job pod's
supervisor, and the housekeeper."""
