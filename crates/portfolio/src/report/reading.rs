//! What a statistic means, in sentences. The limits are stated once here.

use super::{content::TestSection, number};
use crate::statistics::two_sided_p_value;

/// Below this |t| a result is not told from chance: about 1 in 22 samples of pure chance reaches it.
const CHANCE_LIMIT: f64 = 2.0;

/// How a result stands to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not told from chance.
    Chance,
    /// Better than chance.
    Better,
    /// Worse than chance: significant in the wrong direction.
    Worse,
    /// Too little data to say.
    Unknown,
}

impl Standing {
    pub(super) fn of(t: f64) -> Standing {
        match t {
            t if t.is_nan() => Standing::Unknown,
            t if t.abs() < CHANCE_LIMIT => Standing::Chance,
            t if t > 0.0 => Standing::Better,
            _ => Standing::Worse,
        }
    }

    /// The badge of the page.
    pub(super) fn words(self) -> &'static str {
        match self {
            Standing::Chance => "Indistinguishable from chance",
            Standing::Better => "Unlikely to be chance alone",
            Standing::Worse => "Ranks in the wrong direction",
            Standing::Unknown => "Too little data to judge",
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Standing::Better => "good",
            Standing::Worse => "bad",
            Standing::Chance | Standing::Unknown => "neutral",
        }
    }
}

/// A t-statistic of a mean against zero, read aloud for somebody who does not know t-statistics.
pub fn read_t_statistic(t: f64) -> String {
    let often = how_often(two_sided_p_value(t));
    let shown = number::signed(t, 2);
    match Standing::of(t) {
        Standing::Unknown => {
            "There is too little variation or too little data for a t-statistic, so nothing can be said about chance."
                .to_owned()
        }
        Standing::Chance => format!(
            "With t\u{a0}=\u{a0}{shown} the result is indistinguishable from chance: pure luck shows a |t| this large or larger in {often}."
        ),
        Standing::Better => format!(
            "With t\u{a0}=\u{a0}{shown} the result is unlikely to be chance alone: pure luck shows a |t| this large in {often}. \
             That holds for one attempt; after trying many models the bar is higher, and t > 3 is a usual demand."
        ),
        Standing::Worse => format!(
            "With t\u{a0}=\u{a0}{shown} the ranking is significantly wrong: pure luck shows a |t| this large in {often}, and \
             the names ranked high did worse than the names ranked low."
        ),
    }
}

fn how_often(p: f64) -> String {
    match p {
        p if p >= 0.005 => format!("about {} of 100 samples", number::decimal(p * 100.0, 0)),
        p if p >= 1e-6 => format!("about 1 of {} samples", number::decimal(1.0 / p, 0)),
        _ => "less than one sample in a million".to_owned(),
    }
}

/// What accuracy and log-loss say beside the rank IC: a classifier of return classes can learn which names
/// move much without learning which way.
pub(super) fn read_skill(test: &TestSection) -> String {
    let Some(classes) = &test.classes else { return read_numbers(test) };
    let sharper = classes.log_loss < classes.chance_log_loss;
    match (sharper, Standing::of(test.rank_ic.t_statistic)) {
        (true, Standing::Chance | Standing::Worse) => "The log-loss is below that of guessing while the ranking \
             carries no usable direction: a usual reason is that the model has learned which names move much, not which way."
            .to_owned(),
        (true, Standing::Better) => "Both the probabilities and the ranking are better than guessing.".to_owned(),
        (false, Standing::Better) => "The ranking is better than guessing although the probabilities themselves are \
             not: they are badly calibrated, and should be read as an order only."
            .to_owned(),
        (false, Standing::Chance | Standing::Worse) => "Neither the probabilities nor the ranking are better than \
             guessing on this window."
            .to_owned(),
        (_, Standing::Unknown) => "The daily ranking could not be judged on this window.".to_owned(),
    }
}

/// The same of predicted numbers.
fn read_numbers(test: &TestSection) -> String {
    let nearer = test.numbers.is_some_and(|numbers| numbers.r2 > 0.0);
    match (nearer, Standing::of(test.rank_ic.t_statistic)) {
        (_, Standing::Unknown) => "The daily ranking could not be judged on this window.",
        (true, Standing::Better) => "Both the numbers and their ranking are better than guessing.",
        (false, Standing::Better) => "The ranking is better than guessing although the numbers themselves are no nearer \
             than their mean: read them as an order only.",
        (true, _) => "The numbers are nearer than their mean while their ranking within a day carries no usable direction: \
             they may tell days apart rather than names.",
        (false, _) => "Neither the numbers nor their ranking are better than guessing on this window.",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_t_statistic_by_its_size_and_sign() {
        let weak = read_t_statistic(-1.0);
        assert!(
            weak.contains("t\u{a0}=\u{a0}\u{2212}1.00") && weak.contains("indistinguishable from chance"),
            "{weak}"
        );
        assert!(weak.contains("about 32 of 100"), "{weak}");
        assert!(read_t_statistic(2.5).contains("unlikely to be chance alone"));
        assert!(read_t_statistic(3.5).contains("about 1 of 2,1"));
        assert!(read_t_statistic(-2.5).contains("significantly wrong"));
        assert!(read_t_statistic(9.0).contains("less than one sample in a million"));
        assert!(read_t_statistic(f64::NAN).contains("nothing can be said"));
    }

    #[test]
    fn the_limit_is_two() {
        assert_eq!(Standing::of(1.999), Standing::Chance);
        assert_eq!(Standing::of(2.0), Standing::Better);
        assert_eq!(Standing::of(-2.0), Standing::Worse);
    }
}
