"""The WSGI application of the demonstration instance."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

application = get_wsgi_application()

# Loaded before the web server forks, so that the first Execute is as fast as the second, and a
# configuration that cannot work ends the start.
from demo.views import load_everything  # noqa: E402

load_everything()
