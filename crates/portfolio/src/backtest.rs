//! The long-short backtest of a signal table, with costs on every traded dollar.
//!
//! What it does on each decision date t of the table:
//!
//! 1. **Decide** after the close of t: the names with a score are cut into groups by rank (see
//!    [`crate::quantile_returns`]); ties are broken by instrument order, the instrument listed first ranks
//!    lower. The top group gets +1 of the equity in equal parts, the bottom group -1: gross exposure 2, net 0.
//! 2. **Trade** at the close of t+1 from the holding as it has *drifted* to the new weights. The traded value
//!    is `sum |target - held|` as a fraction of equity; the very first purchase is traded value too (2.0).
//!    Cost = traded value x `cost_bps` / 10000, paid from cash, so that `net = gross - cost` exactly.
//! 3. **Earn** from the close of t+1 to the close of t+2: `gross = sum weight x return`.
//! 4. **Drift**: the weight of a name becomes `weight x (1 + return) / (1 + net)` of the new equity.
//!
//! Which names are held depends on scores alone, never on whether a return exists later; a held name without a
//! return earns 0 and is counted. A date with fewer scored names than groups is skipped and counted: nothing is
//! traded, the holding of the day before is kept and goes on earning. Cash earns nothing. The last holding is
//! not sold. If a day loses all equity the series ends with that day.
//!
//! Not modelled: borrow fees, margin, market impact, dividends beyond what the returns hold, taxes.

use jiff::civil::Date;
use serde::Serialize;

use crate::{Error, SignalTable, groups, statistics::moments};

/// How the long-short portfolio is formed and what trading costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Config {
    /// The groups a date's names are cut into; the top one is bought, the bottom one sold. At least 2.
    pub groups: usize,
    /// The cost of trading in basis points of traded value, charged on every purchase and every sale.
    pub cost_bps: f64,
}

impl Default for Config {
    /// Deciles, and 10 basis points per side.
    fn default() -> Config {
        Config { groups: 10, cost_bps: 10.0 }
    }
}

/// What was not as regular as it should be; all zero for a clean table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Irregular {
    /// Dates with fewer scored names than groups: nothing traded.
    pub too_few_names: usize,
    /// Dates without the return of any name (normally the last two of the data): not part of the series.
    pub no_returns: usize,
    /// Holdings of one name on one day without a return, counted as earning 0.
    pub missing_returns: usize,
    /// Dates on which equal scores met at the edge of the top or the bottom group, so that instrument order
    /// decided who is held.
    pub ties: usize,
}

/// A finished backtest: one entry per day in every series, all fractions of the equity before the day's trade.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// How it was run.
    pub config: Config,
    /// The decision dates t; the return of entry t is earned from the close of t+1 to the close of t+2.
    pub dates: Vec<Date>,
    /// The index of each date in the signal table.
    pub rows: Vec<usize>,
    /// Return before costs.
    pub gross: Vec<f64>,
    /// Cost of the day's trade.
    pub costs: Vec<f64>,
    /// Return after costs: `gross - costs`.
    pub net: Vec<f64>,
    /// Traded value, purchases plus sales.
    pub turnover: Vec<f64>,
    /// The part of `gross` that the names held long earned.
    pub long_leg: Vec<f64>,
    /// The part of `gross` that the names held short earned (positive when they fell).
    pub short_leg: Vec<f64>,
    /// The plain mean return of all scored names: long only, traded daily, no costs. Shares the universe's
    /// selection bias, which an index does not.
    pub universe: Vec<f64>,
    /// What was irregular.
    pub irregular: Irregular,
    /// The day that lost everything, if one did; the series ends there.
    pub ruined_on: Option<Date>,
}

impl Backtest {
    /// Picks the entries of the backtest's days out of a series with one value per date of the signal table,
    /// such as the return of an index (earned from the close of t+1 to the close of t+2).
    ///
    /// # Errors
    /// If the series is shorter than the table was.
    pub fn align(&self, series: &[f64]) -> Result<Vec<f64>, Error> {
        let needed = self.rows.last().map_or(0, |last| last + 1);
        if series.len() < needed {
            return Err(Error::Length { what: "the series to align", expected: needed, got: series.len() });
        }
        Ok(self.rows.iter().map(|&row| series[row]).collect())
    }
}

/// Runs the long-short backtest described in the module documentation.
///
/// `returns` has the layout of the table: the return of the instrument from the close of t+1 to the close of
/// t+2, NaN if unknown.
///
/// # Errors
/// If the returns do not fit the table, the configuration is not usable, or no date can be traded.
pub fn long_short(table: &SignalTable, returns: &[f64], config: &Config) -> Result<Backtest, Error> {
    table.check_groups(config.groups)?;
    table.check_returns(returns)?;
    if !(0.0..=10_000.0).contains(&config.cost_bps) {
        return Err(Error::Cost(config.cost_bps));
    }
    let mut run = Run::new(*config, table.instruments().len());
    for (row, &date) in table.dates().iter().enumerate() {
        let day = Day { date, row, scores: table.row(row), returns: &returns[table.range(row)] };
        run.step(&day);
        if run.result.ruined_on.is_some() {
            break;
        }
    }
    let Irregular { too_few_names, no_returns, .. } = run.result.irregular;
    if run.result.dates.is_empty() {
        return Err(Error::NothingToTrade { dates: table.dates().len(), too_few_names, no_returns });
    }
    Ok(run.result)
}

