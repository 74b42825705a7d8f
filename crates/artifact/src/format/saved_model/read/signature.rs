//! A signature of a SavedModel: what it states, and the graph that computes it.

use predictor::{Signature, TensorSpec};
use protos::tensorflow::{NodeDef, SignatureDef, TensorInfo, tensor_info};

use super::body::Body;
use super::constant::ElementType;
use super::convert::{Converter, Given};
use super::finish::{self, Port};
use super::limits;
use super::value::Value;
use crate::Error;
use crate::bundle::FormatTensorNames;
use crate::import::{ImportedModel, Sampler};

/// A tensor of a signature: its public name, what the graph calls it, and what is stated about it.
struct Stated<'a> {
    name: &'a str,
    tensor: &'a str,
    spec: TensorSpec,
}

/// What a signature states; the reason in words if it is nothing to serve.
pub(super) fn stated(definition: &SignatureDef) -> Result<Signature, String> {
    let specs = |side: &std::collections::BTreeMap<String, TensorInfo>| -> Result<Vec<TensorSpec>, String> {
        Ok(tensors(side)?.into_iter().map(|stated| stated.spec).collect())
    };
    Ok(Signature { inputs: specs(&definition.inputs)?, outputs: specs(&definition.outputs)? })
}

/// The tensors of one side in the order of their names, numbers in names counted: `output_2` before `output_10`.
fn tensors(side: &std::collections::BTreeMap<String, TensorInfo>) -> Result<Vec<Stated<'_>>, String> {
    let mut all = side.iter().map(|(name, info)| tensor(name, info)).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|stated| sort_key(stated.name));
    Ok(all)
}

fn sort_key(name: &str) -> (&str, u64) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (text, number) = name.split_at(name.len() - digits);
    (text, number.parse().unwrap_or_default())
}

fn tensor<'a>(name: &'a str, info: &'a TensorInfo) -> Result<Stated<'a>, String> {
    let place = |reason: &str| format!("\"{name}\" {reason}");
    let Some(tensor_info::Encoding::Name(tensor)) = &info.encoding else {
        return Err(place("is sparse or ragged; give the model dense tensors"));
    };
    let dtype =
        ElementType::of(info.dtype).map_err(|reason| place(&format!("is not taken: {reason}")))?.as_used();
    let shape = info.tensor_shape.as_ref().filter(|shape| !shape.unknown_rank);
    let shape = shape
        .ok_or_else(|| place("has no stated number of axes; give it a shape when you save the model"))?;
    if shape.dim.is_empty() {
        return Err(place("is a scalar; its first axis must be the batch"));
    }
    if shape.dim.len() > limits::RANK {
        return Err(place("has too many axes"));
    }
    if shape.dim.iter().any(|dim| dim.size > limits::AXIS_ELEMENTS) {
        return Err(place("has an absurd size"));
    }
    let shape = shape.dim.iter().map(|dim| usize::try_from(dim.size).ok()).collect();
    Ok(Stated { name, tensor, spec: TensorSpec { name: name.to_owned(), dtype, shape } })
}

