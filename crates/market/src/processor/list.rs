//! Qlib's processors by their names (`qlib/data/dataset/processor.py`), as an ordered list.
//!
//! Those that choose columns or look across instruments come first: they are part of what a feature is, and are
//! written into its expression, so that one symbol is served as a whole universe was trained. Those that look at each
//! column alone follow; they are fitted on the training window and become nodes of the model's graph.

use serde::{Deserialize, Serialize};

use super::fitted::apply;
use super::{ColumnStep, NanPolicy, Normalization, Scaling, scalings};
use crate::nearest::unknown;
use crate::{Error, Result};

/// What Qlib clips robust scores at.
const CLIP: f32 = 3.0;

/// How a cross-section is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossMethod {
    /// (x - mean) / deviation with n - 1.
    #[default]
    Zscore,
    /// (x - median) / (1.4826 MAD), cut at 3 either way.
    Robust,
}

/// A processor of Qlib.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", deny_unknown_fields)]
pub enum Processor {
    /// Leaves out these features.
    DropCol {
        /// Their names.
        columns: Vec<String>,
    },
    /// Keeps these features alone, in the order they have.
    FilterCol {
        /// Their names.
        columns: Vec<String>,
    },
    /// Leaves out training rows without a label, which is done anyway.
    DropnaLabel,
    /// Leaves out training rows with a missing feature; serving refuses such a row.
    DropnaProcessor,
    /// At each time an infinite value becomes the mean of the universe.
    ProcessInf,
    /// A missing value becomes this one.
    Fillna {
        /// What it becomes.
        #[serde(default)]
        value: f32,
    },
    /// At each time a missing value becomes the mean of the universe.
    CSZFillna,
    /// (x - mean) / deviation with n, of the training window.
    ZScoreNorm,
    /// (x - median) / ((MAD + 1e-12) 1.4826) of the training window, cut at 3 either way.
    RobustZScoreNorm {
        /// Whether it is cut.
        #[serde(default = "yes")]
        clip_outlier: bool,
    },
    /// (x - min) / (max - min) of the training window.
    MinMaxNorm,
    /// At each time on the scale of the universe.
    CSZScoreNorm {
        /// Which scale.
        #[serde(default)]
        method: CrossMethod,
    },
    /// At each time (percentile rank - 0.5) x 3.46.
    CSRankNorm,
    /// tanh(x - 1).
    TanhProcess,
    /// Keeps instruments that have bars from the first to the last of two days: refused, since who survives to the
    /// last day is not known before it.
    TimeRangeFlt {
        /// First day.
        #[serde(default)]
        start_time: Option<String>,
        /// Last day.
        #[serde(default)]
        end_time: Option<String>,
    },
}

fn yes() -> bool {
    true
}

impl Processor {
    /// What it makes of a feature's expression, if it looks across instruments.
    fn across(&self, expression: &str) -> Option<String> {
        Some(match self {
            Self::ProcessInf => {
                // Nothing but infinity is larger than the largest number, and infinity less itself is missing.
                let x = expression;
                format!("If(Abs({x})>1.7976931348623157e308,CSFill(({x})+(({x})-({x}))),{x})")
            }
            Self::CSZFillna => format!("CSFill({expression})"),
            Self::CSZScoreNorm { method: CrossMethod::Zscore } => format!("CSZScore({expression})"),
            Self::CSZScoreNorm { method: CrossMethod::Robust } => format!("CSRobustZScore({expression})"),
            Self::CSRankNorm => format!("(CSRank({expression})-0.5)*3.46"),
            _ => return None,
        })
    }

    /// Whether it looks at each column alone.
    fn is_of_a_column(&self) -> bool {
        matches!(
            self,
            Self::Fillna { .. }
                | Self::ZScoreNorm
                | Self::RobustZScoreNorm { .. }
                | Self::MinMaxNorm
                | Self::TanhProcess
        )
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::DropCol { columns } => format!("without {}", columns.join(", ")),
            Self::FilterCol { columns } => format!("of the set, {}", columns.join(", ")),
            Self::DropnaLabel => "rows without a label are left out".to_owned(),
            Self::DropnaProcessor => "rows with a missing value are left out of the training".to_owned(),
            Self::ProcessInf => "an infinite value becomes the mean of the universe of its date".to_owned(),
            Self::Fillna { value } => format!("a missing value becomes {value}"),
            Self::CSZFillna => "a missing value becomes the mean of the universe of its date".to_owned(),
            Self::ZScoreNorm => "z-score, fitted on the training window only".to_owned(),
            Self::RobustZScoreNorm { clip_outlier } => format!(
                "robust z-score, fitted on the training window only{}",
                if *clip_outlier { ", clipped at -3 and +3" } else { "" }
            ),
            Self::MinMaxNorm => "from 0 to 1, fitted on the training window only".to_owned(),
            Self::CSZScoreNorm { method: CrossMethod::Zscore } => {
                "z-score in the universe of its date".to_owned()
            }
            Self::CSZScoreNorm { method: CrossMethod::Robust } => {
                "robust z-score in the universe of its date, clipped at -3 and +3".to_owned()
            }
            Self::CSRankNorm => "rank in the universe of its date, from -1.73 to 1.73".to_owned(),
            Self::TanhProcess => "tanh(x - 1)".to_owned(),
            Self::TimeRangeFlt { .. } => "instruments with bars between two days".to_owned(),
        }
    }
}

