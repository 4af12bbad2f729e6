"""Invalid calls of public functions and invalid command lines.

A row contains a call or command and the text that its error names, usually the argument. In a call
with `VALUE`, the third element lists the invalid values that replace it, separated by commas (in a
command by spaces). In other rows, it is a part of the expected message, which is checked once for
each class of error.
A call or command with `KEYWORD` is followed by invalid keyword arguments or options, each of which
its error names.

Calls use the variables that `prepare` defines, among them `bowl` and `net` (problems), `w` and `v`
(their parameters), `ax` and `grid` (axes), `spec` (a `Sweep` of the bowl), `runs` (its Dataset),
`store` (its store), `at` (a run of it), `own` (a store of a user-defined problem), `with_state` (a
store of `counted`, whose cost has a model state), `damaged` (a store with a flipped bit), `folder`
(an empty folder), `flat` (a direction) and `masked` (an array with a masked entry).
"""

RESERVED = "'params.x', 'carry.step', 'snapshots.a'"
DETERMINISTIC = (
    "gd.curvature.value_and_gradient, gd.curvature.gradient_summary, gd.curvature.polish"
)
RANDOM = (
    "gd.curvature.extreme_eigenpairs, gd.curvature.hessian_trace, "
    "gd.curvature.spectral_density, gd.curvature.classify"
)
"""Functions of a cost and its parameters, without and with random numbers."""
SMALL = "--learning-rate 0.1 --seed 0 --widths 2 --num-steps 2 --record-every 2 --out out"
"""Arguments of a fast sweep, in case an invalid value is accepted; written SMALL in commands."""

