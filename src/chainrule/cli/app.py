"""The commands as typer sees them: their names, arguments, options and help.

What a command does stands in the file of its name, and knows nothing of typer.
"""

# No `from __future__ import annotations` in this file: typer reads the annotations, and they name
# a typer that is imported within the functions.

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from chainrule.cli.check import check as run_check
from chainrule.cli.check_backprop import check_backprop as run_check_backprop
from chainrule.cli.console import CommandError, message
from chainrule.cli.data import data as run_data
from chainrule.cli.diagnose import diagnose as run_diagnose
from chainrule.cli.draw import draw as run_draw
from chainrule.cli.explain import ExplainOptions
from chainrule.cli.explain import explain as run_explain
from chainrule.cli.reproduce import reproduce as run_reproduce
from chainrule.cli.source import source as run_source
from chainrule.cli.train import Options
from chainrule.cli.train import train as run_train
from chainrule.data import DamagedFileError
from chainrule.extras import MissingExtraError
from chainrule.version import __version__

if TYPE_CHECKING:
    import typer

__all__ = ["make_app"]

_MOST = 10**9  # of what is counted: whoever gives more has mistyped


def make_app() -> "typer.Typer":
    """The program with its commands."""
    import typer

    app = typer.Typer(
        name="chainrule",
        help="Backpropagation you can read, check and ship.",
        no_args_is_help=True,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,  # plain lines elsewhere
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"chainrule {__version__}")
            raise typer.Exit

    @app.callback()
    def program(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=show_version, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        pass

    _add_train(app)
    _add_source(app)
    _add_explain(app)
    _add_draw(app)
    _add_diagnose(app)
    _add_reproduce(app)
    _add_check(app)
    _add_check_backprop(app)
    _add_data(app)
    return app


def _end(command: Callable[..., int], *args: Any) -> NoReturn:
    """Run a command and end with its status; where the message says what to do, without traceback.

    Such are data that is absent or damaged, files that cannot be read or written, libraries of an
    extra that is not installed, and a want of memory. Everything else is a fault of ours and keeps
    its traceback.
    """
    import typer

    try:
        status = command(*args)
    except CommandError as error:
        text, status = str(error), error.status
    except OSError as error:
        text, status = str(error), 1
        if isinstance(error, BrokenPipeError):
            raise
    except (DamagedFileError, MissingExtraError) as error:
        text, status = str(error), 1
    except MemoryError as error:
        text, status = f"there is not enough memory for this ({error})", 1
    else:
        raise typer.Exit(status)
    message(f"chainrule: {text}")
    raise typer.Exit(status)


def _add_train(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def train(
        name: Annotated[str, typer.Argument(help="A data set: see `chainrule data`.")],
        model: Annotated[
            str, typer.Option(help="dense; for images also lenet, convnet.")
        ] = "dense",
        layers: Annotated[
            str | None, typer.Option(help='Units of the hidden layers, as 32,16; "" for none.')
        ] = None,
        activation: Annotated[
            str | None, typer.Option(help="relu, tanh, sigmoid, gelu … after each hidden layer.")
        ] = None,
        loss: Annotated[
            str, typer.Option(help="auto: cross_entropy for classes, else mean_squared_error.")
        ] = "auto",
        optimizer: Annotated[str | None, typer.Option(help="adam, sgd, rmsprop, lbfgs, …")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="The optimizer's step.")] = None,
        schedule: Annotated[
            str | None, typer.Option(help="The learning rate is constant, or falls by a cosine.")
        ] = None,
        epochs: Annotated[
            int | None, typer.Option(min=1, max=_MOST, help="Passes over the data.")
        ] = None,
        batch_size: Annotated[
            int | None, typer.Option(min=1, max=_MOST, help="Samples per step.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Fixes split, start and order.")] = 0,
        output: Annotated[
            str | None, typer.Option(help="Folder for the results. [default: output/NAME]")
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the report as one JSON object.")
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help="No progress, no messages.")
        ] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="The layers, and plain lines of progress.")
        ] = False,
        engine: Annotated[
            str | None,
            typer.Option(help="numpy, c, or auto: C where it saves time. [default: auto]"),
        ] = None,
    ) -> None:
        """Train a network on a data set, report how good it is, and draw how it went.

        What is not given is chosen to suit the data set.
        """
        options = Options(
            name,
            model,
            layers,
            activation,
            loss,
            optimizer,
            learning_rate,
            schedule,
            epochs,
            batch_size,
            seed,
            output,
            as_json,
            quiet,
            verbose,
            engine,
        )
        _end(run_train, options)


