# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Wordings of times, levels, counts, numbers and trends: patterns for text in lower case."""

import re

from .phrases_clinragen import compiled, compiled_words, unfolded


NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
COUNT_WORDS = {word: i for i, word in enumerate(NUMERALS)}
COUNT_WORDS |= {"once": 1, "twice": 2, "thrice": 3, "single": 1, "a single": 1}  # fmt: skip


NUMBER = r"(\d+(?:\.\d+)?)"
HOURS = r"[\s-]*(?:h|hr|hrs|hours?)\b"
COUNT = r"(\d+|a single|single|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
ADMISSION = r"(?:(?:the |this )?(?:icu |unit )?(?:admission|arrival|stay|course|icu|unit))"


# time
FIRST_HOURS = compiled(rf"""
    (?:\b(?:with)?in|\bduring|\bover|\bfor|\bthroughout|\bacross)?\s*\b(?:the )?(?:first|initial|opening
    |earliest) {NUMBER}{HOURS}|\b(?:with)?in {NUMBER}{HOURS} (?:of|after|from|following) {ADMISSION}
    |\bwithin {NUMBER}{HOURS}(?!\s(?:of|after|from|following))
    |\b(?:before|until|by|up to|prior to|through) (?:hour {NUMBER}|{NUMBER}{HOURS})
    """)
AFTER_HOURS = compiled(rf"""
    \b(?:after|beyond|past|following|later than
    |since) (?:the )?(?:first |initial |opening )?(?:(?:icu )?hour {NUMBER}
    |{NUMBER}{HOURS})(?: (?:in|of|from|after|into) {ADMISSION})?
    |\b(?:more than|over|later than) {NUMBER}{HOURS} (?:after|into|from|past) {ADMISSION}
    |\bfrom hour {NUMBER} (?:on(?:wards?)?|forward)\b|\bonce past hour {NUMBER}
    |\bbeyond the {NUMBER}(?:st|nd|rd|th)? hour|\bafter the {NUMBER}(?:st|nd|rd|th) hour
    """)
AT_HOUR = compiled(rf"""
    \b(?:at|around|about|near|on|in)? ?(?:about |around |approximately )?(?:(?:the )?hour {NUMBER}
    |{NUMBER}(?:st|nd|rd|th) hour)(?: (?:of|after|into|from) {ADMISSION})?
    |(?:\bat|\baround|\babout|@)? ?(?:about |around |approximately )?{NUMBER}{HOURS} (?:after|into|from|post
    |past|since|following) ?{ADMISSION}|(?:\bat|\baround|@
    |\bt ?=) ?(?:about |around |approximately )?{NUMBER}{HOURS}
    """)
# "at hours 2, 4 and 6", "at 6 and 12 hours"
AT_HOURS = re.compile(rf"\bat (?:hours (\d+(?:, \d+)*,? and \d+)\b|(\d+(?:, \d+)*,? and \d+){HOURS})")
BETWEEN_HOURS = compiled(rf"""
    (?:\b(?:at|from|between|during|over|in|for) )?(?:the )?(?:hours {NUMBER} ?(?:to|and|through|until|[-–])
    \s?(?:hour )?{NUMBER}\b|(?<!by )hour {NUMBER} (?:to|through|until) (?:hour )?{NUMBER}\b(?!\.?\d)
    |(?<=between )hour {NUMBER} and (?:hour )?{NUMBER}\b|(?<=between ){NUMBER} and {NUMBER}{HOURS})
    """)
LAST_HOURS = re.compile(rf"\b(?:(?:with)?in|during|over|for)?\s*(?:the )?(?:last|final|closing) {NUMBER}{HOURS}")
SPOKEN_HOURS = (AT_HOURS, BETWEEN_HOURS, FIRST_HOURS, AFTER_HOURS, LAST_HOURS, AT_HOUR)
FIRST_VALUE = compiled_words(r"""
    first(?! (?:cross|exceed|reach|rose|fell|dropp|appear|seen|noted|became|went))
    |initial(?:ly)?|start(?:ed|s|ing)?|began|begins?|beginning|earliest
    |(?<!to )(?<!from )(?<!near )(?<!his )(?<!her )(?<!their )(?<!the )(?<!its )(?<!usual )baseline|opening
    |early on|(?:on|at|upon) (?:icu |unit )?(?:admission|arrival|presentation|entry)|admission|opened|presenting
    |(?:at|from) the (?:outset|word go)|when (?:first )?seen
    |when (?:he|she|they|the patient) (?:came in|arrived|presented|got here)
    """)
