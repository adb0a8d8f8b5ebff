# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The common part of all commands: the end by a user's mistake, an interruption or a full disk."""

import argparse
import atexit
import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from datasets_scripts.common.outputs import causes, is_full_disk, is_interruption
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MAX_COUNT = 2**31 - 1
LIMITS = {  # of options; default: integers from 1, other numbers from 0
    "seed": (0, 2**32 - 1),
    "port": (0, 2**16 - 1),
    "save_total_limit": (0, MAX_COUNT),
    "early_stopping_patience": (0, MAX_COUNT),
    "controls": (0, MAX_COUNT),
    "reward_floor": (-sys.float_info.max, sys.float_info.max),
}
# Errors that are caused by a user's path, and by nothing else.
OF_A_PATH = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
EXTRAS = {  # package -> the extra that installs it; default: "all"
    "ray": "ray",
    "gradio": "space",
    "adbc_driver_postgresql": "postgres",
}
REQUIRES = re.compile(
    r"requires (?:the )?[`'\"]?([\w.-]+)\S* (?:library |package )?(?:to be installed|but it was not found)"
)
OWN_PACKAGES = ("modeling_clinragen", "datasets_scripts", "recipes")
SENDS_NOTHING = {"HF_UPDATE_DOWNLOAD_COUNTS": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}  # read by the libraries at import
# Number of spins of a waiting thread of GNU OpenMP, which comes with PyTorch, before it sleeps. With its default of
# 300,000, threads block cores for other programs, and for the thread they wait for. Read when PyTorch is imported.
WAITING = {"GOMP_SPINCOUNT": "10000"}
OWN_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # settings of the user
CLIENTS = ("httpx", "httpx2")  # of the Hub; they log every request
OWNER_ALONE = 0o077  # umask: outputs hold notes, or were trained on them

for _name, _value in SENDS_NOTHING.items():
    os.environ.setdefault(_name, _value)
if not any(_name in os.environ for _name in OWN_WAITING):
    os.environ.update(WAITING)


def run_command(main: Callable[[list[str] | None], object]) -> None:
    """
    Run `main`. A `ClinRaGenInputError`, a full disk, too little memory, or a package that is not installed becomes
    one line on standard error and exit code 2, and Ctrl-C one with exit code 130, without a traceback. Only the
    owner can read the files that it and its libraries write.
    """
    os.umask(OWNER_ALONE)
    ended: list[int] = []  # its exit code, once a command has come to its end
    atexit.register(_exit_without_teardown, ended)  # registered first, it runs last
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # work is complete: ignore Ctrl-C
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for client in CLIENTS:
        logging.getLogger(client).setLevel(logging.WARNING)
    is_whole_process = main.__module__.rpartition(".")[2] == "__main__"  # else the caller may have more to do
    try:
        main(None)
        if is_whole_process:
            ended.append(0)
    except (Exception, KeyboardInterrupt) as error:
        if is_interruption(error):
            code = _fail("interrupted; start the same command again to resume", code=130)
            if is_whole_process:
                ended.append(code)
                atexit._run_exitfuncs()  # Python would first wait for terminated workers to complete a result
            sys.exit(code)
        line = _message_for(error)
        if line is None:
            raise
        sys.exit(_fail(line))


def _exit_without_teardown(ended: list[int]) -> None:
    """
    End a command, after its work or Ctrl-C, without Python's teardown, which takes a tenth of a second or more to
    release what is imported. Besides, a thread of Gloo that is still releasing a tensor would abort there (PyTorch
    2.13, pytorch/pytorch#179291), and the launcher would report the whole run as failed.
    """
    if ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(*ended)


def _message_for(error: Exception | KeyboardInterrupt) -> str | None:
    """Return the message that replaces the traceback of an error; `None` for an unexpected error."""
    if isinstance(error, ClinRaGenInputError):
        return str(error)
    package = _missing_package(error)
    if package is not None:
        extra = EXTRAS.get(package, "all" if isinstance(error, ModuleNotFoundError) else None)
        wanted = package.lower() if extra is None else f"'clinragen[{extra}]'"
        return f"the package {package} is not installed; pip install {wanted}"
    if is_full_disk(error):
        where = next((e.filename for e in causes(error) if isinstance(e, OSError) and e.filename), "where it writes")
        return f"the disk is full ({where}); free some space, or raise its quota, and start the same command again"
    if any(isinstance(e, MemoryError) for e in causes(error)):
        return "the memory of this machine is too small for it; end other programs, or take less at a time"
    if isinstance(error, OSError) and error.filename is not None and error.errno in OF_A_PATH:
        return f"{error.filename}: {error.strerror}; give another path, or the right to use this one"
    return None


def _missing_package(error: Exception | KeyboardInterrupt) -> str | None:
    """Return the package that is missing according to an error of Python or transformers."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return package if package and package not in OWN_PACKAGES else None
    required = REQUIRES.search(str(error)) if isinstance(error, ImportError | RuntimeError) else None
    return required and required[1]


class CommandParser(argparse.ArgumentParser):
    """`ArgumentParser` with errors of one line instead of a usage text, which also refuses impossible values."""

    def error(self, message: str):
        raise ClinRaGenInputError(shortened(message))

    def parse_known_args(self, args=None, namespace=None) -> tuple[argparse.Namespace, list[str]]:
        """Parse, but refuse empty values, which as a path would mean the working directory."""
        args = sys.argv[1:] if args is None else list(args)
        for i, text in enumerate(args):
            name = text[:-1] if text.startswith("--") and text.endswith("=") else args[i - 1] if not text and i else ""
            if name.startswith("--") and "=" not in name:
                self.error(f"{name} is empty; give a value, or leave it out")
        return super().parse_known_args(args, namespace)

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        arguments = super().parse_args(args, namespace)
        self.check_values(arguments)
        return arguments

    def check_values(self, arguments: argparse.Namespace) -> None:
        """Refuse values that no option can have, whether they are given or are the option's default."""
        for action in self._actions:
            fault = _fault_of(getattr(arguments, action.dest, None), action)
            if fault:
                self.error(f"{action.option_strings[0] if action.option_strings else action.dest} {fault}")


def _fault_of(value, action: argparse.Action) -> str | None:
    """Return the fault of a value, if any: counts are at least 1, numbers finite, texts without a zero byte."""
    if isinstance(value, str | Path) and "\0" in str(value):
        return "holds a zero byte, which no name can hold"
    if isinstance(value, int | float) and action.type in (int, float):
        low, high = LIMITS.get(action.dest, (1, MAX_COUNT) if action.type is int else (0, sys.float_info.max))
        if not low <= value <= high:
            wanted = f"{low:g} or more"
            if action.type is int:
                wanted = f"at least {low}" if value < low else f"at most {high}"
            return f"is {shortened(str(value), 20)}; give {wanted}"
    if action.choices is not None and isinstance(value, str | int | float) and value not in action.choices:
        return f"is {shortened(str(value), 60)!r}; choose among {', '.join(map(str, action.choices))}"
    return None


def shortened(text: str, length: int = 1000) -> str:
    """Shorten a text, which may hold anything that a user pasted, to fit on a screen."""
    return text if len(text) <= length else f"{text[:length]}..."


def _fail(message: str, code: int = 2) -> int:
    print(f"error: {shortened(' '.join(message.split()), 2000)}", file=sys.stderr)
    return code