/// One date of the table, as the run sees it.
struct Day<'a> {
    date: Date,
    row: usize,
    scores: &'a [f64],
    returns: &'a [f64],
}

/// The state between two days: what is held, and the series so far.
struct Run {
    /// Weights of the holding as drifted, fractions of the equity; `None` before the first purchase.
    held: Option<Vec<f64>>,
    names: usize,
    result: Backtest,
}

impl Run {
    fn new(config: Config, names: usize) -> Run {
        let result = Backtest {
            config,
            dates: Vec::new(),
            rows: Vec::new(),
            gross: Vec::new(),
            costs: Vec::new(),
            net: Vec::new(),
            turnover: Vec::new(),
            long_leg: Vec::new(),
            short_leg: Vec::new(),
            universe: Vec::new(),
            irregular: Irregular::default(),
            ruined_on: None,
        };
        Run { held: None, names, result }
    }

    fn step(&mut self, day: &Day) {
        if day.returns.iter().all(|value| value.is_nan()) {
            self.result.irregular.no_returns += 1;
            return;
        }
        let Some((weights, turnover)) = self.trade(day.scores) else { return };
        self.earn(day, &weights, turnover);
    }

    /// The weights after the day's trade and the traded value; `None` if nothing is held yet and nothing can
    /// be bought.
    fn trade(&mut self, scores: &[f64]) -> Option<(Vec<f64>, f64)> {
        let Some(target) = target_weights(scores, self.result.config.groups) else {
            self.result.irregular.too_few_names += 1;
            return self.held.take().map(|held| (held, 0.0));
        };
        if has_tie_at_edge(scores, self.result.config.groups) {
            self.result.irregular.ties += 1;
        }
        let held = self.held.take().unwrap_or_else(|| vec![0.0; self.names]);
        let turnover = target.iter().zip(&held).map(|(to, from)| (to - from).abs()).sum();
        Some((target, turnover))
    }

    fn earn(&mut self, day: &Day, weights: &[f64], turnover: f64) {
        let (mut long, mut short) = (0.0, 0.0);
        let mut earned = vec![0.0; weights.len()];
        for (name, (&weight, &value)) in weights.iter().zip(day.returns).enumerate() {
            if weight == 0.0 {
                continue;
            }
            if value.is_nan() {
                self.result.irregular.missing_returns += 1;
                continue;
            }
            earned[name] = value;
            if weight > 0.0 { long += weight * value } else { short += weight * value }
        }
        let gross = long + short;
        let cost = turnover * self.result.config.cost_bps / 10_000.0;
        let net = gross - cost;
        let scored = day.scores.iter().zip(day.returns).filter(|(score, _)| !score.is_nan());
        let known: Vec<f64> = scored.map(|(_, value)| *value).filter(|value| value.is_finite()).collect();

        let result = &mut self.result;
        result.dates.push(day.date);
        result.rows.push(day.row);
        result.gross.push(gross);
        result.costs.push(cost);
        result.net.push(net);
        result.turnover.push(turnover);
        result.long_leg.push(long);
        result.short_leg.push(short);
        result.universe.push(moments::mean(&known).unwrap_or(0.0));
        if net <= -1.0 {
            result.ruined_on = Some(day.date);
            return;
        }
        let drifted = weights.iter().zip(&earned).map(|(weight, value)| weight * (1.0 + value) / (1.0 + net));
        self.held = Some(drifted.collect());
    }
}

/// +1 over the top group and -1 over the bottom group, each in equal parts.
fn target_weights(scores: &[f64], groups: usize) -> Option<Vec<f64>> {
    let assigned = groups::assign(scores, groups)?;
    let size = |group| assigned.iter().filter(|of| **of == Some(group)).count() as f64;
    let (top, bottom) = (groups - 1, 0);
    let (each_top, each_bottom) = (1.0 / size(top), -1.0 / size(bottom));
    let weight = |of: &Option<usize>| match of {
        Some(group) if *group == top => each_top,
        Some(group) if *group == bottom => each_bottom,
        _ => 0.0,
    };
    Some(assigned.iter().map(weight).collect())
}

/// Whether equal scores lie on both sides of the edge of the top or the bottom group.
fn has_tie_at_edge(scores: &[f64], groups: usize) -> bool {
    let order = groups::ranking(scores);
    let group_of = |rank: usize| rank * groups / order.len();
    let held = |group: usize| group == 0 || group == groups - 1;
    (1..order.len()).any(|rank| {
        let (below, above) = (group_of(rank - 1), group_of(rank));
        below != above && (held(below) || held(above)) && scores[order[rank - 1]] == scores[order[rank]]
    })
}

#[cfg(test)]
#[path = "backtest_tests.rs"]
mod tests;