LAST_VALUE = compiled_words(r"""
    last|final(?:ly)?|most recent|latest|ended(?! from)|ends|ending|(?:at|on|upon) (?:icu |unit )?discharge
    |finish(?:ed|es|ing)?
    |at (?:the )?end|by the end|concluded|closing|closed(?!,? from)|settled(?= (?:at|in|to|around|between|down|back)\b)
    |ultimately|eventually
    |stabili[sz]ed at
    """)
# at the start of a sentence: the time of all findings that it lists
LEADING_TIME = compiled(rf"""
    \s*(?:(?:on|at|upon) (?:icu |unit |hospital |the time of )?(?:admission|arrival|presentation|discharge)
    |initially|at first|(?:at|by) the (?:end|start|beginning)(?: of (?:the|her|his|this) stay)?|finally|in the end
    |at hour {NUMBER}|(?:at|on) baseline)\b
    """)
# for levels; a number with "now" may be any later value
NOW = compiled_words(r"now|currently|at present|presently|no longer|any ?more")

# levels
NO_LEVEL = re.compile(  # "low-grade fever", "high-flow oxygen", "low-normal pressure"
    r"\b(?:low|high)(?=[\s-](?:grade|flow|dose|risk|threshold|suspicion|sensitivity|output|yield|probability"
    r"|index of|quality|normal)\b)"
    r"|\btoo (?:low|high|fast|slow)\b(?= (?:for|to)\b)"
)
HIGH = compiled_words(r"""
    high(?:er)?(?! of\b)|elevated|elevations?|raised|above|(?<!\s\s\s)increased|over(?! the| time| an?\b| \d)
    |exceed(?:s|ed|ing)?|exceedance|surpass(?:es|ed|ing)?|racing|supra-?normal|supratherapeutic|fast|rapid|upper
    |spik(?:ed?|es|ing)|quick|excessive(?:ly)?|overweight
    """)
LOW = compiled_words(r"""
    low(?:er)?(?! of\b)|reduced(?! (?:to|from)\b)|reductions?|below|(?<!\s\s\s)decreased|depressed|depression|under
    |beneath|sub-?normal|diminished|slow|soft|dip(?:s|ped|ping)? (?:below|under)|deficient|short of
    """)
RANGE = unfolded(r"""
    (?:(?:the |its |their |a |any )?(?:normal|reference|expected|usual|accepted|physiologic(?:al)?) (?:range|limits?
    |interval|bounds?|band|values?)|range|limits|bounds|wnl)
    """)
NORMAL = compiled(rf"""
    \b(?:with)?in (?:the )?(?:bounds of )?(?:normal|reference) ?(?:range|limits?|bounds?|interval)?|\bwnl\b
    |\bunremarkable\b|\bnormo\w+|\beu(?:glyc\w+|pneic|thermic|cardic|tensive)
    |\b(?:with)?in (?:the |its |their )?{RANGE}|\binside {RANGE}|\bin range\b|\bphysiologic(?:al)?\b
    |\breassuring\b|\bpreserved\b(?! (?:above|below|at|over|under))
    |\b(?:well|rate)[\s-]controlled\b
    |\bnormal\b(?! (?:limit )?(?:two|three|\d))
    |(?:^|\b(?:is|are|was|were|been|remain\w*|stay\w*|looks?|looked) )\s*(?:all |very |quite |perfectly |entirely )?
    (?:good|fine|okay|ok|excellent|satisfactory|perfect)(?=\s*(?:$|,|all\b|throughout|during|over|now|on |at |to begin
    |initially|the (?:whole|entire)))
    |^\s*well(?= on\b|\s*$)
    """)
ABNORMAL = compiled(rf"""
    \babnormal(?:ities|ity)?\b|\b(?:deviat\w+|departures?|departed) from (?:the )?norm(?:al)?\b
    |\bpoor(?:ly controlled)?\b|\buncontrolled\b
    |\bout(?:side)? (?:of )?(?:the |its |their )?(?:{RANGE}|normal)|\bderang\w+
    |\b(?:leaves?|left|leaving|depart\w*(?: from)?|stray\w*(?: from| outside)?|deviat\w*(?: from)?) {RANGE}
    """)
