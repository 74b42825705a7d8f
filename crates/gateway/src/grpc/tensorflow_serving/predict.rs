//! `Predict`: tensors by name in, tensors by name out.

use platform::{Error, Question, Signature, Tensor};
use protos::serving::tensorflow::serving::{PredictRequest, PredictResponse};

use super::tensor::{self, Bounds};
use super::{answered, check_signature, target};
use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, By, Refused};

/// Asks a model.
pub(super) async fn predict(
    gateway: Asked,
    mut request: PredictRequest,
) -> Result<Answer<PredictResponse>, Refused> {
    let target = target(&gateway, &request.model_spec)?;
    let refused = |error| Refused::by(&target, error);
    check_signature(&request.model_spec).map_err(refused)?;
    let spec = request.model_spec.take();
    let filter = std::mem::take(&mut request.output_filter);
    let outputs = &target.signature().outputs;
    if let Some(odd) = filter.iter().find(|name| outputs.iter().all(|output| output.name != **name)) {
        let known: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
        let message = format!(
            "output tensor alias not found in signature: {odd}; the model gives {}",
            known.join(", ")
        );
        return Err(refused(Error::invalid("output_filter", message)));
    }
    if let Some(twice) =
        filter.iter().enumerate().find_map(|(at, name)| filter[..at].contains(name).then_some(name))
    {
        let message = format!("duplicate output tensor alias: {twice}; name it once");
        return Err(refused(Error::invalid("output_filter", message)));
    }
    let bounds = Bounds { rows: gateway.options.max_instances, bytes: gateway.options.max_body_bytes };
    let signature = target.signature_for(request.inputs.keys().map(String::as_str));
    let inputs = inputs(request, signature, bounds).map_err(refused)?;
    let reply = gateway.platform.answer(&target, Question::Tensors(inputs)).await.map_err(refused)?;
    let by = By::reply(&target, &reply);
    let wanted = |name: &String| filter.is_empty() || filter.contains(name);
    let outputs = reply.outputs.into_iter().filter(|(name, _)| wanted(name));
    let outputs = outputs.map(|(name, output)| (name, tensor::write(output))).collect();
    let message = PredictResponse { outputs, model_spec: answered(spec, reply.version) };
    Ok(Answer { message, by: Some(by) })
}

/// Reads the inputs of a request for a model of this signature.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] naming what is wrong.
pub(in crate::grpc) fn inputs(
    request: PredictRequest,
    signature: &Signature,
    bounds: Bounds,
) -> Result<Vec<(String, Tensor)>, Error> {
    let specs = &signature.inputs;
    let odd = request.inputs.keys().find(|name| specs.iter().all(|spec| spec.name != **name));
    let missing = specs.iter().find(|spec| !request.inputs.contains_key(&spec.name));
    if odd.is_some() || missing.is_some() {
        let given: Vec<&str> = request.inputs.keys().take(16).map(String::as_str).collect();
        let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let extra = odd.map_or_else(String::new, |name| format!(" Sent extra: {{{name}}}."));
        let missing =
            missing.map_or_else(String::new, |spec| format!(" Missing but required: {{{}}}.", spec.name));
        let message = format!(
            "input size does not match signature: {} != {} len({{{}}}) != len({{{}}}).{extra}{missing}",
            request.inputs.len(),
            known.len(),
            given.join(","),
            known.join(",")
        );
        return Err(Error::invalid("inputs", message));
    }
    let read = |(name, proto)| {
        let spec = specs.iter().find(|spec| spec.name == name);
        let spec = spec.ok_or_else(|| Error::invalid("inputs", format!("input \"{name}\" is unknown")))?;
        Ok((name, tensor::read(proto, spec, bounds)?))
    };
    request.inputs.into_iter().map(read).collect()
}
