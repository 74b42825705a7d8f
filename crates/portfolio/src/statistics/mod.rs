//! What a series of daily returns is worth, one statistic a file. No annualised number without its formula.
//!
//! All returns are simple daily returns as fractions. A year has [`DAYS_PER_YEAR`] trading days and the
//! risk-free rate is 0. Every function gives `None` where the statistic is not defined: too few days, a
//! constant series under a division by its deviation, or a value that is not finite.

mod alpha;
mod annual_return;
mod beta;
mod cost;
mod excess_return;
mod hit_rate;
mod max_drawdown;
mod sharpe;
mod t_statistic;
mod total_return;
mod turnover;
mod volatility;

pub(crate) mod moments;

use serde::Serialize;

pub use alpha::alpha;
pub use annual_return::annual_return;
pub use beta::beta;
pub use cost::{annual_cost, break_even_cost_bps};
pub use excess_return::excess_return;
pub use hit_rate::hit_rate;
pub use max_drawdown::{Drawdown, drawdowns, max_drawdown};
pub use sharpe::sharpe;
pub use t_statistic::{t_statistic, two_sided_p_value};
pub use total_return::{equity, total_return};
pub use turnover::mean_turnover;
pub use volatility::volatility;

use crate::{Error, backtest::Backtest, signal::check_length};

/// Trading days in a year, for everything annualised.
pub const DAYS_PER_YEAR: f64 = 252.0;

/// All statistics of one series. `None` is "not defined for this series".
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Days in the series.
    pub days: usize,
    /// See [`total_return()`].
    pub total_return: Option<f64>,
    /// See [`annual_return()`].
    pub annual_return: Option<f64>,
    /// See [`volatility()`].
    pub volatility: Option<f64>,
    /// See [`sharpe()`].
    pub sharpe: Option<f64>,
    /// See [`t_statistic()`].
    pub t_statistic: Option<f64>,
    /// See [`max_drawdown()`].
    pub max_drawdown: Option<Drawdown>,
    /// See [`hit_rate()`].
    pub hit_rate: Option<f64>,
    /// See [`beta()`]; needs a benchmark.
    pub beta: Option<f64>,
    /// See [`alpha()`]; needs a benchmark.
    pub alpha: Option<f64>,
    /// See [`excess_return()`]; needs a benchmark.
    pub excess_return: Option<f64>,
    /// See [`mean_turnover()`]; needs a backtest.
    pub mean_turnover: Option<f64>,
    /// See [`annual_cost()`]; needs a backtest.
    pub annual_cost: Option<f64>,
    /// See [`break_even_cost_bps()`]; needs a backtest.
    pub break_even_cost_bps: Option<f64>,
}

impl Statistics {
    /// The statistics that need nothing but the returns.
    pub fn of_returns(returns: &[f64]) -> Statistics {
        Statistics {
            days: returns.len(),
            total_return: total_return(returns),
            annual_return: annual_return(returns),
            volatility: volatility(returns),
            sharpe: sharpe(returns),
            t_statistic: t_statistic(returns),
            max_drawdown: max_drawdown(returns),
            hit_rate: hit_rate(returns),
            ..Statistics::default()
        }
    }

    /// The statistics of returns beside a benchmark of the same days; days on which the benchmark is NaN are
    /// left out of beta, alpha and excess.
    ///
    /// # Errors
    /// If the two series differ in length.
    pub fn against(returns: &[f64], benchmark: &[f64]) -> Result<Statistics, Error> {
        check_length("the benchmark", returns.len(), benchmark.len())?;
        Ok(Statistics {
            beta: beta(returns, benchmark),
            alpha: alpha(returns, benchmark),
            excess_return: excess_return(returns, benchmark),
            ..Statistics::of_returns(returns)
        })
    }

    /// The statistics of a backtest after costs, beside a benchmark if there is one.
    ///
    /// # Errors
    /// If the benchmark does not have one return per day of the backtest.
    pub fn of_backtest(backtest: &Backtest, benchmark: Option<&[f64]>) -> Result<Statistics, Error> {
        let series = match benchmark {
            Some(benchmark) => Statistics::against(&backtest.net, benchmark)?,
            None => Statistics::of_returns(&backtest.net),
        };
        Ok(Statistics {
            mean_turnover: mean_turnover(&backtest.turnover),
            annual_cost: annual_cost(&backtest.costs),
            break_even_cost_bps: break_even_cost_bps(&backtest.gross, &backtest.turnover),
            ..series
        })
    }
}

/// The days on which both series are known.
pub(crate) fn paired(returns: &[f64], benchmark: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
    if returns.len() != benchmark.len() {
        return None;
    }
    let both = returns.iter().copied().zip(benchmark.iter().copied());
    Some(both.filter(|(_, value)| !value.is_nan()).unzip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_and_one_day_series_have_no_statistic_that_divides_by_a_deviation() {
        for series in [vec![0.001; 30], vec![0.001]] {
            let statistics = Statistics::against(&series, &vec![0.002; series.len()]).expect("statistics");
            assert!(statistics.total_return.is_some() && statistics.hit_rate == Some(1.0));
            assert_eq!((statistics.sharpe, statistics.t_statistic, statistics.beta), (None, None, None));
        }
        assert_eq!(Statistics::of_returns(&[0.001; 30]).volatility, Some(0.0));
        assert_eq!(Statistics::of_returns(&[0.001]).volatility, None);
    }

    #[test]
    fn empty_and_not_finite_series_have_no_statistics() {
        assert_eq!(Statistics::of_returns(&[]), Statistics::default());
        let broken = Statistics::of_returns(&[0.01, f64::NAN, 0.02]);
        assert_eq!(broken, Statistics { days: 3, ..Statistics::default() });
        assert_eq!(Statistics::of_returns(&[0.01, f64::INFINITY]).volatility, None);
    }

    #[test]
    fn a_benchmark_of_another_length_is_refused() {
        assert!(Statistics::against(&[0.1, 0.2], &[0.1]).is_err());
    }

    #[test]
    fn days_without_a_benchmark_are_left_out_of_the_comparison_only() {
        let with_gap =
            Statistics::against(&[0.01, 0.5, -0.01], &[0.02, f64::NAN, -0.02]).expect("statistics");
        assert!((with_gap.beta.expect("beta") - 0.5).abs() < 1e-12);
        assert_eq!(with_gap.days, 3);
    }
}
