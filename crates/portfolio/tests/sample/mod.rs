//! A made-up report of the size of a real one: five years, twenty names, no skill. Same numbers every time.

use jiff::civil::{Date, date};
use portfolio::{
    SignalTable,
    backtest::{Config, long_short},
    quantile_returns,
    report::{
        BacktestSection, Benchmark, Border, Command, DataSection, Epoch, Expression, Fact, FeatureSection,
        LeftOut, PredictionRow, PredictionSection, QualityRow, RankIc, Report, SplitSection, TestSection,
        TrainingSection, Window,
    },
    statistics::t_statistic,
};

const NAMES: [&str; 20] = [
    "AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO", "LLY", "MRK", "MSFT", "PEP", "PFE",
    "PG", "RRC", "UNH", "WMT", "XOM",
];

/// A small generator of made-up numbers (Marsaglia 2003, "Xorshift RNGs").
struct Made(u64);

impl Made {
    /// Roughly normal, mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Made-up scores and returns.
pub(crate) struct Market {
    dates: Vec<Date>,
    scores: Vec<f64>,
    returns: Vec<f64>,
    index: Vec<f64>,
}

impl Market {
    /// Weekdays from the start of 2018; each score is the return times `skill` plus noise.
    pub(crate) fn new(days: usize, skill: f64) -> Market {
        let mut made = Made(0x9e37_79b9_7f4a_7c15);
        let dates = weekdays(days);
        let (mut scores, mut returns, mut index) = (Vec::new(), Vec::new(), Vec::new());
        let mut sticky = [0.0; NAMES.len()];
        for _ in &dates {
            let market = 0.0004 + 0.011 * made.normal();
            index.push(market);
            for stay in &mut sticky {
                let own = 0.014 * made.normal();
                *stay = 0.8 * *stay + 0.6 * made.normal();
                scores.push(4.5 + 0.12 * (*stay + skill * own / 0.014));
                returns.push(market + 0.0002 + own);
            }
        }
        Market { dates, scores, returns, index }
    }

    fn rank_ics(&self) -> Vec<(Date, f64)> {
        let days = self.scores.chunks(NAMES.len()).zip(self.returns.chunks(NAMES.len()));
        self.dates
            .iter()
            .zip(days)
            .map(|(date, (scores, returns))| (*date, spearman(scores, returns)))
            .collect()
    }
}

fn weekdays(days: usize) -> Vec<Date> {
    let mut dates = Vec::new();
    let mut day = date(2018, 1, 2);
    while dates.len() < days {
        if day.weekday().to_monday_zero_offset() < 5 {
            dates.push(day);
        }
        day = day.saturating_add(jiff::SignedDuration::from_hours(24));
    }
    dates
}

fn ranks(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| values.iter().filter(|other| *other < value).count() as f64).collect()
}