def _add_source(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def source(
        name: Annotated[str, typer.Argument(help="A data set, or the folder of a finished run.")],
        model: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "dense",
        layers: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        activation: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        loss: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "auto",
        optimizer: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        batch_size: Annotated[
            int | None, typer.Option(min=1, max=_MOST, help="Samples per step.")
        ] = None,
        engine: Annotated[
            str | None, typer.Option(help="numpy prints Python, c prints C. [default: numpy]")
        ] = None,
    ) -> None:
        """Print the training step of a network as source: a file that runs on its own."""
        options = Options(
            name, model, layers, activation, loss, optimizer, batch_size=batch_size, engine=engine
        )
        _end(run_source, options)


def _add_explain(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def explain(
        name: Annotated[str, typer.Argument(help="A data set: see `chainrule data`.")],
        samples: Annotated[
            str, typer.Option("--sample", help="Numbers of training samples, as 0 or 0,3.")
        ] = "0",
        follow: Annotated[
            str | None, typer.Option(help='One number to follow, as "W1[3, 7]" or "d_z1[0, 2]".')
        ] = None,
        model: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "dense",
        layers: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        activation: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        loss: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "auto",
        optimizer: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="The optimizer's step.")] = None,
        epochs: Annotated[
            int | None, typer.Option(min=1, max=_MOST, help="Train so long first. [default: not]")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Fixes split, start and order.")] = 0,
        digits: Annotated[int, typer.Option(min=1, max=15, help="Digits of results.")] = 4,
        style: Annotated[
            str, typer.Option("--format", help="text, markdown, latex or html.")
        ] = "text",
        output: Annotated[
            str | None, typer.Option(help="A file to write to: .txt, .md, .tex or .html.")
        ] = None,
    ) -> None:
        """Derive the gradients of a network on one sample, or a few, with every number.

        The network is the one that `chainrule train` starts from.
        """
        options = Options(
            name,
            model,
            layers,
            activation,
            loss,
            optimizer,
            learning_rate,
            epochs=epochs,
            seed=seed,
        )
        _end(run_explain, options, ExplainOptions(samples, follow, style, digits, output))


def _add_draw(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def draw(
        name: Annotated[str, typer.Argument(help="A data set: see `chainrule data`.")],
        model: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "dense",
        layers: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        activation: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        loss: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "auto",
        show: Annotated[
            str | None, typer.Option(help="layers, neurons or graph. [default: what fits]")
        ] = None,
        backward: Annotated[
            bool, typer.Option("--backward", help="The reverse pass too, beside the forward pass.")
        ] = False,
        samples: Annotated[
            int, typer.Option(min=0, max=_MOST, help="Training samples whose values are shown.")
        ] = 0,
        seed: Annotated[int, typer.Option(min=0, help="Fixes split and start.")] = 0,
        output: Annotated[
            str,
            typer.Option(help="A .svg, .html, .png or .pdf. [default: output/NAME/network.svg]"),
        ] = "",
    ) -> None:
        """Draw the network that `train` would begin with, or its computation graph."""
        options = Options(name, model, layers, activation, loss, seed=seed)
        _end(run_draw, options, show, backward, samples, output)


def _add_diagnose(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def diagnose(
        name: Annotated[str, typer.Argument(help="A data set: see `chainrule data`.")],
        model: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "dense",
        layers: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        activation: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        loss: Annotated[str, typer.Option(help="As for `chainrule train`.")] = "auto",
        optimizer: Annotated[str | None, typer.Option(help="As for `chainrule train`.")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="The optimizer's step.")] = None,
        batch_size: Annotated[
            int | None, typer.Option(min=1, max=_MOST, help="Samples per step.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Fixes split, start and order.")] = 0,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the findings as one JSON object.")
        ] = False,
    ) -> None:
        """Say why a network does not learn a data set: causes, each with a number and a remedy.

        The exit status is 1 if something was found.
        """
        options = Options(
            name,
            model,
            layers,
            activation,
            loss,
            optimizer,
            learning_rate,
            batch_size=batch_size,
            seed=seed,
            as_json=as_json,
        )
        _end(run_diagnose, options)


def _add_reproduce(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def reproduce(
        names: Annotated[
            list[str] | None, typer.Argument(help="E1, E2 …; all of them where none is named.")
        ] = None,
        quick: Annotated[
            bool, typer.Option("--quick", help="Only those that take a few seconds.")
        ] = False,
        output: Annotated[str | None, typer.Option(help="Folder for their pictures.")] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the rows as a list of JSON objects.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages.")] = False,
        seeds: Annotated[
            int | None,
            typer.Option(
                min=2, max=_MOST, help="Starts for what depends on them: 3 to 100 by default."
            ),
        ] = None,
    ) -> None:
        """Run the published experiments: each quantity as published, as ours, and if it holds.

        What depends on a random start is run from many, and the row says at which percentile of
        ours the published figure lies. The exit status is 1 if a row does not hold. Where data is
        absent, a row is not run and says what to fetch.
        """
        _end(run_reproduce, names or [], quick, output, as_json, quiet, seeds)


def _add_check(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def check(
        names: Annotated[
            list[str] | None, typer.Argument(help="Primitives; the whole table if none is named.")
        ] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the rows as a list of JSON objects.")
        ] = False,
    ) -> None:
        """Check every derivative rule of the table against numerical derivatives.

        The exit status is 1 if a rule fails.
        """
        _end(run_check, names or [], as_json)


def _add_check_backprop(app: "typer.Typer") -> None:
    import typer

    @app.command("check-backprop")
    def check_backprop(
        file: Annotated[str, typer.Argument(help="A Python file with backpropagation by hand.")],
        loss: Annotated[
            str | None, typer.Option(help="mse, squared_error, cross_entropy, … if none is found.")
        ] = None,
        seconds: Annotated[
            float, typer.Option(min=1, max=3600, help="The most time for explanations.")
        ] = 30.0,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the report as one JSON object.")
        ] = False,
    ) -> None:
        """Name the first wrong line of hand-written backpropagation, and what it should be.

        The file is run. The exit status is 1 if something is wrong.
        """
        _end(run_check_backprop, file, loss, seconds, as_json)


def _add_data(app: "typer.Typer") -> None:
    import typer

    @app.command()
    def data(
        name: Annotated[str | None, typer.Argument(help="A data set; a list if none.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List the data sets, or describe one."""
        _end(run_data, name, as_json)
