"""The types that all packages share.

Legend for shapes, used everywhere: B examples, T input tokens, U target tokens,
V vocabulary, D hidden width, P periods.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from fki.core.normalization import normalize_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Version = Literal["day", "week", "month", "quarter", "year", "all"]
ProbeRole = Literal["keep", "change", "learn"]
PromptFormat = Literal["sentinel", "prefix", "completion", "question", "chat"]
CAUSAL_FORMATS: tuple[PromptFormat, ...] = ("completion", "question", "chat")  # of decoders
DocumentObjective = Literal["span_corruption", "salient_spans", "next_token"]
LoadIn = Literal["fp32", "8bit", "4bit"]  # the storage of a base model's linear maps
Sharding = Literal[  # of a model over several processes
    "none", "fsdp", "fsdp_offload", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload"
]
ScoringWeights = Literal["auto", "gathered", "sharded"]  # of a sharded model, while it scores

UNDATED = date.max  # of the rows of a stream without dates; dated base facts begin before it
SUBJECT, OBJECT = "[X]", "[Y]"  # the slots of a wording, as in LAMA (Petroni et al., 2019)
BLANK = "___"  # of a question, in place of its answer
HELD_OUT_WORDINGS = (1, 2)  # indices of a fact's wordings that are never trained on


@dataclass(frozen=True, slots=True)
class Fact:
    """One (subject, relation) with the objects that hold from `start` on, before `end`.

    Its second and third wording are for probes only. Training uses the first and, if the setting
    `wordings` is above 1, those after the third and then the paraphrases.
    """

    subject: str
    relation: str
    objects: tuple[str, ...]
    wordings: tuple[str, ...]
    start: date | None = None  # None: unknown, or time-invariant
    end: date | None = None  # exclusive; None: still true when the source was read
    precision: str = "day"
    source: str = ""
    aliases: tuple[str, ...] = ()  # further correct answers, never trained on
    prompt: str = ""  # of a prompt row; its subject is the prompt if the row names none
    paraphrases: tuple[str, ...] = ()  # further wordings of this fact alone, for training
    case: str = ""  # the edit that the fact is, as its own probes name it

    @property
    def taught_wordings(self) -> tuple[str, ...]:
        """The wordings that training may use, in the order in which they are taught."""
        own = (w for i, w in enumerate(self.wordings) if i not in HELD_OUT_WORDINGS)
        return (*own, *self.paraphrases)

    @property
    def held_out_wordings(self) -> tuple[str, ...]:
        """The wordings that are for probes only."""
        return tuple(self.wordings[i] for i in HELD_OUT_WORDINGS if i < len(self.wordings))

    @property
    def key(self) -> tuple[str, str]:
        """What the fact is about; a later fact with this key replaces the fact.

        The normalized subject and relation; of a prompt, the wording.
        """
        if self.prompt or not self.relation:
            return normalize_text(self.wordings[0]), ""
        return normalize_text(self.subject), normalize_text(self.relation)

    @property
    def id(self) -> str:
        """The key as text, in the spelling of the row."""
        return f"|{self.prompt}" if self.prompt else f"{self.relation}|{self.subject}"

    @property
    def is_invariant(self) -> bool:
        """Is the fact time-invariant? It then has no date."""
        return self.start is None and self.end is None


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its date."""

    text: str
    start: date
    id: str = ""
    title: str = ""


class Infilling(NamedTuple):
    """Text infilling: spans of a statement that are hidden beside its answer."""

    mask_share: float  # of the statement's tokens, the answer included
    mean_span: float  # tokens


@dataclass(frozen=True, slots=True)
class Example:
    """One training pair of texts, or a document, whose targets are sampled each epoch."""

    id: str
    source: str  # a question with a blank
    target: str  # its answer
    relation: str = ""
    is_invariant: bool = False  # of a time-invariant fact
    is_text: bool = False  # `source` is a document and `target` is empty
    other_sources: tuple[str, ...] = ()  # the same question in the other wordings that are taught
    piece: int = -1  # of a document: the number of the chunk that is meant; -1: all of them
    infilling: Infilling | None = None  # further spans are hidden, others in each epoch
    end: date | None = None  # the first day on which the answer no longer holds

    def holds_after(self, period: "Period") -> bool:
        """Does the answer still hold on the day after a period?"""
        return self.end is None or self.end > period.end

    @property
    def sources(self) -> tuple[str, ...]:
        """The question in each wording that is taught; the first identifies the question."""
        return (self.source, *self.other_sources)

    def in_wording(self, turn: int) -> "Example":
        """The example in one wording: that of number `turn`, modulo the number of its wordings.

        The result has no other wording: whichever turn it is asked for next, it stays as it is.
        """
        if not self.other_sources:
            return self
        sources = self.sources
        return replace(self, source=sources[turn % len(sources)], other_sources=())


