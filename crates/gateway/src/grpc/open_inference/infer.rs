//! `ModelInfer`, and the same in a stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, Stream, StreamExt as _};
use platform::{Error, Kind, PredictReply, Question, Tensor};
use protos::serving::inference::infer_parameter::ParameterChoice;
use protos::serving::inference::model_infer_request::InferRequestedOutputTensor;
use protos::serving::inference::model_infer_response::InferOutputTensor;
use protos::serving::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use tonic::{Status, Streaming};

use super::tensor;
use crate::answered::{SERVER_TIMING_NAME, total_timing};
use crate::grpc::call::Asked;
use crate::grpc::open;
use crate::grpc::reply::{self, Answer, By, Refused};
use crate::observe;
use crate::open_inference::classification::largest;
use crate::open_inference::datatype;

/// Requests of one stream that are worked on at once. Their replies keep their order.
const STREAM_REQUESTS_MAX: usize = 8;
/// Asks for a last empty reply in protocols where one request has many replies.
const FINAL: &str = "triton_enable_empty_final_response";

/// Asks a model, whose answer is wanted within `limit` and the time that the request itself gives.
pub(super) async fn infer(
    gateway: Asked,
    request: ModelInferRequest,
    limit: Option<Duration>,
) -> Result<Answer<ModelInferResponse>, Refused> {
    let target = super::target(&gateway, &request.model_name, &request.model_version)?;
    let timeout = timeout(&request.parameters).map_err(|error| Refused::by(&target, error))?;
    let timeout = [timeout, limit].into_iter().flatten().min();
    let target = match timeout {
        Some(timeout) => gateway.within(timeout).bound(target),
        None => target,
    };
    let refused = |error| Refused::by(&target, error);
    let given = request.inputs.iter().map(|input| input.name.as_str());
    let inputs = tensor::inputs(&request, target.signature_for(given), gateway.options.max_instances)
        .map_err(refused)?;
    let answered = gateway.platform.answer(&target, Question::Tensors(inputs));
    let answered = match timeout {
        None => answered.await,
        Some(timeout) => tokio::time::timeout(timeout, answered).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s, the time it is given", timeout.as_secs_f64());
            Err(Error::new(Kind::DeadlineExceeded, message))
        }),
    };
    let reply = answered.map_err(refused)?;
    let by = By::reply(&target, &reply);
    let message = response(request, &reply).map_err(refused)?;
    Ok(Answer { message, by: Some(by) })
}

/// Asks models in turn. What one request is refused for is in its reply, and the stream goes on. Once the server is to stop no
/// more requests are waited for; those that are here are answered, and who would have sent more is told.
pub(super) fn stream(
    gateway: Asked,
    requests: Streaming<ModelInferRequest>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + 'static {
    let cut = Arc::new(AtomicBool::new(false));
    let stop = Box::pin(gateway.stopping.clone().noticed());
    let last = gateway.clone();
    let answer = move |request: Result<ModelInferRequest, Status>| one(gateway.clone(), request);
    let answers = until(requests, stop, Arc::clone(&cut)).map(answer).buffered(STREAM_REQUESTS_MAX);
    let end = futures::stream::once(async move {
        let cut = cut.load(Ordering::Relaxed);
        last.within_request(async { cut.then(|| Err(open::stopped(&last))) }).await
    });
    answers.chain(end.filter_map(std::future::ready))
}

/// What comes until `stop`, and then what has come already: the task may be woken for both at once, and late. That is at most so
/// many as are worked on at once, or a client that never pauses would hold the stop up. Notes whether it was `cut`, which a
/// stream that its client has ended is not.
fn until<T>(
    mut requests: impl Stream<Item = T> + Unpin,
    mut stop: impl Future<Output = ()> + Unpin,
    cut: Arc<AtomicBool>,
) -> impl Stream<Item = T> {
    let mut left = None;
    futures::stream::poll_fn(move |context| {
        if left.is_none() && stop.poll_unpin(context).is_ready() {
            left = Some(STREAM_REQUESTS_MAX);
        }
        let next = match left {
            Some(0) => Poll::Pending,
            _ => requests.poll_next_unpin(context),
        };
        match (&mut left, &next) {
            (None, _) | (_, Poll::Ready(None)) => {}
            (Some(left), Poll::Ready(Some(_))) => *left -= 1,
            (Some(_), Poll::Pending) => {
                cut.store(true, Ordering::Relaxed);
                return Poll::Ready(None);
            }
        }
        next
    })
}

async fn one(
    gateway: Asked,
    request: Result<ModelInferRequest, Status>,
) -> Result<ModelStreamInferResponse, Status> {
    let request = request?;
    // A key that is taken no more ends the stream.
    gateway.check_key()?;
    // An error says whose it is, as far as the request did.
    let mut response = ModelInferResponse {
        model_name: request.model_name.clone(),
        model_version: request.model_version.clone(),
        id: request.id.clone(),
        ..Default::default()
    };
    let last = matches!(choice(&request.parameters, FINAL), Some(ParameterChoice::BoolParam(true)));
    let answered = async {
        let _permit = gateway.permit()?;
        infer(gateway.clone(), request, Some(gateway.longest())).await
    };
    let begun = Instant::now();
    let answered = gateway.within_request(async {
        let answered = answered.await;
        if answered.is_ok() {
            observe::answered(&gateway.platform, begun.elapsed());
        }
        answered
    });
    let (error_message, by) = match answered.await {
        Ok(answer) => {
            response = answer.message;
            (String::new(), answer.by)
        }
        Err(refused) => {
            let status = reply::status(&refused.error);
            // Metadata come once for all replies of a stream, so what they would say is in its parameters.
            let total = reply::text(total_timing(observe::micros(begun.elapsed())));
            response.parameters.insert(SERVER_TIMING_NAME.to_owned(), total);
            let said = format!("[{}] {}", crate::status::of(refused.error.kind()).1, status.message());
            (said, refused.by.map(|by| *by))
        }
    };
    if let Some(by) = by {
        by.write_parameters(&mut response.parameters);
    }
    if last {
        let parameter = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        response.parameters.insert("triton_final_response".to_owned(), parameter);
    }
    Ok(ModelStreamInferResponse { error_message, infer_response: Some(response) })
}

