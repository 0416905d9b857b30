"""The same work from a terminal: ``sightline COMMAND``.

Every command takes ``--home DIR`` (or ``SIGHTLINE_HOME``) and ``--json`` (one JSON object on stdout, logs on
stderr). Exit code 0: done; 1: the user can fix it, one sentence on stderr; 2: wrong usage.
"""

from __future__ import annotations

import typer

from core.cli import data, identity, learn, look, promptables, system

app = typer.Typer(
    name="sightline",
    help="Annotate, train on, predict and compare medical images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(data.projects, name="project", help="Create and list projects.")
app.command("import")(data.import_command)
app.command("inspect")(look.inspect_command)
app.command("deidentify")(identity.deidentify_command)
app.command("split")(data.split_command)
app.command("export")(data.export_command)
app.command("train")(learn.train_command)
app.command("predict")(learn.predict_command)
app.command("evaluate")(learn.evaluate_command)
app.add_typer(learn.models, name="models", help="List, show, export and import models.")
app.add_typer(promptables.promptables, name="promptable", help="Networks that clicks can follow.")
app.add_typer(system.jobs, name="jobs", help="List, show, cancel and resume jobs.")
app.command("serve")(system.serve_command)
app.command("demo")(system.demo_command)
app.command("doctor")(system.doctor_command)


def main() -> None:
    """Run the command line."""
    app()
