"""Command-line flags from documented dataclasses: a default, its type and its help in one place."""

import argparse
import dataclasses
import errno
import json
import math
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from common.errors import AGAIN, Failure, UsageError
from common.watch import LostProcess

Options = TypeVar("Options")


MOST_WHOLE = 2**63 - 1
"""Larger whole numbers are no option's: PyTorch and NumPy take none."""
_SHOWN, _SHOWN_ERROR = 60, 300
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says that takes no more, in the middle of any work."""


def option(
    default: Any,
    help: str,
    choices: Sequence[Any] | None = None,
    flag: str | None = None,
    most: int = MOST_WHOLE,
) -> Any:
    """A field of an options dataclass.

    Args:
        choices: the values that are allowed.
        flag: the flag's name where it is not the field's; a switch that turns a True field off
            has the name `--no_...`.
        most: no larger number is allowed, so that none asks for more memory than there is.
    """
    metadata = {"help": help, "choices": choices, "flag": flag, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


def add_arguments(parser: argparse.ArgumentParser, options: type) -> None:
    """Add one flag for every field of an options dataclass, under its docstring's first line."""
    group = parser.add_argument_group((options.__doc__ or options.__name__).splitlines()[0])
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        flag = field.metadata["flag"] or f"--{field.name}"
        text = field.metadata["help"]
        if hints[field.name] is bool:
            action = "store_false" if field.default else "store_true"
            group.add_argument(
                flag, dest=field.name, action=action, default=field.default, help=text
            )
            continue
        shown = text if field.default is None else f"{text} (default: %(default)s)"
        group.add_argument(
            flag,
            dest=field.name,
            type=_plain_type(hints[field.name]),
            default=field.default,
            choices=field.metadata["choices"],
            metavar=None if field.metadata["choices"] else _metavar(hints[field.name]),
            help=shown,
        )


def script_parser(
    description: str | None,
    groups: Sequence[type],
    choices: Mapping[str, tuple[Sequence[str], str | None, str]] | None = None,
) -> argparse.ArgumentParser:
    """A script's parser: its docstring, the flags of options dataclasses, the launcher's flag.

    Args:
        choices: flags that decide about others (see `early_flags`) -> values, default and help.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `early_flags` has to see what is parsed
    )
    for name, (values, default, text) in (choices or {}).items():
        shown = text if default is None else f"{text} (default: {default})"
        parser.add_argument(f"--{name}", choices=tuple(values), default=default, help=shown)
    for group in groups:
        add_arguments(parser, group)
    add_weights_flag(parser)
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)
    return parser


def method_parser(
    description: str | None,
    groups: Sequence[type],
    methods: Mapping[str, type],
    otherwise: Sequence[type] = (),
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[argparse.ArgumentParser, list[type]]:
    """The parser of a script that takes --method NAME, whose own flags come with it.

    Args:
        methods: name -> options dataclass.
        otherwise: options dataclasses that take its place where no method is named.
        protocols: value of --protocol -> the defaults that it gives to other flags.

    Returns:
        The parser, and all options dataclasses that it fills: `checked_options` takes both.
    """
    name = early_flags(method=(tuple(methods), None))["method"]
    groups = [*groups, *([methods[name]] if name else otherwise)]
    about = "method with public weights; its own flags: --method NAME --help"
    parser = script_parser(description, groups, {"method": (tuple(methods), None, about)})
    preset(parser, protocols or {})
    return parser, groups


def preset(parser: argparse.ArgumentParser, protocols: Mapping[str, Mapping[str, Any]]) -> None:
    """Let --protocol, one of the parser's flags, give defaults to others: its value -> these."""
    if protocol := early_flags(protocol=(tuple(protocols), None))["protocol"]:
        parser.set_defaults(**protocols[protocol])


def add_weights_flag(parser: argparse._ActionsContainer) -> None:
    """Let a program be told where official weights lie."""
    parser.add_argument(
        "--weights",
        action=_WeightsFolder,
        type=Path,
        metavar="DIR",
        help="folder of official weights (default: DCSAM_WEIGHTS, else weights/)",
    )


