"""Trees of the lowest known passes, and groups of symmetries."""

import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from some_networks import X, Y, two_neurons

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.minima.graph_symmetry import SymmetryGroup, apply, compose, inverse, symmetry_group
from gdjax.minima.landscape_graph import EdgeKind, graph
from gdjax.minima.symmetry import apply_symmetry, random_symmetry

KEY = jax.random.key(0)
FLIP = np.array([-1.0, 1.0])
SWAP_AND_FLIP = (lambda p: (p[0][::-1], p[1][::-1]), lambda p: (p[0] * FLIP, p[1] * FLIP))


def tanh_network(width, decay=0.01):
    network = gd.problems.Network((1, width, 1), activation="tanh", output_activation="identity")

    def cost(params, batch):
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.mean((network.apply(params, batch[0]) - batch[1]) ** 2) + decay * squares

    return gd.Problem(network.init, cost, data=(X[:, None], Y[:, None]), network=network)


def elements_of(group, n):
    """Return all elements of a small group, by multiplying generators."""
    known = {tuple(range(2 * n)): np.arange(2 * n)}
    while True:
        products = [compose(e, g) for e in known.values() for g in group.generators]
        new = {tuple(p.tolist()): p for p in products if tuple(p.tolist()) not in known}
        if not new:
            return list(known.values())
        known |= new


@pytest.fixture(scope="module")
def two_neuron_graph():
    start = np.array([[0.98, 1.2]]), np.array([[0.79, -0.32]])
    start = gd.curvature.polish(two_neurons, jax.tree.map(lambda leaf: leaf[0], start)).params
    start = jax.tree.map(lambda leaf: np.asarray(leaf)[None], start)
    return graph(two_neurons, start, key=KEY, symmetries=SWAP_AND_FLIP)


@pytest.mark.long
def test_two_tanh_neurons_have_eight_then_four_then_one_component(two_neuron_graph):
    tree = two_neuron_graph
    assert tree.group_order == 8
    assert tree.images.values.tolist() == [8]
    np.testing.assert_allclose(tree.minimum_cost, [0.12139699], atol=1e-8)
    np.testing.assert_allclose(tree.saddle_cost, [0.13362625, 0.14542870], atol=1e-8)
    np.testing.assert_allclose(tree.lowest, [-0.123502, -0.034591], atol=1e-6)
    assert tree.saddle_images.values.tolist() == [4, 4]
    assert tree.components.values.ravel().tolist() == [4, 1]
    assert np.all(tree.merge_kind == EdgeKind.SADDLE)
    assert np.all(tree["index"] == 1)
    np.testing.assert_allclose(tree.merge_height, tree.saddle_cost)
    # The first saddle has a dead neuron, the second two equal ones.
    w, v = tree["saddle_params.0"].values, tree["saddle_params.1"].values
    np.testing.assert_allclose(np.min(np.abs(w[0]) + np.abs(v[0])), 0, atol=1e-8)
    np.testing.assert_allclose(np.abs([w[1, 0], v[1, 0]]), np.abs([w[1, 1], v[1, 1]]), atol=1e-8)


@pytest.mark.long
def test_heights_are_equal_for_equivalent_networks():
    problem, network = tanh_network(3), tanh_network(3).network
    keys = jax.random.split(KEY, 40)
    starts = jax.vmap(lambda key: network.init(key, init_scale=2.0))(keys)
    census = gd.minima.count_minima(problem, starts, key=KEY)
    points = gd.params_of(census, jax.eval_shape(problem.init, KEY), {})
    moved = jax.vmap(
        lambda params, key: apply_symmetry(network, params, random_symmetry(network, key=key))
    )(points, jax.random.split(jax.random.key(5), census.sizes["minimum"]))
    first, second = (
        graph(problem, p, key=jax.random.key(k)) for k, p in enumerate((points, moved))
    )
    assert first.group_order == 48
    assert first.excluded_symmetries == 0
    assert first.sizes["merge"] > 1
    for name in ("minimum_cost", "merge_height"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-10)
    for name in ("images", "components", "part"):
        assert first[name].values.tolist() == second[name].values.tolist()
    assert np.sum(graph(problem, census, key=KEY, max_searches=0).share) == pytest.approx(1)


