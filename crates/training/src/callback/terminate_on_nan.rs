//! The end of a fit whose loss is no number, as Keras's `TerminateOnNaN`.

use crate::observer::{BatchProgress, Control, EpochReport, Observer};

/// Stops a fit at the first loss that is NaN or infinite, of a batch or of the validation rows.
///
/// The loss of a batch is that of the weights before its update, so whoever runs the fit stops before the update
/// and keeps the weights of the last epoch or checkpoint whose loss was finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TerminateOnNan {
    found: Option<String>,
}

impl TerminateOnNan {
    /// Whether a fit with this loss may go on.
    pub fn allows(loss: f64) -> bool {
        loss.is_finite()
    }

    /// Where the loss was no number, and what to try; nothing if it always was one.
    pub fn reason(&self) -> Option<&str> {
        self.found.as_deref()
    }

    fn look(&mut self, loss: f64, place: impl FnOnce() -> String) -> Control {
        if self.found.is_none() && !Self::allows(loss) {
            self.found = Some(format!(
                "the {} is {loss}; lower the learning rate, clip gradients (clipnorm) or scale the features",
                place()
            ));
        }
        if self.found.is_some() { Control::Stop } else { Control::Continue }
    }
}

impl Observer for TerminateOnNan {
    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let BatchProgress { epoch, step, loss, .. } = *progress;
        self.look(loss, || format!("loss of epoch {epoch} at step {step}"))
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let EpochReport { epoch, loss, val_loss, .. } = *report;
        self.look(loss, || format!("loss of epoch {epoch}"));
        self.look(val_loss.unwrap_or(0.0), || format!("validation loss of epoch {epoch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::played::{play, report};
    use super::*;

    #[test]
    fn a_loss_that_is_no_number_ends_the_fit() {
        let mut rule = TerminateOnNan::default();
        assert_eq!(play(&mut rule, 0, 12), Control::Continue);
        assert_eq!(rule.reason(), None);
        for loss in [f64::NAN, f64::INFINITY] {
            let mut rule = TerminateOnNan::default();
            let metrics = Default::default();
            let progress = BatchProgress {
                epoch: 2,
                epochs: 9,
                step: 7,
                steps: 9,
                global_step: 16,
                rows: 1,
                loss,
                metrics: &metrics,
                learning_rate: 1e6,
            };
            assert_eq!(rule.on_batch_end(&progress), Control::Stop);
            let expected = format!(
                "the loss of epoch 2 at step 7 is {loss}; lower the learning rate, clip gradients (clipnorm) or scale \
                 the features"
            );
            assert_eq!(rule.reason(), Some(expected.as_str()));
        }
    }

    #[test]
    fn so_does_one_of_the_validation_rows() {
        let mut rule = TerminateOnNan::default();
        let bad = EpochReport { val_loss: Some(f64::NEG_INFINITY), ..report(3) };
        assert_eq!(rule.on_epoch_end(&bad), Control::Stop);
        assert!(rule.reason().unwrap().starts_with("the validation loss of epoch 3 is -inf; "));
        assert_eq!(
            TerminateOnNan::default().on_epoch_end(&EpochReport { val_loss: None, ..report(3) }),
            Control::Continue
        );
    }
}
