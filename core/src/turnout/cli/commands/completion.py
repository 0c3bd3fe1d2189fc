"""`turnout completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print the script that makes a shell complete commands.

    \b
    bash: eval "$(turnout completion bash)"            in ~/.bashrc
    zsh:  eval "$(turnout completion zsh)"             in ~/.zshrc
    fish: turnout completion fish | source             in ~/.config/fish/config.fish
    """
    program = context.find_root()
    found = get_completion_class(shell)
    assert found is not None
    name = program.info_name or "turnout"
    click.echo(found(program.command, {}, name, f"_{name.upper()}_COMPLETE").source())
