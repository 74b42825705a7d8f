//! A network: a chain of layers (`Sequential`) or a graph of them (`Functional`), which may hold further networks.

use std::collections::{BTreeMap, HashMap, HashSet};

use predictor::{DataType, Signature};
use serde_json::Value;

use super::config::{Object, Settings};
use super::convert::{Argument, Converter, Inputs, Layer};
use crate::Error;
use crate::bundle::FormatTensorNames;
use crate::format::traced::dim::Dim;
use crate::format::traced::finish::{self, Port};
use crate::format::traced::limits;
use crate::format::traced::target::{Refusal, Step, Target};
use crate::format::traced::tensor::Traced;
use crate::import::ImportedModel;

/// The inputs and outputs of a whole network.
pub(super) struct Ports {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// What Keras calls the outputs: the layers they come from.
    output_layers: Vec<String>,
}

impl Ports {
    /// The ONNX model and what callers see.
    pub(super) fn model(self, target: Target, notes: Vec<String>) -> Result<ImportedModel, Error> {
        let signature = Signature {
            inputs: self.inputs.iter().map(finish::spec).collect(),
            outputs: self.outputs.iter().map(finish::spec).collect(),
        };
        let same = |ports: &[Port]| ports.iter().map(|port| (port.name.clone(), port.name.clone())).collect();
        let outputs = self.outputs.iter().zip(self.output_layers);
        let source_names = FormatTensorNames {
            inputs: same(&self.inputs),
            outputs: outputs.map(|(port, layer)| (port.name.clone(), layer)).collect(),
        };
        let model = finish::model(target, &self.inputs, &self.outputs)?;
        Ok(ImportedModel { model, signature, source_names, samplers: Vec::new(), notes })
    }
}

/// A tensor of a network: a layer, which of its calls, and which of its results.
type Place = (String, usize, usize);

/// A network as it is described.
struct Network<'a> {
    layers: Vec<Object<'a>>,
    /// Where the weights of each layer are, by its name.
    paths: HashMap<&'a str, String>,
    by_name: HashMap<&'a str, Object<'a>>,
    is_chain: bool,
}

impl<'a> Network<'a> {
    fn read(object: Object<'a>, path: &str) -> Step<Self> {
        let is_chain = object.class == "Sequential";
        let layers = object.settings.get("layers").and_then(Value::as_array);
        let layers = layers.ok_or("its description is damaged: it has no list of layers")?;
        let layers = layers.iter().map(Object::read).collect::<Step<Vec<Object<'a>>>>()?;
        let (mut used, mut paths, mut by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        for layer in &layers {
            if by_name.insert(layer.name, *layer).is_some() {
                return Err(format!("it has two layers with the name \"{}\"", layer.name).into());
            }
            if layer.is_operation() || (is_chain && layer.class == "InputLayer") {
                continue;
            }
            // Weights are filed under classes, counted in the order of layers.
            let class = snake_case(match layer.class {
                // Its name in public, beside that of its class.
                "GroupQueryAttention" => "GroupedQueryAttention",
                class => class,
            });
            let count = used.entry(class.clone()).and_modify(|count| *count += 1).or_insert(0);
            let name = if *count == 0 { class } else { format!("{class}_{count}") };
            paths.insert(layer.name, format!("{path}layers/{name}"));
        }
        Ok(Self { layers, paths, by_name, is_chain })
    }

    fn layer<'l>(&'l self, object: &Object<'l>) -> Layer<'l> {
        let path = self.paths.get(object.name).map_or("", String::as_str);
        Layer { object: *object, path }
    }
}

/// As Keras names groups after classes: `LayerNormalization` is `layer_normalization`, `GRU` `gru`, `PReLU` `p_re_lu`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> =
        class.chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    // Any letter, then a capital that begins a word; then a small letter before a capital.
    let mut parted = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let begins = letters.get(at + 1).is_some_and(char::is_ascii_uppercase)
            && letters.get(at + 2).is_some_and(char::is_ascii_lowercase);
        parted.push(letters[at]);
        at += 1;
        if begins {
            parted.push('_');
            parted.push(letters[at]);
            at += 1;
            while letters.get(at).is_some_and(char::is_ascii_lowercase) {
                parted.push(letters[at]);
                at += 1;
            }
        }
    }
    let mut name = String::new();
    for (at, letter) in parted.iter().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() && parted[at - 1].is_ascii_lowercase() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Converts the network of a file; no ports if its outputs cannot be told, which has been reported.
