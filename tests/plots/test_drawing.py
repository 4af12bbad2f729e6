"""One call draws what a result is for, and says what it expects where there is nothing to draw."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from plane_of_a_bowl import SIDE, plane

from gdjax.drawing import plot
from gdjax.errors import InputError
from gdjax.geometry.quadrature import density
from gdjax.geometry.spectrum import extremes
from gdjax.plots.sweeps import Setting

RATES = np.geomspace(0.01, 1, 4)


def swept(**axes):
    """What a sweep returns, with costs that tell which run they are of."""
    shape = tuple(len(values) for values in axes.values())
    cost = 1.0 + np.arange(np.prod(shape) * 3, dtype=float).reshape(*shape, 3)[..., ::-1]
    outcome = xr.Variable(
        tuple(axes), np.zeros(shape, np.int8), {"flag_meanings": "descending dead diverged"}
    )
    return xr.Dataset(
        {"cost": ((*axes, "step"), cost), "outcome": outcome}, {**axes, "step": [0, 10, 20]}
    )


def drawn(result):
    figure = plot(result)
    figure.canvas.draw()
    return figure


def test_a_sweep_over_seeds_shows_every_run_and_their_median():
    axes = drawn(swept(seed=np.arange(3))).axes[0]
    assert [line.get_label() for line in axes.lines][-1] == "median"
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), [6, 5, 4])
    assert axes.get_title(loc="left") == "3 runs end at a cost of 1 to 7"


def test_a_sweep_over_one_setting_shows_how_its_runs_end():
    runs = swept(learning_rate=RATES, seed=np.arange(2), data_seed=np.arange(2))
    figure = drawn(runs)
    assert figure.axes[0].get_xscale() == "log"
    assert (
        figure.axes[0].get_title(loc="left") == "Lowest median training cost at learning rate 0.01"
    )
    dots = figure.axes[0].lines[-1]
    np.testing.assert_array_equal(np.sort(dots.get_ydata()), 1.0 + 3 * np.arange(16))


def test_names_on_an_axis_are_written_below_it():
    figure = drawn(swept(rule=np.array(["sgd", "adam"]), seed=np.arange(2)))
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["sgd", "adam"]


def test_a_sweep_over_two_settings_is_a_map_with_its_lowest_place():
    figure = drawn(swept(learning_rate=RATES, momentum=np.array([0.0, 0.9]), seed=np.arange(3)))
    assert figure.axes[0].get_title(loc="left") == "Lowest at learning rate 0.01, momentum 0"
    assert figure.axes[0].get_ylabel() == "learning rate"


def test_more_settings_than_there_is_room_for_are_refused_with_a_remedy():
    runs = swept(a=RATES, b=RATES, c=RATES)
    with pytest.raises(InputError, match=r"a, b, c, and a picture has room for two.*sel\(c="):
        plot(runs)


def test_problems_that_were_compared_stand_beside_each_other():
    narrow = swept(learning_rate=RATES, seed=np.arange(2))
    tree = xr.DataTree.from_dict({"narrow": narrow, "wide": narrow.assign(cost=narrow.cost / 2)})
    figure = drawn(tree)
    assert figure.axes[0].get_title(loc="left") == "Lowest median: wide"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "narrow",
        "wide",
    ]


@pytest.mark.parametrize("result", [plane(), plane().isel(b=4), plane(path=True)])
def test_slices_are_drawn_as_what_they_are(result):
    figure = drawn(result)
    label = "distance from the point, in the space of all parameters"
    expected = "first way" if "b" in result.dims else label
    assert figure.axes[0].get_xlabel() == expected
    if "b" in result.dims:
        np.testing.assert_allclose(figure.axes[0].get_xlim(), SIDE[[0, -1]])


def test_a_spectrum_is_drawn_with_all_its_signs():
    def saddle(w):
        return w[0] ** 2 - 3 * w[1] ** 2

    pairs = extremes(saddle, jnp.ones(2), key=jax.random.key(0), largest=1, smallest=1)
    assert drawn(pairs).axes[0].get_title(loc="left") == "Eigenvalues: -6 to 2"
    spread = drawn(density(saddle, jnp.ones(2), key=jax.random.key(0)))
    assert spread.axes[0].get_xlim()[0] < -6


def test_a_notebook_shows_a_figure_that_pyplot_never_saw():
    picture, size = drawn(plane())._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert size["width"] < 600


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"x": 1}, "of type dict"),
        (xr.Dataset({"weight": 1}), "a Dataset of weight"),
        (SimpleNamespace(sizes={}), "of type SimpleNamespace"),
        (plane().expand_dims(c=2), "the cost is over c, a, b"),
    ],
)
def test_what_cannot_be_drawn_is_told(result, told):
    with pytest.raises(InputError, match=told):
        plot(result)


def test_a_setting_is_shown_by_factors_only_where_it_grows_by_factors():
    assert Setting("learning_rate", RATES).log
    assert not Setting("momentum", np.array([0.0, 0.5, 0.9])).log
    assert not Setting("width", np.array([1.0, 2.0, 3.0])).log
