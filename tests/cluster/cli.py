"""The command line of the test cluster."""

from __future__ import annotations

import os
import sys

import click

from tests.cluster import current, host, images, kwok, lifecycle
from tests.cluster.progress import fail, say
from tests.cluster.settings import REPOSITORY, ClusterError, Instance, current_instance
from tests.cluster.sources import IMAGES, find_image
from tests.cluster.status import show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A real single-node Kubernetes on a bare Debian machine, for this project's tests.

    CLUSTER=current uses the cluster of your current kubectl context instead.
    WPSJOBS_CLUSTER_NAME chooses an instance: the first, `default`, runs in the machine's own
    network, each other one in a network namespace of its own.
    """


def enter_netns(instance: Instance) -> None:
    """Start this very command again inside the instance's network namespace."""
    if host.inside_netns(instance):
        return
    command = ["nsenter", f"--net={instance.netns_file}", sys.executable, "-m", "tests.cluster"]
    os.chdir(REPOSITORY)
    os.execvp(command[0], [*command, *sys.argv[1:]])  # noqa: S606 - no shell is wanted


def own_instance() -> Instance:
    """The instance, for what makes sense in a cluster of our own alone."""
    if current.is_current(os.environ):
        raise ClusterError("with CLUSTER=current the cluster is yours: this is not for it")
    return current_instance()


@cli.command()
def up() -> None:
    """Start the cluster, from whatever state it is in; building what is missing first."""
    instance = current_instance()
    if current.is_current(os.environ):
        current.check(instance)
        return
    lifecycle.prepare(instance)
    host.make_netns(instance)
    enter_netns(instance)
    with lifecycle.locked(instance):
        lifecycle.up(instance)


@cli.command()
@click.option("--purge", is_flag=True, help="Remove images, volumes and logs as well.")
def down(purge: bool) -> None:
    """Stop the cluster. Images on the node, volumes and logs stay; what ran in it does not."""
    if current.is_current(os.environ):
        say("CLUSTER=current: the cluster is yours, so it is left as it is")
        return
    instance = current_instance()
    if instance.netns and instance.netns_file.exists():
        enter_netns(instance)
    with lifecycle.locked(instance):
        lifecycle.down(instance, purge=purge)


@cli.command()
def status() -> None:
    """Show the components; the exit code is 0 only if all are healthy."""
    instance = current_instance()
    if current.is_current(os.environ):
        current.check(instance)
        return
    if instance.netns and instance.netns_file.exists():
        enter_netns(instance)
    if not show(instance):
        sys.exit(1)


@cli.command()
def kubeconfig() -> None:
    """Print the path of the kubeconfig."""
    own = current.is_current(os.environ)
    click.echo(current.kubeconfig(os.environ) if own else current_instance().kubeconfig)


@cli.command()
def env() -> None:
    """Print shell lines that make kubectl and helm known: eval "$(python -m tests.cluster env)"."""
    instance = current_instance()
    if current.is_current(os.environ):
        directories = current.client_directories(instance)
    else:
        helm = instance.binary("helm", "helm", instance.versions.helm).parent
        directories = [instance.kubernetes_bin, helm]
        click.echo(f'export KUBECONFIG="{instance.kubeconfig}"')
    if directories:
        click.echo(f'export PATH="{":".join(str(path) for path in directories)}:$PATH"')


@cli.command()
def volumes() -> None:
    """Print the directory for hostPath volumes that pods share."""
    click.echo(own_instance().volumes)


@cli.command("images")
@click.argument("names", nargs=-1)
def build_images(names: tuple[str, ...]) -> None:
    """Build the images (all, or those NAMES) and bring them to the node.

    With CLUSTER=current they go to the registry that $REGISTRY names instead.
    """
    instance = current_instance()
    wanted = [find_image(name) for name in names] or list(IMAGES)
    if current.is_current(os.environ):
        images.build_for_registry(instance, wanted)
    else:
        images.build_for_node(instance, wanted)


@cli.command("image-tag")
@click.argument("name")
def image_tag(name: str) -> None:
    """Print the name, with tag, of the image NAME (operator, eoxserver) that was built last."""
    own = current.is_current(os.environ)
    click.echo(images.recorded_name(current_instance(), find_image(name), current=own))


@cli.command("kwok-up")
@click.argument("count", type=click.IntRange(1, 1000), default=1)
def kwok_up(count: int) -> None:
    """Start kwok with COUNT simulated nodes, for load tests.

    Pods come there with a toleration of the taint kwok.x-k8s.io/node=fake:NoSchedule and the node
    selector of the same name. A Job's pods end after what their annotation wpsjobs.test/duration
    says ("20s"), and with the exit code of wpsjobs.test/exit-code.
    """
    instance = own_instance()
    enter_netns(instance)
    kwok.up(instance, count)


@cli.command("kwok-down")
def kwok_down() -> None:
    """Remove the simulated nodes and stop kwok."""
    instance = own_instance()
    enter_netns(instance)
    kwok.down(instance)


def main() -> None:
    """Run a command; errors are shown without a trace."""
    # Where iptables and its like are; not every root has it on PATH.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        say("interrupted; `up` goes on from here, `down` stops what has started")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ClusterError as error:
        fail(str(error))
