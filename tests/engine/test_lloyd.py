import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from sklearn_sprites._engine.training.lloyd import (
    CHUNK,
    PLATEAU,
    explained,
    from_a_sample,
    kmeans,
    lloyd,
    look,
    look_again,
    means,
    plus_plus,
    squared_distances,
)
from tests.strategies import attack, draws


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@attack
@given(draws, st.integers(1, 9), st.integers(1, 5), st.integers(1, 6))
def test_squared_distances_equal_their_definition(make, n, k, d):
    points, centers = make.normal(n, d), make.normal(k, d)
    expected = torch.stack([((points - c) ** 2).sum(1) for c in centers], 1)
    found = squared_distances(points, centers)
    torch.testing.assert_close(found, expected)
    assert (squared_distances(points, points) >= 0).all()


@attack
@given(draws, st.integers(1, 9), st.integers(1, 5))
def test_means_equal_their_definition_and_empty_clusters_stay(make, n, k):
    points, centers = make.normal(n, 3), make.normal(k, 3)
    labels = torch.randint(k, (n,), generator=make.generator)
    sums = torch.zeros(k, 3).to(points).index_add_(0, labels, points)
    found = means(sums, labels, centers)
    for j in range(k):
        mine = points[labels == j]
        torch.testing.assert_close(found[j], mine.mean(0) if len(mine) else centers[j])


@attack
@given(draws, st.integers(1, 9), st.integers(1, 5), st.sampled_from([0, CHUNK]))
def test_one_reading_gives_labels_distances_and_sums(make, n, k, more):
    points, centers = make.normal(n + more, 3), make.normal(k, 3)
    found = look(points, points.square().sum(1), centers)
    distances = squared_distances(points, centers).sqrt()
    torch.testing.assert_close(found.upper, distances.amin(1), rtol=0, atol=1e-6)
    own = distances.gather(1, found.labels[:, None])
    torch.testing.assert_close(own[:, 0], found.upper, rtol=0, atol=1e-6)
    others = distances.scatter(1, found.labels[:, None], torch.inf).amin(1)
    torch.testing.assert_close(found.lower, others, rtol=0, atol=1e-6)
    for j in range(k):
        torch.testing.assert_close(found.sums[j], points[found.labels == j].sum(0))


@attack
@given(draws, st.integers(20, 200), st.integers(1, 6), st.floats(0, 0.3))
def test_bounds_spare_looks_and_change_nothing(make, n, k, far):
    centers = 3 * make.normal(k, 3)
    points = centers[torch.arange(n) % k] + make.normal(n, 3)
    norms = points.square().sum(1)
    state = look(points, norms, centers)
    for _ in range(3):
        moved = centers + far * make.normal(k, 3)
        shift = (moved - centers).norm(dim=1)
        state, centers = look_again(state, points, norms, moved, shift), moved
        expected = look(points, norms, centers)
        assert torch.equal(state.labels, expected.labels)
        torch.testing.assert_close(state.sums, expected.sums, rtol=1e-9, atol=1e-9)
        assert (state.upper >= expected.upper - 1e-6).all()
        assert (state.lower <= expected.lower + 1e-6).all()


def test_a_sample_is_a_start_that_is_hardly_improved():
    points = torch.from_numpy(load_digits().data).float() / 16
    seeds = plus_plus(points, 4, seeded())
    start = from_a_sample(points, seeds, seeded(), 100)
    done = lloyd(points, start)
    least, first, before = (
        float(squared_distances(points, centers).amin(1).sum())
        for centers in (done.centers, start, seeds)
    )
    assert first - least < 0.2 * (before - least)
    assert done.n_iter < lloyd(points, seeds).n_iter
    few = points[:20]
    assert torch.equal(from_a_sample(few, few[:3], seeded(), 100), few[:3])


