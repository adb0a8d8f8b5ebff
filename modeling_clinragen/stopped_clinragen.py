# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Drugs that are stopped, on hold or only at hand by the note: "levophed off at 0200", "norepinephrine available"."""

from __future__ import annotations

import re

from .phrases_clinragen import compiled, compiled_words


_DRUG = compiled(r"""
    \b(?:\w*(?:epinephrine|pressors?|pressin|phrine|dopamine|dobutamine|milrinone|insulin|heparin|\w{2}(?:olol|pril
    |sartan|statin|dipine|mycin|cillin|tazobactam|floxacin|cycline|penem|azole|vir|xaban|grel|teplase|gliptin|gliflozin
    |glipizide|semide|tanide|thiazide|fibrate|parin|prazole|terenol|profen))
    |levophed|levo|neo|vaso|inotropes?|gtts?|drips?|amio(?:darone)?|dilt(?:iazem)?|digoxin|atropine|sotalol|carvedilol
    |labetalol|nitro(?:glycerin)?|ntg|nipride|hydralazine|isosorbide|imdur|antihypertensives?|ace inhibitors?|arb
    |beta[ -]?blockers?|lasix|bumex|diuretics?|spironolactone|hctz|metformin|lantus|humalog|novolog|coumadin|warfarin
    |plavix|aspirin|asa|lipitor|zocor|crestor|lopressor|toprol|tpa|octreotide|lactulose|rifaximin|albuterol|spiriva
    |tiotropium|ipratropium|advair|prednisone|steroids?|bronchodilators?|cef\w+|ceft\w+|zosyn|antibiotics?|abx
    |bicarb(?:onate)?|kcl|potassium chloride|kayexalate|sevelamer|calcitriol|epo\w*|neuromuscular blockade|paralytics?
    |sedation|propofol|pantoprazole|ppi|nimodipine|sacubitril\w*)\b
    """)
_ITEMS = r"(?:[\w-]+(?: gtts?| drips?)?(?:,? (?:and|&) |, |/)){0,4}"
_OF = r"(?:(?:the|his|her|all|of|iv|home|both|any|taking|using|her own) ){0,3}"
_STOPPED_BEFORE = compiled(rf"""
    (?:\b(?:(?:self-)?(?:stopped|discontinued|d/?c'?e?d|held)|holding) {_OF}{_ITEMS}
    |\b(?:weaned|titrated|tapered|c[ao]me|taken|turned|shut|been|now|currently|is|are|was|were|pt|patient|[.;,:]|^) off
    [ ]{_OF}(?:[\w-]+ (?:and|&) |[\w-]+/){{0,2}}|^off {_OF}|\n *off {_OF}|\b(?:stop|d/c|discontinue) {_OF})$
    """)
_ORDER_UNTIL = compiled_words("if|when|once|after|tomorrow|unless|in the (?:am|morning)")
_STOPPED_AFTER = compiled(r"""
    (?: ?\((?:mcg|units?|mg|ml)[^()\n]{0,15}\))?(?:(?:,| and| &|/)? ?(?:gtts?|drips?|infusions?|iv|po|therapy|was
    |were|is|are|has|have|had|been|being|all|both|now
    |also|then|since|finally|successfully|subsequently|weaned|titrated|tapered|turned|shut|slowly|completely|quickly
    |recently|currently|temporarily|remains?|today|yesterday|overnight)\b){0,6}
    (?:(?:,? (?:and|&) |/)[\w-]+(?: (?:gtts?|drips?|now|both|all|were|was|are|weaned|been|have|has)){0,3})?
    [ :,(=|–-]{1,3}(?:but |which (?:is|was) )?
    (?:(?:weaned |titrated )?(?:to )?off(?![- ](?:and on|label|service|unit))|stopped|(?:self-)?discontinued|d/?c'?e?d
    |held(?! (?:at|steady|stable|on))|on hold|holding|withdrawn|on standby|stand-?by|available|at (?:the )?bedside
    |in (?:the )?room|ready|ordered,? (?:but )?not (?:yet )?(?:started|given|hung)
    |(?:order |infusion )?(?:cancel+ed|d/?c'?d,? never given)|(?:(?:was |were )?(?:ordered|primed|prepared
    |hung),? (?:but |and )?)?(?:not|never) (?:yet )?(?:been )?(?:hung|used)
    |(?:patient |pt )?never (?:started|took|filled)
    |(?:not|never) (?:yet )?(?:been )?(?:started|given|used|initiated|hung|administered|taken)
    |0(?:\.0+)?(?= ?(?:$|[|,;\n]))|0(?:\.0+)? ?(?:mcg|mg|units?|ml|gamma))\b(?=\W*(?:$|[.,;:)\n|]|\d|/|x ?\d|(?:at
    |since|on|this|now|for|today
    |yesterday
    |overnight|as|by|with|per|after|in|due|and|but|given|because|prior|before|last|until|during|while|around|secondary
    |once|when|hd|pod|early|late|shortly|earlier|briefly|then|d/t|without|to|if|yet|again)\b))
    """)
_NOT_YET = compiled(r"""
    \b(?:not|never|unable to|(?:ca|did|does|would)n'?t|cannot|fail\w* to|trying to|tr(?:y|ied) to|attempt\w* to
    |plan\w* to|will|may|might|could|difficult\w* (?:to|in)|hop\w+ to|consider)(?: be| get| been)? *$
    """)
_GIVEN = compiled(r"""
    \b(?:started|begun|initiated|placed|required|requiring|needed|received|briefly|transiently)\b
    (?:(?!\b(?:not|never|without|before|order\w*)\b)[^.;\n]){0,30}$
    """)
_RESUMED = compiled_words(r"""
    (?<!to )(?<!to be )(?<!will )(?<!will be )(?<!can be )(?<!may be )(?<!when )(?<!not )(?<!if )
    (?<!never )(?<!before )(?:re-?start(?:ed|ing)|resumed|re-?initiated|re-?commenced|back on|put back|on again
    |started again|continu(?:es|ed))
    """)


def is_stopped(lower: str, start: int, end: int) -> bool:
    """Return whether a lower-case text says that the drug of the span is stopped, on hold, or only at hand."""
    if not _DRUG.search(lower, start, end):
        return False
    line = lower[max(lower.rfind("\n", 0, start) + 1, start - 80) : start]
    before, after = _STOPPED_BEFORE.search(line), _STOPPED_AFTER.match(lower, end)
    if before and (_NOT_YET.search(line, 0, before.start()) or _is_for_later(before[0], lower, end)):
        before = None
    if after and not before and _GIVEN.search(line):
        return False  # "started on norepinephrine, weaned off on day 3" was given in this stay
    if not before and not after:
        return False
    last = after.end() if after else end
    rest = re.split(r"[.\n]", lower[last : last + 80], maxsplit=1)[0]
    return not _RESUMED.search(rest)


def _is_for_later(order: str, lower: str, end: int) -> bool:
    """Return whether an order such as "stop insulin if" depends on a condition."""
    ordered = re.match(r"\W*(?:stop|discontinue|d/c) ", order)
    return bool(ordered and _ORDER_UNTIL.search(re.split(r"[.\n]", lower[end : end + 60], maxsplit=1)[0]))


__all__ = ["is_stopped"]
