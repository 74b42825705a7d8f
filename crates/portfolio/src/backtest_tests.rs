//! The backtest against examples computed by hand.

use super::*;
use jiff::civil::date;

const NONE: f64 = f64::NAN;

fn table(days: usize, scores: Vec<f64>) -> SignalTable {
    let dates = (1..=days).map(|day| date(2020, 1, day as i8)).collect();
    let names = (0..scores.len() / days).map(|name| format!("N{name}")).collect();
    SignalTable::new(dates, names, scores).expect("table")
}

fn close(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-14, "got {got}, want {want}");
}

fn halves(cost_bps: f64) -> Config {
    Config { groups: 2, cost_bps }
}

#[test]
fn first_day_buys_the_whole_holding_and_pays_for_it() {
    // Long N2, N3 at +0.5 each, short N0, N1 at -0.5 each; 10 bp of traded value 2.0 = 0.002.
    let result = long_short(&table(1, vec![1.0, 2.0, 3.0, 4.0]), &[0.01, -0.02, 0.04, 0.02], &halves(10.0))
        .expect("backtest");
    close(result.turnover[0], 2.0);
    close(result.costs[0], 0.002);
    close(result.long_leg[0], 0.03);
    close(result.short_leg[0], 0.005);
    close(result.gross[0], 0.035);
    close(result.net[0], 0.033);
    close(result.universe[0], 0.0125);
    assert_eq!((result.irregular, result.ruined_on), (Irregular::default(), None));
}

#[test]
fn an_unchanged_decision_trades_only_the_drift() {
    // Day 1: long N1 +1, short N0 -1; N1 earns 10 %, N0 earns 0: gross 0.10, cost 0.002, net 0.098.
    // Drifted: N1 1.1 / 1.098, N0 -1 / 1.098. Back to +1 / -1 trades 0.002 / 1.098 + 0.098 / 1.098.
    let result = long_short(&table(2, vec![1.0, 2.0, 1.0, 2.0]), &[0.0, 0.1, 0.0, 0.0], &halves(10.0))
        .expect("backtest");
    close(result.net[0], 0.098);
    close(result.turnover[1], 0.1 / 1.098);
    close(result.costs[1], 0.1 / 1.098 * 0.001);
    close(result.net[1], -0.1 / 1.098 * 0.001);
}

#[test]
fn turning_the_holding_around_trades_four_times_the_equity() {
    let result = long_short(&table(2, vec![1.0, 2.0, 2.0, 1.0]), &[0.0, 0.0, 0.03, 0.01], &halves(0.0))
        .expect("backtest");
    close(result.turnover[1], 4.0);
    close(result.gross[1], 0.02);
    assert_eq!(result.net, result.gross);
}

#[test]
fn a_date_with_too_few_names_keeps_the_drifted_holding_without_trading() {
    // Day 2 has one score: the holding of day 1 (+1 N1, -1 N0; N1 rose 10 %, no cost) goes on.
    let scores = vec![1.0, 2.0, NONE, 2.0, 1.0, 2.0];
    let result =
        long_short(&table(3, scores), &[0.0, 0.1, 0.0, 0.05, 0.0, 0.0], &halves(0.0)).expect("backtest");
    assert_eq!(result.irregular.too_few_names, 1);
    assert_eq!(result.dates.len(), 3);
    close(result.turnover[1], 0.0);
    close(result.gross[1], 1.1 / 1.1 * 0.05);
    // Day 3 sells the drift of two days: N1 at 1.05 / 1.05, N0 at -(1 / 1.1) / 1.05.
    close(result.turnover[2], 1.0 - 1.0 / 1.1 / 1.05);
}

#[test]
fn dates_before_the_first_purchase_and_after_the_last_return_are_left_out() {
    let scores = vec![NONE, 2.0, 1.0, 2.0, 1.0, 2.0];
    let returns = [0.5, 0.5, 0.0, 0.01, NONE, NONE];
    let result = long_short(&table(3, scores), &returns, &halves(10.0)).expect("backtest");
    assert_eq!(result.dates, vec![date(2020, 1, 2)]);
    assert_eq!(result.rows, vec![1]);
    assert_eq!((result.irregular.too_few_names, result.irregular.no_returns), (1, 1));
    assert_eq!(result.align(&[7.0, 8.0, 9.0]), Ok(vec![8.0]));
    assert!(result.align(&[7.0]).is_err());
}