fn spearman(left: &[f64], right: &[f64]) -> f64 {
    let (left, right) = (ranks(left), ranks(right));
    let n = left.len() as f64;
    let squares: f64 = left.iter().zip(&right).map(|(a, b)| (a - b) * (a - b)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

/// The whole report over a market; `symbol` is the first name, so that a test can choose a hostile one.
pub(crate) fn report(market: &Market, symbol: &str) -> Report {
    let mut names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    names[0] = symbol.to_owned();
    let daily = market.rank_ics();
    let table = SignalTable::new(market.dates.clone(), names.clone(), market.scores.clone()).expect("table");
    let run = long_short(&table, &market.returns, &Config::default()).expect("backtest");
    let index = run.align(&market.index).expect("one return a date");
    let (first, last) = (market.dates[0], market.dates[market.dates.len() - 1]);
    Report {
        title: "sp500-deciles, version 1".to_owned(),
        subtitle: "A decile classifier on 20 US stocks, trained, deployed and asked over HTTP in one run".to_owned(),
        created_at: "2026-11-23 22:40 UTC".to_owned(),
        verdict: vec![
            "On data it has never seen, the model ranks the names no better than chance does.".to_owned(),
            "That is an honest and a common result: 75 price features of 20 large stocks hold little about the next day."
                .to_owned(),
        ],
        data: data(&names),
        features: features(),
        splits: splits(first, last, market.dates.len()),
        training: training(),
        test: test_section(&daily, market.scores.len()),
        groups: quantile_returns(&table, &market.returns, 10).expect("groups"),
        backtest: Some(BacktestSection {
            backtest: run,
            benchmark: Some(Benchmark { name: "S&P 500".to_owned(), returns: index }),
        }),
        predictions: Some(predictions(&names)),
        caveats: Vec::new(),
        provenance: vec![
            Fact::new("Data set digest", "sha256:1f0c7a52c9d1b7e0a64f9a3bb6fd8b9c6a17d0e2f8f0c3f7c1f5b6a2d9e8f701"),
            Fact::new("Bundle digest", "sha256:9be1c60b6f3d2c7fb0a1a4e5d6c8f9b0e1d2c3b4a5968778695a4b3c2d1e0f9a"),
            Fact::new("Seed", 7),
            Fact::new("Made by", "bellwether 0.1.0"),
        ],
        next: next(),
    }
}

fn data(names: &[String]) -> DataSection {
    let row = |check: &str, value: &str, remark: &str| QualityRow {
        check: check.to_owned(),
        value: value.to_owned(),
        remark: remark.to_owned(),
    };
    DataSection {
        dataset: "sp500-20, snapshot 1".to_owned(),
        source: "skfolio 1.12.2 (BSD-3)".to_owned(),
        first: date(1990, 1, 2),
        last: date(2022, 12, 28),
        dates: 8313,
        universe: names.to_vec(),
        alive_at_end: names.len(),
        price_resolution: Some(0.001),
        zero_returns: Some(0.031),
        adjustment: Some("back-adjusted by their source".to_owned()),
        notes: vec!["Trained from 2000: before, one price step is up to 0.7% of a price.".to_owned()],
        quality: vec![
            row("Rows", "185,807", "date and symbol pairs with a close"),
            row("Missing bars", "0", "inside an instrument's own span"),
            row("Duplicates", "0", ""),
            row("Suspicious jumps", "14", "more than 40% in a day, none of them split-like"),
        ],
    }
}

fn features() -> FeatureSection {
    let windows = [5, 10, 20, 30, 60];
    let expressions = windows.iter().flat_map(|window| {
        [("ROC", format!("Ref($close, {window})/$close")), ("MA", format!("Mean($close, {window})/$close"))]
            .map(|(name, expression)| Expression { name: format!("{name}{window}"), expression })
    });
    FeatureSection {
        included: expressions.collect(),
        left_out: vec![
            LeftOut { name: "KMID".to_owned(), reason: "needs $open".to_owned() },
            LeftOut { name: "VMA5".to_owned(), reason: "needs $volume".to_owned() },
        ],
        lookback_bars: 60,
        label: "Ref($close,-2)/Ref($close,-1)-1".to_owned(),
        classes: Some(10),
        processors: vec![
            "robust z-score fitted on the training window".to_owned(),
            "clip at \u{b1}3".to_owned(),
        ],
    }
}

fn splits(first: Date, last: Date, dates: usize) -> SplitSection {
    let window = |name: &str, first: Date, last: Date, dates: usize| Window {
        name: name.to_owned(),
        first,
        last,
        dates,
        rows: dates * NAMES.len(),
    };
    SplitSection {
        windows: vec![
            window("train", date(2000, 3, 30), date(2014, 12, 29), 3710),
            window("valid", date(2015, 1, 9), date(2017, 12, 27), 748),
            window("test", first, last, dates),
        ],
        borders: vec![Border {
            name: "train | valid".to_owned(),
            purged: vec![date(2014, 12, 30), date(2014, 12, 31)],
            embargoed: (2..=8).filter(|day| ![3, 4].contains(day)).map(|day| date(2015, 1, day)).collect(),
        }],
    }
}

fn training() -> TrainingSection {
    let epoch = |n: f64| Epoch {
        loss: 2.286 + 0.02 / n,
        accuracy: Some(0.128 - 0.02 / n),
        valid_loss: Some(2.2985 + 0.0002 * (n - 4.0).powi(2)),
        valid_accuracy: Some(0.109 + 0.002 / n),
    };
    TrainingSection {
        settings: vec![
            Fact::new("Network", "75 inputs, dense 128 relu, dense 10 softmax: 11,018 parameters"),
            Fact::new("Optimizer", "adam, learning rate 0.001, batches of 256"),
            Fact::new("Loss", "sparse categorical cross-entropy"),
            Fact::new("Duration", "6.4 s"),
        ],
        history: (1..=10).map(|n| epoch(f64::from(n))).collect(),
    }
}

fn test_section(daily: &[(Date, f64)], rows: usize) -> TestSection {
    let values: Vec<f64> = daily.iter().map(|day| day.1).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0)).sqrt();
    TestSection {
        first: daily[0].0,
        last: daily[daily.len() - 1].0,
        rows,
        classes: Some(ClassSkill {
            accuracy: 0.1092,
            chance_accuracy: 0.1,
            log_loss: 2.2961,
            chance_log_loss: 10f64.ln(),
        }),
        numbers: None,
        rank_ic: RankIc {
            mean,
            std,
            icir: mean / std,
            t_statistic: t_statistic(&values).unwrap_or(f64::NAN),
            days: values.len(),
            skipped: 0,
        },
        daily_rank_ic: daily.to_vec(),
    }
}