# "above normal" and "the upper limit of the normal range" state high or low, not normal.
BOUND = compiled(rf"""
    \b(above|over|exceed(?:s|ed|ing)?|beyond|past|surpass(?:es|ed|ing)?|crossed|higher than|greater than|faster than
    |below|under|beneath|lower than|slower than|less than|upper
    |lower)\b(?: (?:the|its|their|any|that|of|what is))*(?: (?:upper|lower))?(?: {RANGE}
    | (?:limit|bound|end|threshold|cut-?off)s?(?: of (?:the )?(?:normal|reference)(?: range)?| of {RANGE})?
    | (?:reference|normal)(?: range| limits?)?)
    """)
NOT = compiled(r"""
    \b(?:no|not|never|none|without|denies|denied|absent|absence|neither|nor|free of|lack(?:s|ed|ing)?|failed to
    |at no (?:time|point)|nothing (?:to (?:suggest|indicate)|above|below|over|under|beyond)|ruled out|excluded
    |un(?:detected|observed)|negative for|excludes|rul(?:es|ing) out|argu(?:es|ing) against)\b|n't\b
    """)
NO_MORE_THAN = re.compile(r"\bno (?:less|lower|fewer|more|higher|greater|further|faster|slower) than\b")
PSEUDO_NOT = compiled(r"""
    \bnot only\b|\bno doubt\b|\bnot surprisingly\b|\bnotably\b
    |\bnot (?:felt|thought|believed|considered|likely|expected|enough|sufficient) to\b
    """)

# counts, numbers
OCCASION = unfolded(r"""
    (?:times|time|occasions?|readings?|measurements?|values?|episodes?|instances?|recordings?|checks?|samples?
    |observations?|(?:data )?points?(?! (?:higher|lower|faster|slower|more|less)\b)
    |measures|determinations|results?|entries|excursions?|spells?|elevations?|dips?|spikes?
    |bouts?|lows|highs|flags?|events?|drops|exceedances)
    """)
AT_LEAST = unfolded(r"""
    (?:(at least|no fewer than|no less than|more than|fewer than|at most|no more than|only|exactly|just|a total of
    |in total) )?
    """)
# the count, and the total
OF_ALL = compiled(rf"""
    \b{COUNT} (?:out )?of (?:the |its |all |a total of )*{COUNT}\b(?! of)
    |\b(\d+) ?/ ?(\d+)(?=\s+(?:\w+\s+)?{OCCASION})
    """)
OUT_OF = re.compile(rf"\bout of (?:the |its |all |a total of )*{COUNT}\b.*?\b{COUNT} (?:were|was|are|is|had)\b")
ONLY_FIRST = compiled(
    rf"\b(?:only|(?P<all>all (?:but|except)))(?: (?:in|on|at|for|during))? the (?P<end>first|initial|last|final)"
    rf"(?: (?P<count>{COUNT}))?\b"
)
TIMES = compiled(rf"""
    (?<!not )(?<!every )\b{AT_LEAST}{COUNT} (?:(?:of|the|its|all|separate|distinct|different|individual|documented
    |recorded|charted|measured|consecutive|such|isolated|stored|available|out-of-range
    |data)\s+)*\s*(?:(?:abnormally |markedly |clearly )?(?:elevated|high|low|raised|reduced|abnormal|decreased
    |increased|supranormal|subnormal|depressed|out-of-range)\s+)?{OCCASION}\b
    |(?<!but )(?<!except )(?<!all )\b{AT_LEAST}({"|".join(NUMERALS[2:])})(?: of the)?(?=\s{{3,}}(?:were|are)
    \s(?:\w+ly )?(?:high|low|elevated|raised|reduced|increased|decreased|abnormal|normal)\b)
    |\b{AT_LEAST}(?<!not )(?<!never )(once(?! (?:the|he|she|it|on|they|his|her|off|in)\b)|twice|thrice)\b
    |\b{AT_LEAST}(?:x|×) ?(\d+)\b|\b{AT_LEAST}(\d+) ?(?:x|×)(?!\w)
    |\b(?:number(?:s|ed|ing)?|totall?(?:ed|ing|s)?|counts?|count(?:ed)? (?:is|was|of)|tally(?: of| is)?
    |amount(?:s|ed|ing)? to) {AT_LEAST}{COUNT}\b|\bn ?= ?(\d+)\b
    |\bnumber of [a-z\s-]*?\b(?:is|was|equals|were) {AT_LEAST}{COUNT}\b
    """)