CALLS = (
    # Axes
    ("gd.axes()", "axes", "axes: no axes; pass at least one, such as seed=range(8)"),
    (
        "gd.axes(learning_rate=VALUE)",
        "learning_rate",
        "[], [nan], [0.1, inf], [0.1, 0.1], 0.1, None, 'abc', {'a': 1}, [[0.1]], [0.1, 'a'], "
        "(0.1, 'a'), [1j]",
    ),
    ("gd.axes(seed=VALUE)", "seed", "[-1], [0.5], [2**32], range(10**7 + 1)"),
    ("gd.axes(batch_size=VALUE)", "batch_size", "[0], [1.5]"),
    ("gd.axes(step=[1])", "step"),
    ("gd.axes(p=gd.zip_axes(a=[1, 2, 1], b=[0.5, 3, 0.5]))", "b"),
    ("gd.axes(a=gd.zip_axes(b=[1.0]), p=gd.zip_axes(a=[1.0]))", "a"),
    ("gd.axes(x=VALUE)", "x", "numpy.array([2**63], 'uint64'), [2**63 + 1, 1], masked"),
    (
        "gd.axes(**{VALUE: [1.0]})",
        "is not a valid name",
        "'', ' a', 'a ', 'a.', '.a', '__a', 'a/b', 'a\\\\b', 'a:b', 'a\\nb', 'a\\x1b', "
        "'zarr.json', 'ZARR.json', 'AUX', 'nul.txt', 'com1', 'x' * 201, 'ü' * 101",
    ),
    ("gd.zip_axes()", "zip_axes"),
    ("gd.zip_axes(learning_rate=[0.1, 0.2], seed=[0])", "seed"),
    ("gd.zip_axes(learning_rate=0.1)", "learning_rate"),
    ("gd.axes(pair=gd.zip_axes(seed=[0]), seed=[1])", "seed"),
    # Searches
    ("gd.search.successive_halving(bowl, [4])", "sweep", "expected gd.Sweep(problem, axes"),
    ("gd.search.successive_halving(gd.Sweep(bowl, 3, 8), [4])", "axes"),
    ("gd.search.successive_halving(spec, VALUE)", "rungs", "4, '12', [4, 1], [4, 6.0], [4, 60]"),
    ("gd.search.successive_halving(gd.Sweep(bowl, ax, 9, record_every=3), [4])", "rungs"),
    (
        "gd.search.successive_halving(gd.Sweep(bowl, ax, 8, stop_when_converged=True), [4])",
        "stop_when_converged",
    ),
    ("gd.search.successive_halving(gd.Sweep(bowl, gd.axes(rung=zipped), 8), [4])", "rung"),
    (
        "gd.search.successive_halving(spec, [4], KEYWORD)",
        "reduction_factor=1, reduction_factor=2.5, metric='accuracy', direction='up', store=3, "
        "num_brackets=4, median_over='depth'",
    ),
    (
        "gd.search.successive_halving(spec, [4], reduction_factor=None, num_brackets=2)",
        "num_brackets",
    ),
    # Trials of a study
    ("gd.search.optimize(bowl, 3, 4)", "sweep"),
    ("gd.search.optimize(spec, 3, 0)", "num_trials"),
    ("gd.search.optimize(spec, 3, 4)", "study"),
    ("gd.search.optimize(spec, gd.search.to_study(runs), 9, direction='maximize')", "study"),
    ("gd.search.optimize(spec, gd.search.to_study(runs), 9, space={'momentum': 3})", "momentum"),
    (
        "gd.search.optimize(spec, 3, 4, KEYWORD)",
        "batch=0, diverged='nan', rungs='12', metric='accuracy'",
    ),
    ("gd.search.to_study(runs, 'accuracy')", "metric"),
    ("gd.search.to_study(runs, KEYWORD)", "direction='up', diverged='nan', study=3"),
    ("gd.export.arviz(3)", "result"),
    # Tuning curves and numbers of seeds
    ("gd.tuning_curve(3)", "runs"),
    ("gd.tuning_curve(damaged)", "cost"),
    ("gd.tuning_curve(runs, VALUE)", "metric", "'accuracy', zeros(2)"),
    (
        "gd.tuning_curve(runs, KEYWORD)",
        "trials=2, trials=[3], trials=['a'], by='seed', by=[[]], direction=1, worst_value='a', "
        "level=95",
    ),
    ("gd.statistics.seeds_needed(VALUE, 1)", "difference", "0, 1e-9, nan, 'a'"),
    ("gd.statistics.seeds_needed(1, -1)", "standard_deviation"),
    ("gd.statistics.seeds_needed(1, 1, KEYWORD)", "level=0, power=1"),
    # Problems
    ("gd.Problem(init=None, cost=lambda w: w)", "init"),
    ("gd.Problem(init=lambda key: 0.0, cost=3)", "cost"),
    (
        "gd.Problem(init=zero, cost=same, KEYWORD)",
        "data=3, metrics=3, metrics={'a': 3}, baseline='x', baseline=inf, baseline=-inf, "
        "couples_samples='x', evaluation=3, network=3, provenance=3",
    ),
    (
        "gd.Problem(init=zero, cost=mean, data=VALUE)",
        "data",
        "(zeros(3), zeros(4)), zeros((0, 2)), ['a', 'b'], [[1.0], [2.0]]",
    ),
    ("gd.Problem(init=zero, cost=same, evaluation=lambda w, *, key: w)", "key"),
    ("gd.Metric(None)", "function"),
    (
        "gd.Metric(lambda w, d: w, KEYWORD)",
        "every=0, every=1.5, dims='ab', dims=('a', 'a'), dtype='text', units=3, long_name=['a']",
    ),
    ("gd.problems.bowl(VALUE)", "eigenvalues", "[], 'abc', [nan]"),
    ("gd.problems.bowl([1.0, 2.0], KEYWORD)", "minimum=[1], basis=[[1]], basis=[[1, 1], [1, 1]]"),
    ("gd.problems.from_function('rosenbrok')", "rosenbrok"),
    ("gd.problems.from_function(3)", "name"),
    ("gd.problems.from_function('himmelblau', domain=[1.0])", "domain"),
    ("gd.problems.from_function(lambda w: w[0])", "domain"),
    ("gd.problems.digits('mnis5k')", "mnis5k"),
    (
        "gd.problems.digits(KEYWORD)",
        "widths=(0,), widths=16, widths=(1.5,), activation='swish', initializer='zeros', "
        "loss='hinge', samples=0, samples=10 ** 9, distortion={'twist': 2}, distortion=3",
    ),
    ("gd.problems.from_function(jnp.sum, VALUE)", "domain", "(2, -2), ((1, 2), (3,))"),
    ("gd.problems.Distortion(KEYWORD)", "copies=101, max_rotation=nan"),
    ("gd.problems.few_digits(samples=9, first=3999)", "first"),
    ("gd.problems.Network((3, 2), KEYWORD)", "input_scale=0, activation='x'"),
    ("gd.problems.few_digits(KEYWORD)", "samples=-1, decay='x', widths=3"),
    ("gd.problems.supervised(init, apply, loss, VALUE)", "data", "None, (zeros((3, 2)),)"),
    ("gd.problems.supervised(init, apply, 'mse', data)", "loss"),
    ("gd.problems.supervised(init, 3, loss, data)", "apply"),
    ("gd.problems.supervised(None, apply, loss, data)", "init"),
    ("gd.problems.supervised(init, apply, loss, data, test=3)", "test"),
    ("gd.problems.Network((3,))", "widths"),
    ("gd.problems.decayed(network, data, -1.0)", "decay"),
    ("gd.problems.decayed(net, data, 1.0)", "network"),
    (
        "gd.problems.check_problem(gd.Problem(zero, VALUE, jnp.arange(20.0)), w)",
        "cost",
        "lambda w, x: (w[0] + x) ** 2, lambda w, x: (w[0], x), lambda w, x: None, lambda w: w[0], "
        "lambda w, x: w[0] + 0j, lambda w, x: jnp.sum(w > 0), lambda w, x: jnp.all(w > 0), "
        "lambda w, x: jnp.sum(w[0] - x), lambda w, x: jnp.max(w[0] - x), "
        "lambda w, x: jnp.var(w[0] * x)",
    ),
    (
        "gd.problems.check_problem(gd.Problem(zero, summed.cost, jnp.ones(2)), w[0])",
        "cost",
        "expected a mean over the batch",
    ),
    (
        "gd.problems.check_problem(gd.Problem(zero, mean, zeros(3), evaluation=VALUE), w[0])",
        "evaluation",
        "lambda w, x: w * jnp.size(x), lambda w, x: x",
    ),
    (
        "gd.problems.check_problem(gd.Problem(zero, lambda w, *, state: w), w[0])",
        "give state a default",
    ),
    (
        "gd.problems.check_problem(gd.Problem(counted.init, VALUE), w)",
        "model_state",
        "lambda w, *, model_state: w[0], lambda w, *, model_state: (w[0], zeros(2)), "
        "lambda w, *, model_state: (w[0], {'mean': model_state})",
    ),
    ("gd.Problem(zero, counted.cost).begin(key)", "model_state"),
    (
        "gd.problems.check_problem(gd.Problem(zero, lambda p: p['w'][0]), {'a': [VALUE], 'w': w})",
        "params['a'][0]",
        "jnp.array([1, 2]), 3, True, 1 + 2j, key, jnp.tanh, 'relu'",
    ),
    (
        "gd.problems.check_problem(bowl, {'count': numpy.uint32(3)})",
        "params['count']",
        "it counts or seeds random numbers",
    ),
    ("gd.problems.as_problem(3)", "problem"),
    ("gd.problems.as_problem(mean).init(key)", "init"),
    (
        "gd.problems.decayed(network, (zeros((3, 2)), numpy.array(VALUE)), 0.1)",
        "data",
        "[0, 1, 0], [0, -1, 0], [0.5, 0.0, 0.0], [nan, 0, 0], ['a', 'b', 'c'], zeros((3, 2))",
    ),
    ("gd.problems.digits(gd.data.load('mnist5k')._replace(classes=5))", "train_labels"),
    ("gd.problems.freshly_distorted(net, (6, 4), gd.problems.Distortion())", "shape"),
    ("gd.data.load('nothing')", "nothing", "is unknown. Expected mnist5k, mnist,"),
    ("gd.data.load(3)", "name"),
    # Sweeps
    ("gd.sweep(bowl, ax, 2**31 - 1)", "record_every"),
    ("gd.sweep(VALUE, ax, 5)", "problem", "3, lambda w: w"),
    ("gd.sweep(bowl, {'learning_rate': [0.1]}, 5)", "axes"),
    ("gd.sweep(bowl, ax, VALUE)", "num_steps", "-1, 1.5, 'ten', None, 2**40"),
    (
        "gd.sweep(bowl, ax, 5, KEYWORD)",
        "store='', store=3, store=__file__, store=Path(__file__).parent, store='/proc/no/such', "
        "store=folder / ('x' * 300), step=1, learning_rate=0.1, make_optimizer=optax.sgd(0.1), "
        "make_optimizer='adam', make_optimizer=lambda learning_rate: 3, batch_size=2, "
        "record_every=0, record_every=None, snapshot_every=0, metrics=[3], metrics={'m': 3}, "
        "eval_params_fn=3, eval_params_fn=lambda: 3, eval_params_fn=lambda s, p: zeros(7), "
        "root_seed=-1, root_seed='a', divergence_threshold=nan, divergence_threshold='x', "
        "gradient_tolerance=-1.0, stop_when_converged='yes', continuable=1, continuable='yes', "
        "devices=[], devices='cpu', devices=[3], client=3, max_param_bytes=-1, "
        "max_param_bytes='1 GB', extend=True, replacement=1, replacement='yes', "
        "replacement=None, replacement=True",
    ),
    (
        "gd.sweep(bowl, gd.axes(learning_rate=VALUE), 5)",
        "learning_rate",
        "[0.1, 1e-60], [2**40], [0.1, 0.1 + 1e-12], [-0.1], [1e300], [True]",
    ),
    ("gd.sweep(bowl, gd.axes(pair=zipped, **{VALUE: apart}), 5)", "is already", RESERVED),
    ("gd.sweep(bowl, gd.axes(pair=zipped), 5, metrics={VALUE: first})", "is already", RESERVED),
    (
        "gd.sweep(bowl, gd.axes(pair=zipped), 5, metrics={'m': gd.Metric(max, dims=(VALUE,))})",
        "is already",
        RESERVED,
    ),
    ("gd.sweep(bowl, ax)", "num_steps", "missing 1 required positional argument: 'num_steps'"),
    ("gd.sweep(bowl, gd.axes(momentun=[0.5]), 5)", "momentun", "expected one of seed, data_seed, "),
    ("gd.sweep(bowl, gd.axes(VALUE=[0.1]), 5)", "Did you mean learning_rate?", "learning_rat, lr"),
    ("gd.sweep(bowl, gd.axes(learning_rate=[0.1], **{'cost.scale': [1.0]}), 5)", "'cost.scale'"),
    ("gd.sweep(scales, gd.axes(learning_rate=[0.1], scale=[1.0]), 5)", "init.scale or cost.scale"),
    (
        "gd.sweep(scales, gd.axes(learning_rate=[0.1], heat=[1.0], **{'cost.heat': [2.0]}), 5)",
        "heat",
        "given twice",
    ),
    (
        "gd.sweep(VALUE, gd.axes(learning_rate=[0.1], heat=[1.0], size=[1, 2]), 5)",
        "size cannot be swept as a number",
        "gd.Problem(lambda key, *, heat=1.0, size=2: heat * jnp.ones(size), jnp.sum), gd.Problem("
        "lambda key: w, lambda w, *, heat=1.0, size=2: heat * w[0] if size > 1 else w[1])",
    ),
    (
        "gd.sweep(bowl, gd.axes(learning_rate=[0.1], size=[5, 9]), 5, "
        "make_optimizer=lambda learning_rate, size: optax.sgd(VALUE))",
        "size cannot be swept as a number",
        "optax.cosine_decay_schedule(learning_rate, size), "
        "optax.exponential_decay(learning_rate, 9, size)",
    ),
    (
        "gd.sweep(bowl, ax, 5, make_optimizer=lambda learning_rate: optax.sgd("
        "optax.warmup_cosine_decay_schedule(0.0, learning_rate, 2, 5)))",
        "learning_rate cannot be swept as a number",
    ),
    (
        "gd.sweep(bowl, gd.axes(learning_rate=[0.1], momentum=[0.9], nesterov=[1]), 5)",
        "nesterov cannot be swept as a number",
    ),
    (
        "gd.sweep(gd.Problem(lambda key: w, lambda w, *, heat=1.0: {}['a']), "
        "gd.axes(learning_rate=[0.1], heat=[1.0]), 5)",
        "cost",
        "'a'",
    ),
    (
        "gd.sweep(bowl, gd.axes(learning_rate=[0.1], KEYWORD), 5)",
        "nesterov=[0.0, 1.0], nesterov=[False, True], data_seed=[0, 1], noise_seed=[0, 1], "
        "cost=[0.0]",
    ),
    ("gd.sweep(bowl, gd.axes(branch_step=[0]), 5)", "branch_step"),
    ("gd.sweep(bowl, ax, 5, make_optimizer=lambda rate: optax.sgd(rate))", "learning_rate"),
    ("gd.sweep(bowl, gd.axes(seed=[0]), 5)", "learning_rate"),
    (
        "gd.sweep(bowl, gd.axes(seed=[0]), 5, make_optimizer=VALUE)",
        "tracing it twice",
        "lambda: optax.sgd(numpy.random.rand())",
    ),
    (
        "gd.sweep(net, ax, 5, KEYWORD)",
        "batch_size=0, batch_size=10 ** 6, batch_size=2.5, record_samples=0, "
        "record_samples=10 ** 6",
    ),
    ("gd.sweep(net, gd.axes(learning_rate=[0.1], batch_size=[2]), 5, batch_size=3)", "batch_size"),
    ("gd.sweep(bowl, ax, 6, record_every=2, snapshot_every=3)", "snapshot_every"),
    ("gd.sweep(bowl, ax, 5, metrics={'cost': gd.Metric(lambda w, d: w[0])})", "cost"),
    (
        "gd.sweep(bowl, ax, 5, metrics={'m': gd.Metric(lambda w, d: w, dims=('a',)), "
        "'n': gd.Metric(lambda w, d: jnp.ones(3), dims=('a',))})",
        "n",
        "has length 3 along 'a', but another array has length 2",
    ),
    (
        "gd.sweep(gd.Problem(init=VALUE, cost=lambda w: jnp.sum(w**2)), ax, 5)",
        "numbers drawn from a key",
        "lambda key: numpy.random.normal(size=2), lambda key: jnp.ones(2) * numpy.random.rand()",
    ),
    (
        "gd.sweep(bowl, ax, 5, metrics={'m': VALUE})",
        "m",
        "gd.Metric(lambda w, d: w), gd.Metric(lambda w: w[0]), gd.Metric(lambda w, d: w, "
        "dims=('learning_rate',)), gd.Metric(lambda w, d: w, dims=('step',))",
    ),
    ("gd.sweep(bowl, ax, 5, client=3, store=folder / 's')", "client"),
    ("gd.sweep(bowl, ax, 4, store=store)", "axes"),
    ("gd.extend(store, grid, 1, to=folder / 's')", "num_steps"),
    ("gd.extend(store, ax, to=folder / 's')", "dimensions"),
    ("gd.extend(store, gd.axes(learning_rate=[0.1], seed=[0]), to=folder / 's')", "learning_rate"),
    ("gd.extend(store, to=store)", "to = "),
    ("gd.sweep(gd.Problem(init=lambda key: 1, cost=lambda w: w * 1.0), ax, 5)", "init"),
    (
        "gd.sweep(gd.Problem(init=lambda key: w, cost=VALUE), ax, 5)",
        "cost",
        "lambda w: w, lambda w: 1.0, lambda w: float(w[0]), lambda w: {}['a'], lambda w: w[w > 0]",
    ),
    ("gd.sweep(gd.Problem(init=lambda key: {}, cost=lambda w: 1.0), ax, 5)", "init"),
    (
        "gd.sweep(gd.Problem(init=VALUE, cost=lambda w: w[0]), ax, 5)",
        "init",
        "lambda: w, lambda key: w.reshape(3)",
    ),
    ("gd.sweep(gd.Problem(init=lambda key: w, cost=lambda w, x: w[0]), ax, 5)", "x"),
    ("gd.sweep(summed, ax, 5, batch_size=1)", "cost"),
    (
        "gd.sweep(gd.Problem(gd.problems.Network((9, 10**6, 10**6)).init, "
        "lambda w: jnp.mean(w[0].weights)), ax, 5)",
        "params",
        "TiB",
    ),
    ("gd.concat(VALUE, 'width')", "sweeps", "3, {'a': 3}"),
    ("gd.concat({'a': runs}, 3)", "3"),
    ("gd.concat({'a': runs}, 'cost')", "dim"),
    ("gd.concat({'a': runs, 'b': runs.isel(step=[0])}, 'width')", "step"),
    (
        "gd.coordinate_check(VALUE, lambda w, b: w, learning_rate=0.1)",
        "problems",
        "{'2': bowl}, {'2': bowl, 'wide': bowl}",
    ),
    ("gd.coordinate_check({'2': bowl, '3': 3}, lambda w, b: w, learning_rate=0.1)", "3"),
    ("gd.coordinate_check(pair, VALUE, learning_rate=0.1)", "activations", "3, lambda w, b: {}"),
    ("gd.coordinate_check(pair, lambda w, b: w, learning_rate=nan)", "learning_rate"),
    (
        "gd.coordinate_check({'2': bowl, '3': gd.problems.bowl([1.0] * 3)}, "
        "lambda w, b: [w] * len(w), learning_rate=1.0)",
        "activations",
        "expected the layers of the first width",
    ),
    (
        "gd.coordinate_check(pair, lambda w, b: w, learning_rate=0.1, KEYWORD)",
        "steps=(10, 1), num_seeds=1",
    ),
    ("gd.find_learning_rate(None)", "problem"),
    (
        "gd.find_learning_rate(bowl, KEYWORD)",
        "horizon=0, num_starts=0, num_starts=10 ** 30, batch_size=4, root_seed=-1",
    ),
    ("gd.find_learning_rate(bowl, VALUE)", "make_optimizer", "optax.identity, 3"),
    ("gd.table(VALUE)", "runs", "3, other"),
    ("gd.table(runs, record=VALUE)", "record", "'x', 99"),
    ("gd.params_of(VALUE, w, at)", "dataset", "3, other"),
    ("gd.params_of(runs, w, 3)", "at"),
    ("gd.params_of(runs, w, {'learning_rate': 99, 'seed': 0})", "learning_rate"),
    ("gd.params_of(runs, {'a': w}, at)", "params.a"),
    # Stores
    ("gd.open_dataset(folder)", "empty", "empty: there is no store at this path; check the path"),
    ("VALUE(3)", "store", "gd.open_dataset, gd.verify"),
    ("gd.open_dataset(damaged).cost.values", "cost"),
    ("gd.stores.locate(store, region='here')", "region", "is no URL"),
    ("gd.stores.locate(gd.stores.locate('s'), region='here')", "region", "is no URL"),
    ("gd.stores.locate('s3://x/y', color='blue')", "color"),
    ("gd.verify('gopher://x/y')", "gopher://x/y"),
    ("gd.resume(folder)", "empty"),
    (
        "gd.resume(store, KEYWORD)",
        "problem=3, problem=gd.problems.bowl([7.0, 8.0]), part=(0, 0), part=(3, 3), part=(-1, "
        "3), part=3, make_optimizer=0",
    ),
    ("gd.resume(own)", "problem"),
    ("gd.replay(folder, {})", "empty"),
    ("gd.replay(store, None)", "at"),
    (
        "gd.replay(store, VALUE)",
        "learning_rate",
        "{}, {'learning_rate': 'fast', 'seed': 0}, {'learning_rate': nan, 'seed': 0}",
    ),
    ("VALUE(store, {'learning_rate': 0.1})", "seed", "gd.replay, gd.sweeps.run_of"),
    ("gd.replay(store, {'learning_rate': 0.1, 'seed': 0, 'momentum': 0.5})", "momentum"),
    ("gd.replay(store, at, KEYWORD)", "skip_damaged='yes', make_optimizer=zeros(3)"),
    ("VALUE(own, {'learning_rate': 0.1})", "problem", "gd.replay, gd.sweeps.run_of"),
    ("gd.replay(own, {'learning_rate': 0.1}, problem=mine)", "make_optimizer=...", "its optimizer"),
    ("gd.replay(damaged, at)", "damaged"),
    ("gd.branch(store, at, gd.axes(branch_step=[1], KEYWORD))", "perturbation=[-1.0], seed=[5]"),
    ("gd.branch(store, at, 3)", "axes"),
    ("gd.plan(bowl, folder)", "sweep"),
    ("gd.sweeps.count_tiles(store, VALUE)", "num_parts", "0, 1.5"),
    (
        "gd.branch(store, at, gd.axes(branch_step=[2]), stop_when_converged=zeros(2))",
        "stop_when_converged",
    ),
    ("gd.branch(store, at, gd.axes(VALUE))", "branch_step", "branch_step=[99], seed=[5]"),
    ("gd.branch(store, {'seed': 0}, leave)", "learning_rate"),
    ("gd.branch(store, at, leave, KEYWORD)", "perturb='up', num_steps='ten'"),
    # One descent
    (
        "gd.descend(bowl, sgd, w, 5, key=key, KEYWORD)",
        "batch_size=2, record_samples=7, record_every=0, model_state=3, "
        "eval_params_fn=lambda s, p: 3, metrics=3",
    ),
    ("gd.descend(net, sgd, v, 5, key=key, KEYWORD)", "record_samples=7, batch_size=10 ** 6"),
    ("gd.descent.Recipe(0.1, 1, decay=-1.0)", "decay"),
    ("gd.descend(3, sgd, w, 5, key=key)", "problem"),
    ("gd.descend(lambda w, x: w[0], sgd, w, 5, key=key)", "x"),
    (
        "gd.descend(bowl, VALUE, w, 5, key=key)",
        "optimizer",
        "optax.sgd, optax.MultiSteps, 0.1, optax.lookahead(sgd, 5, 0.5), "
        "optax.contrib.differentially_private_aggregate(1.0, 0.1, key=0), "
        "optax.chain(*2 * [optax.contrib.schedule_free_sgd(0.1)])",
    ),
    (
        "gd.descend(bowl, optax.adam(0.1), gd.descend(bowl, sgd, w, 1, key=key), 3, key=key)",
        "start",
    ),
    ("gd.descend(bowl, sgd, VALUE, 5, key=key)", "start", "'w', jnp.arange(2)"),
    ("gd.descend(bowl, sgd, VALUE, 5, key=key)", "params", "zeros(3), [1.0, 2.0]"),
    ("gd.descend(bowl, sgd, w, -5, key=key)", "num_steps", "= -5, expected a whole number >= 0"),
    ("gd.descend(bowl, sgd, w, 5, key=VALUE)", "key", "None, 0, jax.random.split(key)"),
    (
        "gd.descend(bowl, sgd, w, 1, key=key, metrics={'m': VALUE})",
        "'m'",
        "gd.Metric(lambda w, d: w), gd.Metric(lambda w, d: w, dims=('a', 'b')), "
        "gd.Metric(lambda w, d: w[:0], dims=('a',)), gd.Metric(lambda w, d: w[0], dtype='int8'), "
        "gd.Metric(lambda w, d: jnp.sum(w > 0), dtype='int64'), gd.Metric(lambda w, d: (w, w)), "
        "gd.Metric(lambda w, d: w[0] + 0j), gd.Metric(lambda w, d, *, model_state: w[0]), "
        "gd.Metric(lambda w, d, s: s, init=first.function), "
        "gd.Metric(lambda w, d, s: (s, s), init=lambda w, d: w)",
    ),
    ("gd.descend(counted, sgd, w, 5, key=key)", "model_state"),
    (
        "gd.descend(gd.Problem(zero, mean, zeros(9), couples_samples=True), sgd, 0.0, 1, key=key, "
        "batch_size=8, record_samples=5)",
        "record_samples",
        "record_samples = 5, expected at least batch_size = 8",
    ),
    ("jax.jit(lambda: gd.sweep(bowl, ax, 1).cost.values)()", "sweep"),
    ("jax.jit(lambda w: gd.descend(bowl, sgd, w, 5, key=key).params)(w)", "descend"),
    ("jax.grad(lambda w: gd.descend(bowl, sgd, w, 5, key=key).params[0])(w)", "descend"),
    ("gd.descent.WarmupCosine(0.1, 10, 5)", "warmup_steps"),
    ("gd.descent.WarmupCosine(-0.1, 1, 5)", "learning_rate"),
    ("gd.run_keys(-1)", "root_seed"),
    ("jax.vmap(lambda seed: gd.run_keys(0, seed=seed).init)(jnp.arange(3))", "seed", "outside jit"),
    # Curvature, critical points, landscapes, flows, volumes
    ("gd.curvature.extreme_eigenpairs(bowl, w, key=0)", "key"),
    (
        "gd.curvature.extreme_eigenpairs(bowl, w, key=key, KEYWORD)",
        "largest=-1, largest=99, rtol=-1.0, max_steps=0",
    ),
    ("gd.curvature.spectral_density(bowl, w, key=key, KEYWORD)", "bandwidth=-1.0, probes=0"),
    ("gd.curvature.hessian_trace(bowl, w, key=key, probes=VALUE)", "probes", "0, 10**9"),
    ("gd.curvature.HessianOperator(lambda w: jnp.sum(w > 0), w).mv(w)", "cost", "floating-point"),
    ("gd.curvature.HessianOperator(same, w).mv(w)", "cost", "expected one scalar"),
    ("gd.curvature.HessianOperator(bowl, jnp.arange(2)).mv(w)", "params"),
    ("VALUE(same, w)", "cost", DETERMINISTIC),
    ("VALUE(same, w, key=key)", "cost", RANDOM),
    ("VALUE(counted, w, key=key)", "model_state", RANDOM),
    ("VALUE(bowl, 'w')", "params", DETERMINISTIC),
    ("VALUE(bowl, 'w', key=key)", "params", RANDOM),
    ("gd.curvature.classify(bowl, w, key=key, gradient_tolerance=-1)", "gradient_tolerance"),
    ("gd.curvature.polish(bowl, w, KEYWORD)", "max_steps=-1, atol=-1.0"),
    ("gd.landscape.basin_volume(bowl, w, key=key, level=1.0, whitening=3)", "whitening"),
    (
        "gd.landscape.line(bowl, w, VALUE, [0.0, 1.0])",
        "direction",
        "{'flat': flat}, zeros(2), nan * flat, numpy.array([None, 1.0])",
    ),
    ("gd.landscape.line(same, w, flat, [0.0])", "cost", "expected one scalar"),
    ("gd.landscape.line(bowl, w, flat, [0.0], metrics={'cost': first})", "cost", "already in use"),
    (
        "gd.landscape.line("
        "bowl, w, flat, [0.0], metrics={'s': gd.curvature.sharpness_metric(bowl)})",
        "s",
        "is not a number of the parameters alone",
    ),
    ("gd.landscape.trajectory_plane(bowl, VALUE)", "snapshots", "nan * jnp.eye(3), zeros((3, 3))"),
    ("gd.landscape.trajectory_plane(bowl, jnp.eye(3)[:, :2], KEYWORD)", "points=1, margin=-1.0"),
    ("gd.landscape.trajectory_plane(jnp.sum, jnp.arange(5.0))", "plane", "a single parameter has"),
    ("gd.landscape.descent_on_slice(bowl, w, {'d': flat}, jnp.eye(2), step=[1])", "step"),
    ("gd.landscape.descent_on_slice(bowl, w, {'d': flat}, jnp.eye(3))", "snapshots"),
    ("gd.landscape.filter_normalize(zeros(3), w)", "direction"),
    ("gd.landscape.project(w, w, {'d': flat})", "points"),
    ("gd.landscape.orthogonalize({'a': flat, 'b': VALUE})", "b", "2 * flat, zeros(2)"),
    ("gd.landscape.plane_directions(bowl, w, 'sideways', key=key)", "kind"),
    ("gd.landscape.plane_directions(jnp.square, 1.0, 'random', key=key)", "plane_directions"),
    (
        "gd.landscape.plane_directions("
        "lambda w: jnp.sum(jnp.sqrt(w)), zeros(3), 'eigenvectors', key=key)",
        "params",
        "the Hessian is not finite",
    ),
    ("gd.landscape.line(bowl, w, flat, VALUE)", "a", "[], [nan], 'x'"),
    ("gd.landscape.plane(bowl, w, {'flat': flat}, [0.0], [0.0])", "directions"),
    ("gd.landscape.plane(counted, w, {'flat': flat, 'w': w}, [0.0], [0.0])", "model_state"),
    ("gd.landscape.plane(bowl, w, {'flat': flat, 'same': flat}, [0.0, 1.0], [0.0, 1.0])", "same"),
    ("gd.landscape.plane(bowl, w, {'flat': flat, 'long': zeros(3)}, [0.0], [0.0])", "long"),
    (
        "gd.dynamics.gradient_flow(bowl, w, times=VALUE)",
        "times",
        "[1.0, 0.5], [-1.0], [], [nan], [inf], 1.0, [[1.0]], 'soon'",
    ),
    ("gd.dynamics.central_flow(bowl, w, 0.1, 1.0, eigenvectors=1, rtol=2.0)", "rtol"),
    (
        "gd.dynamics.distance_from_flow(bowl, w, learning_rates=[0.1], times=[1], atol=0.0)",
        "atol",
    ),
    ("gd.dynamics.central_flow(bowl, w, VALUE, 1.0)", "learning_rate", "0.0, -0.1, jnp.ones(2)"),
    ("gd.dynamics.central_flow(bowl, w, 0.1, 1.0, eigenvectors=3)", "eigenvectors"),
    ("gd.dynamics.rod_flow(bowl, w, 0.1, VALUE)", "time", "-1.0, jnp.ones(2)"),
    ("gd.dynamics.rod_flow(bowl, w, 0.1, 1.0, noise=-1.0)", "noise"),
    ("gd.dynamics.edge_flow(bowl, w, 0.1, 1.0, KEYWORD)", "max_steps=0, intervals=0"),
    (
        "gd.hypergradient(bowl, VALUE, w, [0.1], 1, key=key)",
        "make_optimizer",
        "optax.lion, lambda: optax.sgd(0.1)",
    ),
    ("gd.hypergradient(bowl, optax.sgd, w, [0.1], 5, key=key)", "num_steps = 5"),
    ("gd.hypergradient(bowl, optax.sgd, w, [0.1], 5, key=key, knots=True)", "2 to 16 knots"),
    ("gd.hypergradient(bowl, optax.adam, w, [0.1], 1, key=key)", "eps_root"),
    ("gd.dynamics.decided_step(zeros((5, 58)) > 0, range(0, 500, 100))", "twins"),
    ("gd.dynamics.uncertainty_exponent(zeros((9, 2, 50)) > 0, [0.1, 0.2])", "distances"),
    (
        "gd.descend(bowl, optax.sgd(0.1), w, 2, key=key, "
        "metrics={'exponent': gd.dynamics.lyapunov_exponent()})",
        "with_tangent",
    ),
    (
        "gd.curvature.stability_threshold(VALUE)",
        "learning_rate",
        "-1.0, optax.constant_schedule(0.1)",
    ),
    ("gd.curvature.largest_stable_learning_rate(-1.0)", "sharpness"),
    ("gd.curvature.generalized_sharpness(bowl, w, 'l3', key=key)", "norm"),
    ("gd.curvature.critical_sharpness(bowl, w, w, KEYWORD)", "rtol=0, guess=0, max_steps=10**30"),
    ("gd.curvature.critical_sharpness(bowl, w, w[:1])", "direction"),
    ("gd.curvature.critical_sharpness_metric(bowl, max_steps=0)", "max_steps"),
    ("gd.curvature.update_direction(optax.identity, bowl, w)", "make_optimizer"),
    ("gd.curvature.step_curvature_metric(bowl, 2)", "norm"),
    ("gd.descent.non_euclidean_descent(0.1, 'max')", "norm"),
    (
        "gd.landscape.finite_temperature_coefficient(bowl, w, key=key, inverse_temperature=VALUE)",
        "inverse_temperature",
        "None, 0.0",
    ),
    (
        "gd.landscape.finite_temperature_coefficient(net, v, key=key, KEYWORD)",
        "localization=-1, num_chains=1, num_samples=7, num_integration_steps=0",
    ),
    (
        "gd.landscape.local_learning_coefficient(bowl, w, key=key, inverse_temperatures=VALUE)",
        "inverse_temperatures",
        "[1, 2], [2, 1, 9], [0, 1, 2]",
    ),
    ("gd.landscape.basin_volume(bowl, w, key=key, level=VALUE)", "level", "-1.0, 1e300, 10**400"),
    ("gd.curvature.HessianOperator(bowl, w).mv(VALUE)", "vector", "zeros(3), [w, w]"),
    ("gd.curvature.GaussNewtonOperator(net, v).mv([v, v])", "vector"),
    ("gd.curvature.GaussNewtonOperator(bowl, w).mv(w)", "problem", "no predict, no loss or"),
    ("gd.curvature.HessianOperator(jnp.sum, zeros(5000)).as_matrix()", "as_matrix", "at most"),
    ("gd.curvature.PreconditionedHessian(bowl, w, zeros(3))", "preconditioner"),
    ("gd.curvature.hessian_trace(bowl, key=key)", "params"),
    ("gd.curvature.hessian_trace(gd.curvature.HessianOperator(bowl, w), w, key=key)", "params"),
    ("gd.curvature.preconditioner(optax.sgd)", "make_optimizer", "has no preconditioner"),
    ("gd.curvature.preconditioner(partial(optax.rmsprop, centered=True))", "centered"),
    ("gd.curvature.preconditioner(optax.adam)(())", "preconditioner", "0 averages of squared"),
    ("gd.curvature.stability_threshold(0.1, partial(optax.sgd, momentum=1.0))", "momentum"),
    ("gd.curvature.stability_threshold(0.1, partial(optax.adam, b1=1.0))", "b1"),
    (
        "gd.curvature.stability_threshold(0.1, partial(optax.adamw, KEYWORD))",
        "weight_decay=-1.0, weight_decay=22.5, mask={'a': False}",
    ),
    (
        "gd.curvature.stability_threshold(0.1, VALUE)",
        "make_optimizer",
        "partial(optax.sgd, 0.1), partial(optax.adam, momentum=0.9), optax.lion",
    ),
    (
        "gd.curvature.stability_threshold("
        "0.1, partial(gd.descent.non_euclidean_descent, scaled=False))",
        "scaled",
        "expected True; the limit of steps of fixed length",
    ),
    (
        "gd.sweep(bowl, ax, 1, metrics={'a': gd.curvature.largest_eigenvalues_metric(bowl, 3)})",
        "count",
    ),
    (
        "gd.sweep(bowl, ax, 1, make_optimizer=optax.adam, "
        "metrics={'a': gd.curvature.critical_sharpness_metric(bowl)})",
        "opt_state",
    ),
    (
        "gd.sweep(bowl, ax, 1, make_optimizer=optax.contrib.schedule_free_sgd, metrics="
        "{'a': gd.curvature.critical_sharpness_metric(bowl, optax.contrib.schedule_free_sgd)})",
        "critical_sharpness_metric",
        "schedule-free",
    ),
    ("gd.curvature.locate_entries(v, jnp.array([0]), network=network)", "params"),
    (
        "gd.curvature.locate_entries("
        "network.init(key), jnp.array([0]), network=network, image_shape=(3, 3))",
        "image_shape",
    ),
    (
        "gd.dynamics.distance_from_flow(bowl, w, learning_rates=VALUE, times=[1.0])",
        "learning_rates",
        "['a'], [], [0.1, 0.0]",
    ),
    (
        "gd.dynamics.distance_from_flow(bowl, w, learning_rates=[0.3], times=VALUE)",
        "times",
        "[-1.0], [0.5]",
    ),
    # Minima, figures, pages
    ("gd.minima.count_minima(None, w, key=key)", "problem"),
    ("gd.minima.count_minima(lambda w: w[0], w[None], key=key)", "problem"),
    ("gd.minima.count_minima(bowl, w[None], key=key, distance_tolerance=-1.0)", "tolerance"),
    ("gd.minima.count_minima(bowl, w[None], key=key, output_tolerance=-1.0)", "output_tolerance"),
    ("gd.minima.count_minima(None, store, gradient_tolerance=0)", "gradient_tolerance"),
    ("gd.minima.estimate_unseen([3, 1], level=2.0)", "level"),
    ("gd.minima.learning_rate_limits('quartic', momentum=1.0)", "momentum"),
    ("gd.minima.count_minima(None, store, {'seeds': 1})", "seeds"),
    ("gd.minima.match(None, v, v, key=key)", "network"),
    ("gd.minima.match(network, network.init(key), v, key=key)", "reference"),
    (
        "gd.minima.matching.match_activations("
        "network, network.init(key), network.init(key), zeros((7, 4)))",
        "inputs",
    ),
    ("gd.minima.symmetry.canonicalize(network, v)", "params"),
    ("gd.minima.symmetry.apply_symmetry(network, network.init(key), (1,))", "symmetry"),
    ("gd.minima.pairwise_barriers(bowl, w, key=key)", "params"),
    ("gd.minima.pairwise_barriers(counted, jnp.eye(2), key=key)", "model_state"),
    ("gd.minima.linear_path_cost(bowl, w, zeros(3))", "b"),
    ("gd.minima.linear_path_cost(gd.problems.as_problem(net, zeros(3)), v, v)", "problem"),
    ("gd.minima.path_cost(bowl, w[None] * w[:, None], shape=3)", "shape"),
    ("gd.minima.pairwise_barriers(3, w, key=key)", "problem"),
    ("gd.minima.path_barrier(VALUE)", "cost", "'a', zeros((2, 0)), masked"),
    ("gd.minima.basins_of_attraction('himmelblau', -0.01, side=3, num_steps=3)", "learning_rate"),
    ("gd.minima.cluster_points(zeros(3), 0.1)", "points"),
    ("gd.plot(VALUE)", "result", "3, bowl, other, {'x': 1}"),
    ("gd.plot(gd.landscape.line(bowl, w, flat, [0.0]).expand_dims(c=2, d=2))", "dimensions"),
    ("gd.plot(runs.assign(outcome=-1 + 0 * runs.outcome))", "no run is finished"),
    ("gd.plot(runs.mean('seed', keep_attrs=True))", "outcomes were averaged"),
    ("gd.plot('nothing')", "nothing"),
    ("gd.explore(VALUE)", "runs", "3, other"),
    ("gd.explore(runs, KEYWORD)", "planes=3, planes={'one': runs}, numbers=-5, name=3, minima=3"),
    ("gd.lesson(bowl, 3)", "problem"),
    ("gd.lesson(gd.problems.digits('mnist5k', VALUE))", "problem", "widths=(), activation='tanh'"),
    # Arguments replaced by values of other types
    ("network.init(key, init_scale=['a'])", "init_scale"),
    ("network.init(3)", "key"),
    ("gd.plot(runs, title=3)", "title"),
    ("gd.lesson(digits, -1)", "networks"),
    ("gd.problems.distorted('x', gd.problems.Distortion())", "images"),
    ("gd.problems.distorted(zeros((1, 2, 2)), 3)", "images"),
    ("gd.problems.freshly_distorted(net, (2,), 3)", "distortion"),
    ("gd.problems.decayed(network, 3, 0.1)", "data"),
    ("gd.problems.decayed(network, data, 0.1, test=[1])", "test"),
    ("gd.problems.evaluate(3, w)", "problem"),
    ("gd.problems.evaluate(net, v, data=3)", "data"),
    ("gd.open_dataset(store, skip_damaged='yes')", "skip_damaged"),
    ("gd.curvature.largest_entries('x', 1)", "gradient"),
    ("gd.curvature.largest_entries(w, 1.5)", "count"),
    ("gd.curvature.gradient_summary(bowl, zeros((0, 2)))", "params"),
    ("gd.curvature.GaussNewtonOperator(net, v, layer=[])", "layer"),
    ("gd.landscape.principal_components('x')", "snapshots"),
    ("gd.landscape.principal_components((zeros((2, 3)), zeros(VALUE)))", "snapshots", "(), (3, 3)"),
    ("gd.landscape.at_coordinates(w, {'flat': flat}, [0.0, 1.0])", "coordinates"),
    ("gd.landscape.at_coordinates(w, 3, [0.0])", "directions"),
    ("gd.dynamics.gradient_flow(bowl, w, times=[1.0], KEYWORD)", "max_steps='x', rtol=10 ** 30"),
    ("gd.dynamics.gradient_flow(bowl, 'x', times=[1.0])", "params"),
    # Other invalid values
    ("gd.params_of(runs, 3, at)", "like"),
    ("gd.extend(store, 3, to=folder / 's')", "axes"),
    ("gd.extend(store, num_steps='x', to=folder / 's')", "num_steps"),
    ("gd.curvature.HessianOperator(bowl, zeros(3)).as_matrix()", "params"),
    ("gd.landscape.line(bowl, w, flat, [0.0], KEYWORD)", "metrics=3, name=3"),
    ("gd.landscape.grid(bowl, w, {1: flat}, [[0.0]])", "directions"),
    # Parameters, settings and losses
    ("gd.problems.evaluate(bowl, VALUE)", "params", "None, 'x', zeros(3)"),
    ("VALUE(counted, w)", "model_state", "gd.problems.evaluate, gd.curvature.value_and_gradient"),
    ("gd.problems.frozen(bowl, KEYWORD)", "model_state=3, step=1, temperature=1.0"),
    ("gd.curvature.extreme_eigenpairs(lambda w, *, t: t * w[0], w, key=key)", "t"),
    ("gd.problems.accuracy(3, zeros(3))", "outputs"),
    ("gd.problems.accuracy(zeros((3, 2)), zeros(4))", "labels"),
    ("gd.problems.cross_entropy(zeros((3, 2)), None)", "targets"),
    ("gd.problems.quadratic(zeros((3, 2)), zeros((1, 2)))", "targets"),
    # User-defined costs and starts
    ("gd.descend(doubled, sgd, w, 5, key=key)", "cost"),
    ("gd.curvature.extreme_eigenpairs(lambda w: w.reshape(3)[0], w, key=key)", "params"),
    ("gd.landscape.line(of_the_host, w, flat, [0.0])", "cost"),
    ("gd.sweep(gd.Problem(init=lambda key: (w, zeros(0)), cost=lambda w: w[0][0]), ax, 5)", "init"),
    # Directions
    ("gd.landscape.at_coordinates(w, {'flat': numpy.array(['a', 'b'])}, [0.0])", "flat"),
    ("gd.landscape.orthogonalize({'flat': numpy.array([None, 1.0])})", "flat"),
    ("gd.landscape.orthogonalize([flat])", "directions"),
    # Minima of costs that are not functions of the parameters alone
    ("gd.minima.count_minima(counted, with_state)", "problem"),
    ("gd.minima.count_minima(timed, w, key=key)", "t"),
    (
        "gd.minima.count_minima(biased, jax.vmap(biased.init)(key[None]), key=key)",
        "decay of biases",
    ),
    # Datasets and stores that are not those of a sweep
    ("gd.minima.count_kinds(runs)", "dataset"),
    ("list(gd.export.histories(VALUE))", "store", "3, other"),
    ("list(gd.export.histories(store, poll_seconds=0.0))", "poll_seconds"),
    ("list(gd.export.histories(runs, poll_seconds=1.0))", "poll_seconds"),
    # Volumes
    ("gd.landscape.extrapolate(['a'], [1.0], [1.0])", "inverse_temperatures"),
    ("gd.landscape.extrapolate([1.0, 2.0], [1.0], [1.0])", "coefficients"),
    ("gd.landscape.effective_sample_size(zeros(3))", "draws"),
    ("gd.landscape.rhat(VALUE)", "draws", "None, zeros((2, 0))"),
    # Minima and paths
    ("gd.minima.estimate_unseen([-1])", "counts"),
    ("gd.minima.counting.basin_shares([2, 2], 3)", "runs"),
    ("gd.minima.linear_path('a', 'b')", "a"),
    ("gd.minima.path_cost(bowl, zeros((3, 2)), points=0)", "points"),
    ("gd.minima.path_cost(bowl, VALUE)", "control", "w[:1], {'a': w, 'b': zeros(3)}, 'abc'"),
    ("gd.minima.polyline_weights(0, 0.5)", "count"),
    ("gd.minima.polyline_weights(3, VALUE)", "t", "2**63, 'x'"),
    # Slices
    ("gd.landscape.filter_normalize(w, w, axis='x')", "axis"),
    ("gd.landscape.project(w[None], w, {})", "directions"),
    ("gd.landscape.grid(bowl, w, {'flat': flat}, 3)", "coordinates"),
    # Curvature
    (
        "gd.curvature.check_gradient(bowl, w, VALUE)",
        "position",
        "'x', jnp.array([99]), jnp.array([0.5])",
    ),
    ("gd.curvature.locate_entries(w, jnp.array([-1]))", "position"),
    ("gd.curvature.locate_entries('x', jnp.array([0]))", "params"),
    ("gd.curvature.batch_sharpness_metric(net, batch_size='x')", "batch_size"),
    ("gd.curvature.batch_sharpness(net, v, key=key, batch_size=2, batches=1)", "batches"),
    ("gd.curvature.batch_sharpness_metric(bowl, batch_size=1)", "problem"),
    ("gd.curvature.largest_eigenvalues_metric(bowl, VALUE)", "count", "0, True"),
    (
        "gd.curvature.sharpness_metric(bowl, KEYWORD)",
        "rtol=0.0, rtol=-1.0, rtol=nan, operator=3, preconditioner=3",
    ),
    ("gd.curvature.FunctionOperator(3, w)", "function"),
    # Single steps, statistics and tables
    ("gd.problems.declared(3)", "function"),
    ("gd.statistics.median(VALUE)", "values", "[], [nan], [-inf, 1.0], 'x'"),
    ("gd.statistics.median([1.0], level=VALUE)", "level", "zeros(2), 2, None"),
    ("gd.statistics.mean('x')", "values"),
    ("gd.statistics.mean([1.0, inf])", "values", "use the median"),
    ("gd.statistics.paired(zeros(2), zeros(1))", "paired", "2 and 1 runs, expected equal numbers"),
    ("gd.statistics.paired([1.0], [2.0])", "pairs", "expected at least 2"),
    ("gd.statistics.paired('x', 'y')", "first"),
    ("gd.statistics.share(VALUE, 2)", "successes", "0.5, 3"),
    ("gd.descent.dual_norm(VALUE, 'l2')", "gradient", "'x', masked"),
    ("gd.descent.non_euclidean_descent('a')", "learning_rate"),
    ("gd.descent.unpack_bits(zeros(3), 'a')", "samples"),
    ("gd.descent.unpack_bits(None, 3)", "bits"),
    ("gd.descent.noise_scale(net, key=key, batch_size=1.5)", "batch_size"),
    ("gd.descent.noise_scale(net, key=key, batch_size=2, batches=9)", "batches"),
    ("gd.descent.dual_norm(w, 'l7')", "norm"),
    ("gd.descent.steps_for(1, 10, 0)", "batch_size"),
    ("gd.descent.init(3, w)", "optimizer"),
    ("gd.descent.init(sgd, 'x')", "params"),
    ("gd.descent.step(lambda w: w[0], sgd, 5)", "state"),
    ("gd.descent.step(3, sgd, 5)", "cost"),
    ("gd.run_keys(0, VALUE)", "seed", "-1, 2**32, 2**70, 'x'"),
    ("gd.run_keys(0, 0, 2**32)", "data_seed"),
    ("gd.data.available(3)", "data_dir"),
)

