"""All isolated critical points of the test functions in their domains.

    grad f(x) = 0,   and the signs of the Hessian's eigenvalues determine the kind of x

Coordinates are accurate up to float64 rounding. The tests polish each point by Newton's
method, check its gradient and eigenvalues, and search every domain for missing points.

>>> BEALE[0]
CriticalPoint(x=(3.0, 0.5), value=0.0, kind='minimum')
"""

from collections.abc import Iterable
from itertools import product
from typing import Literal, NamedTuple

Kind = Literal["minimum", "maximum", "saddle", "degenerate"]
MINIMUM: Kind = "minimum"
MAXIMUM: Kind = "maximum"
SADDLE: Kind = "saddle"
DEGENERATE: Kind = "degenerate"


class CriticalPoint(NamedTuple):
    """A point where the gradient is zero.

    Args:
        x: coordinates (a float in 1-D, a pair in 2-D), so that `jnp.asarray(x)` has the shape of
            the parameters.
        value: cost at x.
        kind: kind of the point, by the signs of the Hessian's eigenvalues: "minimum" (all
            positive), "maximum" (all negative), "saddle" (both signs), "degenerate" (at least one
            is zero).
    """

    x: float | tuple[float, float]
    value: float
    kind: Kind


def _sums(terms: Iterable[tuple[float, float, Kind]]) -> tuple[CriticalPoint, ...]:
    """Return the critical points of g(x) + g(y) from those of g.

    Two points of one kind give a point of this kind; other pairs give saddles.
    """
    return tuple(
        CriticalPoint((x, y), value_x + value_y, kind_x if kind_x == kind_y else SADDLE)
        for (x, value_x, kind_x), (y, value_y, kind_y) in product(tuple(terms), repeat=2)
    )


def _images(
    points: Iterable[tuple[tuple[float, float], float, Kind]],
    symmetries: Iterable[tuple[int, int, int, int]],
) -> tuple[CriticalPoint, ...]:
    """Return the distinct images of points under (x, y) -> (a x + b y, c x + d y)."""
    images = (
        CriticalPoint((a * x + b * y + 0.0, c * x + d * y + 0.0), value, kind)  # avoids -0
        for ((x, y), value, kind), (a, b, c, d) in product(points, tuple(symmetries))
    )
    return tuple(dict.fromkeys(images))


_HALF_TURN = ((1, 0, 0, 1), (-1, 0, 0, -1))
_OF_A_SQUARE = tuple((s, 0, 0, t) for s, t in product((1, -1), repeat=2)) + tuple(
    (0, s, t, 0) for s, t in product((1, -1), repeat=2)
)

QUARTIC = (
    CriticalPoint(-1.4729976011140302, -5.4441920666108965, MINIMUM),
    CriticalPoint(0.1260001925862561, 0.06274804737614482, MAXIMUM),
    CriticalPoint(1.346997408527774, -2.6185559807652474, MINIMUM),
)

SINE_BOWL = (
    CriticalPoint(-1.306440008369511, -7.945823375615283, MINIMUM),
    CriticalPoint(1.977383029328841, 13.094804143530638, MAXIMUM),
    CriticalPoint(3.837467106499049, 8.315585579477458, MINIMUM),
)

TWO_SINES = (
    CriticalPoint(3.3872517184446314, -1.1999207839326849, MINIMUM),
    CriticalPoint(4.196596270314889, 0.11909023101259952, MAXIMUM),
    CriticalPoint(5.145735290256129, -1.899599349152113, MINIMUM),
    CriticalPoint(6.217308850424612, 0.8883147801206757, MAXIMUM),
    CriticalPoint(7.0001491168622545, -0.3169955018732482, MINIMUM),
)

# The gradient (-400 x (y - x^2) - 2 (1 - x), 200 (y - x^2)) is zero only at x = 1 and y = x^2.
ROSENBROCK = (CriticalPoint((1.0, 1.0), 0.0, MINIMUM),)

# Two cubic equations have at most nine solutions, and all nine are real.
HIMMELBLAU = (
    CriticalPoint((3.0, 2.0), 0.0, MINIMUM),
    CriticalPoint((3.5844283403304917, -1.8481265269644036), 0.0, MINIMUM),
    CriticalPoint((-2.805118086952745, 3.131312518250573), 0.0, MINIMUM),
    CriticalPoint((-3.779310253377747, -3.2831859912861696), 0.0, MINIMUM),
    CriticalPoint((3.385154183607021, 0.0738518798377493), 13.31192627040559, SADDLE),
    CriticalPoint((0.08667750455539634, 2.8842547011747763), 67.71915008752613, SADDLE),
    CriticalPoint((-3.0730257507643897, -0.08135304428796751), 104.01516291755811, SADDLE),
    CriticalPoint((-0.12796134673068005, -1.9537149802445766), 178.33723920192745, SADDLE),
    CriticalPoint((-0.2708445906673476, -0.9230385564799815), 181.6165215225827, MAXIMUM),
)

BEALE = (
    CriticalPoint((3.0, 0.5), 0.0, MINIMUM),
    CriticalPoint((0.10053793732415835, -2.644513585023125), 9.864512284755559, SADDLE),
    CriticalPoint((0.0, 1.0), 14.203125, SADDLE),
)

