//! The batch as the first axis of everything: open, whatever size the model was exported with.

use predictor::{Signature, TensorSpec};
use protos::onnx::GraphProto;

use super::signature::{Stated, value_of_spec};

/// Opens the first axis of inputs and outputs. Returns the signature, and why it has to be tried before it can be
/// believed: a graph that was exported for one size may have that size in its operators.
pub(super) fn first(graph: &mut GraphProto, stated: Stated) -> Result<(Signature, Option<String>), String> {
    let mut sizes: Vec<usize> = stated.inputs.iter().filter_map(|spec| spec.shape[0]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.len() > 1 {
        return Err(format!(
            "the first axes of its inputs have the sizes {} and {}, so they are no batch; give each input the batch first",
            sizes[0], sizes[1]
        ));
    }
    let fixed = sizes.first().map(|size| {
        format!(
            "it was exported for batches of {size} rows; export it with an open first axis (torch: dynamic_axes, \
             tf2onnx: None)"
        )
    });
    let mut doubt = fixed;
    for spec in &stated.outputs {
        let said = match spec.shape.first() {
            None => format!("it does not say the shape of its output \"{}\"", spec.name),
            Some(Some(size)) => format!("its output \"{}\" has {size} rows, whatever the batch", spec.name),
            Some(None) => continue,
        };
        doubt.get_or_insert(said);
    }
    let open = |mut spec: TensorSpec| {
        spec.shape.iter_mut().take(1).for_each(|axis| *axis = None);
        spec
    };
    let inputs: Vec<TensorSpec> = stated.inputs.into_iter().map(open).collect();
    let outputs: Vec<TensorSpec> = stated.outputs.into_iter().map(open).collect();
    graph.input = inputs.iter().map(value_of_spec).collect();
    graph.output = outputs.iter().map(value_of_spec).collect();
    Ok((Signature { inputs, outputs }, doubt))
}