pub(super) fn whole(c: &mut Converter<'_>, object: Object<'_>) -> Step<Option<Ports>> {
    if !object.is_of_keras() || !matches!(object.class, "Functional" | "Sequential" | "Model") {
        c.look_at(&object);
        let name = object.full_name();
        return Err(format!(
            "{name} is no Functional or Sequential model: what a subclassed model computes is Python code, which is not in the \
             file; export it with model.export(\"folder\") and give that folder"
        )
        .into());
    }
    let network = Network::read(object, "")?;
    let (sources, results) = if network.is_chain {
        (vec![chain_input(object.settings, &network)?], vec![("output_0".to_owned(), None)])
    } else {
        (functional_inputs(object.settings, &network)?, functional_outputs(object.settings)?)
    };
    for (name, _) in &results {
        c.target.reserve(name);
    }
    let (mut inputs, mut batch): (Vec<Port>, Option<Dim>) = (Vec::new(), None);
    for (name, dtype, shape) in sources {
        if inputs.iter().any(|port| port.name == name) {
            return Err(format!("it has two inputs with the name \"{name}\"").into());
        }
        let tensor = c.target.input(&name, dtype, &shape, &batch);
        if shape[0].is_none() {
            batch.get_or_insert(tensor.shape[0].clone());
        }
        inputs.push(Port { name, tensor });
    }
    let given: Vec<Traced> = inputs.iter().map(|port| port.tensor.clone()).collect();
    let places: Vec<Option<Place>> = results.iter().map(|(_, place)| place.clone()).collect();
    let Some(tensors) = evaluate(c, object.settings, &network, (&given, &places))? else { return Ok(None) };
    let mut outputs = Vec::new();
    let mut output_layers = Vec::new();
    for ((name, place), tensor) in results.into_iter().zip(tensors) {
        if tensor.shape.first() != inputs[0].tensor.shape.first() {
            return Err(format!("its output \"{name}\" has not the batch as its first axis").into());
        }
        let last = network.layers.last().map_or("", |layer| layer.name);
        output_layers.push(place.map_or(last.to_owned(), |(layer, _, _)| layer));
        outputs.push(Port { name, tensor });
    }
    Ok(Some(Ports { inputs, outputs, output_layers }))
}

/// Converts a network inside of another one.
pub(super) fn inner(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let network = Network::read(layer.object, &format!("{}/", layer.path))?;
    let given: Vec<Traced> = inputs.tensors().into_iter().cloned().collect();
    let settings = layer.object.settings;
    let places = match network.is_chain {
        true => vec![None],
        false => functional_outputs(settings)?.into_iter().map(|(_, place)| place).collect(),
    };
    let outer = c.target.scope.clone();
    let results = evaluate(c, settings, &network, (&given, &places))?;
    c.target.scope = outer;
    Ok(results.ok_or("layers inside of it cannot be converted")?)
}

type Source = (String, DataType, Vec<Option<usize>>);

fn chain_input(settings: Settings<'_>, network: &Network<'_>) -> Step<Source> {
    if let Some(first) = network.layers.first().filter(|layer| layer.class == "InputLayer") {
        return source(first);
    }
    let shape =
        settings.get("build_input_shape").or_else(|| network.layers.first()?.settings.get("batch_shape"));
    let shape = shape
        .ok_or("it has no input layer and no shape it was built for; build the model before it is saved")?;
    Ok(("input_layer".to_owned(), DataType::Float32, axes(shape)?))
}

fn functional_inputs(settings: Settings<'_>, network: &Network<'_>) -> Step<Vec<Source>> {
    let places = settings.get("input_layers").map(places).transpose()?.unwrap_or_default();
    if places.is_empty() {
        return Err("it has no inputs".into());
    }
    let input = |(_, (name, _, _)): (Option<String>, Place)| {
        let layer = network.by_name.get(name.as_str()).filter(|layer| layer.class == "InputLayer");
        source(layer.ok_or_else(|| format!("its input \"{name}\" is no input layer"))?)
    };
    places.into_iter().map(input).collect()
}

fn source(layer: &Object<'_>) -> Step<Source> {
    if layer.settings.flag("sparse", false) || layer.settings.flag("ragged", false) {
        return Err(format!(
            "its input \"{}\" is sparse or ragged; give the model dense tensors",
            layer.name
        )
        .into());
    }
    let dtype = match layer.settings.text("dtype", "float32") {
        "float32" | "float16" | "bfloat16" | "float64" => DataType::Float32,
        "int64" | "uint32" | "uint64" => DataType::Int64,
        "int32" | "int16" | "int8" | "uint16" | "uint8" => DataType::Int32,
        "bool" => DataType::Bool,
        other => {
            let way_out = "engines here compute on numbers; encode them before the model";
            return Err(format!("its input \"{}\" is of {other}; {way_out}", layer.name).into());
        }
    };
    let shape = layer.settings.get("batch_shape").ok_or("an input layer has no shape")?;
    Ok((layer.name.to_owned(), dtype, axes(shape)?))
}

