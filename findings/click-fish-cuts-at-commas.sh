#!/usr/bin/env bash
# Completion that click writes for fish offers nothing right for a value with a comma: it is cut at the first one.
# Seen in click 8.5.1 with fish 3.6.0: the script splits each line "type,value" at every comma, and prints the second
# part. bash and zsh are offered the value as it is, and so is a test that asks for what the program prints.
# Why it matters: options that take lists, as --format tflite,onnx, complete to less than was typed, in fish alone.
# Instead: register a FishComplete whose source_template says: string split --max 1 ",".
# Needs fish beside what every script here needs.
set -euo pipefail
command -v fish >/dev/null || { echo "fish isn't installed" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile click==8.5.1
cd "$folder"
cat >venv/bin/pick <<EOF
#!$folder/venv/bin/python
import click
from click.shell_completion import CompletionItem

def offered(context, parameter, begun):
    return [CompletionItem(word) for word in ("red,green", "red,blue") if word.startswith(begun)]

@click.command()
@click.option("--colours", shell_complete=offered)
def pick(colours):
    pass

pick()
EOF
chmod +x venv/bin/pick
export PATH="$folder/venv/bin:$PATH" HOME="$folder"

venv/bin/pip list 2>/dev/null | grep -iE '^click '
fish --version
printed=$(COMP_WORDS="pick --colours red,g" COMP_CWORD=2 _PICK_COMPLETE=bash_complete pick)
shown=$(fish -c '_PICK_COMPLETE=fish_source pick | source; complete -C "pick --colours red,g"')
echo "expected: bash and fish are both offered red,green for red,g"
echo "bash: ${printed#plain,}   fish: $shown"
[[ $printed == plain,red,green && $shown != red,green ]] || exit 3
