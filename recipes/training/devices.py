# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""One GPU for each process; otherwise `torch.nn.DataParallel` would split each batch."""

import os
import sys
from pathlib import Path

import torch
from transformers import TrainingArguments

from modeling_clinragen import ClinRaGenInputError


def refuse_data_parallel(args: TrainingArguments) -> None:
    """Refuse a process that would train on several GPUs; the error gives the command with one process per GPU."""
    if args.n_gpu < 2:
        return
    batch = args.per_device_train_batch_size
    processes = max(number for number in range(1, args.n_gpu + 1) if batch % number == 0)
    script = Path(sys.argv[0]).name
    line = (
        f"accelerate launch --config_file recipes/accelerate_configs/ddp.yaml --num_processes {processes} "
        f"recipes/{script if script.startswith('stage') else 'STAGE.py'} ... "
        f"--per_device_train_batch_size {batch // processes}, for batches of {batch} as before; or with "
    )
    raise ClinRaGenInputError(
        f"arguments: one process sees {args.n_gpu} GPUs; start it with {line if processes > 1 else ''}"
        "CUDA_VISIBLE_DEVICES=0, to train on one"
    )


def see_one_gpu(number: int = 0) -> None:
    """Restrict this process to one of its visible GPUs, before it uses any: the `number`-th, modulo their number."""
    count = torch.cuda.device_count()
    if count > 1:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[number % count]
