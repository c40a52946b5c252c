"""The tile job pipeline: fan-outs over tiles, started, shown and cancelled by HTTP and a page.

In Django: ``wpsjobs.pipeline`` in ``INSTALLED_APPS``, ``include("wpsjobs.pipeline.urls")`` in the
URLs. The jobs are WpsJobs of EOxServer's asynchronous back-end, and there is no other database of
them.
"""