class _WeightsFolder(argparse.Action):
    """Tells everybody where weights lie, worker processes included."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if not values.is_dir():
            parser.error(f"--weights: no such folder: {values}")
        os.environ["DCSAM_WEIGHTS"] = str(values.resolve())


def early_flags(**flags: tuple[Sequence[str], str | None]) -> dict[str, str | None]:
    """The values of flags that decide which other flags there are, or their defaults.

    What is wrong with them is told when all flags are parsed.

    Args:
        flags: by name, the values that there are and the default.
    """
    only = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in flags:
        only.add_argument(f"--{name}")
    try:
        given = vars(only.parse_known_args()[0])
    except argparse.ArgumentError:  # one is without a value
        given = {}
    return {
        name: given[name] if given.get(name) in choices else default
        for name, (choices, default) in flags.items()
    }


def checked_options(groups: Sequence[type], namespace: argparse.Namespace) -> tuple[Any, ...]:
    """Fill options dataclasses from parsed flags.

    Raises:
        UsageError: naming every problem of all of them at once.
    """
    options = tuple(from_namespace(group, namespace) for group in groups)
    refuse_problems(*options)
    return options


def _plain_type(hint: Any) -> Callable[[str], Any]:
    """int for `int` and for `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _metavar(hint: Any) -> str:
    return {int: "N", float: "X", Path: "PATH"}.get(_plain_type(hint), "NAME")


def from_namespace(options: type[Options], namespace: argparse.Namespace) -> Options:
    """Fill an options dataclass from parsed flags."""
    return options(**{f.name: getattr(namespace, f.name) for f in dataclasses.fields(options)})


def refuse_problems(*options: Any) -> None:
    """Report everything that is wrong with some options at once.

    Raises:
        UsageError: with one line for each problem that their `problems()` found.
    """
    found = [problem for group in options for problem in limit_problems(group) or group.problems()]
    if found:
        raise UsageError("\n".join(found))


def limit_problems(options: Any) -> list[str]:
    """Numbers that no option can be: too large, or not a number."""
    found = []
    for field in dataclasses.fields(options):
        value, most = getattr(options, field.name), field.metadata.get("most", MOST_WHOLE)
        flag = field.metadata.get("flag") or f"--{field.name}"
        if isinstance(value, float) and math.isnan(value):
            found.append(f"{flag} must be a number, not {value}")
        elif isinstance(value, int) and abs(value) > most:
            found.append(f"{flag} must be at most {most}, not {shown(value)}")
    return found


def value_problems(options: Any) -> list[str]:
    """What no parser let through: values of another type, or none of a field's choices.

    For options that come from a file instead of flags.
    """
    hints = typing.get_type_hints(type(options))
    found = []
    for field in dataclasses.fields(options):
        value, choices = getattr(options, field.name), field.metadata.get("choices")
        kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
        whole_number = type(value) is int and float in kinds
        if all(isinstance(kind, type) for kind in kinds) and not (
            type(value) in kinds or whole_number or (isinstance(value, Path) and Path in kinds)
        ):
            found.append(f"{field.name} cannot be {shown(value)}")
        elif choices and value is not None and value not in choices:
            found.append(
                f"{field.name} {shown(value)} is unknown; there are {', '.join(map(str, choices))}"
            )
    return found


def shown(value: Any) -> str:
    """A value or error in a message: what a file holds may be longer than anybody wants to read."""
    most = _SHOWN if not isinstance(value, Exception) else _SHOWN_ERROR
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested deeply, or a number of thousands of digits
        return f"this {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def answer_early(name: str, parse: Callable[[], Any]) -> None:
    """Answer --help and wrong flags at once: before a script imports what takes seconds.

    Args:
        name: the script's `__name__`; nothing is done where it is not the program that runs.
        parse: reads the command line, as the script itself does again when it begins.
    """
    if name == "__main__" and (code := run_script(lambda: 0 * bool(parse()))):
        raise SystemExit(code)


def run_script(main: Callable[[], int]) -> int:
    """Run a script's procedure; what it raises is told in plain words.

    The exit code is 2 for wrong use, 1 for work that could not go on, and `AGAIN` where another
    process was lost.
    """
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        return main()
    except UsageError as error:
        # A DataLoader's worker process wraps the message in a traceback.
        message = str(error).rpartition(f"{UsageError.__name__}: ")[2].strip()
        print(f"error: {message}", file=sys.stderr)
        return 2
    except Failure as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except LostProcess as error:
        print(f"error: {error}", file=sys.stderr)
        return AGAIN
    except OSError as error:
        if error.errno not in (*_NO_ROOM, errno.ENAMETOOLONG):
            raise
        where = f" ({shown(error.filename)})" if error.filename else ""
        print(f"failed: {error.strerror}{where}", file=sys.stderr)
        return 2 if error.errno == errno.ENAMETOOLONG else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def to_json(options: Any) -> dict[str, Any]:
    """An options dataclass as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=str))