fn axes(shape: &Value) -> Step<Vec<Option<usize>>> {
    let damaged = || Refusal::Cannot(format!("an input has a shape that is none: {}", shortened(shape)));
    let axes =
        shape.as_array().filter(|axes| (1..=limits::RANK).contains(&axes.len())).ok_or_else(damaged)?;
    let axis = |axis: &Value| match axis {
        Value::Null => Ok(None),
        size => {
            let size = size
                .as_i64()
                .filter(|size| (1..=limits::AXIS_ELEMENTS).contains(size))
                .ok_or_else(damaged)?;
            Ok(Some(size as usize))
        }
    };
    axes.iter().map(axis).collect()
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// Public names and places of outputs: of a mapping its keys, else numbered as `model.export` numbers them.
fn functional_outputs(settings: Settings<'_>) -> Step<Vec<(String, Option<Place>)>> {
    let places = settings.get("output_layers").map(places).transpose()?.unwrap_or_default();
    if places.is_empty() {
        return Err("it has no outputs".into());
    }
    let named = places.into_iter().enumerate();
    let named = named.map(|(at, (key, place))| (key.unwrap_or_else(|| format!("output_{at}")), Some(place)));
    let named: Vec<_> = named.collect();
    let names: HashSet<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    match names.len() == named.len() {
        true => Ok(named),
        false => Err("two of its outputs have one name".into()),
    }
}

/// Places in a list, a mapping, or one alone; a list in a mapping is numbered.
fn places(value: &Value) -> Step<Vec<(Option<String>, Place)>> {
    let damaged = || Refusal::Cannot("its inputs or outputs are damaged".to_owned());
    if let Some(place) = place(value) {
        return Ok(vec![(None, place)]);
    }
    match value {
        Value::Array(values) => {
            let one = |value| Ok((None, place(value).ok_or_else(damaged)?));
            values.iter().map(one).collect()
        }
        Value::Object(values) => {
            let ordered: BTreeMap<_, _> = values.iter().collect();
            let one = |(key, value): (&String, _)| Ok((Some(key.clone()), place(value).ok_or_else(damaged)?));
            ordered.into_iter().map(one).collect()
        }
        _ => Err(damaged()),
    }
}

fn place(value: &Value) -> Option<Place> {
    let [name, call, result] = value.as_array()?.as_slice() else { return None };
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    Some((name.as_str()?.to_owned(), number(call)?, number(result)?))
}

/// The tensors at places, computed from those given for the inputs; none if a layer on the way cannot be converted.
fn evaluate(
    c: &mut Converter<'_>,
    settings: Settings<'_>,
    network: &Network<'_>,
    (given, wanted): (&[Traced], &[Option<Place>]),
) -> Step<Option<Vec<Traced>>> {
    if network.is_chain {
        return chain(c, network, given);
    }
    let mut results: HashMap<(String, usize), Option<Vec<Traced>>> = HashMap::new();
    let inputs = settings.get("input_layers").map(places).transpose()?.unwrap_or_default();
    if inputs.len() != given.len() {
        return Err(format!("it has {} inputs and is given {}", inputs.len(), given.len()).into());
    }
    for ((_, (name, call, _)), tensor) in inputs.into_iter().zip(given) {
        results.insert((name, call), Some(vec![tensor.clone()]));
    }
    let wanted =
        wanted.iter().flatten().map(|place| called_place(network, place)).collect::<Step<Vec<Place>>>()?;
    let mut open: Vec<(String, usize)> =
        wanted.iter().rev().map(|(name, call, _)| (name.clone(), *call)).collect();
    let mut begun = HashSet::new();
    while let Some(key) = open.last().cloned() {
        if results.contains_key(&key) {
            open.pop();
            continue;
        }
        let (layer, call) = called(network, &key)?;
        let mut needs = Vec::new();
        let mut number = Ok(());
        tensors_of(call, &mut |place| match place {
            Some((name, call, _)) => needs.push((name, call)),
            None => number = Err("a call names a tensor that is none"),
        });
        number?;
        needs.retain(|need| !results.contains_key(need));
        if !needs.is_empty() {
            if !begun.insert(key.clone()) {
                return Err(format!("layer \"{}\" follows from itself", key.0).into());
            }
            needs.reverse();
            open.extend(needs);
            continue;
        }
        open.pop();
        let result = match inputs_of(call, &results)? {
            Some(inputs) => c.call(&network.layer(&layer), &inputs)?,
            None => {
                c.look_at(&layer);
                None
            }
        };
        results.insert(key, result);
    }
    let tensor = |(name, call, at): &Place| results.get(&(name.clone(), *call))?.as_ref()?.get(*at).cloned();
    Ok(wanted.iter().map(tensor).collect())
}

/// A place of an output. There, calls of a network are counted from 1: Keras counts how it was made as one.
fn called_place(network: &Network<'_>, (name, call, result): &Place) -> Step<Place> {
    let layer = network.by_name.get(name.as_str());
    let made = layer.is_some_and(|layer| matches!(layer.class, "Functional" | "Model"));
    let call = call.checked_sub(usize::from(made)).ok_or("its outputs are damaged")?;
    Ok((name.clone(), call, *result))
}

fn called<'a>(network: &Network<'a>, (name, call): &(String, usize)) -> Step<(Object<'a>, &'a Value)> {
    let layer = network.by_name.get(name.as_str()).ok_or_else(|| format!("there is no layer \"{name}\""))?;
    let call = layer.calls.get(*call).filter(|call| call.is_object());
    Ok((*layer, call.ok_or_else(|| format!("layer \"{name}\" is not called as often as it is used"))?))
}