MAXIMUM = compiled_words(r"""
    up to|as high as|t?max(?:imum|imal|imally|ima)?|maxed(?: out)?|peak(?:s|ed|ing)?(?: value)?|highest|a high of
    |high of|top(?:s|ped|ping)?(?: out)?|crest(?:s|ed|ing)?|zenith|greatest|largest|fastest
    |hottest|warmest
    |(?:reach(?:es|ed|ing)?|hit)(?= ?(?:\d|about|around|the (?:low |mid|high |upper )?[- ]?\d))
    """)
MINIMUM = compiled_words(r"""
    (?<!back )(?<!now )(?<!then )down to|as low as|(?<!/)(?<!per )t?min(?:imum|imal|imally(?! [a-z])|ima)?
    |lowest|nadir(?:ed|s)?|a low of|low of
    |bottom(?:s|ed|ing)?(?: out)?|trough(?:s|ed)?|smallest|least|slowest|coldest
    """)
_TO = r"(?:(?:down|up|back|out) )?(?:in)?to(?= ?(?:\d|about|around|an?\b|the (?:low |mid|high |upper )?[- ]?\d))"
ROSE_TO = compiled_words(rf"""
    (?:climb(?:ed|s|ing)?|rose|rises|rising|spik(?:ed|es|ing)|increas(?:ed|es|ing)|jump(?:ed|s|ing)?
    |shot|surged?|elevated|(?:go(?:es)?|gone|went|c[oa]mes?) up) {_TO}
    """)
FELL_TO = compiled_words(rf"""
    (?:fell|falls|falling|drop(?:ped|s|ping)?|dip(?:ped|s|ping)?|sank|sinks|declin(?:ed|es|ing)|plunged|plummeted
    |decreas(?:ed|es|ing)|reduced|(?:go(?:es)?|gone|went|c[oa]mes? )?down|sagged|slid) {_TO}
    """)
RANGING = compiled(r"""
    \b(?:between|from|rang(?:e[sd]?|ing)(?: of| from| was| is|:| between)?
    |var(?:ied|ies|ying|y)(?: from| between)?|fluctuat(?:ed|es|ing)(?: from| between)?|span(?:s|ned|ning)|swung
    |oscillat\w+|extremes(?: of| were)?|limits of|anywhere from|stayed|remained|ran
    |within)\s*(?:between |from |of |within |in )?(?:the )?$
    """)
BETWEEN = re.compile(r"\s*(?:-|–|—|to|and|through)\s*(?:the )?")
WITHIN = re.compile(r"\b(?:stay\w*|remain\w*|kept|held|always|within)\b")
MOVING = compiled(r"""
    \b(?:rose|rises|rising|increas(?:ed|es|ing)|climb(?:ed|s|ing)|went|moved|fell|falls|falling|dropped|drops
    |dropping|declin(?:ed|es|ing)|decreas(?:ed|es|ing)|improv(?:ed|es|ing)|worsen(?:ed|s|ing)|chang(?:ed|es|ing)
    |recover(?:ed|s|ing)|trend(?:ed|s|ing)?(?: up| down)?\w*|drift(?:ed|s|ing)(?: up| down)?\w*|came
    |gone|up|down)\b.*\bfrom\s*(?:the )?$
    """)
JOINT_OF_NUMBERS = re.compile(r"\s*(?:[-–—/]|[-=]+>|→|to|and|or|through|then)\s*(?:the )?")
_AROUND = r"(?:the |an? |about |around |approximately |roughly |nearly |~)*"
FROM = re.compile(rf"\bfrom\s*{_AROUND}(?:\s{{3,}}(?:of |at )?)?$")
FROM_BEFORE = compiled(rf"""
    \b(?:down|up|improved|increased|decreased|recovered|compared (?:to|with)|versus
    |vs\.?) (?:from )?{_AROUND}$
    """)