#[test]
fn a_held_name_without_a_return_earns_nothing_and_is_counted() {
    let result = long_short(&table(1, vec![1.0, 2.0, 3.0, 4.0]), &[0.0, 0.0, NONE, 0.02], &halves(0.0))
        .expect("backtest");
    close(result.gross[0], 0.01);
    assert_eq!(result.irregular.missing_returns, 1);
}

#[test]
fn whether_a_return_exists_later_never_changes_who_is_held() {
    let scores = vec![1.0, 2.0, 3.0, 4.0];
    let all = long_short(&table(1, scores.clone()), &[0.0, 0.0, 0.0, 0.04], &halves(0.0)).expect("backtest");
    let gap = long_short(&table(1, scores), &[NONE, 0.0, NONE, 0.04], &halves(0.0)).expect("backtest");
    assert_eq!(all.gross, gap.gross);
}

#[test]
fn ties_at_the_edge_are_counted_and_broken_by_instrument_order() {
    let result = long_short(&table(1, vec![5.0, 5.0, 5.0, 5.0]), &[0.0, 0.0, 0.02, 0.04], &halves(0.0))
        .expect("backtest");
    assert_eq!(result.irregular.ties, 1);
    close(result.gross[0], 0.03);
    let clear = long_short(&table(1, vec![5.0, 5.0, 6.0, 6.0]), &[0.0, 0.0, 0.02, 0.04], &halves(0.0))
        .expect("backtest");
    assert_eq!(clear.irregular.ties, 0);
}

#[test]
fn a_tie_between_two_middle_groups_is_not_counted() {
    // Four groups of one: the tie of N1 and N2 decides nothing about who is held.
    let config = Config { groups: 4, cost_bps: 0.0 };
    let result = long_short(&table(1, vec![1.0, 2.0, 2.0, 3.0]), &[0.0; 4], &config).expect("backtest");
    assert_eq!(result.irregular.ties, 0);
}

#[test]
fn a_day_that_loses_everything_ends_the_series() {
    let scores = vec![1.0, 2.0, 1.0, 2.0];
    let result = long_short(&table(2, scores), &[1.5, 0.1, 0.0, 0.1], &halves(0.0)).expect("backtest");
    close(result.net[0], -1.4);
    assert_eq!(result.ruined_on, Some(date(2020, 1, 1)));
    assert_eq!(result.net.len(), 1);
}

#[test]
fn equity_by_shares_and_cash_agrees_with_weights_and_drift() {
    // The same three days kept in money: shares, prices, cash; the two bookkeepings must agree.
    let scores = vec![1.0, 3.0, 2.0, 2.0, 1.0, 3.0, 3.0, 2.0, 1.0];
    let returns = [0.02, 0.05, -0.01, -0.03, 0.04, 0.06, 0.01, -0.02, 0.03];
    let config = Config { groups: 3, cost_bps: 25.0 };
    let result = long_short(&table(3, scores), &returns, &config).expect("backtest");
    let (targets, mut values, mut cash) =
        ([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, -1.0]], [0.0; 3], 100.0f64);
    for day in 0..3 {
        let equity: f64 = cash + values.iter().sum::<f64>();
        for name in 0..3 {
            let trade: f64 = targets[day][name] * equity - values[name];
            values[name] += trade;
            cash -= trade + trade.abs() * 0.0025;
        }
        for name in 0..3 {
            values[name] *= 1.0 + returns[day * 3 + name];
        }
        let after = cash + values.iter().sum::<f64>();
        close(result.net[day], after / equity - 1.0);
    }
}

#[test]
fn refuses_what_cannot_be_run() {
    let two = table(1, vec![1.0, 2.0]);
    assert!(matches!(long_short(&two, &[0.0], &halves(10.0)), Err(Error::Length { .. })));
    assert!(matches!(long_short(&two, &[0.0, 0.0], &halves(-1.0)), Err(Error::Cost(_))));
    assert!(matches!(long_short(&two, &[0.0, 0.0], &halves(f64::NAN)), Err(Error::Cost(_))));
    assert!(matches!(long_short(&two, &[0.0, 0.0], &Config::default()), Err(Error::Groups { .. })));
    let none = long_short(&table(1, vec![NONE, NONE]), &[0.0, 0.0], &halves(10.0));
    assert_eq!(none, Err(Error::NothingToTrade { dates: 1, too_few_names: 1, no_returns: 0 }));
}