@pytest.mark.long
def test_without_saddles_minima_merge_on_paths_only():
    points = np.array([[-1.0, 0.0], [1.0, 0.0]])
    hill = lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2 + 1) ** 2  # noqa: E731
    only = graph(hill, points, key=KEY, max_searches=0)
    assert EdgeKind.SADDLE not in only.merge_kind.values
    np.testing.assert_allclose(only.merge_height, [2])
    found = graph(hill, points, key=KEY)
    assert found.merge_kind.values.tolist() == [EdgeKind.SADDLE]
    np.testing.assert_allclose(found.merge_height, [1])


def test_the_group_of_a_network_excludes_what_changes_its_cost():
    for activation, order in (("tanh", 48), ("sigmoid", 6)):
        network = gd.problems.Network(
            (2, 3, 1), activation=activation, output_activation="identity"
        )

        def cost(params, network=network):
            output = network.apply(params, jnp.array([[0.2, 0.7]]))
            return jnp.sum(output**2) + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

        problem = gd.Problem(network.init, cost, network=network)
        with jax.enable_x64(True):
            group, excluded = symmetry_group(problem, network.init(KEY), None, key=KEY)
        assert (group.order, excluded) == (order, 0)
    with pytest.raises(InputError, match="changes the cost at random parameters"):
        graph(lambda w: w @ w + w[0], np.zeros((1, 2)), key=KEY, symmetries=[lambda w: -w])
    with pytest.raises(InputError, match="no permutation"):
        graph(lambda w: w @ w, np.zeros((1, 2)), key=KEY, symmetries=[lambda w: 2 * w])


def test_groups_agree_with_the_list_of_their_elements():
    n, random = 6, np.random.default_rng(0)
    swap = np.array([1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11])  # of neurons (0, 3) and (1, 4)
    rotate = np.array([1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9])
    flip = np.array([6, 1, 2, 9, 4, 5, 0, 7, 8, 3, 10, 11])
    group = SymmetryGroup(n, [swap, rotate, flip])
    elements = elements_of(group, n)
    assert group.order == len(elements) == 48
    assert all(element in group for element in elements)
    assert np.array([*range(6, 12), *range(6)]) in group  # all signs
    assert np.array([1, 0, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11]) not in group
    w = random.normal(size=n)
    for element, other in itertools.islice(zip(elements, reversed(elements), strict=True), 10):
        image = apply(element, w)
        assert np.array_equal(group.find(w, image, 1e-9), element)
        np.testing.assert_array_equal(apply(inverse(element), image), w)
        np.testing.assert_array_equal(apply(compose(element, other), w), apply(other, image))
    assert group.find(w, w + 1, 1e-9) is None
    # A dead neuron and two equal ones leave a group of 2 times 2.
    symmetric = np.array([0.0, 1.0, 1.0, 0.0, 2.0, 2.0])
    fixing = [e for e in elements if np.array_equal(apply(e, symmetric), symmetric)]
    stabilizer = group.stabilizer(symmetric, 1e-9)
    assert stabilizer.order == len(fixing) == 4
    projection = np.mean([apply(e, np.eye(n)) for e in fixing], axis=0)
    np.testing.assert_allclose(stabilizer.fixed_space(), projection, atol=1e-12)


def test_without_sympy_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sympy.combinatorics", None)
    with pytest.raises(InputError, match=r"pip install 'gdjax\[graphs\]'"):
        graph(lambda w: w @ w, np.zeros((1, 2)), key=KEY, symmetries=[lambda w: -w])


@pytest.mark.long
def test_a_graph_is_exported_to_networkx(two_neuron_graph):
    exported = gd.pages.export.networkx(two_neuron_graph)
    assert exported.nodes[0]["images"] == 8
    kinds = [kind for *_, kind in exported.edges(data="kind")]
    assert kinds == ["saddle", "saddle", "line", "line"]
    with pytest.raises(InputError, match=r"expected the result of gd.minima.graph"):
        gd.pages.export.networkx(two_neuron_graph.assign_attrs(result="census"))
