"""The pages in a browser: real clicks, drags and keys, and numbers that are those of gdjax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from browsing import PHONE, SECONDS, Visit
from pictured import HOSTILE, census, plane, sweep

import gdjax as gd
from gdjax.problems.functions import FUNCTIONS


@pytest.fixture(scope="module")
def pages(tmp_path_factory, tiny_lesson):
    folder = tmp_path_factory.mktemp("pages")
    planes = {HOSTILE: plane(), "without a way": plane()[["cost"]]}
    explorer = gd.explore(sweep(HOSTILE), planes=planes, minima=census(), name=HOSTILE)
    return {
        "explore": explorer.save(folder / "explore.html"),
        "lesson": gd.lesson(*tiny_lesson).save(folder / "lesson.html"),
    }


@pytest.fixture(scope="module")
def explorer(browser, pages):
    return Visit(browser, pages["explore"])


@pytest.fixture(scope="module")
def lesson(browser, pages):
    return Visit(browser, pages["lesson"])


def test_the_first_picture_is_there_soon_and_hostile_text_is_text(explorer):
    assert explorer.processor_seconds() < SECONDS
    assert explorer.page.evaluate("() => window.broken") is None
    assert explorer.page.locator("img").count() == 0
    assert HOSTILE in explorer.text("#lead")
    assert explorer.text("#measure option") == HOSTILE
    assert explorer.text("#title") == "24 descents"


def test_a_cell_shows_its_runs_by_click_and_by_key(explorer):
    explorer.page.select_option("#measure", "0")
    explorer.click("#map", 0.9, 0.12)  # the largest rate, the last seed
    assert explorer.text("#runs-told") == "learning rate 10, seed 3: 2 diverged."
    assert explorer.page.locator("#curve-cost path[stroke='#b3420a']").count() == 1
    explorer.keys("#map", *["ArrowLeft"] * 3, *["ArrowDown"] * 4, "Enter")
    assert explorer.text("#runs-told").startswith("learning rate 0.1, seed 0: 1 ")
    explorer.keys("#map", "ArrowRight", "Shift+Enter")
    assert explorer.text("#runs-told").startswith("seed 0: 3 not converged")
    explorer.page.mouse.move(*explorer.place("#map", 0.9, 0.12))
    hint = explorer.text(".tip")
    assert "learning rate 10" in hint
    assert "median of 2 runs: ∞" in hint


def test_axes_sliders_and_time_choose_what_the_map_shows(explorer):
    explorer.keys("#time", "End")
    before = explorer.picture("#map")
    explorer.keys("#time", "Home")
    assert explorer.text("#time-told") == "0"
    assert explorer.picture("#map") != before
    explorer.keys("#time", "End")
    assert explorer.picture("#map") == before
    explorer.keys("#others input", "End")
    assert explorer.text("#others strong") == "0.9"
    assert "median" not in explorer.text("#map-caption")
    explorer.page.select_option("#axis-y", "2")
    assert "seed" in explorer.text("#others")
    explorer.page.select_option("#axis-y", "1")


def test_a_brushed_range_says_where_its_runs_lie(explorer):
    cost = "#strips figure:nth-child(1) canvas"
    explorer.drag(cost, (0.93, 0.3), (0.999, 0.3))  # what is infinite lies at the right end
    assert "2 of 24 runs are in the brushed range" in explorer.text("#runs-told")
    explorer.keys(cost, "Escape")
    assert "brushed" not in explorer.text("#runs-told")
    explorer.keys(cost, "ArrowLeft", "Shift+ArrowRight")
    assert "brushed" in explorer.text("#runs-told")


def test_a_landscape_turns_and_its_descent_is_scrubbed(explorer):
    pictures = [explorer.picture("#surface")]
    explorer.drag("#surface", (0.5, 0.5), (0.7, 0.4))
    pictures.append(explorer.picture("#surface"))
    explorer.keys("#surface", "ArrowLeft", "+")
    pictures.append(explorer.picture("#surface"))
    explorer.keys("#moment", "Home")
    pictures.append(explorer.picture("#surface"))
    assert len(set(pictures)) == 4
    assert "At step 0 the descent costs 5.1, its place in the plane 3.84" in explorer.text(
        "#landscape-told"
    )
    explorer.page.select_option("#plane", "1")
    assert "descent" not in explorer.text("#landscape-told")


def test_between_two_minima_stands_their_barrier(explorer):
    explorer.click("#minima-rows tr:nth-child(1) button")
    explorer.click("#minima-rows tr:nth-child(3) button")
    expected = "the cost rises by 1.5, after matching by 0.75. They are 4 apart"
    assert expected in explorer.text("#minima-told")
    explorer.keys("#minima-map", "ArrowRight", "Enter")
    assert "the cost rises by 2.5, after matching by 1.25" in explorer.text("#minima-told")
    # Minimum 0 lies at the lower left corner of the triangle.
    x, y = explorer.page.evaluate(
        "() => { const box = byId('minima-map').getBoundingClientRect();"
        "const unit = Math.min((box.width - 110) / 3, (box.height - 90) / 4);"
        "return [0.5 - (1.5 * unit) / box.width, 0.5 + (2 * unit) / box.height]; }"
    )
    explorer.click("#minima-map", x, y)
    assert "the cost rises by 0.5" in explorer.text("#minima-told")


def test_slopes_of_the_test_functions_are_those_of_gdjax(explorer):
    known = {name: f for name, f in FUNCTIONS.items() if len(f.domain) == 2}
    assert explorer.page.evaluate("() => Object.keys(PLANES)") == list(known)
    share = np.random.default_rng(0).random((20, 2))
    with jax.enable_x64(True):
        for name, function in known.items():
            low, high = np.array(function.domain).T
            at = low + share * (high - low)
            value, slope = jax.jit(jax.vmap(jax.value_and_grad(function.f)))(jnp.asarray(at))
            told = explorer.page.evaluate(
                "([name, at]) => { const {f, slope} = PLANES[name];"
                "return at.map(([x, y]) => [f(x, y), ...slope(x, y)]); }",
                [name, at.tolist()],
            )
            np.testing.assert_allclose(
                told, np.column_stack([value, slope]), rtol=1e-11, atol=1e-11, err_msg=name
            )


@pytest.mark.parametrize(("name", "momentum"), [("himmelblau", 0.0), ("six_hump_camel", 0.9)])
def test_a_click_starts_a_descent_whose_steps_are_ours(explorer, name, momentum):
    explorer.page.select_option("#function", name)
    explorer.keys("#momentum", *(["End", *["ArrowLeft"] * 9] if momentum else ["Home"]))
    assert explorer.text("#momentum-told") == (str(momentum) if momentum else "none")
    explorer.click("#plane-map", 0.62, 0.37)
    told = explorer.page.evaluate(
        "() => { const rate = 10 ** Number(byId('rate').value);"
        "const start = tried.start(); return {rate, start, path: tried.found().path}}"
    )
    assert len(told["path"]) == 151
    with jax.enable_x64(True):
        run = gd.descend(
            gd.problems.function(name),
            optax.sgd(told["rate"], momentum=momentum or None),
            jnp.asarray(told["start"]),
            150,
            key=jax.random.key(0),
            snapshot_every=1,
        )
    np.testing.assert_allclose(told["path"], run.snapshots, rtol=0, atol=1e-9)
    assert "a minimum of cost" in explorer.text("#descent-told")
    explorer.keys("#plane-map", "ArrowUp")
    assert explorer.page.evaluate("() => tried.start()") != told["start"]
    explorer.keys("#rate", "End")
    assert "flies away" in explorer.text("#descent-told")


def test_the_explorer_bears_inspection(explorer):
    explorer.bears_inspection()


def test_the_network_of_the_page_is_ours_at_every_stage(lesson, tiny_lesson):
    problem, run = tiny_lesson
    images, labels = (np.asarray(a)[:100] for a in problem.measures["test_accuracy"].data)
    stages = lesson.page.evaluate("() => Array.from(DATA.step)")
    told = np.array(
        lesson.page.evaluate(
            """() => stages().map(({params}) => Array.from({length: 100}, (_, i) => {
              const pixels = DATA.images.subarray(784 * i, 784 * (i + 1));
              return Array.from(forward(layersOf(params, DATA.widths), pixels)[3]);
            }))"""
        )
    )
    kept = np.searchsorted(run.snapshot_step, stages)
    params = jax.tree.map(lambda leaf: leaf[kept], run.snapshots)
    ours = jax.jit(jax.vmap(problem.predict, (0, None)))(params, jnp.asarray(images))
    np.testing.assert_allclose(told, ours, rtol=0, atol=1e-5)
    assert np.sum(told[-1].argmax(1) == labels) == np.sum(np.argmax(ours[-1], 1) == labels) > 60
    # And through the page itself, digit by digit.
    answers = lesson.page.evaluate(
        """() => Array.from({length: 100}, () => {
          byId("next").click();
          return [byId("example-told").textContent, byId("answer").textContent];
        })"""
    )
    right = sum("That is right" in answer for _, answer in answers)
    assert right == np.sum(np.argmax(ours[-1], 1) == labels)
    assert answers[-1][0] == f"Test digit 1 of 100, a {labels[0]}."


def test_the_slopes_of_a_digit_are_ours(lesson, tiny_lesson):
    problem, run = tiny_lesson
    told = lesson.page.evaluate(
        """() => {
          const layers = layersOf(stages()[10].params, DATA.widths);
          return Array.from(gradient(layers, forward(layers, DATA.images.subarray(0, 784)), 3));
        }"""
    )
    step = lesson.page.evaluate("() => stages()[10].step")
    params = jax.tree.map(lambda leaf: leaf[list(run.snapshot_step).index(step)], run.snapshots)
    image = np.asarray(problem.measures["test_accuracy"].data[0])[:1]
    ours = jax.jit(jax.grad(problem.cost))(params, (jnp.asarray(image), jnp.array([3])))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(ours)])
    np.testing.assert_allclose(told, flat, rtol=1e-4, atol=1e-5 * np.abs(flat).max())


def test_digits_are_drawn_by_hand_and_by_key(lesson):
    lesson.click("#clear")
    assert lesson.text("#answer").startswith("Draw a digit")
    lesson.drag("#pad", (0.5, 0.15), (0.5, 0.85))
    assert lesson.text("#example-told") == "Your drawing."
    by_hand = lesson.text("#answer")
    assert by_hand.startswith("The network reads")
    pixels = lesson.page.evaluate("() => Array.from(drawnPixels())")
    box = np.argwhere(np.reshape(pixels, (28, 28)) > 60)
    assert box[:, 0].max() - box[:, 0].min() + 1 in (19, 20)  # as tall as the data set's digits
    assert abs(box.mean(0) - 13.5).max() < 1
    lesson.click("#clear")
    lesson.keys("#pad", " ", *["ArrowUp"] * 24, " ")  # from where the hand left off
    assert lesson.text("#answer")[:19] == by_hand[:19]


def arc(x, y, width, height, begin, end):
    """Points of a part of an ellipse, in half turns."""
    turn = np.pi * np.linspace(begin, end, 9)
    return [*zip(x + width * np.cos(turn), y + height * np.sin(turn), strict=True)]


STROKES = {
    0: [arc(0.5, 0.5, 0.22, 0.34, -0.5, 1.5)],
    1: [[(0.5, 0.15), (0.5, 0.85)]],
    2: [[*arc(0.5, 0.33, 0.2, 0.18, -1, 0.1), (0.3, 0.82), (0.74, 0.82)]],
    3: [arc(0.48, 0.32, 0.18, 0.16, -0.8, 0.5) + arc(0.48, 0.66, 0.2, 0.18, -0.5, 0.8)],
    4: [[(0.35, 0.2), (0.3, 0.55), (0.7, 0.55)], [(0.64, 0.18), (0.6, 0.85)]],
    6: [[(0.6, 0.15), (0.4, 0.4), (0.33, 0.65), *arc(0.5, 0.67, 0.17, 0.17, 1, 3)]],
    7: [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]],
    9: [[*arc(0.5, 0.35, 0.17, 0.17, 0, 2), (0.67, 0.35), (0.62, 0.85)]],
}


@pytest.mark.long
def test_digits_that_are_drawn_are_read(lesson):
    """Only here is a whole digit drawn; the network is a young one."""
    lesson.keys("#stage", "End")
    read = []
    for digit, strokes in STROKES.items():
        lesson.click("#clear")
        for stroke in strokes:
            lesson.drag("#pad", *stroke)
        read.append(f"reads {digit}" in lesson.text("#answer"))
    assert sum(read) >= 6


def test_stages_run_from_random_to_trained(lesson):
    lesson.keys("#stage", "Home")
    assert lesson.text("#stage-told").startswith("Before the first step: random numbers.")
    random = lesson.picture("#network")
    lesson.click("#cost", 0.97, 0.5)
    assert "After 400 steps" in lesson.text("#stage-told")
    assert lesson.picture("#network") != random


def test_a_step_for_one_digit_lowers_its_cost(lesson):
    def cost():
        return float(lesson.text("#matter-told").split(" is ")[1].split(". ")[0])

    lesson.keys("#stage", "Home")
    lesson.page.select_option("#target", "5")
    before = cost()
    lesson.click("#nudge")
    assert cost() < before
    assert lesson.text("#matter-told").startswith("After 1 step for this digit alone")
    assert "13,002 numbers" in lesson.text("#matter-told")
    assert lesson.page.locator("#matter tbody tr").count() == 8 + 3


def test_after_a_step_the_numbers_are_those_of_the_network_that_is_shown(lesson, tiny_lesson):
    problem, run = tiny_lesson
    images, labels = (np.asarray(a)[:100] for a in problem.measures["test_accuracy"].data)
    lesson.keys("#stage", "End")
    lesson.page.select_option("#target", "5")
    lesson.keys("#nudge-rate", "End")
    before = {name: lesson.text(name) for name in ("#stage-told", "#answer", "#matter-told")}
    network = lesson.picture("#network")
    shown = lesson.page.evaluate("() => Array.from(drawnPixels())")
    lesson.click("#nudge")
    gradient = jax.jit(jax.grad(problem.cost))
    one = (jnp.asarray([shown], jnp.uint8), jnp.array([5]))
    stepped = jax.tree.map(lambda w, g: w - 10 * g, run.params, gradient(run.params, one))
    outputs = np.asarray(problem.predict(stepped, images))
    right = int(np.sum(outputs.argmax(1) == labels))
    cost = np.mean(np.sum((outputs - np.eye(10)[labels]) ** 2, axis=1))
    told = lesson.text("#stage-told")
    assert told.startswith("After 400 steps and 1 step for one digit alone.")
    assert f"{right} of the 100 test digits in this page" in told
    assert f"cost {cost:.3g}" in told
    assert "1,000" not in told
    lesson.click("#nudge")
    assert "and 2 steps" in lesson.text("#stage-told")
    lesson.click("#undo")
    assert lesson.text("#stage-told") == told
    lesson.click("#undo")
    assert {name: lesson.text(name) for name in before} == before
    assert lesson.picture("#network") == network
    assert lesson.page.is_disabled("#undo")


def test_how_sure_the_network_is_stands_on_an_absolute_scale(lesson, tiny_lesson):
    problem, run = tiny_lesson
    lesson.page.evaluate("() => byId('next').click()")
    unsure = 0
    for stage in range(int(lesson.page.get_attribute("#stage", "max")) + 1):
        lesson.page.evaluate(
            """(at) => {
              byId("stage").value = at;
              byId("stage").dispatchEvent(new Event("input"));
            }""",
            stage,
        )
        step, image = lesson.page.evaluate(
            "(at) => [stages()[at].step, Array.from(drawnPixels())]", stage
        )
        kept = list(run.snapshot_step).index(step)
        params = jax.tree.map(lambda leaf, at=kept: leaf[at], run.snapshots)
        outputs = np.asarray(problem.predict(params, np.array([image], np.uint8)))[0]
        first, second = np.argsort(-outputs)[:2]
        told = lesson.text("#answer")
        assert told.startswith(f"The network reads {first}: output {100 * outputs[first]:.1f} %")
        assert f"then {second} with {100 * outputs[second]:.1f} %" in told
        assert ("No output reaches 50 %" in told) == (outputs[first] < 0.5)
        unsure += outputs[first] < 0.5
    assert 0 < unsure < stage


def test_noise_is_called_noise(lesson, tiny_lesson):
    problem, run = tiny_lesson
    lesson.keys("#stage", "End")
    images = []
    for _ in range(3):
        lesson.click("#noise")
        images.append(lesson.page.evaluate("() => Array.from(drawnPixels())"))
        assert (
            lesson.text("#example-told") == "Noise: every pixel is drawn at random. It is no digit."
        )
        outputs = np.asarray(problem.predict(run.params, np.array(images[-1:], np.uint8)))[0]
        assert f"output {100 * outputs.max():.1f} %" in lesson.text("#answer")
    assert len({tuple(image) for image in images}) == 3
    assert np.mean(images) == pytest.approx(127.5, abs=10)
    lesson.click("#next")
    assert lesson.text("#example-told").startswith("Test digit 1 ")


def test_neurons_are_counted_from_0_and_active_ones_are_dark(lesson):
    names = lesson.page.evaluate(
        """() => {
          const layers = layersOf(stages()[0].params, DATA.widths);
          const second = layers[1].begin;
          return [0, second, second + 256].map((at) => parameterName(layers, at));
        }"""
    )
    assert names == [
        "weight from pixel (0, 0) to neuron 0 of hidden layer 1",
        "weight from neuron 0 of hidden layer 1 to neuron 0 of hidden layer 2",
        "bias of neuron 0 of hidden layer 2",
    ]
    assert "the darker the more active" in " ".join(lesson.text("#network + figcaption").split())


def test_the_ball_goes_against_the_slope(lesson):
    def at():
        return lesson.page.evaluate("() => ball.x()")

    lesson.click("#ball canvas", 0.5, 0.3)
    start = at()
    lesson.keys("#ball canvas", "ArrowRight", "ArrowRight")
    assert at() > start
    x, rate = at(), lesson.page.evaluate("() => 10 ** Number(byId('ball-rate').value)")
    lesson.click("#ball-step")
    assert at() == pytest.approx(x - rate * (4 * x**3 - 8 * x + 1), abs=1e-12)
    lesson.click("#ball-roll")
    lesson.page.wait_for_function("() => ball.steps() > 3")
    lesson.click("#ball-roll")


def test_the_lesson_bears_inspection(lesson):
    assert lesson.processor_seconds() < 60 * SECONDS  # of all these tests; it does not spin
    lesson.bears_inspection()


@pytest.mark.parametrize("name", ["explore", "lesson"])
def test_on_a_phone_nothing_sticks_out(browser, pages, name):
    visit = Visit(browser, pages[name], PHONE)
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert visit.complaints == []
    target = {"explore": "#map", "lesson": "#next"}[name]
    visit.page.touchscreen.tap(*visit.place(target, 0.5, 0.4))
    told = {"explore": "#runs-told", "lesson": "#example-told"}[name]
    assert "Click a cell" not in visit.text(told)
    assert visit.text(told) != "Test digit 1 of 100, a 7."