SEQUENCE_JOINT = re.compile(r"\b(?:to|then|later|before|into)\b")
ARROW = re.compile(r"\s*(?:[-=]+>|→)\s*")
TO_NUMBER = re.compile(rf"\b(?:in)?to\s+{_AROUND}$")
LATER_VALUE = compiled_words(r"""
    then|still(?= (?:\w+ )?\d)
    |later|subsequent(?:ly)?|thereafter|afterwards?|recover(?:ed|s|ing)? to|improv(?:ed|es|ing)? to
    |return(?:ed|s|ing)? to|(?:came|went|back) (?:down |up |back )?to|corrected to|wean(?:ed|ing) to|cleared to
    |normali[sz]ed (?:to|at)|resolved to|settled to
    """)
# goals and conditions: before a channel's name, after it, and before a name that a comparison follows
GOAL = compiled(r"\b(?:goals?|targets?|targeting|aim(?:s|ed|ing)?|titrat\w+ (?:to|for))\b[^,;]*$")
FEARED = compiled(r"""
    \b(?:risk (?:of|for)|avoid(?:ing)?|prevent(?:ing)?|(?:monitor|watch)(?:ed|ing)? for|in case of)\s+(?:any |further
    |the )?$
    """)
NOT_NOW = compiled(r"""
    \b(?:if|unless|whenever|history of|h/o|known)\s+$
    |\b(?:history (?:of|significant for|includes)|h/o|pmhx?:?(?: of)?)\s
    (?:(?!\b(?:who|with|present\w*|admitted|now|was|were|is|has|had|came|comes|found|here|complicated)\b)[^.;\d])*$
    """)  # before a finding
KIN = compiled(r"""
    \b(?:father|mother|brother|sister|family|parents?|donor|husband|wife|spouse|partner|son|daughter|uncle|aunt|cousin
    |room-?mate|neighbou?r|grand(?:mother|father|son|daughter))\b
    """)
SUPPOSED = compiled(r"\bwould\b|\bmight\b")
HYPOTHETICAL = re.compile(r"\b(?:if|unless|whether|in the event (?:of|that))\b[^,;]*$")  # before a channel
PARTLY = re.compile(
    r"\b(?:almost|nearly|partly|partially|largely|mostly|not (?:yet )?(?:fully|completely)|incomplete\w*)\b"
)
# a patient's earlier values: "2.1 (baseline 0.8)", "from a baseline of 0.8"
_AND_RANGE = rf"{NUMBER}(?:\s?[-–]\s?{NUMBER})?"
BASELINE = compiled(rf"""
    \(\s*(?:known |recent |prior |previous |usual |home )?baseline (?:is |was |of )?(?:about |around |~)?{_AND_RANGE}
    [^)]*\)|\b(?:from|above|over|with|near|vs\.?|versus|compared (?:to|with)) (?:an?|his|her|their|the|known)
    \s(?:\w+ )?baseline (?:\w+ )?(?:of |near |around |about )*{_AND_RANGE}
    """)
GIVEN = re.compile(
    r"\b(?:after|following|given|gave|received?|post|iv|infus\w+(?: of)?|despite)\s+(?:iv |oral |some )?$"
)
GOAL_AFTER = compiled(r"\s*(?:goals?|targets?)\b")
CONDITION = compiled(
    r"\b(?:if|when(?:ever)?|unless|until|for|keep(?:ing)?|maintain(?:ing)?)\s+(?:the |his |her |an? )?$"
)
CONDITION_AFTER = compiled(r"\s*(?:is |at )?(?:[<>≥≤]|above|below|over|under|greater|less|more)")
COMPARING = compiled(r"""
    (?:\b(at least|at most
    |no (?:less|lower|fewer|more|higher|greater|further|faster|slower) than|above|over
    |exceed(?:s|ed|ing)?|greater than|more than|higher than|in excess of|beyond|past|surpass(?:es|ed|ing)?
    |cross(?:ed|es|ing)|north of|south of|below|under|beneath|less than|faster than|slower than
    |lower than|short of)|((?<![-=–])[<>]=?|≥|≤))\s*$
    """)