/// Converts the graph of a signature.
pub(super) fn convert<'a>(
    given: &Given<'a>,
    nodes: &'a [NodeDef],
    name: &str,
    definition: &'a SignatureDef,
) -> Result<ImportedModel, Error> {
    let place = format!("saved_model.pb, signature \"{name}\"");
    let refuse = |reason: String| Error::Import { place: place.clone(), reason };
    let inputs = tensors(&definition.inputs).map_err(|reason| refuse(format!("input {reason}")))?;
    let outputs = output_tensors(definition).map_err(|reason| refuse(format!("output {reason}")))?;
    let feeds: Vec<&str> = inputs.iter().map(|input| input.tensor).collect();
    let fetches: Vec<&str> = outputs.iter().map(|(_, tensor)| *tensor).collect();
    let body = Body::of_graph(nodes, &feeds, &fetches).map_err(refuse)?;

    let mut converter = Converter::new(given);
    for (output, _) in &outputs {
        converter.target.reserve(output);
    }
    let mut ports = Vec::new();
    for input in &inputs {
        let tensor =
            converter.target.input(input.name, input.spec.dtype, &input.spec.shape, &converter.batch.clone());
        if input.spec.shape[0].is_none() {
            converter.batch.get_or_insert(tensor.shape[0].clone());
        }
        ports.push(Port { name: input.name.to_owned(), tensor });
    }
    let arguments: Vec<Value> = ports.iter().map(|port| Value::Tensor(port.tensor.clone())).collect();
    let results = converter.run(&body, &arguments)?;
    converter.check()?;
    let samplers = std::mem::take(&mut converter.samplers);
    let outputs = results
        .into_iter()
        .zip(&outputs)
        .map(|(value, (output, _))| output_port(output, value, ports.first()).map_err(refuse))
        .collect::<Result<Vec<Port>, Error>>()?;

    let drawn = samplers.iter().enumerate();
    let drawn = drawn.map(|(at, sampler)| Sampler {
        input: sampler.name.clone(),
        distribution: sampler.distribution,
        seed: at as u64,
    });
    let drawn = drawn.collect();
    ports.extend(samplers.into_iter().map(|sampler| Port { name: sampler.name, tensor: sampler.tensor }));
    let signature = Signature {
        inputs: ports.iter().map(finish::spec).collect(),
        outputs: outputs.iter().map(finish::spec).collect(),
    };
    let names = |tensors: &std::collections::BTreeMap<String, TensorInfo>| {
        let name = |(name, info): (&String, &TensorInfo)| match &info.encoding {
            Some(tensor_info::Encoding::Name(tensor)) => Some((name.clone(), tensor.clone())),
            _ => None,
        };
        tensors.iter().filter_map(name).collect()
    };
    let source_names =
        FormatTensorNames { inputs: names(&definition.inputs), outputs: names(&definition.outputs) };
    let notes = std::mem::take(&mut converter.notes).into_iter().collect();
    let model = finish::model(converter.target, &ports, &outputs)?;
    Ok(ImportedModel { model, signature, source_names, samplers: drawn, notes })
}

/// The names of outputs, here and in the graph. Their shapes are not looked at: the graph knows them better.
fn output_tensors(definition: &SignatureDef) -> Result<Vec<(&str, &str)>, String> {
    let tensor = |(name, info): (&'_ String, &'_ TensorInfo)| match &info.encoding {
        Some(tensor_info::Encoding::Name(_)) => Ok(()),
        _ => Err(format!("\"{name}\" is sparse or ragged")),
    };
    definition.outputs.iter().try_for_each(tensor)?;
    if definition.outputs.is_empty() {
        return Err("is missing: the signature gives nothing".to_owned());
    }
    let mut all: Vec<(&str, &str)> = definition
        .outputs
        .iter()
        .filter_map(|(name, info)| match &info.encoding {
            Some(tensor_info::Encoding::Name(tensor)) => Some((name.as_str(), tensor.as_str())),
            _ => None,
        })
        .collect();
    all.sort_by_key(|(name, _)| sort_key(name));
    Ok(all)
}

/// An output, whose first axis must be that of the first input.
fn output_port(name: &str, value: Value, input: Option<&Port>) -> Result<Port, String> {
    let Value::Tensor(tensor) = value else {
        return Err(format!("output \"{name}\" is no tensor of numbers"));
    };
    let Some(input) = input else {
        return Err("it takes no inputs".to_owned());
    };
    if tensor.shape.first() != input.tensor.shape.first() {
        let shape: Vec<String> = tensor
            .shape
            .iter()
            .map(|axis| axis.known().map_or("?".to_owned(), |size| size.to_string()))
            .collect();
        return Err(format!(
            "output \"{name}\" has the shape [{}], whose first axis is not the batch; leave it out of the signature",
            shape.join(", ")
        ));
    }
    Ok(Port { name: name.to_owned(), tensor })
}
