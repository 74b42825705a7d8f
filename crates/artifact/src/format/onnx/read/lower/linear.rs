//! Linear models: a product, and for classes the best score's label.

use super::Lowering;
use crate::format::onnx::proto::int;
use crate::format::onnx::read::edit::{integers, node};

impl Lowering<'_> {
    pub(super) fn linear_regressor(&mut self) -> Result<bool, String> {
        let targets = super::attribute(self.node, "targets").and_then(|targets| targets.i).unwrap_or(1);
        if self.text("post_transform").is_some_and(|transform| transform != "NONE") {
            return Ok(false);
        }
        let targets = usize::try_from(targets).map_err(|_| self.wrong("its targets are no count"))?;
        let output = self.node.output[0].clone();
        self.product(targets, &output)?;
        Ok(true)
    }

    /// Only with one row of coefficients a class: with fewer, scores mean other things.
    pub(super) fn linear_classifier(&mut self) -> Result<bool, String> {
        let labels =
            super::attribute(self.node, "classlabels_ints").map_or(vec![], |labels| labels.ints.clone());
        let intercepts = self.floats("intercepts");
        let transform = match self.text("post_transform").as_deref() {
            None | Some("NONE") => None,
            Some("LOGISTIC") => Some("Sigmoid"),
            Some("SOFTMAX") => Some("Softmax"),
            Some(_) => return Ok(false),
        };
        if labels.len() < 2 || intercepts.len() != labels.len() {
            return Ok(false);
        }
        let (label, output) = (self.node.output[0].clone(), self.node.output[1].clone());
        let scores = match transform {
            Some(_) => self.between("scores"),
            None => output.clone(),
        };
        self.product(labels.len(), &scores)?;
        match transform {
            Some("Softmax") => self.steps.push(node("Softmax", &[&scores], &output, vec![int("axis", -1)])),
            Some(transform) => self.steps.push(node(transform, &[&scores], &output, vec![])),
            None => {}
        }
        let (best, known) = (self.between("best"), self.between("labels"));
        self.constants.push(integers(&known, &labels));
        self.steps.push(node("ArgMax", &[&scores], &best, vec![int("axis", 1), int("keepdims", 0)]));
        self.steps.push(node("Gather", &[&known, &best], &label, vec![int("axis", 0)]));
        Ok(true)
    }

    /// `x * coefficients' + intercepts`, for so many targets.
    fn product(&mut self, targets: usize, output: &str) -> Result<(), String> {
        let (coefficients, mut intercepts) = (self.floats("coefficients"), self.floats("intercepts"));
        if intercepts.is_empty() {
            intercepts = vec![0.0; targets.min(coefficients.len())];
        }
        if targets == 0 || intercepts.len() != targets || coefficients.len() % targets != 0 {
            return Err(self.wrong(&format!(
                "{} coefficients and {} intercepts are not those of {targets} targets",
                coefficients.len(),
                intercepts.len()
            )));
        }
        let input = self.input_as_float();
        let weights = self.constant("coefficients", &[targets, coefficients.len() / targets], &coefficients);
        let intercepts = self.constant("intercepts", &[targets], &intercepts);
        self.steps.push(node("Gemm", &[&input, &weights, &intercepts], output, vec![int("transB", 1)]));
        Ok(())
    }
}
