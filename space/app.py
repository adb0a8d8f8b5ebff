# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A page to try a ClinRaGen model.

    python space/app.py --model runs/quickstart/stage3 [--port 7860]

As a Hugging Face Space it reads the variables `CLINRAGEN_MODEL` and `CLINRAGEN_REVISION`.
"""

import argparse
import os


os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--model", default=os.environ.get("CLINRAGEN_MODEL"), help="model folder or Hub id")
    parser.add_argument(
        "--revision", default=os.environ.get("CLINRAGEN_REVISION"), help="branch, tag or commit of a Hub id"
    )
    parser.add_argument("--port", type=int, help="port to listen on; default: the first free one from 7860")
    arguments = parser.parse_args(argv)
    import place

    if not arguments.model:
        parser.error("give --model FOLDER_OR_HUB_ID, or set CLINRAGEN_MODEL")
    if place.is_missing(arguments.model):
        parser.error(f"{arguments.model} cannot be loaded: there is no such folder; give one, or a Hub id, USER/NAME")
    os.umask(0o077)  # uploads are readable only by their owner

    import answers  # late: importing Gradio and torch takes seconds
    from page import Page

    try:
        pipe = answers.load(arguments.model, arguments.revision)
    except (OSError, ValueError) as error:
        parser.error(f"{arguments.model} cannot be loaded: {str(error).splitlines()[0]}")
    Page(pipe, arguments.model).launch(arguments.port)


if __name__ == "__main__":
    main()
