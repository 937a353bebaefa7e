"""`edgepress devices`."""

from __future__ import annotations

import click

from edgepress.compress.errors import DeviceError
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.help_sections import GroupWithExamples
from edgepress.deploy.cli.options import Values, common_options, keyword_values
from edgepress.deploy.cli.tables.printing import Layout, show_table
from edgepress.deploy.cli.valid_names import DEVICE

_DEVICES = Layout(("name", "address"))
_CHECKED = Layout(("part", "found"))


@click.group(cls=GroupWithExamples)
def command() -> None:
    """List, name and check devices for "benchmark --device"."""


@command.command("list")
@common_options
@keyword_values
def list_command(values: Values) -> None:
    """Show the devices in your devices file and the kinds of addresses."""
    from edgepress.deploy.targets import list_devices
    from edgepress.deploy.targets.addresses import shown
    from edgepress.deploy.targets.devices_file import devices_file

    devices = {"local": "local", **{name: shown(url) for name, url in list_devices().items()}}
    if values["as_json"]:
        display.print_json({"file": str(devices_file()), "devices": devices})
        return
    show_table(_DEVICES, "Devices", list(devices.items()))
    echo(f"file: {devices_file()}")
    echo(
        "addresses: ssh://user@host:port  adb:SERIAL?benchmark_model=FILE  mcu:tflm"
        "  mcu:ethos-u55-128  mcu:/dev/ttyUSB0  openvino"
    )


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--force", is_flag=True, help="Replace a device of that name.")
@common_options
@keyword_values
def add_command(values: Values) -> None:
    """Add the device at URL under NAME."""
    from edgepress.deploy.targets import add_device

    path = add_device(values["name"], values["url"], values["force"])
    if values["as_json"]:
        display.print_json({"file": str(path), "name": values["name"], "url": values["url"]})
        return
    echo(f"'{values['name']}' is in {path}; check it: edgepress devices check {values['name']}")


@command.command("remove")
@click.argument("name", type=DEVICE)
@common_options
@keyword_values
def remove_command(values: Values) -> None:
    """Remove the device NAME."""
    from edgepress.deploy.targets import remove_device

    path = remove_device(values["name"])
    if values["as_json"]:
        display.print_json({"file": str(path), "name": values["name"]})
        return
    echo(f"'{values['name']}' is no longer in {path}")


@command.command("check", short_help="Check that DEVICE is ready.")
@click.argument("device", type=DEVICE)
@click.option("--bootstrap", metavar="FOLDER", help="Wheels to install on a board for the check.")
@common_options
@keyword_values
def check_command(values: Values) -> None:
    """Check within about two seconds that DEVICE is ready; exit code 3 if not."""
    from edgepress.deploy.targets import check_device

    check = check_device(values["device"], values["bootstrap"])
    if values["as_json"]:
        display.print_json(check.to_json())
    elif check.ok:
        rows = [[k, v] for k, v in check.environment.items() if v not in (None, "")]
        title = f"{check.device} is ready ({check.seconds:.1f} s)"
        show_table(_CHECKED, title, rows, {"part": "", "found": ""})
    if not check.ok:
        raise DeviceError(f"'{check.device}' is not ready: {check.problem}", check.cure)
