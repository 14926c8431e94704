"""Candidates in a list: which are free, and copies with more of them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from nasplug.candidates.listed import ListedCandidates
from nasplug.candidates.scoring import Scoring
from nasplug.sampling.sampler import PredictorSampler
from nasplug.search_spaces import space

NB201 = space("nb201")


def listed(count: int) -> ListedCandidates:
    """The first cells of NAS-Bench-201, with their counts."""
    scoring = Scoring(NB201, ("flops", "params"), None, (), 1, "cifar10", {})
    return ListedCandidates(scoring, list(itertools.islice(NB201, count)), whole=True)  # type: ignore[call-overload]


def test_a_held_id_takes_all_of_its_spellings_and_a_held_text_itself() -> None:
    made = listed(200)
    group = int(np.argmax(np.bincount(made.group)))
    members = np.flatnonzero(made.group == group)
    assert len(members) > 1
    every, first = np.arange(len(made)), made.architectures[members[0]]
    assert np.flatnonzero(~made.free(every, {first.arch_id}, True)).tolist() == members.tolist()
    taken = made.free(members, {first.text, "no architecture"}, False)
    assert taken.tolist() == [False] + [True] * (len(members) - 1)
    assert made.free(every, set(), True).all()


def test_a_copy_has_more_and_the_original_stays() -> None:
    made = listed(40)
    new = next(arch for arch in listed(400).architectures if made.find(arch) is None)
    copy = made.extended([new])
    assert (len(made), len(copy)) == (40, 41)
    assert made.find(new) is None
    assert copy.find(new) == 40
    assert not copy.free(np.array([40]), {new.arch_id}, True)[0]
    assert copy.ids[: len(made.ids)] == made.ids
    assert np.array_equal(copy.means(["flops"])[:40], made.means(["flops"]))


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        ("latency<=8ms", r"a predicted \d"),
        ("latency<=1s", ""),
        ("params<=30M", ""),
    ],
)
def test_a_limit_says_where_wide_intervals_leave_much_out(limit: str, kept: str) -> None:
    sampler = PredictorSampler(
        "gpt:s", "H100", limit, objectives=["perplexity", "latency"], seed=0, pool_size=80
    )
    notes = [note for note in sampler.candidates.notes() if "keeps networks of a" in note]
    assert len(notes) == bool(kept)
    assert all(re.search(kept, note) for note in notes)
