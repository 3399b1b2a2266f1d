//! Medians, of each figure by itself.

use super::{LimitRound, Round, StepFigures};
use crate::bench::measure::Figures;

/// The middle value, the mean of the two middle ones of an even number, 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => f64::midpoint(values[upper - 1], values[upper]),
        _ => values[upper],
    }
}

/// Of whole numbers the lower of the two middle ones, so that it is one that was measured.
fn median_bytes(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

fn of_figures<'a>(figures: impl Iterator<Item = &'a Figures> + Clone) -> Figures {
    Figures {
        wall_seconds: median(figures.clone().map(|figures| figures.wall_seconds).collect()),
        cpu_seconds: median(figures.clone().map(|figures| figures.cpu_seconds).collect()),
        peak_bytes: median_bytes(figures.clone().map(|figures| figures.peak_bytes).collect()),
        other_cpu_seconds: median(figures.map(|figures| figures.other_cpu_seconds).collect()),
    }
}

pub(super) fn of_rounds(rounds: &[Round]) -> Round {
    Round {
        first_backup: of_figures(rounds.iter().map(|round| &round.first_backup)),
        unchanged_backup: of_figures(rounds.iter().map(|round| &round.unchanged_backup)),
        restore: of_figures(rounds.iter().map(|round| &round.restore)),
        stored_bytes: median_bytes(rounds.iter().map(|round| round.stored_bytes).collect()),
        grown_bytes: median_bytes(rounds.iter().map(|round| round.grown_bytes).collect()),
        // They follow from what is done, so one round's are as good as another's.
        requests: rounds.last().and_then(|round| round.requests),
    }
}

/// Every round has the same steps in the same order.
pub(super) fn of_limit(rounds: &[LimitRound]) -> LimitRound {
    let steps = rounds.first().map_or(&[][..], |first| &first.steps);
    let of_step = |(at, first): (usize, &StepFigures)| StepFigures {
        step: first.step,
        figures: of_figures(rounds.iter().map(|round| &round.steps[at].figures)),
    };
    LimitRound {
        steps: steps.iter().enumerate().map(of_step).collect(),
        plain_write: of_figures(rounds.iter().map(|round| &round.plain_write)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::round;
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_between_two_their_mean() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![5.0, 1.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 100.0, 1.0, 2.0], 3.0),
        ] {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
        for (values, expected) in
            [(vec![], 0), (vec![7], 7), (vec![5, 1], 1), (vec![9, 1, 2], 2), (vec![4, 9, 1, 2], 2)]
        {
            assert_eq!(median_bytes(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let mut rounds = [1.0, 2.0, 3.0].map(round);
        rounds[0].restore.wall_seconds = 50.0;
        rounds[2].stored_bytes = 7;
        let median = of_rounds(&rounds);
        assert_eq!(median.first_backup.wall_seconds, 2.0);
        assert_eq!(median.first_backup.cpu_seconds, 4.0);
        assert_eq!(median.restore.wall_seconds, 1.5);
        assert_eq!(median.stored_bytes, rounds[0].stored_bytes);
    }
}
