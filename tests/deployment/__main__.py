"""``python -m tests.deployment install | uninstall | url``."""

from __future__ import annotations

import click

from tests.cluster.progress import fail
from tests.cluster.settings import ClusterError
from tests.deployment.release import Release


@click.group()
def cli() -> None:
    """The product on the test cluster, in namespace wps, as the charts install it."""


@cli.command()
def install() -> None:
    """Install or upgrade it, with the test processes."""
    Release().install()


@cli.command()
def uninstall() -> None:
    """Remove it with all WpsJobs and results."""
    Release().uninstall()


@cli.command()
def url() -> None:
    """Print the WPS URL that this machine reaches."""
    click.echo(Release().wps_url)


try:
    cli()
except ClusterError as error:
    fail(str(error))