def test_the_same_start_leads_where_scikit_learn_goes():
    points = load_digits().data.astype(np.float32) / 16
    start = points[np.random.default_rng(0).choice(len(points), 10, replace=False)]
    theirs = KMeans(10, init=start, n_init=1).fit(points)
    ours = lloyd(torch.from_numpy(points), torch.from_numpy(start))
    assert adjusted_rand_score(theirs.labels_, ours.labels.numpy()) >= 0.99
    assert float(ours.errors.sum()) == pytest.approx(theirs.inertia_, rel=0.01)
    assert ours.converged


@attack
@given(draws, st.integers(2, 40), st.integers(1, 5))
def test_what_means_explain_and_the_inertia_are_all_there_is(make, n, k):
    points, labels = make.normal(n, 3), torch.arange(n) * 7 % k
    sums = torch.zeros(k, 3).to(points).index_add(0, labels, points)
    around = means(sums, labels, torch.zeros(k, 3).to(points))[labels]
    inertia = float((points - around).square().sum())
    total = float(points.square().sum())
    assert explained(sums, labels) + inertia == pytest.approx(total)


def test_a_plateau_ends_a_run_after_the_first_pass_that_gains_less():
    points = torch.from_numpy(load_digits().data).float() / 16
    start = plus_plus(points, 10, seeded())
    whole = lloyd(points, start, tol=0)
    inertias = []
    for i in range(1, whole.n_iter):
        labels = lloyd(points, start, max_iter=i, tol=0).labels
        parts = [points[labels == k] for k in range(10)]
        inertias.append(sum(float((p - p.mean(0)).square().sum()) for p in parts))
    gains = -np.diff(inertias) / inertias[1:]
    for share in (1e-3, 3e-4):
        found = lloyd(points, start, tol=0, plateau=share)
        enough = 2 + int(np.argmax(gains < share))  # passes, and one that uses the last
        assert found.converged
        assert found.n_iter == enough + 1 < whole.n_iter
    assert lloyd(points, start, tol=0, plateau=PLATEAU).n_iter <= whole.n_iter


@attack
@given(draws, st.integers(2, 30), st.integers(1, 4))
def test_labels_are_the_nearest_centers_and_every_cluster_has_points(make, n, k):
    k = min(k, n)
    points = make.normal(n, 2)
    found = lloyd(points, points[:k].clone())
    distances = squared_distances(points, found.centers)
    torch.testing.assert_close(found.errors, distances.amin(1))
    assert torch.equal(found.labels, distances.argmin(1))
    assert found.n_iter >= 1


def test_more_iterations_are_never_worse():
    points = torch.from_numpy(load_digits().data).float()
    runs = [lloyd(points, points[:10], max_iter=i) for i in (1, 2, 4, 100)]
    errors = [float(run.errors.sum()) for run in runs]
    assert errors == sorted(errors, reverse=True)
    assert [run.n_iter for run in runs[:3]] == [1, 2, 4]
    assert not runs[0].converged


@pytest.mark.parametrize("k", [1, 3, 5])
def test_i7_fewer_distinct_points_than_centers_end_without_nan(k):
    points = torch.tensor([[0.0, 0], [1, 1]]).repeat(4, 1)
    found = kmeans(points, k, seeded())
    assert found.centers.isfinite().all()
    assert float(found.errors.sum()) == pytest.approx(0 if k > 1 else 4)


def test_seeds_are_points_far_apart_decided_by_the_generator_alone():
    blobs = torch.tensor([[0.0, 0], [100, 0], [0, 100]]).repeat_interleave(50, 0)
    points = blobs + torch.randn(150, 2, generator=seeded())
    before = torch.get_rng_state()
    found = plus_plus(points, 3, seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found, plus_plus(points, 3, seeded(1)))
    assert squared_distances(found, points).amin(1).max() < 1e-2
    nearest = squared_distances(found, blobs[[0, 50, 100]]).argmin(1)
    assert sorted(nearest.tolist()) == [0, 1, 2]


def test_the_best_of_several_runs_is_kept():
    points = torch.from_numpy(load_digits().data).float()
    one = kmeans(points, 10, seeded(3), n_init=1)
    many = kmeans(points, 10, seeded(3), n_init=5)
    assert many.errors.sum() <= one.errors.sum()