/// What becomes of a missing feature; checks the order of the steps on the way.
pub(super) fn nan_policy(steps: &[Processor]) -> Result<NanPolicy> {
    let mut fitted = None;
    for step in steps {
        if matches!(step, Processor::TimeRangeFlt { .. }) {
            return Err(Error::Processor(
                "TimeRangeFlt keeps instruments by whether they survive to its last day, which leaks; use a universe by \
                 date: [data] universe = \"NAME\""
                    .to_owned(),
            ));
        }
        match fitted {
            _ if step.is_of_a_column() => fitted = Some(step.describe()),
            Some(before) if step.across("x").is_some() => {
                return Err(Error::Processor(format!(
                    "a processor across instruments ({}) cannot follow one fitted to each feature ({before}): one symbol \
                     could not be served as it was trained; put it before",
                    step.describe()
                )));
            }
            Some(_) | None => {}
        }
    }
    let fills = steps.iter().any(|step| matches!(step, Processor::Fillna { .. }));
    Ok(if fills { NanPolicy::Fill } else { NanPolicy::Reject })
}

/// The features after the steps that choose columns or look across instruments.
pub(super) fn features(
    steps: &[Processor],
    mut named: Vec<(String, String)>,
) -> Result<Vec<(String, String)>> {
    for step in steps {
        match step {
            Processor::DropCol { columns } | Processor::FilterCol { columns } => {
                let known: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                let keeps = matches!(step, Processor::FilterCol { .. });
                // What is left out need not be there: VWAP0 of data without it.
                if let Some(missing) =
                    columns.iter().find(|column| keeps && !known.contains(&column.as_str()))
                {
                    return Err(Error::Processor(unknown("feature", missing, &known)));
                }
                named.retain(|(name, _)| columns.contains(name) == keeps);
            }
            _ => {
                for (_, expression) in &mut named {
                    if let Some(wrapped) = step.across(expression) {
                        *expression = wrapped;
                    }
                }
            }
        }
    }
    if named.is_empty() {
        return Err(Error::Processor("processors.infer leaves no feature".to_owned()));
    }
    Ok(named)
}

