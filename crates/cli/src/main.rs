//! The one binary, `bellwether`: reads the command line and the configuration, runs a verb, sets the exit code.
//! What the verbs do is in `platform`; the protocols are in `gateway`.

mod args;
mod client;
mod config;
mod context;
mod exit;
mod interrupt;
mod load;
mod log;
mod output;
mod progress;
mod quickstart;
mod server;
mod verb;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use platform::{CountingAllocator, Error, Kind};

use args::data::DataVerb;
use args::endpoint::EndpointVerb;
use args::job::JobVerb;
use args::key::KeyVerb;
use args::model::ModelVerb;
use args::{Cli, ConfigVerb, FeaturesVerb, Verb};
use config::{Flags, Settings, Surroundings};
use context::Context;
use exit::Exit;
use interrupt::Interrupt;
use log::Log;
use output::Output;

#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

/// Work on other threads that nobody waits for any more gets this long at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = if cli.global.json { Output::Json } else { Output::Human };
    // A panic has told its place on stderr; the exit code and the JSON document are promised all the same.
    let done = catch_unwind(AssertUnwindSafe(|| start(cli, output, started)));
    let (kind, message) = match done {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => explain(&error),
        Err(_) => (Kind::Internal, "bellwether failed unexpectedly; the lines above say where".to_owned()),
    };
    output.fail(kind, &message);
    Exit::of(kind).into()
}

/// Help and version end well; anything else is wrong usage, told in clap's words.
fn usage(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        // A reader that has left is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().any(|arg| arg == "--json");
    if json {
        let rendered = error.render().to_string();
        Output::Json.fail(Kind::InvalidArgument, rendered.trim_start_matches("error: ").trim_end());
    } else {
        let _ = error.print();
    }
    Exit::InvalidArgument.into()
}

/// The kind and the words of a failure; the detail of a fault of ours goes to the log.
fn explain(error: &anyhow::Error) -> (Kind, String) {
    match error.downcast_ref::<Error>() {
        Some(known) => {
            if known.kind() == Kind::Internal {
                tracing::error!("{error:#}");
            }
            (known.kind(), error.to_string())
        }
        None => (Kind::Internal, format!("{error:#}")),
    }
}

fn start(cli: Cli, output: Output, started: Instant) -> anyhow::Result<()> {
    platform::use_huge_pages(!matches!(cli.verb, Verb::Serve(_)));
    let settings = settings(&cli)?;
    let is_server = matches!(cli.verb, Verb::Serve(_));
    Log {
        filter: &settings.log.value,
        format: settings.log_format.value,
        requests: is_server && settings.log_requests.value > 0,
    }
    .start()?;
    platform::look_for_onnxruntime(|name| std::env::var_os(name));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let interrupt = Interrupt::listen(output);
        let context = Context { settings, output, interrupt, command: cli.verb.command(), started };
        dispatch(&context, cli.verb).await
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    done
}

fn settings(cli: &Cli) -> anyhow::Result<Settings> {
    let working_dir = std::env::current_dir().map_err(|error| {
        Error::new(Kind::FailedPrecondition, format!("cannot find the working directory: {error}"))
    })?;
    let environment = |name: &str| std::env::var_os(name);
    let surroundings = Surroundings { environment: &environment, working_dir: &working_dir };
    Ok(config::resolve(&Flags::of(cli), &surroundings)?)
}

async fn dispatch(context: &Context, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Quickstart(args) => quickstart::quickstart(context, args).await?,
        Verb::Run(args) => quickstart::run(context, args).await?,
        Verb::Data(DataVerb::Import(args)) => verb::data::import(context, *args).await?,
        Verb::Data(DataVerb::Certify(args)) => verb::certify::certify(context, &args).await?,
        Verb::Data(DataVerb::List) => verb::data::list(context).await?,
        Verb::Data(DataVerb::Show(args)) => verb::data::show(context, &args).await?,
        Verb::Features(FeaturesVerb::Compute(args)) => verb::features::compute(context, args).await?,
        Verb::Features(FeaturesVerb::Explain(args)) => verb::features::explain(context, &args)?,
        Verb::Features(FeaturesVerb::Operators) => verb::features::operators(context)?,
        Verb::Train(args) => verb::train::train(context, &args).await?,
        Verb::Search(args) => verb::search::search(context, &args).await?,
        Verb::Job(JobVerb::List) => verb::job::list(context).await?,
        Verb::Job(JobVerb::Show(args)) => verb::job::show(context, &args).await?,
        Verb::Job(JobVerb::Logs(args)) => verb::job::logs(context, &args).await?,
        Verb::Job(JobVerb::Cancel(args)) => verb::job::cancel(context, &args).await?,
        Verb::Job(JobVerb::Resume(args)) => verb::job::resume(context, &args).await?,
        Verb::Job(JobVerb::Delete(args)) => verb::job::delete(context, args).await?,
        Verb::Model(ModelVerb::Alias(args)) => verb::lifecycle::alias(context, args).await?,
        Verb::Model(ModelVerb::Delete(args)) => verb::lifecycle::delete_model(context, args).await?,
        Verb::Model(ModelVerb::Prune(args)) => verb::lifecycle::prune(context, &args).await?,
        Verb::Endpoint(EndpointVerb::Traffic(args)) => verb::lifecycle::traffic(context, args).await?,
        Verb::Endpoint(EndpointVerb::Delete(args)) => {
            verb::lifecycle::delete_endpoint(context, &args).await?;
        }
        Verb::Key(KeyVerb::Create(args)) => verb::key::create(context, args).await?,
        Verb::Key(KeyVerb::List) => verb::key::list(context).await?,
        Verb::Key(KeyVerb::Revoke(args)) => verb::key::revoke(context, &args).await?,
        Verb::Model(ModelVerb::Upload(args)) => verb::model::upload(context, args).await?,
        Verb::Model(ModelVerb::Export(args)) => verb::convert::export(context, args).await?,
        Verb::Convert(args) => verb::convert::convert(context, args)?,
        Verb::Bench(args) => verb::bench::bench(context, args).await?,
        Verb::Engines => verb::convert::engines(context).await?,
        Verb::Model(ModelVerb::List) => verb::model::list(context).await?,
        Verb::Model(ModelVerb::Show(args)) => verb::model::show(context, &args).await?,
        Verb::Endpoint(EndpointVerb::Create(args)) => verb::endpoint::create(context, args).await?,
        Verb::Endpoint(EndpointVerb::List) => verb::endpoint::list(context).await?,
        Verb::Endpoint(EndpointVerb::Show(args)) => verb::endpoint::show(context, &args).await?,
        Verb::Endpoint(EndpointVerb::Deploy(args)) => verb::endpoint::deploy(context, args).await?,
        Verb::Endpoint(EndpointVerb::Resize(args)) => verb::endpoint::resize(context, args).await?,
        Verb::Endpoint(EndpointVerb::Shadow(args)) => verb::shadow::show(context, &args).await?,
        Verb::Endpoint(EndpointVerb::Undeploy(args)) => verb::endpoint::undeploy(context, args).await?,
        Verb::Serve(args) => verb::serve::serve(context, &args).await?,
        Verb::Predict(args) => verb::predict::predict(context, *args).await?,
        Verb::Backup(args) => verb::backup::backup(context, &args).await?,
        Verb::Restore(args) => verb::backup::restore(context, &args).await?,
        Verb::Config(ConfigVerb::Show) => verb::config::show(context)?,
    }
    Ok(())
}