_NOT_ONCE = r"(?:\b(?:never|not|hardly|barely)|n't)\b[^,;\d]{0,30}?\b"
NOT_UP_TO = compiled(rf"""
    {_NOT_ONCE}(?:reach\w*|hit|touch\w*|top(?:ped)?|crack\w*|br(?:eak|oke\w*|each\w*)|cross\w*|attain\w*
    |(?:ma[kd]e it|g[eo]t|gone) (?:past|over|above|beyond|up to)|as high as)\s*(?:the )?$
    """)
NOT_DOWN_TO = compiled(rf"""
    {_NOT_ONCE}(?:f[ae]ll\w*|drop\w*|dip\w*|s[iua]nk|sag\w*|c[ao]me down|(?:g[eo]t|go|gone|went) down) (?:down )?to\s*$
    |{_NOT_ONCE}as low as\s*$
    """)
COMPARED_AFTER = compiled(r"""
    \s?(?:or|and) (?:(above|more|higher|better|up|over|greater)|below|less|lower|under)\b
    """)
WITHIN_OF = re.compile(rf"\bwithin {NUMBER}\s?(?:%|[a-z/]+)?(?: [a-z]+)? of (?:the |about )?$")
ABOUT = re.compile(r"(?:\b(?:about|around|approximately|approx\.?|roughly|nearly|almost|close to|near)|[~≈])\s*$")
ABOUT_AFTER = re.compile(r"\s?(?:-?ish\b|or so\b)")
MEAN = re.compile(r"\b(?:mean|average[ds]?|averaging|median)\b")
NO_MEASUREMENT = re.compile(
    r"\b(?:days?|stage|grade|class|type|pod|aged?|step|bed|room|figure|table|hours?)\s*#?$"
    r"|\b(?:by|up|down|lost|gained|(?:drop|fall|rise|increase|decrease|change|gain|loss) of)(?: about| around)?\s*$"
)
DOSE = compiled_words(r"""
    replac\w+|replet\w+|supplement\w*|given|gave|receiv\w+|infus\w+|bolus\w*|kcl|iv|po|oral(?:ly)?|tablets?|doses?
    |administ\w+|added|bags?
    """)
ALL_VALUES = compiled_words(r"""
    remain(?:s|ed|ing)?|stay(?:s|ed|ing)|always|consistently|all|throughout|every|persistently|constantly|kept
    |continuously|uniformly|(?:at|on|in) (?:both|each)|hover(?:s|ed|ing)?
    |(?:whole|entire) (?:time|day|night|stay|shift)
    """)
PERSISTENT = compiled_words(r"""
    persistent(?:ly)?|constant(?:ly)?|continuous(?:ly)?|consistently|always|throughout|remain(?:s|ed|ing)?
    |stay(?:s|ed|ing)|all (?:day|night|along|shift|the time)|at all times
    |(?:whole|entire) (?:time|day|night|stay|shift)
    """)
MOSTLY = compiled_words(r"""
    mostly|mainly|largely|generally|predominantly|for the most part|usually|typically|by and large|on the whole
    |most of the (?:time|day|night|stay|shift)
    |most (?:of )?(?:the |his |her |their )?(?:readings|values|checks|measurements)
    |(?:nearly|almost|virtually|practically) all
    """)
# every single one: "all      were high", with the channel's name blanked
EACH_VALUE = compiled(r"""
    (?P<not>\bnot )?(?<!after )(?<!above )\b(?:all|every|each)(?: single| one)?(?: of)?(?: the| his| her| their| its)?
    (?: (?:recorded|measured|charted|available|\d+|two|three|four|five|six|seven|eight|nine|ten))?
    (?: (?:readings?|values?|checks?|measurements?|occasions?|recordings?|results?|samples?|time points?)\b|(?=\s{3}))
    """)
NEARLY_ALL = re.compile(r"\b(?:nearly|almost|virtually|practically) all\b")
# "no      was normal", with the channel's name blanked
NONE_NORMAL = compiled(rf"""
    \b(?:no|none of(?: the| his| her| their)?)(?:\s{{3,}}| (?:readings?|values?)\b)[^,;]*?(?:{NORMAL.pattern})
    """)
STEADILY = compiled_words(r"""
    steadily|continuously|progressively|monotonically|relentlessly|uninterrupted(?:ly)?|without interruption
    """)
