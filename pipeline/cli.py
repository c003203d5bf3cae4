"""The command line: a group whose commands are imported only when they are called, and the place where faults become
exit codes. `prep --help` imports nothing heavy."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

import click

from pipeline.commands.usage_errors import as_fault, plain_words
from pipeline.engine.limits import check_limits, limit_fault
from registry.errors import NO_PERMISSION, Fault, MachineFault, Terminated, UsageFault, did_you_mean

from .installation import missing_package, prep_version

COMMANDS = {  # command -> (module, one line for the help page)
    "validate": ("validate", "Check records; writes nothing unless asked."),
    "convert": ("convert", "Convert records from one format to another."),
    "pack": ("pack", "Validate, render, tokenize, truncate, pack and write shards."),
    "train": ("train", "Train from shards; packs first when the config names raw data."),
    "predict": ("predict", "Generate answers with a trained model."),
    "export": ("export", "Merge an adapter and save the model."),
    "inspect": ("inspect", "See rows as text, tokens, mask and boundaries."),
    "stats": ("stats", "Lengths, trained tokens, and what each cutoff would cost."),
    "report": ("report", "One self-contained HTML page about an output."),
    "verify": ("verify", "Check every shard against the manifest."),
    "trace": ("trace", "Which source line a packed token came from, and back."),
    "why": ("why", "What each stage's cache key is made of."),
    "list": ("list_", "List datasets, templates, formats, rules, models or profiles."),
    "explain": ("explain", "What a rule means, why it matters and how to fix it."),
    "schema": ("schema", "Print the JSON Schema of a record format."),
    "template": ("template", "Show a template, or prove it against the tokenizer's own."),
    "doctor": ("doctor", "Versions, extras, devices, name clashes, disk."),
}

_OF_LLAMA_FACTORY = {  # commands of LLaMA-Factory that are not here -> what does the same
    "chat": "answers of a trained model for a file of prompts: prep predict CONFIG; "
    "to talk to it, serve what `prep export` saved with vllm, ollama or transformers",
    "api": "`prep export CONFIG` saves the model; vllm, SGLang or `transformers serve` offer it over HTTP",
    "webui": "every setting is a key of one YAML: prep train CONFIG.yaml; `prep report OUT` makes a page to look at",
    "eval": "the loss on held-out data: prep train CONFIG do_train=false do_eval=true; answers: prep predict CONFIG",
}
ELSEWHERE = {
    **_OF_LLAMA_FACTORY,
    "webchat": _OF_LLAMA_FACTORY["chat"],
    "serve": _OF_LLAMA_FACTORY["api"],
    "webdemo": _OF_LLAMA_FACTORY["webui"],
    "ui": _OF_LLAMA_FACTORY["webui"],
    "evaluate": _OF_LLAMA_FACTORY["eval"],
    "tokenize": "prep pack CONFIG renders, tokenizes and packs",
    "merge": "prep export CONFIG merges an adapter into its model",
}


class LazyGroup(click.Group):
    """Commands by name; the module is imported when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command for command, (module, _) in COMMANDS.items() if _has(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS or not _has(COMMANDS[cmd_name][0]):
            return None
        module = importlib.import_module(f"pipeline.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            if name in ELSEWHERE:
                raise UsageFault(f"there is no command {name!r}", hint=ELSEWHERE[name])
            guess = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"there is no command {name!r}{guess}", ctx)
        found, command, words = super().resolve_command(ctx, args)
        return found, command, plain_words(name, command, words) if command is not None else words

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # the default would import every command to print its help line
        with formatter.section("Commands"):
            formatter.write_dl([(command, COMMANDS[command][1]) for command in self.list_commands(ctx)])


def _has(module: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(__file__), "commands", f"{module}.py"))


def _show_version(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"prep, version {prep_version()}")
        ctx.exit()


_FIRST_STEPS = """\b
First steps:
  prep validate chats.jsonl     is every record good? where not, why not?
  prep pack sft.yaml            the shards that training reads
  prep inspect sft.yaml         the tokens, and which of them are trained
  prep COMMAND --help           each command's options, with examples

\b
Exit codes: 0 fine, 1 the data has errors, 2 the command or configuration is
wrong, 3 the machine said no, 5 a worker was lost twice, 70 a bug of prep,
75 another run holds the output.
"""


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_FIRST_STEPS,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def prep() -> None:
    """Prepare and prove fine-tuning data.

    Raw records in (alpaca, sharegpt, OpenAI messages, DPO, KTO, text), every one checked; packed Arrow shards out, with
    every record accounted for. A LLaMA-Factory YAML and dataset_info.json run unchanged.
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with the exit code of contract.md."""
    code = 143
    try:
        signal.signal(signal.SIGTERM, _terminated)
        _open_missing_streams()
        code = run(argv)
    except Terminated:  # before `run` could catch it, or behind it
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `prep ... | head` ends quietly
        _let_go_of_stdout()
    except OSError:  # the disk that stdout goes to is full, which `run` has reported
        _let_go_of_stdout()
        code = code or MachineFault.exit_code
    sys.exit(code)


