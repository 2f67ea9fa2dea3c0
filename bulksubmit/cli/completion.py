"""``bulksubmit completion``: what makes a shell complete commands, flags, files and runs."""

import click

from bulksubmit.cli.command import Command

_EPILOG = """\b
To complete in every new shell, once:
  bash  bulksubmit completion bash > ~/.local/share/bash-completion/completions/bulksubmit
  zsh   bulksubmit completion zsh > ~/.zfunc/_bulksubmit    (a folder in $fpath, before compinit)
  fish  bulksubmit completion fish > ~/.config/fish/completions/bulksubmit.fish
\b
Examples:
  eval "$(bulksubmit completion bash)"
  source <(bulksubmit completion zsh)
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print what makes SHELL complete commands, flags, files, profiles and runs."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - for this only

    from bulksubmit.cli import bulksubmit  # noqa: PLC0415 - it imports us

    kind = get_completion_class(shell)
    assert kind is not None, "click knows all three"
    # As click itself does when a shell asks: the variable is named after the program.
    click.echo(kind(bulksubmit, {}, "bulksubmit", "_BULKSUBMIT_COMPLETE").source())
