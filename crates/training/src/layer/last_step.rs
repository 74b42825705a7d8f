//! `last_step`: the last step of a sequence, what a Keras user writes as `x[:, -1, :]`.

use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value, only, sequence};
use crate::Error;

/// The last step of a sequence.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastStepConfig {}

impl Layer for LastStepConfig {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [_, channels] = sequence(inputs)?;
        Ok(vec![channels])
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let [batch, steps, channels] = x.dims();
        Value::Rows(x.narrow(1, steps - 1, 1).reshape([batch, channels]))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let [steps, _] = export.sequence(inputs[0]);
        export.step(inputs[0], steps - 1, "last")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, refusal, row};

    #[test]
    fn it_is_the_last_step() {
        let reference = |_: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
            (0..ROWS).flat_map(|at| row(&inputs[0], at * 5 + 4, 2).to_vec()).collect()
        };
        check(layer("last_step", json!({})), &[&[5, 2]], &reference);
    }

    #[test]
    fn rows_are_refused_with_the_way_to_sequences() {
        assert_eq!(
            refusal("last_step", json!({}), &[&[20]]),
            "it takes a sequence [steps, channels], got [20]; [features] steps makes one of the days before each row"
        );
    }
}
