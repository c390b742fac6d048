"""The order of images within an epoch, over processes and restarts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data import sampler as sampling
from BYOL.data.sampler import EpochSampler


def requests(sampler: EpochSampler) -> list[tuple[int, list[int]]]:
    return [(epoch, ids.tolist()) for epoch, ids in sampler]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_an_epoch_contains_every_image_at_most_once(n, batch, accumulate, seed):
    sampler = EpochSampler(n, batch, accumulate=accumulate, seed=seed)
    passed = requests(sampler)
    assert len(passed) == len(sampler) == n // (batch * accumulate) * accumulate
    shown = [i for _, ids in passed for i in ids]
    assert len(set(shown)) == len(shown) and all(0 <= i < n for i in shown)


def test_every_pass_is_the_next_epoch_with_a_new_order():
    sampler = EpochSampler(32, 8, seed=3)
    first, second = requests(sampler), requests(sampler)
    assert {e for e, _ in first} == {0} and {e for e, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    sampler.set_epoch(0)
    assert requests(sampler) == first


def test_a_restart_within_an_epoch_resumes_at_its_batch():
    whole = requests(EpochSampler(50, 4, seed=1, start_epoch=2))
    rest = EpochSampler(50, 4, seed=1, start_epoch=2, start_batch=5)
    assert requests(rest) == whole[5:]
    assert len(requests(rest)) == len(whole)  # only the first pass is shorter


def test_processes_divide_the_batch_of_a_single_process(monkeypatch):
    alone = requests(EpochSampler(40, 8, seed=1))
    shares = []
    for rank in range(4):
        monkeypatch.setattr(sampling, "rank_and_world", lambda rank=rank: (rank, 4))
        shares.append(requests(EpochSampler(40, 2, seed=1)))
    for k, (_, ids) in enumerate(alone):
        assert sorted(i for share in shares for i in share[k][1]) == sorted(ids)


def test_accumulated_micro_batches_form_one_batch():
    whole = requests(EpochSampler(40, 8, seed=1))
    parts = requests(EpochSampler(40, 4, accumulate=2, seed=1))
    assert [a + b for (_, a), (_, b) in zip(parts[::2], parts[1::2], strict=True)] == [
        ids for _, ids in whole
    ]
