# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's path without downloads: notes of open stays, a small FLAN-T5, and the commands of its page."""

import csv
import gzip
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from datasets_scripts.sources.phenotypes import phenotypes_of
from datasets_scripts.sources.synthetic import read_world
from datasets_scripts.sources.synthetic_notes import discharge_summary
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.processing_clinragen import PROMPT, TARGET
from recipes.models.backbone import train_tokenizer


PAGE = Path(__file__).resolve().parents[1] / "docs" / "reproduce.md"
COLUMNS = ("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text")
HEADER = """ \nName:  ___                  Unit No:   ___
 \nAdmission Date:  ___              Discharge Date:   ___
 \nDate of Birth:  ___             Sex:   {sex}
 \n"""


def rows_of(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_discharge_notes(tables: Path, output: Path) -> list[str]:
    """
    Write `discharge.csv.gz` of MIMIC-IV-Note: for each admission with an ICU stay the simulator's summary of a patient
    with the diseases that its codes mean. Return the texts.
    """
    diseases = read_world()["diseases"]
    by_category = {phenotype["ccs"]: phenotype["name"] for phenotype in PHENOTYPES}
    present: dict[str, set] = {}
    for row in rows_of(tables / "hosp" / "diagnoses_icd.csv.gz"):
        categories, _ = phenotypes_of(row["icd_code"], int(row["icd_version"]))
        present.setdefault(row["hadm_id"], set()).update(by_category[c] for c in categories if c in by_category)
    patients = {row["subject_id"]: row for row in rows_of(tables / "hosp" / "patients.csv.gz")}
    stayed = {row["hadm_id"] for row in rows_of(tables / "icu" / "icustays.csv.gz")}
    texts: list[str] = []
    output.parent.mkdir(parents=True)
    with gzip.open(output, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows_of(tables / "hosp" / "admissions.csv.gz"):
            if row["hadm_id"] not in stayed:
                continue
            patient, left = patients[row["subject_id"]], datetime.fromisoformat(row["dischtime"])
            rng = np.random.default_rng(int(row["hadm_id"]))
            age, sex = int(patient["anchor_age"]), patient["gender"]
            text = discharge_summary(diseases, sorted(present.get(row["hadm_id"], ())), age, sex, rng)
            texts.append(HEADER.format(sex=sex) + text.partition("\n")[2])
            times = (left.replace(hour=0, minute=0, second=0), left + timedelta(days=1))
            ids = (row["subject_id"], row["hadm_id"])
            writer.writerow((f"{ids[0]}-DS-{len(texts)}", *ids, "DS", len(texts), *times, texts[-1]))
    return texts


def write_flan_t5(folder: Path, texts: list[str], **changes) -> None:
    """Write random weights of FLAN-T5's shape made small, with a tokenizer of `texts` and of the labels."""
    known = [PROMPT, TARGET, NO_DISEASE, *(phenotype["name"] for phenotype in PHENOTYPES)]
    tokenizer = train_tokenizer([*texts, *known], [], vocab_size=1000)
    small = {"d_model": 32, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1}
    torch.manual_seed(0)
    shape = {**small, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, **changes}
    config = T5Config(vocab_size=len(tokenizer) + 28, decoder_start_token_id=0, **shape)  # FLAN-T5's is rounded too
    model = T5ForConditionalGeneration(config)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight + 0.1)  # as in FLAN-T5, not tied
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def commands_of_the_page() -> list[str]:
    """Return the lines of the code blocks of docs/reproduce.md, in order, each as one line."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [" ".join(line.split()) for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def is_launched_several_times(command: str) -> bool:
    return "accelerate_configs/ddp.yaml" in command