fn chain(c: &mut Converter<'_>, network: &Network<'_>, given: &[Traced]) -> Step<Option<Vec<Traced>>> {
    let [x] = given else { return Err("a chain of layers has one input".into()) };
    let mut x = Some(vec![x.clone()]);
    for object in network.layers.iter().filter(|layer| layer.class != "InputLayer") {
        x = match x {
            Some(x) => c.call(&network.layer(object), &Inputs::of(x))?,
            None => {
                c.look_at(object);
                None
            }
        };
    }
    Ok(x)
}

/// The tensor that a value of a call stands for, if it is one; the inner none is one that is damaged.
fn tensor_place(value: &Value) -> Option<Option<Place>> {
    (value.get("class_name")? == "__keras_tensor__")
        .then(|| place(value.get("config")?.get("keras_history")?))
}

/// Shows every tensor of a call.
fn tensors_of(value: &Value, show: &mut impl FnMut(Option<Place>)) {
    if let Some(place) = tensor_place(value) {
        return show(place);
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| tensors_of(value, show)),
        Value::Object(values) => values.values().for_each(|value| tensors_of(value, show)),
        _ => {}
    }
}

type Results = HashMap<(String, usize), Option<Vec<Traced>>>;

/// What a call is given; none if a tensor of it is not known.
fn inputs_of(call: &Value, results: &Results) -> Step<Option<Inputs>> {
    let mut inputs = Inputs::default();
    for value in call.get("args").and_then(Value::as_array).into_iter().flatten() {
        match argument(value, results)? {
            Some(argument) => inputs.arguments.push(argument),
            None => return Ok(None),
        }
    }
    for (name, value) in call.get("kwargs").and_then(Value::as_object).into_iter().flatten() {
        match argument(value, results)? {
            Some(argument) => inputs.named.insert(name.clone(), argument),
            None => return Ok(None),
        };
    }
    Ok(Some(inputs))
}

fn argument(value: &Value, results: &Results) -> Step<Option<Argument>> {
    if let Some(place) = tensor_place(value) {
        let (name, call, at) = place.ok_or("a call names a tensor that is none")?;
        let Some(Some(tensors)) = results.get(&(name.clone(), call)) else { return Ok(None) };
        let tensor = tensors.get(at).ok_or_else(|| format!("layer \"{name}\" has no result {at}"))?;
        return Ok(Some(Argument::Tensor(tensor.clone())));
    }
    match value {
        Value::Array(values) => {
            let all =
                values.iter().map(|value| argument(value, results)).collect::<Step<Option<Vec<_>>>>()?;
            Ok(all.map(Argument::List))
        }
        // Tensors by key are flattened in the order of the keys, as Keras does; what holds none stays as it is.
        Value::Object(values) => {
            let mut holds = false;
            tensors_of(value, &mut |_| holds = true);
            if !holds {
                return Ok(Some(Argument::Plain(value.clone())));
            }
            let ordered: BTreeMap<_, _> = values.iter().collect();
            let all = ordered.into_values().map(|value| argument(value, results));
            Ok(all.collect::<Step<Option<Vec<_>>>>()?.map(Argument::List))
        }
        other => Ok(Some(Argument::Plain(other.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `keras.src.utils.naming.to_snake_case` of Keras 3.15.
    #[test]
    fn classes_are_named_as_keras_names_them() {
        for (class, name) in [
            ("Dense", "dense"),
            ("LSTM", "lstm"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("GlobalAveragePooling1D", "global_average_pooling1d"),
            ("PReLU", "p_re_lu"),
            ("ELU", "elu"),
            ("RMSNormalization", "rms_normalization"),
            ("MultiHeadAttention", "multi_head_attention"),
            ("TimeDistributed", "time_distributed"),
            ("SeparableConv1D", "separable_conv1d"),
            ("ReLU", "re_lu"),
        ] {
            assert_eq!(snake_case(class), name, "{class}");
        }
    }
}