/// Fits the steps on each column, one after the other.
pub(super) fn fit(steps: &[Processor], values: &[f32], columns: usize) -> Result<Vec<ColumnStep>> {
    let mut values = values.to_vec();
    let mut fitted = Vec::new();
    let push = |step: ColumnStep, values: &mut Vec<f32>, fitted: &mut Vec<ColumnStep>| {
        apply(&step, values, columns);
        fitted.push(step);
    };
    for step in steps {
        let scaled = |of: &dyn Fn(&mut [f64]) -> Option<Scaling>| -> Result<ColumnStep> {
            let scalings = scalings(&values, columns, of)?;
            Ok(ColumnStep::Scale {
                center: scalings.iter().map(|scaling| scaling.center as f32).collect(),
                scale: scalings.iter().map(|scaling| scaling.scale as f32).collect(),
            })
        };
        let next = match step {
            Processor::Fillna { value } => {
                if !value.is_finite() {
                    return Err(Error::Processor(format!("Fillna needs a finite value, got {value}")));
                }
                ColumnStep::Fill { values: vec![*value; columns] }
            }
            Processor::ZScoreNorm => scaled(&|values| Scaling::of(values, Normalization::Zscore))?,
            Processor::RobustZScoreNorm { .. } => {
                scaled(&|values| Scaling::of(values, Normalization::RobustZscore))?
            }
            Processor::MinMaxNorm => scaled(&Scaling::between)?,
            Processor::TanhProcess => ColumnStep::Tanh,
            _ => continue,
        };
        push(next, &mut values, &mut fitted);
        if matches!(step, Processor::RobustZScoreNorm { clip_outlier: true }) {
            push(ColumnStep::Clip { limit: CLIP }, &mut values, &mut fitted);
        }
    }
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::ProcessorConfig;
    use super::*;

    fn config(infer: Vec<Processor>) -> ProcessorConfig {
        ProcessorConfig { infer, ..ProcessorConfig::default() }
    }

    fn processed(infer: Vec<Processor>, values: &[f32]) -> Vec<f32> {
        let window = (date(2020, 1, 1), date(2020, 12, 31));
        let fitted = config(infer).fit(values, 1, window).expect("it fits");
        let mut out = values.to_vec();
        fitted.apply(&mut out);
        out
    }

    #[test]
    fn steps_of_a_column_follow_qlibs_definitions() {
        let values = [1.0, 2.0, 3.0, f32::NAN, 4.0, 100.0];
        // numpy: (x - nanmean) / nanstd with ddof = 0, then 0 for what is missing.
        let zscore = processed(vec![Processor::ZScoreNorm, Processor::Fillna { value: 0.0 }], &values);
        for (found, expected) in
            zscore.iter().zip([-0.538_28, -0.512_65, -0.487_02, 0.0, -0.461_39, 1.999_34])
        {
            assert!((found - expected).abs() < 1e-4, "{zscore:?}");
        }
        let robust = processed(
            vec![Processor::RobustZScoreNorm { clip_outlier: true }, Processor::Fillna { value: -9.0 }],
            &values,
        );
        assert_eq!((robust[3], robust[5]), (-9.0, 3.0), "the fill comes after the clip");
        assert!((robust[0] + 2.0 / 1.4826).abs() < 1e-6);
        let fill_first = processed(vec![Processor::Fillna { value: 0.0 }, Processor::MinMaxNorm], &values);
        assert_eq!((fill_first[3], fill_first[5], fill_first[0]), (0.0, 1.0, 0.01));
        assert_eq!(processed(vec![Processor::MinMaxNorm], &[5.0, 5.0]), [5.0, 5.0], "min = max: unchanged");
        assert_eq!(processed(vec![Processor::TanhProcess], &[1.0, 2.0]), [0.0, 1f32.tanh()]);
    }

    #[test]
    fn steps_across_instruments_become_part_of_the_expression() {
        let named = || vec![("A".to_owned(), "$close".to_owned()), ("VWAP0".to_owned(), "$vwap".to_owned())];
        let infer = vec![
            Processor::DropCol { columns: vec!["VWAP0".to_owned(), "NONE".to_owned()] },
            Processor::CSZFillna,
            Processor::CSRankNorm,
        ];
        let found = config(infer).features(named()).expect("one is left");
        assert_eq!(found, [("A".to_owned(), "(CSRank(CSFill($close))-0.5)*3.46".to_owned())]);
        crate::Expression::parse(&found[0].1).expect("it is an expression");
        let inf = config(vec![Processor::ProcessInf]).features(named()).expect("two");
        crate::Expression::parse(&inf[0].1).expect("it is an expression");
        let error = config(vec![Processor::FilterCol { columns: vec!["B".to_owned()] }]).features(named());
        assert!(error.is_err_and(|error| error.to_string().starts_with("unknown feature \"B\"")));
    }

    #[test]
    fn an_order_that_could_not_be_served_and_a_filter_that_leaks_are_refused() {
        let refusal = |infer| config(infer).check().expect_err("it is refused").to_string();
        let late = refusal(vec![Processor::ZScoreNorm, Processor::CSRankNorm]);
        assert!(late.contains("cannot follow one fitted to each feature"), "{late}");
        let survivors = refusal(vec![Processor::TimeRangeFlt { start_time: None, end_time: None }]);
        assert!(survivors.contains("which leaks"), "{survivors}");
        let both = ProcessorConfig { clip: None, ..config(vec![Processor::ZScoreNorm]) };
        assert!(both.check().is_err_and(|error| error.to_string().contains("one or the other")));
        assert_eq!(
            config(vec![Processor::DropnaLabel, Processor::CSZFillna]).nan_policy().ok(),
            Some(NanPolicy::Reject)
        );
        assert_eq!(config(vec![Processor::Fillna { value: 0.0 }]).nan_policy().ok(), Some(NanPolicy::Fill));
    }

    #[test]
    fn they_are_written_by_qlibs_names() {
        let text =
            r#"[{"name":"RobustZScoreNorm"},{"name":"CSZScoreNorm","method":"robust"},{"name":"Fillna"}]"#;
        let parsed: Vec<Processor> = serde_json::from_str(text).expect("names of Qlib");
        assert_eq!(parsed[0], Processor::RobustZScoreNorm { clip_outlier: true });
        assert_eq!(parsed[2], Processor::Fillna { value: 0.0 });
        assert!(serde_json::from_str::<Processor>(r#"{"name":"Fillna","valu":1}"#).is_err());
    }
}