# how a clause calls its number high or low
HIGH_AT = compiled_words(r"(?:abnormally )?high(?! of\b| as\b|er\b|est\b)|elevated|raised|febrile")
LOW_AT = compiled_words(
    r"depressed|(?:abnormally )?low(?! of\b| as\b|er\b|est\b| \d+s\b)"
    r"|reduced(?! (?:to|from)\b)"
)
NORMALIZED = compiled(r"""
    \b(?:fully|completely|entirely) (?:cleared|corrected|recovered)(?! (?:to|from)\b)|
    \bnormali[sz](?:ed|es|ing)\b|\b(?:returns?|returned|back|down|up|fell|rose|dropped|came|improved|decreased|increased
    |recovered|corrected|settled|back) (?:in)?to (?:within )?(?:the )?normal\b
    """)

REFERENCE = re.compile(
    rf"\(?\b(?:normal|reference)(?: range| limits?| interval)?:? ?{NUMBER} ?(?:-|–|to) ?{NUMBER}[^,.;)]*\)?"
)

# trends
OVER_TIME = unfolded(r"""
    (?:over|across|throughout|during|through|along) (?:the )?(?:course|time|stay|entire|whole|icu|hours?|days?
    |admission|observation|period|monitoring)|gradual(?:ly)?|steadi(?:ly|er)|progressive(?:ly)?|continuous(?:ly)?
    |continually|from (?:start|beginning|admission)|toward|by the end|with time|as time|overall|trend\w*|slowly
    |consistently|between the (?:first|beginning|start)|on the whole
    """)
RISING = compiled_words(rf"""
    rising|continu(?:ed|es|ing) to (?:climb|rise|increase|go up|trend up)|(?<!ed )(?<!follow )up(?=\s*(?:$|,))
    |climb(?:s|ing|ed)|increasing|upwards?|ascending|up-?trend(?:ing|ed|s)?
    |trend(?:ed|ing|s)? (?:is |was )?(?:up|higher)
    |(?:go(?:es)?|went|going|c[oa]mes?|coming|drift(?:ed|ing|s)|crept|creeping|edged|moved|heading|headed)
    \s(?:up|higher)
    |(?<=\s\s\s)increased|on the rise|(?:getting|becoming|became|got|grew) (?:higher|faster)
    |rise[sn]?|rose|increase[sd]?(?= .*(?:{OVER_TIME}))|(?<=gradual )increase|mounting|increases?(?= (?:in|of)\b)
    |(?:not|no|did not|n't) increase[sd]?|escalat\w+|growing|grew
    """)
FALLING = compiled_words(rf"""
    falling|continu(?:ed|es|ing) to (?:fall|drop|decrease|decline|go down|trend down)|(?<!ed )down(?=\s*(?:$|,))
    |dropp(?:ed|ing)|drops?|declin(?:e[sd]?|ing)|decreasing|downwards?|descending|down-?trend(?:ing|ed|s)?
    |trend(?:ed|ing|s)? (?:is |was )?(?:down|lower)
    |(?:go(?:es)?|went|going|c[oa]mes?|coming|drift(?:ed|ing|s)|crept|creeping|edged|moved|heading|headed)
    \s(?:down|lower)
    |(?<=\s\s\s)decreased|(?:getting|becoming|became|got|grew) (?:lower|slower)|on the (?:decline|way down)
    |falls?|fell|fallen|sank|sinking|waning|waned|dwindl\w+
    |decrease[sd]?(?= .*(?:{OVER_TIME}))|(?<=gradual )decrease|decreases?(?= (?:in|of)\b)
    |(?:not|no|did not|n't) decrease[sd]?|tapering|tapered|lessen\w*|abating
    """)