# The function is a sum of two equal even terms, so the critical points of one term at x >= 0 give
# all 441.
_RIPPLES: tuple[tuple[float, float, Kind], ...] = (
    (0.0, 0.0, MINIMUM),
    (0.5025460365546747, 20.251272990990113, MAXIMUM),
    (0.9949586376523348, 0.9949590570932914, MINIMUM),
    (1.5076407318703584, 22.26145888480592, MAXIMUM),
    (1.9899122337085495, 3.979831190554087, MINIMUM),
    (2.512743318200085, 26.28184117751223, MAXIMUM),
    (2.984855701039481, 8.954601241487012, MINIMUM),
    (3.517859138170441, 32.312440977260394, MAXIMUM),
    (3.979783860300754, 15.919243792461534, MINIMUM),
    (4.522993659584519, 40.35329019383896, MAXIMUM),
    (4.974691390895051, 24.87372293454223, MINIMUM),
)
RASTRIGIN = _sums([(-x, value, kind) for x, value, kind in _RIPPLES[:0:-1]] + list(_RIPPLES))

# Two equations of degrees 5 and 3 have at most fifteen solutions, and all fifteen are real.
SIX_HUMP_CAMEL = _images(
    (
        ((0.08984201310031806, -0.7126564030207396), -1.0316284534898774, MINIMUM),
        ((1.703606714969981, -0.7960835686726251), -0.2154638243837187, MINIMUM),
        ((0.0, 0.0), 0.0, SADDLE),
        ((1.1092053368047865, -0.7682680925095399), 0.5437186009781853, SADDLE),
        ((1.6071047529201974, 0.5686514548841314), 2.1042503103112575, MINIMUM),
        ((1.638067984189779, 0.2286740690443941), 2.2293571975307134, SADDLE),
        ((1.296070267167109, 0.6050843880386585), 2.2294708180298595, SADDLE),
        ((1.2302298765166526, 0.16233458445899493), 2.496295351023577, MAXIMUM),
    ),
    _HALF_TURN,
)

STYBLINSKI_TANG = _sums(
    (
        (-2.9035340277711774, -39.16616570377141, MINIMUM),
        (0.1567312567803401, 0.19561235905535804, MAXIMUM),
        (2.746802770990837, -25.02944665528394, MINIMUM),
    )
)

# The tip of the cone at 0 is the minimum, where the gradient does not exist; see `ackley`.
ACKLEY = _images(
    (
        ((0.0, 0.0), 0.0, MINIMUM),
        ((0.6257806168564638, 0.0), 3.252469245113179, SADDLE),
        ((0.6730965201107377, 0.6730965201107377), 4.608932401890218, MAXIMUM),
        ((0.8747620388753442, 0.5774125352782147), 4.558777135299984, SADDLE),
        ((0.9521665459501717, 0.0), 2.5799275570298725, MINIMUM),
        ((0.9684776587077244, 0.9684776587077244), 3.5744518772576797, MINIMUM),
        ((1.5950289240728648, 0.9458984927015273), 6.272351266049547, SADDLE),
        ((1.6102960205537258, 0.0), 5.669249530986374, SADDLE),
        ((1.6518481462014178, 1.6518481462014178), 7.784298667124396, MAXIMUM),
        ((1.773445148708471, 0.5495858144229183), 6.668212691534109, MAXIMUM),
        ((1.8559767089749082, 0.5364972381119946), 6.662875642159829, SADDLE),
        ((1.916166848997128, 1.5674502528624068), 7.649233213192808, SADDLE),
        ((1.9589197181217175, 0.0), 4.884065258091152, MINIMUM),
        ((1.9646166628629864, 0.9824160350791393), 5.381864187490191, MINIMUM),
        ((1.9744519864841168, 1.9744519864841168), 6.559645375627877, MINIMUM),
    ),
    _OF_A_SQUARE,
)

# The coordinates of all nine points are multiples of 1/5; the values are whole numbers.
GOLDSTEIN_PRICE = (
    CriticalPoint((0.0, -1.0), 3.0, MINIMUM),
    CriticalPoint((-0.6, -0.4), 30.0, MINIMUM),
    CriticalPoint((-0.4, -0.6), 35.0, SADDLE),
    CriticalPoint((1.8, 0.2), 84.0, MINIMUM),
    CriticalPoint((1.2, -0.2), 99.0, SADDLE),
    CriticalPoint((1.2, 0.8), 840.0, MINIMUM),
    CriticalPoint((1.4, 0.6), 980.0, SADDLE),
    CriticalPoint((0.6, 0.4), 990.0, SADDLE),
    CriticalPoint((0.8, 0.2), 1155.0, MAXIMUM),
)

MONKEY_SADDLE = (CriticalPoint((0.0, 0.0), 0.0, DEGENERATE),)

# Every point of the hyperbola ab = 1 is a minimum. The two listed minima are the flattest.
TWO_FACTORS = (
    CriticalPoint((0.0, 0.0), 0.5, SADDLE),
    CriticalPoint((1.0, 1.0), 0.0, DEGENERATE),
    CriticalPoint((-1.0, -1.0), 0.0, DEGENERATE),
)
