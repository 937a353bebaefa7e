#!/usr/bin/env bash
# What an option opens with click's `with_resource` stays open after a bad command line: click closes a command's
# context after the command has run, and not where parsing fails after the option's callback.
# Seen in click 8.5.1: `--quiet` without the argument that the command needs leaves the resource open while the error is
# handled. It is closed when the garbage collector finds the context, in the middle of whatever runs then.
# Why it matters: programs that call a command in their own process (notebooks, servers, tests with CliRunner) keep
# files open, or standard output redirected, until an accident far from the cause.
# Instead: override Command.parse_args, close the context where it raises, and raise again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile click==8.5.1
cd "$folder"
cat >shown.py <<'EOF'
import contextlib
import sys

import click

opened = []


@contextlib.contextmanager
def counted():
    opened.append(1)
    try:
        yield
    finally:
        opened.pop()


def enter(context, parameter, value):
    if value:
        context.with_resource(counted())


@click.command()
@click.argument("name")
@click.option("--quiet", is_flag=True, is_eager=True, expose_value=False, callback=enter)
def command(name):
    pass


def still_open(words):
    try:
        command.main(words, standalone_mode=False)
    except click.UsageError as error:
        # The error holds the context; whoever handles it finds the resource open.
        return len(opened)
    return len(opened)


print("click", __import__("importlib.metadata").metadata.version("click"))
good, bad = still_open(["--quiet", "x"]), still_open(["--quiet"])
print("expected: nothing is open after the command line was handled, good or bad")
print(f"open after a good one: {good}, after a bad one: {bad}")
sys.exit(0 if (good, bad) == (0, 1) else 3)
EOF
venv/bin/python shown.py
