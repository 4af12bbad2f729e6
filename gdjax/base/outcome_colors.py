"""Colors of outcomes, the same in figures and pages, by Okabe and Ito, for all kinds of sight."""

OUTCOME_COLORS = {
    "not_converged": "#56B4E9",
    "converged": "#009E73",
    "stalled": "#000000",
    "diverged": "#D55E00",
    "not_finished": "#DDDDDD",
}