fn predictions(names: &[String]) -> PredictionSection {
    let row = |(index, symbol): (usize, &String)| {
        let lean = ((index as f64) * 2.399).sin();
        PredictionRow {
            symbol: symbol.clone(),
            top: 0.1 + 0.05 * lean + 0.01 * (index as f64).cos(),
            bottom: 0.1 - 0.04 * lean + 0.01 * (index as f64).cos(),
            score: 4.5 + 0.4 * lean,
            rank: 0,
        }
    };
    let mut rows: Vec<PredictionRow> = names.iter().enumerate().map(row).collect();
    rows.sort_by(|a, b| b.score.total_cmp(&a.score));
    for (place, row) in rows.iter_mut().enumerate() {
        row.rank = place + 1;
    }
    PredictionSection {
        as_of: date(2022, 12, 28),
        answered_by: "sp500-deciles@1 on endpoint sp500-deciles".to_owned(),
        rows,
        chance: 0.1,
        warnings: Vec::new(),
    }
}

fn next() -> Vec<Command> {
    let command = |title: &str, language: &str, code: &str| Command {
        title: title.to_owned(),
        language: language.to_owned(),
        code: code.to_owned(),
    };
    let url = "http://127.0.0.1:8080/v1/projects/default/locations/local/endpoints/sp500-deciles:predict";
    vec![
        command("Serve the model", "sh", "bellwether serve --data-dir ./bellwether-data"),
        command(
            "Ask it from a shell",
            "sh",
            &format!(
                "curl -s {url} \\\n  -H 'content-type: application/json' \\\n  -d '{{\"instances\": [{{\"symbol\": \"AAPL\"}}], \"parameters\": {{\"as_of\": \"2022-12-28\"}}}}'"
            ),
        ),
        command(
            "Ask it from Python",
            "python",
            &format!(
                "import json, urllib.request\n\nbody = json.dumps({{\"instances\": [{{\"symbol\": \"AAPL\"}}]}}).encode()\nrequest = urllib.request.Request(\"{url}\", body, {{\"content-type\": \"application/json\"}})\nprint(json.load(urllib.request.urlopen(request))[\"predictions\"])"
            ),
        ),
    ]
}