COMMANDS = (
    # Missing and unknown commands
    ("", "gdjax"),
    ("swep", "swep", "did you mean sweep?"),
    ("KEYWORD", "--no-such --completion --completion=tcsh --version=now"),
    ("data download", "download"),
    ("data prepare", "NAME"),
    ("data prepare nothing", "nothing"),
    ("data prepare mnist --data-dir own.py", "data_dir"),
    # Train
    ("train extra", "extra"),
    ("train --data nothing", "nothing"),
    (
        "train KEYWORD",
        "--widths=0 --widths=-3 --widths=a --activation=swish --initializer=zeros --recipe=fast "
        "--learning-rate=-1 --learning-rate=0 --learning-rate=nan --learning-rate=x "
        "--optimizer=adamw --batch-size=0 --batch-size=half --batch-size=10000000 --epochs=1.5 "
        "--epochs=abc --num-steps=0 --num-steps=-1 --seed=-1 --seed=99999999999 --data",
    ),
    ("train --batch-size all", "--batch-size", "all: expected a whole number, full"),
    ("train --recipe plain --batch-size 4001", "--batch-size", "4001: expected at most 4000"),
    ("train --recipe best --batch-size 40001", "--batch-size", "40001: expected at most 40000"),
    ("train --epochs 0", "--epochs", "--epochs 0: expected at least 1"),
    ("train --lr 1", "--lr", "--lr: no such option; did you mean --learning-rate?"),
    ("train --num-steps 1 --out VALUE", "--out", "own.py /proc/no"),
    # Sweep
    (
        "sweep --learning-rate=VALUE",
        "--learning-rate",
        "'' a 1: :3 5:5 8:0 0:1:0 0:1:3:log -1:1:3:log 0.1:1:3:lin 1,,2 nan inf 1:inf:3 1:1:3 "
        "0.5:2 1:2:3:log:4",
    ),
    ("sweep --learning-rate 3:1", "--learning-rate", "'3:1'"),
    ("sweep --seed VALUE", "at most 10,000,000", "0:5000000000 0:1:5000000000 1:2:99999999999:log"),
    ("sweep --learning-rate", "--learning-rate"),
    ("sweep --learning-rate 0.1 0.2", "--learning-rate", "by commas: --learning-rate 0.1,0.2"),
    ("sweep --learning-rate 0.1,0.1 --seed 0 --widths 2 --num-steps 2 --out out", "learning_rate"),
    ("sweep KEYWORD", "--seed=0:99999999999 --init-scale=abc --num-steps=0 --record-every=0"),
    ("sweep --axes VALUE", "--axes", "momentum =1 momentum="),
    ("sweep SMALL --axes momentun=0.9", "momentun"),
    ("sweep SMALL --axes seed=1", "seed"),
    ("sweep SMALL --axes nesterov=0,1", "nesterov"),
    ("sweep SMALL KEYWORD", "--optimizer=rmsprop --batch-size=0 --problem=own.py --axes"),
    ("sweep SMALL --root-seed -1", "root"),
    ("sweep SMALL --store own.py", "own.py"),
    ("sweep SMALL --store s.zarr", "s.zarr"),
    ("sweep SMALL --problem own.py:nothing", "nothing"),
    ("sweep SMALL --problem own.py:number", "number"),
    ("sweep SMALL --problem nothing.py:problem", "nothing.py"),
    ("sweep SMALL --problem wrong.py:problem", "wrong.py"),
    ("sweep SMALL --problem leaves.py:problem", "leaves.py"),
    # Stores
    ("VALUE", "store", "resume replay"),
    ("resume own.py", "own.py"),
    ("resume empty", "empty", "empty: there is no store at this path; check the path"),
    ("resume own.zarr", "--problem"),
    ("resume s.zarr --part=VALUE", "--part", "auto 4/4 1 -1/4 a/b"),
    ("resume s.zarr --problem own.py:problem --out out", "problem"),
    ("replay nothing.zarr", "nothing.zarr"),
    ("replay s.zarr", "learning_rate"),
    ("replay s.zarr --at VALUE", "--at", "learning_rate learning_rate= =1"),
    ("replay s.zarr --at learning_rate=x seed=0", "learning_rate"),
    ("replay s.zarr --at seed=1 seed=2", "--at", "seed=2: seed is given twice"),
    ("replay s.zarr --at lr=1", "--at", "lr=1: did you mean learning_rate=1?"),
    ("replay s.zarr --at rate=1 seed=0", "rate"),
    ("replay damaged.zarr --at learning_rate=0.1 seed=0", "damaged.zarr"),
    ("replay own.zarr --at learning_rate=0.1", "--problem"),
    # Landscape, spectrum, minima and pages
    (
        "landscape KEYWORD",
        "--points=1 --points=100000 --reach=-1 --reach=0 --direction-seed=-1 --epochs=0 "
        "--kind=sphere",
    ),
    ("landscape --directions random random", "--directions", "expected each direction once"),
    ("landscape --directions neurons", "--directions", "did you mean neuron?"),
    ("landscape --at seed=0", "--at", "--at: requires --store, the store of the sweep"),
    ("landscape --params nothing.npz", "nothing.npz"),
    (
        "spectrum KEYWORD",
        "--largest=-1 --largest=0 --smallest=x --smallest=-1 --probes=11 --probe-seed=-1 "
        "--tolerance=-1 --tolerance=0 --tolerance=nan --gradient-tolerance=nan --skip-damaged "
        "--problem=own.py:problem",
    ),
    ("spectrum --store s.zarr --params b", "--params", "expected one of them"),
    ("minima KEYWORD", "--seeds=0 --num-steps=0 --decay=-1 --tolerance=-1 --samples=0"),
    ("minima --widths 16 0", "--widths"),
    ("minima --store nothing.zarr", "nothing.zarr"),
    ("minima --store s.zarr --function beale", "--function", "expected one of them"),
    ("minima --store s.zarr --learning-rate 1", "--learning-rate", "applies to new descents"),
    ("minima --function beale --data mnist", "--data"),
    ("minima --function himelblau", "himelblau"),
    ("explore empty", "empty"),
    ("explore --planes VALUE", "--planes", "own.py nothing empty"),
    ("explore --minima empty", "--minima"),
    ("explore --out VALUE", "--out", "nothing/page.html page.txt empty"),
    ("lesson KEYWORD", "--networks=-1 --epochs=0 --seed=-1"),
    ("lesson --data nothing", "nothing"),
)
