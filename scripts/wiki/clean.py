"""Clean labels: one spelling, no titles, no artifacts, limited length."""

import re
import unicodedata

MAX_OBJECT_WORDS, MAX_SUBJECT_WORDS = 5, 14
MAX_PROMPT, MAX_ANSWER = 180, 48  # characters; with T5's vocabulary below 64 and 24 pieces

# The non-ASCII letters in T5's vocabulary; any other would become <unk>.
SPELLED = frozenset("ÉÎÜßàáâäçèéêîóôöùûüăşţșț")
UNDECOMPOSED = str.maketrans(
    {
        "Ø": "O",
        "ø": "o",
        "Đ": "D",
        "đ": "d",
        "ð": "d",
        "Ł": "L",
        "ł": "l",
        "ı": "i",
        "æ": "ae",
        "Æ": "Ae",
        "ə": "a",
        "þ": "th",
        "Þ": "Th",
        "ħ": "h",
        "ß": "ss",
        "œ": "oe",
    }
)

QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-"})
STRIPPED = re.compile(r"^(Caretaker Prime Minister|Emperor|H\.E\.) ")
# Titles and remains of the Factbook's text in names. Such keys are dropped, since an
# ambassador-designate or a president-elect does not hold the office yet.
TITLE = re.compile(
    r"(?i)design|\belect\b|-elect|charg|\bvacan|\bit is\b|\bmission\b|envoy|appointed|previously"
    r"|counsel|council|assembly|commissioner|director|\bmayor|\bminister|\bacting|\binterim"
    r"|\bpresident\b|\bking\b|\bqueen\b|\bgeneral\b|\bgen\.|\bdr\b|\bsir\b|\bchair\b|vice-marshal"
    r"|d'aff|\bmann\b|nuncio|spelled|head of|leader|swiss conf"
)
MISCAST = re.compile(r"[a-z][A-Z]{2,}|[A-Z]{4,}")  # "Joko WiDODO", "NTSHINGAIsmail"
ODD = re.compile(r"[\"()\[\]{}<>\\^~`:;*_=]|\s[.,]|-$|--|\?")
ALIASES = {  # second spellings of the same person in the Factbook
    "Furqat Sidikov": "Furqat Siddiqov",
    "Magzhan Ilyassov": "Magzhan Ilyasov",
    "Joko WiDODO": "Joko Widodo",
}


def spell(text: str) -> str:
    """Normalize spaces and quotes; letters outside T5's vocabulary become plain ones."""
    text = " ".join(unicodedata.normalize("NFC", text).translate(QUOTES).split())
    if all(c.isascii() or c in SPELLED for c in text):
        return text
    folded = unicodedata.normalize("NFKD", text.translate(UNDECOMPOSED))
    return "".join(c for c in folded if c.isascii())


COUNTRIES = {  # labels of the Factbook that are incomplete or need an article
    "DRC": "the Democratic Republic of the Congo",
    "Congo": "the Republic of the Congo",
    "The Dominican": "the Dominican Republic",
    "The Bahamas": "the Bahamas",
    "The Gambia": "the Gambia",
    "Cocos": "the Cocos Islands",
    **{
        name: f"the {name}"
        for name in (
            "British Virgin Islands",
            "Cayman Islands",
            "Central African Republic",
            "Cook Islands",
            "Falkland Islands",
            "Faroe Islands",
            "Federated States of Micronesia",
            "Holy See",
            "Isle of Man",
            "Maldives",
            "Marshall Islands",
            "Netherlands",
            "Northern Mariana Islands",
            "Philippines",
            "Pitcairn Islands",
            "Solomon Islands",
            "Turks and Caicos Islands",
            "United Arab Emirates",
            "United Kingdom",
            "United States",
        )
    },
}


def name(text: str) -> str:
    """Normalize an object's label and strip known prefixes."""
    text = STRIPPED.sub("", spell(text))
    return ALIASES.get(text, text)


def same(first: str, second: str) -> bool:
    """Whether two labels differ only in accents, case or punctuation."""
    return _bare(first) == _bare(second)


def _bare(text: str) -> str:
    ascii_ = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9.&+]", "", ascii_.casefold())


def is_plain_name(text: str) -> bool:
    """Whether a name from running text has no title and no stray capitals."""
    return not TITLE.search(text) and not MISCAST.search(text)


def fits(subject: str, objects: tuple[str, ...], wordings: tuple[str, ...]) -> bool:
    """Whether a fact fits the limits, is clean, and its subject does not contain the object."""
    low = subject.casefold()
    return (
        bool(subject)
        and len(subject.split()) <= MAX_SUBJECT_WORDS
        and not re.search(r"[\"\[\]{}<>\\^~`]|\s[.,]", subject)
        and all(len(w.replace("[X]", subject)) <= MAX_PROMPT for w in wordings)
        and all(_fits_object(low, o) for o in objects)
    )


def _fits_object(low_subject: str, text: str) -> bool:
    low = text.casefold()
    return (
        bool(low)
        and len(text) <= MAX_ANSWER
        and len(text.split()) <= MAX_OBJECT_WORDS
        and not ODD.search(text)
        and low not in low_subject
        and low_subject not in low
    )