fn response(request: ModelInferRequest, reply: &PredictReply) -> Result<ModelInferResponse, Error> {
    let mut response = ModelInferResponse {
        model_name: request.model_name,
        model_version: reply.version.to_string(),
        id: request.id,
        ..Default::default()
    };
    if request.outputs.is_empty() {
        for (name, tensor) in &reply.outputs {
            push(&mut response, name, tensor);
        }
        return Ok(response);
    }
    for (at, asked) in request.outputs.iter().enumerate() {
        if request.outputs[..at].iter().any(|before| before.name == asked.name) {
            let message = format!("output \"{}\" is requested twice", asked.name);
            return Err(Error::invalid("outputs", message));
        }
        let Some((name, tensor)) = reply.outputs.iter().find(|(name, _)| *name == asked.name) else {
            let known: Vec<&str> = reply.outputs.iter().map(|(name, _)| name.as_str()).collect();
            let message =
                format!("unexpected output \"{}\"; the model gives {}", asked.name, known.join(", "));
            return Err(Error::invalid("outputs", message));
        };
        match classification(asked)? {
            None => push(&mut response, name, tensor),
            Some(count) => {
                let classes = largest(name, tensor, count)?;
                response.outputs.push(InferOutputTensor {
                    name: name.clone(),
                    datatype: "BYTES".to_owned(),
                    shape: axes(&classes.shape),
                    ..Default::default()
                });
                let mut bytes = Vec::new();
                classes.append_bytes(&mut bytes);
                response.raw_output_contents.push(bytes.into());
            }
        }
    }
    Ok(response)
}

fn push(response: &mut ModelInferResponse, name: &str, tensor: &Tensor) {
    response.outputs.push(InferOutputTensor {
        name: name.to_owned(),
        datatype: datatype::name(tensor.data_type()).to_owned(),
        shape: axes(tensor.shape()),
        ..Default::default()
    });
    response.raw_output_contents.push(tensor::raw(tensor));
}

fn axes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|axis| i64::try_from(*axis).unwrap_or(i64::MAX)).collect()
}

/// How many classes a requested output is asked for; 0 is not asked, as in Triton.
fn classification(asked: &InferRequestedOutputTensor) -> Result<Option<usize>, Error> {
    if asked.parameters.keys().any(|key| key.starts_with("shared_memory")) {
        let name = &asked.name;
        let message = format!("output \"{name}\" is asked for in shared memory, which is not offered");
        return Err(Error::new(Kind::Unimplemented, message));
    }
    let Some(count) = choice(&asked.parameters, "classification") else { return Ok(None) };
    let count = number(count).and_then(|count| usize::try_from(count).ok());
    let message = format!("classification of output \"{}\" is not a count of classes", asked.name);
    let count = count.ok_or_else(|| Error::invalid("outputs", message))?;
    Ok(Some(count).filter(|count| *count > 0))
}

/// The request's own limit of time, in microseconds on the wire; 0 is none.
fn timeout(parameters: &BTreeMap<String, InferParameter>) -> Result<Option<Duration>, Error> {
    let Some(given) = choice(parameters, "timeout") else { return Ok(None) };
    match number(given) {
        Some(0) => Ok(None),
        Some(micros) => Ok(Some(Duration::from_micros(micros))),
        None => Err(Error::invalid("parameters", "timeout is not a number of microseconds")),
    }
}

fn choice<'a>(parameters: &'a BTreeMap<String, InferParameter>, name: &str) -> Option<&'a ParameterChoice> {
    parameters.get(name)?.parameter_choice.as_ref()
}

fn number(choice: &ParameterChoice) -> Option<u64> {
    match choice {
        ParameterChoice::Int64Param(number) => u64::try_from(*number).ok(),
        ParameterChoice::Uint64Param(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_come_when_it_stops_is_taken_and_nothing_is_waited_for() {
        let stopped = || std::future::ready(());
        let taken = async |requests: &mut (dyn Stream<Item = usize> + Send + Unpin)| {
            let cut = Arc::new(AtomicBool::new(false));
            let taken: Vec<usize> = until(requests, stopped(), Arc::clone(&cut)).collect().await;
            (taken.len(), cut.load(Ordering::Relaxed))
        };
        let come = |count: usize| futures::stream::iter(0..count);
        // The client waits for two answers, with more to ask.
        assert_eq!(taken(&mut come(2).chain(futures::stream::pending())).await, (2, true));
        assert_eq!(taken(&mut futures::stream::pending()).await, (0, true));
        assert_eq!(taken(&mut come(2)).await, (2, false), "its client has ended it");
        assert_eq!(taken(&mut come(usize::MAX)).await, (STREAM_REQUESTS_MAX, true));
        let cut = Arc::new(AtomicBool::new(false));
        let goes_on = until(come(100), std::future::pending(), Arc::clone(&cut));
        assert_eq!((goes_on.count().await, cut.load(Ordering::Relaxed)), (100, false));
    }
}
