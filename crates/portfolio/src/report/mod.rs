//! The report: one self-contained HTML page with plots drawn as inline SVG.
//!
//! [`html`] turns a [`Report`] into a page that needs no network, no script and no font: it opens from disk,
//! prints, follows the reader's light or dark setting, and forbids itself every outside resource by a content
//! security policy. Deliberately not here: computing anything that is not a statistic of the given series.

mod closing;
mod content;
mod making;
mod markup;
mod number;
mod page;
mod parts;
mod plot;
mod reading;
mod skill;
mod trading;

pub use content::{
    BacktestSection, Benchmark, Border, Caveat, ClassSkill, Command, DataSection, Epoch, Expression, Fact,
    FeatureSection, LeftOut, NumberSkill, PredictionRow, PredictionSection, QualityRow, RankIc, Report, SplitSection,
    TestSection, TrainingSection, Window,
};
pub use reading::read_t_statistic;

/// Writes the page.
///
/// The same report gives the same bytes. Long series are thinned for drawing, so the page of any span stays
/// in the hundreds of kilobytes; tables and statistics are always of the whole series. A series that does
/// not fit (a benchmark of another length) is left out, and the page says so.
pub fn html(report: &Report) -> String {
    page::render(report)
}
