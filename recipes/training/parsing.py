# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Dataclasses as arguments: read from a YAML file and the command line, without heavy imports."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from copy import copy
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from types import NoneType
from typing import get_args, get_origin, get_type_hints

from datasets_scripts.common.command import CommandParser
from modeling_clinragen.shapes_clinragen import fault_of
from recipes.configs import read_config


def option(text: str, default=MISSING, **metadata) -> Field:
    """
    Return a dataclass field for an argument: required without a `default`.

    Args:
        text (`str`): its text in `--help`.
        metadata (*optional*): `choices`, `nargs` and `const`, as `add_argument` takes them.
    """
    metadata["help"] = text
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class FieldParser(CommandParser):
    """
    A parser with an option for each field of some dataclasses, whose `help` is in the field's metadata.

    Args:
        kinds (tuple of `type`): the dataclasses; their docstrings are headings of the help text.
        defaults (`dict`): field -> default, instead of the dataclass's own.
        epilog (`str`): end of the help text.
    """

    def __init__(self, kinds: tuple[type, ...], defaults: dict | None = None, epilog: str | None = None):
        super().__init__(
            usage="%(prog)s --config FILE.yaml [--FIELD VALUE ...]",
            description="Fields are in the YAML file; the command line overrides them. Dictionaries are JSON there.",
            epilog=epilog,
            allow_abbrev=False,
        )
        self.kinds, self.types = kinds, {}
        self.add_argument("--config", type=Path, metavar="FILE.yaml", help="YAML file of the fields below")
        for kind in kinds:
            group = self.add_argument_group(kind.__doc__.strip().splitlines()[0].rstrip("."))
            types = get_type_hints(kind)
            for one in fields(kind):
                self.types[one.name] = types[one.name]
                default = (defaults or {}).get(one.name, _default(one))
                group.add_argument(f"--{one.name}", **_option(one, types[one.name], default))

    def read(self, argv: list[str] | None) -> tuple[list, dict, list[str]]:
        """
        Return an instance of each dataclass, and the fields and arguments that belong to none.

        Raises:
            ClinRaGenInputError: for an ill-valued or missing field, or a file that cannot be read.
        """
        argv = [_with_underscores(text) for text in (sys.argv[1:] if argv is None else argv)]
        config = self.parse_known_args(argv)[0].config
        given = {} if config is None else read_config(config)
        for name, kind in self.types.items():
            fault = fault_of(given.get(name), _shape(kind), name) if name in given else None
            if fault is not None:
                self.error(f"{config}: {fault}")
        self.set_defaults(**{name: value for name, value in given.items() if name in self.types})
        values, command_line = self.parse_known_args(argv)
        for name, value in vars(values).items():
            if value is MISSING:
                self.error(f"--{name} is needed, in the YAML file or on the command line")
        self.check_values(values)
        instances = [kind(**{one.name: getattr(values, one.name) for one in fields(kind)}) for kind in self.kinds]
        return instances, {name: value for name, value in given.items() if name not in self.types}, command_line

    def check_known(self, given: dict, command_line: list[str], known: set[str] | None = frozenset()) -> None:
        """Refuse fields of a file, and arguments, that are not in `known`; `None` accepts all."""
        options = [text[2:].partition("=")[0] for text in command_line if text.startswith("--")]
        for name in (*given, *options):
            if known is not None and name not in known:
                self.error(f"there is no field {name!r}; --help lists them")
        if command_line and not command_line[0].startswith("--"):
            self.error(f"{command_line[0]!r} belongs to no field; name it, as in --output_dir {command_line[0]}")

    def error(self, message: str):
        super().error(f"arguments: {message}")


def _shape(kind: type) -> object:
    """Return the shape of a field in a file, see [`fault_of`]; numbers may be text, as YAML takes 1e-4 to be."""
    kinds = [kind] if get_origin(kind) is list else list(get_args(kind) or (kind,))
    shapes = [None if k is NoneType else list(get_args(k)) if get_origin(k) is list else k for k in kinds]
    return (*shapes, str) if {int, float, bool} & set(kinds) else tuple(shapes)


def _with_underscores(text: str) -> str:
    """Return `--learning-rate` as `--learning_rate`; other texts are unchanged."""
    name, is_, value = text.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + is_ + value if text.startswith("--") else text


def _default(one: Field):
    return one.default if one.default_factory is MISSING else one.default_factory()


def _option(one: Field, kind: type, default) -> dict:
    """Return the keyword arguments of `add_argument` for a field."""
    options = {"default": default, "help": _help(one, default).replace("%", "%%"), "metavar": "VALUE"}
    (kind,) = [part for part in get_args(kind) if part is not NoneType] if NoneType in get_args(kind) else [kind]
    if kind is bool:
        return options | {"type": truth, "nargs": "?", "const": True}
    if kind is dict:
        return options | {"type": dictionary, "metavar": "JSON"}
    if get_origin(kind) is list:
        return options | {"type": get_args(kind)[0], "nargs": "+"}
    options |= {name: value for name, value in one.metadata.items() if name in ("choices", "nargs", "const")}
    return options | {"type": kind}


def _help(one: Field, default) -> str:
    if default is MISSING:
        return one.metadata["help"]
    shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    return f"{one.metadata['help']} Default: {'none' if default in (None, [], {}) else shown}."


def truth(text: str) -> bool:
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def dictionary(text: str) -> dict:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ArgumentTypeError(f"{text[:60]!r} is not a dictionary; give JSON, such as '{{\"r\": 16}}'")
    return given