STABLE = compiled(r"""
    \b(?:stable|steady|unchanged|constant|flat|plateau\w*|unvarying|level over|unaltered|static|identical
    |much the same)\b
    |\b(?:no|without(?: any| a)?|did not show (?:a|any)|lack(?:s|ed)? (?:a|any)
    |n't show (?:a|any)) (?:(?!up|down|rising|falling|increas|decreas)[\w-]+ ){0,3}?(?:trend|change|drift
    |movement)s?\b(?! (?:up|down))|\b(?:not|n't|never|hardly|scarcely|barely
    |little) (?:(?:significantly|appreciably|materially|really|substantially|meaningfully
    |overall) )?(?:change[sd]?|changing|drift(?:ed)?|move[ds]?
    |trend(?:ed|ing)?(?! up| down| higher| lower| toward))\b
    |\bneither (?:rose|rising|rises|increased|increasing|climb\w+|up)\b.*\bnor\b|\bheld (?:steady|its|constant)
    |\bremained (?:about |much |essentially |roughly |largely )*the same
    """)
# courses of a finding, or towards and away from the usual limits
RESOLVED = compiled_words(r"""
    resol(?:ve[sd]?|ution)|subsided?|abated?|disappear(?:ed)?|went away|broken?
    |corrected(?! (?:\w+ly )?(?:(?:at|to|from|with)\b|by (?!the (?:end|last|final|next)|hour|discharge)))|reversed
    |normali[sz]e[sd]?|settled?(?! (?:at|in|to|from|around|between)\b)
    """)
PERSISTED = compiled_words(r"persist(?:s|ed)?")
IMPROVED = compiled_words(r"""
    improv(?:e[ds]?|ing|ements?)|resolving|recover(?:ed|s|ing|y)?|(?:got|getting|gets|then|now) better|eased
    |cleared?(?! to\b)|clearing
    """)
WORSENED = compiled_words(
    r"intensif\w+|worsen(?:ed|s|ing)?|deteriorat(?:ed|es|ing|ion)|(?:got|getting|gets|then|now) worse"
)
_COURSE = unfolded(r"""
    (?:resol|improv|settle|subsid|abat|normali[sz]|correct|revers|recover|clear|persist|recur|respond|worsen|return
    |ease)
    """)
DENIED_COURSE = compiled(rf"""
    \b(?:did|does|do|has|have|had|was|were|is)?(?: ?not|n't)\b(?= (?:\w+ ){{0,2}}?(?:{_COURSE}|last\b|lasted))
    |\b(?:never|failed to|without|no)\b(?= (?:\w+ )?{_COURSE})
    """)

# measured or not
TAKEN = unfolded(r"""
    (?:measured|recorded|available|charted|documented|obtained|monitored|checked|weighed|assessed|taken|reported
    |tracked|captured|logged|sampled|drawn|performed|provided|entered|given|present in|found in|part of|tested
    |collected|noted|registered|followed|observed)
    """)
UNMEASURED = compiled(rf"""
    \b(?:not|never|n't|neither|nor)(?: \w+)?? (?:been )?{TAKEN}\b|n't (?:been )?{TAKEN}
    |\bun(?:measured|available|recorded|documented|known|charted|monitored)\b|\bmissing\b|\black(?:s|ed|ing)\b
    |\b(?:no|without(?: any)?|absence of|absent|zero)\b[^,]*?\b(?:measurements?|data|values?|readings?
    |recordings?|records?|entries|entry|information|results?|observations?|samples?|figures?|monitoring
    |determinations?|series)\b|\bno\b[^,]*?\b{TAKEN}\b|\babsent from\b|\bnot in the (?:record|data|series)
    |\bdata gap|\bomitted\b|\bnowhere\b|\bnone\b[^,]*?\b{TAKEN}\b|\bempty\b|\bno \S*\s*$|\bnot (?:part|among)\b
    |\bdoes not (?:include|contain|appear|exist)
    |\b(?:did|does|do|could|can|was|were|is|are) ?n(?:o|')t (?:undergo|have|include|contain|appear)
    """)
MEASURED = compiled(rf"""
    \b{TAKEN}\b|\bexists?\b|\bavailable\b|\b(?:measurements?|values?|readings?|data) (?:are|were|is|was|exist)
    |\bwe have\b|\bappears?\b|\bhas (?:values|measurements|data|readings)\b|\bcontains?\b|\bincludes?\b
    """)


def cut(clause: str, match: re.Match) -> str:
    """Blank a match in a clause."""
    return clause[: match.start()] + " " * len(match[0]) + clause[match.end() :]


def blank(match: re.Match) -> str:
    """Return spaces of the length of a match, for `re.sub`."""
    return " " * len(match[0])