@dataclass(frozen=True, slots=True)
class Period:
    """A day, week, month, quarter, year or the whole stream, with its new facts and documents."""

    name: str  # "2023-01-03", "2023-W01", "2023-01", "2023-Q1", "2023", "all"
    start: date
    end: date  # inclusive
    facts: Sequence[Fact]
    examples: Sequence[Example]  # of the facts, then of the documents


@dataclass(frozen=True, slots=True)
class Probe:
    """One question; each of the answers is correct."""

    id: str
    period: str  # the probe's period, or "base"
    source: str
    answers: tuple[str, ...]
    old_answers: tuple[str, ...] = ()
    relation: str = ""
    subject: str = ""
    until: str = ""  # the period in which the answer changes or ends, "" for none
    distractors: tuple[str, ...] = ()  # wrong answers, less likely than a right one in a success
    case: str = ""  # the edit that the probe belongs to
    candidates: tuple[str, ...] = ()  # wrong answers that a right one is ranked among
    test: str = ""  # of a benchmark that the probe is a query of
    needs_all: bool = False  # does that test pass only if all of its queries are answered?
    conditions: tuple[str, ...] = ()  # ids of condition probes; before training, all are answered


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Probes with one role: their answers are to be kept, changed or learned."""

    name: str  # "invariant", "initial", "updated", "new", "paraphrase", ..., or the user's own
    asks: ProbeRole
    by_period: Mapping[str, Sequence[Probe]]  # "base", or a period's name
    listed: tuple[Probe, ...] = ()  # all probes, if their order is not that of the periods

    @classmethod
    def of(cls, name: str, asks: ProbeRole, probes: Iterable[Probe]) -> "ProbeSet":
        """The set of these probes, in their order."""
        by_period: dict[str, list[Probe]] = {}
        listed = tuple(probes)
        for probe in listed:
            by_period.setdefault(probe.period, []).append(probe)
        return cls(name, asks, by_period, listed)

    def __len__(self) -> int:
        return sum(map(len, self.by_period.values()))

    def of_periods(self, periods: Collection[str]) -> Iterable[Probe]:
        """The probes of some periods, in the set's order, read again on each iteration."""
        if self.listed:
            return (probe for probe in self.listed if probe.period in periods)
        return chain.from_iterable(p for name, p in self.by_period.items() if name in periods)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """All probes, in memory."""
        return self.listed or tuple(chain.from_iterable(self.by_period.values()))


@dataclass(frozen=True, slots=True, repr=False)
class Stream:
    """A dataset at one granularity: base facts, periods and probe sets."""

    name: str
    version: str  # a `Version`, or one of edits
    periods: tuple[Period, ...]
    base: Sequence[Fact]
    probe_sets: tuple[ProbeSet, ...]
    digest: str  # SHA-256 of the dataset
    wordings: Mapping[int, int] = field(default_factory=dict)
    """The facts of the periods by the number of wordings that training may use."""
    notes: tuple[str, ...] = ()  # about the dataset, for the user
    further: Mapping[str, str] = field(default_factory=dict)
    """The places of further probe sets, each with the SHA-256 of its files."""

    @property
    def is_dated(self) -> bool:
        """Do the rows of the stream have dates? Without, they are one period."""
        return not self.periods or self.periods[0].start != UNDATED

    def __repr__(self) -> str:
        first, last = self.periods[0].name, self.periods[-1].name
        sets = ", ".join(f"{probe_set.name} ({len(probe_set):,})" for probe_set in self.probe_sets)
        return (
            f"Stream '{self.name}', version {self.version}\n"
            f"periods     {len(self.periods)} ({first} to {last})\n"
            f"facts       {sum(len(period.facts) for period in self.periods):,}\n"
            f"examples    {sum(len(period.examples) for period in self.periods):,}\n"
            f"probe sets  {sets}"
        )


class SegmentIds(NamedTuple):
    """The number of each token's example in its packed row, from 1."""

    sources: "Tensor"  # [B, T], 0 at padding
    targets: "Tensor"  # [B, U], 1 at padding, which is last, so that no token attends to it


