"""The order of an epoch: shuffles and seeds depend only on their arguments."""

from fki.training.batching import derive_seed, shuffle_indices


def test_a_shuffle_is_a_permutation() -> None:
    assert sorted(shuffle_indices(50, 1)) == list(range(50))
    assert shuffle_indices(50, 1) == shuffle_indices(50, 1) != shuffle_indices(50, 2)
    assert shuffle_indices(0, 1) == []


def test_derived_seeds_tell_their_parts_apart() -> None:
    seeds = {derive_seed(s, *p) for s in (0, 1) for p in (("a", 1), ("a", 2), ("b", 1), ())}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
