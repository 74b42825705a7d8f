//! `features compute|explain|operators`: the features of a data set as a file, and the expression language.

use platform::{ComputeFeatures, ComputedFeatures, Error, Explained, Expression, Operator};
use serde::Serialize;

use super::data::parse_reference;
use crate::args::{FeaturesComputeArgs, FeaturesExplainArgs};
use crate::context::Context;
use crate::output::{Column, Show, note, pairs, printable, table};

/// So many features that could not be computed are listed; `--json` lists all.
const LEFT_OUT_SHOWN: usize = 5;

/// A file of features just written.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ComputedView(ComputedFeatures);

impl Show for ComputedView {
    fn text(&self) -> String {
        let done = &self.0;
        let per_second = done.rows as f64 / done.compute_seconds.max(1e-9);
        let mut text = pairs([
            ("data set", format!("{}@{}", done.dataset, done.snapshot)),
            ("rows", done.rows.to_string()),
            ("features", done.features.to_string()),
            ("look-back", format!("{} bars; bars with a shorter history have no row", done.lookback_bars)),
            (
                "time",
                format!(
                    "read {:.2} s, compute {:.2} s ({per_second:.0} rows/s), write {:.2} s",
                    done.read_seconds, done.compute_seconds, done.write_seconds
                ),
            ),
        ]);
        for (name, missing) in done.left_out.iter().take(LEFT_OUT_SHOWN) {
            text += &format!("left out: {name} needs {missing}, which the data lacks\n");
        }
        if done.left_out.len() > LEFT_OUT_SHOWN {
            text += &format!("left out: and {} more\n", done.left_out.len() - LEFT_OUT_SHOWN);
        }
        for line in &done.notes {
            text += &format!("note: {}\n", printable(line));
        }
        text + &format!("wrote {}\n", done.out.display())
    }
}

/// `features compute`
pub(crate) async fn compute(context: &Context, args: FeaturesComputeArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let (name, snapshot) = parse_reference(&args.dataset)?;
    let request = ComputeFeatures {
        dataset: name.to_owned(),
        snapshot,
        set: args.set,
        as_of: args.as_of,
        out: args.out,
    };
    let platform = context.open_platform().await?;
    note(&format!("computing {} over {name}", request.set));
    let computed = platform.compute_features(request).await?;
    context.output.show(&ComputedView(computed))
}

/// An expression taken apart.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ExplainedView(Explained);

impl Show for ExplainedView {
    fn text(&self) -> String {
        let explained = &self.0;
        let back = match explained.looks_back_to_the_first_bar {
            true => "to the first bar".to_owned(),
            false => format!("{} bars; no older bar, of any instrument, changes it", explained.lookback_bars),
        };
        let others = match explained.cross_sectional {
            true => "yes; days before an instrument's first bar are to others days without a bar",
            false => "no",
        };
        let ahead = match explained.horizon_bars {
            0 => "no".to_owned(),
            bars => format!("{bars} bars: a label, never a feature"),
        };
        let summary = pairs([
            ("fields", explained.fields.join(", ")),
            ("looks back", back),
            ("looks ahead", ahead),
            ("reads others", others.to_owned()),
            ("steps", explained.steps.to_string()),
        ]);
        format!("{explained}{summary}")
    }
}

/// The operators there are.
#[derive(Debug, Serialize)]
struct OperatorsView {
    operators: Vec<Operator>,
}

impl Show for OperatorsView {
    fn text(&self) -> String {
        let columns = [Column::Text("operator"), Column::Text("meaning")];
        let row = |operator: &Operator| vec![operator.call.clone(), operator.meaning.to_owned()];
        table(&columns, self.operators.iter().map(row))
            + "windows are in bars and include the bar itself; 0 is all bars so far\n"
    }
}

/// `features explain`
pub(crate) fn explain(context: &Context, args: &FeaturesExplainArgs) -> Result<(), Error> {
    let expression = Expression::parse(&args.expression).map_err(Error::from)?;
    context.output.show(&ExplainedView(expression.explain()))
}

/// `features operators`
pub(crate) fn operators(context: &Context) -> Result<(), Error> {
    context.output.show(&OperatorsView { operators: platform::operators() })
}