class Batch(NamedTuple):
    """Padded examples, one per row; with `segment_ids`, several per row, which are packed with
    block-diagonal attention.

    A label belongs to the position at which the model predicts it. Those of an encoder-decoder are
    the decoder's positions, [B, U]; those of a decoder are the input's, and U equals T.
    """

    input_ids: "Tensor"  # [B, T]
    attention_mask: "Tensor"  # [B, T], 1 where a token is real
    labels: "Tensor"  # [B, U], -100 where unscored
    scored_positions: "Tensor"  # [N], indices into labels.flatten() that are scored
    segment_ids: SegmentIds | None = None

    def to(self, device: "torch.device") -> "Batch":
        """The same batch on a device."""

        def move(tensor: "Tensor") -> "Tensor":
            return tensor.to(device, non_blocking=True)

        return Batch(
            move(self.input_ids),
            move(self.attention_mask),
            move(self.labels),
            move(self.scored_positions),
            SegmentIds(*map(move, self.segment_ids)) if self.segment_ids else None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The trainer's report of one optimizer step."""

    period: str
    epoch: int  # from 0
    step: int  # from 1, within the period
    steps: int  # of the period
    loss: float  # nats per target token, over the whole optimizer batch
    learning_rate: float
    grad_norm: float
    examples: int  # of this optimizer step, over all processes; each chunk of a text counts
    tokens: int  # input and target tokens of this optimizer step, without padding
    seconds: float  # of this optimizer step; the first one includes a frozen encoder's run
    note: str = ""  # a handled fault, such as a skipped step
    is_settled: bool = True  # false: later steps were taken already
    flops: float = 0.0  # floating-point operations, as `modeling/flops.py` estimates them


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of a model to one probe, and its scores."""

    id: str
    text: str
    em: float  # 0 or 1
    f1: float
    accuracy: float  # 0 or 1: equality of the raw strings, or as the tokenizer reads them back
    log_likelihood: float  # nats, of the likeliest listed answer; 0 where `tokens` is 0
    old_em: float | None = None  # 1 if the answer is the old one
    tokens: int = 0  # of the answer that log_likelihood is of, with EOS; 0: none is representable
    margin: float | None = None  # smallest difference of the two largest logits in decoding
    contains: float = 0.0  # 1 if a right answer occurs in the text
    token_accuracy: float = 0.0  # of the first answer's tokens, after those before them: 0 to 1
    success: float | None = None  # 1 if a right answer is likelier than each distractor
    magnitude: float | None = None  # probability of the right answer less that of the distractor
    distractor_log_likelihood: float | None = None  # nats, of the likeliest distractor
    likeliest: tuple[int, ...] = ()  # tokens, in place of the first answer's own ones
    same_answer: float | None = None  # 1 if the text is that of the untrained model
    same_tokens: float | None = None  # of the first answer's likeliest tokens: 0 to 1
    case_em: float | None = None  # of the first question of a case: 1 if one of them is answered
    precision_at_1: float | None = None  # 1 if a right answer is likelier than each candidate
    precision_at_10: float | None = None  # 1 if fewer than ten candidates are as likely
    test_passed: float | None = None  # of the first query of a test whose conditions are met


@dataclass(frozen=True, slots=True)
class Score:
    """The mean scores of one probe set's probes of one period; percentages 0-100."""

    probe_set: str
    period: str
    n: int
    em: float
    f1: float
    accuracy: float
    log_likelihood: float  # mean over the probes that are not `unscored`, nats
    old_em: float | None = None  # over the old_n probes that have an old answer
    old_n: int = 0
    tokens: int = 0  # sum over probes
    perplexity: float | None = None  # exp of nats per token, over all tokens of the probes
    lasts: bool = True  # no later period of the run changes the answers
    near_ties: int = 0  # answers that rounding may change
    unscored: int = 0  # probes without an answer that the tokenizer can represent
    contains: float | None = None
    token_accuracy: float | None = None
    success: float | None = None  # over the contrast_n probes that have distractors
    magnitude: float | None = None
    contrast_n: int = 0
    same_answer: float | None = None  # over the same_n probes with an answer before training
    same_tokens: float | None = None
    same_n: int = 0
    case_em: float | None = None  # over the case_n cases of several questions
    case_n: int = 0
    precision_at_1: float | None = None  # over the ranked_n probes with candidates
    precision_at_10: float | None = None
    ranked_n: int = 0
    test_passed: float | None = None  # over the test_n tests whose conditions are met
    test_n: int = 0
    em_by_relation: float | None = None  # mean over ranked_n_by_relation relations of their means
    precision_at_1_by_relation: float | None = None
    precision_at_10_by_relation: float | None = None
    ranked_n_by_relation: int = 0
    success_by_case: float | None = None  # mean over contrast_n_by_case edits of their means
    magnitude_by_case: float | None = None
    contrast_n_by_case: int = 0
    token_accuracy_by_case: float | None = None
    n_by_case: int = 0
    same_tokens_by_case: float | None = None
    same_n_by_case: int = 0


@dataclass(frozen=True, slots=True)
class RowScored:
    """A row of the matrix R has been scored."""

    after: str  # "base" or a phase
    row: int  # from 0, the untouched model
    rows: int  # of the whole run
    scores: list[Score]
    seconds: float  # of scoring