def _open_missing_streams() -> None:
    """Streams that were closed by whoever started prep (`>&-`) lead nowhere; Python leaves None in their place, and the
    next file that is opened would get their number, and with it whatever is printed."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open as long as the process


def _let_go_of_stdout() -> None:
    """What is still buffered for a reader that has left goes nowhere, instead of into an error at exit.

    SIGPIPE stays ignored, as Python has it: a worker that dies while it is handed a task must not take the run with it.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def run(argv: list[str] | None = None) -> int:
    """Runs a command and returns its exit code; every error is reported on stderr."""
    try:
        return _run(_spelled(sys.argv[1:] if argv is None else argv))
    except BaseException as error:  # a panic of Rust code is no Exception
        return _unexplained(error)


def _run(words: list[str]) -> int:
    """The same for errors that have an explanation; others are raised."""
    try:
        code = _called(words)
        return int(code) if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a class that click 8.1 does not have
            error.show()
        else:
            show_fault(as_fault(error))
        return 2
    except Fault as fault:
        show_fault(fault)
        return fault.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("prep: interrupted; nothing half-written was published", err=True)
        return 130
    except Terminated:
        click.echo("prep: terminated; nothing half-written was published", err=True)
        return 143
    except (BrokenPipeError, SystemExit):  # the second is click's answer to a reader that has left
        _let_go_of_stdout()
        return 0
    except MemoryError:
        show_fault(MachineFault("there is not enough memory", hint="use fewer workers: --workers 1"))
        return MachineFault.exit_code
    except OSError as error:
        if limited := limit_fault(error):
            show_fault(limited)
            return limited.exit_code
        from stages.core.atomic_io import machine_fault

        found = machine_fault(error, error.filename or "the system")
        # what is written has faults of its own: this was to be read
        show_fault(MachineFault(found.problems, hint=NO_PERMISSION) if isinstance(error, PermissionError) else found)
        return MachineFault.exit_code


def _called(words: list[str]) -> object:
    """Calls a command. Raises Terminated when SIGTERM came, whatever the library that it came in made of it: an import
    that is cut short may end in any error, or in none."""
    Terminated.arrived = False
    try:
        if words:
            check_limits(words[0])
        return prep.main(args=words, prog_name="prep", standalone_mode=False)
    finally:
        if Terminated.arrived:
            raise Terminated


def _unexplained(error: BaseException) -> int:
    """The exit code for what is no Fault: a limit of the machine, a package that is not installed, else a bug of
    prep."""
    fault = limit_fault(error) or missing_package(error)
    if fault is None:
        click.echo(traceback.format_exc(), err=True)
        click.echo("prep: this is a bug of prep. Please report it with the lines above.", err=True)
        return 70
    for line in fault.problems:  # `show_fault` itself needs packages
        click.echo(f"prep: {line}", err=True)
    if fault.hint:
        click.echo(f"  hint: {fault.hint}", err=True)
    return fault.exit_code


def show_fault(fault: Fault) -> None:
    """An error as a person reads it: each problem on a line, then what to do."""
    from stages.core.display import clean

    for problem in fault.problems:
        click.echo(f"prep: {clean(problem)}", err=True)
    if fault.hint:
        click.echo(f"  hint: {clean(fault.hint)}", err=True)


def _spelled(argv: list[str]) -> list[str]:
    """Words that other programs have for the same: `help`, `help COMMAND`, `version`, `-V`, `env`."""
    if argv[:1] == ["help"]:
        return [*argv[1:], "--help"]
    same = {"version": "--version", "-V": "--version", "env": "doctor"}
    return [same.get(argv[0], argv[0]), *argv[1:]] if argv else argv


_AGAIN_S = 5.0


def _terminated(number: int, frame: FrameType | None) -> None:
    """Ends the run where it is; once more, and again, should a library take the exception for its own."""
    Terminated.arrived = True
    if number == signal.SIGTERM:
        signal.signal(signal.SIGALRM, _terminated)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
    raise Terminated
