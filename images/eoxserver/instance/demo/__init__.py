"""A demonstration instance of EOxServer: a few asynchronous processes over Olinda, Brazil."""
